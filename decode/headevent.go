package decode

import "time"

// NotSent is given to [Session.Head] in place of the head that was sent if none was.
var NotSent = new(Head)

// HeadEvent returns the event that [Session.Head] will emit for a request or a final
// response, with neither violations nor a fate, for whoever decides on heads before
// the session has them. It is the caller's.
func (s *Session) HeadEvent(d Dir, t time.Time, h, sent *Head) *Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	info, hs := s.info, s.hs
	ev := &Event{Kind: KindRequest, Dir: d, Conn: info.Conn, Time: t.Round(0), Info: &info, Handshake: &hs}
	if d == FromClient {
		hs.setRequest(h)
		hs.Forwarded = sent
		return ev
	}
	ev.Kind, ev.Head = KindResponse, h
	hs.setResponse(h)
	hs.Relayed = sent
	if lines := h.Values("Sec-WebSocket-Extensions"); hs.Accepted && lines != nil {
		_, hs.Deflate = agreement(lines...)
	}
	return ev
}
