package decode

import (
	"fmt"
	"strings"
)

// head takes bytes of a head from b and returns what follows the head.
func (s *Session) head(d Dir, b []byte) (rest []byte) {
	if d == FromServer && s.isForeign(b) {
		rest, all := s.halves[d].gatherForeign(b)
		if all {
			s.headCut(d)
		}
		return rest
	}
	raw, rest, tooLong := s.halves[d].gather(b)
	switch {
	case tooLong:
		s.flush(d.Peer(), true)
		s.opaque(d, fmt.Sprintf("head is longer than %d bytes", MaxHead))
	case raw == "":
	case d == FromClient:
		s.request(ParseRequest(raw))
	default:
		s.response(ParseResponse(raw))
	}
	return rest
}

// isForeign reports whether b goes on with what stands in place of a response, or
// shows that something does.
func (s *Session) isForeign(b []byte) bool {
	p := &s.halves[FromServer]
	if p.foreign {
		return true
	}
	const enough = 32 // bytes; others are empty lines
	start := b
	if len(p.buf) > 0 {
		start = append(p.buf[:len(p.buf):len(p.buf)], b[:min(len(b), enough)]...)
	}
	if s.hs.Request == nil || len(p.buf) > enough || MayBeResponse(start) {
		return false
	}
	p.since, p.foreign = s.now, true
	return true
}

// request takes the head of the request. err says why it is not a valid one.
func (s *Session) request(h *Head, err error) {
	if err != nil {
		s.flush(FromServer, true) // what came before
	}
	s.hs.setRequest(h)
	s.requested = s.now
	if s.judge != nil && (err == nil || s.hs.WebSocket) {
		s.judge.request(h)
	}
	s.emit(Event{Kind: KindRequest, Dir: FromClient})
	if err != nil {
		s.opaque(FromClient, err.Error())
		return
	}
	s.sides[FromClient].phase, s.halves[FromClient].body = inBody, RequestBody(h)
	s.expectContent(FromClient, h)
	s.bodyDone(FromClient)
}

// response takes the head of a response: an interim one (RFC 9110 §15.2), or
// the final one. err says why it is not a valid one. The event of a refused
// upgrade waits for the body.
func (s *Session) response(h *Head, err error) {
	if err == nil && h.Status < 200 && h.Status != 101 {
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		return
	}
	if err != nil || h.Status == 101 && !s.hs.WebSocket {
		s.flush(FromClient, true) // what came before
	}
	s.hs.setResponse(h)
	if err == nil && !s.hs.Accepted {
		s.namesItself(h)
	}
	if s.hs.Request == nil && s.info.incomplete() && h.Status == 101 && upgradesToWebSocket(h) {
		s.hs.WebSocket, s.hs.Accepted = true, true // the request is missing
		s.sides[FromClient].phase = inFrames
	}
	sd := &s.sides[FromServer]
	switch {
	case err != nil:
		if s.judge != nil && s.hs.WebSocket {
			s.judge.foreign(h.Raw)
		}
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		s.opaque(FromServer, err.Error())
	case s.hs.Accepted:
		var rsv byte
		if lines := h.Values("Sec-WebSocket-Extensions"); lines != nil {
			rsv, s.hs.Deflate = agreement(lines...)
		}
		s.upgrade(rsv)
		if r := s.hs.Relayed; r != nil && r.Status == h.Status { // the client goes by that
			s.conn.rsv[FromClient], s.conn.agreed[FromClient] = 0, Deflate{}
			if lines := r.Values("Sec-WebSocket-Extensions"); lines != nil {
				s.conn.rsv[FromClient], s.conn.agreed[FromClient] = agreement(lines...)
			}
		}
		if s.judge != nil {
			if s.hs.Request == nil {
				s.judge.head(FromServer, h)
			} else {
				s.judge.accepted(h)
			}
		}
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		sd.phase = inFrames
	case h.Status == 101:
		if s.judge != nil {
			s.judge.unsolicited(h)
		}
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		s.opaque(FromServer, s.upgradedTo(h))
	case s.hs.WebSocket:
		sd.phase = inRefusal
		s.halves[FromServer].body, s.halves[FromServer].since = ResponseBody(h, s.method()), s.now
		s.expectContent(FromServer, h)
		s.bodyDone(FromServer)
	default:
		if s.judge != nil {
			s.judge.head(FromServer, h)
		}
		s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
		sd.phase, s.halves[FromServer].body = inBody, ResponseBody(h, s.method())
		s.expectContent(FromServer, h)
		s.bodyDone(FromServer)
	}
}

