package decode

import (
	"strconv"
	"sync"
	"time"
)

// A Tap is given the bytes of sessions as they pass, for those who want the bytes
// themselves and not what they mean: of heads and bodies, of frames, and of what
// is opaque. Whoever needs to know which sessions there are, and how they end, is
// a [Sink] too.
//
// Tap is called with the session locked, after the events that the bytes complete.
// Sessions call it at the same time. Like Emit, it must return quickly.
type Tap interface {
	Tap(c Chunk)
}

// A Chunk is bytes that pass in one direction.
type Chunk struct {
	Conn int64 // the session's number
	Dir  Dir   // whose they are
	Leg  Leg
	Time time.Time
	Data []byte // borrowed for the call
	Lost int64  // in place of Data: so many bytes that are not known

	// Offset is where Data begins among the direction's WebSocket bytes, as
	// [Frame.Offset] counts them; -1 if that is nowhere, or not known.
	Offset int64
}

// A Leg says on which sides of the proxy the bytes of a [Chunk] passed.
type Leg uint8

const (
	LegBoth Leg = iota // they came, and were sent on as they came
	LegCame            // they came; what was sent in their place, if anything, is LegSent
	LegSent            // they were sent to the peer of Dir
)

// passing is what a gate has let pass in the call at hand, which the tap has not
// been given yet: what came goes first.
type passing struct {
	buf   *[]byte // from passingPool; nil if there is nothing
	dir   Dir
	stops [2]bool // by Dir: the frame in flight does not pass
}

// passingPool holds buffers for passing.
var passingPool = sync.Pool{New: func() any { return new([]byte) }}

// keptPassing is the largest buffer, in bytes, that is used again.
const keptPassing = 4 * MaxPiece

// tap gives the tap b, bytes of d that are no frames.
func (s *Session) tap(d Dir, b []byte) { s.tapAs(LegBoth, d, b, -1) }

func (s *Session) tapAs(leg Leg, d Dir, b []byte, offset int64) {
	if s.Tap != nil && len(b) > 0 {
		s.Tap.Tap(Chunk{Conn: s.info.Conn, Dir: d, Leg: leg, Time: s.now, Data: b, Offset: offset})
	}
}

// tapLost tells the tap of n bytes of d that are not known.
func (s *Session) tapLost(leg Leg, d Dir, n int64) {
	if s.Tap != nil && n > 0 {
		s.Tap.Tap(Chunk{Conn: s.info.Conn, Dir: d, Leg: leg, Time: s.now, Lost: n, Offset: -1})
	}
}

// tapHead gives the tap a head of d and, if another was sent in its place, that.
func (s *Session) tapHead(d Dir, h, sent *Head) {
	switch {
	case s.Tap == nil:
	case sent == nil:
		s.tap(d, h.wire())
	case sent == NotSent:
		s.tapAs(LegCame, d, h.wire(), -1)
	default:
		s.tapAs(LegCame, d, h.wire(), -1)
		s.tapAs(LegSent, d, sent.wire(), -1)
	}
}

// wire returns the head as it is on the wire of HTTP/1.1.
func (h *Head) wire() []byte {
	if h.Raw == "" {
		return h.Append(nil)
	}
	return []byte(h.Raw)
}

// cameLeg returns the leg of what comes behind the handshake.
func (s *Session) cameLeg() Leg {
	if s.Gate != nil {
		return LegCame
	}
	return LegBoth
}

// tappedFrames is frames for a session with a tap, which is given b whatever
// happens.
func (s *Session) tappedFrames(d Dir, b []byte) {
	defer s.tapAs(s.cameLeg(), d, b, s.conn.cutters[d].dec.at())
	s.frames(d, b)
}

// pass keeps for the tap what the event at hand has of frames, or of what stands
// in their place, if its fate lets that pass.
func (s *Session) pass(ev *Event) {
	if ev.Kind != KindFrame && ev.Kind != KindJunk || ev.Text == whyBody {
		return
	}
	p := &s.passing
	if p.stops[ev.Dir] = ev.Fate.FX != FXNone; p.stops[ev.Dir] {
		return
	}
	if p.dir != ev.Dir {
		s.tapPassing()
		p.dir = ev.Dir
	}
	if p.buf == nil {
		p.buf = passingPool.Get().(*[]byte)
	}
	if ev.Kind == KindFrame {
		*p.buf = ev.Frame.AppendWire(*p.buf)
	} else {
		*p.buf = append(*p.buf, ev.Data...)
	}
}

// tapPassing gives the tap what a gate has let pass.
func (s *Session) tapPassing() {
	b := s.passing.buf
	if b == nil {
		return
	}
	s.passing.buf = nil
	s.tapAs(LegSent, s.passing.dir, *b, -1)
	if cap(*b) <= keptPassing {
		*b = (*b)[:0]
		passingPool.Put(b)
	}
}

// tapBody gives the tap a piece of a body of d that came without its transfer
// coding. A chunked one gets a chunk for each piece, and an end without trailers.
func (s *Session) tapBody(d Dir, b []byte, last bool) {
	if s.Tap == nil {
		return
	}
	chunked := s.halves[d].body.form == bodyChunked
	if chunked && len(b) > 0 {
		s.tap(d, chunkSizeLine(int64(len(b))))
	}
	s.tap(d, b)
	if chunked && len(b) > 0 {
		s.tap(d, []byte("\r\n"))
	}
	if chunked && last {
		s.tap(d, []byte("0\r\n\r\n"))
	}
}

// tapSkippedBody tells the tap of the rest of a body of d, of which n bytes are not
// known.
func (s *Session) tapSkippedBody(d Dir, n int64) {
	if s.Tap == nil || n <= 0 {
		return
	}
	if s.halves[d].body.form != bodyChunked {
		s.tapLost(LegBoth, d, n)
		return
	}
	s.tap(d, chunkSizeLine(n))
	s.tapLost(LegBoth, d, n)
	s.tap(d, []byte("\r\n0\r\n\r\n"))
}

// chunkSizeLine returns the line in front of n bytes of a chunked body
// (RFC 9112 §7.1).
func chunkSizeLine(n int64) []byte {
	return append(strconv.AppendInt(nil, n, 16), "\r\n"...)
}
