package trace

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A player gives the records of one trace to sessions.
type player struct {
	r        *Reader
	sink     decode.Sink
	look     decode.Look
	sessions decode.PerSession[session] // those that are not closed, by c
	before   *player                    // of the part before, until the first record
	lost     bool                       // some were forgotten: too many were open
	ahead    *Record                    // read before its turn
	aheadErr error
	buf      []byte
}

// A session is one that is being played. It is the sink of its own events.
type session struct {
	decode.Session
	player *player

	came      [2]inFlight // by Dir
	sent      [2]inFlight
	latest    [2]lastRecord // by Dir
	counted   [2]int64      // bytes that followed the heads
	lacks     bool          // something of it may be missing
	piece     bool          // anywhere
	goesOn    bool          // it was open in the part before
	noFrames  bool          // it has message records in their place
	begun     bool          // a head or a frame has come
	asks      bool          // its request asks for websocket
	accepted  bool          // it is a WebSocket connection
	tunnel    bool          // an opaque event has come of itself, for the record just played
	wasTunnel bool          // and for the one before
}

// A lastRecord is what is kept of the latest head, frame or junk record of one
// direction until its event comes. The beginning of a frame header, which is
// junk, has one only when the direction ends.
type lastRecord struct {
	fate   decode.Fate
	line   int
	offset int64
}

// Emit passes an event on.
func (s *session) Emit(ev *decode.Event) {
	s.accepted = ev.Handshake != nil && ev.Handshake.Accepted
	s.asks = ev.Handshake != nil && ev.Handshake.WebSocket
	ev.Start = s.player.r.start
	switch ev.Kind {
	case decode.KindJunk:
		if !ev.Out {
			ev.Line, ev.Offset = s.latest[ev.Dir].line, s.latest[ev.Dir].offset
		}
	case decode.KindOpaque:
		s.tunnel = true
	case decode.KindClosed:
		s.player.sessions.Forget(ev.Conn)
	}
	s.player.sink.Emit(ev)
}

func (p *player) next() (*Record, error) {
	rec, err := p.ahead, p.aheadErr
	p.ahead, p.aheadErr = nil, nil
	if rec == nil && err == nil {
		return p.r.Next()
	}
	return rec, err
}

// take returns the next record if it is of session c and ok says so.
func (p *player) take(c int64, ok func(*Record) bool) *Record {
	p.ahead, p.aheadErr = p.next()
	if rec := p.ahead; rec != nil && rec.C == c && ok(rec) {
		p.ahead = nil
		return rec
	}
	return nil
}

func (p *player) play(rec *Record) error {
	switch rec.Kind {
	case KindHeader:
		p.header()
		return nil
	case KindOpen:
		return p.open(rec)
	case KindReq, KindRes, KindBody, KindFrame, KindMore, KindJunk, KindOpaque, KindEnd, KindDone, KindGap, KindNote:
	case KindMessage:
		if s := p.sessions.Lookup(rec.C); s == nil || !s.noFrames {
			return nil // derived
		}
	default:
		return nil
	}
	s := p.sessions.Lookup(rec.C)
	if s == nil && p.r.headless && rec.C != 0 {
		s = p.begin(rec, decode.Info{Conn: rec.C, Time: rec.Time, Cont: true, Piece: true})
	}
	switch {
	case s != nil && s.goesOn && rec.Derived:
		return nil
	case s != nil:
		s.wasTunnel, s.tunnel = s.tunnel, false
		s.At(rec.Line, rec.Offset)
		s.keep(rec)
		return s.play(rec)
	case rec.Kind == KindNote:
		p.sink.Emit(&decode.Event{Kind: decode.KindNotice, Conn: rec.C, Time: rec.Time,
			Info: &decode.Info{Conn: rec.C}, Text: rec.Text, Line: rec.Line, Offset: rec.Offset})
		return nil
	}
	if p.lost {
		return fmt.Errorf("%s, but the session is not open, or was silent while %d others were", rec.Kind, decode.MaxOpen)
	}
	return fmt.Errorf("%s, but the session is not open", rec.Kind)
}

