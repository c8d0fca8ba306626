package decode

import (
	"bytes"
	"strconv"
	"unicode/utf8"
)

// WholeChars returns b without the UTF-8 sequence, if any, that is cut off at its
// end.
func WholeChars(b []byte) []byte { return b[:len(b)-partial(b)] }

// printable are the ASCII characters that need no escape, quotable those that
// need none in quotes.
var printable, quotable = func() (p, q [256]bool) {
	for c := ' '; c <= '~'; c++ {
		p[c], q[c] = true, c != '"' && c != '\\'
	}
	return p, q
}()

// AppendEscaped appends b to dst, with control characters and invalid UTF-8
// escaped as %q does, so that nothing from the wire can control a terminal. If
// quoted is set, quotes and backslashes are escaped too.
func AppendEscaped(dst, b []byte, quoted bool) []byte {
	asIs := &printable
	if quoted {
		asIs = &quotable
	}
	for len(b) > 0 {
		n := 0
		for n < len(b) && asIs[b[n]] {
			n++
		}
		if dst, b = append(dst, b[:n]...), b[n:]; len(b) == 0 {
			break
		}
		r, n := utf8.DecodeRune(b)
		switch {
		case b[0] == '"' || b[0] == '\\':
			dst = append(dst, '\\', b[0])
		case r == utf8.RuneError && n == 1 || !strconv.IsPrint(r):
			q := len(dst)
			dst = strconv.AppendQuote(dst, string(b[:n]))
			dst = append(dst[:q], dst[q+1:len(dst)-1]...)
		default:
			dst = append(dst, b[:n]...)
		}
		b = b[n:]
	}
	return dst
}

// AppendQuoted appends b as %q does.
func AppendQuoted(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = AppendEscaped(dst, b, true)
	return append(dst, '"')
}

// AppendText appends text in quotes, as %q does. What has a quote or a backslash, as
// JSON has, and would need no other escape, stands in single quotes as it is.
func AppendText(dst, b []byte) []byte {
	if !standsAsItIs(b) {
		return AppendQuoted(dst, b)
	}
	return append(append(append(dst, '\''), b...), '\'')
}

// standsAsItIs reports whether b has double quotes or backslashes, no single quotes,
// and nothing else to be escaped.
func standsAsItIs(b []byte) bool {
	if bytes.IndexByte(b, '"') < 0 && bytes.IndexByte(b, '\\') < 0 {
		return false
	}
	for len(b) > 0 {
		r, n := utf8.DecodeRune(b)
		if r == '\'' || r == utf8.RuneError && n == 1 || !strconv.IsPrint(r) {
			return false
		}
		b = b[n:]
	}
	return true
}
