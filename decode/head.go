package decode

import (
	"bytes"
	"errors"
	"strconv"
	"strings"
)

// A Head is the head of an HTTP/1.x request or response (RFC 9112 §2.1), from
// its first line to the empty line. Its strings are parts of Raw, spelled as
// they came.
//
// The head of an HTTP/2 stream has no Raw: Proto is "HTTP/2", Fields begin with
// the pseudo-header fields (RFC 9113 §8.3), and Method, Target and Status repeat
// what those say.
type Head struct {
	Raw    string // "" if the head came parsed
	Method string // of a request
	Target string // of a request
	Proto  string // "HTTP/1.1"
	Status int    // of a response
	Reason string // of a response
	Fields []Field
	Cut    bool // it is incomplete; only Raw is set
}

// A Field is one header line: name and value with the white space around the
// value removed (RFC 9112 §5).
type Field struct {
	Name, Value string
}

var errStartLine = errors.New("start line is not HTTP/1.x")

// HeadLen returns the length of the head at the start of b, with the empty
// line that ends it, or 0 if it is not complete. Lines end in LF or CRLF
// (RFC 9112 §2.2). The search starts at from, which may be the length of an
// earlier, shorter b. Empty lines before the first line belong to the head.
func HeadLen(b []byte, from int) int {
	start := 0
	for start < len(b) && (b[start] == '\r' || b[start] == '\n') {
		start++
	}
	for i := max(from-3, start); i < len(b); i++ {
		nl := bytes.IndexByte(b[i:], '\n')
		if nl < 0 {
			return 0
		}
		i += nl
		switch rest := b[i+1:]; {
		case len(rest) > 0 && rest[0] == '\n':
			return i + 2
		case len(rest) > 1 && rest[0] == '\r' && rest[1] == '\n':
			return i + 3
		}
	}
	return 0
}

// MayBeRequest reports whether b can still turn out to begin with an HTTP/1.x
// request: up to 20 capital letters and a space, and a first line that names the
// version once it is complete. With anyCase it may be GET in any case too, as some
// clients of WebSocket spell it.
func MayBeRequest(b []byte, anyCase bool) bool {
	const get = "get"
	line, _, whole := bytes.Cut(bytes.TrimLeft(b, "\r\n"), []byte("\n"))
	capitals := true
	for i, c := range line {
		switch {
		case c == ' ' && i > 0 && (capitals || i == len(get)):
			if !whole {
				return true
			}
			_, _, proto, ok := cutRequestLine(strings.TrimSuffix(string(line), "\r"))
			return ok && strings.HasPrefix(proto, "HTTP/1.")
		case c >= 'A' && c <= 'Z' && i < 20 && capitals:
		case anyCase && i < len(get) && c|0x20 == get[i] && strings.EqualFold(string(line[:i]), get[:i]):
			capitals = capitals && c >= 'A' && c <= 'Z'
		default:
			return false
		}
	}
	return !whole
}

// MayBeResponse reports whether b can still turn out to begin with an HTTP/1.x
// response.
func MayBeResponse(b []byte) bool {
	const start = "HTTP/"
	b = bytes.TrimLeft(b, "\r\n")
	return len(b) < len(start) && start[:len(b)] == string(b) || bytes.HasPrefix(b, []byte(start))
}

// ParseRequest parses the head of a request. The head keeps raw as it is, and
// what is wrong in it is left to the rules; the error is for a start line that is
// not that of a request.
func ParseRequest(raw string) (*Head, error) {
	h := &Head{Raw: raw}
	method, target, proto, ok := cutRequestLine(h.parseFields())
	if !ok {
		return h, errStartLine
	}
	h.Method, h.Target, h.Proto = method, target, proto
	return h, nil
}

// cutRequestLine splits the start line of a request (RFC 9112 §3).
func cutRequestLine(line string) (method, target, proto string, ok bool) {
	method, rest, _ := strings.Cut(line, " ")
	i := strings.LastIndexByte(rest, ' ')
	if i < 0 || method == "" || !isProto(rest[i+1:]) {
		return "", "", "", false
	}
	return method, rest[:i], rest[i+1:], true
}

// ParseResponse parses the head of a response like [ParseRequest].
func ParseResponse(raw string) (*Head, error) {
	h := &Head{Raw: raw}
	proto, rest, _ := strings.Cut(h.parseFields(), " ")
	code, reason, _ := strings.Cut(rest, " ")
	n, err := strconv.ParseUint(code, 10, 16)
	if !isProto(proto) || err != nil || len(code) != 3 || n < 100 {
		return h, errStartLine
	}
	h.Proto, h.Status, h.Reason = proto, int(n), reason
	return h, nil
}