func (p *player) open(rec *Record) error {
	switch s := p.sessions.Lookup(rec.C); {
	case s != nil && rec.Cont:
		s.goesOn, s.lacks = true, true
		return nil
	case s != nil && !p.r.headless:
		return errors.New("is open already")
	}
	info, err := rec.Info()
	if err == nil {
		info.Piece = p.r.headless
		p.begin(rec, info)
	}
	return err
}

// Info returns what a record that opens a session says of it.
func (r *Record) Info() (decode.Info, error) {
	var tls struct{ Client, Server *legTLS }
	if len(r.TLS) > 0 && json.Unmarshal(r.TLS, &tls) != nil {
		return decode.Info{}, errors.New("tls says nothing about client and server")
	}
	return decode.Info{Conn: r.C, Time: r.Time, Client: r.Client, Server: r.Server, URL: r.URL, Via: r.Via, Ext: r.Ext,
		PID: int(r.PID), Process: r.Process,
		Cont: r.Cont, NoFrames: r.NoFrames, ClientTLS: (*decode.TLS)(tls.Client), ServerTLS: (*decode.TLS)(tls.Server)}, nil
}

// begin begins the session that rec opens.
func (p *player) begin(rec *Record, info decode.Info) *session {
	p.sessions.Forget(rec.C) // one that a piece opens for a second time
	s := p.sessions.OfConn(rec.C)
	s.player = p
	s.noFrames, s.lacks, s.piece = info.NoFrames, info.Cont || info.Piece, info.Piece
	s.Sink, s.Look = s, p.look
	s.At(rec.Line, rec.Offset)
	s.Open(info)
	return s
}

// A legTLS is a decode.TLS as it stands in an open record.
type legTLS struct {
	Version string `json:"ver"`
	Cipher  string `json:"cipher"`
	ALPN    string `json:"alpn"`
	SNI     string `json:"sni"`
}

func (s *session) play(rec *Record) error {
	switch rec.Kind {
	case KindReq:
		return s.request(rec)
	case KindRes:
		return s.response(rec)
	case KindBody:
		s.body(rec)
		s.FlushAll(rec.Dir, rec.Time)
	case KindFrame, KindMore, KindJunk:
		return s.bytes(rec)
	case KindMessage:
		return s.message(rec)
	case KindOpaque:
		if s.wasTunnel {
			return nil // the session came to that by itself
		}
		s.Opaque(rec.Dir, rec.Time, rec.Why)
		s.tunnel = false
	case KindGap:
		s.gap(rec.Dir, rec.Time, rec.N)
	case KindNote:
		if rec.Change != "" && rec.HasDir {
			s.Changed(rec.Dir, rec.Time, rec.Change, rec.Text)
		} else {
			s.Notice(rec.Time, rec.Text)
		}
	case KindEnd:
		if s.noFrames && !s.begun { // neither the handshake nor a message is known
			s.begun = true
			s.Upgraded()
		}
		// The counts of an exchange that its last end closes stand after it.
		var done *Record
		if !s.accepted {
			done = s.player.take(rec.C, func(r *Record) bool { return r.Kind == KindDone })
		}
		if done != nil {
			s.skip(done, rec.Time)
		}
		if rec.Status != 0 {
			s.Answer(int(rec.Status))
		}
		how, _ := decode.ParseEnd(rec.How)
		if !rec.HasDir {
			s.EndBoth(rec.Time, how, rec.Err)
		}
		for _, d := range [...]decode.Dir{decode.FromClient, decode.FromServer} {
			if !rec.HasDir || rec.Dir == d { // what EndBoth has ended stays so
				s.End(d, rec.Time, how, rec.Err)
			}
		}
		if done != nil {
			s.At(done.Line, done.Offset)
			s.Done(done.Time)
		}
	case KindDone:
		s.skip(rec, rec.Time)
		s.Done(rec.Time)
	}
	return nil
}

