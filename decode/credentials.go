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

// CredentialHeader reports whether the value of a header is a credential as a
// whole.
func CredentialHeader(name string) bool {
	name = strings.ToLower(name)
	if strings.HasPrefix(name, "sec-websocket-") {
		return false
	}
	if credentialHeaders[name] {
		return true
	}
	for _, end := range []string{"-token", "-secret", "-password", "-authorization", "-api-key", "-apikey"} {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

var credentialHeaders = set("authorization", "cookie", "set-cookie", "cookie2", "set-cookie2", "authentication",
	"api-key", "apikey", "token", "x-auth", "x-session-id", "dpop", "ocp-apim-subscription-key", "x-functions-key",
	"cf-access-jwt-assertion", "x-amzn-oidc-data", "x-amzn-oidc-accesstoken")

// CredentialParam reports whether a parameter of a query is a credential, and
// whether its protocol has to put it there.
func CredentialParam(name, value string) (ok, routine bool) {
	if value == "" || IsPlaceholder(value) {
		return false, false
	}
	switch name = plainName(name); name {
	case "sid": // of Engine.IO
		return true, true
	case "id": // the connection token of SignalR
		return looksRandom(value, 22), true
	case "key":
		return looksRandom(value, 30), false
	case "header", "payload": // of AppSync: JSON in base64
		return strings.HasPrefix(value, "eyJ") && len(value) > 16, false
	}
	return credentialParams[name] || credentialKeys[name], false
}

var credentialParams = set("token", "auth", "sig", "session", "bearer", "pwd", "ticket", "signature",
	"xamzsignature", "xamzsecuritytoken", "xgoogsignature")

// isTicket reports whether a parameter is probably good for a short time only: by
// its name, and because its value has neither the length nor the form of a token
// that is good for long.
func isTicket(name, value string) bool {
	switch plainName(name) {
	case "token", "session", "ticket":
		return len(value) < 32 && !tokenIn(unescape(value))
	}
	return false
}

// CredentialKey reports whether the value of a member of a JSON object is a
// credential. A number is given as it is written.
func CredentialKey(name, value string) bool {
	if value == "" || IsPlaceholder(value) {
		return false
	}
	switch name = plainName(name); name {
	case "token", "auth", "signature", "secret": // that are other things as often
		return len(value) >= 16 && !strings.ContainsAny(value, " \t\n{[")
	case "sid": // of Engine.IO
		return true
	}
	return credentialKeys[name]
}

var credentialKeys = set("accesstoken", "connectiontoken", "reconnectiontoken", "awpsreconnectiontoken", "refreshtoken",
	"idtoken", "authtoken", "sessiontoken", "bearertoken", "apikey", "xapikey", "clientsecret", "secret", "password",
	"passwd", "passcode", "authorization", "authentication", "jwt", "privatekey", "cookie")

// plainName returns a name without what different spellings of it differ in.
func plainName(name string) string {
	if strings.ContainsAny(name, "_-") {
		name = strings.ReplaceAll(strings.ReplaceAll(name, "_", ""), "-", "")
	}
	return strings.ToLower(name)
}

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
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
	"bearer.", "bearer-", "authorization.bearer.", "authorization.", "access_token.", "access-token.", "auth-token.", "token.", "jwt."}

var protocolLeads = set("bearer", "access_token", "access-token", "authorization", "auth", "token", "jwt", "api-key", "apikey")

// FindCredentials returns the credentials in a text, such as a URL: in order, and
// without those that are placeholders.
func FindCredentials(text string) []Credential {
	var found []Credential
	ended := 0 // where the last value ends; those that begin in it end there too
	for i := 0; i < len(text); {
		switch c := text[i]; {
		case isParamLead(c):
			name, from, to := paramAt(text, i, ended)
			if to > from {
				const enough = 512 // bytes of a value to know it by
				ok, routine := CredentialParam(name, unescape(text[from:min(to, from+enough)]))
				if ok || to != ended && tokenIn(unescape(text[from:to])) {
					found = append(found, Credential{From: from, To: to, Name: name, Param: true, Routine: routine, Ticket: isTicket(name, text[from:to])})
					i, ended = to, to
					continue
				}
				ended = to
			}
		case c == ':' && strings.HasPrefix(text[i:], "://"):
			i += 3
			rest := text[i:]
			authority := rest[:endOf(rest, "/?#\\")]
			at := strings.LastIndexByte(authority, '@')
			if colon := strings.IndexByte(authority[:max(at, 0)], ':'); colon >= 0 && colon+1 < at && !IsPlaceholder(authority[colon+1:at]) {
				found = append(found, Credential{From: i + colon + 1, To: i + at, Name: "password", Password: true})
				i += at
			}
			continue
		case isUnreserved(c):
			n := 1
			for i+n < len(text) && isUnreserved(text[i+n]) {
				n++
			}
			if from, to, name := tokenForm(text[i : i+n]); to > 0 {
				found = append(found, Credential{From: i + from, To: i + to, Name: name})
			} else if n == 6 && (strings.EqualFold(text[i:i+n], "bearer") || strings.EqualFold(text[i:i+n], "basic")) && strings.HasPrefix(text[i+n:], " ") {
				rest := text[i+n+1:]
				if m := endOf(rest, ",;"); m >= 8 && strings.ContainsAny(rest[:m], "0123456789") && !IsPlaceholder(rest[:m]) {
					found = append(found, Credential{From: i + n + 1, To: i + n + 1 + m, Name: "token"})
					n += 1 + m
				}
			}
			i += n
			continue
		}
		i++
	}
	return found
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
	if to = ended; from > ended {
		to = from + endOf(text[from:], "&;#")
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
	for _, c := range []byte(value) {
		switch {
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		case strings.IndexByte("-_.~+/=", c) < 0:
			return false
		}
	}
	return len(value) >= n && upper && lower && (digit || len(value) > n)
}
