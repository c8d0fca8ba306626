package main

import (
	"net"

	"golang.org/x/sys/unix"
)

// bytesMoved returns how many bytes of a connection were read, and arrived at its peer,
// how many are unread, and how many have not arrived.
func bytesMoved(c *net.TCPConn) (moved, unread, unacked int64) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, 0, 0
	}
	raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			moved = int64(info.Bytes_received) + int64(info.Bytes_acked)
		}
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCINQ); err == nil {
			unread = int64(n)
		}
		if n, err := unix.IoctlGetInt(int(fd), unix.SIOCOUTQ); err == nil {
			unacked = int64(n)
		}
	})
	return moved - unread, unread, unacked
}
