package decode

import (
	"slices"
	"strings"
)

// adviseRequest looks for what is legal in a request but seldom intended.
func (j *judge) adviseRequest(h *Head) {
	if j.mute {
		return
	}
	say := func(field string, id RuleID, format string, args ...any) {
		j.field(FromClient, field, id, format, args...)
	}
	origin, hasOrigin := h.Lookup("Origin")
	switch {
	case !hasOrigin:
		say("Origin", "origin-missing", "no Origin header, as from a program that is not a browser")
	case origin == "null":
		say("Origin", "origin-null", "Origin is null, as from a sandboxed frame or a file")
	}
	if n := len(h.Raw); n > 8<<10 {
		say("", "cookie-large", "the head is %d bytes, many servers take 8192", n)
	}
	for _, f := range h.Fields {
		switch name := strings.ToLower(f.Name); name {
		case "sec-websocket-origin", "sec-websocket-key1", "sec-websocket-key2", "sec-websocket-draft":
			say("", "redundant-headers", "%s is a header of a draft", f.Name)
		}
	}
	j.adviseURL(h)
	offered := h.Tokens("Sec-WebSocket-Protocol")
	for i, p := range offered {
		if from, ok := CredentialProtocol(offered, i); ok {
			say(fieldProtocol, "token-in-subprotocol", "a subprotocol offered looks like a credential of %d characters", len(p)-from)
		}
	}
	if j.plain() {
		host := hostOf(h.Get("Host"))
		if strings.HasPrefix(strings.ToLower(origin), "https://") && !isLoopback(host) && !IsPlaceholder(host) {
			say("Origin", "mixed-content", "the page of %.60q came over https, the connection is ws", origin)
		}
		// A name may be that of this machine, which the address tells if it is known.
		if server := j.serverHost(); server != "" && !isLoopback(server) && !isLoopback(hostOf(j.info.Server)) && !IsPlaceholder(server) {
			say("", "plaintext-remote", "ws:// to %.60q, everyone on the way can read and change it", server)
		}
	}
	if client := j.client(); client != "" {
		if n := j.seen.connected(client, j.now); n >= backoffTimes {
			say("", "reconnect-no-backoff", "connects again at once after the server refused or ended the connection, %d times in a row", n)
		}
	}
}

// client identifies the program of the client and what it connects to, for Seen. It
// returns "" if that is not known: behind a proxy all clients have one address.
func (j *judge) client() string {
	if j.info.incomplete() || j.info.Client == "" || j.hs.Request == nil || j.seen == nil {
		return ""
	}
	var id strings.Builder
	id.WriteString(hostOf(j.info.Client) + " " + j.info.Server + " " + j.hs.Request.Target)
	for _, f := range j.hs.Request.Fields {
		switch name := strings.ToLower(f.Name); {
		case name == "forwarded", name == "via", name == "x-real-ip", strings.HasPrefix(name, "x-forwarded-"):
			return ""
		case name != "sec-websocket-key":
			id.WriteString("\n" + f.Name + ":" + f.Value)
		}
	}
	return id.String()
}

// failed reports whether the server refused the connection or ended it without a
// Close, so that a client had better wait before it comes again. To authenticate or
// to change the version is the client's turn at once, and one that got no answer, or
// ended the connection itself, may have every reason to.
func (j *judge) failed() bool {
	if !j.hs.Accepted {
		res := j.hs.Response
		return res != nil && res.Status >= 400 && res.Status != 401 && res.Status != 407 && res.Status != 426
	}
	v := &j.totals.Verdict
	return !j.verdict.closed && j.ended > 0 && v.How.bySide() && v.Ended == FromServer && !v.Unknown
}

// plain reports whether it is known that the client does not use TLS.
func (j *judge) plain() bool {
	return j.info.ClientTLS == nil && strings.HasPrefix(strings.ToLower(j.info.URL), "ws://")
}

// serverHost returns the host in the URL that the client asked for.
func (j *judge) serverHost() string {
	_, rest, ok := strings.Cut(j.info.URL, "://")
	if !ok {
		return ""
	}
	rest = rest[:strings.IndexAny(rest+"/", "/?#")]
	return hostOf(rest[strings.LastIndexByte(rest, '@')+1:])
}

// adviseURL looks for credentials in the target.
func (j *judge) adviseURL(h *Head) {
	for _, c := range FindCredentials(h.Target) {
		switch {
		case c.Routine:
		case c.Password:
			j.field(FromClient, "", "basic-auth-in-url", "the target holds a user name and a password")
		case c.Param:
			sev := SeverityWarning
			if c.Ticket {
				sev = SeverityInfo
			}
			j.fieldAs(sev, FromClient, "", "token-in-url", "the query has a credential, %.40q, which ends up in logs", c.Name)
		default:
			j.field(FromClient, "", "token-in-url", "the target has a credential of %d characters, which ends up in logs", c.To-c.From)
		}
	}
}

// adviseResponse looks for what is legal in a 101 but seldom intended.
func (j *judge) adviseResponse(h *Head) {
	req := j.hs.asked()
	say := func(field string, id RuleID, format string, args ...any) {
		j.field(FromServer, field, id, format, args...)
	}
	if took := j.now.Sub(j.requested); took > answerSoon {
		say("", "handshake-slow", "the 101 came %s after the request", seconds(took))
	}
	origin := req.Get("Origin")
	if _, cookie := req.Lookup("Cookie"); cookie && origin != "" {
		hosts := []string{hostOf(j.hs.Request.Get("Host")), hostOf(req.Get("Host")), j.serverHost()}
		if from := originHost(origin); from != "" && !slices.ContainsFunc(hosts, func(h string) bool { return sameSite(from, h) }) {
			say("Origin", "origin-not-checked", "accepts cookies from a page of %.60q, any other page may do the same", origin)
		}
	}
	_, chose := h.Lookup("Sec-WebSocket-Protocol")
	if offered := req.Tokens("Sec-WebSocket-Protocol"); len(offered) > 0 && !chose {
		say(fieldProtocol, "subprotocol-none-selected", "none of the subprotocols %.80q is chosen, some clients then give up", offered)
	}
	if p := j.hs.Subprotocol; chose && isToken(p) && !registeredSubprotocols[p] {
		say(fieldProtocol, "subprotocol-unregistered", "subprotocol %.60q is not registered", p)
	}
}
