package decode

import (
	"slices"
	"sync"
	"time"

	"github.com/gobwas/ws"
)

// MaxHead is the length, in bytes, of the longest head that a [Session] accepts.
const MaxHead = 1 << 20

// A Session turns the bytes of one HTTP exchange, and of the WebSocket
// connection that it may become, into events. Live traffic, a trace and a
// capture all go through it.
//
// Call [Session.Open] first. The bytes given to Data are borrowed for the
// call. All methods may be called from several goroutines.
//
// A Session is made of parts that keep the facts: the exchange takes heads and
// bodies, a cutter for each direction finds frames, an assembly for each
// direction puts messages together, heartbeats follow the pings, and the verdict
// follows the close. The judge reads the facts and adds violations. Only the
// methods of Session emit events.
type Session struct {
	Sink Sink // set before Open; nil drops the events
	Look      // what else to examine; set before Open

	// Gate, if not nil, decides the fate of each event just before it is
	// emitted. It is called with the session locked, so it must answer at once,
	// do no I/O and call no method of the session. Whatever is sent in place of
	// what came is reported to [Session.Sent] later.
	Gate func(*Event) Fate

	mu     sync.Mutex
	tee    sync.Locker // Sink, if sessions share it
	locked bool        // whether this session has locked tee

	facts
	judge *judge // nil before Open, and with FactsOnly

	over     bool // the closed event was emitted
	toldOpen bool // tellOpen has told

	answer  int         // status given to Answer, for the next end
	outs    *[2]sending // by Dir: what Sent was given; nil before its first call
	passing passing     // for the tap
	line    int         // where in a file the bytes at hand stand, as At says
	offset  int64       // the same in bytes
	ev      Event       // the event being emitted
	remarks []remark    // to be emitted behind it
	scratch [128]byte   // for the payload of a control frame
}

// Open begins the session.
func (s *Session) Open(info Info) {
	s.lock(info.Time)
	defer s.unlock()
	s.info = info
	s.tee, _ = s.Sink.(sync.Locker)
	s.totals.Opened = s.now
	if !s.FactsOnly && s.judge == nil {
		s.judge = &judge{facts: &s.facts, advice: s.Advice, seen: s.Seen}
		if s.conn != nil { // frames came first
			s.judge.connection = new(judgedConnection)
		}
	}
	s.emit(Event{Kind: KindOpen})
}

// Upgraded says that the handshake came before the first byte of Data, as in a
// trace made by hand or a capture that began too late. [Info.Ext] says which
// extensions it agreed on. After a handshake Upgraded does nothing.
func (s *Session) Upgraded() {
	s.lock(s.now)
	defer s.unlock()
	if s.hs.Accepted {
		return
	}
	s.hs = Handshake{WebSocket: true, Accepted: true, Extensions: s.info.Ext}
	var rsv byte
	if s.info.Ext != "" {
		rsv, s.hs.Deflate = agreement(s.info.Ext)
	} else if s.info.incomplete() {
		rsv = 7 // nobody knows
	}
	s.upgrade(rsv)
	for d := range s.sides {
		if s.sides[d].phase != inJunk {
			s.sides[d].phase = inFrames
		}
	}
}

// upgrade begins the WebSocket connection. rsv holds the reserved bits that the
// extensions in force define (RFC 6455 §5.2).
func (s *Session) upgrade(rsv byte) {
	s.connect()
	s.conn.rsv = [2]byte{rsv, rsv}
	s.conn.agreed = [2]Deflate{s.hs.Deflate, s.hs.Deflate}
	s.conn.lastFrame = s.now
	if s.Messages || s.Inflate && s.hs.Deflate.On {
		a := assembly{keep: s.keepBytes(), sums: s.Sums, unpack: s.Unpack, pieces: s.Pieces, cont: s.info.incomplete(), piece: s.info.Piece}
		s.conn.messages = &[2]assembly{a, a}
		for d := range s.conn.messages {
			s.conn.messages[d].deflate = &s.conn.agreed[d]
		}
		s.totals.Checked = true
	}
}

// connect makes room for frames.
func (s *Session) connect() {
	if s.conn == nil {
		s.conn = newConnection()
		for d := range s.conn.cutters {
			s.conn.cutters[d].mid = s.info.incomplete()
		}
		if s.judge != nil {
			s.judge.connection = new(judgedConnection)
		}
	}
}

