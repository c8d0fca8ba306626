package replay

import (
	"bytes"
	"cmp"
	"context"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// events reads a file of any format, whose Source tells what was done.
func (l *library) events(src decode.Source) error {
	e := &eventLoader{library: l, builders: map[int64]*builder{}}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	err := src.Play(ctx, decode.SinkFunc(func(ev *decode.Event) {
		if e.err == nil {
			if e.err = e.take(ev); e.err != nil {
				cancel(e.err)
			}
		}
	}), decode.Look{Messages: true, Keep: maxSent, Sums: true, Advice: l.selects != nil, Bodies: maxSent})
	if e.err != nil {
		return e.err
	}
	return err
}

// maxSent is the longest message, in bytes, of a file that knows no frames: it is
// sent from memory.
const maxSent = 64 << 20

// An eventLoader builds scripts of events.
type eventLoader struct {
	*library
	builders map[int64]*builder // by session
	n        int                // events so far: their positions, where the file has no lines
	begin    time.Time          // of the first
	err      error
}

// take takes an event.
func (e *eventLoader) take(ev *decode.Event) error {
	if e.n++; e.n == 1 {
		e.begin = ev.Time
	}
	at, t := ev.Line, ev.Time.Sub(e.begin)
	if ev.Line == 0 {
		at = e.n
	}
	if ev.Kind == decode.KindOpen {
		delete(e.builders, ev.Conn)
		e.open(*ev.Info)
		return nil
	}
	if ev.Out {
		return nil // it was sent in place of what came, which is what counts
	}
	switch ev.Kind {
	case decode.KindRequest, decode.KindFrame, decode.KindMessage:
		e.elsewhere(ev.Conn, at)
	}
	b := e.builders[ev.Conn]
	if b == nil {
		var s *Script
		switch ev.Kind {
		case decode.KindRequest:
			s = e.want(ev.Conn, ev.Handshake.Request)
		case decode.KindFrame, decode.KindJunk, decode.KindMessage:
			s = e.want(ev.Conn, nil)
		}
		if s == nil {
			if ev.Kind == decode.KindClosed {
				delete(e.opened, ev.Conn)
			}
			return nil
		}
		b = e.newBuilder(s, at, ev.Line > 0, t)
		e.builders[ev.Conn] = b
		e.library.builders = append(e.library.builders, b)
	}
	err := cmp.Or(b.take(ev, at, t), b.err)
	if err != nil && (ev.Line > 0 || ev.Offset > 0) {
		err = &decode.SourceError{Line: ev.Line, Offset: ev.Offset, Err: err}
	}
	return err
}

// take takes an event at a position. What is sent is its bytes.
func (b *builder) take(ev *decode.Event, at int, t time.Duration) error {
	b.see(ev)
	d := ev.Dir
	sends := ev.Kind == decode.KindFrame || ev.Kind == decode.KindJunk
	if sends && b.played[d] {
		return errAfterEnd
	}
	switch ev.Kind {
	case decode.KindRequest:
		hs := ev.Handshake
		b.s.request = &head{Head: cloneHead(hs.Request), at: at, out: b.out}
		if hs.Forwarded != nil {
			b.s.edited = &head{Head: cloneHead(hs.Forwarded), at: at}
		}
	case decode.KindResponse:
		switch {
		case ev.Head.Cut && b.s.plain != nil:
			return nil // it has no answer
		case ev.Head.Cut:
			return errCutResponse
		}
		b.response(&head{Head: cloneHead(ev.Head), at: at, out: b.out}, t)
	case decode.KindBody:
		b.body(d, bodyPiece{at, t, bytes.Clone(ev.Data)}, ev.BodyLen-int64(len(ev.Data)), ev.CutOff)
	case decode.KindOpaque:
		b.tunnel = b.tunnel || b.s.plain != nil
	case decode.KindClosed:
		if b.done = true; b.s.plain != nil {
			b.bodies[0].wire, b.bodies[1].wire = ev.Totals.Bytes[0], ev.Totals.Bytes[1]
		}
	case decode.KindFrame:
		f := ev.Frame
		it := item{at: at, t: t, wire: &wire{bytes: f.AppendWire(nil)}, ends: f.Complete, need: b.have(d.Peer())}
		if !f.More {
			it.mask, it.isClose = f.Mask, f.OpCode == ws.OpClose
		}
		b.add(d, it)
		b.assemblers[d].take(ev)
	case decode.KindMessage:
		if ev.Message.Frames == 0 { // the file has no frames: one is made
			return b.message(ev.Message, at, t)
		}
	case decode.KindJunk:
		b.add(d, item{at: at, t: t, wire: &wire{bytes: bytes.Clone(ev.Data)}, ends: true, need: b.have(d.Peer())})
		b.assemblers[d].take(ev)
	case decode.KindGap:
		return errLost(ev.Lost)
	case decode.KindEnd:
		for d := range decode.Dir(2) {
			if (ev.Both || ev.Dir == d) && b.end(d, ev.Both, at, t, ev.How) {
				b.assemblers[d].take(ev)
			}
		}
	}
	return nil
}

// message takes a message of a file that has no frames.
func (b *builder) message(m *decode.Message, at int, t time.Duration) error {
	if m.Cut || m.Unread || m.Unfinished {
		return errLost(m.Len - int64(len(m.Data)))
	}
	u := &unit{kind: unitMessage, op: m.Op, data: bytes.Clone(m.Data), frames: 1,
		flags: 0x80 | byte(m.Op), masked: m.Dir == decode.FromClient, lenBits: uint8(decode.LengthBits(uint64(len(m.Data))))}
	switch {
	case b.s.exact:
		u.kind = unitFrame
	case m.Op == ws.OpClose:
		u.kind = unitClose
	case m.Op > ws.OpBinary:
		u.kind = unitControl
	}
	if b.played[m.Dir] {
		return errAfterEnd
	}
	mask := newMask()
	b.add(m.Dir, item{at: at, t: t, wire: &wire{bytes: appendFrame(nil, u.flags, u.data, u.masked, mask)}, mask: mask, isClose: m.Op == ws.OpClose, ends: true, need: b.have(m.Dir.Peer())})
	u.keep(MaxMessage)
	b.unit(m.Dir, u, []int{b.assemblers[m.Dir].item})
	return nil
}

// cloneHead returns a head that stays when the event is over.
func cloneHead(h *decode.Head) *decode.Head {
	c := *h
	c.Fields = append([]decode.Field(nil), h.Fields...)
	return &c
}
