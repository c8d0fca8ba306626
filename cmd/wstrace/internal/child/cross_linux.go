package child

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// A crossing links the socket of a process with one of ours, in two steps: the
// process's socket is on its way at once, as the process may ask it or be interrupted,
// and it is connected when the address that the process wants has answered.
//
// The socket connects to ours, which does not listen. A filter keeps the refusal
// from it, so it goes on waiting. At last our socket connects to it: two that connect
// to each other become one connection (RFC 9293 §3.5, simultaneous open).
type crossing struct {
	socket int // of the process
	ours   int
	local  unix.Sockaddr // of socket, before it was on its way
}

// errNotFresh says that a socket is connected, or listens.
var errNotFresh = errors.New("socket is in use")

// newCrossing begins a crossing for socket s, which it owns if there is no error.
func newCrossing(s int, want netip.Addr, blocks bool) (*crossing, error) {
	c := &crossing{socket: s}
	if info, err := unix.GetsockoptTCPInfo(s, unix.IPPROTO_TCP, unix.TCP_INFO); err != nil || info.State != tcpClose {
		return nil, errNotFresh
	}
	var err error
	if c.local, err = unix.Getsockname(s); err != nil {
		return nil, err
	}
	to, err := c.bindOurs(want)
	if err != nil {
		return nil, err
	}
	if err := c.depart(to, blocks); err != nil {
		unix.Close(c.ours)
		return nil, err
	}
	return c, nil
}

// States of a TCP socket, from include/net/tcp_states.h.
const tcpClose = 7

// bindOurs makes our socket, and returns its address as the process's socket needs
// it to reach addr.
func (c *crossing) bindOurs(addr netip.Addr) (to unix.Sockaddr, err error) {
	family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{Addr: someLoopback()})
	if addr.Is6() && !addr.Is4In6() {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	}
	c.ours, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, err
	}
	if err = unix.Bind(c.ours, at); err == nil {
		to, err = unix.Getsockname(c.ours)
	}
	if err != nil {
		unix.Close(c.ours)
		return nil, err
	}
	if v4, ok := to.(*unix.SockaddrInet4); ok && addr.Is4In6() {
		to = &unix.SockaddrInet6{Port: v4.Port, Addr: netip.AddrFrom4(v4.Addr).As16()}
	}
	return to, nil
}

// someLoopback returns an address of 127.0.0.0/8, so that ports do not run out.
func someLoopback() [4]byte {
	n := rand.Uint32()
	return [4]byte{127, byte(n >> 16), byte(n >> 8), byte(n)%254 + 1}
}

// dropAll is a filter that drops every packet.
var dropAll = []unix.SockFilter{{Code: unix.BPF_RET | unix.BPF_K, K: 0}}

// depart has the process's socket connect to ours, without an answer. Nobody but the
// process that waits has a use for the socket, so it can be made not to block.
func (c *crossing) depart(to unix.Sockaddr, blocks bool) error {
	drop := unix.SockFprog{Len: uint16(len(dropAll)), Filter: &dropAll[0]}
	if err := unix.SetsockoptSockFprog(c.socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &drop); err != nil {
		return err
	}
	unix.SetsockoptInt(c.socket, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 0) // it would wait for data
	if blocks {
		if err := unix.SetNonblock(c.socket, true); err != nil {
			c.detach()
			return err
		}
		defer unix.SetNonblock(c.socket, false)
	}
	if err := unix.Connect(c.socket, to); err != unix.EINPROGRESS {
		c.detach()
		if err == nil {
			err = errNotFresh
		}
		return err
	}
	return nil
}

func (c *crossing) detach() {
	unix.SetsockoptInt(c.socket, unix.SOL_SOCKET, unix.SO_DETACH_FILTER, 0)
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

// crossTime is how long two sockets of this machine may take to connect.
const crossTime = 5 * time.Second

// complete connects the two, and returns our side. After an error fail has to follow.
func (c *crossing) complete() (net.Conn, error) {
	to, err := unix.Getsockname(c.socket)
	if err != nil {
		return nil, err
	}
	if v6, ok := to.(*unix.SockaddrInet6); ok && netip.AddrFrom16(v6.Addr).Is4In6() {
		to = &unix.SockaddrInet4{Port: v6.Port, Addr: netip.AddrFrom16(v6.Addr).Unmap().As4()}
	}
	c.detach()
	if err := unix.Connect(c.ours, to); err != nil && err != unix.EINPROGRESS {
		return nil, err
	}
	if err := connected(c.ours); err != nil {
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

// connected waits until a socket is.
func connected(fd int) error {
	fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLOUT}}
	for deadline := time.Now().Add(crossTime); ; {
		n, err := unix.Poll(fds, int(time.Until(deadline).Milliseconds()))
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
	c.detach()
	unix.Shutdown(c.socket, unix.SHUT_RDWR)
	if answered {
		unix.GetsockoptInt(c.socket, unix.SOL_SOCKET, unix.SO_ERROR) // which takes it away
	}
	unix.Close(c.socket)
	if c.ours >= 0 {
		unix.Close(c.ours)
	}
}