// Head takes a head that is already parsed. If another head is forwarded in its
// place, that is sent ([Handshake.Forwarded], [Handshake.Relayed]); if none is, it is
// [NotSent]; otherwise sent is nil. What follows the head is given to Data or Body. A
// head without Raw, such as one of HTTP/2, is known by its parts alone. The session
// keeps both heads.
func (s *Session) Head(d Dir, t time.Time, h, sent *Head) {
	s.lock(t)
	defer s.unlock()
	forwarded := sent
	if sent == NotSent {
		forwarded = nil
	}
	switch {
	case s.sides[d].phase == inFrames && s.info.incomplete():
		s.lateHead(d, h)
		return
	case s.sides[d].phase != inHead || len(s.halves[d].buf) > 0: // no head can begin here
		s.data(d, h.wire())
		return
	case d == FromClient:
		s.hs.Forwarded = forwarded
		s.request(h, nil)
	default:
		if h.Status == 101 || h.Status >= 200 {
			s.hs.Relayed = forwarded
		}
		s.response(h, nil)
	}
	s.tapHead(d, h, sent)
}

// Data takes bytes that one side sent, and the time when they came. The events
// that they complete are emitted before Data returns; b is neither changed nor
// kept.
func (s *Session) Data(d Dir, t time.Time, b []byte) {
	s.lock(t)
	defer s.unlock()
	s.data(d, b)
}

func (s *Session) data(d Dir, b []byte) {
	sd := &s.sides[d]
	for len(b) > 0 {
		switch sd.phase {
		case inHead:
			rest := s.head(d, b)
			s.tap(d, b[:len(b)-len(rest)])
			b = rest
		case inBody, inRefusal:
			rest := s.bodyBytes(d, b)
			s.tap(d, b[:len(b)-len(rest)])
			b = rest
		case inFrames:
			s.totals.Bytes[d] += int64(len(b))
			if s.Tap != nil {
				s.tappedFrames(d, b)
			} else {
				s.frames(d, b)
			}
			return
		case inJunk:
			s.totals.Bytes[d] += int64(len(b))
			if sd.lost {
				s.conn.cutters[d].dec.offset += int64(len(b))
			}
			s.junk(d, b, whyUnframed)
			s.tapAs(s.cameLeg(), d, b, -1)
			return
		case inOpaque:
			s.totals.Bytes[d] += int64(len(b))
			s.tap(d, b)
			return
		}
	}
}

// Body takes a part of the body that follows the head of d, as files store it:
// without its transfer coding. last says that the body ends with this part.
// Where no body is expected, the bytes are only counted.
func (s *Session) Body(d Dir, t time.Time, b []byte, last bool) {
	s.lock(t)
	defer s.unlock()
	if s.sides[d].phase == inHead && s.info.incomplete() { // its head is missing
		s.sides[d].phase, s.halves[d].body = inBody, Body{form: bodyUntilClose}
		s.expectContent(d, new(Head))
	}
	switch s.sides[d].phase {
	case inBody, inRefusal:
		p := &s.halves[d]
		s.tapBody(d, b, last)
		p.given = true
		if p.content != nil {
			p.content.stored = true
			s.takeContent(d, b)
		}
		s.takeBody(d, b)
		if p.body.form == bodyLength {
			p.body.left -= min(p.body.left, int64(len(b)))
		}
		if last {
			s.halves[d].body = Body{}
		}
		s.bodyDone(d)
	default:
		s.totals.Bytes[d] += int64(len(b))
		s.tap(d, b)
	}
}

// SkipBody says that the rest of the body of d, n bytes, is not available, because a
// file has only its beginning. With 0 the connection ended inside of the body.
func (s *Session) SkipBody(d Dir, t time.Time, n int64) {
	s.lock(t)
	defer s.unlock()
	switch s.sides[d].phase {
	case inBody, inRefusal:
		s.tapSkippedBody(d, n)
		s.halves[d].given = true
		s.loseContent(d, n)
		if c := s.halves[d].content; c != nil {
			c.stored, c.ended, c.cut = true, true, n == 0
		}
		s.halves[d].body.Skip(n)
		s.halves[d].bodyLen += n
		s.bodyDone(d)
	default:
		s.totals.Bytes[d] += n
		s.tapLost(LegBoth, d, n)
	}
}

// Message takes a message, data or control, from a source that knows no frames
// ([Info.NoFrames]). No frames are invented for it: the event has a message and
// no frame.
func (s *Session) Message(d Dir, t time.Time, op ws.OpCode, b []byte) {
	s.lock(t)
	defer s.unlock()
	s.connect()
	s.wholeMessage(d, op, b)
}

