package replay

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// records reads a trace.
func (l *library) records(r *trace.Reader) error {
	loaders := map[int64]*recordLoader{}
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return r.Warning()
		}
		if err != nil {
			return err
		}
		if r.Piece() {
			return trace.ErrPiece
		}
		if err := l.record(loaders, rec); err != nil {
			return &decode.SourceError{Line: rec.Line, Err: err}
		}
	}
}

func (l *library) record(loaders map[int64]*recordLoader, rec *trace.Record) error {
	if rec.IsHeader() {
		l.selectors = append(l.selectors, rec.Redact...)
		l.equality.setRedacted(l.selectors)
		if rec.Run == "" || rec.Run != l.run {
			l.run, l.t0 = rec.Run, rec.Time
		}
		l.later = rec.Time.Sub(l.t0)
		return nil
	}
	rec.T += l.later
	parseHead(rec)
	switch rec.Kind {
	case "open", "req", "res", "body", "frame", "more", "junk", "end", "gap", "opaque", "done", "note", "violation", "closed", "sum":
	case "message":
		if !l.noFrames(loaders, rec.C) {
			return errDerived
		}
	default:
		if !strings.HasPrefix(rec.Kind, "x-") {
			return fmt.Errorf("kind %q is not known", rec.Kind)
		}
	}
	switch rec.Kind {
	case "req", "frame", "message":
		l.elsewhere(rec.C, rec.Line)
	}
	loader := loaders[rec.C]
	switch {
	case rec.Kind == trace.KindOpen && rec.Cont:
		l.goOn(rec.C)
		return nil
	case rec.Kind == trace.KindOpen:
		if loader != nil && !loader.over() {
			return fmt.Errorf("session %d is open already", rec.C)
		}
		delete(loaders, rec.C)
		info, err := rec.Info()
		if err == nil {
			l.open(info)
		}
		return err
	case rec.Derived:
		return nil // the part before has it
	}
	if loader == nil {
		var s *Script
		switch rec.Kind {
		case "req":
			s = l.want(rec.C, rec.Head)
		case "frame", "junk", "message":
			s = l.want(rec.C, nil)
		}
		if s == nil {
			if rec.Kind == "end" && !rec.HasDir || rec.Kind == "done" {
				delete(l.opened, rec.C) // it ended before it began
			}
			return nil
		}
		loader = newRecordLoader(l.newBuilder(s, rec.Line, true, rec.T))
		loaders[rec.C] = loader
		l.builders = append(l.builders, loader.builder)
	}
	if rec.Form == trace.FormDeflate {
		*l.busy.OfConn(rec.C) = &loader.freezer
	}
	if err := loader.take(rec); err != nil {
		return err
	}
	if loader.over() {
		loader.release()
		l.busy.Forget(rec.C)
	}
	return loader.err
}

// errDerived is for messages in a session that has frames, as -o json -m writes them.
var errDerived = errors.New("messages stand in place of frames, which can't be played")

// noFrames reports whether a session has messages and no frames.
func (l *library) noFrames(loaders map[int64]*recordLoader, number int64) bool {
	if loader := loaders[number]; loader != nil {
		return loader.s.info.NoFrames
	}
	info, opened := l.opened[number]
	return !opened || info.NoFrames
}

// parseHead takes the head of rec apart, if the trace has its bytes only.
func parseHead(rec *trace.Record) {
	if rec.Head == nil || !rec.RawHead {
		return
	}
	parse := decode.ParseRequest
	if rec.Kind == "res" {
		parse = decode.ParseResponse
	}
	raw := rec.Head.Raw
	rec.Head, _ = parse(raw) // with what there is of it
	rec.Head.Cut = decode.HeadLen([]byte(raw), 0) == 0
}

// A recordLoader builds a script of the records of a session. What is sent is
// the bytes of each record; a decode.Session makes the units of them.
type recordLoader struct {
	*builder
	decoder *decode.Session // nil when both sides have ended
	opened  bool            // decoder is
	frames  bool            // have begun, without a request before
	streams [2]trace.Stream
	freezer edit.Freezer
	left    [2]uint64 // by Dir: payload of the frame in flight that is still to come
	altered bool      // a change altered the request
}

