package pcap

import (
	"bufio"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/bits"
	"net/netip"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// maxBlock is the length, in bytes, of the longest packet or block that is read.
// Wireshark has the same limit.
const maxBlock = 16 << 20

// maxInterfaces is how many interfaces a section may have.
const maxInterfaces = 1 << 16

// maxNames is how many names of hosts are kept.
const maxNames = 1 << 16

// A packet is one that was captured. Its data is valid until the next one is read.
type packet struct {
	link    uint32 // LINKTYPE_ value
	data    []byte
	cut     int  // bytes of the packet behind data that were not captured
	leg     bool // it is on the server leg of a Writer
	made    bool // a Writer has made it
	time    time.Time
	options []byte // of its block, in a section of a Writer
	offset  int64  // where in the file its record or block begins
}

// A blockReader reads the packets of a pcap or pcapng file.
type blockReader struct {
	r      *bufio.Reader
	offset int64 // of what is read next
	order  binary.ByteOrder
	buf    []byte
	head   [16]byte  // scratch
	last   time.Time // of the packet before

	ng   bool
	link uint32 // of pcap
	unit uint64 // of pcap: parts of a second

	ours       bool               // the section at hand is of a Writer
	interfaces []captureInterface // of the section at hand
	names      map[netip.Addr]string
	secrets    func([]byte) // takes a key log
}

// A captureInterface is where packets were captured.
type captureInterface struct {
	link  uint32
	snap  uint32 // bytes of a packet that are kept; 0 is no limit
	unit  uint64 // parts of a second
	shift int64  // seconds to be added
	leg   bool   // it is the server leg of a Writer
	made  bool   // it is one of a Writer
}

// Magic numbers (draft-ietf-opsawg-pcap, draft-ietf-opsawg-pcapng).
const (
	magicMicro   = 0xA1B2C3D4
	magicNano    = 0xA1B23C4D
	magicSection = 0x0A0D0D0A
	magicOrder   = 0x1A2B3C4D
)

// Types of blocks.
const (
	blockInterface = 1
	blockPacket    = 2 // obsolete
	blockSimple    = 3
	blockNames     = 4
	blockEnhanced  = 6
	blockSecrets   = 0x0A
)

// Options of an interface.
const (
	optionEnd        = 0
	optionResolution = 9
	optionShift      = 14
)

// secretsTLS is the type of secrets that are a key log of TLS.
const secretsTLS = 0x544C534B

// MagicLen is how many bytes of a file [IsCapture] needs.
const MagicLen = 12

// IsCapture reports whether a file that begins with head is pcap or pcapng.
func IsCapture(head []byte) bool {
	if len(head) < MagicLen {
		return false
	}
	for _, order := range []binary.ByteOrder{binary.LittleEndian, binary.BigEndian} {
		switch order.Uint32(head) {
		case magicMicro, magicNano:
			return order.Uint16(head[4:]) == 2 // the version
		case magicSection:
			if order.Uint32(head[8:]) == magicOrder {
				return true
			}
		}
	}
	return false
}

// MayBeCapture reports whether head, shorter than MagicLen, can be the beginning of a
// file that IsCapture knows.
func MayBeCapture(head []byte) bool {
	for _, magic := range []string{"\xD4\xC3\xB2\xA1", "\xA1\xB2\xC3\xD4", "\x4D\x3C\xB2\xA1", "\xA1\xB2\x3C\x4D", "\x0A\x0D\x0D\x0A"} {
		n := min(len(head), len(magic))
		if string(head[:n]) == magic[:n] {
			return true
		}
	}
	return false
}

// errDamaged wraps what is wrong with a block behind which reading can go on.
type errDamaged struct{ error }

func (e errDamaged) Unwrap() error { return e.error }

// begin reads the beginning of the file.
func (b *blockReader) begin() error {
	head, err := b.r.Peek(MagicLen)
	if err != nil || !IsCapture(head) {
		if err == nil || err == io.EOF && len(head) < MagicLen {
			return errors.New("neither pcap nor pcapng")
		}
		return b.cutOr(err)
	}
	if binary.BigEndian.Uint32(head) == magicSection {
		b.ng = true
		return nil
	}
	var header [24]byte
	if err := b.full(header[:]); err != nil {
		return err
	}
	b.order = binary.ByteOrder(binary.LittleEndian)
	if m := binary.BigEndian.Uint32(header[:]); m == magicMicro || m == magicNano {
		b.order = binary.BigEndian
	}
	b.unit = 1e6
	if b.order.Uint32(header[:]) == magicNano {
		b.unit = 1e9
	}
	b.link = b.order.Uint32(header[20:]) & 0x0fffffff // the rest is about the FCS
	return nil
}

// next reads the next packet. It returns io.EOF behind the last one. Behind an
// errDamaged the next can be read.
func (b *blockReader) next() (packet, error) {
	for {
		if _, err := b.r.Peek(1); err != nil {
			return packet{}, noUnexpected(err)
		}
		read := b.record
		if b.ng {
			read = b.block
		}
		if p, ok, err := read(); err != nil || ok {
			b.last = p.time
			return p, err
		}
	}
}

// noUnexpected returns the error of a reader as it is, but for the end of compressed
// content that is cut off.
func noUnexpected(err error) error {
	if err == io.ErrUnexpectedEOF {
		return decode.ErrCut
	}
	return err
}

// cutOr returns ErrCut if err is the end of the file, else err.
func (b *blockReader) cutOr(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return decode.ErrCut
	}
	return err
}