// Sent takes what is about to be written to the peer of d in place of what d
// sent: whole frames, or a part of one that the next call continues. change says
// what decided it ([Fate.Change]). The bytes are emitted as events with
// [Event.Out] set; they count in no total and are not judged. What the peer owes
// is judged by them, and a Close among them may decide the [Verdict].
func (s *Session) Sent(d Dir, t time.Time, b []byte, change string) {
	s.lock(t)
	defer s.unlock()
	if s.outs == nil {
		s.outs = &[2]sending{{dec: Decoder{Dir: FromClient}}, {dec: Decoder{Dir: FromServer}}}
	}
	if s.Tap != nil {
		defer s.tapAs(LegSent, d, b, -1)
	}
	if s.conn != nil && !s.blind() {
		s.overdue(false)
	}
	dec := &s.outs[d].dec
	s.outs[d].change = change
	if s.conn != nil {
		defer func() {
			if len(dec.Partial()) > 0 {
				s.delivery(d, nil).part = true
			}
		}()
	}
	ev := Event{Dir: d, Fate: Fate{Change: change}, Out: true}
	if dec.err != nil {
		s.emitJunk(ev, b, whyUnframed)
		return
	}
	for f := range dec.Frames(b) {
		piece := *f
		for p, first := f.payload, true; first || len(p) > 0; first = false {
			n := min(len(p), MaxPiece)
			piece.payload, p = p[:n], p[n:]
			piece.Complete = f.Complete && len(p) == 0
			ev.Kind, ev.Frame = KindFrame, &piece
			if s.conn != nil {
				s.sent(&piece)
			}
			s.emit(ev)
			piece.At, piece.More = piece.At+int64(n), true
		}
	}
	if head, rest, err := dec.Lost(); err != nil {
		if s.conn != nil {
			s.delivery(d, nil).broken = true
		}
		ev.Frame = nil
		s.emitJunk(ev, slices.Concat(head, rest), whyTooLong)
		dec.rest = nil
	}
}

// A sending is what is sent in place of what one side sent.
type sending struct {
	dec    Decoder
	change string // of the latest
}

// cutSent emits the beginning of a frame header that was sent in place of what d
// sent, when either side has ended. Should more be sent, it can't be framed.
func (s *Session) cutSent(d Dir) {
	if s.outs == nil || s.outs[d].dec.err != nil || len(s.outs[d].dec.Partial()) == 0 {
		return
	}
	out := &s.outs[d]
	s.emitJunk(Event{Dir: d, Fate: Fate{Change: out.change}, Out: true}, out.dec.Partial(), WhyHeader)
	out.dec.nhead = 0
	out.dec.giveUp()
}

// SentGap says that the next n bytes that were written to the peer of d by
// [Session.Sent] are not known, because a file has only the beginning of the
// payload. They must end with the frame or within it.
func (s *Session) SentGap(d Dir, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outs != nil {
		s.outs[d].dec.Skip(n)
		s.tapLost(LegSent, d, n)
	}
}

// Skip says that n bytes of d were relayed but are not available: the body of an
// exchange or the contents of an opaque tunnel, of which traces keep only the
// length.
func (s *Session) Skip(d Dir, t time.Time, n int64) {
	s.lock(t)
	defer s.unlock()
	if !s.halves[d].given { // else it is transfer coding, which the tap has had
		s.tapLost(LegBoth, d, n)
	}
	switch s.sides[d].phase {
	case inBody, inRefusal:
		s.halves[d].body.Skip(n)
		s.halves[d].bodyLen += n
		s.bodyDone(d)
	default:
		s.totals.Bytes[d] += n
	}
}

// Flush emits what is held back of d: the beginning of a frame whose payload is
// slow to come, or the response to a refused upgrade with the body so far, or what
// stands in place of a response. Where
// one side keeps a connection open that the other has closed and left, it emits a
// notice.
func (s *Session) Flush(d Dir, t time.Time) {
	s.lock(t)
	defer s.unlock()
	s.flush(d, false)
}

// FlushAll emits everything that is held back of d: the frame in flight up to the
// last byte at hand, even inside a character; an incomplete head; the response to
// a refused upgrade, as if its body were complete. In a trace each of these is a
// record, after which the reader calls FlushAll.
func (s *Session) FlushAll(d Dir, t time.Time) {
	s.lock(t)
	defer s.unlock()
	s.flushAll(d)
	s.flushContent(d)
}

// CutHeader says that nothing comes behind the beginning of a frame header of d,
// which is emitted as junk: in a trace that is a record of its own.
func (s *Session) CutHeader(d Dir, t time.Time) {
	s.lock(t)
	defer s.unlock()
	if s.sides[d].phase == inFrames {
		s.cutHeader(d)
	}
}

// Pending returns since when something that d sent has been held back. ok is
// false if nothing is. A relay calls Flush when [Session.FlushAt] says so.
func (s *Session) Pending(d Dir) (since time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pending(d)
}

