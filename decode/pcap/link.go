package pcap

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// A segment is what a packet says of TCP.
type segment struct {
	src, dst netip.AddrPort
	seq, ack uint32
	syn, fin bool
	rst      bool
	hasAck   bool
	payload  []byte
	cut      int    // bytes of payload behind it that were not captured
	options  []byte // of its block, if a Writer has written it
}

// Values of LINKTYPE_ that are known.
const (
	linkNull      = 0
	linkEthernet  = 1
	linkRaw12     = 12 // as some systems number it
	linkRaw14     = 14
	linkRaw       = 101
	linkLoop      = 108
	linkLinux     = 113
	linkIPv4      = 228
	linkIPv6      = 229
	linkLinux2    = 276
	maxTags       = 8 // of VLANs in one packet
	maxExtensions = 8 // headers of IPv6 in one packet
)

// A content is what a packet is.
type content uint8

const (
	contentOther content = iota // nothing that matters here
	contentTCP
	contentUDP
	contentFragment // a part of an IP packet
	contentLink     // of a link type that is not known
)

// A linkDecoder decodes the layers of packets up to TCP. It is kept for its memory.
type linkDecoder struct {
	eth  layers.Ethernet
	tag  layers.Dot1Q
	sll  layers.LinuxSLL
	sll2 layers.LinuxSLL2
	null layers.Loopback
	ip4  layers.IPv4
	ip6  layers.IPv6
	tcp  layers.TCP
}

// decode sets s to the segment in p. Of UDP it sets the addresses and the payload.
func (l *linkDecoder) decode(p *packet, s *segment) content {
	*s = segment{}
	var kind layers.EthernetType
	var data []byte
	var err error
	none := gopacket.NilDecodeFeedback
	switch p.link {
	case linkEthernet:
		err = l.eth.DecodeFromBytes(p.data, none)
		kind, data = l.eth.EthernetType, l.eth.Payload
	case linkLinux:
		err = l.sll.DecodeFromBytes(p.data, none)
		kind, data = l.sll.EthernetType, l.sll.Payload
	case linkLinux2:
		err = l.sll2.DecodeFromBytes(p.data, none)
		kind, data = l.sll2.ProtocolType, l.sll2.Payload
	case linkNull, linkLoop:
		err = l.null.DecodeFromBytes(p.data, none)
		kind, data = byVersion(l.null.Payload), l.null.Payload
	case linkRaw, linkRaw12, linkRaw14, linkIPv4, linkIPv6:
		kind, data = byVersion(p.data), p.data
	default:
		return contentLink
	}
	for range maxTags {
		if err != nil {
			return contentOther
		}
		switch kind {
		case layers.EthernetTypeDot1Q, layers.EthernetTypeQinQ, 0x9100:
			err = l.tag.DecodeFromBytes(data, none)
			kind, data = l.tag.Type, l.tag.Payload
		case layers.EthernetTypeIPv4:
			return l.v4(p, data, s)
		case layers.EthernetTypeIPv6:
			return l.v6(p, data, s)
		default:
			return contentOther
		}
	}
	return contentOther
}

// byVersion returns the type of an IP packet, by the version in it.
func byVersion(b []byte) layers.EthernetType {
	if len(b) > 0 {
		switch b[0] >> 4 {
		case 4:
			return layers.EthernetTypeIPv4
		case 6:
			return layers.EthernetTypeIPv6
		}
	}
	return 0
}

func (l *linkDecoder) v4(p *packet, b []byte, s *segment) content {
	if err := l.ip4.DecodeFromBytes(b, gopacket.NilDecodeFeedback); err != nil {
		return contentOther
	}
	cut := p.cut
	if declared := int(binary.BigEndian.Uint16(b[2:])); declared != 0 { // it is with segmentation offload
		cut = max(declared-len(b), 0)
	}
	if l.ip4.FragOffset != 0 || l.ip4.Flags&layers.IPv4MoreFragments != 0 {
		return fragmentOf(l.ip4.Protocol)
	}
	src, _ := netip.AddrFromSlice(l.ip4.SrcIP)
	dst, _ := netip.AddrFromSlice(l.ip4.DstIP)
	return l.transport(l.ip4.Protocol, src, dst, l.ip4.Payload, cut, s)
}

