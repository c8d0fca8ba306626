package decode

import (
	"encoding/base64"
	"encoding/hex"
	"strings"
)

// What is a credential is said here and nowhere else: the rules that advise
// against one and whoever takes them out of a trace look at the same lists.

// A Credential is a stretch of a text that should not get into logs.
type Credential struct {
	From, To int    // where it stands
	Name     string // what it is called: the parameter, or the form that it has
	Param    bool   // it is the value of a parameter
	Password bool   // it stands behind the user in a URL

	// Routine says that the protocol has to put it there. It is worth hiding,
	// and not worth a remark.
	Routine bool

	// Ticket says that it is called and as short as a ticket that is made for one
	// connection, such as the token of Vite.
	Ticket bool
}

// IsPlaceholder reports whether s is what stands in place of a secret:
// redacted-NAME-NUMBER.
func IsPlaceholder(s string) bool { _, _, ok := CutPlaceholder(s); return ok }

// CutPlaceholder returns the name and the number of a placeholder.
func CutPlaceholder(s string) (name, number string, ok bool) {
	rest, ok := strings.CutPrefix(s, "redacted-")
	i := strings.LastIndexByte(rest, '-')
	if !ok || i <= 0 || i+1 == len(rest) || len(rest)-i > 19 {
		return "", "", false
	}
	name, number = rest[:i], rest[i+1:]
	for _, c := range []byte(name) {
		if !isUnreserved(c) || c >= 'A' && c <= 'Z' {
			return "", "", false
		}
	}
	for _, c := range []byte(number) {
		if c < '0' || c > '9' {
			return "", "", false
		}
	}
	return name, number, true
}

// CredentialProtocol reports whether the subprotocol at i of those offered, or
// chosen, is a credential, and where in it that begins.
func CredentialProtocol(protocols []string, i int) (from int, ok bool) {
	p := protocols[i]
	lower := strings.ToLower(p)
	for _, prefix := range protocolPrefixes {
		if strings.HasPrefix(lower, prefix) && len(p) > len(prefix)+4 {
			return len(prefix), !IsPlaceholder(p[len(prefix):])
		}
	}
	if rest, ok := strings.CutPrefix(p, "header-eyJ"); ok && len(rest) > 8 { // AppSync
		return len("header-"), true
	}
	if IsPlaceholder(p) {
		return 0, false
	}
	if i > 0 && len(p) >= 6 && !registeredSubprotocols[p] && protocolLeads[strings.ToLower(protocols[i-1])] {
		return 0, true // the one before says so
	}
	for _, c := range FindCredentials(p) {
		if !c.Param {
			return c.From, true
		}
	}
	if b, err := base64.RawURLEncoding.DecodeString(p); err == nil && len(jwt(string(b))) > 0 {
		return 0, true
	}
	return 0, false
}

var protocolPrefixes = []string{"base64url.bearer.authorization.k8s.io.", "openai-insecure-api-key.", "openai-ephemeral-token.",
	"bearer.", "bearer-", "authorization.bearer.", "authorization.", "access_token.", "access-token.", "auth-token.", "auth.", "token.", "jwt."}

var protocolLeads = set("bearer", "access_token", "access-token", "authorization", "auth", "token", "jwt", "api-key", "apikey")

// FindCredentials returns the credentials in a text, such as a URL: in order, and
// without those that are placeholders.
func FindCredentials(text string) []Credential {
	const enough = 512 // bytes of a value to know it by
	var found []Credential
	ended := 0 // where the last value ends; those that begin in it end there too
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case isParamLead(c):
			name, from, to := paramAt(text, i, ended)
			if to > from {
				ok, routine := CredentialParam(name, unescape(text[from:min(to, from+enough)]))
				if ok || to != ended && tokenIn(unescape(text[from:to])) {
					found = append(found, Credential{From: from, To: to, Name: name, Param: true, Routine: ok && routine, Ticket: isTicket(name, text[from:to])})
					i, ended = to, to
					continue
				}
				ended = to
			}
		case c == ':' && strings.HasPrefix(text[i:], "://"), c == '/' && strings.HasPrefix(text[i:], "//"):
			i += strings.Index(text[i:], "//") + 2
			if u, ok := userinfo(text[i:], c == '/'); ok {
				found = append(found, Credential{From: i + u.From, To: i + u.To, Name: u.Name, Password: true, Routine: u.Routine})
				i += u.To
			}
			continue
		case isUnreserved(c):
			n := 1
			for i+n < len(text) && isUnreserved(text[i+n]) {
				n++
			}
			if from, to, name := tokenForm(text[i : i+n]); to > 0 {
				found = append(found, Credential{From: i + from, To: i + to, Name: name})
			} else if (strings.EqualFold(text[i:i+n], "bearer") || strings.EqualFold(text[i:i+n], "basic")) && strings.HasPrefix(text[i+n:], " ") {
				rest := text[i+n+1:]
				if m := endOf(rest, ",;"); m >= 8 && strings.ContainsAny(rest[:m], "0123456789") && !IsPlaceholder(rest[:m]) {
					found = append(found, Credential{From: i + n + 1, To: i + n + 1 + m, Name: "token"})
					n += 1 + m
				}
			} else if i+n < len(text) && text[i+n] == '=' { // of a form, or of prose
				from := i + n + 1
				to := ended
				if from > ended {
					from, to = assigned(text, from)
				}
				if to > from && CredentialKey(text[i:i+n], unescape(text[from:min(to, from+enough)])) {
					found = append(found, Credential{From: from, To: to, Name: text[i : i+n], Param: true, Routine: true})
					n = to - i
				}
				ended = max(ended, to)
			}
			i += n
			continue
		case c == '<':
			if name, from, to := element(text, i); to > from && CredentialKey(name, text[from:min(to, from+enough)]) {
				found = append(found, Credential{From: from, To: to, Name: name, Param: true, Routine: true})
				i = to
				continue
			}
		}
		i++
	}
	return found
}

