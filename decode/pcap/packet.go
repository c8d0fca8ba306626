package pcap

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// Lengths of headers, in bytes.
const (
	ethernetLen = 14
	ipv4Len     = 20
	ipv6Len     = 40
	tcpLen      = 20
	synLen      = 8 // of the options of a SYN
	maxHeaders  = ethernetLen + ipv6Len + tcpLen + synLen
)

// TCP payload, in bytes, that fits into a packet on Ethernet.
const (
	mssV4 = 1500 - ipv4Len - tcpLen
	mssV6 = 1500 - ipv6Len - tcpLen
)

// Flags of TCP (RFC 9293 §3.1).
const (
	fin = 1 << iota
	syn
	rst
	psh
	ack
)

const (
	window      = 65535
	windowShift = 14 // so that no sender ever fills the window (RFC 7323 §2.3)
)

var network = binary.BigEndian

// headers are those of the packets that one side of a conversation sends, with what
// differs between them left at 0.
type headers struct {
	b   [maxHeaders - synLen]byte
	ip  int    // where the header of TCP begins
	n   int    // how many bytes b has
	sum uint64 // of the addresses, for the checksum of TCP
	id  uint16 // of the next packet, for IPv4
}

// newHeaders returns the headers of the side with a locally administered MAC address
// that ends with mac.
func newHeaders(from, to netip.AddrPort, mac byte) headers {
	h := headers{}
	dst := append(h.b[:0], 2, 0, 0, 0, 0, mac^3)
	dst = append(dst, 2, 0, 0, 0, 0, mac)
	src, peer := from.Addr().AsSlice(), to.Addr().AsSlice()
	if from.Addr().Is6() {
		dst = append(dst, 0x86, 0xdd)
		dst = append(dst, 0x60, 0, 0, 0, 0, 0, protocolTCP, 64)
	} else {
		dst = append(dst, 0x08, 0x00)
		dst = append(dst, 0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, protocolTCP, 0, 0) // not to be fragmented
	}
	dst = append(append(dst, src...), peer...)
	h.ip = len(dst)
	h.n = h.ip + tcpLen
	network.PutUint16(h.b[h.ip:], from.Port())
	network.PutUint16(h.b[h.ip+2:], to.Port())
	h.sum = sum(sum(protocolTCP, src), peer)
	return h
}

const protocolTCP = 6

// append appends a packet without its payload, which has n bytes, and returns where
// the checksum of TCP has to go.
func (h *headers) append(dst []byte, flags byte, seq, ackSeq uint32, n int) (b []byte, checksum int) {
	at := len(dst)
	dst = append(dst, h.b[:h.n]...)
	tcp := tcpLen
	if flags&syn != 0 {
		tcp += synLen
		mss := uint16(mssV4)
		if h.v6() {
			mss = mssV6
		}
		dst = append(dst, 2, 4, byte(mss>>8), byte(mss), 1, 3, 3, windowShift)
	}
	if ip := dst[at+ethernetLen : at+h.ip]; h.v6() {
		network.PutUint16(ip[4:], uint16(tcp+n))
	} else {
		network.PutUint16(ip[2:], uint16(ipv4Len+tcp+n))
		network.PutUint16(ip[4:], h.id)
		h.id++
		network.PutUint16(ip[10:], fold(sum(0, ip)))
	}
	p := dst[at+h.ip:]
	network.PutUint32(p[4:], seq)
	if flags&ack != 0 {
		network.PutUint32(p[8:], ackSeq)
	}
	p[12], p[13] = byte(tcp/4)<<4, flags
	network.PutUint16(p[14:], window)
	return dst, at + h.ip + 16
}

func (h *headers) v6() bool { return h.ip == ethernetLen+ipv6Len }

// finish sets the checksum of the packet that ends with dst, or with lost bytes behind
// it, which count as zeros.
func (h *headers) finish(dst []byte, checksum, lost int) {
	tcp := dst[checksum-16:]
	network.PutUint16(dst[checksum:], fold(sum(h.sum+uint64(len(tcp)+lost), tcp)))
}

// sum adds the 16-bit words of b to a sum in ones' complement (RFC 1071). Only the
// last b may have an odd length.
func sum(s uint64, b []byte) uint64 {
	var carry uint64
	for len(b) >= 32 {
		s, carry = bits.Add64(s, network.Uint64(b), carry)
		s, carry = bits.Add64(s, network.Uint64(b[8:]), carry)
		s, carry = bits.Add64(s, network.Uint64(b[16:]), carry)
		s, carry = bits.Add64(s, network.Uint64(b[24:]), carry)
		b = b[32:]
	}
	for len(b) >= 2 {
		s, carry = bits.Add64(s, uint64(network.Uint16(b)), carry)
		b = b[2:]
	}
	if len(b) > 0 {
		s, carry = bits.Add64(s, uint64(b[0])<<8, carry)
	}
	s, carry = bits.Add64(s, 0, carry)
	return s + carry
}

// fold makes a checksum of a sum.
func fold(s uint64) uint16 {
	for s > 0xffff {
		s = s>>16 + s&0xffff
	}
	return ^uint16(s)
}
