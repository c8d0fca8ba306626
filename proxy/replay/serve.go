package replay

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// T is what a replay needs of a *testing.T.
type T interface {
	Helper()
	Context() context.Context
	Cleanup(func())
	Errorf(format string, args ...any)
	Fatalf(format string, args ...any)
}

// A Server stands in for the server of a recorded session.
type Server struct {
	URL   string         // where it is: "ws://127.0.0.1:49152", or wss:// with [ServerTLS]
	HTTP  string         // the same for HTTP: "http://127.0.0.1:49152", or https://
	Roots *x509.CertPool // trust its certificate, if [ServerTLS] has made one; else nil

	t        T
	file     string
	how      *serving
	script   *Script // nil: it relays
	cast     *cast   // if it plays all
	ctx      context.Context
	times    int // how many connections it takes
	listener net.Listener
	clients  *Listener     // of that; nil if it relays
	wrapUp   chan struct{} // closed at the end of the test

	told      atomic.Bool // what has failed
	accepting sync.WaitGroup

	mu    sync.Mutex
	taken int // connections so far
	group sync.WaitGroup
}

// Serve starts a server that plays the sessions in file with one client each, and
// answers the HTTP requests that are recorded there. It makes the test fail, in a
// sentence, at the first thing that a client does otherwise. At the end of the test it
// fails too if the clients did not do all that was recorded. A path and a query, if the
// test wants them, go behind URL.
func Serve(t T, file string, opts ...ServeOption) *Server {
	t.Helper()
	how, err := newServing(opts)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	srv := &Server{t: t, file: file, how: how, wrapUp: make(chan struct{})}
	var rec *recorder
	if how.update {
		rec = newRecorder(file)
		how.events = rec.record(how.events)
	}
	if how.relay == "" {
		if err := srv.load(); err != nil {
			t.Fatalf("replay: %v", err)
		}
	}
	if srv.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatalf("replay: %v", err)
	}
	srv.URL = "ws://" + srv.listener.Addr().String()
	if how.secure != nil {
		srv.URL, srv.Roots = "wss"+strings.TrimPrefix(srv.URL, "ws"), how.roots
	}
	srv.HTTP = "http" + strings.TrimPrefix(srv.URL, "ws")
	if srv.script == nil {
		srv.relay(rec)
		return srv
	}
	srv.clients = newListener(srv.listener, &how.playing, srv.cast)
	if inBubble() {
		srv.listener.Close()
	}
	srv.accepting.Go(srv.accept)
	t.Cleanup(func() {
		t.Helper()
		srv.close()
		if rec != nil {
			if err := rec.finish(); err != nil {
				t.Errorf("replay: %v", err)
			}
		}
	})
	return srv
}

// load loads what is to be played.
func (srv *Server) load() error {
	scripts, err := loadFile(srv.file, srv.how.loading, srv.how.session == 0)
	if err == nil && srv.how.update {
		err = keepsAll(srv.file, scripts)
	}
	play := &Play{scripts}
	if err == nil && srv.how.times > 1 && play.Alone() == nil && srv.how.session == 0 {
		err = fmt.Errorf("%s: Times is for one session, and there are %d", srv.file, len(scripts))
	}
	if err != nil {
		return err
	}
	// It does not end with the test's context, which comes before the
	// cleanup in which the client's last frames are awaited.
	srv.ctx = context.WithoutCancel(srv.t.Context())
	srv.script, srv.times = scripts[0], srv.how.times
	if play.Alone() == nil && srv.how.session == 0 {
		srv.times = 0
		for _, s := range scripts {
			if s.plain == nil && s.engine == nil {
				srv.times++
			}
		}
		srv.cast, srv.ctx = newCast(srv.ctx, scripts, decode.FromServer, &srv.how.playing)
		srv.cast.wrapUp = srv.wrapUp
	}
	return nil
}

// inBubble reports whether this is a bubble of testing/synctest, whose clock
// begins with the year 2000. It would stand still while someone waits for a
// real connection.
func inBubble() bool { return time.Now().UTC().Year() == 2000 }