// maxValue is how long a value in quotes or in an element may be, in bytes.
const maxValue = 4096

// assigned returns where the value stands that is assigned at text[from].
func assigned(text string, from int) (int, int) {
	if q := text[from:min(from+1, len(text))]; q == "\"" || q == "'" {
		if n := strings.Index(text[from+1:min(from+1+maxValue, len(text))], q); n >= 0 {
			return from + 1, from + 1 + n
		}
	}
	return from, from + endOf(text[from:], "&;#,)}")
}

// element returns the name and the text of an element of XML that begins at
// text[i].
func element(text string, i int) (name string, from, to int) {
	rest := text[i+1 : min(i+maxValue, len(text))]
	n := 0
	for n < len(rest) && (isUnreserved(rest[n]) || rest[n] == ':') {
		n++
	}
	end := strings.IndexAny(rest[n:], "<>")
	if n == 0 || end < 0 || rest[n+end] != '>' {
		return "", 0, 0
	}
	from = i + 1 + n + end + 1
	length := strings.IndexByte(text[from:min(from+maxValue, len(text))], '<')
	if length < 0 {
		return "", 0, 0
	}
	name = rest[:n]
	return name[strings.LastIndexByte(name, ':')+1:], from, from + length
}

// userinfo returns what is secret of the user information that an authority
// begins with: the password, or a user alone who looks like a token.
func userinfo(rest string, lenient bool) (c Credential, ok bool) {
	authority := rest[:endOf(rest, "/?#\\")]
	at := strings.LastIndexByte(authority, '@')
	if at < 0 {
		return c, false
	}
	user := authority[:at]
	if colon := strings.IndexByte(user, ':'); colon >= 0 {
		return Credential{From: colon + 1, To: at, Name: "password", Routine: lenient}, colon+1 < at && !IsPlaceholder(user[colon+1:])
	}
	_, form, _ := tokenForm(user)
	return Credential{To: at, Name: "user", Routine: true}, !IsPlaceholder(user) && (form > 0 || looksRandom(user, 16) || looksMixed(user, 12))
}

// Params calls f for each parameter in a text, such as a URL: its name as it is
// meant, and where its value stands.
func Params(text string, f func(name string, from, to int)) {
	ended := 0
	for i := 0; i < len(text); i++ {
		if isParamLead(text[i]) {
			if name, from, to := paramAt(text, i, ended); name != "" {
				f(name, from, to)
				ended = to
			}
		}
	}
}

func isParamLead(c byte) bool { return c == '?' || c == '&' || c == ';' || c == '#' }

// paramAt returns the parameter that begins behind text[i], with to 0 if there
// is none. The value before it ends at ended, and one that begins in that one
// ends there too, so that no text is searched twice.
func paramAt(text string, i, ended int) (name string, from, to int) {
	j := i + 1
	for j < len(text) && j-i < 200 && (isUnreserved(text[j]) || strings.IndexByte("%+[]$", text[j]) >= 0) {
		j++
	}
	if j == i+1 || j == len(text) || text[j] != '=' {
		return "", 0, 0
	}
	from = j + 1
	stops := "&;#"
	if text[i] == ';' { // in the path (RFC 3986 §3.3), most likely
		stops = "&;#?"
	}
	if to = ended; from > ended {
		to = from + endOf(text[from:], stops)
	}
	return unescape(text[i+1 : j]), from, to
}

// endOf returns where in text the first white space, quote or one of others is.
func endOf(text, others string) int {
	for i := 0; i < len(text); i++ {
		if c := text[i]; c <= ' ' || c == '"' || c == '\'' || c == '<' || c == '>' || c == '\\' || c == 0x7f || strings.IndexByte(others, c) >= 0 {
			return i
		}
	}
	return len(text)
}

// unescape returns a part of a query as it was before it was escaped.
func unescape(s string) string {
	if strings.IndexByte(s, '%') < 0 && strings.IndexByte(s, '+') < 0 {
		return s
	}
	b := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		c := s[i]
		var x [1]byte
		if c == '%' && i+2 < len(s) {
			if _, err := hex.Decode(x[:], []byte(s[i+1:i+3])); err == nil {
				c = x[0]
				i += 2
			}
		} else if c == '+' {
			c = ' '
		}
		b = append(b, c)
	}
	return string(b)
}

func isUnreserved(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_' || c == '.' || c == '~'
}
