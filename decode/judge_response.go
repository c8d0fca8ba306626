package decode

import (
	"slices"
	"strings"
)

// accepted judges the response that accepts a request for websocket.
func (j *judge) accepted(h *Head) {
	j.head(FromServer, h)
	if !h.http2() {
		j.keyUsed()
	}
	j.answer(j.hs.asked(), h)
	j.relayed(h)
	if v, ok := h.Lookup("Content-Length"); ok {
		sev := SeverityError
		if v == "0" { // nobody waits for a body
			sev = SeverityWarning
		}
		j.fieldAs(sev, FromServer, "", "res-101-content-length", "Content-Length %.20q in the 101", v)
	}
	if v, ok := h.Lookup("Transfer-Encoding"); ok {
		j.field(FromServer, "", "res-101-transfer-encoding", "Transfer-Encoding %.20q in the 101", v)
	}
	j.adviseResponse(h)
}

// answer judges what h, which accepts a request for websocket, says to asked.
func (j *judge) answer(asked, h *Head) {
	if !h.http2() {
		j.upgradeResponse(asked, h)
	}
	j.checkSubprotocol(asked, h)
	j.checkAccepted(asked, h)
}

// reject adds a violation in the response for which the client must fail the
// connection (RFC 6455 §4.1, RFC 7692 §7).
func (j *judge) reject(name string, id RuleID, format string, args ...any) {
	if j.rejected == "" {
		j.rejected = id
	}
	j.field(FromServer, name, id, format, args...)
}

// upgradeResponse judges the header fields that accept the upgrade
// (RFC 6455 §4.2.2).
func (j *judge) upgradeResponse(asked, h *Head) {
	bad := func(field string, id RuleID, format string, args ...any) {
		j.field(FromServer, field, id, format, args...)
	}
	if h.Proto != "HTTP/1.1" {
		bad("", "res-http-version", "the 101 is %.20s, not HTTP/1.1", h.Proto)
	}
	if j.badRequest != "" {
		bad("", "res-101-bad-handshake", "101 to a request that breaks %s", j.badRequest)
	}
	if values := h.Values("Upgrade"); values == nil {
		j.reject("Upgrade", "res-upgrade-missing", "no Upgrade header in the 101")
	} else if v := strings.Join(values, ", "); !strings.EqualFold(v, "websocket") { // several lines are a list (RFC 9110 §5.3)
		j.reject("Upgrade", "res-upgrade-wrong", "Upgrade is %.40q, not websocket", v)
	}
	if !h.HasToken("Connection", "Upgrade") {
		j.reject("Connection", "res-connection-missing", "Connection is %.60q, without Upgrade", strings.Join(h.Values("Connection"), ", "))
	} else if v := strings.Join(h.Values("Connection"), ", "); !strings.EqualFold(v, "Upgrade") {
		bad("Connection", "res-connection-options", "Connection is %.60q, which the client of .NET refuses", v)
	}
	accept, key := h.Get(fieldAccept), asked.Get(fieldKey)
	switch accepts := h.Values(fieldAccept); {
	case len(accepts) > 1:
		bad(fieldAccept, "res-accept-duplicate", "%d Sec-WebSocket-Accept headers", len(accepts))
	case accept == "":
		j.reject(fieldAccept, "res-accept-missing", "no Sec-WebSocket-Accept")
	case key != "" && accept != AcceptKey(key):
		hint := ""
		if accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			hint = "; it is the sample of RFC 6455"
		}
		j.reject(fieldAccept, "res-accept-mismatch", "accept is %.60q, key %.60q makes %q%s", accept, key, AcceptKey(key), hint)
	}
}

// checkSubprotocol judges the subprotocol chosen.
func (j *judge) checkSubprotocol(asked, h *Head) {
	chosen := h.Values("Sec-WebSocket-Protocol")
	bad := func(field string, id RuleID, format string, args ...any) {
		j.field(FromServer, field, id, format, args...)
	}
	switch {
	case len(chosen) == 0:
		return
	case len(chosen) > 1:
		bad(fieldProtocol, "res-protocol-multiple", "%d Sec-WebSocket-Protocol headers: %.80q", len(chosen), chosen)
		return
	case strings.Contains(chosen[0], ","):
		bad(fieldProtocol, "res-protocol-multiple", "%.80q is a list, the server chooses one", chosen[0])
		return
	case chosen[0] == "":
		bad(fieldProtocol, "res-protocol-empty", "Sec-WebSocket-Protocol is empty, without a choice it is left out")
		return
	case !isToken(chosen[0]):
		bad(fieldProtocol, "res-protocol-empty", "subprotocol %.60q is not a token", chosen[0])
		return
	}
	offered := asked.Tokens("Sec-WebSocket-Protocol")
	if slices.Contains(offered, chosen[0]) {
		return
	}
	hint := ""
	if slices.ContainsFunc(offered, func(p string) bool { return strings.EqualFold(p, chosen[0]) }) {
		hint = "; the case differs"
	}
	j.reject(fieldProtocol, "res-protocol-not-offered", "subprotocol %.60q was not offered%s", chosen[0], hint)
}

// refused judges the response that refuses a request for websocket.
func (j *judge) refused(h *Head) {
	j.head(FromServer, h)
	bad := func(field string, id RuleID, format string, args ...any) {
		j.field(FromServer, field, id, format, args...)
	}
	v, asked := j.hs.asked().Lookup("Sec-WebSocket-Version")
	_, says := h.Lookup("Sec-WebSocket-Version")
	if asked && v != "13" && !says && (h.Status == 400 || h.Status == 426) {
		bad("", "res-version-not-advertised", "%d to version %.20q without a Sec-WebSocket-Version", h.Status, v)
	}
	if _, ok := h.Lookup("Upgrade"); !ok && h.Status == 426 {
		bad("", "res-426-no-upgrade", "426 without an Upgrade header")
	}
	if _, ok := h.Lookup("WWW-Authenticate"); !ok && h.Status == 401 {
		bad("", "res-401-no-challenge", "401 without a WWW-Authenticate header")
	}
	if _, ok := h.Lookup("Sec-WebSocket-Accept"); ok {
		bad(fieldAccept, "res-non101-accept", "%d with a Sec-WebSocket-Accept, the client will not take it for an upgrade", h.Status)
	}
}

// unsolicited judges a 101 to a request that did not ask for websocket
// (RFC 9110 §7.8). It is fine if the request asked for another protocol.
func (j *judge) unsolicited(h *Head) {
	if j.hs.Request == nil {
		return
	}
	_, asked := j.hs.asked().Lookup("Upgrade")
	if !asked || upgradesToWebSocket(h) {
		j.field(FromServer, "", "res-101-unsolicited", "101 to %.40q, but the request does not ask for it", strings.Join(h.Values("Upgrade"), ", "))
	}
}

// foreign looks at what stands in place of a response. An alert of TLS is no fault
// of a server that was asked without it.
func (j *judge) foreign(raw string) {
	if isAlertOfTLS(raw) {
		return
	}
	var a alien
	if a.recognize([]byte(raw)) {
		j.field(FromServer, "", "res-not-http", "%s stands where the answer should begin, %.40q", a.what, a.line)
		return
	}
	j.field(FromServer, "", "res-not-http", "the answer begins with %.40q, not HTTP/1.1", firstLine([]byte(strings.TrimLeft(raw, "\r\n"))))
}
