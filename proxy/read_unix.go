//go:build unix

package proxy

import (
	"io"
	"net"
	"syscall"
)

const canReadRaw = true

// readRaw is called by the runtime when there may be bytes to read. Only then
// it takes a buffer, and gives it back if there were none after all: false
// means wait and call again.
func (l *leg) readRaw(fd uintptr) bool {
	l.take()
	for {
		l.n, l.err = syscall.Read(int(fd), l.buf.b[l.w:])
		switch l.err {
		case syscall.EINTR:
			continue
		case syscall.EAGAIN:
			if l.r == l.w {
				l.drop()
			}
			return false
		case nil:
			if l.n == 0 {
				l.err = io.EOF
			}
		}
		return true
	}
}

// wasReset reports whether c, whose stream has ended while we still could
// write, was reset by its peer. Only one of a read and a write that happen at
// the same time is told of a reset; the other finds an end or a broken pipe. A
// connection that its peer has only ended still has a peer.
func wasReset(c net.Conn) bool {
	sc, ok := c.(syscall.Conn)
	if !ok {
		return false
	}
	raw, err := sc.SyscallConn()
	if err != nil {
		return false
	}
	raw.Control(func(fd uintptr) { _, err = syscall.Getpeername(int(fd)) })
	return err == syscall.ENOTCONN
}
