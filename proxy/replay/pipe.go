package replay

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// pipe returns the two ends of a connection in memory. It is buffered like a
// socket, without a limit, and either end can be closed for writing only.
func pipe() (client, server net.Conn) {
	a, b := newStream(), newStream()
	return &pipeConn{in: a, out: b, addr: "client"}, &pipeConn{in: b, out: a, addr: "server"}
}

type pipeConn struct {
	in, out *stream
	addr    pipeAddr
}

// A stream is one direction of a pipe. Whoever changes it closes changed and
// makes another.
type stream struct {
	mu       sync.Mutex
	changed  chan struct{}
	buf      []byte
	err      error // what Read returns when buf is empty; nil while there may be more
	gone     error // what Write returns; nil while there is a reader
	deadline [2]time.Time
	timer    [2]*time.Timer
}

// The ends of a stream.
const (
	reader = iota
	writer
)

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// change tells those who wait to look again. It is called with mu locked.
func (s *stream) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

func (s *stream) read(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		switch {
		case s.expired(reader):
			return 0, os.ErrDeadlineExceeded
		case s.err == net.ErrClosed:
			return 0, s.err
		case len(s.buf) > 0:
			n := copy(p, s.buf)
			if s.buf = s.buf[n:]; len(s.buf) == 0 {
				s.buf = nil
			}
			return n, nil
		case s.err != nil || len(p) == 0:
			return 0, s.err
		}
		changed := s.changed
		s.mu.Unlock()
		<-changed
		s.mu.Lock()
	}
}

func (s *stream) write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.expired(writer):
		return 0, os.ErrDeadlineExceeded
	case s.gone != nil:
		return 0, s.gone
	}
	s.buf = append(s.buf, p...)
	s.change()
	return len(p), nil
}

// stop ends the stream for one or both ends: what Read returns at its end, and
// what Write returns.
func (s *stream) stop(err, gone error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil && (s.err == nil || s.err == io.EOF) {
		s.err = err
	}
	if gone != nil && s.gone == nil {
		s.gone = gone
	}
	s.change()
}

func (s *stream) expired(end int) bool {
	t := s.deadline[end]
	return !t.IsZero() && !time.Now().Before(t)
}

func (s *stream) setDeadline(end int, t time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer[end] != nil {
		s.timer[end].Stop()
		s.timer[end] = nil
	}
	s.deadline[end] = t
	if !t.IsZero() && end == reader {
		s.timer[end] = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.change()
		})
	}
	s.change()
}

func (c *pipeConn) Read(p []byte) (int, error) { n, err := c.in.read(p); return n, c.wrap("read", err) }
func (c *pipeConn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

func (c *pipeConn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Addr: c.addr, Err: err}
}

// CloseWrite ends what this end sends.
func (c *pipeConn) CloseWrite() error {
	c.out.stop(io.EOF, net.ErrClosed)
	return nil
}

// Close ends both directions.
func (c *pipeConn) Close() error {
	c.SetReadDeadline(time.Time{}) // no timer stays behind
	c.out.stop(io.EOF, net.ErrClosed)
	c.in.stop(net.ErrClosed, syscall.EPIPE)
	return nil
}

// reset ends both directions as a TCP connection does that is reset.
func (c *pipeConn) reset() {
	c.out.stop(syscall.ECONNRESET, net.ErrClosed)
	c.in.stop(net.ErrClosed, syscall.ECONNRESET)
}

func (c *pipeConn) LocalAddr() net.Addr { return c.addr }

func (c *pipeConn) RemoteAddr() net.Addr {
	if c.addr == "client" {
		return pipeAddr("server")
	}
	return pipeAddr("client")
}

func (c *pipeConn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

func (c *pipeConn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(reader, t)
	return nil
}

func (c *pipeConn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(writer, t)
	return nil
}

type pipeAddr string

func (a pipeAddr) Network() string { return "memory" }
func (a pipeAddr) String() string  { return string(a) }
