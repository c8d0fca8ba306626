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
// cursor; so are the two line ends of Unicode.
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
		switch {
		case c == 0xc2 && i+1 < len(s):
			if s[i+1] >= 0xa0 {
				continue
			}
			n, r = 2, uint16(s[i+1])
		case c == 0xe2 && i+2 < len(s):
			if s[i+1] != 0x80 || s[i+2]&^1 != 0xa8 {
				continue
			}
			n, r = 3, 0x2028|uint16(s[i+2]&1)
		case c >= 0x80:
			continue
		}
		dst = append(dst, s[from:i]...)
		if e := shortEscape[c&0x7f]; e != 0 && n == 1 {
			dst = append(dst, '\\', e)
		} else {
			dst = append(dst, '\\', 'u', hexDigits[r>>12], hexDigits[r>>8&15], hexDigits[r>>4&15], hexDigits[r&15])
		}
		i += n - 1
		from = i + 1
	}
	dst = append(dst, s[from:]...)
	return append(dst, '"')
}

// plain has the bytes that stand for themselves in a JSON string, or that are
// part of a character that does.
var plain = func() (t [256]bool) {
	for c := range t {
		t[c] = c >= 0x20 && c != '"' && c != '\\' && c != 0x7f && c != 0xc2 && c != 0xe2
	}
	return t
}()

var shortEscape = [128]byte{'"': '"', '\\': '\\', '\b': 'b', '\f': 'f', '\n': 'n', '\r': 'r', '\t': 't'}

// appendSeconds appends d in seconds, with as many decimals as it needs.
func appendSeconds(dst []byte, d time.Duration) []byte {
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
