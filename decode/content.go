package decode

import (
	"bytes"
	"mime"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// DefaultBodies, as [Look.Bodies], means 64 KiB of each body, but 1 MiB of those of
// requests and of JSON in answers: these are what is looked for later.
const DefaultBodies = -1

const (
	defaultBody     = 64 << 10
	defaultJSONBody = 1 << 20
)

// A content is an HTTP body that is on its way, without its transfer coding.
type content struct {
	room    int64     // bytes of it that still may have events
	buf     []byte    // what none has yet
	lost    int64     // bytes behind buf that are not kept
	since   time.Time // when the first of those came
	begun   bool      // something came
	chunked bool      // the transfer coding says where it ends
	limited bool      // room is used up: what follows is only counted
	stored  bool      // it comes of a file, which says where it ends
	ended   bool      // of a file: there is no more of it
	cut     bool      // the connection ended inside of it
	whole   *Message  // nil unless Look.WholeBodies is set
}

// expectContent readies the half of d for the body that follows head h.
func (s *Session) expectContent(d Dir, h *Head) {
	p := &s.halves[d]
	p.content = nil
	room := s.Bodies
	switch {
	case p.body.Done(), d == FromClient && s.hs.WebSocket: // which is junk
		return
	case room == DefaultBodies && (d == FromClient || isJSON(h)):
		room = defaultJSONBody
	case room == DefaultBodies:
		room = defaultBody
	}
	if s.hs.WebSocket {
		room = MaxPiece // which stands with its head
	}
	if room == 0 {
		return
	}
	p.content = &content{room: room, chunked: p.body.form == bodyChunked}
	if s.WholeBodies {
		p.content.whole = &Message{Dir: d, Op: ws.OpText, N: -1}
	}
}

// isJSON reports whether the body of h is declared to be JSON.
func isJSON(h *Head) bool {
	media, _, _ := mime.ParseMediaType(h.Get("Content-Type"))
	return strings.HasSuffix(media, "/json") || strings.HasSuffix(media, "+json")
}

// takeContent takes bytes of the body of d. Whole pieces are emitted, and what has
// waited for a second.
func (s *Session) takeContent(d Dir, b []byte) {
	c := s.halves[d].content
	c.wait(s.now)
	n := min(int64(len(b)), c.room)
	if c.whole != nil {
		c.keepWhole(b[:n], s.keepBytes())
		c.whole.Len += int64(len(b)) - n
		c.whole.Cut = c.whole.Cut || n < int64(len(b))
	}
	c.buf = append(c.buf, b[:n]...)
	c.room -= n
	if over := int64(len(b)) - n; over > 0 {
		c.lost, c.limited = c.lost+over, true
	}
	if s.sides[d].phase == inRefusal { // the event of its head comes first
		return
	}
	s.emitPieces(d)
	if len(c.buf) > 0 && s.now.Sub(c.since) >= time.Second {
		s.emitContent(d, false)
	}
}

// loseContent takes n bytes of the body of d that are not known.
func (s *Session) loseContent(d Dir, n int64) {
	c := s.halves[d].content
	if c == nil {
		return
	}
	if c.wait(s.now); c.whole != nil && n > 0 {
		c.whole.Len, c.whole.Cut = c.whole.Len+n, true
	}
	c.lost += n
	c.room, c.limited = 0, true
}

// wait notes that something waits for its event.
func (c *content) wait(now time.Time) {
	c.begun = true
	if c.since.IsZero() {
		c.since = now
	}
}

// waits reports whether something should have its event soon. What is over the limit
// has none before the end.
func (c *content) waits() bool { return c != nil && len(c.buf) > 0 }

// keepBytes returns how much of a message, or of a body, is kept.
func (s *Session) keepBytes() int {
	if s.Keep == 0 {
		return MaxMessageData
	}
	return s.Keep
}

func (c *content) keepWhole(b []byte, most int) {
	m := c.whole
	n := min(len(b), most-len(m.Data))
	m.Data = append(m.Data, b[:n]...)
	m.Len += int64(len(b))
	m.Cut = m.Cut || n < len(b)
}

// emitPieces emits what is at hand of the body of d, but for a piece.
func (s *Session) emitPieces(d Dir) {
	c := s.halves[d].content
	b := c.buf
	for len(b) > MaxPiece {
		piece := wholeText(b[:MaxPiece])
		s.emit(Event{Kind: KindBody, Dir: d, Data: piece, BodyLen: int64(len(piece)), Part: true})
		b = b[len(piece):]
	}
	c.leave(b, s.now)
}

// leave leaves b for later events.
func (c *content) leave(b []byte, now time.Time) {
	if len(b) == len(c.buf) {
		return
	}
	c.buf, c.since = bytes.Clone(b), time.Time{}
	if len(b) > 0 {
		c.since = now
	}
}

// emitContent emits what is at hand of the body of d; last says that nothing follows.
func (s *Session) emitContent(d Dir, last bool) {
	s.emitPieces(d)
	c := s.halves[d].content
	piece := c.buf
	if !last && !c.limited {
		piece = wholeText(piece)
	}
	ev := Event{Kind: KindBody, Dir: d, Data: piece, BodyLen: int64(len(piece)), Part: !last}
	if last {
		ev.BodyLen += c.lost
		ev.CutOff = c.lost == 0 && (c.cut || !c.stored && s.unfinished(d))
		if ev.Body = c.whole; ev.Body != nil {
			s.finishWhole(d, ev.Body, ev.CutOff)
		}
	}
	if ev.BodyLen > 0 || ev.Body != nil || ev.CutOff || last && c.chunked {
		s.emit(ev)
	}
	c.leave(c.buf[len(piece):], s.now)
}

// wholeText returns b, which goes on, without a character that it has only the beginning
// of, if it is text.
func wholeText(b []byte) []byte {
	if text := WholeChars(b); len(text) > 0 && utf8.Valid(text) {
		return text
	}
	return b
}

// finishWhole readies the body of d for its event.
func (s *Session) finishWhole(d Dir, m *Message, cutOff bool) {
	m.Wire, m.Unfinished = s.halves[d].bodyLen, cutOff
	text := m.Data
	if m.Cut {
		text = WholeChars(text)
	}
	if !utf8.Valid(text) {
		m.Op = ws.OpBinary
	}
	m.unpack = s.Unpack
}

// unfinished reports whether more of the body of d should come.
func (s *Session) unfinished(d Dir) bool {
	b := &s.halves[d].body
	return !b.Done() && !b.UntilClose()
}

// flushContent emits what is at hand of the body of d.
func (s *Session) flushContent(d Dir) {
	switch c := s.halves[d].content; {
	case c == nil:
	case c.ended:
		s.endContent(d)
	case c.waits():
		s.emitContent(d, false)
	}
}

// endContent emits the rest of the body of d.
func (s *Session) endContent(d Dir) {
	c := s.halves[d].content
	if c == nil {
		return
	}
	if c.begun {
		s.emitContent(d, true)
	}
	s.halves[d].content = nil
}