// fragmentOf returns what a part of an IP packet is.
func fragmentOf(proto layers.IPProtocol) content {
	if proto == layers.IPProtocolTCP {
		return contentFragment
	}
	return contentOther
}

func (l *linkDecoder) v6(p *packet, b []byte, s *segment) content {
	err := l.ip6.DecodeFromBytes(b, gopacket.NilDecodeFeedback)
	if len(b) < 40 {
		return contentOther
	}
	cut := p.cut
	switch declared := int(binary.BigEndian.Uint16(b[4:])); {
	case declared != 0:
		cut = max(declared-(len(b)-40), 0)
	case err != nil && l.ip6.NextHeader != layers.IPProtocolIPv6HopByHop:
		err = nil // it is 0 with segmentation offload, too
	}
	if err != nil {
		return contentOther
	}
	next, data := l.ip6.NextHeader, l.ip6.Payload
	if l.ip6.HopByHop != nil {
		next = l.ip6.HopByHop.NextHeader
	}
	src, _ := netip.AddrFromSlice(l.ip6.SrcIP)
	dst, _ := netip.AddrFromSlice(l.ip6.DstIP)
	for range maxExtensions {
		switch next {
		case layers.IPProtocolIPv6Destination, layers.IPProtocolIPv6Routing:
			if len(data) < 8 || len(data) < 8+int(data[1])*8 {
				return contentOther
			}
			next, data = layers.IPProtocol(data[0]), data[8+int(data[1])*8:]
		case layers.IPProtocolIPv6Fragment:
			if len(data) < 8 {
				return contentOther
			}
			if binary.BigEndian.Uint16(data[2:])&^6 != 0 { // else it is whole
				return fragmentOf(layers.IPProtocol(data[0]))
			}
			next, data = layers.IPProtocol(data[0]), data[8:]
		default:
			return l.transport(next, src, dst, data, cut, s)
		}
	}
	return contentOther
}

func (l *linkDecoder) transport(proto layers.IPProtocol, src, dst netip.Addr, b []byte, cut int, s *segment) content {
	switch proto {
	case layers.IPProtocolTCP:
		// What is wrong with its options does not matter.
		if err := l.tcp.DecodeFromBytes(b, gopacket.NilDecodeFeedback); len(b) < 20 || err != nil && (b[12]>>4 < 5 || int(b[12]>>4)*4 > len(b)) {
			return contentOther
		}
		t := &l.tcp
		s.src, s.dst = netip.AddrPortFrom(src, uint16(t.SrcPort)), netip.AddrPortFrom(dst, uint16(t.DstPort))
		s.seq, s.ack = t.Seq, t.Ack
		s.syn, s.fin, s.rst, s.hasAck = t.SYN, t.FIN, t.RST, t.ACK
		s.payload, s.cut = b[int(b[12]>>4)*4:], cut
		return contentTCP
	case layers.IPProtocolUDP:
		if len(b) < 8 {
			return contentOther
		}
		s.src, s.dst = netip.AddrPortFrom(src, binary.BigEndian.Uint16(b)), netip.AddrPortFrom(dst, binary.BigEndian.Uint16(b[2:]))
		s.payload = b[8:]
		return contentUDP
	}
	return contentOther
}

// linkName returns how a link type is named.
func linkName(link uint32) string { return fmt.Sprintf("%s%d", linkPrefix, link) }

const linkPrefix = "link type "

// beginsQUIC reports whether the payload of a datagram is one with which QUIC begins:
// it has a long header, with a version that is known (RFC 9000 §17.2, RFC 9369).
func beginsQUIC(b []byte) bool {
	if len(b) < 1200 || b[0]&0xc0 != 0xc0 {
		return false
	}
	v := binary.BigEndian.Uint32(b[1:])
	return v == 1 || v == 0x6b3343cf
}
