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

// newPark opens a park.
func newPark(v6 bool) (*park, error) {
	p := &park{listener: -1, filler: -1}
	if err := p.open(v6); err != nil {
		p.close()
		return nil, fmt.Errorf("listen on this machine: %w", err)
	}
	return p, nil
}

func (p *park) open(v6 bool) (err error) {
	family, at := loopback(v6)
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

// loopback returns the address of this machine, and any port.
func loopback(v6 bool) (family int, at unix.Sockaddr) {
	if v6 {
		return unix.AF_INET6, &unix.SockaddrInet6{Addr: netip.IPv6Loopback().As16()}
	}
	return unix.AF_INET, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}
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

// newRefuser returns an address of this machine where every connect is refused, as long as
// the socket is open.
func newRefuser(v6 bool) (addr unix.Sockaddr, socket int, err error) {
	family, at := loopback(v6)
	if socket, err = boundSocket(family, at); err != nil {
		return nil, -1, err
	}
	if addr, err = unix.Getsockname(socket); err != nil {
		unix.Close(socket)
		return nil, -1, err
	}
	return addr, socket, nil
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
	list := &ps.v4
	if v6 {
		list = &ps.v6
	}
	if i == len(*list) {
		p, err := newPark(v6)
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
