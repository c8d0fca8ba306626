package demo

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestMain fails if the tests leave goroutines behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	for deadline := time.Now().Add(5 * time.Second); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			fmt.Printf("goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			os.Exit(1)
		}
	}
	os.Exit(code)
}

// start runs a chat server and returns where it is, and a function that ends it
// and waits until it has ended.
func start(t *testing.T, s *Server) (base string, stop func()) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- s.Serve(ctx, l) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
	return "ws://" + l.Addr().String(), stop
}

func dial(t *testing.T, base, name string) *Client {
	t.Helper()
	c, err := Dial(t.Context(), base, name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	return c
}

func hear(t *testing.T, c *Client, want ...Message) {
	t.Helper()
	for _, want := range want {
		got, err := c.Next()
		if err != nil || got != want {
			t.Fatalf("%s: got %v, %v, want %v", c.Name, got, err, want)
		}
	}
}

func TestChat(t *testing.T) {
	var room Server
	base, stop := start(t, &room)
	defer stop()

	anna := dial(t, base, "Anna & Söhne")
	hear(t, anna, text("Anna & Söhne joined."), text("Welcome Anna & Söhne."))
	bob := dial(t, base, "Bob")
	hear(t, anna, text("Bob joined."))
	hear(t, bob, text("Bob joined."), text("Welcome Bob."))

	if err := bob.Say("hello"); err != nil {
		t.Fatal(err)
	}
	hear(t, anna, text("Bob says: hello"))
	hear(t, bob, text("Bob says: hello"))

	if _, err := room.Ping("Carl"); err == nil {
		t.Error("a ping to somebody who is not there works")
	}
	pong, err := room.Ping("Anna & Söhne")
	if err != nil {
		t.Fatal(err)
	}
	if err := anna.KeepAlive(); err != nil {
		t.Fatal(err)
	}
	if err := anna.Say("still here"); err != nil {
		t.Fatal(err)
	}
	hear(t, bob, text("Anna & Söhne says: still here")) // so the server has seen the pong
	select {
	case <-pong:
		t.Error("an unsolicited pong counts as an answer")
	default:
	}
	hear(t, anna, Message{ws.OpPing, "1"}, text("Anna & Söhne says: still here"))
	<-pong

	if err := bob.Leave("enough"); err != nil {
		t.Fatal(err)
	}
	hear(t, anna, text("Bob left."))
	anna.Close()
}

// A message in fragments, with a ping between them, is one message.
func TestFragments(t *testing.T) {
	base, stop := start(t, new(Server))
	defer stop()
	c := dial(t, base, "Anna")
	hear(t, c, text("Anna joined."), text("Welcome Anna."))
	for _, f := range []ws.Frame{
		ws.NewFrame(ws.OpText, false, []byte("in ")),
		ws.NewPingFrame([]byte("?")),
		ws.NewFrame(ws.OpContinuation, false, []byte("three ")),
		ws.NewFrame(ws.OpContinuation, true, []byte("parts")),
		ws.NewTextFrame([]byte("and in one")),
	} {
		if err := ws.WriteFrame(c.conn.Conn, ws.MaskFrame(f)); err != nil {
			t.Fatal(err)
		}
	}
	hear(t, c, Message{ws.OpPong, "?"}, text("Anna says: in three parts"), text("Anna says: and in one"))
}

// Who sends too much is cut off.
func TestTooLong(t *testing.T) {
	base, stop := start(t, new(Server))
	defer stop()
	for _, length := range []int64{maxMessage + 1, 1<<63 - 1} {
		c := dial(t, base, "Anna")
		hear(t, c, text("Anna joined."), text("Welcome Anna."))
		if err := ws.WriteFrame(c.conn.Conn, ws.MaskFrame(ws.NewFrame(ws.OpText, false, []byte("more")))); err != nil {
			t.Fatal(err)
		}
		if err := ws.WriteHeader(c.conn.Conn, ws.Header{OpCode: ws.OpContinuation, Masked: true, Length: length}); err != nil {
			t.Fatal(err)
		}
		if m, err := c.Next(); err == nil {
			t.Errorf("got %v after a frame of %d bytes, want the end of the connection", m, length)
		}
	}
}

func TestRefusals(t *testing.T) {
	base, stop := start(t, new(Server))
	defer stop()
	for path, want := range map[string]int{"/": 404, "/chatter?name=x": 404, "/chat": 400, "/chat?name=": 400} {
		nc, err := net.Dial("tcp", strings.TrimPrefix(base, "ws://"))
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(nc, "GET "+path+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		res, err := http.ReadResponse(bufio.NewReader(nc), nil)
		if err != nil {
			t.Fatal(err)
		}
		if res.StatusCode != want {
			t.Errorf("GET %s: got %s, want %d", path, res.Status, want)
		}
		nc.Close()
	}
}

// The end of the server's context ends the connections.
func TestServeEnds(t *testing.T) {
	base, stop := start(t, new(Server))
	c := dial(t, base, "Anna")
	hear(t, c, text("Anna joined."), text("Welcome Anna."))
	stop()
	if m, err := c.Next(); err == nil {
		t.Errorf("got %v from a server that has ended", m)
	}
}

// The end of the client's context ends what it waits for.
func TestDialContext(t *testing.T) {
	base, stop := start(t, new(Server))
	defer stop()
	ctx, cancel := context.WithCancel(t.Context())
	c, err := Dial(ctx, base, "Anna")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	hear(t, c, text("Anna joined."), text("Welcome Anna."))
	cancel()
	if m, err := c.Next(); err == nil {
		t.Errorf("got %v, want an error", m)
	}
}

// The newcomer's two frames are written together, so that they come in one
// segment.
func TestTogether(t *testing.T) {
	a, b := net.Pipe()
	defer a.Close()
	defer b.Close()
	c := &conn{Conn: a}
	sent := make(chan error, 1)
	go func() { sent <- c.send(text("John joined."), text("Welcome John.")) }()
	b.SetReadDeadline(time.Now().Add(stall))
	p := make([]byte, 64)
	n, err := b.Read(p)
	if want := "\x81\x0cJohn joined.\x81\x0dWelcome John."; err != nil || string(p[:n]) != want {
		t.Errorf("one read gives %q, %v, want %q", p[:n], err, want)
	}
	if err := <-sent; err != nil {
		t.Error(err)
	}
}
