// Command go is a client written with one of several libraries for Go:
//
//	go LIBRARY URL [TIMES]
//
// It sends a text and a binary message, waits for their echoes and closes, and does so as
// often as it is told.
package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net/url"
	"os"
	"strconv"

	coder "github.com/coder/websocket"
	fasthttp "github.com/fasthttp/websocket"
	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"
	gorilla "github.com/gorilla/websocket"
	"github.com/lxzan/gws"
	"golang.org/x/net/websocket"
)

var binary = []byte{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}

// A message is text or bytes.
type message struct {
	text bool
	data []byte
}

// A conn is a connection of some library.
type conn interface {
	send(message) error
	receive() (message, error)
	close() error // with status code 1000
}

var libraries = map[string]func(url string) (conn, error){
	"gorilla":  dialGorilla,
	"fasthttp": dialFasthttp,
	"coder":    dialCoder,
	"gobwas":   dialGobwas,
	"gws":      dialGws,
	"xnet":     dialXnet,
}

func main() {
	times := 1
	if len(os.Args) > 3 {
		times, _ = strconv.Atoi(os.Args[3])
	}
	for range times {
		if err := run(os.Args[1], os.Args[2]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
	}
}

func run(library, url string) error {
	c, err := libraries[library](url)
	if err != nil {
		return err
	}
	for _, m := range []message{{true, []byte("hello from " + library)}, {false, binary}} {
		if err := c.send(m); err != nil {
			return err
		}
		got, err := c.receive()
		if err != nil {
			return err
		}
		if got.text != m.text || !bytes.Equal(got.data, m.data) {
			return fmt.Errorf("got %q, sent %q", got.data, m.data)
		}
	}
	return c.close()
}

type gorillaConn struct{ *gorilla.Conn }

func dialGorilla(url string) (conn, error) {
	c, _, err := gorilla.DefaultDialer.Dial(url, nil)
	return gorillaConn{c}, err
}

func (c gorillaConn) send(m message) error {
	op := gorilla.BinaryMessage
	if m.text {
		op = gorilla.TextMessage
	}
	return c.WriteMessage(op, m.data)
}

func (c gorillaConn) receive() (message, error) {
	op, p, err := c.ReadMessage()
	return message{op == gorilla.TextMessage, p}, err
}

func (c gorillaConn) close() error {
	if err := c.WriteMessage(gorilla.CloseMessage, gorilla.FormatCloseMessage(1000, "")); err != nil {
		return err
	}
	if _, _, err := c.ReadMessage(); !gorilla.IsCloseError(err, 1000) {
		return err
	}
	return c.Conn.Close()
}

type fasthttpConn struct{ *fasthttp.Conn }

func dialFasthttp(url string) (conn, error) {
	c, _, err := fasthttp.DefaultDialer.Dial(url, nil)
	return fasthttpConn{c}, err
}

func (c fasthttpConn) send(m message) error {
	op := fasthttp.BinaryMessage
	if m.text {
		op = fasthttp.TextMessage
	}
	return c.WriteMessage(op, m.data)
}

func (c fasthttpConn) receive() (message, error) {
	op, p, err := c.ReadMessage()
	return message{op == fasthttp.TextMessage, p}, err
}

func (c fasthttpConn) close() error {
	if err := c.WriteMessage(fasthttp.CloseMessage, fasthttp.FormatCloseMessage(1000, "")); err != nil {
		return err
	}
	if _, _, err := c.ReadMessage(); !fasthttp.IsCloseError(err, 1000) {
		return err
	}
	return c.Conn.Close()
}

type coderConn struct{ *coder.Conn }

func dialCoder(url string) (conn, error) {
	c, _, err := coder.Dial(context.Background(), url, nil)
	return coderConn{c}, err
}

func (c coderConn) send(m message) error {
	typ := coder.MessageBinary
	if m.text {
		typ = coder.MessageText
	}
	return c.Write(context.Background(), typ, m.data)
}

func (c coderConn) receive() (message, error) {
	typ, p, err := c.Read(context.Background())
	return message{typ == coder.MessageText, p}, err
}

func (c coderConn) close() error { return c.Close(coder.StatusNormalClosure, "") }

type gobwasConn struct{ io.ReadWriteCloser }

func dialGobwas(url string) (conn, error) {
	c, _, _, err := ws.Dial(context.Background(), url)
	return gobwasConn{c}, err
}

func (c gobwasConn) send(m message) error {
	op := ws.OpBinary
	if m.text {
		op = ws.OpText
	}
	return wsutil.WriteClientMessage(c, op, m.data)
}

func (c gobwasConn) receive() (message, error) {
	p, op, err := wsutil.ReadServerData(c)
	return message{op == ws.OpText, p}, err
}

func (c gobwasConn) close() error {
	if err := wsutil.WriteClientMessage(c, ws.OpClose, ws.NewCloseFrameBody(1000, "")); err != nil {
		return err
	}
	if _, err := ws.ReadHeader(c); err != nil { // wsutil would answer it
		return err
	}
	return c.Close()
}

// A gwsConn gets what its connection reads in events.
type gwsConn struct {
	gws.BuiltinEventHandler
	*gws.Conn
	got chan message
	end chan error
}

func dialGws(url string) (conn, error) {
	c := &gwsConn{got: make(chan message, 1), end: make(chan error, 1)}
	var err error
	if c.Conn, _, err = gws.NewClient(c, &gws.ClientOption{Addr: url}); err == nil {
		go c.ReadLoop()
	}
	return c, err
}

func (c *gwsConn) OnMessage(_ *gws.Conn, m *gws.Message) {
	c.got <- message{m.Opcode == gws.OpcodeText, bytes.Clone(m.Bytes())}
}

func (c *gwsConn) OnClose(_ *gws.Conn, err error) { c.end <- err }

func (c *gwsConn) send(m message) error {
	op := gws.OpcodeBinary
	if m.text {
		op = gws.OpcodeText
	}
	return c.WriteMessage(op, m.data)
}

func (c *gwsConn) receive() (message, error) {
	select {
	case m := <-c.got:
		return m, nil
	case err := <-c.end:
		return message{}, err
	}
}

func (c *gwsConn) close() error {
	if err := c.WriteClose(1000, nil); err != nil {
		return err
	}
	<-c.end
	return nil
}

type xnetConn struct{ *websocket.Conn }

func dialXnet(address string) (conn, error) {
	u, err := url.Parse(address)
	if err != nil {
		return nil, err
	}
	c, err := websocket.Dial(address, "", "http://"+u.Host)
	return xnetConn{c}, err
}

func (c xnetConn) send(m message) error {
	if m.text {
		return websocket.Message.Send(c.Conn, string(m.data))
	}
	return websocket.Message.Send(c.Conn, m.data)
}

func (c xnetConn) receive() (m message, err error) {
	err = (&websocket.Codec{Unmarshal: func(p []byte, op byte, _ any) error {
		m = message{op == websocket.TextFrame, p}
		return nil
	}}).Receive(c.Conn, nil)
	return m, err
}

func (c xnetConn) close() error {
	if err := c.WriteClose(1000); err != nil {
		return err
	}
	_, err := io.Copy(io.Discard, c.Conn) // the answer ends it
	return err
}
