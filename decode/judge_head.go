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
		switch name, _, ok := strings.Cut(text, ":"); {
		case n == 0:
		case text[0] == ' ' || text[0] == '\t':
			j.line(d, at, len(text), "head-fold", "the line %.40q continues the one before it", text)
		case ok && name != strings.TrimRight(name, " \t"):
			trimmed := len(strings.TrimRight(name, " \t"))
			j.line(d, at+trimmed, len(name)-trimmed, "head-space-colon", "white space stands between %.40q and the colon", strings.TrimSpace(name))
		}
	}
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
