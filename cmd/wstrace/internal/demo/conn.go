package demo

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

const (
	maxMessage = 64 << 10        // the longest message, in bytes, that the chat takes
	stall      = 5 * time.Second // how long it waits for a peer that does not read
)

// A Message is a whole text or binary message, or a control frame.
type Message struct {
	Op   ws.OpCode
	Text string // the payload
}

// String returns m for use in errors: what it is and what it says.
func (m Message) String() string {
	switch m.Op {
	case ws.OpPing:
		return fmt.Sprintf("ping %q", m.Text)
	case ws.OpPong:
		return fmt.Sprintf("pong %q", m.Text)
	case ws.OpClose:
		code, reason := ws.ParseCloseFrameData([]byte(m.Text))
		return fmt.Sprintf("close %d %q", code, reason)
	}
	return fmt.Sprintf("%q", m.Text)
}

// A conn is one end of a WebSocket connection after its handshake. One
// goroutine may read while others write.
type conn struct {
	net.Conn
	r      *bufio.Reader // reads Conn, and what the handshake had read too much
	masks  bool          // whether this end is the client
	head   Message       // the fragmented message in flight; Op is 0 if none is
	writes sync.Mutex
}

// next returns the next message. A control frame between the fragments of a
// message is returned before it (RFC 6455 §5.4).
func (c *conn) next() (Message, error) {
	for {
		h, err := ws.ReadHeader(c.r)
		if err != nil {
			return Message{}, err
		}
		if h.Length > maxMessage-int64(len(c.head.Text)) {
			return Message{}, fmt.Errorf("message of more than %d bytes", maxMessage)
		}
		p := make([]byte, h.Length)
		if _, err := io.ReadFull(c.r, p); err != nil {
			return Message{}, err
		}
		if h.Masked {
			ws.Cipher(p, h.Mask, 0)
		}
		if h.OpCode.IsControl() {
			return Message{h.OpCode, string(p)}, nil
		}
		if h.OpCode != ws.OpContinuation {
			c.head = Message{Op: h.OpCode}
		}
		c.head.Text += string(p)
		if h.Fin {
			m := c.head
			c.head = Message{}
			return m, nil
		}
	}
}

// send writes messages, each as one frame, all in one call, so that they share
// a segment if they fit into one.
func (c *conn) send(messages ...Message) error {
	var b []byte
	for _, m := range messages {
		f := ws.NewFrame(m.Op, true, []byte(m.Text))
		if c.masks {
			f = ws.MaskFrameInPlace(f)
		}
		b = append(b, ws.MustCompileFrame(f)...)
	}
	c.writes.Lock()
	defer c.writes.Unlock()
	c.SetWriteDeadline(time.Now().Add(stall))
	_, err := c.Write(b)
	return err
}

func text(s string) Message { return Message{ws.OpText, s} }
