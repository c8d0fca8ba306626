package decode

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// MaxHead is the longest head, in bytes, that a [Session] takes for one.
const MaxHead = 1 << 20

// A Session turns the bytes of one HTTP exchange, and of the WebSocket
// connection that it may become, into events. Live traffic, a trace and a
// capture all go through it.
//
// Call [Session.Open] first. The bytes given to Data are borrowed for the
// call. All methods may be called from several goroutines.
type Session struct {
	Sink Sink // nil drops the events
	Look      // what else to look into, set before Open

	// Gate, if not nil, is asked what becomes of an event just before that is
	// emitted. It is called with the session locked, answers at once and does
	// no I/O. What it decides to send in place of what came is told to
	// [Session.Sent], from outside of the call.
	Gate func(*Event) Fate

	mu     sync.Mutex
	locker sync.Locker // the Tee, while this session has it locked
	now    time.Time   // never runs backwards
	info   Info
	hs     Handshake
	rsv    byte // reserved bits that the negotiated extensions define
	sides  [2]side
	answer int       // by Answer, for the next end
	fault  [2]string // by Dir: the first error in its heads
	totals Totals
	ended  int // directions
	closed bool

	outs    *[2]Decoder // of what Sent was told; nil until then
	line    int         // where the bytes at hand were read, if from a file
	offset  int64       // the same in bytes
	ev      Event       // the one being emitted
	viol    []Violation // to go with the next event
	scratch [128]byte   // for the payload of a control frame

	messages  *[2]assembly // by Dir; nil unless Messages is set
	requested time.Time    // when the request came
	lastFrame time.Time    // when the latest frame came, or the handshake ended
	keys      maskKeys     // of the client
	rejected  bool         // the 101 is one that the client must reject
	late      bool         // tcp-close-late was reported
	judged    bool         // the close verdict is that of a Close frame
	gone      bool         // a side has ended the connection
}

// A side is one direction of a session.
type side struct {
	phase phase
	ended bool

	buf     []byte // the head at hand, or the body of a refused upgrade
	scanned int    // how much of buf HeadLen has seen
	body    Body
	bodyLen int64 // bytes of body so far

	dec   Decoder
	fresh bool      // the frame in flight has not been emitted
	chars bool      // its payload is text, to be cut between characters
	hold  []byte    // payload of it that waits for more; from piecePool
	at    int64     // where in the payload hold begins
	since time.Time // when what waits came

	open  bool // a message has begun and its last frame has not come
	text  bool // that message is text, not compressed
	muted bool // framing is lost more likely than not: no more to say on it

	closed     bool // a Close frame was sent
	closeFrame int64
	closedAt   time.Time
	unanswered bool  // that there was no answer to it was reported
	failed     bool  // it failed the connection
	heard      int64 // frames of the other side before it

	fault fault // that the other side must not let pass

	lastData  time.Time // when the latest data frame began
	lastStart time.Time // and the latest message
	lastPing  time.Time
	fastPings int64  // how many in a row came less than a second after the one before
	pings     *pings // nil if there were none
	fragments fragments
}

type phase uint8

const (
	inHead    phase = iota
	inBody          // the body that follows the head
	inRefusal       // the body of the answer to a refused upgrade, kept for its event
	inFrames        // WebSocket frames
	inJunk          // WebSocket bytes that can't be framed
	inOpaque        // bytes that are only counted
)

// piecePool holds the buffers for frames in flight.
var piecePool = sync.Pool{New: func() any { return new([MaxPiece]byte) }}

// Open begins the session.
func (s *Session) Open(info Info) {
	s.lock(info.Time)
	defer s.unlock()
	s.info = info
	s.totals.Opened = s.now
	s.sides[FromServer].dec.Dir = FromServer
	s.emit(Event{Kind: KindOpen})
}

// Upgraded says that the handshake lies before the first byte of Data, as in a
// trace made by hand or a capture that began too late. What it agreed on is in
// [Info].
func (s *Session) Upgraded() {
	s.lock(s.now)
	defer s.unlock()
	s.hs = Handshake{WebSocket: true, Accepted: true, Extensions: s.info.Ext}
	if s.info.Ext != "" {
		s.setExtensions(s.info.Ext)
	}
	s.upgraded()
	s.sides[FromClient].phase = inFrames
	s.sides[FromServer].phase = inFrames
}

