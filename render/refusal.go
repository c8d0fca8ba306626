package render

import (
	"github.com/wstrace/wstrace/decode"
)

// refusal appends what an answer that refuses to upgrade says of the reason: where
// to go instead, what to authenticate with, and the beginning of its body.
func (p *printer) refusal(ev *decode.Event) {
	h := ev.Head
	p.text("  not upgraded")
	p.part("location", h.Get("Location"))
	p.part("www-authenticate", list(h, "WWW-Authenticate"))
	p.part("proxy-authenticate", list(h, "Proxy-Authenticate"))
	if g, ok := p.body(ev); ok {
		p.sessions.Of(ev).bodyShown = true
		if !p.bytesBelow {
			p.text("  ")
			p.show(g)
		}
	}
}

// body returns what to show of the body of a refused upgrade. ok is false if that
// is nothing.
func (p *printer) body(ev *decode.Event) (g glimpse, ok bool) {
	whole := ev.Data
	g.missing = int64(len(whole)) != ev.BodyLen
	g.b = whole[:min(len(whole), p.preview)]
	g.missing = g.missing || len(g.b) < len(whole)
	if len(g.b) == 0 {
		return g, false
	}
	chars := g.b
	if g.missing {
		chars = decode.WholeChars(chars)
	}
	if readable(chars) {
		g.b, g.text = chars, true
	}
	return g, true
}
