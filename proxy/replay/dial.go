package replay

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// Dial plays the clients of the sessions in file against the server at rawURL, and
// performs the HTTP requests that are recorded there. It makes the test fail, in a
// sentence, at the first thing that the server does otherwise, and returns when all has
// been played. A path, or a query, in rawURL replaces that of WebSocket sessions, and its
// host replaces the recorded one in Host, and in Origin if that was the same.
func Dial(t T, rawURL, file string, opts ...DialOption) {
	t.Helper()
	how, err := newDialing(opts)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	var rec *recorder
	if how.update {
		rec = newRecorder(file)
		how.events = rec.record(how.events)
	}
	scripts, err := loadFile(file, how.loading, how.session == 0)
	if err == nil && how.update {
		err = keepsAll(file, scripts)
	}
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if play := (&Play{scripts}); how.session == 0 && play.Alone() == nil {
		err = play.connect(t.Context(), rawURL, &how.connecting)
	} else {
		err = scripts[0].connect(t.Context(), rawURL, &how.connecting, performance{})
	}
	if err != nil {
		t.Errorf("replay %s: %v", file, err)
		return
	}
	if rec != nil {
		if err := rec.finish(); err != nil {
			t.Errorf("replay: %v", err)
		}
	}
}

// Connect connects to the server at rawURL and plays the client.
func (s *Script) Connect(ctx context.Context, rawURL string, opts ...ConnectOption) error {
	how, err := newConnecting(opts)
	if err != nil {
		return err
	}
	return s.connect(ctx, rawURL, how, performance{})
}

func (s *Script) connect(ctx context.Context, rawURL string, how *connecting, perf performance) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	conn := perf.via
	if conn == nil {
		if conn, err = how.reach(ctx, u); err != nil {
			return err
		}
	}
	perf.how, perf.role, perf.url = &how.playing, decode.FromClient, u
	return s.play(ctx, conn, perf)
}

// reach connects to the server at u.
func (c *connecting) reach(ctx context.Context, u *url.URL) (net.Conn, error) {
	port := u.Port()
	secure := false
	switch u.Scheme {
	case "ws", "http":
		port = cmp.Or(port, "80")
	case "wss", "https":
		port, secure = cmp.Or(port, "443"), true
	default:
		return nil, fmt.Errorf("%q is not a ws:// or wss:// address", u)
	}
	conn, err := c.connect(ctx, net.JoinHostPort(u.Hostname(), port))
	if err == nil && secure {
		conn, err = c.secure(ctx, conn, u.Hostname())
	}
	return conn, err
}

// connect connects to addr, which may take as long as anything else that is waited
// for.
func (c *connecting) connect(ctx context.Context, addr string) (net.Conn, error) {
	dial := c.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	ctx, cancel := context.WithTimeoutCause(ctx, c.stall, &stallError{text: fmt.Sprintf("client waits for the connection to %q", addr), stall: c.stall})
	defer cancel()
	type result struct {
		conn net.Conn
		err  error
	}
	dialled := make(chan result, 1)
	go func() {
		conn, err := dial(ctx, "tcp", addr)
		dialled <- result{conn, err}
	}()
	select {
	case r := <-dialled:
		if d, _ := ctx.Deadline(); errors.Is(r.err, os.ErrDeadlineExceeded) && time.Until(d) < 100*time.Millisecond {
			<-ctx.Done() // whose deadline a net.Dialer has used itself, and may be a little early
		}
		if r.err != nil && ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return r.conn, r.err
	case <-ctx.Done(): // though a dialer of the user may not look at it
		go func() {
			if r := <-dialled; r.err == nil {
				r.conn.Close()
			}
		}()
		return nil, context.Cause(ctx)
	}
}

// secure begins TLS with the server called name on conn, which it closes if that
// fails.
func (c *connecting) secure(ctx context.Context, conn net.Conn, name string) (net.Conn, error) {
	conf := c.tls.Clone()
	if conf == nil {
		conf = &tls.Config{}
	}
	if conf.ServerName == "" {
		conf.ServerName = name
	}
	t := tls.Client(conn, conf)
	ctx, cancel := context.WithTimeoutCause(ctx, c.stall, &stallError{text: "client waits for the TLS handshake of the server", stall: c.stall})
	defer cancel()
	err := t.HandshakeContext(ctx)
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	if err != nil {
		conn.Close()
		return nil, err
	}
	return t, nil
}
