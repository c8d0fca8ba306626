package child

import (
	"encoding/binary"
	"net/netip"

	"golang.org/x/sys/unix"
)

// Of struct inet_diag_req_v2 and inet_diag_msg, from linux/inet_diag.h.
const (
	sockDiagByFamily = 20
	diagRequestLen   = 56
)

// diagState asks the kernel for the state of a TCP socket of this machine with these
// two addresses and this cookie. It returns 0 if there is no such socket, and an error
// if the kernel does not say.
func diagState(from, to netip.AddrPort, cookie uint64) (uint8, error) {
	s, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_SOCK_DIAG)
	if err != nil {
		return 0, err
	}
	defer unix.Close(s)
	b := make([]byte, unix.SizeofNlMsghdr+diagRequestLen)
	ne, be := binary.NativeEndian, binary.BigEndian
	ne.PutUint32(b, uint32(len(b)))
	ne.PutUint16(b[4:], sockDiagByFamily)
	ne.PutUint16(b[6:], unix.NLM_F_REQUEST)
	r := b[unix.SizeofNlMsghdr:]
	r[0] = unix.AF_INET6
	if from.Addr().Is4() {
		r[0] = unix.AF_INET
	}
	r[1] = unix.IPPROTO_TCP
	ne.PutUint32(r[4:], 0xffffffff) // in any state
	id := r[8:]
	be.PutUint16(id, from.Port())
	be.PutUint16(id[2:], to.Port())
	copy(id[4:], from.Addr().AsSlice())
	copy(id[20:], to.Addr().AsSlice())
	ne.PutUint32(id[40:], uint32(cookie))
	ne.PutUint32(id[44:], uint32(cookie>>32))
	if err := unix.Sendto(s, b, 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return 0, err
	}
	answer := make([]byte, 4096)
	n, _, err := unix.Recvfrom(s, answer, 0)
	if err != nil {
		return 0, err
	}
	if n < unix.SizeofNlMsghdr+4 {
		return 0, unix.EBADMSG
	}
	body := answer[unix.SizeofNlMsghdr:n]
	switch kind := ne.Uint16(answer[4:]); kind {
	case sockDiagByFamily:
		return body[1], nil
	case unix.NLMSG_ERROR:
		if e := unix.Errno(-int32(ne.Uint32(body))); e != unix.ENOENT && e != unix.ESTALE {
			return 0, e
		}
		return 0, nil
	}
	return 0, unix.EBADMSG
}
