package child

import (
	"bytes"
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// peerOf returns the address that a connected socket has for its peer, if it wanted to
// connect to raw: nobody's address means this machine.
func peerOf(raw []byte) []byte {
	if binary.NativeEndian.Uint16(raw) == unix.AF_INET {
		raw = bytes.Clone(raw[:unix.SizeofSockaddrInet4])
		if ip := raw[4:8]; bytes.Equal(ip, make([]byte, 4)) {
			copy(ip, []byte{127, 0, 0, 1})
		}
		return raw
	}
	raw = bytes.Clone(raw[:unix.SizeofSockaddrInet6])
	if ip := raw[8:24]; bytes.Equal(ip, make([]byte, 16)) {
		ip[15] = 1
	}
	return raw
}

// peerName answers getpeername(2): with the address that the process wanted.
func (t *tracer) peerName(n *notification) answer {
	p, s, err := t.open(n)
	if p == nil || err != nil {
		return leave
	}
	defer p.close()
	defer unix.Close(s)
	cookie, err := cookieOf(s)
	if err != nil {
		return leave
	}
	t.mu.Lock()
	raw := t.led[cookie]
	t.mu.Unlock()
	if raw == nil {
		return leave
	}
	if _, err := unix.Getpeername(s); err != nil { // it has ended
		return leave
	}
	size := make([]byte, 4)
	if _, err := p.mem.ReadAt(size, int64(n.args[2])); err != nil {
		return leave
	}
	room := int32(binary.NativeEndian.Uint32(size))
	if room < 0 {
		return leave
	}
	if !t.waits(n) {
		return leave
	}
	if _, err := p.mem.WriteAt(raw[:min(int(room), len(raw))], int64(n.args[1])); err != nil {
		return answer{errno: unix.EFAULT}
	}
	binary.NativeEndian.PutUint32(size, uint32(len(raw)))
	if _, err := p.mem.WriteAt(size, int64(n.args[2])); err != nil {
		return answer{errno: unix.EFAULT}
	}
	return answer{}
}