// upgraded begins the WebSocket connection.
func (s *Session) upgraded() {
	s.lastFrame = s.now
	if s.Messages {
		s.messages = new([2]assembly)
		s.totals.Checked = true
	}
}

// Data takes bytes that one side sent, and the time when they came. The events
// that they complete are emitted before it returns; b is not changed.
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
			b = s.head(d, b)
		case inBody, inRefusal:
			b = s.bodyBytes(d, b)
		case inFrames:
			s.totals.Bytes[d] += int64(len(b))
			s.frames(d, b)
			return
		case inJunk:
			s.totals.Bytes[d] += int64(len(b))
			s.junk(d, b, "cannot be framed")
			return
		case inOpaque:
			s.totals.Bytes[d] += int64(len(b))
			return
		}
	}
}

// Head takes a head that is parsed already, and, if it is not sent on as it
// came, the one that is: sent, else nil. What follows it comes by Data. A head
// without Raw, as those of HTTP/2, is known by its parts alone. The session
// keeps both heads.
func (s *Session) Head(d Dir, t time.Time, h, sent *Head) {
	s.lock(t)
	defer s.unlock()
	switch sd := &s.sides[d]; {
	case sd.phase != inHead || len(sd.buf) > 0: // nobody expects one here
		b := []byte(h.Raw)
		if h.Raw == "" {
			b = h.Append(nil)
		}
		s.data(d, b)
	case d == FromClient:
		s.hs.Forwarded = sent
		s.request(h, nil)
	default:
		s.response(h, nil)
	}
}

// Sent takes what is written to the peer of d in place of what d sent, just
// before it is written: whole frames, or a part that goes on in the next call.
// change says what decided it ([Fate.Change]). The events tell of it and have
// Out set; it counts for nothing else.
func (s *Session) Sent(d Dir, t time.Time, b []byte, change string) {
	s.lock(t)
	defer s.unlock()
	if s.outs == nil {
		s.outs = &[2]Decoder{{Dir: FromClient}, {Dir: FromServer}}
	}
	dec := &s.outs[d]
	fate := Fate{Change: change}
	if dec.err != nil {
		s.emit(Event{Kind: KindJunk, Dir: d, Data: b, Text: "cannot be framed", Fate: fate, Out: true})
		return
	}
	for f := range dec.Frames(b) {
		piece := *f
		for p, first := f.payload, true; first || len(p) > 0; first = false {
			n := min(len(p), MaxPiece)
			piece.payload, p = p[:n], p[n:]
			piece.Complete = f.Complete && len(p) == 0
			s.emit(Event{Kind: KindFrame, Dir: d, Frame: &piece, Fate: fate, Out: true})
			piece.At, piece.More = piece.At+int64(n), true
		}
	}
	if head, rest, err := dec.Lost(); err != nil {
		s.emit(Event{Kind: KindJunk, Dir: d, Data: append(slices.Clone(head), rest...), Text: "length with its top bit set", Fate: fate, Out: true})
	}
}

// Skip says that n bytes of d were relayed and are not to be had: the body of
// an exchange or the contents of an opaque tunnel, of which traces keep only
// the length.
func (s *Session) Skip(d Dir, t time.Time, n int64) {
	s.lock(t)
	defer s.unlock()
	sd := &s.sides[d]
	switch sd.phase {
	case inBody, inRefusal:
		sd.body.Skip(n)
		sd.bodyLen += n
		s.bodyDone(d)
	default:
		s.totals.Bytes[d] += n
	}
}

// Flush emits what is held back of d: the beginning of a frame whose payload is
// slow to come, or of the answer to a refused upgrade.
func (s *Session) Flush(d Dir, t time.Time) {
	s.lock(t)
	defer s.unlock()
	s.flush(d, false)
}

