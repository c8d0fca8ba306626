package demo

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"

	"github.com/gobwas/ws"
)

// A Client is somebody in the chat. Its methods are for one goroutine.
type Client struct {
	Name string

	conn conn
	stop func() bool // ends the watch on the context
}

// Dial joins the chat at base, such as "ws://127.0.0.1:1901", as name. The
// connection is cut when ctx ends.
func Dial(ctx context.Context, base, name string) (*Client, error) {
	nc, br, _, err := ws.Dial(ctx, base+"/chat?name="+url.QueryEscape(name))
	if err != nil {
		return nil, fmt.Errorf("%s joins: %w", name, err)
	}
	if br == nil { // unless the server's first frames came with its handshake
		br = bufio.NewReader(nc)
	}
	c := &Client{Name: name, conn: conn{Conn: nc, r: br, masks: true}}
	c.stop = context.AfterFunc(ctx, func() { nc.Close() })
	return c, nil
}

// Next returns the next message to the client. A ping is answered, and then
// returned like everything else.
func (c *Client) Next() (Message, error) {
	m, err := c.conn.next()
	if err == nil && m.Op == ws.OpPing {
		err = c.conn.send(Message{ws.OpPong, m.Text})
	}
	if err != nil {
		return Message{}, fmt.Errorf("%s listens: %w", c.Name, err)
	}
	return m, nil
}

// Say sends a text to everybody in the chat.
func (c *Client) Say(s string) error {
	if err := c.conn.send(text(s)); err != nil {
		return fmt.Errorf("%s speaks: %w", c.Name, err)
	}
	return nil
}

// KeepAlive sends an empty pong that answers nothing (RFC 6455 §5.5.3).
func (c *Client) KeepAlive() error {
	if err := c.conn.send(Message{Op: ws.OpPong}); err != nil {
		return fmt.Errorf("%s keeps alive: %w", c.Name, err)
	}
	return nil
}

// Leave closes the connection with status code 1000 and a reason, waits for the
// server's answer and for it to close the connection (RFC 6455 §7.1.1), and
// drops what is said meanwhile.
func (c *Client) Leave(reason string) error {
	defer c.Close()
	want := Message{ws.OpClose, string(ws.NewCloseFrameBody(ws.StatusNormalClosure, reason))}
	if err := c.conn.send(want); err != nil {
		return fmt.Errorf("%s leaves: %w", c.Name, err)
	}
	var answer Message
	for {
		m, err := c.conn.next()
		switch {
		case err == nil && m.Op == ws.OpClose:
			answer = m
		case err == nil:
		case !errors.Is(err, io.EOF):
			return fmt.Errorf("%s leaves: %w", c.Name, err)
		case answer != want:
			return fmt.Errorf("%s leaves: got %v, want %v", c.Name, answer, want)
		default:
			return nil
		}
	}
}

// Close cuts the connection.
func (c *Client) Close() error {
	c.stop()
	return c.conn.Close()
}
