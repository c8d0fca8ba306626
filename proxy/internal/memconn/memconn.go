// Package memconn has connections in memory. They are like those of TCP: either
// end can be closed for writing only, or reset, and reads and writes have
// deadlines. In a bubble of testing/synctest they wait as sockets can't.
package memconn

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// A Conn is one end of a connection.
type Conn struct {
	in, out *stream
	addr    addr
}

// Pipe returns the two ends of a connection that is buffered like one of
// sockets, but without a limit.
func Pipe() (client, server *Conn) { return pipe(false) }

// SyncPipe returns the two ends of a connection without any buffer: a Write
// lasts until all of it has been read, and what has not been read when it fails
// never will be.
func SyncPipe() (client, server *Conn) { return pipe(true) }

func pipe(unbuffered bool) (client, server *Conn) {
	a, b := newStream(unbuffered), newStream(unbuffered)
	return &Conn{in: a, out: b, addr: "client"}, &Conn{in: b, out: a, addr: "server"}
}

// Read reads what the other end has written.
func (c *Conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p)
	return n, c.wrap("read", err)
}

// Write writes to the other end.
func (c *Conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p)
	return n, c.wrap("write", err)
}

func (c *Conn) wrap(op string, err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	return &net.OpError{Op: op, Net: "memory", Addr: c.addr, Err: err}
}

// CloseWrite ends what this end sends.
func (c *Conn) CloseWrite() error {
	c.out.stop(io.EOF, net.ErrClosed)
	return nil
}

// CloseRead ends what this end receives: the other can't write any more.
func (c *Conn) CloseRead() error {
	c.SetReadDeadline(time.Time{}) // no timer stays behind
	c.in.stop(net.ErrClosed, syscall.EPIPE)
	return nil
}

// Close ends both directions.
func (c *Conn) Close() error {
	c.SetWriteDeadline(time.Time{})
	c.CloseWrite()
	return c.CloseRead()
}

// Reset ends both directions as a TCP connection does that is reset.
func (c *Conn) Reset() {
	c.out.stop(syscall.ECONNRESET, net.ErrClosed)
	c.in.stop(net.ErrClosed, syscall.ECONNRESET)
}

// LocalAddr returns an address of no network: "client" or "server".
func (c *Conn) LocalAddr() net.Addr { return c.addr }

// RemoteAddr returns that of the other end.
func (c *Conn) RemoteAddr() net.Addr {
	if c.addr == "client" {
		return addr("server")
	}
	return addr("client")
}

// SetDeadline sets both deadlines.
func (c *Conn) SetDeadline(t time.Time) error {
	c.SetReadDeadline(t)
	return c.SetWriteDeadline(t)
}

// SetReadDeadline sets when Read gives up; zero is never.
func (c *Conn) SetReadDeadline(t time.Time) error {
	c.in.setDeadline(reader, t)
	return nil
}

// SetWriteDeadline sets when Write gives up; zero is never.
func (c *Conn) SetWriteDeadline(t time.Time) error {
	c.out.setDeadline(writer, t)
	return nil
}

type addr string

func (a addr) Network() string { return "memory" }
func (a addr) String() string  { return string(a) }

// A stream is one direction of a connection. Whoever changes it closes changed
// and makes another.
type stream struct {
	unbuffered bool
	writing    sync.Mutex // held by an unbuffered Write

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

func newStream(unbuffered bool) *stream {
	return &stream{unbuffered: unbuffered, changed: make(chan struct{})}
}

// change tells those who wait to look again. It is called with mu locked.
func (s *stream) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// wait waits for a change. It is called with mu locked.
func (s *stream) wait() {
	changed := s.changed
	s.mu.Unlock()
	<-changed
	s.mu.Lock()
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
			if s.unbuffered {
				s.change()
			}
			return n, nil
		case s.err != nil || len(p) == 0:
			return 0, s.err
		}
		s.wait()
	}
}

func (s *stream) write(p []byte) (int, error) {
	if s.unbuffered {
		s.writing.Lock()
		defer s.writing.Unlock()
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.refusal(); err != nil {
		return 0, err
	}
	s.buf = append(s.buf, p...)
	s.change()
	for s.unbuffered && len(s.buf) > 0 {
		if err := s.refusal(); err != nil {
			n := len(p) - len(s.buf)
			s.buf = nil
			return n, err
		}
		s.wait()
	}
	return len(p), nil
}

// refusal returns why nothing can be written, or nil.
func (s *stream) refusal() error {
	if s.expired(writer) {
		return os.ErrDeadlineExceeded
	}
	return s.gone
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
	if !t.IsZero() && (end == reader || s.unbuffered) { // nobody else waits
		s.timer[end] = time.AfterFunc(time.Until(t), func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			s.change()
		})
	}
	s.change()
}
