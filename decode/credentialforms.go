package decode

import (
	"encoding/base64"
	"strings"
)

// tokenIn reports whether there is a token with a known form in a value.
func tokenIn(value string) bool {
	for word := range strings.FieldsFuncSeq(value, func(r rune) bool { return r >= 0x80 || !isUnreserved(byte(r)) }) {
		if _, to, _ := tokenForm(word); to > 0 {
			return true
		}
	}
	return false
}

// tokenForm finds a token with a known form in a word. to is 0 if there is none.
func tokenForm(word string) (from, to int, name string) {
	const maxTries = 16
	for at, tries := 0, 0; tries < maxTries; tries++ {
		i := strings.Index(word[at:], "eyJ")
		if i < 0 {
			break
		}
		at += i
		if t := jwt(word[at:]); t != "" {
			return at, at + len(t), "jwt"
		}
		at += 3
	}
	if strings.HasPrefix(word, "SFMyNTY.") && len(word) > 30 { // a token of Phoenix
		return 0, len(word), "token"
	}
	for _, prefix := range keyPrefixes {
		if strings.HasPrefix(word, prefix) && len(word) >= len(prefix)+16 {
			return 0, len(word), "key"
		}
	}
	return 0, 0, ""
}

// keyPrefixes begin keys of well-known makers.
var keyPrefixes = []string{"sk-", "AIza", "ghp_", "gho_", "ghs_", "github_pat_", "glpat-", "xoxb-", "xoxp-", "xoxa-", "xapp-", "sk_live_", "sk_test_", "rk_live_"}

// jwt returns the JSON Web Token that s begins with, or "": parts in base64 with
// dots between them, of which the first begins with {".
func jwt(s string) string {
	if !strings.HasPrefix(s, "eyJ") {
		return ""
	}
	n, parts := 0, 0
	for rest := s; parts < 5; parts++ {
		m := 0
		for m < len(rest) && rest[m] != '.' && rest[m] != '~' && isUnreserved(rest[m]) {
			m++
		}
		if parts < 2 && (m < 8 || !isBase64(rest[:m])) {
			return ""
		}
		n += m
		if m == len(rest) || rest[m] != '.' {
			parts++
			break
		}
		if parts == 4 {
			break
		}
		n++
		rest = rest[m+1:]
	}
	if parts < 3 {
		return ""
	}
	return strings.TrimRight(s[:n], ".")
}

func isBase64(s string) bool {
	_, err := base64.RawURLEncoding.DecodeString(s)
	return err == nil
}

// looksRandom reports whether a value of at least n letters and digits looks like
// one that nobody could guess.
func looksRandom(value string, n int) bool {
	var upper, lower, digit bool
	pairs := 0 // of upper case, which names in camel case have few of
	for i, c := range []byte(value) {
		switch {
		case c >= 'A' && c <= 'Z':
			if upper = true; i > 0 && value[i-1] >= 'A' && value[i-1] <= 'Z' {
				pairs++
			}
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		case strings.IndexByte("-_.~+/=", c) < 0:
			return false
		}
	}
	return len(value) >= n && upper && lower && (digit || pairs >= 2)
}

// looksMixed reports whether a value of at least n letters and digits changes
// between these as no name or number does. One in hexadecimal, such as a UUID, is
// that of a thing as often.
func looksMixed(value string, n int) bool {
	const enough = 3
	changes, hexadecimal := 0, true
	for i := range len(value) {
		c := value[i]
		if !isUnreserved(c) {
			return false
		}
		hexadecimal = hexadecimal && strings.IndexByte("0123456789abcdefABCDEF-", c) >= 0
		if i > 0 && isAlnum(c) && isAlnum(value[i-1]) && isDigit(c) != isDigit(value[i-1]) {
			changes++
		}
	}
	return len(value) >= n && changes >= enough && !hexadecimal
}

func isDigit(c byte) bool { return c >= '0' && c <= '9' }

func isAlnum(c byte) bool { return isUnreserved(c) && strings.IndexByte("-_.~", c) < 0 }
