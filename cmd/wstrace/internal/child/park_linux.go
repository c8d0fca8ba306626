package child

import (
	"fmt"
	"net/netip"
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// A park is where the sockets of processes connect to, and wait. It is a listener of
// ours with a full queue, from which the kernel neither accepts nor refuses anybody
// (tcp_abort_on_overflow is for those that were accepted). Other sockets of ours have
// the same address, and connect from there to those that wait.
type park struct {
	addr     unix.Sockaddr
	listener int
	filler   int // the connection that fills the queue
}

// newPark opens a park at the loopback address ip.
func newPark(ip netip.Addr) (*park, error) {
	p := &park{listener: -1, filler: -1}
	if err := p.open(ip); err != nil {
		p.close()
		return nil, fmt.Errorf("listen on %v: %w", ip, err)
	}
	return p, nil
}

func (p *park) open(ip netip.Addr) (err error) {
	family, at := unix.AF_INET, unix.Sockaddr(&unix.SockaddrInet4{})
	if ip.Is4() {
		at = &unix.SockaddrInet4{Addr: ip.As4()}
	} else {
		family, at = unix.AF_INET6, &unix.SockaddrInet6{Addr: ip.As16()}
	}
	if p.listener, err = boundSocket(family, at); err != nil {
		return err
	}
	if err := unix.Listen(p.listener, 0); err != nil {
		return err
	}
	if p.addr, err = unix.Getsockname(p.listener); err != nil {
		return err
	}
	if p.filler, err = unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0); err != nil {
		return err
	}
	if err := unix.Connect(p.filler, p.addr); err != nil {
		return err
	}
	return ready(p.listener, unix.POLLIN) // the queue is full
}

func (p *park) close() {
	for _, fd := range []int{p.listener, p.filler} {
		if fd >= 0 {
			unix.Close(fd)
		}
	}
}

// boundSocket returns a socket that does not block, bound to an address that others of
// ours may have as well.
func boundSocket(family int, at unix.Sockaddr) (int, error) {
	fd, err := unix.Socket(family, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	err = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(fd, at)
	}
	if err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// parks are those that a tracer has: several, as a port can wait for the end of
// connections that were.
type parks struct {
	v4, v6 []*park
	next   atomic.Uint32
}

const parksOfKind = 4

// openParks opens the parks. Without IPv6 there are none for that.
func openParks() (*parks, error) {
	ps := new(parks)
	for range parksOfKind {
		p, err := newPark(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
		if err != nil {
			ps.close()
			return nil, err
		}
		ps.v4 = append(ps.v4, p)
		if p, err := newPark(netip.IPv6Loopback()); err == nil {
			ps.v6 = append(ps.v6, p)
		}
	}
	return ps, nil
}

func (ps *parks) close() {
	for _, list := range [][]*park{ps.v4, ps.v6} {
		for _, p := range list {
			p.close()
		}
	}
}

// of returns a park for a socket that wants to connect to addr, or nil if there is
// none.
func (ps *parks) of(addr netip.Addr) *park {
	list := ps.v4
	if addr.Is6() && !addr.Is4In6() {
		list = ps.v6
	}
	if len(list) == 0 {
		return nil
	}
	return list[int(ps.next.Add(1))%len(list)]
}
