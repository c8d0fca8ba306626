package main

import "github.com/wstrace/wstrace/decode"

// hints is a sink that knows what mends some failures.
type hints struct {
	con   *console
	given bool
}

// Emit says how ev can be mended, once.
func (h *hints) Emit(ev *decode.Event) {
	if h.given || ev.Kind != decode.KindResponse || ev.Head.Status != 403 {
		return
	}
	hs := ev.Handshake
	if hs == nil || !hs.WebSocket || hs.Forwarded == nil {
		return
	}
	origin, host := hs.Request.Get("Origin"), hs.Forwarded.Get("Host")
	if origin == "" || host == hs.Request.Get("Host") {
		return
	}
	h.given = true
	h.con.hint("the server got Host %s and Origin %s, which it may refuse; --keep-host leaves Host as the client sent it", host, origin)
}
