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

// Lost reports whether bytes of d are missing, so that it is not known where its next
// frame begins ([Session.Gap]). What comes is junk, until Resume.
func (s *Session) Lost(d Dir) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sides[d].lost
}

// Resume says that a frame begins with the next byte of d. Unless bytes are missing, as
// Lost says, Resume does nothing. From then on neither side is blamed for what may have
// been in those ([Info.Piece]).
func (s *Session) Resume(d Dir, t time.Time) {
	s.lock(t)
	defer s.unlock()
	if !s.sides[d].lost {
		return
	}
	s.sides[d].lost, s.sides[d].phase = false, inFrames
	s.info.Piece = true
	s.conn.cutters[d].resume()
	if s.conn.messages != nil {
		s.conn.messages[d].resume()
	}
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
