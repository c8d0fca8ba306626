package decode

import (
	"encoding/binary"
	"math"
	"slices"

	"github.com/gobwas/ws"
)

// MaxPiece is the most payload, in bytes, that one frame event carries. A
// longer frame is delivered as a first piece and later ones.
const MaxPiece = 64 << 10

// A Frame is one WebSocket frame (RFC 6455 §5.2), or a piece of one.
//
// It borrows the bytes that it was decoded from and is valid until the next
// call on the [Decoder] or [Session] it came from; [Frame.Clone] keeps it.
type Frame struct {
	ws.Header

	Dir      Dir
	N        int64  // which frame of its direction this is, from 0
	Offset   int64  // of the header's first byte among the direction's WebSocket bytes
	Head     []byte // the header as it came: 2 to 14 bytes
	At       int64  // position in the payload of the first byte at hand
	More     bool   // this is a later piece: the first one was delivered before
	Complete bool   // the payload at hand reaches the end of the frame

	// Message is the opcode of the message that a data frame belongs to, so of its
	// first frame. It is 0 in what is not known to belong to one, and in what a
	// Decoder yields: a Session sets it.
	Message ws.OpCode

	payload []byte // at hand, as on the wire: masked iff Masked
}

// Len returns how many bytes of payload are at hand.
func (f *Frame) Len() int { return len(f.payload) }

// WireLen returns the length of the whole frame on the wire in bytes, header
// included, as its header declares it, or math.MaxInt64 if it is more.
func (f *Frame) WireLen() int64 {
	return int64(min(uint64(len(f.Head))+uint64(f.Length), math.MaxInt64))
}

// Flags returns the first byte of the frame: FIN, RSV1 to RSV3 and the opcode.
func (f *Frame) Flags() byte { return f.Head[0] }

// MinimalLength reports whether the payload length is encoded in the fewest
// bytes that can hold it (RFC 6455 §5.2).
func (f *Frame) MinimalLength() bool { return len(f.Head) == ws.HeaderSize(f.Header) }

// LengthBits returns the width of the length field: 7, 16 or 64.
func (f *Frame) LengthBits() int {
	switch f.Head[1] & 0x7f {
	case 126:
		return 16
	case 127:
		return 64
	}
	return 7
}

// AppendPayload appends at most max bytes of the payload at hand to dst,
// unmasked (RFC 6455 §5.3), and returns the extended slice. A negative max
// means all of it.
func (f *Frame) AppendPayload(dst []byte, max int) []byte {
	p := f.payload
	if max >= 0 && max < len(p) {
		p = p[:max]
	}
	n := len(dst)
	dst = append(dst, p...)
	if f.Masked {
		ws.Cipher(dst[n:], f.Mask, int(f.At&3))
	}
	return dst
}

// AppendWire appends the bytes at hand as they were on the wire to dst: the
// header, unless this is a later piece, and the payload at hand.
func (f *Frame) AppendWire(dst []byte) []byte {
	if !f.More {
		dst = append(dst, f.Head...)
	}
	return append(dst, f.payload...)
}

// Clone returns a copy of f that shares no bytes with it.
func (f *Frame) Clone() *Frame {
	c := *f
	c.Head = append([]byte(nil), f.Head...)
	c.payload = append([]byte(nil), f.payload...)
	return &c
}

// Control reports whether f is a control frame: its opcode is 8 or more
// (RFC 6455 §5.5), defined or reserved.
func (f *Frame) Control() bool { return f.OpCode >= 8 }

var opNames = [16]string{"cont", "text", "bin", "rsv3", "rsv4", "rsv5", "rsv6", "rsv7",
	"close", "ping", "pong", "rsv11", "rsv12", "rsv13", "rsv14", "rsv15"}

// OpName returns the name under which every output shows an opcode: cont,
// text, bin, close, ping, pong, or rsv and the number (RFC 6455 §11.8).
func OpName(op ws.OpCode) string { return opNames[op&15] }

// ParseOp returns the opcode with the given name.
func ParseOp(name string) (op ws.OpCode, ok bool) {
	i := slices.Index(opNames[:], name)
	return ws.OpCode(max(i, 0)), i >= 0
}

// AppendHeader appends the header of a frame to dst, with its length in a field of bits,
// 7, 16 or 64, or in a wider one if that does not hold it (RFC 6455 §5.2).
func AppendHeader(dst []byte, h ws.Header, bits int) []byte {
	first := h.Rsv<<4 | byte(h.OpCode)
	if h.Fin {
		first |= 0x80
	}
	var masked byte
	if h.Masked {
		masked = 0x80
	}
	switch n := uint64(h.Length); max(bits, LengthBits(n)) {
	case 64:
		dst = binary.BigEndian.AppendUint64(append(dst, first, masked|127), n)
	case 16:
		dst = binary.BigEndian.AppendUint16(append(dst, first, masked|126), uint16(n))
	default:
		dst = append(dst, first, masked|byte(n))
	}
	if h.Masked {
		dst = append(dst, h.Mask[:]...)
	}
	return dst
}

// LengthBits returns the width of the narrowest length field that can hold n:
// 7, 16 or 64 (RFC 6455 §5.2).
func LengthBits(n uint64) int {
	switch {
	case n < 126:
		return 7
	case n <= 0xffff:
		return 16
	}
	return 64
}
