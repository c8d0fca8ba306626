package child

import (
	"encoding/binary"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// lasting is how long a datagram socket has to be connected to be counted. The
// resolver connects some, and closes them at once, only to learn of routes.
const lasting = time.Second

// wanted returns where a connect of p leads, or false if that is not to be looked
// into.
func (t *tracer) wanted(p *process, s int, raw []byte, n *notification) (Wanted, bool) {
	family := binary.NativeEndian.Uint16(raw)
	if family == unix.AF_UNIX {
		t.countManager(raw[2:])
		return Wanted{}, false
	}
	addr, ok := inetAddr(raw)
	domain, _ := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_DOMAIN)
	if !ok || domain != int(family) {
		return Wanted{}, false
	}
	kind, _ := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_TYPE)
	protocol, _ := unix.GetsockoptInt(s, unix.SOL_SOCKET, unix.SO_PROTOCOL)
	switch {
	case kind == unix.SOCK_DGRAM && addr.Port() != 53:
		t.countDatagrams(p.pid, int(int32(n.args[0])), s)
		return Wanted{}, false
	case kind != unix.SOCK_STREAM:
		return Wanted{}, false
	case protocol != unix.IPPROTO_TCP:
		t.passed.Protocol.Add(1)
		return Wanted{}, false
	case t.lead.Own(unmapped(peerOf(raw))):
		return Wanted{}, false
	case t.elsewhere(s, p.pid):
		t.passed.Namespace.Add(1)
		return Wanted{}, false
	}
	if device, err := unix.GetsockoptString(s, unix.SOL_SOCKET, unix.SO_BINDTODEVICE); err == nil && device != "" {
		t.passed.Device.Add(1)
		return Wanted{}, false
	}
	return Wanted{Addr: unmapped(raw), PID: p.pid, Process: p.name()}, true
}

// unmapped returns the address in a sockaddr, without the form that IPv6 has for IPv4.
func unmapped(raw []byte) netip.AddrPort {
	addr, _ := inetAddr(raw)
	return netip.AddrPortFrom(addr.Addr().Unmap(), addr.Port())
}

// inetAddr returns the address in a sockaddr_in or sockaddr_in6.
func inetAddr(b []byte) (netip.AddrPort, bool) {
	switch family := binary.NativeEndian.Uint16(b); {
	case family == unix.AF_INET && len(b) >= unix.SizeofSockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(b[4:8])), binary.BigEndian.Uint16(b[2:])), true
	case family == unix.AF_INET6 && len(b) >= unix.SizeofSockaddrInet6:
		a := netip.AddrFrom16([16]byte(b[8:24]))
		if scope := binary.NativeEndian.Uint32(b[24:]); scope != 0 {
			a = a.WithZone(strconv.Itoa(int(scope)))
		}
		return netip.AddrPortFrom(a, binary.BigEndian.Uint16(b[2:])), true
	}
	return netip.AddrPort{}, false
}

// elsewhere reports whether the socket s of a process is in another network namespace
// than ours, where we can't dial.
func (t *tracer) elsewhere(s, pid int) bool {
	if t.netns != 0 {
		cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err == nil && cookie != t.netns
	}
	ours, err := os.Readlink("/proc/self/ns/net")
	theirs, err2 := os.Readlink("/proc/" + strconv.Itoa(pid) + "/ns/net")
	return err == nil && err2 == nil && ours != theirs
}

// ownNamespace returns the cookie of our network namespace, or 0 if the kernel has
// none (before Linux 5.14).
func ownNamespace() uint64 {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return 0
	}
	defer unix.Close(s)
	cookie, _ := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
	return cookie
}

// managers are sockets of services that start processes for others, which are not
// under the filter.
var managers = []string{"docker.sock", "podman.sock", "containerd.sock", "systemd/private"}

func (t *tracer) countManager(path []byte) {
	name, _, _ := strings.Cut(string(path), "\x00")
	for _, m := range managers {
		if strings.HasSuffix(name, "/"+m) {
			t.passed.Managers.Add(1)
		}
	}
}

// countDatagrams counts a datagram socket if it lasts.
func (t *tracer) countDatagrams(pid, fd, s int) {
	cookie, err := cookieOf(s)
	if err != nil {
		return
	}
	time.AfterFunc(lasting, func() {
		p, err := openProcess(uint32(pid))
		if err != nil {
			return
		}
		defer p.close()
		s, err := p.socket(fd)
		if err != nil {
			return
		}
		defer unix.Close(s)
		if again, err := cookieOf(s); err == nil && again == cookie {
			t.passed.UDP.Add(1)
		}
	})
}
