package child

import (
	"fmt"
	"net/netip"
	"sync"

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

// parks are those that a tracer has: more than one if sockets need another.
type parks struct {
	mu     sync.Mutex
	v4, v6 []*park // protected by mu
}

// maxParks is how many parks there may be of each kind. A socket that is bound to a
// port can be in each once.
const maxParks = 256

// openParks opens the first park.
func openParks() (*parks, error) {
	ps := new(parks)
	_, err := ps.at(false, 0)
	return ps, err
}

// at returns park i, which it opens if it is the next one.
func (ps *parks) at(v6 bool, i int) (*park, error) {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list, ip := &ps.v4, netip.AddrFrom4([4]byte{127, 0, 0, 1})
	if v6 {
		list, ip = &ps.v6, netip.IPv6Loopback()
	}
	if i == len(*list) {
		p, err := newPark(ip)
		if err != nil {
			return nil, err
		}
		*list = append(*list, p)
	}
	return (*list)[i], nil
}

func (ps *parks) close() {
	for _, list := range [][]*park{ps.v4, ps.v6} {
		for _, p := range list {
			p.close()
		}
	}
}
