package decode

import (
	"bytes"
	"compress/flate"
	"encoding/json"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/internal/inflate"
)

// maxReason is how many bytes of a message are looked into, at most, for why it
// can't be inflated or is not UTF-8.
const maxReason = 16 << 10

// A mixture is what the window of a sender holds that compresses all its messages
// with one stream, and sends some uncompressed all the same: the end of all of
// them. RFC 7692 §7.2.1 has only compressed ones in the window.
type mixture struct {
	window []byte // the last maxReason bytes at least; nil if no message came uncompressed
	gone   bool   // a message was not kept whole, so it is not known
	json   bool   // a message looked like JSON
	others int    // messages that are no JSON either way
}

// Limits for one direction, so that a peer can't make us look for reasons all day.
const (
	maxReasons   = 16
	maxOthers    = 4
	maxReasonOut = 64 << 10 // bytes that a message may inflate to
)

// add takes a message that is complete, and the stream of the compressed ones.
func (x *mixture) add(m *Message, z *inflate.Stream) {
	switch {
	case x.gone:
		return
	case m.Cut || m.Unread:
		*x = mixture{gone: true}
		return
	}
	x.json = x.json || len(m.Data) > 0 && (m.Data[0] == '{' || m.Data[0] == '[')
	switch {
	case m.Compressed && x.window == nil:
		return
	case x.window == nil:
		const usual = 512 // bytes, so that it seldom grows
		x.window = make([]byte, 0, usual)
		if z != nil {
			x.window = z.Recent(x.window)
		}
	}
	x.window = append(x.window, m.Data...)
	if n := len(x.window); n > 2*maxReason {
		x.window = append(x.window[:0], x.window[n-maxReason:]...)
	}
}

// reason says why the message in flight can't be inflated, or is not UTF-8, as far
// as its bytes tell. It begins with a colon, or is "". The message must be begun
// by frame f.
func (a *assembly) reason(f *Frame) string {
	if a.reasons++; a.reasons > maxReasons {
		return ""
	}
	raw, whole := a.rawStart(f)
	compressed := a.m.Compressed
	switch {
	case len(raw) < 2:
		return ""
	case isZlib(raw) && inflates(raw[2:]), bytes.HasPrefix(raw, []byte{0x1f, 0x8b, 8}):
		name := "zlib"
		if raw[0] == 0x1f {
			name = "gzip"
		}
		if compressed {
			return fmt.Sprintf(": it begins with a header of %s, % x, where DEFLATE is to stand alone", name, raw[:2])
		}
		return fmt.Sprintf(": it is compressed with %s, and not text", name)
	case compressed && isPlainText(raw):
		return ": it is plain text under RSV1, and not compressed"
	case compressed && whole:
		if out, ok := a.withMixture(raw); ok && (a.m.Op != ws.OpText || utf8.Valid(out)) {
			return ": it can be inflated with the messages that came uncompressed in the window, where they don't belong"
		}
	case !compressed && whole:
		var window []byte
		if a.inflater != nil && !a.inflater.Alone {
			window = a.inflater.Recent(nil)
		}
		if out, ok := inflateWhole(raw, window); ok && len(out) > 0 && utf8.Valid(out) {
			return ": it is DEFLATE, a compressed message without RSV1"
		}
	}
	return ""
}

// rawStart returns the beginning of the message in flight, as it came but for its
// mask, if frame f begins it, and whether that is all of it.
func (a *assembly) rawStart(f *Frame) (raw []byte, whole bool) {
	if a.m.First != f.N || f.At != 0 {
		return nil, false
	}
	raw = f.payload[:min(len(f.payload), maxReason)]
	if f.Masked {
		raw = bytes.Clone(raw)
		ws.Cipher(raw, f.Mask, 0)
	}
	return raw, f.Fin && f.Complete && len(raw) == len(f.payload)
}

// withMixture inflates a message with the messages that came uncompressed in the
// window.
func (a *assembly) withMixture(raw []byte) (out []byte, ok bool) {
	if a.mixed.window == nil || a.inflater == nil || a.inflater.Alone {
		return nil, false
	}
	return inflateWhole(raw, a.mixed.window)
}

// drifted reports whether the message that frame f ends, which is inflated, is
// JSON only if it is inflated with the messages that came uncompressed.
func (a *assembly) drifted(f *Frame) bool {
	m := &a.m
	if !a.mixed.json || a.mixed.window == nil || a.mixed.others == maxOthers || !m.Compressed || m.Unread || m.Cut || !a.text || json.Valid(m.Data) {
		return false
	}
	raw, whole := a.rawStart(f)
	if !whole {
		return false
	}
	if out, ok := a.withMixture(raw); ok && json.Valid(out) {
		return true
	}
	a.mixed.others++
	return false
}

// isZlib reports whether b begins with a header of zlib (RFC 1950 §2.2).
func isZlib(b []byte) bool {
	return b[0]&0xf == 8 && b[0]>>4 <= 7 && (int(b[0])<<8|int(b[1]))%31 == 0
}

// isPlainText reports whether b is text without control characters but for white
// space. A character may be cut off at the end.
func isPlainText(b []byte) bool {
	const enough = 4 // bytes: less could be anything
	if len(b) < enough || b[0] < ' ' {
		return false
	}
	for _, c := range b {
		if c < ' ' && c != '\t' && c != '\n' && c != '\r' || c == 0x7f {
			return false
		}
	}
	at, bad := new(utf8Check).add(b)
	return bad == nil || at < 0
}

// inflates reports whether something comes out of b when it is inflated.
func inflates(b []byte) bool {
	var buf [64]byte
	n, _ := flate.NewReader(bytes.NewReader(b)).Read(buf[:])
	return n > 0
}

// inflateWhole inflates a message with a window in front of it. It reports false if
// the message has an error, or ends before its last byte.
func inflateWhole(raw, window []byte) (out []byte, ok bool) {
	if len(raw) == 0 || raw[0]>>1&3 == 3 { // no type of a block (RFC 1951 §3.2.3)
		return nil, false
	}
	end := []byte{0, 0, 0xff, 0xff, 1, 0, 0, 0xff, 0xff} // the marker of RFC 7692 §7.2.1, and a final block
	in := bytes.NewReader(append(bytes.Clone(raw), end...))
	out, err := io.ReadAll(io.LimitReader(flate.NewReaderDict(in, window), maxReasonOut))
	return out, err == nil && in.Len() <= len(end) && len(out) < maxReasonOut
}