// full fills p.
func (b *blockReader) full(p []byte) error {
	n, err := io.ReadFull(b.r, p)
	b.offset += int64(n)
	if err != nil {
		return b.cutOr(err)
	}
	return nil
}

// body reads n bytes, which are valid until the next call.
func (b *blockReader) body(n int) ([]byte, error) {
	const step = 256 << 10 // so that a length alone costs no memory
	b.buf = b.buf[:0]
	for len(b.buf) < n {
		at := len(b.buf)
		more := min(n-at, max(step, at))
		if cap(b.buf) < at+more {
			b.buf = append(make([]byte, 0, at+more), b.buf...)
		}
		b.buf = b.buf[:at+more]
		if err := b.full(b.buf[at:]); err != nil {
			return nil, err
		}
	}
	return b.buf, nil
}

// discard passes over n bytes.
func (b *blockReader) discard(n int64) error {
	for n > 0 {
		done, err := b.r.Discard(int(min(n, 1<<30)))
		b.offset += int64(done)
		n -= int64(done)
		if err != nil {
			return b.cutOr(err)
		}
	}
	return nil
}

// record reads a packet of pcap.
func (b *blockReader) record() (p packet, ok bool, err error) {
	p.offset = b.offset
	header := b.head[:]
	if err := b.full(header); err != nil {
		return p, false, err
	}
	sec, part := uint64(b.order.Uint32(header)), uint64(b.order.Uint32(header[4:]))
	n, whole := b.order.Uint32(header[8:]), b.order.Uint32(header[12:])
	if n > maxBlock {
		return p, false, fmt.Errorf("a packet of %d bytes, longer than %d", n, maxBlock)
	}
	if p.data, err = b.body(int(n)); err != nil {
		return p, false, err
	}
	p.link, p.cut = b.link, cutOff(whole, n)
	p.time = timeOf(sec*b.unit+part, b.unit, 0)
	return p, true, nil
}

// cutOff returns how much of a packet was not captured.
func cutOff(whole, n uint32) int {
	if whole <= n {
		return 0
	}
	return int(min(whole-n, maxBlock))
}

// maxTime is the last second of the year 9999, behind which no time can be written.
const maxTime = 253402300799

// timeOf returns the time at so many parts of a second since 1970.
func timeOf(parts, unit uint64, shift int64) time.Time {
	sec, part := parts/unit, parts%unit
	hi, lo := bits.Mul64(part, 1e9)
	ns, _ := bits.Div64(hi, lo, unit)
	s := int64(min(sec, maxTime))
	if shift > -maxTime && shift < maxTime {
		s += shift
	}
	return time.Unix(min(max(s, 0), maxTime), int64(ns))
}

