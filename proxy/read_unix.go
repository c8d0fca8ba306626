//go:build unix

package proxy

import (
	"io"
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