func (s *Session) pending(d Dir) (since time.Time, ok bool) {
	switch {
	case s.sides[d].phase == inRefusal, s.sides[d].phase == inHead && s.halves[d].foreign:
		return s.halves[d].since, true
	case s.sides[d].phase == inBody && s.halves[d].content.waits():
		return s.halves[d].content.since, true
	case s.conn != nil:
		c := &s.conn.cutters[d]
		return c.since, c.waits()
	}
	return time.Time{}, false
}

// Gap says that n bytes of d were lost in a capture. Where frames can't be told apart
// without them, [Session.Lost] says so.
func (s *Session) Gap(d Dir, t time.Time, n int64) {
	s.lock(t)
	defer s.unlock()
	sd := &s.sides[d]
	if sd.phase == inFrames {
		at := s.conn.cutters[d].dec.position()
		defer func() {
			if sd.phase == inJunk {
				sd.lost, s.conn.cutters[d].dec.offset = true, at+n
			}
		}()
	}
	s.flush(d, true)
	s.emit(Event{Kind: KindGap, Dir: d, Lost: n})
	leg := LegBoth
	if s.Gate != nil && s.passing.stops[d] {
		leg = LegCame
	}
	s.tapLost(leg, d, n)
	switch sd.phase {
	case inFrames:
		s.totals.Bytes[d] += n
		s.framesLost(d, n)
	case inBody:
		if n > 0 {
			s.loseContent(d, n)
		}
		s.halves[d].body.Lose(n)
		s.halves[d].bodyLen += n
		s.bodyDone(d)
	case inJunk, inOpaque:
		s.totals.Bytes[d] += n
		if sd.lost {
			s.conn.cutters[d].dec.offset += n
		}
	case inHead:
		sd.phase = inOpaque
		s.info.Piece = true
	}
}

// Opaque says that the bytes of d are not to be decoded any more. After a
// handshake they are junk, which is still recorded; a session without one becomes
// a tunnel, whose bytes are only counted, in both directions.
func (s *Session) Opaque(d Dir, t time.Time, why string) {
	s.lock(t)
	defer s.unlock()
	if !s.hs.Accepted {
		s.opaque(d, why)
		return
	}
	defer func() { s.sides[d].phase, s.sides[d].lost = inJunk, false }() // even if a sink panics
	s.flush(d, true)
	s.giveUp(d)
	s.emit(Event{Kind: KindOpaque, Dir: d, Text: why})
}

// Notice emits a remark on the session.
func (s *Session) Notice(t time.Time, text string) {
	s.lock(t)
	defer s.unlock()
	s.judgeOpen() // a recording has the notice that told of it
	s.emit(Event{Kind: KindNotice, Text: text})
}

// Changed emits a remark on what a change did to what d sent that no frame tells.
// change says which one ([Fate.Change]); without it the remark is one on the session,
// as by Notice. After the end of the session it does nothing.
func (s *Session) Changed(d Dir, t time.Time, change, text string) {
	s.lock(t)
	defer s.unlock()
	if !s.over {
		s.changed(d, change, text)
	}
}

// AlsoChanged is Changed for a Gate, which alone may call it, while it decides on an
// event: the remark follows that event.
func (s *Session) AlsoChanged(d Dir, change, text string) {
	s.remarks = append(s.remarks, remark{d, change, text})
}

// A remark is what was given to AlsoChanged.
type remark struct {
	dir          Dir
	change, text string
}

func (s *Session) changed(d Dir, change, text string) {
	if change == "" {
		d = 0
	}
	s.emit(Event{Kind: KindNotice, Dir: d, Text: text, Fate: Fate{Change: change}})
}

// tellRemarks emits what AlsoChanged was given.
func (s *Session) tellRemarks() {
	all := s.remarks
	s.remarks = nil
	for _, r := range all {
		s.changed(r.dir, r.change, r.text)
	}
}

// Answer says that at the next End the proxy itself answers the client, in place
// of the server, with this HTTP status. The bytes of that answer are not part of
// the session.
func (s *Session) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.totals.Status = status, status
}

// End says that a direction has ended, and how; text says more, or is "". When
// both directions of a session that asked for websocket have ended, the session
// is closed; others wait for Done.
func (s *Session) End(d Dir, t time.Time, how End, text string) {
	s.lock(t)
	defer s.unlock()
	if s.sides[d].ended || s.over {
		return
	}
	blind := s.blind()
	if !blind {
		s.overdue(true)
	}
	gone := s.verdict.gone
	at := s.end(d, how)
	if s.judge != nil && !blind {
		s.judge.end(d, how, at, gone)
	}
	s.emitEnd(Event{Kind: KindEnd, Dir: d, How: how, Text: text})
}

