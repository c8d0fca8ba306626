package har

import (
	"bytes"
	"encoding/base64"
	"io"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

func bytesReader(b []byte) io.Reader { return bytes.NewReader(b) }

// appendString appends s as a JSON string. What is no UTF-8 becomes U+FFFD.
func appendString[T string | []byte](dst []byte, s T) []byte {
	const digits = "0123456789abcdef"
	dst = append(dst, '"')
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c == '\n':
			dst = append(dst, `\n`...)
		case c == '\r':
			dst = append(dst, `\r`...)
		case c == '\t':
			dst = append(dst, `\t`...)
		case c < ' ':
			dst = append(dst, `\u00`...)
			dst = append(dst, digits[c>>4], digits[c&15])
		case c < utf8.RuneSelf:
			dst = append(dst, c)
		default:
			r, n := utf8.DecodeRuneInString(string(s[i:min(len(s), i+utf8.UTFMax)]))
			dst = utf8.AppendRune(dst, r)
			i += n
			continue
		}
		i++
	}
	return append(dst, '"')
}

// appendBase64 appends b as a JSON string, in base64.
func appendBase64(dst, b []byte) []byte {
	dst = append(dst, '"')
	dst = base64.StdEncoding.AppendEncode(dst, b)
	return append(dst, '"')
}

// appendSeconds appends a time in seconds since 1970, with as many digits as it has.
func appendSeconds(dst []byte, t time.Time) []byte { return appendDecimal(dst, t.UnixNano(), 9) }

// appendMillis appends a duration in milliseconds.
func appendMillis(dst []byte, d time.Duration) []byte { return appendDecimal(dst, int64(d), 6) }

// appendDecimal appends n, of which so many digits stand behind the point.
func appendDecimal(dst []byte, n int64, places int) []byte {
	if n < 0 {
		dst = append(dst, '-')
		n = -max(n, -math.MaxInt64)
	}
	s := strconv.FormatInt(n, 10)
	if len(s) <= places {
		s = strings.Repeat("0", places+1-len(s)) + s
	}
	dst = append(dst, s[:len(s)-places]...)
	if fraction := strings.TrimRight(s[len(s)-places:], "0"); fraction != "" {
		dst = append(dst, '.')
		dst = append(dst, fraction...)
	}
	return dst
}

// parseDecimal is the reverse: the number in text times 10 to the power of places,
// which must not be negative.
func parseDecimal(text string, places int) (n int64, ok bool) {
	whole, fraction, _ := strings.Cut(text, ".")
	if digits := whole + fraction; digits == "" || strings.Trim(digits, "0123456789") != "" {
		f, err := strconv.ParseFloat(text, 64) // with an exponent, or no number
		if f *= math.Pow10(places); err != nil || !(f >= 0 && f < math.MaxInt64) {
			return 0, false
		}
		return int64(f), true
	}
	fraction += strings.Repeat("0", places)
	n, err := strconv.ParseInt(whole+fraction[:places], 10, 64)
	return n, err == nil
}

// decodeBase64 decodes text, which may be in the alphabet for URLs, and lack the
// padding. ok is false if it is in neither.
func decodeBase64(text []byte) (b []byte, ok bool) {
	text = bytes.TrimRight(text, "=")
	enc := base64.RawStdEncoding
	if bytes.ContainsAny(text, "-_") {
		enc = base64.RawURLEncoding
	}
	b = make([]byte, enc.DecodedLen(len(text)))
	n, err := enc.Decode(b, text)
	return b[:n], err == nil
}
