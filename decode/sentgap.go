package decode

// SentGap says that the next n bytes that were written to the peer of d by
// [Session.Sent] are not known, because a file has only the beginning of the
// payload. They must end with the frame or within it.
func (s *Session) SentGap(d Dir, n int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.outs != nil {
		s.outs[d].Skip(n)
	}
}