// accept takes connections until the listener is closed.
func (srv *Server) accept() {
	for {
		conn, err := srv.clients.Accept()
		var refused *HandshakeError
		switch {
		case err == nil:
			srv.take(conn)
		case errors.Is(err, ErrStalled): // it has connected all the same
			srv.mu.Lock()
			srv.taken++
			srv.mu.Unlock()
			srv.t.Errorf("replay %s: %v", srv.file, err)
		case errors.As(err, &refused):
			srv.t.Errorf("replay %s: %v", srv.file, err)
		case srv.clients.ctx.Err() != nil:
			return
		}
	}
}

// take plays the session on conn.
func (srv *Server) take(conn net.Conn) {
	srv.mu.Lock()
	defer srv.mu.Unlock()
	if srv.taken == srv.times {
		srv.t.Errorf("replay %s: client connects again after %d of %d times", srv.file, srv.taken, srv.times)
	}
	if srv.taken++; srv.taken > srv.times {
		conn.Close() // it may try for as long as it likes
		return
	}
	srv.group.Go(func() {
		var err error
		if srv.cast != nil {
			err = srv.cast.admit(srv.ctx, conn, srv.wrapUp)
		} else {
			err = srv.script.serve(srv.ctx, conn, performance{how: &srv.how.playing, role: decode.FromServer, wrapUp: srv.wrapUp})
		}
		if err != nil {
			srv.told.Store(true)
			srv.t.Errorf("replay %s: %v", srv.file, err)
		}
	})
}

// close waits until what has begun has been played.
func (srv *Server) close() {
	srv.t.Helper()
	srv.clients.Close()
	srv.accepting.Wait()
	srv.mu.Lock()
	taken := srv.taken
	srv.taken = srv.times + 1 // no more, and nobody to tell
	srv.mu.Unlock()
	close(srv.wrapUp)
	srv.group.Wait()
	if srv.cast != nil {
		srv.cast.group.Wait()
		srv.cast.cancel(nil)
		if err := srv.cast.err; err != nil {
			if !srv.told.Load() { // as it is of an exchange
				srv.t.Errorf("replay %s: %v", srv.file, err)
			}
			return
		}
		if missing, some := srv.cast.missing(); missing != "" && (taken > 0 || some || srv.times == 0) {
			srv.t.Errorf("replay %s: no client has asked for %s%s", srv.file, missing, srv.others())
		}
	}
	if taken == 0 && srv.times > 0 {
		srv.t.Errorf("replay %s: no client has connected%s", srv.file, srv.others())
	} else if taken < srv.times {
		srv.t.Errorf("replay %s: client has connected %d of %d times", srv.file, taken, srv.times)
	}
}

// others says what else was asked for.
func (srv *Server) others() string {
	turned := srv.clients.Turned()
	if len(turned) == 0 {
		return ""
	}
	return "; not in the recording is " + strings.Join(turned, ", ")
}

// DialContext connects to the server by a connection in memory, whatever the
// address. It is for clients that can be told how to dial, and works in a
// bubble of testing/synctest, where the server has no real port. Elsewhere the
// first call closes that port.
func (srv *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if srv.script == nil { // relaying: the real server is not in memory either
		var d net.Dialer
		return d.DialContext(ctx, "tcp", srv.listener.Addr().String())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	srv.listener.Close()
	client, server := memconn.Pipe()
	srv.clients.takeAtOnce(server, srv.script.unasked(srv.how.stall))
	return client, nil
}

// relay lets the client talk to a real server, and records.
func (srv *Server) relay(rec *recorder) {
	u, err := url.Parse(srv.how.relay)
	if err != nil {
		srv.t.Fatalf("replay: %v", err)
	}
	p := &proxy.Proxy{Upstream: &url.URL{Scheme: u.Scheme, Host: u.Host}, Sink: srv.how.events.Sink, Look: decode.Look{Bodies: maxSent}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(srv.t.Context()))
	var serveErr error
	l := srv.listener
	if srv.how.secure != nil {
		l = tls.NewListener(l, srv.how.secure)
	}
	srv.group.Go(func() { serveErr = p.Serve(ctx, l) })
	srv.t.Cleanup(func() {
		cancel()
		srv.group.Wait()
		if err := errors.Join(serveErr, rec.finish()); err != nil {
			srv.t.Errorf("replay: %v", err)
		}
	})
}
