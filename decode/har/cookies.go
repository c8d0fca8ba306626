package har

import (
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// appendCookies appends the cookies of a head, as elements of an array.
func appendCookies(dst []byte, h *decode.Head) []byte {
	begin := len(dst)
	add := func(pair string) bool {
		name, value, ok := strings.Cut(pair, "=")
		if name = strings.TrimSpace(name); !ok || name == "" {
			return false
		}
		if len(dst) > begin {
			dst = append(dst, ',')
		}
		dst = appendPair(dst, name, strings.TrimSpace(value))
		return true
	}
	if h.Status == 0 {
		for pair := range strings.SplitSeq(strings.Join(h.Values("Cookie"), ";"), ";") {
			add(pair)
		}
		return dst
	}
	for _, value := range h.Values("Set-Cookie") {
		pair, attributes, _ := strings.Cut(value, ";")
		if !add(pair) {
			continue
		}
		dst = dst[:len(dst)-1] // its brace
		dst = append(appendAttributes(dst, attributes), '}')
	}
	return dst
}

// appendAttributes appends the attributes of a cookie that HAR has names for.
func appendAttributes(dst []byte, attributes string) []byte {
	var path, domain, expires string
	var httpOnly, secure bool
	for attribute := range strings.SplitSeq(attributes, ";") {
		name, value, _ := strings.Cut(attribute, "=")
		value = strings.TrimSpace(value)
		switch strings.ToLower(strings.TrimSpace(name)) {
		case "path":
			path = value
		case "domain":
			domain = value
		case "expires":
			expires = isoDate(value)
		case "httponly":
			httpOnly = true
		case "secure":
			secure = true
		}
	}
	for _, a := range [][2]string{{"path", path}, {"domain", domain}, {"expires", expires}} {
		if a[1] != "" {
			dst = appendString(append(dst, `,"`+a[0]+`":`...), a[1])
		}
	}
	if httpOnly {
		dst = append(dst, `,"httpOnly":true`...)
	}
	if secure {
		dst = append(dst, `,"secure":true`...)
	}
	return dst
}

// isoDate returns a date of HTTP (RFC 9110 §5.6.7, RFC 6265 §5.1.1) as HAR has it, or
// nothing if it can't be read.
func isoDate(s string) string {
	for _, layout := range []string{"Mon, 02 Jan 2006 15:04:05 MST", "Mon, 02-Jan-2006 15:04:05 MST", "Monday, 02-Jan-06 15:04:05 MST", time.ANSIC} {
		if t, err := time.Parse(layout, s); err == nil {
			return t.UTC().Format(time.RFC3339)
		}
	}
	return ""
}
