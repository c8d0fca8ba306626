package replay

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
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

// LoadFile reads a session from a trace file, which may be compressed by gzip,
// but not by zstd. Unlike [Load] it takes no file that is cut off.
func LoadFile(file string, opts ...Option) (*Script, error) {
	scripts, err := loadFile(file, opts, false)
	if err != nil {
		return nil, err
	}
	return scripts[0], nil
}

func loadFile(file string, opts []Option, all bool) ([]*Script, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	br := bufio.NewReader(f)
	var r io.Reader = br
	switch magic, _ := br.Peek(4); {
	case bytes.HasPrefix(magic, []byte("\x1f\x8b")):
		if r, err = gzip.NewReader(br); err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
	case string(magic) == "\x28\xb5\x2f\xfd":
		return nil, fmt.Errorf("%s: is compressed by zstd, which is not read here; gzip is", file)
	}
	// So that a last line that is cut off is an error: a test of half a session
	// would pass.
	whole := trace.NewReader(io.MultiReader(r, strings.NewReader("\n")))
	scripts, err := loadScripts(whole, opts, all)
	if err == nil {
		err = whole.Warning()
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", file, err)
	}
	return scripts, nil
}

// A Server stands in for the server of a recorded session.
type Server struct {
	URL string // where it is: "ws://127.0.0.1:49152"

	t        T
	file     string
	script   *Script // nil: it relays
	cast     *cast   // if it plays all
	ctx      context.Context
	times    int // how many connections it takes
	listener net.Listener
	leave    chan struct{}

	mu    sync.Mutex
	taken int // connections so far
	group sync.WaitGroup
}

// Serve starts a server that plays the session in file with one client, and
// makes the test fail, in a sentence, at the first thing that the client does
// otherwise. At the end of the test it fails too if the client did not do all
// that was recorded. A path and a query, if the test wants them, go behind URL.
func Serve(t T, file string, opts ...Option) *Server {
	t.Helper()
	c, err := newConfig(opts)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	s := &Server{t: t, file: file, leave: make(chan struct{})}
	var rec *recorder
	if c.update {
		rec = newRecorder(file)
		opts = append(opts[:len(opts):len(opts)], rec.also(c.sink))
	}
	if !c.update || c.server == "" {
		scripts, err := loadFile(file, opts, c.all)
		if err != nil {
			t.Fatalf("replay: %v", err)
		}
		// It does not end with the test's context, which comes before the
		// cleanup in which the client's last frames are awaited.
		s.ctx = context.WithoutCancel(t.Context())
		s.script, s.times = scripts[0], c.times
		if c.all {
			s.times = len(scripts)
			s.cast, s.ctx = newCast(s.ctx, scripts, decode.FromServer)
		}
	}
	if s.listener, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatalf("replay: %v", err)
	}
	s.URL = "ws://" + s.listener.Addr().String()
	if s.script == nil {
		s.relay(&c, rec)
		return s
	}
	if inBubble() {
		s.listener.Close()
	} else {
		s.group.Go(s.accept)
	}
	t.Cleanup(func() {
		t.Helper()
		s.close()
		if rec != nil {
			if err := rec.finish(); err != nil {
				t.Errorf("replay: %v", err)
			}
		}
	})
	return s
}

// inBubble reports whether this is a bubble of testing/synctest, whose clock
// begins with the year 2000. It would stand still while someone waits for a
// real connection.
func inBubble() bool { return time.Now().UTC().Year() == 2000 }

// accept takes connections until the listener is closed.
func (s *Server) accept() {
	for {
		conn, err := s.listener.Accept()
		if err != nil {
			return
		}
		s.take(conn)
	}
}

// take plays the session on conn.
func (s *Server) take(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.taken == s.times {
		s.t.Errorf("replay %s: client connects again after %d of %d times", s.file, s.taken, s.times)
	}
	if s.taken++; s.taken > s.times {
		conn.Close() // it may try for as long as it likes
		return
	}
	s.group.Go(func() {
		var err error
		if s.cast != nil {
			err = s.cast.admit(s.ctx, conn, s.leave)
		} else {
			err = s.script.play(s.ctx, conn, performance{role: decode.FromServer, leave: s.leave})
		}
		if err != nil {
			s.t.Errorf("replay %s: %v", s.file, err)
		}
	})
}

// close waits until what has begun has been played.
func (s *Server) close() {
	s.t.Helper()
	s.listener.Close()
	s.mu.Lock()
	taken := s.taken
	s.taken = s.times + 1 // no more, and nobody to tell
	s.mu.Unlock()
	close(s.leave)
	s.group.Wait()
	if s.cast != nil {
		s.cast.cancel(nil)
	}
	if taken == 0 {
		s.t.Errorf("replay %s: no client has connected", s.file)
	} else if taken < s.times {
		s.t.Errorf("replay %s: client has connected %d of %d times", s.file, taken, s.times)
	}
}

// DialContext connects to the server by a connection in memory, whatever the
// address. It is for clients that can be told how to dial, and works in a
// bubble of testing/synctest, where the server has no real port. Elsewhere the
// first call closes that port.
func (s *Server) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if s.script == nil { // relaying: the real server is not in memory either
		var d net.Dialer
		return d.DialContext(ctx, "tcp", s.listener.Addr().String())
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	s.listener.Close()
	client, server := memconn.Pipe()
	s.take(server)
	return client, nil
}