// FlushAll emits all that is held back of d: a frame so far, up to its last byte
// at hand; a head that is cut off; the answer to a refused upgrade, with the
// length of its body so far for its whole length. The reader of a trace, where
// each of them is a record, calls it after that record.
func (s *Session) FlushAll(d Dir, t time.Time) {
	s.lock(t)
	defer s.unlock()
	s.flushAll(d)
}

// Pending returns since when something that came from d is held back and not
// emitted. ok is false if nothing is. A relay calls Flush when it has been so
// for a second.
func (s *Session) Pending(d Dir) (since time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sd := &s.sides[d]
	return sd.since, sd.pending()
}

func (sd *side) pending() bool {
	return sd.fresh || len(sd.hold) > 0 || sd.phase == inRefusal
}

// Gap says that n bytes of d were lost in a capture.
func (s *Session) Gap(d Dir, t time.Time, n int64) {
	s.lock(t)
	defer s.unlock()
	sd := &s.sides[d]
	s.flush(d, true)
	s.emit(Event{Kind: KindGap, Dir: d, Lost: n})
	switch sd.phase {
	case inFrames:
		s.totals.Bytes[d] += n
		sd.at += n
		if sd.dec.InPayload() && !sd.dec.frame.Control() {
			s.missing(d)
		}
		if sd.dec.Skip(n); sd.lost() {
			s.giveUp(d)
			sd.phase = inJunk
		}
	case inBody:
		sd.body.Lose(n)
		sd.bodyLen += n
		s.bodyDone(d)
	case inJunk, inOpaque:
		s.totals.Bytes[d] += n
	case inHead:
		sd.phase = inOpaque
	}
}

func (sd *side) lost() bool {
	_, _, err := sd.dec.Lost()
	return err != nil
}

// Opaque says that the bytes of d are not to be decoded any more. Frames give
// way to junk, which is still recorded; a session that has no handshake becomes
// a tunnel, whose bytes are counted in both directions.
func (s *Session) Opaque(d Dir, t time.Time, why string) {
	s.lock(t)
	defer s.unlock()
	if !s.hs.Accepted {
		s.opaque(d, why)
		return
	}
	defer func() { s.sides[d].phase = inJunk }() // whatever a sink does
	s.flush(d, true)
	s.giveUp(d)
	s.emit(Event{Kind: KindOpaque, Dir: d, Text: why})
}

// Notice adds a remark to the session.
func (s *Session) Notice(t time.Time, text string) {
	s.lock(t)
	defer s.unlock()
	s.emit(Event{Kind: KindNotice, Text: text})
}

// Answer announces that the next End comes with an answer to the client that is
// not the server's but the proxy's own, and the HTTP status of it. Its bytes
// are no part of the session.
func (s *Session) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answer, s.totals.Status = status, status
}

// End says that a direction has ended, how, and, unless that says it all, why.
// After the end of both directions of a session that asked for websocket, the
// session is closed; others wait for Done.
func (s *Session) End(d Dir, t time.Time, how End, text string) {
	s.lock(t)
	defer s.unlock()
	if s.sides[d].ended || s.closed {
		return
	}
	blind := s.blind()
	if !blind {
		s.judge(true)
	}
	s.end(d, how, blind)
	s.emitEnd(Event{Kind: KindEnd, Dir: d, How: how, Text: text})
}

// EndBoth is like End for both directions, when it is not known which of them
// ended the other: that is held against neither side.
func (s *Session) EndBoth(t time.Time, how End, text string) {
	s.lock(t)
	defer s.unlock()
	if s.ended > 0 || s.closed {
		return
	}
	s.gone, s.totals.Unknown = true, true
	blind := s.blind()
	if !blind {
		s.judge(true)
	}
	s.end(FromClient, how, blind)
	s.end(FromServer, how, blind)
	s.emitEnd(Event{Kind: KindEnd, How: how, Text: text, Both: true})
}

// end takes the end of d.
func (s *Session) end(d Dir, how End, blind bool) {
	sd := &s.sides[d]
	cut := sd.cutIn()
	s.flush(d, true)
	s.giveUp(d)
	if s.ended == 0 || s.totals.How == EndLocal && how != EndLocal { // what we ended was ended by something
		s.totals.How, s.totals.Ended = how, d
		if !s.judged {
			s.totals.By, s.totals.Idle = d, s.quiet()
		}
	}
	if !blind {
		s.checkEnd(d, how, cut)
	}
	s.gone = s.gone || how <= EndTLSEOF
	sd.ended = true
	s.ended++
}

