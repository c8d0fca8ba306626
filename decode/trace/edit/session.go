package edit

import (
	"bytes"
	"math"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// A session is one whose messages are redacted. Its frames are given to a
// [decode.Session], which inflates them, and wait until their message is whole.
type session struct {
	r       *redactor
	opened  *trace.Record
	request bool // there was one
	begun   bool
	frames  bool // have begun, without a request before
	decoder decode.Session
	sides   [2]side // by Dir
	freezer Freezer
}

// A side is what one side of a session sends.
type side struct {
	stream  trace.Stream
	waiting []*held  // records of the message in flight
	last    *held    // the one at hand
	open    *message // in flight; nil for none
	data    bool     // the last frame is part of a message
	anew    bool     // messages are compressed anew from here on
	ended   bool
}

// A message is what has come of one.
type message struct {
	op      ws.OpCode
	data    []byte
	records []*held
}

// maxMessage is the longest message, in bytes, that is put together.
const maxMessage = 64 << 20

// head takes the head of a record.
func (s *session) head(rec *trace.Record) {
	switch {
	case rec.Leg == "out" || rec.Head.Cut || s.frames: // it stands where no head can be
	case rec.Kind == "req":
		s.begin(false)
		s.request = true
		s.decoder.Data(decode.FromClient, rec.Time, rec.AppendHead(nil))
	case s.request:
		s.decoder.Data(decode.FromServer, rec.Time, append(rec.AppendHead(nil), rec.Body...))
		s.freezer.Agree(rec.Head.Values("Sec-WebSocket-Extensions")...)
	case rec.Head.Status == 101:
		s.opened.Ext = strings.Join(rec.Head.Values("Sec-WebSocket-Extensions"), ", ")
	}
}

func (s *session) begin(upgraded bool) {
	if s.begun {
		return
	}
	s.begun = true
	for d := range decode.Dir(2) {
		s.sides[d].stream.Dir = d
	}
	s.decoder.Messages, s.decoder.Keep = true, maxMessage
	s.decoder.Sink = decode.SinkFunc(s.take)
	s.decoder.Open(decode.Info{Ext: s.opened.Ext})
	if s.frames = upgraded; upgraded {
		s.decoder.Upgraded()
		s.freezer.Agree(s.opened.Ext)
	}
}

// bytes takes a record of frames. It waits until its message is complete.
func (s *session) bytes(h *held) error {
	rec := h.rec
	rec.HasInflated = false
	if rec.Leg == "out" || rec.FX == "inject" || !rec.HasDir {
		return nil
	}
	s.begin(true)
	if rec.Form == trace.FormDeflate {
		rec.Payload = s.r.content(rec.Payload, true) // the bytes are not made yet
		return nil
	}
	d := rec.Dir
	sd := &s.sides[d]
	b, err := sd.stream.Append(nil, rec)
	if err != nil {
		return err
	}
	if rec.Kind == "frame" {
		sd.data = rec.Op <= ws.OpBinary
	}
	if rec.Kind == "junk" || !sd.data {
		s.other(rec)
	} else {
		h.waiting = true
		sd.waiting = append(sd.waiting, h)
	}
	sd.last = h
	s.decoder.Data(d, rec.Time, b)
	s.decoder.FlushAll(d, rec.Time)
	if rec.Cut {
		s.cutOff(d)
	}
	return nil
}

// other redacts what is no part of a message.
func (s *session) other(rec *trace.Record) {
	keep, most := 0, math.MaxInt
	if rec.Kind == "frame" {
		most = max(len(rec.Payload), 125) // (RFC 6455 §5.5)
		if rec.Op == ws.OpClose {
			keep = min(2, len(rec.Payload))
		}
	}
	p := s.r.content(rec.Payload[keep:], true)
	if bytes.Equal(p, rec.Payload[keep:]) {
		return
	}
	left := rec.Len - uint64(len(rec.Payload))
	rec.Payload = append(rec.Payload[:keep:keep], p[:min(len(p), most-keep)]...)
	if rec.Kind == "frame" {
		rec.Len, rec.LenBits = uint64(len(rec.Payload))+left, 0
	}
}

// take takes an event: a frame that is part of a message is put to the others of
// it. A message that begins before the last one is complete cuts that one off.
func (s *session) take(ev *decode.Event) {
	f := ev.Frame
	if ev.Kind != decode.KindFrame || f.OpCode > ws.OpBinary {
		return
	}
	sd := &s.sides[ev.Dir]
	if !f.More && (f.OpCode != ws.OpContinuation || sd.open == nil) {
		if sd.open != nil {
			s.drop(sd.open.records)
		}
		sd.open = &message{op: f.OpCode}
	}
	m := sd.open
	if len(m.data) < maxMessage {
		m.data = f.AppendPayload(m.data, -1)
	}
	if n := len(m.records); n == 0 || m.records[n-1] != sd.last {
		m.records = append(m.records, sd.last)
	}
	if f.Complete && f.Fin {
		sd.open = nil
		s.complete(ev.Dir, m, ev.Message)
	}
}

// complete redacts a message of d. What the decoder has put together is nil for
// one that it does not look into.
func (s *session) complete(d decode.Dir, m *message, inflated *decode.Message) {
	sd := &s.sides[d]
	compressed := inflated != nil && inflated.Compressed
	if compressed {
		if inflated.Unread || inflated.Cut {
			s.drop(m.records)
			return
		}
		m.data = inflated.Data
	}
	sd.waiting = nil
	for _, h := range m.records {
		h.waiting = false
	}
	clean := s.r.content(m.data, m.op == ws.OpText)
	if bytes.Equal(clean, m.data) && !(compressed && sd.anew) {
		return
	}
	first := m.records[0].rec
	for _, h := range m.records[1:] {
		h.rec = nil
	}
	first.Fin, first.LenBits, first.Cut, first.Form = true, 0, false, trace.FormAuto
	first.Payload = bytes.Clone(clean)
	if compressed {
		sd.anew = true
		first.Payload = s.freezer.dirs[d].compress(clean, true, true)
	}
	first.Len = uint64(len(first.Payload))
}

// cutOff drops the message of d that will not be complete.
func (s *session) cutOff(d decode.Dir) {
	s.drop(s.sides[d].waiting)
	s.sides[d].waiting = nil
}

// abandon drops the messages that will not be complete.
func (s *session) abandon() {
	s.cutOff(decode.FromClient)
	s.cutOff(decode.FromServer)
}

// drop leaves out what could not be looked into.
func (s *session) drop(records []*held) {
	first := true
	for _, h := range records {
		if !h.waiting {
			continue
		}
		h.waiting = false
		if !first {
			h.rec = nil
			continue
		}
		first = false
		h.rec = &trace.Record{Kind: "note", T: h.rec.T, HasT: h.rec.HasT, C: h.rec.C,
			Text: "a message of the " + h.rec.Dir.String() + " was left out: it could not be looked into for secrets"}
	}
}
