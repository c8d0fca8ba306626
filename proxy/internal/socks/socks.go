// Package socks follows what a client and its SOCKS proxy say to each other until
// there is a tunnel: SOCKS 5 (RFC 1928) without authentication or with a password
// (RFC 1929), SOCKS 4 and 4a.
package socks

import (
	"bytes"
	"net"
	"strconv"
)

// A Negotiation is how far the two have come. The client speaks first, and they
// take turns. The zero value is the beginning.
type Negotiation struct {
	Addr string // "host:port" that the client wants to go to, once it has said so

	step    step
	offered [4]uint64 // methods, as bits
}

// A step is whose message comes next, and which.
type step uint8

const (
	stepHello    step = iota // of the client: version 5 with its methods, or 4 with all that it wants
	stepMethod               // of the proxy
	stepPassword             // of the client
	stepVerdict              // of the proxy, on the password
	stepRequest              // of the client
	stepReply                // of the proxy, version 5
	stepReply4               // of the proxy, version 4
	stepTunnel
)

// Version returns the version that is spoken, 4 or 5, of what begins with b.
func Version(b []byte) int { return int(b[0]) }

// MayBegin reports whether b may begin what a client of SOCKS says.
func MayBegin(b []byte) bool {
	return len(b) > 0 && new(Negotiation).Client(b) >= 0
}

// Done reports whether there is a tunnel now.
func (n *Negotiation) Done() bool { return n.step == stepTunnel }

// Client takes the message at the start of b, which the client says next, and
// returns its length: 0 if there is more to come, less if it is not one that leads
// to a tunnel.
func (n *Negotiation) Client(b []byte) int {
	switch {
	case len(b) == 0:
		return 0
	case n.step == stepHello && b[0] == 4:
		return n.request4(b)
	case n.step == stepHello:
		return n.hello(b)
	case n.step == stepPassword:
		return n.password(b)
	case n.step == stepRequest:
		return n.request(b)
	}
	return -1
}

// Server is like Client, for what the proxy says.
func (n *Negotiation) Server(b []byte) int {
	switch n.step {
	case stepMethod:
		return n.method(b)
	case stepVerdict:
		if !starts(b, 1, 0) && !starts(b, 5, 0) { // some say the wrong version
			return -1
		}
		return n.went(b, 2, stepRequest)
	case stepReply:
		if !starts(b, 5, 0) {
			return -1
		}
		_, size := address(b, 3)
		return n.went(b, size, stepTunnel)
	case stepReply4:
		if !starts(b, 0, 90) && !starts(b, 4, 90) {
			return -1
		}
		return n.went(b, 8, stepTunnel)
	}
	return -1
}

// went takes a message of size bytes at the start of b, after which comes next.
// Size may be 0 for not known yet, and less for none.
func (n *Negotiation) went(b []byte, size int, next step) int {
	if size <= 0 || size > len(b) {
		return min(size, 0)
	}
	n.step = next
	return size
}

// starts reports whether b begins with start, or may do so.
func starts(b []byte, start ...byte) bool {
	size := min(len(b), len(start))
	return bytes.Equal(b[:size], start[:size])
}

const (
	methodNone     = 0
	methodPassword = 2
)

// hello takes the methods that a client offers, each once.
func (n *Negotiation) hello(b []byte) int {
	if b[0] != 5 || len(b) > 1 && b[1] == 0 {
		return -1
	}
	if len(b) < 2 {
		return 0
	}
	size := 2 + int(b[1])
	n.offered = [4]uint64{}
	for _, m := range b[2:min(size, len(b))] {
		if n.offers(m) || m == 0xff {
			return -1
		}
		n.offered[m/64] |= 1 << (m % 64)
	}
	return n.went(b, size, stepMethod)
}

func (n *Negotiation) offers(m byte) bool { return n.offered[m/64]&(1<<(m%64)) != 0 }

// method takes the method that the proxy has chosen.
func (n *Negotiation) method(b []byte) int {
	next := stepRequest
	switch {
	case !starts(b, 5):
		return -1
	case len(b) < 2:
		return 0
	case !n.offers(b[1]):
		return -1
	case b[1] == methodPassword:
		next = stepPassword
	case b[1] != methodNone:
		return -1
	}
	return n.went(b, 2, next)
}

// password takes a name and a password.
func (n *Negotiation) password(b []byte) int {
	if !starts(b, 1) {
		return -1
	}
	size := 2
	for range 2 { // name, password
		if len(b) < size {
			return 0
		}
		size += int(b[size-1]) + 1
	}
	return n.went(b, size-1, stepVerdict)
}

// request takes a request of version 5 to connect.
func (n *Negotiation) request(b []byte) int {
	if !starts(b, 5, 1, 0) {
		return -1
	}
	addr, size := address(b, 3)
	if size > 0 && size <= len(b) {
		if n.Addr = addr; addr == "" {
			return -1
		}
	}
	return n.went(b, size, stepReply)
}

// address reads the type of an address at b[at], the address and a port. It returns
// where they end, 0 if that is not known yet, and less if the type is none; and
// "host:port", or "" if that can't be, or b is too short.
func address(b []byte, at int) (addr string, end int) {
	if len(b) <= at {
		return "", 0
	}
	kind, start := b[at], at+1
	var size int
	switch kind {
	case 1:
		size = net.IPv4len
	case 4:
		size = net.IPv6len
	case 3:
		if len(b) <= start {
			return "", 0
		}
		size = int(b[start])
		start++
	default:
		return "", -1
	}
	end = start + size + 2
	if len(b) < end {
		return "", end
	}
	host := string(b[start : start+size])
	if kind != 3 {
		host = net.IP(host).String()
	}
	return join(host, b[start+size:]), end
}

// request4 takes a request of version 4 or 4a to connect.
func (n *Negotiation) request4(b []byte) int {
	const fixed, most = 8, 255 // of a name
	if !starts(b, 4, 1) {
		return -1
	}
	if len(b) < fixed {
		return 0
	}
	user, size := cString(b[fixed:], most)
	if size <= 0 {
		return size
	}
	for i := range len(user) {
		if user[i] < ' ' || user[i] == 0x7f {
			return -1
		}
	}
	ip := net.IP(b[4:fixed])
	host := ip.String()
	size += fixed
	if ip[0]|ip[1]|ip[2] == 0 && ip[3] != 0 { // version 4a has a name
		name, more := cString(b[size:], most)
		if more <= 0 {
			return more
		}
		host = string(name)
		size += more
	}
	if n.Addr = join(host, b[2:]); n.Addr == "" {
		return -1
	}
	return n.went(b, size, stepReply4)
}

// cString returns what stands before the first NUL in b, and where that ends; 0 if
// there is none, less if there is none soon.
func cString(b []byte, most int) (s []byte, end int) {
	switch i := bytes.IndexByte(b, 0); {
	case i > most, i < 0 && len(b) > most:
		return nil, -1
	case i < 0:
		return nil, 0
	default:
		return b[:i], i + 1
	}
}

// join returns "host:port", for the port that b begins with, or "" if one of them
// is none.
func join(host string, b []byte) string {
	port := int(b[0])<<8 | int(b[1])
	if port == 0 || !isHost(host) {
		return ""
	}
	return net.JoinHostPort(host, strconv.Itoa(port))
}

// isHost reports whether s is an address or is made of the letters of host names.
func isHost(s string) bool {
	for i := range len(s) {
		switch c := s[i]; {
		case 'a' <= c && c <= 'z', 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_', c == '.':
		default:
			return net.ParseIP(s) != nil
		}
	}
	return s != ""
}
