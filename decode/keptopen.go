package decode

import "time"

// keptOpenAfter is how long one side may leave a connection open that the other has
// closed, with a Close frame and by ending its direction, before that is told.
const keptOpenAfter = 2 * time.Second

// keptOpen returns the time from which on it is worth telling that d keeps a
// connection open which the other side has closed and ended (RFC 6455 §5.5.1).
func (f *facts) keptOpen(d Dir) (at time.Time, ok bool) {
	v, peer := &f.verdict, d.Peer()
	if f.ended != 1 || !f.sides[peer].ended || f.blind() || f.totals.How != EndFIN || !v.reached[peer].sent || v.closes[d].sent {
		return time.Time{}, false
	}
	return v.goneAt.Add(keptOpenAfter), true
}

// FlushAt returns when Flush is to be called for d: once something has been held
// back for so long, as Pending says; or 2 s after the other side, which had sent a
// Close frame, has ended, if d has done neither so far. ok is false if there is no
// need.
func (s *Session) FlushAt(d Dir, held time.Duration) (at time.Time, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.toldOpen {
		at, ok = s.keptOpen(d)
	}
	if since, pending := s.pending(d); pending && (!ok || since.Add(held).Before(at)) {
		return since.Add(held), true
	}
	return at, ok
}

// tellOpen emits a notice if d keeps a connection open that the other side has
// closed and ended.
func (s *Session) tellOpen(d Dir) {
	if at, ok := s.keptOpen(d); ok && !s.toldOpen && !s.now.Before(at) {
		s.toldOpen = true
		s.judgeOpen()
		s.emit(Event{Kind: KindNotice, Text: d.Peer().String() + " has closed and ended, " + d.String() + " keeps the connection open"})
	}
}

// judgeOpen judges what tellOpen tells.
func (s *Session) judgeOpen() {
	if s.judge != nil {
		s.judge.keptOpen()
	}
}
