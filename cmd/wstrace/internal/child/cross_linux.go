package child

import (
	"errors"
	"net"
	"net/netip"
	"os"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// A crossing links the socket of a process with one of ours, in two steps. At once
// the process's socket is on its way to a [park], so that it is what the process takes
// it for when it asks, or is interrupted. When the address that the process wants has
// answered, our socket connects to it from the park's address: two that connect to
// each other become one connection (RFC 9293 §3.5, simultaneous open).
type crossing struct {
	socket int           // of the process; -1 once we have let go of it
	blocks bool          // the process's connect does
	bound  unix.Sockaddr // what socket was bound to before it was on its way
	from   unix.Sockaddr // its address on the way
	to     unix.Sockaddr // the park's address, as socket has it
	ours   int           // bound to the park's address; -1 once it is handed on
}

var (
	// errNotFresh says that a socket is connected, on its way, or listens.
	errNotFresh = errors.New("socket is in use")

	// errGivenUp says that the process no longer waits for the connection.
	errGivenUp = errors.New("the process has given up")
)

// States of a TCP socket, from include/net/tcp_states.h.
const (
	tcpSynSent = 2
	tcpClose   = 7
)

// newCrossing begins a crossing for socket s, which wants to connect to addr. If there
// is no error, s belongs to it.
func newCrossing(s int, ps *parks, addr netip.Addr, blocks bool) (*crossing, error) {
	if tcpState(s) != tcpClose {
		return nil, errNotFresh
	}
	c := &crossing{socket: s, blocks: blocks, ours: -1}
	var err error
	if c.bound, err = unix.Getsockname(s); err != nil {
		return nil, err
	}
	for i := range maxParks { // a socket with a port of its own can go to each once
		if err = c.begin(ps, i, addr); err != unix.EADDRNOTAVAIL {
			break
		}
	}
	if err != nil {
		return nil, err
	}
	return c, nil
}

// begin begins the crossing at park i.
func (c *crossing) begin(ps *parks, i int, addr netip.Addr) error {
	p, err := ps.at(addr.Is6() && !addr.Is4In6(), i)
	if err != nil {
		return err
	}
	family := unix.AF_INET6
	c.to = p.addr
	if v4, ok := p.addr.(*unix.SockaddrInet4); ok {
		family = unix.AF_INET
		if addr.Is4In6() {
			c.to = &unix.SockaddrInet6{Port: v4.Port, Addr: netip.AddrFrom4(v4.Addr).As16()}
		}
	}
	if c.ours, err = boundSocket(family, p.addr); err != nil {
		return err
	}
	if err = c.depart(); err == nil {
		c.from, err = unix.Getsockname(c.socket)
	}
	if err != nil {
		unix.Close(c.ours)
		c.ours = -1
	}
	return err
}

// depart sends the process's socket on its way. Nobody but the process that waits has a
// use for it, so it can be made not to block for a moment.
func (c *crossing) depart() error {
	unix.SetsockoptInt(c.socket, unix.IPPROTO_TCP, unix.TCP_FASTOPEN_CONNECT, 0) // it would wait for data
	if c.blocks {
		if err := unix.SetNonblock(c.socket, true); err != nil {
			return err
		}
		defer unix.SetNonblock(c.socket, false)
	}
	switch err := unix.Connect(c.socket, c.to); err {
	case unix.EINPROGRESS:
		return nil
	case nil:
		return errNotFresh
	default:
		return err
	}
}

// cookieOf returns the number of a socket, which no other socket ever has.
func cookieOf(s int) (uint64, error) {
	return unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_COOKIE)
}

func tcpState(s int) uint8 {
	info, err := unix.GetsockoptTCPInfo(s, unix.IPPROTO_TCP, unix.TCP_INFO)
	if err != nil {
		return 0
	}
	return info.State
}

// addrOf returns an IP address and port, without the form that IPv6 has for IPv4.
func addrOf(sa unix.Sockaddr) netip.AddrPort {
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port))
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port))
	}
	return netip.AddrPort{}
}

