package decode

import (
	"fmt"
	"slices"
	"sync"

	"github.com/gobwas/ws"
)

// MaxMessageData is the most of a message, in bytes, that [Message.Data] holds,
// unless [Session.Keep] says otherwise.
const MaxMessageData = 1 << 20

// Limits of what is inflated of one message (RFC 6455 §10.4). Both are looked
// at where the output fills the window, so a little more may come out.
const (
	MaxInflated     = 64 << 20 // bytes
	MaxInflateRatio = 1000     // times what was sent of it, past 4 MiB; reported, and no more
)

// unmaskAtOnce is how much payload is unmasked before it is looked at: so little
// that it is still in the fastest cache then.
const unmaskAtOnce = 16 << 10

// A Message is a data message put together from its frames and, if it was
// compressed, inflated (RFC 6455 §5.4, RFC 7692 §6.2).
//
// It belongs to the [Session] and is valid during [Sink.Emit]; Clone keeps it.
type Message struct {
	Dir        Dir
	Op         ws.OpCode // text or binary
	N          int64     // which data message of its direction this is, from 0
	First      int64     // number of its first frame
	Frames     int64     // so many there were, control frames between them not counted
	Compressed bool
	Wire       int64  // bytes of payload that came
	Len        int64  // length in bytes, inflated
	Data       []byte // the beginning of it, inflated, up to Session.Keep
	Cut        bool   // Data is not all of it
	Unread     bool   // it could not be inflated, or something of it is missing: Len and Data are what could be had
	Unfinished bool   // the connection, or another message, came before its end
}

// Clone returns a copy of m that shares no bytes with it.
func (m *Message) Clone() *Message {
	c := *m
	c.Data = slices.Clone(m.Data)
	return &c
}

// An assembly puts the messages of one direction together.
type assembly struct {
	m     Message
	open  bool
	buf   *[]byte // holds m.Data; from dataPool
	text  bool    // the message is to be UTF-8, and is so far
	utf8  utf8Check
	begun place // where the sequence that utf8 has open begins
	noted bool  // that a match reaches too far was reported

	inflater *inflater // of the direction; nil before its first compressed message
	lost     bool      // it can't follow the stream any more
	bomb     int64     // the message of which its growth was reported, counted from 1

	talk talk
}

// A place is a byte of payload.
type place struct{ frame, offset int64 }

// dataPool holds buffers for messages in flight. Those that have grown far
// beyond MaxMessageData do not come back.
var dataPool = sync.Pool{New: func() any { return new([]byte) }}

// message takes a piece of a data frame. It returns the message if that is
// complete with it; release must follow.
func (s *Session) message(f *Frame) *Message {
	a := &s.messages[f.Dir]
	if !f.More && f.OpCode != ws.OpContinuation {
		a.begin(s, f)
	}
	if !a.open {
		return nil
	}
	if !f.More {
		a.m.Frames++
		if !a.m.Compressed && f.Rsv != 0 { // who knows what it means
			a.unread()
		}
	}
	a.m.Wire += int64(len(f.payload))
	s.payload(a, f)
	if !f.Fin || !f.Complete {
		return nil
	}
	s.messageDone(a, f)
	return &a.m
}

// begin begins a message. One that is open must have been given up.
func (a *assembly) begin(s *Session, f *Frame) {
	n := a.m.N
	a.m = Message{}
	a.m.Dir, a.m.Op, a.m.N, a.m.First = f.Dir, f.OpCode, n, f.N
	a.m.Compressed = s.hs.Deflate.On && f.Rsv&4 != 0
	a.open, a.noted = true, false
	a.text, a.utf8 = f.OpCode == ws.OpText, utf8Check{}
	if !a.m.Compressed {
		return
	}
	z := a.inflater
	if z == nil {
		z = &inflater{limit: 1 << s.hs.Deflate.WindowBits[f.Dir], alone: s.hs.Deflate.NoTakeover[f.Dir]}
		a.inflater = z
	}
	switch {
	case !a.lost:
	case z.alone: // which makes this a new stream
		z.reset()
		a.lost = false
	default:
		a.unread()
		return
	}
	z.start()
}

// unread gives up on looking into the message.
func (a *assembly) unread() {
	a.m.Unread, a.text = true, false
}

// lose is told that the compressed stream can't be followed any more.
func (a *assembly) lose() {
	a.lost = true
	a.unread()
	if a.inflater != nil {
		a.inflater.release()
	}
}

