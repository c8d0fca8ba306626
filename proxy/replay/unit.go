package replay

import (
	"encoding/binary"
	"fmt"
	"regexp"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A unit is the least that one side is waited for, and that is compared: a
// message, a Close frame, a frame where frames count, junk, the end.
type unit struct {
	kind   unitKind
	op     ws.OpCode
	cut    bool // the stream ended inside it
	record bool // it is a record of its protocol, not a message
	how    decode.End

	// How it was sent.
	compressed bool
	flags      byte // of a single frame: its first byte
	masked     bool
	lenBits    uint8
	crosses    bool // it is whole records that have ids, which may come out of turn
	inside     bool // it begins in the middle of a record
	first      bool // it is a heartbeat that has to come, as the first one
	frames     int32

	data []byte // the content: inflated, unmasked; its beginning, if it is long
	long *long  // nil if data is all of it
	rare *rare  // nil for nothing

	// In a script, where it stands.
	at                  int // position of its last item
	t                   time.Duration
	firstItem, lastItem int32 // of the items of its side: what sends it. Those between may belong to others
	turn                int32 // 1 + how many of the other side come before it, if units between two of these may come in any order
	out                 bool  // it was not selected

	chosen  bool // the user says that it may come or not
	beat    beat // what it is to the heartbeat; unless that is noBeat it may come or not
	answers int  // the unit of the other side that it answers, if it is a beat; -1 for none

	ids []ident // in order, where ids are bound
}

// A rare is what few units have.
type rare struct {
	show     []byte         // the content as it may be shown; nil if it may be as it is
	withheld bool           // that says only how much it is
	re       *regexp.Regexp // what the content is to match, instead of being equal
	group    string         // of units that may come in any order, as someone wrote; "" for none
}

// whole returns r without what may be shown, for content that is to be shown as it is.
func (r *rare) whole() *rare {
	if r == nil || r.show == nil {
		return r
	}
	c := *r
	c.show = nil
	return &c
}

// re returns what the content of u is to match, or nil if it is to be equal.
func (u *unit) re() *regexp.Regexp {
	if u.rare == nil {
		return nil
	}
	return u.rare.re
}

// isWithheld reports whether what may be shown of u says only how much it is.
func (u *unit) isWithheld() bool { return u.rare != nil && u.rare.withheld }

// inGroupOf reports whether u may come in any order with the units of another one's group.
func (u *unit) inGroupOf(other *unit) bool {
	if u.rare != nil && u.rare.group != "" {
		return other.rare != nil && u.rare.group == other.rare.group
	}
	return u.turn > 0 && u.turn == other.turn && (other.rare == nil || other.rare.group == "")
}

type unitKind uint8

const (
	unitMessage unitKind = iota
	unitClose
	unitControl // ping and pong; a frame of an opcode that has no meaning
	unitFrame   // any frame, where frames count
	unitJunk
	unitEnd
)

// String describes u for use in sentences: text "hello", close 1000 "bye".
func (u *unit) String() string {
	if u.rare != nil && u.rare.show != nil {
		c := *u
		c.data, c.rare = u.rare.show, u.rare.whole()
		return c.String()
	}
	var b []byte
	switch {
	case u.kind == unitEnd:
		return "the end of the connection (" + u.how.String() + ")"
	case u.kind == unitJunk && u.isWithheld():
		return "junk " + string(u.data)
	case u.kind == unitJunk:
		return "junk " + hexes(u.data, u.length())
	case u.kind == unitFrame:
		b = fmt.Appendf(b, "frame %08b ", u.flags)
		if !u.masked {
			b = append(b, "unmasked "...)
		}
		if int(u.lenBits) > decode.LengthBits(uint64(u.length())) {
			b = fmt.Appendf(b, "with a %d-bit length ", u.lenBits)
		}
	}
	if re := u.re(); re != nil {
		return string(b) + decode.OpName(u.op) + " that matches /" + re.String() + "/"
	}
	name := decode.OpName(u.op)
	if name == "bin" {
		name = "binary"
	}
	b = append(b, name...)
	switch {
	case u.isWithheld() && u.op != ws.OpClose:
		b = append(append(b, ' '), u.data...)
	case u.op == ws.OpClose && len(u.data) >= 2:
		b = fmt.Appendf(b, " %d", binary.BigEndian.Uint16(u.data))
		if len(u.data) > 2 {
			b = append(b, ' ')
			b = appendQuoted(b, u.data[2:], u.length()-2)
		}
	case u.op == ws.OpClose && len(u.data) == 0:
		b = append(b, " without a code"...)
	case u.op != ws.OpBinary && u.op <= ws.OpPong && utf8.Valid(u.data) && u.flags&0x40 == 0,
		u.op == ws.OpText && u.kind == unitMessage,
		u.op == ws.OpBinary && u.kind == unitMessage && len(u.data) > 0 && isText(u.data):
		b = append(b, ' ')
		b = appendQuoted(b, u.data, u.length())
	default:
		b = append(b, ' ')
		b = append(b, hexes(u.data, u.length())...)
	}
	if u.cut {
		b = append(b, " that is cut off"...)
	}
	return string(b)
}

// noun is the word for u in sentences.
func (u *unit) noun() string {
	switch {
	case u.kind == unitJunk:
		return "junk"
	case u.record:
		return "record"
	case u.frames > 1:
		return "message"
	}
	return "frame"
}

// quoted returns the beginning of p in quotes.
func quoted(p []byte) []byte { return appendQuoted(nil, p, int64(len(p))) }

// appendQuoted appends the beginning of p, which is that of size bytes, in quotes.
func appendQuoted(dst, p []byte, size int64) []byte {
	if size <= maxShown {
		return decode.AppendText(dst, p)
	}
	dst = decode.AppendText(dst, decode.WholeChars(p[:min(maxShown, len(p))]))
	return fmt.Appendf(dst, "… (%d bytes)", size)
}

// hexes returns the beginning of p, which is that of size bytes, in hexadecimal.
func hexes(p []byte, size int64) string {
	const most = 24
	if size <= most {
		return fmt.Sprintf("[% x]", p)
	}
	return fmt.Sprintf("[% x…] (%d bytes)", p[:min(most, len(p))], size)
}
