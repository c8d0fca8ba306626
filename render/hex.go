package render

import (
	"io"

	"github.com/wstrace/wstrace/decode"
)

// hex shows one line an event and the bytes of frames.
type hex struct {
	printer
}

// NewHex returns a Sink that writes to w the compact line of each event,
// without the payload, and below the line of a frame its bytes, as hexdump -Cv
// prints them: first the header as it came, then the payload unmasked, as much
// of it as is asked for. HTTP bodies are shown like that, too.
//
//	19:28:47.0013 #1 > text  10000001      5 11-22-33-44
//	00000000  81 85 11 22 33 44 68 65  6c 6c 6f                 |..."3Dhello|
//
// A later piece of a frame goes on counting where the one before ended.
func NewHex(w io.Writer, o Options) decode.Sink {
	p := newPrinter(w, o, '.')
	p.bytesBelow = true
	return o.sink(&hex{p})
}

// Emit shows ev.
func (p *hex) Emit(ev *decode.Event) {
	p.begin(ev)
	part, m := p.ofMessage(ev)
	switch f := ev.Frame; {
	case m != nil:
		p.message(ev)
		p.end()
		p.rows(0, m.Data[:min(len(m.Data), p.preview)])
	case part:
	case ev.Kind == decode.KindJunk:
		p.event(ev)
		p.rows(0, ev.Data[:min(len(ev.Data), p.preview)])
	case ev.Kind == decode.KindResponse && len(ev.Data) > 0:
		p.event(ev)
		if g, ok := p.body(ev); ok {
			p.rows(0, g.b)
		}
	case ev.Body != nil:
		if p.event(ev); len(p.buf) > 0 {
			p.rows(0, ev.Body.Data[:min(len(ev.Body.Data), p.preview)])
		}
	case ev.Kind != decode.KindFrame:
		p.event(ev)
	case f.More:
		p.piece(ev)
	default:
		p.frame(ev)
		p.soFar(f)
		p.sentBy(ev)
		p.end()
		p.payload = append(p.payload[:0], f.Head...)
		p.payload = f.AppendPayload(p.payload, p.preview)
		p.rows(0, p.payload)
	}
	p.violations(ev)
	p.fate(ev)
	p.finish(ev)
}

// piece shows a later piece of a frame, as far as the preview reaches.
func (p *hex) piece(ev *decode.Event) {
	f := ev.Frame
	left := int64(p.preview) - f.At
	if left <= 0 || f.Len() == 0 {
		return
	}
	p.opcode(ev, f.OpCode)
	p.count(int64(f.Len()), "more byte")
	p.sentBy(ev)
	p.end()
	p.payload = f.AppendPayload(p.payload[:0], int(left))
	p.rows(int64(len(f.Head))+f.At, p.payload)
}

// rows appends b, which begins at offset, in rows of 16 bytes.
func (p *hex) rows(offset int64, b []byte) {
	for len(b) > 0 {
		n := min(len(b), 16)
		p.buf = appendRow(p.buf, offset, b[:n])
		offset += int64(n)
		b = b[n:]
	}
}

// appendRow appends a row of at most 16 bytes.
func appendRow(dst []byte, offset int64, b []byte) []byte {
	digits := 8
	for offset>>(4*digits) > 0 {
		digits++
	}
	for i := digits - 1; i >= 0; i-- {
		dst = append(dst, lowerHex[offset>>(4*i)&15])
	}
	for i := range 16 {
		if i%8 == 0 {
			dst = append(dst, ' ')
		}
		if i < len(b) {
			dst = append(dst, ' ', lowerHex[b[i]>>4], lowerHex[b[i]&15])
		} else {
			dst = append(dst, "   "...)
		}
	}
	dst = append(dst, "  "...)
	return append(appendLetters(dst, b), '\n')
}

// appendLetters appends b between bars, with a point for what is no printable ASCII.
func appendLetters(dst, b []byte) []byte {
	dst = append(dst, '|')
	for _, c := range b {
		if c < ' ' || c > '~' {
			c = '.'
		}
		dst = append(dst, c)
	}
	return append(dst, '|')
}

// hasWords reports whether some of b is text: four letters, digits or marks as names
// and paths have them in a row, or five in what is long, where four come by chance.
func hasWords(b []byte) bool {
	least, n := 4, 0
	if len(b) > 32 {
		least = 5
	}
	for _, c := range b {
		switch {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9', c == '_', c == '-', c == '/', c == '.':
			if n++; n == least {
				return true
			}
		default:
			n = 0
		}
	}
	return false
}