func isProto(s string) bool {
	return len(s) == len("HTTP/1.1") && strings.HasPrefix(s, "HTTP/") &&
		s[5] >= '0' && s[5] <= '9' && s[6] == '.' && s[7] >= '0' && s[7] <= '9'
}

// parseFields fills h.Fields from h.Raw and returns the start line. A line
// that begins with white space continues the one before (RFC 9112 §5.2); a
// line without a colon is a field without a value.
func (h *Head) parseFields() (start string) {
	rest := strings.TrimLeft(h.Raw, "\r\n")
	start, rest = cutLine(rest)
	h.Fields = make([]Field, 0, strings.Count(rest, "\n"))
	for rest != "" {
		line, more := cutLine(rest)
		if line == "" {
			break
		}
		for more != "" && (more[0] == ' ' || more[0] == '\t') {
			_, after := cutLine(more)
			line = strings.TrimRight(rest[:len(rest)-len(after)], "\r\n")
			more = after
		}
		name, value, _ := strings.Cut(line, ":")
		h.Fields = append(h.Fields, Field{strings.TrimSpace(name), strings.Trim(value, " \t\r\n")})
		rest = more
	}
	return start
}

// cutLine splits s after its first line, which is returned without its end.
func cutLine(s string) (line, rest string) {
	line, rest, _ = strings.Cut(s, "\n")
	return strings.TrimSuffix(line, "\r"), rest
}

// Get returns the value of the first field called name, in any case.
func (h *Head) Get(name string) string {
	v, _ := h.Lookup(name)
	return v
}

// Lookup is like Get and also reports whether there is such a field.
func (h *Head) Lookup(name string) (string, bool) {
	if h != nil {
		for _, f := range h.Fields {
			if strings.EqualFold(f.Name, name) {
				return f.Value, true
			}
		}
	}
	return "", false
}

// Values returns the values of all fields called name, in order.
func (h *Head) Values(name string) []string {
	var vs []string
	if h != nil {
		for _, f := range h.Fields {
			if strings.EqualFold(f.Name, name) {
				vs = append(vs, f.Value)
			}
		}
	}
	return vs
}

// Tokens returns the elements of the comma-separated lists in all fields
// called name (RFC 9110 §5.6.1), without the white space and line folds around
// them; empty ones are left out.
func (h *Head) Tokens(name string) []string {
	var ts []string
	for _, v := range h.Values(name) {
		for t := range strings.SplitSeq(v, ",") {
			if t = strings.Trim(t, " \t\r\n"); t != "" {
				ts = append(ts, t)
			}
		}
	}
	return ts
}

// HasToken reports whether the lists called name hold token, in any case.
func (h *Head) HasToken(name, token string) bool {
	for _, t := range h.Tokens(name) {
		if strings.EqualFold(t, token) {
			return true
		}
	}
	return false
}

// KeepAlive reports whether the sender of h is willing to reuse the connection
// after the exchange (RFC 9112 §9.3).
func (h *Head) KeepAlive() bool {
	switch {
	case h.HasToken("Connection", "close"):
		return false
	case h.Proto >= "HTTP/1.1":
		return true
	}
	return h.HasToken("Connection", "keep-alive")
}

// http2 reports whether h is the head of an HTTP/2 stream.
func (h *Head) http2() bool { return h.Proto == "HTTP/2" }

// Canonical reports whether Raw is spelled in the usual way: CRLF line ends,
// "Name: value" with one space, no folding, no control bytes. Then [Head.Append]
// rebuilds it from its parts. A head without Raw has only its parts and is
// canonical.
func (h *Head) Canonical() bool {
	if h.Raw == "" {
		return !h.Cut
	}
	if h.Cut || string(h.Append(make([]byte, 0, len(h.Raw)))) != h.Raw {
		return false
	}
	controls := 0
	for _, c := range []byte(h.Raw) {
		if c < ' ' && c != '\t' || c == 0x7f {
			controls++
		}
	}
	return controls == 2*(len(h.Fields)+2) // the line ends, and no others
}

// Append appends the head in its usual spelling to dst.
func (h *Head) Append(dst []byte) []byte {
	if h.Status != 0 {
		dst = append(dst, h.Proto...)
		dst = append(dst, ' ')
		dst = strconv.AppendInt(dst, int64(h.Status), 10)
		dst = append(dst, ' ')
		dst = append(dst, h.Reason...)
	} else {
		dst = append(dst, h.Method...)
		dst = append(dst, ' ')
		dst = append(dst, h.Target...)
		dst = append(dst, ' ')
		dst = append(dst, h.Proto...)
	}
	dst = append(dst, "\r\n"...)
	for _, f := range h.Fields {
		dst = append(dst, f.Name...)
		dst = append(dst, ": "...)
		dst = append(dst, f.Value...)
		dst = append(dst, "\r\n"...)
	}
	return append(dst, "\r\n"...)
}