func newRecordLoader(b *builder) *recordLoader {
	l := &recordLoader{builder: b, decoder: new(decode.Session)}
	for d := range decode.Dir(2) {
		l.streams[d].Dir, l.streams[d].Sent = d, b.s.sent[d]
	}
	l.decoder.Messages, l.decoder.Keep, l.decoder.Sums = true, MaxMessage, true
	l.decoder.Advice = b.selects != nil || b.optional != nil
	l.decoder.Sink = decode.SinkFunc(func(ev *decode.Event) {
		l.see(ev)
		switch {
		case ev.Kind == decode.KindRequest && l.s.request != nil:
			l.s.request.out = l.out
		case ev.Kind == decode.KindResponse && len(l.s.replies) > 0:
			l.s.replies[len(l.s.replies)-1].out = l.out
		}
		l.assemblers[ev.Dir].take(ev)
	})
	return l
}

// over reports whether both sides have ended, so that nothing can follow.
func (l *recordLoader) over() bool { return l.played == [2]bool{true, true} }

// release gives up what is needed only while the session goes on.
func (l *recordLoader) release() {
	l.decoder, l.freezer, l.pings = nil, edit.Freezer{}, [2][]string{}
}

func (l *recordLoader) take(rec *trace.Record) error {
	if l.over() && (rec.Kind == "req" || rec.Kind == "res") {
		return errAfterEnd
	}
	l.s.changed = l.s.changed || rec.Change != "" || (rec.Leg == trace.LegOut || rec.FX != "") && rec.Kind != "req"
	switch rec.Kind {
	case "req":
		return l.takeRequest(rec)
	case "res":
		return l.takeResponse(rec)
	case "body":
		return l.takeBody(rec)
	case "opaque":
		l.tunnel = l.tunnel || l.s.plain != nil
	case "done":
		l.done = true
		l.bodies[decode.FromClient].wire, l.bodies[decode.FromServer].wire = rec.Sent, rec.Got
	}
	if l.s.plain != nil {
		return nil // its connection may go on
	}
	switch rec.Kind {
	case "frame", "more", "junk":
		return l.takeBytes(rec)
	case "message":
		return l.takeMessage(rec)
	case "end":
		return l.takeEnd(rec)
	case "gap":
		return errLost(rec.N)
	}
	return nil
}

// takeBody takes a piece of the body of a request or a response.
func (l *recordLoader) takeBody(rec *trace.Record) error {
	more := int64(0)
	if rec.Cut {
		more = max(int64(min(rec.Len, math.MaxInt64))-int64(len(rec.Payload)), 0)
	}
	l.body(rec.Dir, bodyPiece{rec.Line, rec.T, rec.Payload}, more, rec.Cut && more == 0)
	return nil
}

func errLost(n int64) error {
	return fmt.Errorf("%d bytes are lost here, so the session can't be played", n)
}

// counts reports whether rec is part of what is played and compared of d: of what came
// from it or, with AsSent, of what its peer was sent.
func (l *recordLoader) counts(rec *trace.Record, d decode.Dir) bool {
	if l.s.sent[d] {
		return rec.Leg == trace.LegOut || rec.FX == ""
	}
	return rec.Leg != trace.LegOut && rec.FX != "inject" // of an early version
}

func (l *recordLoader) takeRequest(rec *trace.Record) error {
	h := &head{Head: rec.Head, body: rec.Body, at: rec.Line}
	switch {
	case l.frames:
		return errLateHead
	case rec.Leg == trace.LegOut && l.s.request != nil && l.s.sent[decode.FromClient]:
		l.s.request = h
	case rec.Leg == trace.LegOut:
		if !l.altered {
			l.s.edited = h
		}
		return nil
	case l.s.request != nil:
		return errors.New("a second request")
	default:
		l.s.request, l.altered = h, rec.Change != ""
		if !l.counts(rec, decode.FromClient) {
			return nil // what was sent is next
		}
	}
	if l.s.plain == nil {
		l.open()
		l.decoder.Data(decode.FromClient, rec.Time, rec.AppendHead(nil))
	}
	return nil
}

var (
	errCutResponse = errors.New("the response is cut off")
	errCutBody     = errors.New("bytes of the body were not recorded")
	errLateHead    = errors.New("the handshake comes after frames")
)

func (l *recordLoader) takeResponse(rec *trace.Record) error {
	switch {
	case !l.counts(rec, decode.FromServer):
		return nil
	case l.frames:
		return errLateHead
	case rec.Head.Cut && l.s.plain != nil:
		return nil // it has no answer
	case rec.Head.Cut:
		return errCutResponse
	}
	h := &head{Head: rec.Head, body: rec.Body, at: rec.Line}
	if len(rec.Body) > 0 { // else it has records of its own
		h.missing = max(rec.BodyLen-int64(len(rec.Body)), 0)
	}
	l.response(h, rec.T)
	if l.opened {
		l.decoder.Data(decode.FromServer, rec.Time, append(rec.AppendHead(nil), rec.Body...))
		l.freezer.Agree(l.s.extensions()...)
	}
	return nil
}