// relay lets the client talk to a real server, and records.
func (s *Server) relay(c *config, rec *recorder) {
	u, err := url.Parse(c.server)
	if err != nil {
		s.t.Fatalf("replay: %v", err)
	}
	p := &proxy.Proxy{Upstream: &url.URL{Scheme: u.Scheme, Host: u.Host}, Sink: &decode.Tee{Sinks: rec.sinks(c.sink)}}
	ctx, cancel := context.WithCancel(context.WithoutCancel(s.t.Context()))
	var err2 error
	s.group.Go(func() { err2 = p.Serve(ctx, s.listener) })
	s.t.Cleanup(func() {
		cancel()
		s.group.Wait()
		if err := errors.Join(err2, rec.finish()); err != nil {
			s.t.Errorf("replay: %v", err)
		}
	})
}

// Dial plays the client of the session in file against the server at rawURL,
// and makes the test fail, in a sentence, at the first thing that the server
// does otherwise. It returns when the session has been played. A path and query
// in rawURL replace the recorded ones, and its host replaces the recorded one
// in Host, and in Origin if that was the same.
func Dial(t T, rawURL, file string, opts ...Option) {
	t.Helper()
	c, err := newConfig(opts)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	var rec *recorder
	if c.update {
		rec = newRecorder(file)
		opts = append(opts[:len(opts):len(opts)], rec.also(c.sink))
	}
	scripts, err := loadFile(file, opts, c.all)
	if err != nil {
		t.Fatalf("replay: %v", err)
	}
	if c.all {
		err = (&Play{scripts}).Connect(t.Context(), rawURL)
	} else {
		err = scripts[0].Connect(t.Context(), rawURL)
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
func (s *Script) Connect(ctx context.Context, rawURL string) error {
	return s.connect(ctx, rawURL, performance{role: decode.FromClient})
}

func (s *Script) connect(ctx context.Context, rawURL string, how performance) error {
	u, err := url.Parse(rawURL)
	if err != nil {
		return err
	}
	port := u.Port()
	secure := false
	switch u.Scheme {
	case "ws", "http":
		port = orElse(port, "80")
	case "wss", "https":
		port, secure = orElse(port, "443"), true
	default:
		return fmt.Errorf("%q is not a ws:// or wss:// address", rawURL)
	}
	dial := s.dial
	if dial == nil {
		dial = new(net.Dialer).DialContext
	}
	conn, err := dial(ctx, "tcp", net.JoinHostPort(u.Hostname(), port))
	if err != nil {
		return err
	}
	if secure {
		conf := s.tls.Clone()
		if conf == nil {
			conf = &tls.Config{}
		}
		if conf.ServerName == "" {
			conf.ServerName = u.Hostname()
		}
		t := tls.Client(conn, conf)
		handshake, cancel := context.WithTimeoutCause(ctx, s.stall, &stallError{"client waits for the TLS handshake of the server", s.stall})
		err := t.HandshakeContext(handshake)
		if err != nil && handshake.Err() != nil {
			err = context.Cause(handshake)
		}
		cancel()
		if err != nil {
			conn.Close()
			return err
		}
		conn = t
	}
	how.url = u
	return s.play(ctx, conn, how)
}

func orElse(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

// A recorder makes a trace file anew.
type recorder struct {
	file string
	buf  bytes.Buffer
	w    *trace.Writer
}

func newRecorder(file string) *recorder {
	r := &recorder{file: file}
	r.w = trace.NewWriter(&r.buf, trace.Options{By: "wstrace"})
	return r
}

// redact redacts what was recorded as the old trace was.
func (r *recorder) redact() error {
	old, err := LoadFile(r.file)
	if err != nil || len(old.redact) == 0 {
		return nil // there is none
	}
	var b bytes.Buffer
	err = edit.Redact(&b, &r.buf, old.redact...)
	r.buf = b
	return err
}

func (r *recorder) sinks(other decode.Sink) []decode.Sink {
	switch other := other.(type) {
	case nil:
		return []decode.Sink{r.w}
	case *decode.Tee:
		return append([]decode.Sink{r.w}, other.Sinks...)
	}
	return []decode.Sink{r.w, other}
}

func (r *recorder) also(other decode.Sink) Option { return Events(&decode.Tee{Sinks: r.sinks(other)}) }

// finish replaces the file.
func (r *recorder) finish() error {
	if err := r.w.Err(); err != nil {
		return err
	}
	if r.buf.Len() == 0 {
		return fmt.Errorf("%s: nothing came to be recorded", r.file)
	}
	if err := r.redact(); err != nil {
		return err
	}
	if strings.HasSuffix(r.file, ".gz") {
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		w.Write(r.buf.Bytes())
		w.Close()
		r.buf = z
	}
	tmp, err := os.CreateTemp(filepath.Dir(r.file), filepath.Base(r.file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(r.buf.Bytes())
	if err == nil {
		err = tmp.Chmod(0o644)
	}
	if err := errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), r.file)
}
