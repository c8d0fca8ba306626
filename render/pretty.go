package render

import (
	"bytes"
	"slices"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// maxPretty is how much text a message may become when it is indented, in bytes.
const maxPretty = 4 << 20

// prettyJSON ends the line of ev, with what its message or body m says below it, if
// that is whole and has a JSON array or object. What stands between documents has a line of
// its own.
func (p *printer) prettyJSON(ev *decode.Event, m *decode.Message) bool {
	if m == nil || m.Unread || m.Unfinished || m.Op.IsControl() || m.Op == ws.OpContinuation {
		return false
	}
	c := m.Content()
	if c.Cut || len(c.Data) > p.pretty {
		return false
	}
	parts := pick.Parts(c.Data)
	if !slices.ContainsFunc(parts, func(part pick.Part) bool { return part.JSON && bytes.IndexAny(part.Bytes, "{[") == 0 }) {
		return false
	}
	if f := ev.Frame; f != nil && !f.More {
		p.form(ev) // the message ends
	}
	if c.Packed != "" {
		p.text(c.Packed)
	}
	p.sentBy(ev)
	p.end()
	from := len(p.buf)
	for _, part := range parts {
		b := bytes.TrimSpace(part.Bytes)
		switch {
		case len(b) == 0:
			continue
		case part.JSON:
			p.text(prettyIndent)
			p.indented(b, from+maxPretty)
		default:
			p.text(prettyIndent)
			p.buf = decode.AppendText(p.buf, b)
		}
		p.text("\n")
	}
	return true
}

const (
	prettyIndent  = "    "
	maxPrettyDeep = 40 // levels that are indented further than the one around
)

// indented appends a JSON document, indented, up to a length of the buffer.
func (p *printer) indented(doc []byte, most int) {
	depth := 0
	newline := func() {
		p.text("\n")
		p.text(prettyIndent)
		for range min(depth, maxPrettyDeep) {
			p.text("  ")
		}
	}
	for i := 0; i < len(doc); {
		if len(p.buf) > most {
			p.text("…")
			return
		}
		switch c := doc[i]; c {
		case ' ', '\t', '\r', '\n':
			i++
		case '{', '[':
			p.buf = append(p.buf, c)
			if rest := bytes.TrimLeft(doc[i+1:], " \t\r\n"); len(rest) > 0 && rest[0] == c+2 { // empty
				p.buf = append(p.buf, rest[0])
				i = len(doc) - len(rest) + 1
				continue
			}
			depth++
			newline()
			i++
		case '}', ']':
			depth--
			newline()
			p.buf = append(p.buf, c)
			i++
		case ',':
			p.text(",")
			newline()
			i++
		case ':':
			p.text(": ")
			i++
		case '"':
			n := stringLen(doc[i:])
			pen := p.pens.json.text
			if rest := bytes.TrimLeft(doc[i+n:], " \t\r\n"); len(rest) > 0 && rest[0] == ':' {
				pen = p.pens.json.key
			}
			p.scalar(pen, doc[i:i+n])
			i += n
		default:
			n := bytes.IndexAny(doc[i:], ",:]} \t\r\n")
			if n <= 0 {
				n = len(doc) - i
			}
			pen := p.pens.json.number
			if c >= 'a' && c <= 'z' {
				pen = p.pens.json.word
			}
			p.scalar(pen, doc[i:i+n])
			i += n
		}
	}
}

func (p *printer) scalar(pen pen, b []byte) {
	p.text(pen.on)
	p.buf = decode.AppendEscaped(p.buf, b, false)
	p.text(pen.off)
}

// stringLen returns the length of the JSON string that b begins with.
func stringLen(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return len(b)
}