// emitEnd emits an end, which may be the last event but one.
func (s *Session) emitEnd(ev Event) {
	ev.Status = s.answer
	s.answer = 0
	s.emit(ev)
	if s.ended == 2 && s.hs.WebSocket {
		s.close()
	}
}

// Done says that the exchange is over, whether or not its connections go on.
func (s *Session) Done(t time.Time) {
	s.lock(t)
	defer s.unlock()
	if s.closed {
		return
	}
	s.flush(FromClient, true)
	s.flush(FromServer, true)
	s.giveUp(FromClient)
	s.giveUp(FromServer)
	s.close()
}

// blind reports whether frames may pass unseen.
func (s *Session) blind() bool {
	return s.sides[FromClient].phase != inFrames || s.sides[FromServer].phase != inFrames
}

// cutIn says inside of what the bytes so far end, if they end inside a frame.
func (sd *side) cutIn() string {
	switch {
	case sd.dec.InPayload():
		return "a frame"
	case len(sd.dec.Partial()) > 0:
		return "a frame header"
	}
	return ""
}

func (s *Session) close() {
	s.closed = true
	s.totals.Closed = s.now
	for d := range s.sides {
		s.totals.Bytes[d] += s.sides[d].bodyLen
	}
	if s.hs.Accepted && !s.judged {
		s.totals.Code = CodeAbnormal
	}
	s.sumUpPings(FromClient)
	s.sumUpPings(FromServer)
	if client := s.client(); client != "" && s.hs.WebSocket {
		s.Seen.disconnected(client, s.now, !s.judged && s.totals.How <= EndTLSEOF)
	}
	s.emit(Event{Kind: KindClosed, Totals: &s.totals})
}

// head gathers a head from b and returns what follows it.
func (s *Session) head(d Dir, b []byte) (rest []byte) {
	sd := &s.sides[d]
	had := len(sd.buf)
	sd.buf = append(sd.buf, b[:min(len(b), MaxHead-had)]...)
	n := HeadLen(sd.buf, sd.scanned)
	sd.scanned = len(sd.buf)
	if n == 0 && len(sd.buf) < MaxHead {
		return nil
	}
	if n == 0 {
		rest = b[len(sd.buf)-had:]
		s.flush(d.Peer(), true)
		s.opaque(d, fmt.Sprintf("head is longer than %d bytes", MaxHead))
		return rest
	}
	rest = b[n-had:]
	raw := string(sd.buf[:n])
	sd.buf, sd.scanned = nil, 0
	if d == FromClient {
		s.request(ParseRequest(raw))
	} else {
		s.response(ParseResponse(raw))
	}
	return rest
}

// request takes the head of the request; err says that it is none.
func (s *Session) request(h *Head, err error) {
	if err != nil {
		s.flush(FromServer, true) // what came before
	}
	s.hs.setRequest(h)
	s.requested = s.now
	switch {
	case s.hs.WebSocket:
		s.checkRequest()
	case err == nil:
		s.checkHead(FromClient, h)
	}
	s.emit(Event{Kind: KindRequest, Dir: FromClient})
	if err != nil {
		s.opaque(FromClient, err.Error())
		return
	}
	sd := &s.sides[FromClient]
	sd.phase, sd.body = inBody, RequestBody(h)
	s.bodyDone(FromClient)
}

