package pcap

import (
	"cmp"
	"net/netip"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// addresses makes up what is not known of addresses: a capture has a number for each
// host, and one family for both ends of a conversation.
type addresses struct {
	madeUp map[hostKey]netip.Addr
	named  map[netip.Addr]bool
	count  [2]uint32 // of those made up: IPv4, IPv6
}

type hostKey struct {
	name string
	v6   bool
}

// maxHosts is how many names get an address of their own, and how many addresses a
// name.
const maxHosts = 1 << 16

// A host is what an address in an [decode.Info] says.
type host struct {
	name string
	addr netip.Addr // invalid for a name
	port uint16     // 0 if it has none
}

// parseHost parses "host:port", where either may be missing.
func parseHost(s string) (h host) {
	if a, err := netip.ParseAddrPort(s); err == nil {
		h.addr, h.port = a.Addr(), a.Port()
	} else if a, err := netip.ParseAddr(strings.Trim(s, "[]")); err == nil {
		h.addr = a
	} else {
		h.name = s
		if i := strings.LastIndexByte(s, ':'); i >= 0 {
			if p, err := strconv.ParseUint(s[i+1:], 10, 16); err == nil {
				h.name, h.port = s[:i], uint16(p)
			}
		}
		return h
	}
	h.addr = h.addr.Unmap().WithZone("")
	h.name = h.addr.String()
	return h
}

// parseURL returns the host in a URL, and whether its scheme is one of TLS.
func parseURL(url string) (h host, tls bool) {
	scheme, rest, ok := strings.Cut(url, "://")
	if !ok {
		rest, scheme = url, ""
	}
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		rest = rest[:i]
	}
	rest = rest[strings.LastIndexByte(rest, '@')+1:]
	return parseHost(rest), scheme == "wss" || scheme == "https"
}

// of returns the ends of the conversation of a session, in one family: that of the
// server, if it has an address, or else of the client. names tells of each address
// that is not the host's own, or has a name besides.
func (a *addresses) of(info *decode.Info, names func(netip.Addr, string)) (client, server netip.AddrPort) {
	c, s := parseHost(info.Client), parseHost(info.Server)
	u, tls := parseURL(info.URL)
	if s.name == "" {
		s = u
	}
	c.name, s.name = cmp.Or(c.name, "client"), cmp.Or(s.name, "server")
	if s.port == 0 {
		s.port = 80
		if tls {
			s.port = 443
		}
	}
	if c.port == 0 {
		c.port = madeUpPort(info.Conn)
	}
	v6 := s.addr.Is6() || !s.addr.IsValid() && c.addr.Is6()
	switch {
	case !s.addr.IsValid():
		s.addr = a.makeUp(s.name, v6, names)
	case u.name != "" && !u.addr.IsValid():
		a.name(s.addr, u.name, names)
	}
	if !c.addr.IsValid() || c.addr.Is6() != v6 {
		c.addr = a.makeUp(c.name, v6, names)
	}
	return netip.AddrPortFrom(c.addr, c.port), netip.AddrPortFrom(s.addr, s.port)
}

// madeUpPort returns an ephemeral port.
func madeUpPort(n int64) uint16 { return uint16(49152 + uint64(n)%16384) }

// makeUp returns the address that stands for a name.
func (a *addresses) makeUp(name string, v6 bool, names func(netip.Addr, string)) netip.Addr {
	k := hostKey{name, v6}
	if addr, ok := a.madeUp[k]; ok {
		return addr
	}
	family := 0
	if v6 {
		family = 1
	}
	if a.count[family] < maxHosts {
		a.count[family]++
	}
	addr := madeUpAddr(a.count[family], v6)
	if len(a.madeUp) >= maxHosts {
		return addr // which others have too
	}
	if a.madeUp == nil {
		a.madeUp = make(map[hostKey]netip.Addr)
	}
	a.madeUp[k] = addr
	names(addr, name)
	return addr
}

// name tells of the first name of an address.
func (a *addresses) name(addr netip.Addr, name string, names func(netip.Addr, string)) {
	if a.named[addr] || len(a.named) >= maxHosts {
		return
	}
	if a.named == nil {
		a.named = make(map[netip.Addr]bool)
	}
	a.named[addr] = true
	names(addr, name)
}

// madeUpAddr returns the nth address, from 1, of those that are for documentation
// (RFC 5737, RFC 3849) and, if those don't suffice, for tests (RFC 2544).
func madeUpAddr(n uint32, v6 bool) netip.Addr {
	if v6 {
		b := [16]byte{0x20, 0x01, 0x0d, 0xb8}
		network.PutUint32(b[12:], n)
		return netip.AddrFrom16(b)
	}
	const each = 254
	nets := [][4]byte{{192, 0, 2}, {198, 51, 100}, {203, 0, 113}}
	n--
	if i := n / each; i < uint32(len(nets)) {
		b := nets[i]
		b[3] = byte(n%each + 1)
		return netip.AddrFrom4(b)
	}
	n -= each*uint32(len(nets)) - 1
	return netip.AddrFrom4([4]byte{198, 18 + byte(n>>16)&1, byte(n >> 8), byte(n)})
}
