package decode

import (
	"mime"
	"time"
)

// Lasting emits a notice that says what an exchange without websocket still waits
// for, if it goes on. A relay calls it once, when the request is a second old: the
// exchange would not be shown before it is over. An event stream is not told of: it
// is known as one from its head.
func (s *Session) Lasting(t time.Time) {
	s.lock(t)
	defer s.unlock()
	if s.over || s.hs.Request == nil || s.hs.WebSocket {
		return
	}
	text := ""
	switch {
	case s.ended > 0:
	case s.sides[FromServer].phase == inBody && !s.hs.EventStream():
		text = "goes on"
	case s.sides[FromServer].phase == inHead && s.sides[FromClient].phase == inBody:
		text = "request goes on"
	case s.sides[FromServer].phase == inHead:
		text = "waits for an answer"
	}
	if text != "" {
		s.emit(Event{Kind: KindNotice, Text: text})
	}
}

// EventStream reports whether the response begins a stream of server-sent events,
// which has no end of its own.
func (h *Handshake) EventStream() bool {
	if h.Response == nil || h.Response.Status != 200 {
		return false
	}
	media, _, err := mime.ParseMediaType(h.Response.Get("Content-Type"))
	return err == nil && media == "text/event-stream"
}
