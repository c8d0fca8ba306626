package decode

import (
	"strconv"
	"strings"
)

// A Body finds the end of an HTTP/1.1 message body (RFC 9112 §6) in the bytes
// that follow a head. The zero Body is empty.
type Body struct {
	form bodyForm
	left int64 // bytes to come of a Content-Length body or of the chunk at hand
	step chunkStep
	line int  // length so far of the line at hand, without its end
	size bool // a digit of the chunk size was seen
	cr   bool // the last byte outside of chunk data was CR
}

type bodyForm uint8

const (
	bodyNone bodyForm = iota
	bodyLength
	bodyChunked
	bodyUntilClose
)

type chunkStep uint8

const (
	chunkSize    chunkStep = iota // in the hexadecimal size
	chunkExt                      // in what follows the size on its line
	chunkData                     // in the data
	chunkDataEnd                  // in the line end after the data
	chunkTrailer                  // in the trailer section
)

// RequestBody returns the body that follows the request head h: by
// Transfer-Encoding, by Content-Length, or none; but the 8 bytes of the third
// key of a WebSocket handshake of 2010 (draft-hixie-thewebsocketprotocol-76 §1.3)
// are announced by its first.
func RequestBody(h *Head) Body {
	if te := h.Tokens("Transfer-Encoding"); len(te) > 0 {
		if strings.EqualFold(te[len(te)-1], "chunked") {
			return Body{form: bodyChunked}
		}
		return Body{form: bodyUntilClose}
	}
	none := Body{}
	if _, ok := h.Lookup("Sec-WebSocket-Key1"); ok && AsksForWebSocket(h) {
		none = Body{form: bodyLength, left: 8}
	}
	return lengthBody(h, none)
}

// ResponseBody returns the body that follows the response head h to a request
// with the given method (RFC 9112 §6.3).
func ResponseBody(h *Head, method string) Body {
	switch {
	case method == "HEAD", h.Status < 200, h.Status == 204, h.Status == 304,
		method == "CONNECT" && h.Status < 300:
		return Body{}
	}
	if te := h.Tokens("Transfer-Encoding"); len(te) > 0 {
		if strings.EqualFold(te[len(te)-1], "chunked") {
			return Body{form: bodyChunked}
		}
		return Body{form: bodyUntilClose}
	}
	return lengthBody(h, Body{form: bodyUntilClose})
}

// lengthBody returns the body that Content-Length declares, or none if there is no
// such header. A length that is repeated counts once. If it is not one number, the
// two ends may disagree on where the next head begins, so nothing that follows is
// taken for a head (RFC 9112 §6.3).
func lengthBody(h *Head, none Body) Body {
	values := h.Values("Content-Length")
	if len(values) == 0 {
		return none
	}
	list := strings.Split(strings.Join(values, ","), ",")
	for i, v := range list {
		list[i] = strings.Trim(v, " \t\r\n")
		if list[i] != list[0] {
			return Body{form: bodyUntilClose}
		}
	}
	n, err := strconv.ParseUint(list[0], 10, 63)
	if err != nil {
		return Body{form: bodyUntilClose}
	}
	return Body{form: bodyLength, left: int64(n)}
}

// Done reports whether the body has ended.
func (b *Body) Done() bool {
	return b.form == bodyNone || b.form == bodyLength && b.left == 0
}

// UntilClose reports whether only the end of the stream ends the body.
func (b *Body) UntilClose() bool { return b.form == bodyUntilClose }

// Next returns how many bytes at the start of p belong to the body; Done then
// tells whether it ended there. Chunk sizes, trailers and line ends count as
// body. After a malformed chunk the rest of the stream is body.
func (b *Body) Next(p []byte) int { return b.Split(p, nil) }

// Split is Next, and gives the bytes that are left without the transfer coding, in
// pieces of p, to content, unless that is nil.
func (b *Body) Split(p []byte, content func([]byte)) int {
	n := 0
	switch b.form {
	case bodyLength:
		n = int(min(int64(len(p)), b.left))
		b.left -= int64(n)
	case bodyUntilClose:
		n = len(p)
	case bodyChunked:
		return b.chunks(p, content)
	}
	if n > 0 && content != nil {
		content(p[:n])
	}
	return n
}

// Skip passes over n bytes of the body that are not available.
func (b *Body) Skip(n int64) {
	if b.form == bodyLength && n <= b.left {
		b.left -= n
		return
	}
	b.form = bodyNone
}

// Lose is like Skip for bytes that were lost, not all of which need be body. If
// the end of the body can't be found without them, the rest of the stream is body.
func (b *Body) Lose(n int64) {
	if b.form == bodyLength && n <= b.left {
		b.left -= n
		return
	}
	b.form = bodyUntilClose
}

func (b *Body) chunks(p []byte, content func([]byte)) int {
	for i := 0; i < len(p); {
		c := p[i]
		if b.step != chunkData {
			if b.cr && c != '\n' { // RFC 9112 §2.2: a CR alone ends no line
				b.form = bodyUntilClose
				return len(p)
			}
			b.cr = c == '\r'
		}
		switch b.step {
		case chunkSize:
			i++
			switch v, ok := unhex(c); {
			case ok && b.left < 1<<58:
				b.left, b.size = b.left<<4|int64(v), true
			case !b.size || ok:
				b.form = bodyUntilClose
				return len(p)
			case c == '\n':
				b.sized()
			case c == '\r' || c == ';' || c == ' ' || c == '\t':
				b.step = chunkExt
			default:
				b.form = bodyUntilClose
				return len(p)
			}
		case chunkExt:
			i++
			if c == '\n' {
				b.sized()
			}
		case chunkData:
			n := min(int64(len(p)-i), b.left)
			if content != nil {
				content(p[i : i+int(n)])
			}
			i += int(n)
			if b.left -= n; b.left == 0 {
				b.step = chunkDataEnd
			}
		case chunkDataEnd:
			i++
			switch c {
			case '\r':
			case '\n':
				b.step, b.size = chunkSize, false
			default:
				b.form = bodyUntilClose
				return len(p)
			}
		case chunkTrailer:
			i++
			switch c {
			case '\r':
			case '\n':
				if b.line == 0 {
					b.form = bodyNone
					return i
				}
				b.line = 0
			default:
				b.line++
			}
		}
	}
	return len(p)
}

// sized ends the line of a chunk size.
func (b *Body) sized() {
	b.step = chunkData
	if b.left == 0 {
		b.step, b.line = chunkTrailer, 0
	}
}

func unhex(c byte) (byte, bool) {
	switch {
	case c >= '0' && c <= '9':
		return c - '0', true
	case c >= 'a' && c <= 'f':
		return c - 'a' + 10, true
	case c >= 'A' && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
