package proxy

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/clock"
)

// A leg is one of the two connections of a link, with the bytes that were read
// from it and not yet used. One goroutine reads it; another may write to it.
type leg struct {
	net.Conn
	clock *clock.Clock
	when  time.Time // of the latest read, by clock

	below *leg            // of a TLS connection, the one that its records come from
	dry   bool            // below has no complete record unread
	raw   syscall.RawConn // to wait without a buffer; nil if the connection has none
	ready func(fd uintptr) bool
	n     int   // what ready read
	err   error // why it could not

	buf   *buffer // nil while nothing is unread
	r, w  int     // the unread bytes are buf.b[r:w]
	class int     // size of the next buffer

	shut atomic.Bool // we have ended our side
	cut  atomic.Bool // without close_notify

	unidentified bool // of TLS: the server asked for a certificate of ours, and got none
}

// newLeg returns the leg of a connection, whose times are those of the proxy.
func (p *Proxy) newLeg(c net.Conn) *leg {
	l := newLeg(c)
	l.clock = &p.clock
	return l
}

func newLeg(c net.Conn) *leg {
	l := &leg{Conn: c}
	if sc, ok := c.(syscall.Conn); ok && canReadRaw {
		if raw, err := sc.SyscallConn(); err == nil {
			l.raw, l.ready, l.class = raw, l.readRaw, 1
		}
	}
	return l
}

// unread returns the bytes that were read and not used. They are valid until
// the next fill or use.
func (l *leg) unread() []byte {
	if l.buf == nil {
		return nil
	}
	return l.buf.b[l.r:l.w]
}

// readAt returns when the latest fill returned.
func (l *leg) readAt() time.Time { return l.when }

// use drops the first n unread bytes.
func (l *leg) use(n int) {
	if l.r += n; l.r == l.w {
		l.drop()
	}
}

// drop drops all unread bytes.
func (l *leg) drop() {
	if l.buf != nil {
		l.buf.put()
		l.buf, l.r, l.w = nil, 0, 0
	}
}

// release drops all unread bytes, those below TLS too.
func (l *leg) release() {
	for ; l != nil; l = l.below {
		l.drop()
	}
}

// errFull says that more is unread than a buffer can hold.
var errFull = errors.New("buffer is full")

// fill waits for more bytes and adds them to the unread ones. At the end of the
// stream it returns io.EOF.
func (l *leg) fill() error {
	if l.buf != nil && l.w == len(l.buf.b) {
		if err := l.grow(); err != nil {
			return err
		}
	}
	var n int
	var err error
	switch {
	case l.below != nil:
		n, err = l.readTLS()
	case l.raw != nil:
		if err = l.raw.Read(l.ready); err == nil {
			n, err = l.n, l.err
		}
	default:
		l.take()
		n, err = l.Conn.Read(l.buf.b[l.w:])
	}
	l.when = l.clock.Now()
	if n > 0 {
		if l.class > 0 {
			l.adapt(n)
		}
		l.w += n
		return nil
	}
	if l.r == l.w {
		l.drop()
	}
	if err == nil {
		err = io.EOF
	}
	if (err == io.EOF || err == io.ErrUnexpectedEOF) && wasReset(l.base()) && !l.shut.Load() {
		// A write was told of the reset, so the read is not. Our own end, which may
		// come between, looks the same: therefore shut is asked last.
		err = syscall.ECONNRESET
	}
	return err
}

func (l *leg) take() {
	if l.buf == nil {
		l.buf = getBuffer(l.class)
	}
}

// adapt chooses the size of the next buffer by how much a read of n bytes used
// of this one.
func (l *leg) adapt(n int) {
	size := len(l.buf.b)
	switch {
	case n == size-l.w && l.class < len(bufferSizes)-1:
		l.class = min(l.buf.class+1, len(bufferSizes)-1)
	case n < size/4 && l.class > 1:
		l.class--
	}
}

// grow makes room behind the unread bytes, which fill the buffer.
func (l *leg) grow() error {
	b := l.unread()
	if l.r > 0 {
		l.w = copy(l.buf.b, b)
		l.r = 0
		return nil
	}
	if l.buf.class == len(bufferSizes)-1 {
		return errFull
	}
	next := &buffer{make([]byte, bufferSizes[l.buf.class+1]), l.buf.class + 1}
	if next.class > 1 {
		largeInUse.Add(int64(len(next.b))) // a head is bounded, so this is not refused
	}
	copy(next.b, b)
	l.buf.put()
	l.buf = next
	return nil
}

// closeWrite ends our side of the connection and leaves the other side open,
// where that is possible.
func (l *leg) closeWrite() {
	l.shut.Store(true)
	if c, ok := l.Conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
		return
	}
	l.Close()
}

// endLike ends our side of the connection as its peer ended, with err: a
// half-close as a half-close, a reset as a reset.
func (l *leg) endLike(err error) {
	switch {
	case err == io.EOF, errors.Is(err, net.ErrClosed):
		l.closeWrite()
	case howEnded(err) == decode.EndTLSEOF, isAlert(err): // without close_notify here too
		l.cut.Store(true)
		for ; l.below != nil; l = l.below {
			l.shut.Store(true)
		}
		l.closeWrite()
	default:
		l.reset()
	}
}

// base returns the connection below TLS, or the connection itself.
func (l *leg) base() net.Conn {
	c := l.Conn
	for {
		switch b := c.(type) {
		case *tls.Conn:
			c = b.NetConn()
		case *records:
			c = b.Conn
		default:
			return c
		}
	}
}

// reset closes the connection with RST, so that the peer learns of a reset
// from a reset.
func (l *leg) reset() {
	c := l.base()
	if c, ok := c.(interface{ SetLinger(sec int) error }); ok {
		c.SetLinger(0)
	}
	c.Close()
}

const (
	lingerIdle = 2 * time.Second
	lingerTime = 30 * time.Second
)

// lingerClose closes the connection after the peer has had the time to read
// what was written: a close with bytes unread would reset it. It waits as long
// as the peer sends, within limits.
func (l *leg) lingerClose() {
	l.closeWrite()
	for end := time.Now().Add(lingerTime); ; {
		l.drop()
		l.SetReadDeadline(time.Now().Add(min(lingerIdle, time.Until(end))))
		if l.fill() != nil {
			break
		}
	}
	l.drop()
	l.Close()
}

// cause returns how the peer has ended, after a write to it failed.
func (l *leg) cause() error {
	l.SetReadDeadline(time.Now().Add(lingerIdle))
	for {
		l.drop()
		if err := l.fill(); err != nil {
			return err
		}
	}
}

// howEnded tells how a direction ended from the error of a read.
func howEnded(err error) decode.End {
	switch {
	case err == io.EOF, isAlert(err): // an alert says that it is over, as close_notify does
		return decode.EndFIN
	case errors.Is(err, syscall.ECONNRESET):
		return decode.EndRST
	case errors.Is(err, io.ErrUnexpectedEOF):
		return decode.EndTLSEOF
	case errors.Is(err, os.ErrDeadlineExceeded):
		return decode.EndTimeout
	}
	return decode.EndLocal
}

func isTimeout(err error) bool { return errors.Is(err, os.ErrDeadlineExceeded) }
