package replay

import (
	"bytes"
	"crypto/sha256"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// An assembler makes units of the events of one direction.
type assembler struct {
	exact bool                       // each frame is a unit
	emit  func(u *unit, items []int) // which it comes from; valid during the call
	item  int                        // the item that the next event comes from, when a script is read

	open  *flight // the message in flight
	frame *flight // the frame in flight, if it is no part of a message
}

// A flight is a unit that is not complete yet.
type flight struct {
	unit
	content gathering
	items   []int
}

// done returns the unit, which is complete, or never will be.
func (f *flight) done() *unit {
	f.content.end(&f.unit)
	return &f.unit
}

// take takes an event.
func (a *assembler) take(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindFrame:
		a.takeFrame(ev.Frame, ev.Message)
	case decode.KindJunk:
		a.emit(&unit{kind: unitJunk, data: bytes.Clone(ev.Data)}, []int{a.item})
	case decode.KindEnd:
		for _, u := range []*flight{a.frame, a.open} {
			if u != nil {
				u.cut = true
				a.emit(u.done(), u.items)
			}
		}
		a.frame, a.open = nil, nil
		a.emit(&unit{kind: unitEnd, how: ev.How}, []int{a.item})
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
		a.frame = &flight{unit: unit{kind: kind, op: f.OpCode, frames: 1, flags: f.Flags(), masked: f.Masked, lenBits: uint8(f.LengthBits())}}
	}
	u := a.frame
	u.piece(f, a.item)
	if f.Complete {
		a.frame = nil
		a.emit(u.done(), u.items)
	}
}

// message takes a piece of a frame that is part of a message. A message that
// is begun before the last one is complete ends that one.
func (a *assembler) message(f *decode.Frame, m *decode.Message) {
	if !f.More && (f.OpCode != ws.OpContinuation || a.open == nil) {
		if a.open != nil {
			a.open.cut = true
			a.emit(a.open.done(), a.open.items)
		}
		a.open = &flight{unit: unit{op: f.OpCode, flags: f.Flags(), masked: f.Masked, lenBits: uint8(f.LengthBits())}}
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
	a.emit(u.inflated(m), u.items)
}

// inflated returns the unit of a message that is complete: with what it stands for
// if it was compressed. If it could not be inflated, the bytes that came count.
func (f *flight) inflated(m *decode.Message) *unit {
	u := f.done()
	if m == nil || !m.Compressed {
		return u
	}
	u.compressed = true
	switch {
	case m.Unread:
		u.cut = true
		u.long = &long{u.length(), u.digest()}
	case m.Sum != nil:
		u.long = &long{m.Len, [sha256.Size]byte(m.Sum)}
	default:
		u.long = nil
	}
	u.data = bytes.Clone(m.Data)
	u.keep(MaxMessage)
	return u
}

// piece adds a piece of a frame.
func (u *flight) piece(f *decode.Frame, item int) {
	u.content.add(&u.unit, func(dst []byte) []byte { return f.AppendPayload(dst, -1) })
	if n := len(u.items); n == 0 || u.items[n-1] != item {
		u.items = append(u.items, item)
	}
}
