package decode

import "strings"

// Header fields of the opening handshake (RFC 6455 §11.3).
const (
	fieldKey        = "Sec-WebSocket-Key"
	fieldVersion    = "Sec-WebSocket-Version"
	fieldProtocol   = "Sec-WebSocket-Protocol"
	fieldExtensions = "Sec-WebSocket-Extensions"
	fieldAccept     = "Sec-WebSocket-Accept"
)

// head judges a head, line by line, and its framing of the body. A head without
// Raw has no lines (RFC 9112 §2.2, §5, §6).
func (j *judge) head(d Dir, h *Head) {
	rest := strings.TrimLeft(h.Raw, "\r\n")
	for n := 0; rest != ""; n++ {
		at := len(h.Raw) - len(rest)
		line, more, _ := strings.Cut(rest, "\n")
		rest = more
		text, crlf := strings.CutSuffix(line, "\r")
		if !crlf {
			j.line(d, at+len(line), 1, "head-bare-lf", "the line %.40q ends in LF without CR", text)
		}
		if text == "" {
			break
		}
		if strings.ContainsAny(text, "\x00\r") {
			j.line(d, at+strings.IndexAny(text, "\x00\r"), 1, "head-bad-bytes", "the line %.60q holds NUL or CR", text)
		}
		if n > 0 {
			j.headerLine(d, text, at, n == 1)
		}
	}
	j.bodyLength(d, h)
}

// headerLine judges a line of a head, at an offset of at: its name, and the colon
// (RFC 9112 §5). first says that it follows the start line, which no line
// continues (RFC 9112 §2.2).
func (j *judge) headerLine(d Dir, text string, at int, first bool) {
	name, _, colon := strings.Cut(text, ":")
	trimmed := strings.TrimRight(name, " \t")
	switch indent := len(text) - len(strings.TrimLeft(text, " \t")); {
	case indent > 0 && !first:
		j.line(d, at, len(text), "head-fold", "the line %.40q continues the one before it", text)
	case indent > 0:
		j.line(d, at, indent, "head-name-invalid", "white space stands before %.40q, which follows the start line", strings.TrimLeft(text, " \t"))
	case !colon:
		j.line(d, at, len(text), "head-colon-missing", "the line %.40q has no colon", text)
	case trimmed == "":
		j.line(d, at, 1, "head-name-invalid", "the line %.40q has no name before its colon", text)
	case !isToken(trimmed):
		bad := strings.IndexFunc(trimmed, func(r rune) bool { return !isToken(string(r)) })
		j.line(d, at+bad, 1, "head-name-invalid", "the name %.40q is not a token", trimmed)
	case trimmed != name:
		j.line(d, at+len(trimmed), len(name)-len(trimmed), "head-space-colon", "white space stands between %.40q and the colon", trimmed)
	}
}

// bodyLength judges how a head says how long the body is (RFC 9112 §6).
func (j *judge) bodyLength(d Dir, h *Head) {
	_, te := h.Lookup("Transfer-Encoding")
	if cl, ok := h.Lookup("Content-Length"); ok && te {
		j.field(d, "Transfer-Encoding", "head-cl-te-conflict", "both Content-Length %.20q and Transfer-Encoding", cl)
	}
	if b := lengthBody(h, Body{}); b.UntilClose() {
		j.field(d, "Content-Length", "head-length-ambiguous", "Content-Length is %.40q, not one number", strings.Join(h.Values("Content-Length"), ", "))
	}
	if codings := h.Tokens("Transfer-Encoding"); te && (len(codings) == 0 || !strings.EqualFold(codings[len(codings)-1], "chunked")) && d == FromClient {
		j.field(d, "Transfer-Encoding", "head-te-not-chunked", "Transfer-Encoding of the request is %.40q, which does not end in chunked", strings.Join(h.Values("Transfer-Encoding"), ", "))
	}
}
