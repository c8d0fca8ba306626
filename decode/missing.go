package decode

import "time"

// What a session does about what is missing in its source ([Info.Cont],
// [Info.Piece]).

// incomplete reports whether something of the session may be missing.
func (i *Info) incomplete() bool { return i.Cont || i.Piece }

// Junk takes bytes that belong to no frame, of which the source knows why. It is
// for a session that lacks what was before them; otherwise Data finds that out.
func (s *Session) Junk(d Dir, t time.Time, b []byte, why string) {
	s.lock(t)
	defer s.unlock()
	s.totals.Bytes[d] += int64(len(b))
	if s.sides[d].phase == inFrames && why != whyBody {
		s.giveUp(d)
		s.sides[d].phase = inJunk
	}
	s.junk(d, b, why)
	s.tapAs(s.cameLeg(), d, b, -1)
}

// lateHead takes a head behind frames, as the other head is missing.
func (s *Session) lateHead(d Dir, h *Head) {
	if d == FromClient {
		s.hs.Request = h
		s.emit(Event{Kind: KindRequest, Dir: d})
		return
	}
	s.hs.Response = h
	s.emit(Event{Kind: KindResponse, Dir: d, Head: h})
}