// upgradedTo says what the protocol behind the 101 h is: the one that it names, or
// else what was asked for.
func (s *Session) upgradedTo(h *Head) string {
	for _, h := range []*Head{h, s.hs.Forwarded, s.hs.Request} {
		if names := h.Tokens("Upgrade"); len(names) > 0 {
			return "upgraded to " + strings.Join(names, ", ")
		}
	}
	return "upgraded, and neither side says to what"
}

// bodyBytes takes the body at the start of b and returns what follows it.
func (s *Session) bodyBytes(d Dir, b []byte) (rest []byte) {
	p := &s.halves[d]
	var n int
	if p.content == nil {
		n = p.body.Next(b)
	} else {
		n = p.body.Split(b, func(b []byte) { s.takeContent(d, b) })
	}
	s.takeBody(d, b[:n])
	s.bodyDone(d)
	return b[n:]
}

// takeBody takes bytes of a body.
func (s *Session) takeBody(d Dir, b []byte) {
	p := &s.halves[d]
	p.bodyLen += int64(len(b))
	switch {
	case p.scan:
		p.keep(b)
	case d == FromClient && s.hs.WebSocket:
		s.junk(d, b, whyBody)
	}
}

// bodyDone moves on to what follows the body of d, if that has ended.
func (s *Session) bodyDone(d Dir) {
	sd, p := &s.sides[d], &s.halves[d]
	switch {
	case !p.body.Done():
	case sd.phase == inRefusal:
		s.refusal(true)
		sd.phase = inOpaque
		s.endContent(d)
	case p.scan:
		s.bodyNamesItself()
		sd.phase = inOpaque
		s.endContent(d)
	case d == FromClient && s.hs.WebSocket:
		s.connect()
		sd.phase = inFrames
	default:
		sd.phase = inOpaque
		s.endContent(d)
	}
}

// refusal emits the response to a refused upgrade, with the body at hand and, if that
// is complete, its length.
func (s *Session) refusal(complete bool) {
	if s.judge != nil {
		s.judge.refused(s.hs.Response)
	}
	ev := Event{Kind: KindResponse, Dir: FromServer, Head: s.hs.Response}
	if c := s.halves[FromServer].content; c != nil {
		ev.Data = c.buf[:min(len(c.buf), MaxPiece)]
		if complete {
			ev.BodyLen = int64(len(c.buf)) + c.lost
		} else {
			ev.Data = wholeText(ev.Data) // as the piece is that comes next
		}
	}
	s.emit(ev)
}

// headCut emits the incomplete head in flight, if there is one.
func (s *Session) headCut(d Dir) {
	h := s.halves[d].cut()
	switch {
	case h == nil:
	case d == FromClient:
		s.hs.setRequest(h)
		s.emit(Event{Kind: KindRequest, Dir: d})
	case s.halves[d].foreign:
		s.notHTTP(h)
	default:
		s.emit(Event{Kind: KindResponse, Dir: d, Head: h})
	}
}

// notHTTP emits h, which stands in place of a response and is none. What follows is
// opaque, and kept where the client asked for websocket.
func (s *Session) notHTTP(h *Head) {
	s.halves[FromServer].foreign = false
	s.flush(FromClient, true) // what came before
	if s.judge != nil && s.hs.WebSocket {
		s.judge.foreign(h.Raw)
	}
	s.emit(Event{Kind: KindResponse, Dir: FromServer, Head: h})
	why := "not an HTTP response"
	if isAlertOfTLS(h.Raw) {
		why = "a TLS alert, not an HTTP response"
	}
	s.opaque(FromServer, why)
	if s.hs.WebSocket {
		s.sides[FromServer].phase = inJunk
	}
}

func isAlertOfTLS(raw string) bool { return strings.HasPrefix(raw, "\x15\x03") }

// opaque makes the session a tunnel.
func (s *Session) opaque(d Dir, why string) {
	defer func() { // even if a sink panics
		s.sides[FromClient].phase = inOpaque
		s.sides[FromServer].phase = inOpaque
	}()
	s.flush(FromClient, true)
	s.flush(FromServer, true)
	s.emit(Event{Kind: KindOpaque, Dir: d, Text: why})
}
