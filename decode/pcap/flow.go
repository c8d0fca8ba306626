package pcap

import (
	"net/netip"

	"github.com/wstrace/wstrace/decode"
)

// A flowKey is the two ends of a conversation. The lesser one is a.
type flowKey struct{ a, b netip.AddrPort }

// keyOf returns the key of the conversation of s, and which end sent s: 0 for a.
func keyOf(s *segment) (key flowKey, side int) {
	if s.src.Compare(s.dst) <= 0 {
		return flowKey{s.src, s.dst}, 0
	}
	return flowKey{s.dst, s.src}, 1
}

// A flow is a conversation over TCP.
type flow struct {
	key    flowKey
	halves [2]half   // by who sends, as keyOf says
	syn    [2]bool   // a SYN came
	acks   [2]uint32 // what that end has confirmed last
	acked  [2]bool   // it has
	stream *stream
	over   bool // both directions have ended

	before, next *flow // in the ring of all, by when they last spoke
}

// segment takes the next segment.
func (p *player) segment(s *segment, at place) {
	key, side := keyOf(s)
	f := p.flows[key]
	if s.syn && f != nil && f.begunAnew(s, side) {
		p.forget(f, at)
		f = nil
	}
	if f == nil {
		if !s.syn && (s.rst || len(s.payload) == 0 && s.cut == 0) {
			return // there is nothing to see yet
		}
		f = p.begin(key)
	} else {
		p.leave(f)
		p.join(f)
	}
	if f.over {
		return
	}
	h, peer := &f.halves[side], &f.halves[1-side]
	seq := s.seq
	if s.syn {
		seq++
		f.syn[side] = true
		if !h.known {
			h.begin(seq)
		}
		if f.stream.client < 0 {
			if f.stream.client = side; s.hasAck {
				f.stream.client = 1 - side
			}
		}
	}
	if s.hasAck {
		f.acks[side], f.acked[side] = s.ack, true
		// A beginning that is confirmed is one, though its SYN was not captured.
		if !peer.known && (s.syn || f.syn[side] && !f.syn[1-side] && h.pos == 0 && len(s.payload) == 0 && !s.fin && !s.rst) {
			peer.begin(s.ack)
			f.syn[1-side] = true
		}
		if peer.known {
			peer.confirm(peer.at(s.ack), at.time)
		}
	}
	for side := range f.halves {
		if h := &f.halves[side]; h.waits() && h.gone(at.time) {
			p.lose(f, side)
		}
	}
	if len(s.options) > optionsLen { // it has a comment
		p.blocks.options(s.options, func(code uint16, v []byte) error {
			if code == optionComment {
				f.stream.tell(at, string(v))
			}
			return nil
		})
	}
	if len(s.payload) > 0 || s.cut > 0 {
		p.payload(f, side, s, seq, at)
	}
	if s.fin && h.known && !h.hasFin {
		if end := h.at(seq) + int64(len(s.payload)+s.cut); end >= h.pos {
			h.hasFin, h.fin, h.finAt = true, end, at
		}
	}
	p.deliver(f, side)
	if s.rst && f.resets(s, side) {
		p.reset(f, side, at)
	}
}

// begunAnew reports whether s, a SYN, is that of another conversation between the same
// ends.
func (f *flow) begunAnew(s *segment, side int) bool {
	h := &f.halves[side]
	if f.over {
		return true
	}
	if !h.known {
		return f.stream.begun()
	}
	return h.at(s.seq+1) != 0 || !f.syn[side]
}

// payload takes what a segment carries, whose first byte has the number seq.
func (p *player) payload(f *flow, side int, s *segment, seq uint32, at place) {
	h := &f.halves[side]
	if !h.known {
		h.begin(seq)
		if n := f.acks[1-side] - seq; f.acked[1-side] && n <= uint32(len(s.payload)) {
			h.begin(seq + n) // what is confirmed was said before
		}
		f.stream.startMissing()
	}
	pos := h.at(seq)
	if len(s.payload) > 0 {
		if !h.waits() && pos <= h.pos && pos+int64(len(s.payload)) > h.pos { // as nearly all are
			skip := h.pos - pos
			h.step(pos + int64(len(s.payload)))
			f.stream.data(side, at, s.payload[skip:], skip == 0)
		} else {
			p.hold(f, side, piece{pos: pos, data: s.payload, start: true, place: at})
		}
	}
	if s.cut > 0 {
		p.hold(f, side, piece{pos: pos + int64(len(s.payload)), lost: int64(s.cut), place: at})
	}
}

