package decode

import (
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// frames finds the frames in b and emits those that are complete, and the
// pieces of longer ones as soon as they are at hand.
func (s *Session) frames(d Dir, b []byte) {
	c := &s.conn.cutters[d]
	for f := range c.dec.Frames(b) {
		if !f.More {
			c.begin(f, s.now)
		}
		p, complete := f.payload, f.Complete
		if c.whole(p, complete) { // as most are
			s.frame(d)
		} else {
			for c.next(&p, complete, s.now) {
				s.frame(d)
			}
		}
		if complete && s.conn.aliens[d].what != "" {
			c.dec.giveUp()
		}
	}
	if head, rest, err := c.dec.Lost(); err != nil {
		s.lost(d, head, rest)
	}
}

// held emits what is held back of the frame in flight: all of it, or as much as
// cuts text between characters.
func (s *Session) held(d Dir, all bool) {
	if c := &s.conn.cutters[d]; c.flush(all, s.now) {
		s.frame(d)
		c.release()
	}
}

// frame emits the piece of a frame that the cutter of d has at hand.
func (s *Session) frame(d Dir) {
	f := &s.conn.cutters[d].dec.frame
	var rtt time.Duration
	if !s.blind() {
		s.overdue(false)
	}
	if !f.More {
		s.totals.Frames[d]++
		if f.OpCode == ws.OpText || f.OpCode == ws.OpBinary {
			s.giveUp(d)
		}
		rtt = s.begun(f)
	}
	s.conn.lastFrame = s.now
	var m *Message
	part := false
	data := f.OpCode <= ws.OpBinary && s.conn.aliens[d].what == ""
	if data && s.conn.messages != nil {
		a := &s.conn.messages[d]
		m = a.take(f, s.scratch[:])
		if m != nil {
			s.count(m)
		}
		if s.judge != nil {
			s.judge.content(f, a, m)
		}
		part = a.open
	}
	if data && f.Fin && f.Complete && s.judge != nil {
		s.judge.size(f, m)
	}
	ev := s.newEvent(KindFrame, d)
	ev.Frame, ev.Message, ev.Part, ev.RTT = f, m, part, rtt
	if part && s.Pieces {
		a := &s.conn.messages[d]
		ev.Content, ev.Unread = a.gathered(), a.m.Unread
		s.emitEvent()
		a.letGo()
	} else {
		s.emitEvent()
	}
	if s.conn.news {
		s.conn.news = false
		s.arrived(f)
	}
	if m != nil {
		s.newEvent(KindMessage, d).Message = m
		s.emitEvent()
		s.conn.messages[d].release()
	}
}

// begun notes what a frame, whose header has come, means for the connection, and
// for the message in flight. It returns how long the ping waited that it answers.
func (s *Session) begun(f *Frame) (rtt time.Duration) {
	var p place
	ends := false
	if !f.Control() {
		p, ends = s.conn.cutters[f.Dir].follow(f, s.now)
	}
	a := &s.conn.aliens[f.Dir]
	switch {
	case a.see(f, p, s.conn.rsv[f.Dir], s.totals.Frames[f.Dir]):
		if s.judge != nil {
			s.judge.alien(f, a)
		}
	case a.what != "":
	case f.Control():
		return s.controlFrame(f)
	default:
		if ends {
			s.totals.Messages[f.Dir]++
		}
		if s.judge != nil {
			s.judge.frame(f, p, nil)
		}
	}
	return 0
}

// A controlFact is what a control frame means for the connection.
type controlFact struct {
	close closeFact // of a Close
	pong  pongFact  // of a pong
}

// controlFrame notes what a control frame, whose header has come, means for the
// connection. It returns how long the ping waited that it answers.
func (s *Session) controlFrame(f *Frame) (rtt time.Duration) {
	c, d := s.conn, f.Dir
	c.news = true
	var fact controlFact
	switch f.OpCode {
	case ws.OpClose:
		body := f.AppendPayload(s.scratch[:0], len(s.scratch))
		fact.close = s.verdict.close(f, body, s.now, s.totals.Frames[d.Peer()], s.quiet(), &s.totals.Verdict)
	case ws.OpPing:
		s.totals.Heartbeat[d].Pings++
	case ws.OpPong:
		var counts bool
		if fact.pong, counts = c.hearts[d.Peer()].pong(f, payloadSum(f, s.scratch[:]), s.now); counts {
			s.totals.Heartbeat[d.Peer()].Pongs++
		}
		if fact.pong.kind == pongAnswers {
			rtt = s.now.Sub(fact.pong.first.time)
		}
		c.pong = fact.pong
	}
	if s.judge != nil {
		s.judge.frame(f, placeNone, &fact)
	}
	return rtt
}

// count adds a message that is complete to the totals.
func (s *Session) count(m *Message) {
	switch {
	case m.Unread:
		s.totals.Unchecked[m.Dir]++
	case m.Compressed:
		d := &s.totals.Deflate[m.Dir]
		d.Messages++
		d.Wire += m.Wire
		d.Len += m.Len
	}
}

// overdue emits the violations of whatever is overdue by now, which belong to no
// frame. It comes before the next frame or end is taken.
func (s *Session) overdue(end bool) {
	if s.judge != nil && s.judge.overdue(end) {
		s.emit(Event{Kind: KindViolation})
	}
}

// giveUp emits the message in flight of d, if any, as unfinished: it will never be
// complete.
func (s *Session) giveUp(d Dir) {
	if s.conn == nil || s.conn.messages == nil {
		return
	}
	a := &s.conn.messages[d]
	if m := a.giveUp(); m != nil {
		s.emit(Event{Kind: KindMessage, Dir: d, Message: m})
		a.release()
	}
}

// framesLost passes over n bytes of frames that were lost.
func (s *Session) framesLost(d Dir, n int64) {
	c := &s.conn.cutters[d]
	c.at += n
	if c.dec.InPayload() && !c.dec.frame.Control() && s.conn.messages != nil {
		s.conn.messages[d].miss()
	}
	if c.dec.Skip(n); c.lost() {
		s.giveUp(d)
		s.sides[d].phase = inJunk
	}
}

// WhyUnframed is the text of junk that could be frames, but follows bytes from
// which on nobody can tell them apart.
const WhyUnframed = "cannot be framed"

// WhyHeader is the text of junk that is the beginning of a frame header.
const WhyHeader = "ends inside a frame header"

// Why bytes are junk.
const (
	whyTooLong  = "length with its top bit set" // it begins with such a header
	whyUnframed = WhyUnframed                   // it follows one, or a gap
	whyBody     = "body of the request"         // it is no frame
)

// lost ends the framing of d at a header that can't be understood; rest are the
// bytes at hand that follow it.
func (s *Session) lost(d Dir, head, rest []byte) {
	s.giveUp(d)
	if s.conn.aliens[d].what != "" {
		s.sides[d].phase = inJunk
		s.junk(d, rest, whyUnframed)
		s.conn.cutters[d].dec.rest = nil
		return
	}
	if s.judge != nil {
		s.judge.lost(d, s.conn.cutters[d].dec.count, head)
	}
	n := min(len(rest), MaxPiece-len(head))
	s.sides[d].phase = inJunk
	s.junk(d, append(head[:len(head):len(head)], rest[:n]...), whyTooLong)
	s.junk(d, rest[n:], whyUnframed)
	s.conn.cutters[d].dec.rest = nil
}

// partialHeader emits, as junk, the beginning of a header whose rest will not
// come.
func (s *Session) partialHeader(d Dir) {
	if s.sides[d].phase != inFrames {
		return
	}
	if s.cutHeader(d) {
		s.sides[d].phase = inJunk
	}
}

// cutHeader emits the beginning of a header, once. It reports whether there is one.
func (s *Session) cutHeader(d Dir) bool {
	c := &s.conn.cutters[d]
	p := c.dec.Partial()
	if len(p) == 0 || c.cut {
		return len(p) > 0
	}
	c.cut = true
	if s.judge != nil {
		f := partialFrame(d, c.dec.count, p)
		s.judge.partial(f, c.placeOf(f))
	}
	s.junk(d, p, WhyHeader)
	return true
}

// partialFrame returns what the first bytes of a header tell of frame n.
func partialFrame(d Dir, n int64, head []byte) *Frame {
	f := &Frame{Dir: d, N: n, Head: head}
	f.Fin, f.Rsv, f.OpCode = head[0]&0x80 != 0, head[0]>>4&7, ws.OpCode(head[0]&0xf)
	f.Masked = len(head) > 1 && head[1]&0x80 != 0
	return f
}

// junk emits bytes that belong to no frame.
func (s *Session) junk(d Dir, b []byte, why string) { s.emitJunk(Event{Dir: d}, b, why) }

// emitJunk emits ev for each piece of bytes that belong to no frame.
func (s *Session) emitJunk(ev Event, b []byte, why string) {
	ev.Kind, ev.Text = KindJunk, why
	for len(b) > 0 {
		n := min(len(b), MaxPiece)
		ev.Data, b = b[:n], b[n:]
		s.emit(ev)
	}
}

// wholeMessage emits a message of which no frames are known.
func (s *Session) wholeMessage(d Dir, op ws.OpCode, b []byte) {
	s.totals.Bytes[d] += int64(len(b))
	keep := s.Keep
	if keep == 0 {
		keep = MaxMessageData
	}
	if op > ws.OpBinary { // of which everything is looked at
		keep = max(keep, ws.MaxControlFramePayloadSize)
	}
	m := Message{Dir: d, Op: op, N: s.totals.Messages[d], Len: int64(len(b)), Wire: int64(len(b)),
		Data: b[:min(len(b), keep)], Cut: len(b) > keep, unpack: s.Unpack}
	switch f := (Frame{Header: ws.Header{OpCode: op, Length: int64(len(b))}, Dir: d, Complete: true}); {
	case op <= ws.OpBinary:
		s.totals.Messages[d]++
	case op == ws.OpClose:
		s.verdict.close(&f, b, s.now, 0, s.quiet(), &s.totals.Verdict)
	}
	if s.judge != nil && op == ws.OpText && !utf8.Valid(b) {
		s.judge.notText(&m, b)
	}
	s.conn.lastFrame = s.now
	s.newEvent(KindMessage, d).Message = &m
	s.emitEvent()
	if op == ws.OpClose {
		s.verdict.reached[d] = s.verdict.closes[d]
	}
}
