package decode

import (
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// A delivery is what the peer of one side was sent, as far as a gate makes that
// differ from what came. What the peer owes follows from it.
type delivery struct {
	broken  bool // it breaks the protocol: nobody knows what the peer makes of it
	altered bool // data frames were dropped or replaced
	skewed  bool // a compressed message was dropped, to which later ones may refer
	part    bool // of a frame that is sent in place of what came, the rest is due

	// The message in flight.
	open   bool      // its first frame was sent, its last was not
	mid    bool      // its first frame may have come before the session began here
	text   bool      // it is text that is not compressed
	unsure bool      // not all of it was checked
	chars  utf8Check // valid iff text, and not unsure

	pings int64 // that came and were not passed on, so that others may be sent in their place
	pongs int64 // that came for pings of the peer, which it waits for
}

// delivery returns the delivery of d. It begins with the first frame that is changed,
// or sent; f is that frame, if it came.
func (s *Session) delivery(d Dir, f *Frame) *delivery {
	if s.delivered != nil {
		return &s.delivered[d]
	}
	s.delivered = new([2]delivery)
	for d := range s.delivered {
		c := &s.conn.cutters[d]
		s.delivered[d] = delivery{open: c.open, mid: c.mid, text: c.text, unsure: true}
	}
	x := &s.delivered[d]
	switch { // before f
	case f == nil || f.Control() || f.OpCode.IsReserved():
	case f.OpCode == ws.OpContinuation:
		x.open, x.text, x.mid = f.Message != 0, f.Message == ws.OpText, f.Message == 0
	default:
		x.open, x.text, x.mid = false, false, false
	}
	return x
}

// deliver notes what the fate of a frame that came means for the peer of its sender.
func (s *Session) deliver(f *Frame, fx FX) {
	x := s.delivery(f.Dir, f)
	if fx == FXNone {
		x.broken = x.broken || x.part && !f.More
		x.take(f, f.Fin)
		if x.altered && s.judge != nil {
			s.judge.blurFault(f)
		}
		return
	}
	if s.judge != nil {
		s.judge.undoFault(f)
	}
	if f.Control() || fx != FXDrop && fx != FXReplace {
		return
	}
	x.altered = true
	if fx == FXDrop && f.Rsv&4 != 0 && s.conn.agreed[f.Dir].On && !s.conn.agreed[f.Dir].NoTakeover[f.Dir] {
		x.skewed = true
	}
	if x.text && x.unsure && x.open {
		x.broken = true // it may have been cut inside a character
	}
}

// take follows a piece of a frame that was sent. Without chars its text is not
// checked: it is that of a whole message, as it came.
func (x *delivery) take(f *Frame, whole bool) {
	if f.Control() || f.OpCode.IsReserved() {
		return
	}
	if !f.More {
		if first := f.OpCode != ws.OpContinuation; first {
			x.broken = x.broken || x.open || x.skewed && f.Rsv&4 != 0
			x.mid, x.unsure, x.chars = false, false, utf8Check{}
			x.text = f.OpCode == ws.OpText && f.Rsv == 0 && !whole
		} else {
			x.broken = x.broken || !x.open && !x.mid
			x.mid = x.mid && !f.Fin
		}
		x.open = !f.Fin
	}
	if !x.text {
		return
	}
	if !x.unsure {
		x.check(f)
	}
	if f.Fin && f.Complete {
		x.broken = x.broken || !x.unsure && x.chars.nstart > 0
		x.text = false
	}
}

// check follows the text at hand.
func (x *delivery) check(f *Frame) {
	var buf [512]byte
	for p, at := f.payload, f.At; len(p) > 0; {
		b := p[:min(len(p), len(buf))]
		p = p[len(b):]
		if f.Masked {
			b = buf[:copy(buf[:], b)]
			ws.Cipher(b, f.Mask, int(at&3))
		}
		at += int64(len(b))
		if wrong, _ := x.chars.add(b); wrong >= 0 {
			x.broken, x.unsure = true, true
			return
		}
	}
}

// sent notes what a piece of a frame that is sent in place of what came means for
// its receiver.
func (s *Session) sent(f *Frame) {
	x := s.delivery(f.Dir, nil)
	x.part = !f.Complete
	if !f.More && s.breaks(f) {
		x.broken = true
	}
	x.take(f, false)
	if f.More || !f.Control() {
		return
	}
	switch f.OpCode {
	case ws.OpClose:
		body := f.AppendPayload(s.scratch[:0], len(s.scratch))
		s.verdict.inject(f, body, s.now, s.quiet(), &s.totals.Verdict)
	case ws.OpPing:
		if f.Complete {
			p := ping{n: outFrame(f.N), ours: x.pings == 0}
			x.pings = max(0, x.pings-1)
			s.heart(f.Dir).ping(p, payloadSum(f, s.scratch[:]), s.now)
		}
	case ws.OpPong:
		x.pongs = max(0, x.pongs-1)
	}
}

// breaks reports whether the receiver of a frame must fail the connection for its
// header or, of a Close, for its body.
func (s *Session) breaks(f *Frame) bool {
	to := f.Dir.Peer()
	switch {
	case f.Masked != (f.Dir == FromClient), f.OpCode.IsReserved(), !f.MinimalLength(), f.Rsv&^s.conn.rsv[to] != 0:
		return true
	case f.Rsv&4 != 0 && s.conn.agreed[to].On && (f.Control() || f.OpCode == ws.OpContinuation):
		return true
	case !f.Control():
		return false
	case !f.Fin, f.Length > ws.MaxControlFramePayloadSize:
		return true
	}
	if f.OpCode != ws.OpClose || f.Length == 0 || !f.Complete {
		return false
	}
	code, reason, ok := CloseBody(f.AppendPayload(s.scratch[:0], len(s.scratch)))
	return !ok || closeCodeRule(code) != "" || !utf8.Valid(reason)
}

// arrived notes what a control frame that came means for its receiver, once its
// fate is known.
func (s *Session) arrived(f *Frame) {
	fx := s.ev.Fate.FX
	switch {
	case fx == FXNone:
		switch f.OpCode {
		case ws.OpClose:
			s.verdict.reach(f, f.N, f.AppendPayload(s.scratch[:0], len(s.scratch)), s.now)
		case ws.OpPing:
			if f.Complete { // else its pong can't be recognized by a part of the payload
				s.heart(f.Dir).ping(ping{n: f.N}, payloadSum(f, s.scratch[:]), s.now)
			}
		}
	case f.OpCode == ws.OpPing && fx != FXDrop:
		s.delivered[f.Dir].pings++
	case f.OpCode == ws.OpPong && s.conn.pong.kind == pongAnswers && !s.conn.pong.last.ours:
		s.delivered[f.Dir].pongs++
	}
}

// heart returns the heartbeat of the pings of d.
func (s *Session) heart(d Dir) *heartbeat {
	if s.conn.hearts[d] == nil {
		s.conn.hearts[d] = new(heartbeat)
	}
	return s.conn.hearts[d]
}

// outFrame returns what stands for the number of a frame that was sent in place of
// what came: such frames are counted by themselves. frameText tells it from others.
func outFrame(n int64) int64 { return -2 - n }

// frameText names a frame by its number, or by what outFrame made of it.
func frameText(n int64) string {
	if n <= outFrame(0) {
		return "out frame " + itoa(outFrame(n))
	}
	return "frame " + itoa(n)
}