// hold keeps a piece until what is missing before it has come.
func (p *player) hold(f *flow, side int, q piece) {
	h := &f.halves[side]
	had := h.cost
	h.add(q)
	p.cost += h.cost - had
	p.deliver(f, side)
	for h.cost > maxPending || p.cost > maxAllPending && h.cost > 0 {
		p.lose(f, side)
	}
}

// deliver hands on what is next in the stream, and the end.
func (p *player) deliver(f *flow, side int) {
	h := &f.halves[side]
	for {
		had := h.cost
		q, ok := h.next()
		if !ok {
			break
		}
		p.cost += h.cost - had
		if q.data == nil {
			f.stream.gap(side, q.place, q.lost)
		} else {
			f.stream.data(side, q.place, q.data, q.start)
		}
	}
	if h.hasFin && h.pos >= h.fin && !h.ended {
		h.ended = true
		p.cost -= h.cost
		h.pending, h.cost = nil, 0 // nothing comes behind the end
		f.stream.end(side, h.finAt, decode.EndFIN)
		f.over = f.halves[0].ended && f.halves[1].ended
		if f.over {
			f.stream.over(h.finAt)
		}
	}
}

// lose gives up the hole in front of what waits.
func (p *player) lose(f *flow, side int) {
	h := &f.halves[side]
	n, at := h.hole()
	if n > 0 {
		h.step(h.pos + n)
		f.stream.gap(side, at, n)
	}
	p.deliver(f, side)
}

// drain hands on all that waits.
func (p *player) drain(f *flow) {
	for side := range f.halves {
		for f.halves[side].waits() {
			p.lose(f, side)
		}
	}
}

// resets reports whether s, which has RST, ends the conversation: it does unless it is
// an old one (RFC 9293 §3.10.7.4).
func (f *flow) resets(s *segment, side int) bool {
	h := &f.halves[side]
	return !h.known || h.at(s.seq) >= h.pos-1
}

// reset takes a reset.
func (p *player) reset(f *flow, side int, at place) {
	p.drain(f)
	if f.over {
		return
	}
	f.over = true
	how := decode.EndRST
	for _, side := range [...]int{side, 1 - side} {
		if h := &f.halves[side]; !h.ended {
			h.ended = true
			f.stream.end(side, at, how)
		}
		how = decode.EndDrop
	}
	f.stream.over(at)
}

// begin begins a conversation.
func (p *player) begin(key flowKey) *flow {
	if len(p.flows) >= decode.MaxOpen {
		p.forget(p.silent, place{})
	}
	f := &flow{key: key}
	f.stream = &stream{player: p, flow: f, client: -1}
	p.flows[key] = f
	p.join(f)
	return f
}

// join makes f the last of the ring.
func (p *player) join(f *flow) {
	if p.silent == nil {
		p.silent, f.before, f.next = f, f, f
		return
	}
	f.before, f.next = p.silent.before, p.silent
	f.before.next, f.next.before = f, f
}

// leave takes f out of the ring.
func (p *player) leave(f *flow) {
	if p.silent == f {
		if p.silent = f.next; p.silent == f {
			p.silent = nil
		}
	}
	f.before.next, f.next.before = f.next, f.before
	f.before, f.next = nil, nil
}

// forget forgets a conversation. How it ended, if it has, is not known.
func (p *player) forget(f *flow, at place) {
	p.drain(f)
	f.stream.leave()
	p.leave(f)
	delete(p.flows, f.key)
}

// finish ends the play, at the end of the file.
func (p *player) finish() {
	p.held.play()
	for p.silent != nil {
		p.forget(p.silent, place{})
	}
}
