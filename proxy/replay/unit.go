package replay

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"regexp"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A unit is the least that one side is waited for, and that is compared: a
// message, a Close frame, a frame where frames count, junk, the end.
type unit struct {
	kind unitKind
	op   ws.OpCode
	data []byte // the content: inflated, unmasked
	cut  bool   // the stream ended inside it
	how  decode.End

	// How it was sent.
	frames     int
	compressed bool
	flags      byte // of a single frame: its first byte
	masked     bool
	lenBits    int

	// Where it stands in the trace.
	line  int // of its last record
	t     time.Duration
	items []int          // what sends it, as indexes of the items of its side
	re    *regexp.Regexp // what its content is to match, instead of being equal
	group string         // of units that may come in any order; "" for none
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

// maxMessage is the longest message, in bytes, that is put together.
const maxMessage = 64 << 20

// An assembler makes units of the events of one direction.
type assembler struct {
	exact bool // each frame is a unit
	emit  func(*unit)
	item  int // the item that the next event comes from, when a script is read

	open  *unit // the message in flight
	frame *unit // the frame in flight, if it is no part of a message
}

// take takes an event.
func (a *assembler) take(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindFrame:
		a.takeFrame(ev.Frame, ev.Message)
	case decode.KindJunk:
		a.emit(&unit{kind: unitJunk, data: bytes.Clone(ev.Data), items: []int{a.item}})
	case decode.KindEnd:
		for _, u := range []*unit{a.frame, a.open} {
			if u != nil {
				u.cut = true
				a.emit(u)
			}
		}
		a.frame, a.open = nil, nil
		a.emit(&unit{kind: unitEnd, how: ev.How, items: []int{a.item}})
	}
}

// takeFrame takes a piece of a frame, and the message that is complete with it.
func (a *assembler) takeFrame(f *decode.Frame, m *decode.Message) {
	switch {
	case a.exact:
		a.single(f, unitFrame)
	case f.OpCode == ws.OpClose:
		a.single(f, unitClose)
	case f.OpCode > ws.OpBinary:
		a.single(f, unitControl)
	default:
		a.message(f, m)
	}
}

// single takes a piece of a frame that is a unit.
func (a *assembler) single(f *decode.Frame, kind unitKind) {
	if !f.More {
		a.frame = &unit{kind: kind, op: f.OpCode, frames: 1, flags: f.Flags(), masked: f.Masked, lenBits: f.LengthBits()}
	}
	u := a.frame
	u.piece(f, a.item)
	if f.Complete {
		a.frame = nil
		a.emit(u)
	}
}

// message takes a piece of a frame that is part of a message. A message that
// is begun before the last one is complete ends that one.
func (a *assembler) message(f *decode.Frame, m *decode.Message) {
	if !f.More && (f.OpCode != ws.OpContinuation || a.open == nil) {
		if a.open != nil {
			a.open.cut = true
			a.emit(a.open)
		}
		a.open = &unit{op: f.OpCode, flags: f.Flags(), masked: f.Masked, lenBits: f.LengthBits()}
	}
	u := a.open
	if !f.More {
		u.frames++
	}
	u.piece(f, a.item)
	if !f.Complete || !f.Fin {
		return
	}
	a.open = nil
	if m != nil && m.Compressed {
		u.compressed = true
		u.data, u.cut = bytes.Clone(m.Data), m.Unread || m.Cut
	}
	a.emit(u)
}

// piece adds a piece of a frame.
func (u *unit) piece(f *decode.Frame, item int) {
	if len(u.data) < maxMessage {
		u.data = f.AppendPayload(u.data, -1)
	}
	if n := len(u.items); n == 0 || u.items[n-1] != item {
		u.items = append(u.items, item)
	}
}

// String describes u for use in sentences: text "hello", close 1000 "bye".
func (u *unit) String() string {
	var b []byte
	switch {
	case u.kind == unitEnd:
		return "the end of the connection (" + u.how.String() + ")"
	case u.kind == unitJunk:
		return "junk " + hexes(u.data)
	case u.kind == unitFrame:
		b = fmt.Appendf(b, "frame %08b ", u.flags)
		if !u.masked {
			b = append(b, "unmasked "...)
		}
		if u.lenBits > minBits(len(u.data)) {
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
	case u.op == ws.OpClose && len(u.data) >= 2:
		b = fmt.Appendf(b, " %d", binary.BigEndian.Uint16(u.data))
		if len(u.data) > 2 {
			b = append(b, ' ')
			b = appendQuoted(b, u.data[2:])
		}
	case u.op == ws.OpClose && len(u.data) == 0:
		b = append(b, " without a code"...)
	case u.op != ws.OpBinary && u.op <= ws.OpPong && utf8.Valid(u.data) && u.flags&0x40 == 0,
		u.op == ws.OpText && u.kind == unitMessage:
		b = append(b, ' ')
		b = appendQuoted(b, u.data)
	default:
		b = append(b, ' ')
		b = append(b, hexes(u.data)...)
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
	case u.frames > 1:
		return "message"
	}
	return "frame"
}

func appendQuoted(dst, p []byte) []byte {
	if len(p) <= maxShown {
		return strconv.AppendQuote(dst, string(p))
	}
	n := maxShown
	for n > maxShown-utf8.UTFMax && !utf8.RuneStart(p[n]) {
		n--
	}
	dst = strconv.AppendQuote(dst, string(p[:n]))
	return fmt.Appendf(dst, "… (%d bytes)", len(p))
}

func hexes(p []byte) string {
	const most = 24
	if len(p) <= most {
		return fmt.Sprintf("[% x]", p)
	}
	return fmt.Sprintf("[% x…] (%d bytes)", p[:most], len(p))
}

func minBits(n int) int {
	switch {
	case n < 126:
		return 7
	case n <= 0xffff:
		return 16
	}
	return 64
}
