package decode

import "strings"

// Names are compared without what different spellings of them differ in: see
// plainName. One list serves parameters, members of JSON objects and headers.

// credentialNames are always those of credentials.
var credentialNames = set("accesstoken", "connectiontoken", "reconnectiontoken", "awpsreconnectiontoken", "refreshtoken",
	"idtoken", "authtoken", "sessiontoken", "bearertoken", "apikey", "xapikey", "clientsecret", "secret", "password",
	"passwd", "passcode", "authorization", "authentication", "jwt", "privatekey", "cookie")

// paramNames are those of credentials too in a URL, where nothing else is called
// so.
var paramNames = set("token", "auth", "sig", "session", "bearer", "pwd", "ticket", "signature",
	"xamzsignature", "xamzsecuritytoken", "xgoogsignature")

// hiddenNames are worth hiding wherever they stand, and not worth a remark.
var hiddenNames = set("sessionid", "phpsessid", "jsessionid", "aspnetsessionid", "connectsid", "csrf", "xsrf", "pass",
	"pwd", "passphrase", "bearer", "credential", "credentials", "listenkey", "cookies", "setcookie")

// hiddenEnds end the names of what is worth hiding if it is as long as a secret.
var hiddenEnds = []string{"token", "secret", "password", "apikey", "secretkey", "accesskey", "privatekey", "sessionid",
	"signature", "credential", "credentials", "authorization", "authenticationinfo"}

// headerNames are those of headers that are credentials as a whole, besides the
// others.
var headerNames = set("setcookie", "cookie2", "setcookie2", "token", "xauth", "xsessionid", "dpop",
	"ocpapimsubscriptionkey", "xfunctionskey", "cfaccessjwtassertion", "xjwtassertion", "xauthkey", "xkey", "xsession", "xamznoidcdata", "xamznoidcaccesstoken")

// CredentialHeader reports whether the value of a header is a credential as a
// whole.
func CredentialHeader(name string) bool {
	name = plainName(name)
	return !strings.HasPrefix(name, "secwebsocket") && (credentialNames[name] || headerNames[name] || hasHiddenEnd(name))
}

// CredentialParam reports whether a parameter of a query is a credential, and
// whether that is not worth a remark: its protocol has to put it there, or only
// its name says so.
func CredentialParam(name, value string) (ok, routine bool) {
	if value == "" || IsPlaceholder(value) {
		return false, false
	}
	switch name = plainName(name); name {
	case "sid": // of Engine.IO
		return true, true
	case "id": // the connection token of SignalR
		return looksRandom(value, 22) || looksMixed(value, 12), true
	case "key":
		return looksRandom(value, 30), false
	case "header", "payload": // of AppSync: JSON in base64
		return strings.HasPrefix(value, "eyJ") && len(value) > 16, false
	}
	if credentialNames[name] || paramNames[name] {
		return true, false
	}
	return isHidden(name, value), true
}

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
	case "token", "auth", "signature", "sessionid": // that are other things as often
		return len(value) >= 16 && !strings.ContainsAny(value, " \t\n{[")
	case "sid": // of Engine.IO
		return true
	}
	return credentialNames[name] || isHidden(name, value)
}

// CredentialMember reports whether all strings and numbers below a member of a
// JSON object are credentials, by its name.
func CredentialMember(name string) bool { return credentialNames[plainName(name)] }

// isHidden reports whether a value is worth hiding by its name, which is plain.
func isHidden(name, value string) bool {
	const enough = 8 // bytes of a value that its name alone does not tell of
	return hiddenNames[name] || len(value) >= enough && !strings.ContainsAny(value, " \t\n{[") && hasHiddenEnd(name)
}

func hasHiddenEnd(name string) bool {
	for _, end := range hiddenEnds {
		if strings.HasSuffix(name, end) {
			return true
		}
	}
	return false
}

// plainName returns a name without what different spellings of it differ in: the
// case, signs between words, and the brackets of a name such as auth[token][],
// which is that of the innermost that has one.
func plainName(name string) string {
	if i := strings.IndexByte(name, '['); i > 0 {
		parts := strings.FieldsFunc(name, func(c rune) bool { return c == '[' || c == ']' })
		name = parts[len(parts)-1]
	}
	if strings.ContainsAny(name, "_-.") {
		name = signs.Replace(name)
	}
	return strings.ToLower(name)
}

var signs = strings.NewReplacer("_", "", "-", "", ".", "")

func set(names ...string) map[string]bool {
	m := make(map[string]bool, len(names))
	for _, n := range names {
		m[n] = true
	}
	return m
}
