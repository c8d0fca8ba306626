package pcap

import (
	"encoding/binary"
	"net/netip"
)

// The blocks of a pcapng file that are written (draft-tuexen-opsawg-pcapng §4).
const (
	typeSection    = 0x0A0D0D0A
	typeInterface  = 1
	typeNames      = 4
	typeStatistics = 5
	typePacket     = 6

	byteOrder    = 0x1A2B3C4D
	typeEthernet = 1 // of an interface's link
)

// Their options.
const (
	optionComment     = 1 // of any block
	optionApplication = 4 // of a section
	optionName        = 2 // of an interface
	optionDescription = 3
	optionTimeUnit    = 9
	optionFlags       = 2 // of a packet
	optionReceived    = 4 // of statistics
)

// Values of optionFlags.
const (
	flagInbound  = 1
	flagOutbound = 2
)

var little = binary.LittleEndian

// beginBlock begins a block, which endBlock ends.
func beginBlock(dst []byte, kind uint32) []byte {
	dst = little.AppendUint32(dst, kind)
	return append(dst, 0, 0, 0, 0)
}

// endBlock ends the block that begins at dst[at].
func endBlock(dst []byte, at int) []byte {
	n := uint32(len(dst) - at + 4)
	little.PutUint32(dst[at+4:], n)
	return little.AppendUint32(dst, n)
}

// pad pads what has n bytes to a multiple of 4.
func pad(dst []byte, n int) []byte {
	return append(dst, 0, 0, 0)[:len(dst)+-n&3]
}

func appendOption(dst []byte, code uint16, value string) []byte {
	dst = little.AppendUint16(dst, code)
	dst = little.AppendUint16(dst, uint16(len(value)))
	return pad(append(dst, value...), len(value))
}

// endOptions ends a list of options that is not empty.
func endOptions(dst []byte) []byte { return append(dst, 0, 0, 0, 0) }

func appendSection(dst []byte, by, comment string) []byte {
	at := len(dst)
	dst = beginBlock(dst, typeSection)
	dst = little.AppendUint32(dst, byteOrder)
	dst = append(dst, 1, 0, 0, 0)           // version 1.0
	dst = little.AppendUint64(dst, 1<<64-1) // its length is not known
	dst = appendOption(dst, optionComment, comment)
	if by != "" {
		dst = appendOption(dst, optionApplication, by)
	}
	return endBlock(endOptions(dst), at)
}

func appendInterface(dst []byte, name, description string) []byte {
	at := len(dst)
	dst = beginBlock(dst, typeInterface)
	dst = append(dst, typeEthernet, 0, 0, 0)
	dst = append(dst, 0, 0, 0, 0) // no limit on the length of packets
	dst = appendOption(dst, optionName, name)
	dst = appendOption(dst, optionDescription, description)
	dst = appendOption(dst, optionTimeUnit, "\x09") // 10^-9 seconds
	return endBlock(endOptions(dst), at)
}

// appendName says that an address has a name.
func appendName(dst []byte, addr netip.Addr, name string) []byte {
	const recordV4, recordV6 = 1, 2
	at := len(dst)
	dst = beginBlock(dst, typeNames)
	record := uint16(recordV4)
	if addr.Is6() {
		record = recordV6
	}
	n := addr.BitLen()/8 + len(name) + 1
	dst = little.AppendUint16(dst, record)
	dst = little.AppendUint16(dst, uint16(n))
	dst = append(dst, addr.AsSlice()...)
	dst = append(append(dst, name...), 0)
	dst = pad(dst, n)
	return endBlock(append(dst, 0, 0, 0, 0), at)
}

func appendStatistics(dst []byte, iface uint32, time, packets uint64) []byte {
	at := len(dst)
	dst = beginBlock(dst, typeStatistics)
	dst = little.AppendUint32(dst, iface)
	dst = appendTime(dst, time)
	dst = little.AppendUint16(dst, optionReceived)
	dst = little.AppendUint16(dst, 8)
	dst = little.AppendUint64(dst, packets)
	return endBlock(endOptions(dst), at)
}

// appendTime appends a time in nanoseconds since 1970.
func appendTime(dst []byte, t uint64) []byte {
	dst = little.AppendUint32(dst, uint32(t>>32))
	return little.AppendUint32(dst, uint32(t))
}

// beginPacket begins the block of a packet with n bytes, which follow, and lost more,
// which don't.
func beginPacket(dst []byte, iface uint32, time uint64, n, lost int) []byte {
	dst = beginBlock(dst, typePacket)
	dst = little.AppendUint32(dst, iface)
	dst = appendTime(dst, time)
	dst = little.AppendUint32(dst, uint32(n))
	return little.AppendUint32(dst, uint32(n+lost))
}

// optionsLen is how many bytes the options of a packet without a comment have.
const optionsLen = 4 + 4 + 4

// endPacket ends the block of a packet with n bytes that begins at dst[at].
func endPacket(dst []byte, at, n int, flags uint32, comments []string) []byte {
	dst = pad(dst, n)
	dst = little.AppendUint16(dst, optionFlags)
	dst = little.AppendUint16(dst, 4)
	dst = little.AppendUint32(dst, flags)
	for _, c := range comments {
		dst = appendOption(dst, optionComment, c)
	}
	return endBlock(endOptions(dst), at)
}
