//go:build !unix

package proxy

import "net"

// Elsewhere a socket can't be read by its handle; a small buffer is held while
// waiting.
const canReadRaw = false

func (l *leg) readRaw(uintptr) bool { panic("not reached") }

func wasReset(net.Conn) bool { return false }
