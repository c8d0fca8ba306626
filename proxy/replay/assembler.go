package replay

import (
	"bytes"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
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