// open opens the session that takes the recorded bytes.
func (l *recordLoader) open() {
	l.opened = true
	info := l.s.info
	info.Ext = strings.Join(l.s.extensions(), ", ")
	l.decoder.Open(info)
}

// begin is called before the first frame, which in a trace made by hand may
// come without a handshake, or with a response only.
func (l *recordLoader) begin() {
	if l.opened {
		return
	}
	l.frames = true
	l.open()
	l.decoder.Upgraded()
	l.freezer.Agree(l.s.extensions()...)
}

func (l *recordLoader) takeBytes(rec *trace.Record) error {
	d := rec.Dir
	switch {
	case !rec.HasDir:
		return errors.New("has no d")
	case !l.counts(rec, d):
		if rec.Form != trace.FormDeflate {
			_, err := l.streams[d].Append(nil, rec) // a frame that is sent may have the rest of it
			return err
		}
		return nil
	case rec.Cut:
		return errors.New("the payload was cut when it was written, so the session can't be played")
	case l.played[d]:
		return errAfterEnd
	}
	l.begin()
	if rec.Form == trace.FormDeflate {
		frozen, err := l.freezer.Freeze(rec)
		if err != nil {
			return err
		}
		rec = frozen
	}
	b, err := l.streams[d].Append(nil, rec)
	if err == nil {
		l.marks, err = marksOf(rec)
	}
	if err != nil {
		return err
	}
	it := item{at: rec.Line, t: rec.T, wire: &wire{bytes: b}, need: l.have(d.Peer())}
	switch rec.Kind {
	case "frame":
		it.isClose = rec.Op == ws.OpClose
		it.mask = rec.Mask
		l.left[d] = rec.Len - min(uint64(len(rec.Payload)), rec.Len)
	case "more", "junk":
		l.left[d] -= min(uint64(len(rec.Payload)), l.left[d])
	}
	it.ends = l.left[d] == 0
	l.add(d, it)
	l.decoder.Data(d, rec.Time, b)
	if !it.ends {
		l.decoder.FlushAll(d, rec.Time)
	}
	return nil
}

// takeMessage takes a message of which no frames are known.
func (l *recordLoader) takeMessage(rec *trace.Record) error {
	if !rec.HasDir {
		return errors.New("has no d")
	}
	if !l.counts(rec, rec.Dir) {
		return nil
	}
	op, ok := decode.ParseOp(rec.Message.Op)
	if !ok {
		return fmt.Errorf("%q is not an opcode", rec.Message.Op)
	}
	var err error
	if l.marks, err = marksOf(rec); err != nil {
		return err
	}
	l.begin()
	l.decoder.Message(rec.Dir, rec.Time, op, rec.Payload)
	m := decode.Message{Dir: rec.Dir, Op: op, Data: rec.Payload, Len: int64(len(rec.Payload)), Cut: rec.Cut}
	return cmp.Or(l.message(&m, rec.Line, rec.T), l.err)
}

func (l *recordLoader) takeEnd(rec *trace.Record) error {
	var err error
	if l.marks, err = marksOf(rec); err != nil {
		return err
	}
	how, _ := decode.ParseEnd(rec.How)
	for d := range decode.Dir(2) {
		if rec.HasDir && rec.Dir != d {
			continue
		}
		if l.end(d, !rec.HasDir, rec.Line, rec.T, how) {
			l.begin()
			l.decoder.End(d, rec.Time, how, "")
		}
	}
	return nil
}

// marksOf returns what someone has written into a record.
func marksOf(rec *trace.Record) (m marks, err error) {
	for _, extra := range rec.Extra {
		v := extra.Value
		switch extra.Key {
		case "after":
			m.hasAfter = true
			if json.Unmarshal(v, &m.after) != nil || m.after < 0 {
				return m, fmt.Errorf("after: %s is not a number of messages", v)
			}
		case "group":
			if json.Unmarshal(v, &m.group) != nil {
				return m, fmt.Errorf("group: %s is not a string", v)
			}
		case "re":
			var expr string
			if json.Unmarshal(v, &expr) != nil {
				return m, fmt.Errorf("re: %s is not a string", v)
			}
			if m.re, err = regexp.Compile(expr); err != nil {
				return m, err
			}
		}
	}
	return m, nil
}
