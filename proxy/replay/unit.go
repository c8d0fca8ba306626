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
	kind     unitKind
	op       ws.OpCode
	data     []byte // the content: inflated, unmasked; its beginning, if it is long
	long     *long  // nil if data is all of it
	cut      bool   // the stream ended inside it
	record   bool   // it is a record of its protocol, not a message
	withheld bool   // what show has says only how much it is
	show     []byte // the content as it may be shown; nil if it may be as it is
	how      decode.End

	// How it was sent.
	frames     int
	compressed bool
	flags      byte // of a single frame: its first byte
	masked     bool
	lenBits    int

	// In a script, where it stands.
	at    int // position of its last item
	t     time.Duration
	items []int          // what sends it, as indexes of the items of its side
	re    *regexp.Regexp // what its content is to match, instead of being equal
	group string         // of units that may come in any order; "" for none
	out   bool           // it was not selected

	chosen  bool // the user says that it may come or not
	beat    beat // what it is to the heartbeat; unless that is noBeat it may come or not
	answers int  // the unit of the other side that it answers, if it is a beat; -1 for none

	ids     []ident // in order, where ids are bound
	crosses bool    // it is whole records that have ids, which may come out of turn
	inside  bool    // it begins in the middle of a record
	first   bool    // it is a heartbeat that has to come, as the first one
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
	if u.show != nil {
		c := *u
		c.data, c.show = u.show, nil
		return c.String()
	}
	var b []byte
	switch {
	case u.kind == unitEnd:
		return "the end of the connection (" + u.how.String() + ")"
	case u.kind == unitJunk && u.withheld:
		return "junk " + string(u.data)
	case u.kind == unitJunk:
		return "junk " + hexes(u.data, u.length())
	case u.kind == unitFrame:
		b = fmt.Appendf(b, "frame %08b ", u.flags)
		if !u.masked {
			b = append(b, "unmasked "...)
		}
		if u.lenBits > decode.LengthBits(uint64(u.length())) {
			b = fmt.Appendf(b, "with a %d-bit length ", u.lenBits)
		}
	}
	if u.re != nil {
		return string(b) + decode.OpName(u.op) + " that matches /" + u.re.String() + "/"
	}
	name := decode.OpName(u.op)
	if name == "bin" {
		name = "binary"
	}
	b = append(b, name...)
	switch {
	case u.withheld && u.op != ws.OpClose:
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
