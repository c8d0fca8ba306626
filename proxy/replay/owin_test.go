package replay

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy"
)

// An owin is a server as OWIN's sample is one. It chooses the first subprotocol
// and echoes in frames of 6 bytes that are fragments of one message, or, if it
// is broken, each a text frame.
type owin struct{ broken bool }

func (o owin) serve(conn net.Conn) {
	defer conn.Close()
	u := ws.Upgrader{Protocol: func(p []byte) bool { return string(p) == "echo" }}
	if _, err := u.Upgrade(conn); err != nil {
		return
	}
	for {
		f, err := readFrame(conn)
		if err != nil {
			return
		}
		if f.Header.OpCode == ws.OpClose {
			ws.WriteFrame(conn, ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "Closing")))
			return
		}
		op := f.Header.OpCode
		for p := f.Payload; len(p) > 0; {
			n := min(6, len(p))
			ws.WriteFrame(conn, ws.NewFrame(op, n == len(p), p[:n]))
			if p = p[n:]; !o.broken {
				op = ws.OpContinuation
			}
		}
	}
}

// start runs the server and returns its address.
func (o owin) start(t *testing.T) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go o.serve(conn)
		}
	}()
	return l.Addr().String()
}

// owinClient says what the sample's client says, and reads to the end.
func owinClient(addr string) error {
	conn, _, hs, err := ws.Dialer{Protocols: []string{"echo", "chat"}}.Dial(context.Background(), "ws://"+addr)
	if err != nil {
		return err
	}
	defer conn.Close()
	if hs.Protocol != "echo" {
		return fmt.Errorf("protocol %q", hs.Protocol)
	}
	ws.WriteFrame(conn, ws.MaskFrame(ws.NewTextFrame([]byte("WebSocket rocks"))))
	for echo := ""; echo != "WebSocket rocks"; {
		f, err := readFrame(conn)
		if err != nil {
			return err
		}
		echo += string(f.Payload)
	}
	ws.WriteFrame(conn, ws.MaskFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "Closing"))))
	_, err = io.Copy(io.Discard, conn)
	return err
}

func TestOWIN(t *testing.T) {
	var traces [2]string
	for i, o := range []owin{{}, {broken: true}} {
		addr := o.start(t)
		text := recordThrough(t, addr, owinClient)
		traces[i] = text
		for name, opts := range map[string]CompareOption{"messages": CompareOptions(), "exact": Exact()} {
			var rec bytes.Buffer
			events := Events(trace.NewWriter(&rec, trace.Options{}))
			if err := loaded(t, text, opts).Connect(t.Context(), "ws://"+addr, events); err != nil {
				t.Errorf("%s, client: %v", name, err)
			}
			if got := diff(t, text, rec.String(), opts); got != "" {
				t.Errorf("%s, client: the recording of the replay differs:\n%s", name, got)
			}
			srv := Serve(t, fixture(t, text), opts)
			if err := owinClient(strings.TrimPrefix(srv.URL, "ws://")); err != nil {
				t.Errorf("%s, server: %v", name, err)
			}
		}
	}
	// The one is not the other.
	err := loaded(t, traces[0]).Connect(t.Context(), "ws://"+owin{broken: true}.start(t))
	if err == nil || !strings.HasSuffix(err.Error(), `expected server message 0, text "WebSocket rocks", after the handshake; got text "WebSoc" that is cut off`) {
		t.Errorf("got %v", err)
	}
	if got := diff(t, traces[0], traces[1]); !strings.Contains(got, `- < text "WebSocket rocks"`) {
		t.Errorf("got\n%s", got)
	}
}

// recordThrough returns the recording of what client does through a proxy for
// origin.
func recordThrough(t *testing.T, origin string, client func(addr string) error) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var b bytes.Buffer
	ctx, cancel := context.WithCancel(t.Context())
	p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: origin}, Sink: &decode.Tee{Sinks: []decode.Sink{trace.NewWriter(&b, trace.Options{})}}}
	done := make(chan error)
	go func() { done <- p.Serve(ctx, l) }()
	err = client(l.Addr().String())
	cancel()
	if serr := <-done; err != nil || serr != nil {
		t.Fatalf("recording: %v, %v", err, serr)
	}
	return b.String()
}
