package decode

import "strings"

// CookieValues calls f for each value that is secret in a header called Cookie or
// Set-Cookie, in any case, and where it stands, without its quotes: the value of each
// cookie, and that of an attribute that is not known. Names, and the attributes of
// RFC 6265 §4.1, are no secrets. It reports whether the header is one of these and can
// be read so; if not, all of the value may be secret, and f is not called.
func CookieValues(header, value string, f func(from, to int)) bool {
	set := strings.EqualFold(header, "Set-Cookie")
	if !set && !strings.EqualFold(header, "Cookie") {
		return false
	}
	var spans [][2]int
	at := 0 // where the part begins
	for i, part := range strings.Split(value, ";") {
		start := at
		at += len(part) + 1
		name, v, paired := strings.Cut(part, "=")
		name, v = strings.Trim(name, " \t"), strings.Trim(v, " \t")
		if set && i > 0 {
			if known, good := cookieAttribute(name, v); known && good {
				continue
			} else if known {
				return false
			}
		}
		switch {
		case name == "" && !paired && !(set && i == 0):
			continue // semicolons that follow each other, or the last one
		case !paired, !isToken(name):
			return false
		case v == "" && isBase64Start(name), v != "" && strings.Trim(v, "=") == "":
			return false
		}
		from := start + strings.IndexByte(part, '=') + 1
		from += strings.Index(value[from:], v)
		to := from + len(v)
		if strings.HasPrefix(v, `"`) {
			if len(v) < 2 || v[len(v)-1] != '"' {
				return false // the value goes on behind the semicolon
			}
			from, to = from+1, to-1
		}
		if from < to {
			spans = append(spans, [2]int{from, to})
		}
	}
	for _, s := range spans {
		f(s[0], s[1])
	}
	return true
}

// isBase64Start reports whether a name without a value may be a value without a name:
// base64 that ends in =.
func isBase64Start(name string) bool {
	const shortest = 15 // bytes
	if len(name) < shortest || len(name)%4 != 3 {
		return false
	}
	lower, upper := strings.ToLower(name), strings.ToUpper(name)
	return strings.ContainsAny(name, "0123456789") && lower != upper || lower != name && upper != name
}

// cookieAttribute reports whether a part of Set-Cookie is an attribute, and whether it
// has a value that it can have. If not, there may be another cookie behind a comma.
func cookieAttribute(name, value string) (known, good bool) {
	switch strings.ToLower(name) {
	case "secure", "httponly", "partitioned":
		return true, value == "" || strings.EqualFold(value, "true")
	case "samesite", "priority":
		switch strings.ToLower(value) {
		case "", "strict", "lax", "none", "low", "medium", "high":
			return true, true
		}
		return true, false
	case "max-age":
		return true, strings.Trim(value, "-0123456789") == ""
	case "expires": // "Wed, 09 Jun 2027 10:18:14 GMT", with other signs, or 0
		return true, len(value) < 48 && hasOnly(value, ` ,:-+"`)
	case "domain":
		return true, hasOnly(value, ".-_:[]")
	case "path":
		return true, !strings.ContainsAny(value, ", \t=")
	}
	return false, false
}

// hasOnly reports whether s consists of letters, digits and some signs.
func hasOnly(s, signs string) bool {
	for _, c := range []byte(s) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') && strings.IndexByte(signs, c) < 0 {
			return false
		}
	}
	return true
}