// boundTo returns the address from which the process wants to connect, or nil if any
// will do. The same port can be had for another socket if both permit that.
func (c *crossing) boundTo() *net.TCPAddr {
	a := addrOf(c.bound)
	if a.Port() == 0 && a.Addr().IsUnspecified() || !a.IsValid() {
		return nil
	}
	if a.Port() != 0 {
		unix.SetsockoptInt(c.socket, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
	}
	to := &net.TCPAddr{Port: int(a.Port())}
	if !a.Addr().IsUnspecified() {
		to.IP = a.Addr().AsSlice()
	}
	return to
}

// complete connects the two, and returns our side. After an error fail has to follow.
func (c *crossing) complete() (net.Conn, error) {
	to := c.from
	if v6, ok := to.(*unix.SockaddrInet6); ok && netip.AddrFrom16(v6.Addr).Is4In6() {
		to = &unix.SockaddrInet4{Port: v6.Port, Addr: netip.AddrFrom16(v6.Addr).Unmap().As4()}
	}
	unix.SetsockoptInt(c.ours, unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) // else urgent data would be lost
	if err := unix.Connect(c.ours, to); err != nil && err != unix.EINPROGRESS {
		return nil, err
	}
	if err := ready(c.ours, unix.POLLOUT); err != nil {
		return nil, err
	}
	file := os.NewFile(uintptr(c.ours), "")
	c.ours = -1
	defer file.Close()
	return net.FileConn(file)
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
		return socketError(fd)
	}
}

// socketError returns the error of a socket, and takes it away.
func socketError(fd int) error {
	e, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ERROR)
	if err == nil && e != 0 {
		err = unix.Errno(e)
	}
	return err
}

// settle has the kernel know that the connect of the process, which blocks, is over.
func (c *crossing) settle() { unix.Connect(c.socket, c.to) }

// letGo closes our descriptor of the process's socket, so that the process alone has it.
func (c *crossing) letGo() {
	if c.socket >= 0 {
		unix.Close(c.socket)
		c.socket = -1
	}
}

// release ends a crossing. The process's socket stays as it is.
func (c *crossing) release() {
	c.letGo()
	if c.ours >= 0 {
		unix.Close(c.ours)
		c.ours = -1
	}
}

// ended returns why the process's socket is no longer on its way, as the connect that
// blocks would, and makes it ready to be connected again. It returns nil while it is.
func (c *crossing) ended() error {
	if tcpState(c.socket) != tcpClose {
		return nil
	}
	err := socketError(c.socket)
	if err == nil {
		err = unix.ECONNABORTED
	}
	disconnect(c.socket)
	return err
}

// refuse has the process's socket refused, as a loopback address does it where nobody
// listens: a connect that does not block is under way before it is refused, and some
// programs can't do with less. It returns what connect says.
func (c *crossing) refuse() error {
	_, v6 := c.to.(*unix.SockaddrInet6)
	v4 := addrOf(c.to).Addr().Is4()
	to, r, err := newRefuser(!v4)
	if err != nil {
		return unix.ECONNREFUSED
	}
	defer unix.Close(r)
	if at, ok := to.(*unix.SockaddrInet4); ok && v6 {
		to = &unix.SockaddrInet6{Port: at.Port, Addr: netip.AddrFrom4(at.Addr).As16()}
	}
	return unix.Connect(c.socket, to)
}

// fail makes the process's socket s, which is on its way, ready to be connected again.
// Unless the error will be the answer to a connect, the process finds it in the socket:
// as a reset, since nothing else can be put there.
func (c *crossing) fail(s int, answered bool) {
	switch {
	case s >= 0 && tcpState(s) == tcpSynSent:
		disconnect(s)
		if answered {
			socketError(s)
		}
	case s < 0 && c.ours >= 0: // we have lost sight of it
		unix.SetsockoptLinger(c.ours, unix.SOL_SOCKET, unix.SO_LINGER, &unix.Linger{Onoff: 1})
		if conn, err := c.complete(); err == nil {
			conn.Close()
		}
	}
}

// disconnect ends what a socket is about (connect(2): AF_UNSPEC).
func disconnect(s int) {
	var none unix.RawSockaddrInet6 // AF_UNSPEC
	unix.Syscall(unix.SYS_CONNECT, uintptr(s), uintptr(unsafe.Pointer(&none)), unix.SizeofSockaddrInet4)
}
