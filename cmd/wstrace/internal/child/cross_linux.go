package child

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A crossing links the socket of a process with one of ours, in two steps. At once
// the process's socket is on its way to a [park], so that it is what the process takes
// it for when it asks, or is interrupted. When the address that the process wants has
// answered, our socket connects to it from the park's address: two that connect to
// each other become one connection (RFC 9293 §3.5, simultaneous open).
type crossing struct {
	socket int           // of the process
	local  unix.Sockaddr // of socket, before it was on its way
	ours   int           // bound to the park's address; -1 once it is handed on
}

// errNotFresh says that a socket is connected, on its way, or listens.
var errNotFresh = errors.New("socket is in use")

// tcpClose is the state of a TCP socket that has done nothing yet, from
// include/net/tcp_states.h.
const tcpClose = 7

// newCrossing begins a crossing for socket s, which wants to connect to addr. If there
// is no error, s is closed by complete or fail.
func newCrossing(s int, p *park, addr netip.Addr, blocks bool) (*crossing, error) {
	if info, err := unix.GetsockoptTCPInfo(s, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.State != tcpClose {
		return nil, errNotFresh
	}
	if p == nil {
		return nil, unix.EADDRNOTAVAIL
	}
	local, err := unix.Getsockname(s)
	if err != nil {
		return nil, err
	}
	c := &crossing{socket: s, local: local}
	to, family := p.addr, unix.AF_INET6
	if v4, ok := p.addr.(*unix.SockaddrInet4); ok {
		family = unix.AF_INET
		if addr.Is4In6() {
			to = &unix.SockaddrInet6{Port: v4.Port, Addr: netip.AddrFrom4(v4.Addr).As16()}
		}
	}
	if c.ours, err = boundSocket(family, p.addr); err != nil {
		return nil, err
	}
	if err := c.depart(to, blocks); err != nil {
		unix.Close(c.ours)
		return nil, err
	}
	return c, nil
}

// depart sends the process's socket on its way. Nobody but the process that waits has a
// use for it, so it can be made not to block for a moment.
func (c *crossing) depart(to unix.Sockaddr, blocks bool) error {
	unix.SetsockoptInt(c.socket, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 0) // it would wait for data
	if blocks {
		if err := unix.SetNonblock(c.socket, true); err != nil {
			return err
		}
		defer unix.SetNonblock(c.socket, false)
	}
	switch err := unix.Connect(c.socket, to); err {
	case unix.EINPROGRESS:
		return nil
	case nil:
		return errNotFresh
	default:
		return err
	}
}

// boundTo returns the address from which the process wants to connect, or nil if any
// will do.
func (c *crossing) boundTo() net.Addr {
	var ip netip.Addr
	switch a := c.local.(type) {
	case *unix.SockaddrInet4:
		ip = netip.AddrFrom4(a.Addr)
	case *unix.SockaddrInet6:
		ip = netip.AddrFrom16(a.Addr).Unmap()
	}
	if !ip.IsValid() || ip.IsUnspecified() {
		return nil
	}
	return &net.TCPAddr{IP: ip.AsSlice()}
}

// complete connects the two, and returns our side. After an error fail has to follow.
func (c *crossing) complete() (net.Conn, error) {
	to, err := unix.Getsockname(c.socket)
	if err != nil {
		return nil, err
	}
	if v6, ok := to.(*unix.SockaddrInet6); ok && netip.AddrFrom16(v6.Addr).Is4In6() {
		to = &unix.SockaddrInet4{Port: v6.Port, Addr: netip.AddrFrom16(v6.Addr).Unmap().As4()}
	}
	if err := unix.Connect(c.ours, to); err != nil && err != unix.EINPROGRESS {
		return nil, err
	}
	if err := ready(c.ours, unix.POLLOUT); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(c.ours), "")
	c.ours = -1
	defer file.Close()
	conn, err := net.FileConn(file)
	if err != nil {
		return nil, err
	}
	unix.Close(c.socket)
	return conn, nil
}

// readyTime is how long a connection on this machine may take to come about.
const readyTime = 5 * time.Second

// ready waits until a socket is, for events of poll.
func ready(fd int, events int16) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: events}}
	for deadline := time.Now().Add(readyTime); ; {
		n, err := unix.Poll(fds, max(int(time.Until(deadline).Milliseconds()), 0))
		if err == unix.EINTR {
			continue
		}
		if err != nil {
			return err
		}
		if n == 0 {
			return unix.ETIMEDOUT
		}
		e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
		if err == nil && e != 0 {
			err = unix.Errno(e)
		}
		return err
	}
}

// fail gives the process's socket up, so that it can be connected again. Unless the
// error will be the answer to a connect, the process finds it in the socket: as a
// reset, since nothing else can be put there.
func (c *crossing) fail(answered bool) {
	unix.Shutdown(c.socket, unix.SHUT_RDWR)
	if answered {
		unix.GetsockoptInt(c.socket, unix.SOL_SOCKET, unix.SO_ERROR) // which takes it away
	}
	unix.Close(c.socket)
	if c.ours >= 0 {
		unix.Close(c.ours)
	}
}