// payload takes the payload at hand of f.
func (s *Session) payload(a *assembly, f *Frame) {
	p := f.payload
	if a.m.Unread || !a.m.Compressed && !a.text && len(a.m.Data) == s.keep() {
		if !a.m.Compressed {
			a.m.Len += int64(len(p))
			a.m.Cut = a.m.Cut || len(p) > 0
		}
		return
	}
	if !f.Masked {
		s.clear(a, f, p, f.At)
		return
	}
	scratch := s.scratch[:]
	if len(p) > len(scratch) {
		b := piecePool.Get().(*[MaxPiece]byte)
		defer piecePool.Put(b)
		scratch = b[:]
	}
	for at := f.At; len(p) > 0; {
		b := scratch[:copy(scratch[:min(len(scratch), unmaskAtOnce)], p)]
		ws.Cipher(b, f.Mask, int(at&3))
		s.clear(a, f, b, at)
		p = p[len(b):]
		at += int64(len(b))
	}
}

// clear takes unmasked payload that begins at offset at of frame f.
func (s *Session) clear(a *assembly, f *Frame, p []byte, at int64) {
	if !a.m.Compressed {
		s.content(a, f, p, at)
		return
	}
	s.inflate(a, f, p)
}

// inflate takes compressed bytes, some of which have come in frame f.
func (s *Session) inflate(a *assembly, f *Frame, p []byte) {
	z := a.inflater
	for !a.m.Unread {
		n, out, err := z.next(p)
		p = p[n:]
		if len(out) > 0 {
			s.content(a, f, out, -1)
		}
		s.checkMatches(a, f)
		switch {
		case err != nil:
			s.inflateFailed(a, f, err)
		case z.full() && a.m.Len > MaxInflated:
			s.report("pmd-bomb", f.Dir, f.N, "%d bytes inflate to more than %d, the limit%s", z.offset(), MaxInflated, a.consequence())
			a.lose()
		case z.full() && a.m.Len > 4<<20 && a.m.Len/MaxInflateRatio > z.offset() && a.bomb != a.m.N+1:
			a.bomb = a.m.N + 1
			s.report("pmd-bomb", f.Dir, f.N, "%d bytes inflate to more than %d, over %d times as much", z.offset(), a.m.Len, MaxInflateRatio)
		case len(p) == 0 && len(out) == 0:
			return
		}
	}
}

func (s *Session) inflateFailed(a *assembly, f *Frame, err error) {
	if err == errInflateEmpty {
		s.report("pmd-inflate-failed", f.Dir, f.N, "message %d: %v", a.m.N, err)
		return
	}
	at := a.inflater.offset()
	s.reportAt(a.inFrame(f, at), "pmd-inflate-failed", f.Dir, f.N, "message %d at byte %d of it: %v%s", a.m.N, at, err, a.consequence())
	a.lose()
}

// inFrame returns where in frame f the byte at an offset of the compressed
// message is, or -1.
func (a *assembly) inFrame(f *Frame, offset int64) int64 {
	if a.m.First != f.N || offset > f.Length {
		return -1
	}
	return offset
}

// consequence says what becomes of later messages.
func (a *assembly) consequence() string {
	if a.inflater.alone {
		return ""
	}
	return "; later messages refer to this one and are not inflated"
}

// checkMatches reports what the inflater noted of matches that it could follow.
func (s *Session) checkMatches(a *assembly, f *Frame) {
	z := a.inflater
	if a.noted || z.far.dist == 0 && z.kept.dist == 0 {
		return
	}
	a.noted = true
	if z.far.dist != 0 {
		s.reportAt(a.inFrame(f, z.far.at), "pmd-window-exceeded", f.Dir, f.N, "message %d at byte %d of it refers %d bytes back, the window that was agreed is %d", a.m.N, z.far.at, z.far.dist, z.limit)
	} else {
		s.reportAt(a.inFrame(f, z.kept.at), "pmd-context-kept", f.Dir, f.N, "message %d at byte %d of it refers %d bytes back, into an earlier message, and %s_no_context_takeover was agreed", a.m.N, z.kept.at, z.kept.dist, f.Dir)
	}
}