// block reads a block of pcapng. ok says that it has a packet.
func (b *blockReader) block() (p packet, ok bool, err error) {
	p.offset = b.offset
	header := b.head[:8]
	if err := b.full(header); err != nil {
		return p, false, err
	}
	if binary.BigEndian.Uint32(header) == magicSection {
		return p, false, b.section([4]byte(header[4:]))
	}
	kind, total := b.order.Uint32(header), b.order.Uint32(header[4:])
	if total < 12 || total%4 != 0 {
		return p, false, fmt.Errorf("a block has a length of %d bytes", total)
	}
	var body []byte
	damage := error(nil)
	switch kind {
	case blockInterface, blockPacket, blockSimple, blockNames, blockEnhanced, blockSecrets:
		if total > maxBlock {
			damage = fmt.Errorf("a block of %d bytes, longer than %d", total, maxBlock)
			err = b.discard(int64(total - 12))
		} else {
			body, err = b.body(int(total - 12))
		}
	default:
		err = b.discard(int64(total - 12))
	}
	end := b.head[:4]
	if err == nil {
		err = b.full(end)
	}
	if err != nil {
		return p, false, err
	}
	if n := b.order.Uint32(end); n != total {
		return p, false, fmt.Errorf("a block has a length of %d bytes at its beginning and %d at its end", total, n)
	}
	if damage == nil {
		ok, damage = b.take(kind, body, &p)
	}
	if damage != nil {
		return p, false, errDamaged{damage}
	}
	return p, ok, nil
}

// section begins a section, of whose header block the type and the length were read.
func (b *blockReader) section(length [4]byte) error {
	magic, err := b.body(4)
	if err != nil {
		return err
	}
	switch {
	case binary.LittleEndian.Uint32(magic) == magicOrder:
		b.order = binary.LittleEndian
	case binary.BigEndian.Uint32(magic) == magicOrder:
		b.order = binary.BigEndian
	default:
		return errors.New("a section has no byte order")
	}
	total := b.order.Uint32(length[:])
	if total < 28 || total%4 != 0 || total > maxBlock {
		return fmt.Errorf("a section header has a length of %d bytes", total)
	}
	body, err := b.body(int(total - 12))
	if err != nil {
		return err
	}
	if major := b.order.Uint16(body); major != 1 {
		return fmt.Errorf("pcapng version %d is not known", major)
	}
	if n := b.order.Uint32(body[len(body)-4:]); n != total {
		return fmt.Errorf("a block has a length of %d bytes at its beginning and %d at its end", total, n)
	}
	b.interfaces, b.names, b.ours = nil, nil, false
	b.options(body[12:len(body)-4], func(code uint16, v []byte) error {
		b.ours = b.ours || code == optionComment && string(v) == sectionComment
		return nil
	})
	return nil
}

var errShort = errors.New("a block is too short for what is in it")

// take takes the body of a block. ok says that p is set to its packet.
func (b *blockReader) take(kind uint32, body []byte, p *packet) (ok bool, err error) {
	switch kind {
	case blockInterface:
		return false, b.takeInterface(body)
	case blockNames:
		b.takeNames(body)
		return false, nil
	case blockSecrets:
		if len(body) < 8 {
			return false, errShort
		}
		n := b.order.Uint32(body[4:])
		if uint64(n) > uint64(len(body)-8) {
			return false, errShort
		}
		if b.order.Uint32(body) == secretsTLS && b.secrets != nil {
			b.secrets(body[8 : 8+n])
		}
		return false, nil
	case blockEnhanced, blockPacket:
		if len(body) < 20 {
			return false, errShort
		}
		id := b.order.Uint32(body)
		if kind == blockPacket {
			id = uint32(b.order.Uint16(body))
		}
		n, whole := b.order.Uint32(body[12:]), b.order.Uint32(body[16:])
		if uint64(n) > uint64(len(body)-20) {
			return false, errShort
		}
		if uint64(id) >= uint64(len(b.interfaces)) {
			return false, fmt.Errorf("a packet of interface %d, which is not described", id)
		}
		i := &b.interfaces[id]
		p.link, p.data, p.cut, p.leg = i.link, body[20:20+n], cutOff(whole, n), i.leg
		p.time = timeOf(uint64(b.order.Uint32(body[4:]))<<32|uint64(b.order.Uint32(body[8:])), i.unit, i.shift)
		p.made = i.made
		if b.ours && kind == blockEnhanced {
			p.options = body[min(20+(int(n)+3)&^3, len(body)):]
		}
		return true, nil
	case blockSimple:
		if len(body) < 4 {
			return false, errShort
		}
		if len(b.interfaces) == 0 {
			return false, errors.New("a packet of interface 0, which is not described")
		}
		i := &b.interfaces[0]
		whole := b.order.Uint32(body)
		n := whole
		if i.snap > 0 {
			n = min(n, i.snap)
		}
		if uint64(n) > uint64(len(body)-4) {
			return false, errShort
		}
		p.link, p.data, p.cut, p.time = i.link, body[4:4+n], cutOff(whole, n), b.last
		return true, nil
	}
	return false, nil
}