// EndBoth is like End for both directions, for when it is not known which side
// ended the connection: neither is blamed for it.
func (s *Session) EndBoth(t time.Time, how End, text string) {
	s.lock(t)
	defer s.unlock()
	if s.ended > 0 || s.over {
		return
	}
	s.verdict.gone, s.totals.Unknown = true, true
	blind := s.blind()
	if !blind {
		s.overdue(true)
	}
	// Judged once both have ended: what is held back of them comes out first.
	cuts := [2]cut{s.end(FromClient, how), s.end(FromServer, how)}
	if s.judge != nil && !blind {
		s.judge.end(FromClient, how, cuts[FromClient], true)
		s.judge.end(FromServer, how, cuts[FromServer], true)
	}
	s.emitEnd(Event{Kind: KindEnd, How: how, Text: text, Both: true})
}

// end takes the end of d. It returns what the bytes so far end inside of.
func (s *Session) end(d Dir, how End) (in cut) {
	if s.conn != nil {
		in = s.conn.cutters[d].endsIn()
	}
	s.flush(d, true)
	s.cutSent(d)
	s.cutSent(d.Peer())
	s.giveUp(d)
	s.verdict.end(d, how, s.ended, s.quiet(), !s.info.incomplete(), &s.totals.Verdict)
	if how.bySide() && !s.verdict.gone {
		s.verdict.gone, s.verdict.goneAt = true, s.now
	}
	s.sides[d].ended = true
	s.ended++
	return in
}

// emitEnd emits an end, and closes the session if that was the last one.
func (s *Session) emitEnd(ev Event) {
	ev.Status = s.answer
	s.answer = 0
	s.emit(ev)
	if s.ended == 2 && s.hs.WebSocket {
		s.close()
	}
}

// Done says that the exchange is over, though its connections may be used again,
// and closes the session.
func (s *Session) Done(t time.Time) {
	s.lock(t)
	defer s.unlock()
	if s.over {
		return
	}
	for d := range Dir(2) {
		s.flush(d, true)
		s.cutSent(d)
	}
	for d := range Dir(2) {
		s.giveUp(d)
	}
	s.close()
}

// close emits the closed event, with all that the session adds up to.
func (s *Session) close() {
	s.over, s.totals.Closed = true, s.now
	for d := range s.halves {
		s.totals.Bytes[d] += s.halves[d].bodyLen
	}
	silent := s.info.NoFrames && s.ended == 0 // about how it ended
	s.totals.Unknown = s.totals.Unknown || silent
	if s.hs.Accepted && !s.verdict.closed && !s.info.incomplete() && !silent {
		s.totals.Code = CodeAbnormal
	}
	if s.conn != nil {
		for d, h := range s.conn.hearts {
			h.sumUp(&s.totals.Heartbeat[d])
		}
	}
	if s.judge != nil {
		s.judge.closed()
	}
	s.emit(Event{Kind: KindClosed, Totals: &s.totals})
}

// flush emits what is held back of d. At the end of a direction that is
// everything, also a head or a frame header that is incomplete.
func (s *Session) flush(d Dir, end bool) {
	if end {
		s.flushAll(d)
		s.endContent(d)
		s.partialHeader(d)
		return
	}
	switch s.sides[d].phase {
	case inHead:
		if s.halves[d].foreign {
			s.headCut(d)
		}
	case inRefusal:
		s.refusal(false)
		s.sides[d].phase = inBody
		s.flushContent(d)
	case inBody:
		s.flushContent(d)
	case inFrames:
		s.held(d, false)
		s.tellOpen(d)
	}
}

func (s *Session) flushAll(d Dir) {
	switch s.sides[d].phase {
	case inHead:
		s.headCut(d)
	case inRefusal:
		c := s.halves[d].content
		s.refusal(!s.unfinished(d) || c != nil && (c.stored || c.lost > 0))
		s.sides[d].phase = inBody
	case inBody:
		if d == FromServer {
			s.bodyNamesItself()
		}
	case inFrames:
		s.held(d, true)
	}
}

// At says where in a file the input of the calls that follow stands: the number
// of its line, from 1, or 0 if the file has no lines, and the offset in bytes.
func (s *Session) At(line int, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.offset = line, offset
}

// HeadFault returns the text of the first violation of severity error in the
// heads of d, or "", which it is with FactsOnly. A strict proxy refuses such a
// handshake.
func (s *Session) HeadFault(d Dir) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.judge == nil {
		return ""
	}
	return s.judge.headFault[d]
}
