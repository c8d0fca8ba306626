package decode

import (
	"bytes"
	"math/bits"
	"strconv"

	"github.com/gobwas/ws"
)

// An alien says what stands in a direction in place of frames.
type alien struct {
	what string // "an HTTP response"; "" if these are frames
	line []byte // its beginning, for text
	hint string // why that may be, or ""

	kinds uint8 // ways in which headers were wrong so far
	wrong int64 // frames with such a header
}

// alienNoise is what bytes are that begin in no way known.
const alienNoise = "no WebSocket"

// absurd is a payload length, in bytes, that nobody sends.
const absurd = 1 << 40

// maxLine is how much of the beginning of alien text is kept.
const maxLine = 60

// starts are the beginnings of what no frame can begin with, unless an extension
// defines reserved bits: the first byte has one, or a reserved opcode.
var starts = []struct{ start, what, hint string }{
	{"HTTP/", "an HTTP response", "two servers on one port?"},
	{"GET /", "an HTTP request", ""},
	{"POST /", "an HTTP request", ""},
	{"PUT /", "an HTTP request", ""},
	{"SSH-", "SSH", ""},
	{"\x16\x03\x01", "TLS", ""},
	{"\x16\x03\x03", "TLS", ""},
	{"\x15\x03\x03", "TLS", ""},
	{"\x17\x03\x03", "TLS", ""},
}

// see takes a frame whose beginning has come, and the place of a data frame in its
// message. rsv holds the reserved bits that extensions define, n the frames so far.
// It reports whether it has just become plain that these are no frames: by their
// first bytes, or since many headers are wrong, and in several ways.
func (a *alien) see(f *Frame, p place, rsv byte, n int64) bool {
	wrong := wrongWays(f, p, rsv)
	if wrong == 0 || a.what != "" || rsv == 7 {
		return false
	}
	if wrong&(wrongRsv|wrongOpCode) != 0 {
		var buf [ws.MaxHeaderSize + maxLine]byte
		b := append(buf[:0], f.Head...)
		b = append(b, f.payload[:min(len(f.payload), maxLine)]...)
		if a.recognize(b) {
			return true
		}
	}
	a.kinds |= wrong
	a.wrong++
	if f.Length > absurd { // and nothing would be seen behind it
		a.wrong += 2
	}
	if a.wrong >= 5 && bits.OnesCount8(a.kinds) >= 3 && a.wrong*3 >= n {
		a.what = alienNoise
		return true
	}
	return false
}

// Ways in which a header is wrong.
const (
	wrongRsv uint8 = 1 << iota
	wrongOpCode
	wrongControl
	wrongMask
	wrongLength
	wrongPlace
)

// wrongWays returns the ways in which the header of f is wrong.
func wrongWays(f *Frame, p place, rsv byte) (wrong uint8) {
	if f.Rsv&^rsv != 0 {
		wrong |= wrongRsv
	}
	if f.OpCode.IsReserved() {
		wrong |= wrongOpCode
	}
	if f.Control() && (!f.Fin || f.Length > ws.MaxControlFramePayloadSize) {
		wrong |= wrongControl
	}
	if f.Masked != (f.Dir == FromClient) {
		wrong |= wrongMask
	}
	if f.Head[1]&0x7f >= 126 && !f.MinimalLength() { // a shorter one is minimal
		wrong |= wrongLength
	}
	if p == placeOrphan || p == placeInterrupts {
		wrong |= wrongPlace
	}
	return wrong
}

// recognize reports whether b, which stands where a frame should begin, is the
// beginning of something else.
func (a *alien) recognize(b []byte) bool {
	for _, s := range starts {
		if bytes.HasPrefix(b, []byte(s.start)) {
			a.what, a.hint = s.what, s.hint
			if s.what != "TLS" {
				a.line = bytes.Clone(firstLine(b))
			}
			return true
		}
	}
	line := firstLine(b)
	if len(line) < len(b) && len(line) > 0 && len(line) <= 8 {
		if _, err := strconv.ParseUint(string(line), 16, 32); err == nil && bytes.HasPrefix(b[len(line):], []byte("\r\n")) {
			a.what, a.line, a.hint = "a chunk size of HTTP", bytes.Clone(line), "the 101 came with a Transfer-Encoding?"
			return true
		}
	}
	return false
}

func firstLine(b []byte) []byte {
	if i := bytes.IndexAny(b, "\r\n"); i >= 0 {
		b = b[:i]
	}
	return b[:min(len(b), maxLine)]
}
