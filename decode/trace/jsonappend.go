package trace

import (
	"bytes"
	"encoding/base64"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// appendInt appends key, which is `,"name":`, and n.
func appendInt(dst []byte, key string, n int64) []byte {
	return strconv.AppendInt(append(dst, key...), n, 10)
}

func appendUint(dst []byte, key string, n uint64) []byte {
	return strconv.AppendUint(append(dst, key...), n, 10)
}

// appendText appends key and s, or nothing if s is empty. Bytes of s that are
// not UTF-8 are spelled as the forms for people spell them, \xff: only remarks
// and names go this way, never traffic.
func appendText(dst []byte, key, s string) []byte {
	if s == "" {
		return dst
	}
	if !utf8.ValidString(s) {
		s = escapeInvalid(s)
	}
	return appendString(append(dst, key...), s)
}

func escapeInvalid(s string) string {
	var b strings.Builder
	for len(s) > 0 {
		r, n := utf8.DecodeRuneInString(s)
		if r == utf8.RuneError && n == 1 {
			b.WriteString(`\x`)
			b.WriteByte(hexDigits[s[0]>>4])
			b.WriteByte(hexDigits[s[0]&15])
		} else {
			b.WriteString(s[:n])
		}
		s = s[n:]
	}
	return b.String()
}

// appendBase64 appends key and p, or nothing if p is empty.
func appendBase64[S string | []byte](dst []byte, key string, p S) []byte {
	if len(p) == 0 {
		return dst
	}
	dst = append(dst, key...)
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, []byte(p))
	return append(dst, '"')
}

// appendString appends s, which is UTF-8, as a JSON string. Control characters
// are escaped, those beyond ASCII too, so that a line never moves a terminal's
// cursor, and so is what hidden has.
func appendString[S string | []byte](dst []byte, s S) []byte {
	dst = append(dst, '"')
	from := 0
	for i := 0; i < len(s); i++ {
		c := s[i]
		if plain[c] {
			continue
		}
		n := 1 // bytes that the escape stands for
		r := uint16(c)
		if c >= 0x80 {
			if n, r = hidden(s[i:]); n == 0 {
				continue
			}
		}
		dst = append(dst, s[from:i]...)
		if e := shortEscape[c&0x7f]; e != 0 && n == 1 {
			dst = append(dst, '\\', e)
		} else {
			dst = appendEscape(dst, r)
		}
		i += n - 1
		from = i + 1
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

func appendEscape(dst []byte, r uint16) []byte {
	return append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
}

// hidden returns the length of the character that s begins with, and the
// character, if that is a control character beyond ASCII, a line end of Unicode,
// or one of those that change the direction of text or can't be seen: U+061C,
// U+200E and F, U+202A to E, U+2066 to 9, U+FEFF. Otherwise n is 0.
func hidden[S string | []byte](s S) (n int, r uint16) {
	if len(s) < 2 {
		return 0, 0
	}
	switch a, b := s[0], s[1]; {
	case a == 0xc2 && b < 0xa0:
		return 2, uint16(b)
	case a == 0xd8 && b == 0x9c:
		return 2, 0x061c
	case len(s) < 3:
	case a == 0xe2 && b == 0x80:
		if c := s[2]; c == 0x8e || c == 0x8f || c >= 0xa8 && c <= 0xae {
			return 3, 0x2000 | uint16(c&0x3f)
		}
	case a == 0xe2 && b == 0x81:
		if c := s[2]; c >= 0xa6 && c <= 0xa9 {
			return 3, 0x2040 | uint16(c&0x3f)
		}
	case a == 0xef && b == 0xbb && s[2] == 0xbf:
		return 3, 0xfeff
	}
	return 0, 0
}

// AppendJSON appends JSON to dst, with the characters of its strings escaped that
// could mislead a reader, as [Record.Append] does it.
func AppendJSON(dst, json []byte) []byte {
	from := 0
	for i := 0; i < len(json); i++ {
		if json[i] < 0x80 || plain[json[i]] {
			continue
		}
		if n, r := hidden(json[i:]); n > 0 {
			dst = appendEscape(append(dst, json[from:i]...), r)
			i += n - 1
			from = i + 1
		}
	}
	return append(dst, json[from:]...)
}

// plain has the bytes that stand for themselves in a JSON string, or that are
// part of a character that does.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && c != 0xc2 && c != 0xd8 && c != 0xe2 && c != 0xef
	}
	return t
}()

var shortEscape = [128]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// AppendSeconds appends d in seconds, with as many decimals as it needs.
func AppendSeconds(dst []byte, d time.Duration) []byte {
	n := uint64(d)
	if d < 0 {
		dst = append(dst, '-')
		n = -n
	}
	dst = strconv.AppendUint(dst, n/1e9, 10)
	frac := n % 1e9
	if frac == 0 {
		return dst
	}
	var digits [9]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = '0' + byte(frac%10)
		frac /= 10
	}
	dst = append(dst, '.')
	return append(dst, bytes.TrimRight(digits[:], "0")...)
}