// keep keeps the fate that rec met for its event. A request head that was
// replaced without a change was edited by the proxy itself, which is no fate.
func (s *session) keep(rec *Record) {
	switch rec.Kind {
	case KindReq, KindRes, KindFrame, KindMore, KindJunk:
	default:
		return
	}
	if rec.Leg == LegOut {
		return
	}
	fx, known := decode.ParseFX(rec.FX)
	if !known {
		fx = decode.FXReplace // at least it was not sent on as it came
	}
	fate := decode.Fate{FX: fx, Change: rec.Change}
	if (rec.Kind == KindReq || rec.Kind == KindRes) && fate == (decode.Fate{FX: decode.FXReplace}) {
		fate = decode.Fate{}
	}
	s.latest[rec.dir()] = lastRecord{fate, rec.Line, rec.Offset}
	if s.Gate == nil && fate != (decode.Fate{}) {
		s.Gate = s.gate
	}
}

// gate is the Gate of a session that met changes.
func (s *session) gate(ev *decode.Event) decode.Fate {
	switch ev.Kind {
	case decode.KindRequest, decode.KindResponse, decode.KindFrame, decode.KindJunk:
		return s.latest[ev.Dir].fate
	}
	return decode.Fate{}
}

func (s *session) request(rec *Record) error {
	if rec.Leg == LegOut {
		return nil
	}
	s.head(decode.FromClient, rec, s.sentHead(rec))
	return nil
}

func (s *session) response(rec *Record) error {
	if rec.Leg == LegOut {
		return nil
	}
	s.head(decode.FromServer, rec, s.sentHead(rec))
	var body *Record
	if s.refuses(rec) {
		body = s.player.take(rec.C, func(r *Record) bool { return r.Kind == KindBody && r.Dir == decode.FromServer })
	}
	if body != nil {
		s.body(body)
	} else if n := rec.BodyLen - int64(len(rec.Body)); n > 0 {
		s.counted[decode.FromServer] += n
		s.SkipBody(decode.FromServer, rec.Time, n)
	}
	if rec.BodyLen > 0 {
		s.FlushAll(decode.FromServer, rec.Time)
	} else {
		s.Flush(decode.FromServer, rec.Time) // more should come, or there is no body
	}
	return nil
}

// refuses reports whether rec is the final response to a request for websocket, and
// refuses it. Its body stands with it in its event.
func (s *session) refuses(rec *Record) bool {
	return s.asks && !s.accepted && rec.Head.Status >= 200
}

// body gives a piece of a body to the session.
func (s *session) body(rec *Record) {
	s.counted[rec.Dir] += int64(len(rec.Payload))
	s.Body(rec.Dir, rec.Time, rec.Payload, rec.Last)
	if rec.Cut {
		n := max(int64(min(rec.Len, math.MaxInt64))-int64(len(rec.Payload)), 0)
		s.counted[rec.Dir] += n
		s.SkipBody(rec.Dir, rec.Time, n)
	}
}

// sentHead returns the head that was sent in place of the one that came, or
// nil; [decode.NotSent] if none was.
func (s *session) sentHead(rec *Record) *decode.Head {
	switch rec.FX {
	case "":
		return nil
	case decode.FXDrop.String():
		return decode.NotSent
	}
	out := s.player.take(rec.C, func(r *Record) bool { return r.Kind == rec.Kind && r.Leg == LegOut })
	if out == nil {
		return nil
	}
	h, _ := headParser(rec.Kind)(string(out.AppendHead(nil)))
	return h
}

func headParser(k Kind) func(string) (*decode.Head, error) {
	if k == KindReq {
		return decode.ParseRequest
	}
	return decode.ParseResponse
}