// response takes the head of a response: an interim one (RFC 9110 §15.2), or
// the final one. The event of a refused upgrade waits for the body.
func (s *Session) response(h *Head, err error) {
	if err == nil && h.Status < 200 && h.Status != 101 {
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		return
	}
	if err != nil || h.Status == 101 && !s.hs.WebSocket {
		s.flush(FromClient, true) // what came before
	}
	s.hs.setResponse(h)
	sd := &s.sides[FromServer]
	switch {
	case err != nil:
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		s.opaque(FromServer, err.Error())
	case s.hs.Accepted:
		if lines := h.Values("Sec-WebSocket-Extensions"); lines != nil {
			s.setExtensions(lines...)
		}
		s.upgraded()
		s.checkResponse()
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		sd.phase = inFrames
	case h.Status == 101:
		s.checkUnsolicited(h)
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		s.opaque(FromServer, "upgraded to "+strings.Join(h.Values("Upgrade"), ", "))
	case s.hs.WebSocket:
		sd.phase, sd.body, sd.since = inRefusal, ResponseBody(h, s.hs.Request.Method), s.now
		s.bodyDone(FromServer)
	default:
		s.checkHead(FromServer, h)
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		sd.phase, sd.body = inBody, ResponseBody(h, s.method())
		s.bodyDone(FromServer)
	}
}

func (s *Session) method() string {
	if s.hs.Request == nil {
		return ""
	}
	return s.hs.Request.Method
}

// bodyBytes takes the body at the start of b and returns what follows it.
func (s *Session) bodyBytes(d Dir, b []byte) (rest []byte) {
	sd := &s.sides[d]
	n := sd.body.Next(b)
	sd.bodyLen += int64(n)
	switch {
	case sd.phase == inRefusal:
		sd.buf = append(sd.buf, b[:min(n, MaxPiece-len(sd.buf))]...)
	case d == FromClient && s.hs.WebSocket:
		s.junk(d, b[:n], "body of the request")
	}
	s.bodyDone(d)
	return b[n:]
}

// bodyDone moves on if the body of d has ended.
func (s *Session) bodyDone(d Dir) {
	sd := &s.sides[d]
	switch {
	case !sd.body.Done():
	case sd.phase == inRefusal:
		s.refusal(sd.bodyLen)
		sd.phase = inOpaque
	case d == FromClient && s.hs.WebSocket:
		sd.phase = inFrames
	default:
		sd.phase = inOpaque
	}
}

// refusal emits the answer to a refused upgrade, with the body at hand and its
// whole length, which is 0 if that is not known.
func (s *Session) refusal(whole int64) {
	sd := &s.sides[FromServer]
	s.checkRefusal()
	s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: s.hs.Response, Data: sd.buf, BodyLen: whole})
	sd.buf = nil
}

// opaque makes the session a tunnel.
func (s *Session) opaque(d Dir, why string) {
	defer func() { // whatever a sink does
		s.sides[FromClient].phase = inOpaque
		s.sides[FromServer].phase = inOpaque
	}()
	s.flush(FromClient, true)
	s.flush(FromServer, true)
	s.emit(Event{Kind: KindOpaque, Dir: d, Text: why})
}

// frames finds the frames in b and emits those that are complete, and the
// pieces of longer ones as soon as they are at hand. Where the pieces of a
// frame are cut does not depend on how its bytes were split into calls.
func (s *Session) frames(d Dir, b []byte) {
	sd := &s.sides[d]
	for f := range sd.dec.Frames(b) {
		if !f.More {
			sd.fresh, sd.at, sd.since = true, 0, s.now
			sd.chars = f.Rsv == 0 && (f.OpCode == ws.OpText || f.OpCode == ws.OpContinuation && sd.text)
		}
		s.pieces(d, f.payload, f.Complete)
	}
	if head, rest, err := sd.dec.Lost(); err != nil {
		s.lost(d, head, rest)
	}
}

// pieces takes payload of the frame in flight, up to its end if complete.
func (s *Session) pieces(d Dir, p []byte, complete bool) {
	sd := &s.sides[d]
	for len(sd.hold) > 0 { // what waits goes first
		n := min(len(p), MaxPiece-len(sd.hold))
		sd.hold, p = append(sd.hold, p[:n]...), p[n:]
		switch {
		case complete && len(p) == 0:
			s.emitHeld(d, len(sd.hold), true)
			return
		case len(sd.hold) < MaxPiece:
			return
		}
		s.emitHeld(d, s.cut(d, sd.hold), false)
		sd.since = s.now
	}
	for len(p) > MaxPiece || len(p) == MaxPiece && !complete {
		p = p[s.piece(d, p[:MaxPiece]):]
	}
	switch {
	case complete:
		s.frame(d, p, true)
	case len(p) > 0:
		if !sd.fresh { // else the header has waited before
			sd.since = s.now
		}
		sd.hold = append(piecePool.Get().(*[MaxPiece]byte)[:0], p...)
	}
}