// content takes content of the message: of frame f, from offset at of its
// payload on, or, if at is negative, inflated.
func (s *Session) content(a *assembly, f *Frame, p []byte, at int64) {
	m := &a.m
	m.Len += int64(len(p))
	if n := min(len(p), s.keep()-len(m.Data)); n > 0 {
		if a.buf == nil {
			a.buf = dataPool.Get().(*[]byte)
			m.Data = (*a.buf)[:0]
		}
		m.Data = append(m.Data, p[:n]...)
		*a.buf = m.Data
		m.Cut = n < len(p)
	} else {
		m.Cut = m.Cut || len(p) > 0
	}
	if !a.text {
		return
	}
	before := a.utf8.n
	wrong, bad := a.utf8.add(p)
	if bad == nil {
		if open, _ := a.utf8.open(); open >= before {
			a.begun = place{f.N, at + open - before}
		}
		return
	}
	a.text = false
	if s.repeated("text-invalid-utf8", f.Dir) {
		return
	}
	if at < 0 {
		s.report("text-invalid-utf8", f.Dir, f.N, "% x at byte %d of message %d is not UTF-8 (after inflating)", bad, wrong, m.N)
		return
	}
	from := a.begun // in an earlier piece
	if wrong >= before {
		from = place{f.N, at + wrong - before}
	}
	offset := from.offset
	if from.frame != f.N {
		offset = 0
	}
	s.reportAt(offset, "text-invalid-utf8", f.Dir, f.N, "% x at byte %d of message %d is not UTF-8 (%s)", bad, wrong, m.N, from.in(f))
}

// in says where p is, in a report about frame f.
func (p place) in(f *Frame) string {
	if p.frame == f.N {
		return fmt.Sprintf("byte %d of its frame", p.offset)
	}
	return fmt.Sprintf("byte %d of frame %d", p.offset, p.frame)
}

// messageDone takes the end of a message in frame f.
func (s *Session) messageDone(a *assembly, f *Frame) {
	m := &a.m
	if m.Compressed && !m.Unread {
		s.inflateEnd(a, f)
	}
	if at, seq := a.utf8.open(); a.text && len(seq) > 0 {
		offset := int64(-1)
		if !m.Compressed {
			offset = max(0, f.Length-int64(len(seq)))
		}
		s.reportAt(offset, "text-utf8-cut", f.Dir, f.N, "message %d ends inside a character, % x at byte %d of it", m.N, seq, at)
	}
	switch {
	case m.Unread:
		s.totals.Unchecked[f.Dir]++
	case m.Compressed:
		d := &s.totals.Deflate[f.Dir]
		d.Messages++
		d.Wire += m.Wire
		d.Len += m.Len
	}
	s.adviseMessage(f, m)
}

// inflateEnd ends a compressed message.
func (s *Session) inflateEnd(a *assembly, f *Frame) {
	z := a.inflater
	if z.tailKept() {
		s.report("pmd-tail-not-stripped", f.Dir, f.N, "message %d ends in 00 00 ff ff, which is to be left out", a.m.N)
	}
	if z.finals > 0 {
		s.reportAt(a.inFrame(f, z.finalAt), "pmd-bfinal", f.Dir, f.N, "message %d has a final block, where many receivers stop", a.m.N)
	}
	n, kept := a.m.Len, len(a.m.Data)
	s.inflate(a, f, z.tail())
	if err := z.end(); err != nil && !a.m.Unread {
		s.inflateFailed(a, f, err)
	}
	if a.m.Unread { // what the tail gave is not of the message
		a.m.Len, a.m.Data = n, a.m.Data[:kept]
	}
}

// keep returns how much of a message is to be kept.
func (s *Session) keep() int {
	if s.Keep == 0 {
		return MaxMessageData
	}
	return s.Keep
}

// release ends the message that is complete, and gives its buffer back.
func (a *assembly) release() {
	a.open = false
	a.m.N++
	if a.buf != nil {
		if *a.buf = a.m.Data[:0]; cap(*a.buf) <= 2*MaxMessageData {
			dataPool.Put(a.buf)
		}
		a.buf, a.m.Data = nil, nil
	}
}

// giveUp emits the message of d that is open, for it will never be complete.
func (s *Session) giveUp(d Dir) {
	if s.messages == nil || !s.messages[d].open {
		return
	}
	a := &s.messages[d]
	a.m.Unfinished = true
	if a.m.Compressed {
		a.lose()
	}
	s.emit(Event{Kind: KindMessage, Dir: d, Message: &a.m})
	a.release()
}

// missing is told that payload of d was lost.
func (s *Session) missing(d Dir) {
	if s.messages == nil || !s.messages[d].open {
		return
	}
	if a := &s.messages[d]; a.m.Compressed {
		a.lose()
	} else {
		a.unread()
	}
}
