package render

import (
	"bytes"
	"strings"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// bodyOf shows an HTTP body, in the columns of a message. That of a refused upgrade
// stands with its answer already, and is shown again only if it is indented.
func (p *printer) bodyOf(ev *decode.Event) {
	m := ev.Body
	again := false
	if s := p.sessions.Lookup(ev.Conn); s == nil || !s.begun {
		switch hs := ev.Handshake; {
		case hs != nil && hs.WebSocket:
			again = s != nil && s.bodyShown
		case asked(ev):
			p.begun(ev, "")
		}
	}
	if again && p.pretty == 0 {
		return
	}
	start := len(p.buf)
	p.side(ev)
	p.colored(p.pens.sides[ev.Dir], "body")
	p.text("  ")
	if p.numbers {
		p.text(blanks[:numberWidth+1])
	}
	p.column(func() {}, len("00000000"), false)
	p.column(func() { p.int(m.Len) }, lengthWidth, true)
	p.column(func() {}, keyWidth, false)
	if m.Unfinished {
		p.text("unfinished ")
	}
	p.leadIn(ev)
	if p.pretty > 0 && p.prettyJSON(ev, m) {
		return
	}
	if again {
		p.buf = p.buf[:start]
		return
	}
	if !p.bytesBelow {
		p.bodyContent(ev)
	}
	p.endPayload()
}

// bodyContent appends the beginning of a body. One that can't be read, as it is coded,
// is told by its coding.
func (p *printer) bodyContent(ev *decode.Event) {
	m := ev.Body
	switch coding := contentCoding(ev); {
	case coding != "" && m.Op == ws.OpBinary && m.Content().Packed == "":
		p.text("(")
		p.wire(coding)
		p.text(")")
	case len(m.Data) == 0 && m.Len > 0:
		p.text("not recorded")
	default:
		if g, ok := p.glimpseOf(m); ok {
			chars := g.b
			if g.missing {
				chars = decode.WholeChars(chars)
			}
			if g.text = readable(chars) || utf8.Valid(chars) && bytes.IndexByte(chars, 0) < 0; g.text {
				g.b = chars
			}
			p.show(g)
		}
	}
}

// contentCoding returns the content coding of a body, or "" if there is none.
func contentCoding(ev *decode.Event) string {
	hs := ev.Handshake
	if hs == nil {
		return ""
	}
	h := hs.Response
	if ev.Dir == decode.FromClient {
		h = hs.Request
	}
	if h == nil {
		return ""
	}
	if coding := strings.Join(h.Tokens("Content-Encoding"), ", "); !strings.EqualFold(coding, "identity") {
		return coding
	}
	return ""
}