// emitHeld emits the first n bytes that are held of the frame in flight, once,
// whatever a sink does.
func (s *Session) emitHeld(d Dir, n int, complete bool) {
	sd := &s.sides[d]
	defer sd.release(n)
	s.frame(d, sd.hold[:n], complete)
}

// release drops the first n bytes of hold, and hold itself when it is empty.
func (sd *side) release(n int) {
	if n == len(sd.hold) && cap(sd.hold) > 0 {
		piecePool.Put((*[MaxPiece]byte)(sd.hold[:MaxPiece]))
		sd.hold = nil
		return
	}
	sd.hold = sd.hold[:copy(sd.hold, sd.hold[n:])]
}

// piece emits a part of the frame in flight, p or a little less, so that text
// is cut between characters, and returns the length of it.
func (s *Session) piece(d Dir, p []byte) int {
	n := s.cut(d, p)
	s.frame(d, p[:n], false)
	return n
}

// cut returns the length of p without a UTF-8 sequence that it ends inside of,
// if p, which begins at side.at in the payload, is text.
func (s *Session) cut(d Dir, p []byte) int {
	sd := &s.sides[d]
	if !sd.chars {
		return len(p)
	}
	f := &sd.dec.frame
	tail := s.scratch[:copy(s.scratch[:utf8.UTFMax-1], p[max(0, len(p)-utf8.UTFMax+1):])]
	if f.Masked {
		ws.Cipher(tail, f.Mask, int((sd.at+int64(len(p)-len(tail)))&3))
	}
	return len(p) - partial(tail)
}

// frame emits the frame in flight with payload p at hand.
func (s *Session) frame(d Dir, p []byte, complete bool) {
	sd := &s.sides[d]
	f := &sd.dec.frame
	f.payload, f.At, f.More, f.Complete = p, sd.at, !sd.fresh, complete
	if !s.blind() {
		s.judge(false)
	}
	data := f.OpCode <= ws.OpBinary
	if sd.fresh {
		sd.fresh = false
		s.totals.Frames[d]++
		if data && f.OpCode != ws.OpContinuation {
			s.giveUp(d)
		}
		s.checkFrame(f)
	}
	s.lastFrame = s.now
	sd.at += int64(len(p))
	var m *Message
	part := false
	if data && s.messages != nil {
		m = s.message(f)
		part = s.messages[d].open
	}
	if data && f.Fin && complete {
		s.adviseSize(f, m)
	}
	ev := s.newEvent(KindFrame, d)
	ev.Frame, ev.Message, ev.Part = f, m, part
	s.emitEvent()
	if m != nil {
		s.newEvent(KindMessage, d).Message = m
		s.emitEvent()
		s.messages[d].release()
	}
}

// lost ends the framing of d at a header that can't be understood; rest is what
// follows it at hand.
func (s *Session) lost(d Dir, head, rest []byte) {
	sd := &s.sides[d]
	s.giveUp(d)
	s.report("frame-length-msb", d, sd.dec.count, "64-bit payload length with its top bit set, % x", head)
	n := min(len(rest), MaxPiece-len(head))
	sd.phase = inJunk
	s.junk(d, append(head[:len(head):len(head)], rest[:n]...), "length with its top bit set")
	s.junk(d, rest[n:], "cannot be framed")
}

// junk emits bytes that belong to no frame.
func (s *Session) junk(d Dir, b []byte, why string) {
	for len(b) > 0 {
		n := min(len(b), MaxPiece)
		s.emit(Event{Kind: KindJunk, Dir: d, Data: b[:n], Text: why})
		b = b[n:]
	}
}