// takeInterface takes the body of a block that describes an interface.
func (b *blockReader) takeInterface(body []byte) error {
	if len(body) < 8 {
		return errShort
	}
	if len(b.interfaces) == maxInterfaces {
		return fmt.Errorf("more than %d interfaces", maxInterfaces)
	}
	i := captureInterface{link: uint32(b.order.Uint16(body)), snap: b.order.Uint32(body[4:]), unit: 1e6}
	err := b.options(body[8:], func(code uint16, v []byte) error {
		switch {
		case code == optionResolution && len(v) == 1:
			unit, ok := resolution(v[0])
			if !ok {
				return fmt.Errorf("an interface has times in units that are not known, %#x", v[0])
			}
			i.unit = unit
		case code == optionDescription:
			i.leg = string(v) == serverLegDescription
			i.made = i.leg || string(v) == clientLegDescription
		case code == optionShift && len(v) == 8:
			i.shift = int64(b.order.Uint64(v))
		}
		return nil
	})
	b.interfaces = append(b.interfaces, i) // those that follow keep their numbers
	return err
}

// resolution returns how many parts of a second times count in, by their option.
func resolution(v byte) (unit uint64, ok bool) {
	n := int(v &^ 0x80)
	if v&0x80 != 0 {
		return 1 << (n & 63), n < 64
	}
	unit = 1
	for range min(n, 19) {
		unit *= 10
	}
	return unit, n <= 19
}

// options calls f for each option in p.
func (b *blockReader) options(p []byte, f func(code uint16, value []byte) error) error {
	for len(p) >= 4 {
		code, n := b.order.Uint16(p), int(b.order.Uint16(p[2:]))
		if code == optionEnd {
			return nil
		}
		if n > len(p)-4 {
			return errShort
		}
		if err := f(code, p[4:4+n]); err != nil {
			return err
		}
		p = p[min(4+(n+3)&^3, len(p)):]
	}
	return nil
}

// takeNames takes the body of a block with names of hosts. What is wrong in it ends
// it: names are nothing that others depend on.
func (b *blockReader) takeNames(p []byte) {
	for len(p) >= 4 {
		kind, n := b.order.Uint16(p), int(b.order.Uint16(p[2:]))
		if kind == optionEnd || n > len(p)-4 {
			return
		}
		v := p[4 : 4+n]
		p = p[min(4+(n+3)&^3, len(p)):]
		size := 0
		switch kind {
		case 1:
			size = 4
		case 2:
			size = 16
		}
		if size == 0 || n <= size || len(b.names) >= maxNames {
			continue
		}
		addr, _ := netip.AddrFromSlice(v[:size])
		name := firstName(v[size:])
		if name == "" {
			continue
		}
		if b.names == nil {
			b.names = map[netip.Addr]string{}
		}
		b.names[addr] = name
	}
}

// firstName returns the first of names that each end with NUL, if it can be one of a
// host.
func firstName(v []byte) string {
	for i, c := range v {
		switch {
		case c == 0:
			return string(v[:i])
		case i >= 255 || c <= ' ' || c >= 0x7f || c == '/' || c == ':' || c == '@':
			return ""
		}
	}
	return ""
}
