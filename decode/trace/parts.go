package trace

import (
	"cmp"
	"io"
	"slices"

	"github.com/wstrace/wstrace/decode"
)

// A recording may have parts, each a file that can be read by itself. In every
// part but the first a session that goes on is opened anew at its first record,
// with what the parts before have of its handshake.

// Rotate goes on writing to w, as the given part of the run, of which
// [Options.Part] was the first. The header of the part is written with its first
// event. Like Emit, it is called when nothing else uses the Writer, between two
// events. An error of an earlier part stays.
func (w *Writer) Rotate(to io.Writer, part int) {
	w.w, w.o.Part = to, part
	w.begun, w.written = false, 0
}

// MayRotate reports whether no frame is in flight in any session, so that no
// frame would be in two parts. It knows only if [Options.Part] is set. A part may
// end within a frame all the same, but not between the last end of a session and
// its closed event, nor between the answer to a refused upgrade and its body, which
// come together.
func (w *Writer) MayRotate() bool { return w.inFlight == 0 && w.closing == nil && !w.refused }

// Written returns how many bytes were written, since the latest Rotate.
func (w *Writer) Written() int64 { return w.written }

// An openSession is what a Writer that may rotate keeps of a session that is not
// closed, so as to open it again in the next part: some 400 bytes, and the heads,
// which the session keeps anyway.
type openSession struct {
	part     int // in which it was opened, or opened anew
	info     decode.Info
	request  *decode.Head
	sent     *decode.Head // in place of request; nil if nothing was
	response *decode.Head // the final one
	fates    [2]decode.Fate
	ext      string     // agreed on in the handshake
	opaque   [2]bool    // by Dir: its bytes are not decoded any more
	ends     [2]int8    // by Dir: 1 + the decode.End; 0 if it has not ended
	flight   [2][2]bool // by Dir and Out: a frame is in flight
}

// follow keeps what the next part needs of the session of ev.
func (w *Writer) follow(ev *decode.Event) {
	w.closing = nil
	w.refused = ev.Kind == decode.KindResponse && len(ev.Data) > 0 // its body is next
	switch ev.Kind {
	case decode.KindOpen:
		w.forget(ev.Conn)
		w.open[ev.Conn] = &openSession{part: w.o.Part, info: *ev.Info}
		return
	case decode.KindClosed:
		w.forget(ev.Conn)
		return
	}
	s := w.open[ev.Conn]
	if s == nil {
		return
	}
	switch ev.Kind {
	case decode.KindRequest:
		s.request, s.fates[ev.Dir] = ev.Handshake.Request, ev.Fate
		if ev.Fate.FX != decode.FXDrop {
			s.sent = ev.Handshake.Forwarded
		}
	case decode.KindResponse:
		if ev.Handshake == nil || ev.Handshake.Response != ev.Head {
			return // an interim one
		}
		s.response, s.fates[ev.Dir] = ev.Head, ev.Fate
		if ev.Handshake.Accepted {
			s.ext = ev.Handshake.Extensions
		}
	case decode.KindFrame:
		w.fly(s, ev.Dir, ev.Out, !ev.Frame.Complete)
	case decode.KindGap:
		w.fly(s, ev.Dir, ev.Out, false)
	case decode.KindJunk, decode.KindOpaque:
		w.fly(s, ev.Dir, ev.Out, false)
		if !ev.Out && (ev.Kind == decode.KindOpaque || s.response != nil) {
			s.opaque[ev.Dir] = true
		}
	case decode.KindEnd:
		for d := range decode.Dir(2) {
			if d == ev.Dir || ev.Both {
				s.ends[d] = 1 + int8(ev.How)
				w.fly(s, d, false, false)
				w.fly(s, d, true, false)
			}
		}
		if s.ends[0]*s.ends[1] != 0 && ev.Handshake != nil && ev.Handshake.WebSocket {
			w.closing = s
		}
	}
}

// fly notes whether a frame of s is in flight.
func (w *Writer) fly(s *openSession, d decode.Dir, out, flies bool) {
	leg := 0
	if out {
		leg = 1
	}
	if s.flight[d][leg] == flies {
		return
	}
	s.flight[d][leg] = flies
	if flies {
		w.inFlight++
	} else {
		w.inFlight--
	}
}

// forget forgets a session that is closed.
func (w *Writer) forget(conn int64) {
	s := w.open[conn]
	if s == nil {
		return
	}
	for d := range decode.Dir(2) {
		w.fly(s, d, false, false)
		w.fly(s, d, true, false)
	}
	delete(w.open, conn)
}

// reopen puts the lines that open the session of ev anew in front of its first
// ones in a part, which are w.buf[at:].
func (w *Writer) reopen(ev *decode.Event, at int) {
	s := w.open[ev.Conn]
	if s == nil || s.part == w.o.Part || len(w.buf) == at {
		return
	}
	s.part = w.o.Part
	w.buf = slices.Insert(w.buf, at, w.appendReopened(nil, s)...)
}

// appendReopened appends the lines that open s anew.
func (w *Writer) appendReopened(dst []byte, s *openSession) []byte {
	line := func(kind Kind) *Record {
		return &Record{Kind: kind, T: w.rec.T, HasT: true, C: s.info.Conn, Derived: kind != KindOpen}
	}
	r := line(KindOpen)
	r.setInfo(&s.info)
	r.Ext, r.Cont = cmp.Or(s.ext, r.Ext), true
	dst = r.Append(dst)
	if s.request != nil {
		r = line(KindReq)
		r.setHead(s.request)
		r.FX, r.Change = s.fates[decode.FromClient].FX.String(), s.fates[decode.FromClient].Change
		if s.sent != nil {
			r.FX = cmp.Or(r.FX, decode.FXReplace.String())
			dst = r.Append(dst)
			r.FX, r.Leg = "", LegOut
			r.setHead(s.sent)
		}
		dst = r.Append(dst)
	}
	if s.response != nil {
		r = line(KindRes)
		r.setHead(s.response)
		r.FX, r.Change = s.fates[decode.FromServer].FX.String(), s.fates[decode.FromServer].Change
		dst = r.Append(dst)
	}
	for d, opaque := range s.opaque {
		if opaque {
			r = line(KindOpaque)
			r.Dir, r.HasDir = decode.Dir(d), true
			dst = r.Append(dst)
		}
	}
	for d, how := range s.ends {
		if how == 0 {
			continue
		}
		r = line(KindEnd)
		r.Dir, r.HasDir, r.How = decode.Dir(d), true, decode.End(how-1).String()
		dst = r.Append(dst)
	}
	return dst
}
