package change

import (
	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A frame is one to be sent (RFC 6455 §5.2).
type frame struct {
	fin     bool
	rsv     byte
	op      ws.OpCode
	masked  bool
	bits    int    // width of the length field at least: 7, 16 or 64; 0 for the least that holds it
	payload []byte // not masked
	short   int    // bytes of payload that its length counts and that are not sent
}

// newFrame returns a frame of d, uncompressed.
func newFrame(d decode.Dir, fin bool, op ws.OpCode, payload []byte) frame {
	return frame{fin: fin, op: op, masked: d == decode.FromClient, payload: payload}
}

// append appends f to dst, masked with key if it is.
func (f *frame) append(dst []byte, key [4]byte) []byte {
	h := ws.Header{Fin: f.fin, Rsv: f.rsv, OpCode: f.op, Masked: f.masked, Mask: key, Length: int64(len(f.payload) + f.short)}
	dst = append(decode.AppendHeader(dst, h, f.bits), f.payload...)
	if f.masked {
		ws.Cipher(dst[len(dst)-len(f.payload):], key, 0)
	}
	return dst
}

// control reports whether f is a control frame.
func (f *frame) control() bool { return f.op >= 8 }

// apply does with f what a says, where that is about a frame alone.
func (a *action) apply(f frame) []frame {
	switch a.verb {
	case split:
		if f.control() || int64(len(f.payload)) <= a.n {
			break
		}
		parts := make([]frame, 0, (int64(len(f.payload))+a.n-1)/a.n)
		for rest := f.payload; len(rest) > 0; {
			n := int(min(int64(len(rest)), a.n))
			part := f
			part.bits, part.payload, rest = 0, rest[:n:n], rest[n:]
			if part.fin = f.fin && len(rest) == 0; len(parts) > 0 {
				part.op, part.rsv = ws.OpContinuation, 0
			}
			parts = append(parts, part)
		}
		return parts
	case flip:
		switch a.bit {
		case bitFin:
			f.fin = !f.fin
		case bitMask:
			f.masked = !f.masked
		default:
			f.rsv ^= 4 >> (a.bit - bitRSV1)
		}
	case len16:
		f.bits = 16
	case len64:
		f.bits = 64
	case truncate:
		if n := int(min(a.n, int64(len(f.payload)))); n < len(f.payload) {
			f.short += len(f.payload) - n
			f.payload = f.payload[:n:n]
		}
	}
	return []frame{f}
}

// concerns reports whether a changes a frame, so that it is not wasted on others.
func (a *action) concerns(f *decode.Frame) bool {
	switch a.verb {
	case dup_:
		return f.OpCode != ws.OpContinuation // it is a copy of the message
	case split:
		return !f.Control() && f.Length > a.n
	case truncate:
		return f.Length > a.n
	case len16:
		return f.Length <= 0xffff && f.LengthBits() != 16
	case len64:
		return f.LengthBits() != 64
	}
	return true
}

// edit returns what a makes of the content of a message, and whether it has something to
// change there.
func (a *action) edit(content []byte) (edited []byte, asText, ok bool) {
	switch a.verb {
	case replace:
		if !a.expr.Match(content) {
			return content, false, false
		}
		return a.expr.ReplaceAll(content, []byte(a.text)), false, true
	case set:
		spans := a.path.Spans(content)
		if len(spans) == 0 {
			return content, false, false
		}
		from := 0
		for _, s := range spans {
			edited = append(append(edited, content[from:s.Start]...), a.value...)
			from = s.End
		}
		return append(edited, content[from:]...), false, true
	case text:
		return []byte(a.payload), true, true
	}
	return content, false, true
}