// head gives a head, and the one that was sent in its place, if any, to the
// session, and the body behind it.
func (s *session) head(d decode.Dir, rec *Record, sent *decode.Head) {
	late := s.lacks && s.begun && s.accepted // the head before it is missing
	s.begun = true
	b := rec.AppendHead(nil)
	n := decode.HeadLen(b, 0)
	if h := rec.Head; !late && !rec.RawHead && h.Proto == "HTTP/2" { // it has no bytes
		s.Head(d, rec.Time, &decode.Head{Method: h.Method, Target: h.Target, Proto: h.Proto, Status: h.Status, Reason: h.Reason, Fields: h.Fields}, sent)
		return
	}
	if late && n != len(b) {
		return
	}
	if h, err := headParser(rec.Kind)(string(b[:n])); n > 0 && err == nil {
		s.Head(d, rec.Time, h, sent)
		s.Data(d, rec.Time, b[n:])
	} else if late {
		return
	} else {
		s.Data(d, rec.Time, b)
	}
	if n == 0 {
		s.FlushAll(d, rec.Time) // it is cut off
	}
	if len(rec.Body) > 0 && !late {
		s.counted[d] += int64(len(rec.Body))
		s.Data(d, rec.Time, rec.Body)
	}
}

// bytes gives frames and junk to the session.
func (s *session) bytes(rec *Record) error {
	d := rec.Dir
	if rec.FX == fxInject && rec.Leg != LegOut {
		return nil
	}
	leg := &s.came[d]
	if rec.Leg == LegOut {
		leg = &s.sent[d]
	}
	if s.lacks && !s.mend(rec, leg) {
		return nil
	}
	if !s.begun {
		s.begun = true
		s.Upgraded()
	}
	if rec.Kind == KindMore && leg.cut {
		return nil
	}
	b, err := leg.append(s.player.buf[:0], rec)
	s.player.buf = b
	if err != nil || len(b) == 0 {
		return err
	}
	if rec.Leg == LegOut {
		s.Sent(d, rec.Time, b, rec.Change)
		if leg.cut && leg.left <= math.MaxInt64 {
			s.SentGap(d, int64(leg.left))
			leg.skip(leg.left)
		}
		return nil
	}
	s.counted[d] += int64(len(b))
	if rec.Kind == KindFrame {
		s.Resume(d, rec.Time)
	}
	s.Data(d, rec.Time, b)
	if rec.Kind == KindJunk && rec.Why == decode.WhyHeader {
		s.CutHeader(d, rec.Time)
	}
	if leg.left == 0 || rec.Kind == KindJunk {
		return nil
	}
	s.FlushAll(d, rec.Time)
	if leg.cut && leg.left <= math.MaxInt64 {
		s.gap(d, rec.Time, int64(leg.left))
	}
	return nil
}

// message gives a message of which no frames are known to the session.
func (s *session) message(rec *Record) error {
	if !rec.HasDir {
		return errors.New("message has no d")
	}
	op, ok := decode.ParseOp(rec.Message.Op)
	if !ok {
		return fmt.Errorf("%q is not an opcode", rec.Message.Op)
	}
	if !s.begun {
		s.begun = true
		s.Upgraded()
	}
	s.counted[rec.Dir] += int64(len(rec.Payload))
	s.Message(rec.Dir, rec.Time, op, rec.Payload)
	return nil
}

// gap passes over n bytes of d that are not in the trace.
func (s *session) gap(d decode.Dir, t time.Time, n int64) {
	s.came[d].skip(uint64(n))
	s.counted[d] += n
	s.Gap(d, t, n)
}

// skip passes over the bytes that done counts and that are not in the trace.
func (s *session) skip(done *Record, t time.Time) {
	for d, n := range [...]int64{done.Sent, done.Got} {
		if n -= s.counted[d]; n > 0 {
			s.count(decode.Dir(d), t, n)
		}
	}
}

func (s *session) count(d decode.Dir, t time.Time, n int64) {
	n = max(n, 0)
	s.counted[d] += n
	s.Skip(d, t, n)
}
