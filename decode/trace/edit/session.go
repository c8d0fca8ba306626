package edit

import (
	"bytes"
	"math"
	"strings"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// MaxMessage is the longest message, in bytes, that is looked into for secrets.
// It also bounds what waits in a session.
const MaxMessage = 1 << 20

// maxWaiting is what the records of a session that wait may take, in bytes.
const maxWaiting = 2 * MaxMessage

// A session is what a Redactor knows of one. While a message is in flight its
// records wait, and so do those behind them.
type session struct {
	r       *Redactor
	offered map[string]string // subprotocols that have placeholders
	changed bool              // something may have been replaced
	inflate agreement
	came    [2]*side // by Dir; nil before the first frame
	sent    [2]*side // in place of what came
	ended   [2]bool
	mqtt    bool // it is the subprotocol
	done    bool

	asks   bool // the request asks for websocket
	method string
	bodies [2]*body // by Dir; nil if there is none
	grown  [2]int64 // by Dir: bytes that bodies have more than on the wire

	queue   []*held // the first waits, if there is one
	waiting int     // what they take
}

// A held record is one with its place in the trace.
type held struct {
	rec        *trace.Record
	t          time.Duration
	c          int64
	hadT, hadC bool
	message    *message // that it waits for, nil for none
}

// recordSize is about what a record takes besides its payload.
const recordSize = 512

// A side is what one side of a session sends.
type side struct {
	open   *message // in flight; nil for none
	left   uint64   // payload of the frame in flight that is still to come
	data   bool     // that frame is part of a message
	fin    bool     // and its last one
	plain  bool     // compressed messages go uncompressed from here on
	anew   bool     // they are compressed anew from here on
	stream *stream  // of compressed messages

	connect connect  // of MQTT
	junk    *message // pieces of bytes that are no frames; nil for none
}

// A message is what has come of one.
type message struct {
	compressed bool
	records    []*held
	plain      []byte // inflated, if it is compressed
	size       int    // of it, or of the payload
	lost       string // why it can't be looked into
	over       bool   // nothing waits for it any more
	junk       bool   // it is bytes that are no frames
	body       *body  // that it is of; nil for none
}

// over reports whether the session needs no place any more. The counts of bodies that
// have changed are still to come.
func (s *session) over() bool { return s.done || s.ended[0] && s.ended[1] && s.grown == [2]int64{} }

// take takes a record, which is redacted but for its payload.
func (s *session) take(h *held) {
	rec := h.rec
	switch rec.Kind {
	case trace.KindRes:
		if rec.Leg != trace.LegOut && rec.Head.Status == 101 {
			s.inflate.ext, s.inflate.known = "", false
			s.inflate.offers = rec.Head.Values("Sec-WebSocket-Extensions")
			s.offered = nil
			s.mqtt = strings.HasPrefix(strings.ToLower(rec.Head.Get("Sec-WebSocket-Protocol")), "mqtt")
		}
		s.head(h)
	case trace.KindReq:
		s.head(h)
	case trace.KindBody:
		if rec.HasDir {
			s.piece(h)
			s.settle()
			return
		}
	case trace.KindEnd:
		for d := range decode.Dir(2) {
			if !rec.HasDir || rec.Dir == d {
				s.endSide(d)
			}
		}
	case trace.KindDone:
		s.done = true
		s.endBody(decode.FromClient, true)
		s.endBody(decode.FromServer, true)
		rec.Sent = max(rec.Sent+s.grown[decode.FromClient], 0)
		rec.Got = max(rec.Got+s.grown[decode.FromServer], 0)
	case trace.KindFrame, trace.KindMore, trace.KindJunk, trace.KindGap:
		if s.r.inMessages && rec.HasDir {
			s.bytes(h)
		}
	}
	s.push(h)
	s.settle()
}

func (s *session) push(h *held) {
	s.queue = append(s.queue, h)
	s.waiting += len(h.rec.Payload) + recordSize
}

// settle emits what need not wait, and what has waited for too much.
func (s *session) settle() {
	s.flush()
	for s.waiting > maxWaiting && len(s.queue) > 0 {
		s.lose(s.queue[0].message, "waited for its end too long")
		s.flush()
	}
}

// flush emits the records that wait for nothing.
func (s *session) flush() {
	n := 0
	for n < len(s.queue) && (s.queue[n].message == nil || s.queue[n].message.over) {
		h := s.queue[n]
		s.waiting -= min(s.waiting, len(h.rec.Payload)+recordSize)
		s.r.emit(h)
		s.queue[n] = nil
		n++
	}
	if s.queue = s.queue[n:]; len(s.queue) == 0 {
		s.queue, s.waiting = nil, 0
	}
}

// endSide says that nothing more comes of a message in flight.
func (s *session) endSide(d decode.Dir) {
	s.ended[d] = true
	s.endBody(d, true)
	for _, sd := range []*side{s.came[d], s.sent[d]} {
		if sd != nil && sd.open != nil {
			s.lose(sd.open, "is not complete")
			sd.open = nil
		}
		if sd != nil {
			s.endJunk(sd)
		}
	}
}

// abandon ends the session: what waits is emitted.
func (s *session) abandon() {
	s.endBody(decode.FromClient, false)
	s.endBody(decode.FromServer, false)
	s.endSide(decode.FromClient)
	s.endSide(decode.FromServer)
	s.flush()
}

// lose takes the payload from the frames of a message that can't be looked into.
func (s *session) lose(m *message, why string) {
	if m == nil || m.over {
		return
	}
	switch {
	case m.junk:
		s.replace(m)
		return
	case m.body != nil:
		s.loseBody(m.body, why)
		return
	}
	if m.lost == "" {
		m.lost = why
	}
	m.over, m.plain = true, nil
	var note *held
	for _, h := range m.records {
		if stripped(h.rec) && note == nil {
			note = &held{t: h.t, c: h.c, hadT: h.hadT, hadC: h.hadC}
			note.rec = &trace.Record{Kind: trace.KindNote, T: h.rec.T, HasT: h.rec.HasT, C: h.rec.C, Text: lossOf(h.rec, m)}
		}
	}
	first := m.records
	m.records = nil
	if note == nil || len(first) == 0 {
		return
	}
	for i, h := range s.queue {
		if h == first[0] {
			s.queue = append(s.queue[:i:i], append([]*held{note}, s.queue[i:]...)...)
			return
		}
	}
}

func lossOf(rec *trace.Record, m *message) string {
	return "a message of the " + rec.Dir.String() + " was not looked into for secrets, as it " + m.lost + ": its payload is left out"
}

// stripped takes the payload out of a record, and reports whether there was any.
func stripped(rec *trace.Record) bool {
	rec.HasInflated, rec.Inflated, rec.InflatedCut, rec.Packed = false, nil, false, ""
	n := uint64(len(rec.Payload))
	if rec.Kind != trace.KindFrame && !rec.Cut || rec.Form == trace.FormDeflate {
		rec.Len = n
	}
	if rec.Payload, rec.Form = nil, trace.FormAuto; n == 0 {
		return false
	}
	rec.Cut = true
	return true
}

// sideOf returns the side that a record is about.
func (s *session) sideOf(rec *trace.Record) *side {
	sides := &s.came
	if rec.Leg == trace.LegOut || rec.FX == "inject" {
		sides = &s.sent
	}
	if sides[rec.Dir] == nil {
		sides[rec.Dir] = &side{}
	}
	return sides[rec.Dir]
}

// bytes takes a record of frames.
func (s *session) bytes(h *held) {
	rec := h.rec
	sd := s.sideOf(rec)
	n := uint64(len(rec.Payload))
	if rec.Kind != trace.KindJunk || rec.Cut {
		s.endJunk(sd)
	}
	switch rec.Kind {
	case trace.KindGap:
		n = uint64(max(rec.N, 0))
		if sd.left > 0 && sd.data && sd.open != nil {
			sd.open.lost = "is not all there"
		}
		sd.left -= min(n, sd.left)
		return
	case trace.KindJunk:
		if sd.left > 0 && sd.data && sd.open != nil {
			sd.open.lost = "is not all there"
		}
		sd.left -= min(n, sd.left)
		if s.r.patient && !rec.Cut {
			s.addJunk(sd, h)
		} else {
			s.other(rec)
		}
		return
	case trace.KindFrame:
		s.begin(sd, rec)
	case trace.KindMore:
		if rec.Cut {
			n = rec.Len
		}
	}
	if rec.Kind == trace.KindFrame {
		if sd.left = 0; rec.Form != trace.FormDeflate {
			sd.left = rec.Len - min(n, rec.Len)
		}
	} else {
		sd.left -= min(n, sd.left)
	}
	if !sd.data || sd.open == nil {
		s.other(rec)
		return
	}
	m := sd.open
	if rec.Cut {
		m.lost = "is not all there"
		sd.left = 0
	}
	s.part(sd, m, h)
	if sd.left == 0 && sd.fin {
		sd.open = nil
		s.complete(sd, m)
	}
}

// begin takes the header of a frame.
func (s *session) begin(sd *side, rec *trace.Record) {
	sd.data = rec.Op <= ws.OpBinary
	if !sd.data {
		return
	}
	sd.fin = rec.Fin
	if rec.Op == ws.OpContinuation {
		return
	}
	if sd.open != nil {
		s.lose(sd.open, "is not complete")
	}
	sd.open = &message{compressed: rec.Rsv&4 != 0 && rec.Form != trace.FormDeflate && s.inflate.on()}
	if sd.open.compressed {
		if sd.stream == nil {
			sd.stream = s.inflate.stream(rec.Dir)
		}
		if rec.Leg == trace.LegOut && !sd.stream.z.Alone {
			sd.stream.lost = true // it refers to messages that went as they came
		}
		sd.stream.start()
	} else if rec.Rsv != 0 && rec.Form != trace.FormDeflate {
		sd.open.lost = "is of an extension that is not known"
	}
}

// part takes a piece of a message.
func (s *session) part(sd *side, m *message, h *held) {
	p := h.rec.Payload
	if m.compressed {
		out, ok := sd.stream.next(p, MaxMessage-m.size)
		m.plain = append(m.plain, out...)
		if m.size += len(out); !ok {
			m.lost = sd.stream.why
		}
	} else {
		m.size += len(p)
	}
	if m.size > MaxMessage {
		m.lost = "is longer than 1 MiB"
	}
	if m.over || m.lost != "" && m.size > MaxMessage {
		m.records = append(m.records, h)
		s.loseNow(sd, m, h)
		return
	}
	h.message = m
	m.records = append(m.records, h)
}

// loseNow loses a message at a record that is not in the queue yet.
func (s *session) loseNow(sd *side, m *message, h *held) {
	if sd.stream != nil && m.compressed {
		sd.plain = true
	}
	if !m.over {
		s.queue = append(s.queue, h)
		s.lose(m, "")
		s.queue = s.queue[:len(s.queue)-1]
	}
	m.records = nil
	h.message = nil
	stripped(h.rec)
}

// complete redacts a message.
func (s *session) complete(sd *side, m *message) {
	if m.compressed {
		out, ok := sd.stream.end(MaxMessage - m.size)
		m.plain = append(m.plain, out...)
		if m.size += len(out); !ok {
			m.lost = sd.stream.why
		} else if m.size > MaxMessage {
			m.lost = "is longer than 1 MiB"
		}
	}
	if m.over {
		return
	}
	if m.lost == "" && s.r.credentials && m.records[0].rec.Dir == decode.FromClient {
		if first := m.start(); sd.connect.spans(first, m.size, s.mqtt) {
			m.lost = "is part of a CONNECT of MQTT in several messages"
		}
	}
	if m.lost != "" {
		sd.plain = sd.plain || m.compressed
		s.loseAtEnd(m)
		return
	}
	c := content{rules: &s.r.rules, b: m.plain}
	if !m.compressed {
		c = s.contentOf(m)
	}
	old := c.b
	c.redact(0)
	same := bytes.Equal(old, c.b)
	s.changed = s.changed || !same
	m.over, m.plain = true, nil
	m.derive(old)
	if same && !(m.compressed && (sd.anew || sd.plain)) {
		m.records = nil
		return
	}
	last := m.records[len(m.records)-1].rec
	if last.HasInflated {
		last.Inflated = c.b
	}
	if m.compressed {
		c.cuts = nil
		if sd.plain {
			m.records[0].rec.Rsv &^= 4
			last.HasInflated = false
		} else {
			sd.anew = true
			c.b = s.inflate.compress(m.records[0].rec.Dir, c.b)
		}
		for i := range m.records {
			c.cuts = append(c.cuts, len(c.b)*(i+1)/len(m.records))
		}
	}
	m.spread(c.b, c.cuts)
	m.records = nil
}

// start returns what a message begins with.
func (m *message) start() []byte {
	if m.compressed {
		return m.plain
	}
	var b []byte
	for _, h := range m.records {
		if b = append(b, h.rec.Payload...); len(b) >= maxConnectStart {
			break
		}
	}
	return b
}

// derive makes what is derived of a message what it really is.
func (m *message) derive(plain []byte) {
	for i, h := range m.records {
		rec := h.rec
		if rec.HasInflated && (!m.compressed || i < len(m.records)-1 || !bytes.HasPrefix(plain, rec.Inflated)) {
			rec.HasInflated, rec.Inflated, rec.InflatedCut, rec.Packed = false, nil, false, ""
		}
	}
}

// maxJunk is how many bytes of junk are looked into together.
const maxJunk = 64 << 10

// addJunk adds a piece of junk to those before it.
func (s *session) addJunk(sd *side, h *held) {
	if sd.junk != nil && sd.junk.size+len(h.rec.Payload) > maxJunk {
		s.endJunk(sd)
	}
	if sd.junk == nil {
		sd.junk = &message{junk: true}
	}
	sd.junk.size += len(h.rec.Payload)
	sd.junk.records = append(sd.junk.records, h)
	h.message = sd.junk
}

// endJunk says that the junk is all there.
func (s *session) endJunk(sd *side) {
	if sd.junk != nil {
		s.replace(sd.junk)
		sd.junk = nil
	}
}

// contentOf returns what the records of m have together.
func (s *session) contentOf(m *message) content {
	c := content{rules: &s.r.rules}
	for _, h := range m.records {
		c.b = append(c.b, h.rec.Payload...)
		c.cuts = append(c.cuts, len(c.b))
	}
	return c
}

// replace redacts junk.
func (s *session) replace(m *message) {
	if m.over {
		return
	}
	c := s.contentOf(m)
	old := c.b
	if c.redact(0); !bytes.Equal(old, c.b) {
		s.changed = true
		m.spread(c.b, c.cuts)
	}
	m.over, m.records = true, nil
}

// loseAtEnd loses a message whose last record is not in the queue yet.
func (s *session) loseAtEnd(m *message) {
	h := m.records[len(m.records)-1]
	s.queue = append(s.queue, h)
	s.lose(m, "")
	s.queue = s.queue[:len(s.queue)-1]
}

// spread gives the records of a message new payload, which is cut for them.
func (m *message) spread(b []byte, cuts []int) {
	from := 0
	var frame *trace.Record
	for i, h := range m.records {
		rec := h.rec
		p := b[from:cuts[i]:cuts[i]]
		from = cuts[i]
		rec.Payload = p
		if rec.Form != trace.FormDeflate {
			rec.Form = trace.FormAuto
		}
		if rec.Kind == trace.KindFrame {
			frame, rec.Len = rec, 0
		}
		if frame != nil {
			frame.Len += uint64(len(p))
		}
	}
}

// other redacts what is no part of a message.
func (s *session) other(rec *trace.Record) {
	rec.HasInflated, rec.Inflated, rec.InflatedCut, rec.Packed = false, nil, false, ""
	keep, most := 0, math.MaxInt
	if rec.Kind == trace.KindFrame && rec.Op >= ws.OpClose {
		most = max(len(rec.Payload), 125) // RFC 6455 §5.5
		if rec.Op == ws.OpClose {
			keep = min(2, len(rec.Payload))
		}
	}
	p := s.r.content(rec.Payload[keep:])
	if bytes.Equal(p, rec.Payload[keep:]) {
		return
	}
	s.changed = true
	left := rec.Len - min(rec.Len, uint64(len(rec.Payload)))
	p = p[:min(len(p), most-keep)]
	if rec.Kind == trace.KindFrame && rec.Op >= ws.OpClose {
		p = decode.WholeChars(p)
	}
	if rec.Kind == trace.KindMore && !rec.Cut {
		p = fit(p, len(rec.Payload)) // the length of the frame is told already
	}
	rec.Payload = append(rec.Payload[:keep:keep], p...)
	if rec.Kind == trace.KindFrame || rec.Cut {
		rec.Len = uint64(len(rec.Payload)) + left
	}
	if rec.Form != trace.FormDeflate {
		rec.Form = trace.FormAuto
	}
}

// fit returns p with a length of n.
func fit(p []byte, n int) []byte {
	if len(p) >= n {
		return p[:n]
	}
	return append(bytes.Clone(p), bytes.Repeat([]byte("."), n-len(p))...)
}