// flush emits what is held back of d; at the end of it, also what can't be
// understood without more.
func (s *Session) flush(d Dir, end bool) {
	sd := &s.sides[d]
	if end {
		s.flushAll(d)
		if p := sd.dec.Partial(); sd.phase == inFrames && len(p) > 0 {
			s.junk(d, p, "ends inside a frame header")
			sd.phase = inJunk
		}
		return
	}
	switch sd.phase {
	case inRefusal:
		s.refusal(0)
		sd.phase = inBody
	case inFrames:
		s.held(d, s.cut(d, sd.hold))
	}
}

func (s *Session) flushAll(d Dir) {
	sd := &s.sides[d]
	switch sd.phase {
	case inHead:
		s.headCut(d)
	case inRefusal:
		s.refusal(sd.bodyLen)
		sd.phase = inBody
	case inFrames:
		s.held(d, len(sd.hold))
	}
}

// held emits the first n bytes of what is held of the frame in flight; none if
// only its header has come.
func (s *Session) held(d Dir, n int) {
	sd := &s.sides[d]
	if sd.since = s.now; sd.fresh || n > 0 {
		s.emitHeld(d, n, false)
	}
}

// headCut emits what there is of a head that is not complete.
func (s *Session) headCut(d Dir) {
	sd := &s.sides[d]
	if len(sd.buf) == 0 {
		return
	}
	h := &Head{Raw: string(sd.buf), Cut: true}
	sd.buf, sd.scanned = nil, 0
	if d == FromClient {
		s.hs.setRequest(h)
		s.emit(Event{Kind: KindRequest, Dir: d})
		return
	}
	s.emit(Event{Kind: KindResponse, Dir: d, Head: h})
}

// emit hands ev, with the violations reported before it, to the sink.
func (s *Session) emit(ev Event) {
	if ev.Kind == KindRequest || ev.Kind == KindResponse {
		s.keepFault(ev.Dir)
	}
	s.ev = ev
	s.emitEvent()
}

// newEvent returns the event that emitEvent emits, which is faster than emit.
func (s *Session) newEvent(kind Kind, d Dir) *Event {
	s.ev = Event{}
	s.ev.Kind, s.ev.Dir = kind, d
	return &s.ev
}

// emitEvent is emit of s.ev.
func (s *Session) emitEvent() {
	if s.Sink == nil {
		s.viol = s.viol[:0]
		return
	}
	if s.locker == nil {
		if l, ok := s.Sink.(sync.Locker); ok {
			l.Lock()
			s.locker = l
		}
	}
	ev := &s.ev
	ev.Conn, ev.Time, ev.Info, ev.Violations = s.info.Conn, s.now, &s.info, s.viol
	ev.Line, ev.Offset = s.line, s.offset
	if s.hs.Request != nil || s.hs.Accepted {
		ev.Handshake = &s.hs
	}
	if s.Gate != nil && !ev.Out {
		ev.Fate = s.Gate(ev)
	}
	s.Sink.Emit(ev)
	s.viol = s.viol[:0]
}

// keepFault keeps the first error in the head of d for HeadFault.
func (s *Session) keepFault(d Dir) {
	for _, v := range s.viol {
		if v.Severity == SeverityError && s.fault[d] == "" {
			s.fault[d] = v.String()
		}
	}
}

// At says where in a file the bytes of the calls that follow stand: the number
// of the line, from 1, or 0 if the file has none, and the offset in bytes.
func (s *Session) At(line int, offset int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.line, s.offset = line, offset
}

// HeadFault returns the first violation of severity error in the opening
// handshake of d, in words, or "". A proxy that is told to be strict refuses
// such a handshake.
func (s *Session) HeadFault(d Dir) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.fault[d]
}

// lock begins a call at time t. It counts by the wall clock, whose times can be
// written down and read back; the difference to a monotonic clock would not be
// that of the times shown.
func (s *Session) lock(t time.Time) {
	s.mu.Lock()
	if t = t.Round(0); t.After(s.now) {
		s.now = t
	}
}

// unlock ends a call, and with it the run of events in the Tee.
func (s *Session) unlock() {
	if s.locker != nil {
		s.locker.Unlock()
		s.locker = nil
	}
	s.mu.Unlock()
}
