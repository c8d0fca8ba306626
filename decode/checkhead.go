package decode

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// checkHead reports what is wrong with the lines of a head.
func (s *Session) checkHead(d Dir, h *Head) {
	rest := strings.TrimLeft(h.Raw, "\r\n")
	for n := 0; rest != ""; n++ {
		line, more, _ := strings.Cut(rest, "\n")
		rest = more
		text, crlf := strings.CutSuffix(line, "\r")
		if !crlf {
			s.report("head-bare-lf", d, noFrame, "the line %.40q ends in LF without CR", text)
		}
		if text == "" {
			break
		}
		if strings.ContainsAny(text, "\x00\r") {
			s.report("head-bad-bytes", d, noFrame, "the line %.60q holds NUL or CR", text)
		}
		switch name, _, ok := strings.Cut(text, ":"); {
		case n == 0:
		case text[0] == ' ' || text[0] == '\t':
			s.report("head-fold", d, noFrame, "the line %.40q continues the one before it", text)
		case ok && name != strings.TrimRight(name, " \t"):
			s.report("head-space-colon", d, noFrame, "white space stands between %.40q and the colon", strings.TrimSpace(name))
		}
	}
	_, te := h.Lookup("Transfer-Encoding")
	if cl, ok := h.Lookup("Content-Length"); ok && te {
		s.report("head-cl-te-conflict", d, noFrame, "both Content-Length %.20q and Transfer-Encoding", cl)
	}
	if b := lengthBody(h, Body{}); b.UntilClose() {
		s.report("head-length-ambiguous", d, noFrame, "Content-Length is %.40q, not one number", strings.Join(h.Values("Content-Length"), ", "))
	}
	if codings := h.Tokens("Transfer-Encoding"); te && (len(codings) == 0 || !strings.EqualFold(codings[len(codings)-1], "chunked")) && d == FromClient {
		s.report("head-te-not-chunked", d, noFrame, "Transfer-Encoding of the request is %.40q, which does not end in chunked", strings.Join(h.Values("Transfer-Encoding"), ", "))
	}
}

// checkRequest reports what is wrong with a request for websocket.
func (s *Session) checkRequest() {
	h := s.hs.Request
	s.checkHead(FromClient, h)
	bad := func(id RuleID, format string, args ...any) { s.report(id, FromClient, noFrame, format, args...) }
	if h.Method != "GET" {
		bad("req-method-not-get", "method is %.20q, not GET", h.Method)
	}
	if h.Proto < "HTTP/1.1" {
		bad("req-http-version-low", "request is %.20s, which cannot upgrade", h.Proto)
	}
	s.checkTarget(h)
	if v, ok := h.Lookup("Upgrade"); !ok {
		bad("req-upgrade-missing", "no Upgrade header")
	} else if !upgradesToWebSocket(h) {
		bad("req-upgrade-not-websocket", "Upgrade is %.40q, not websocket", v)
	}
	if !h.HasToken("Connection", "Upgrade") {
		bad("req-connection-no-upgrade", "Connection is %.60q, without Upgrade", strings.Join(h.Values("Connection"), ", "))
	}
	s.checkKey(h)
	versions := h.Values("Sec-WebSocket-Version")
	switch {
	case len(versions) == 0:
		bad("req-version-missing", "no Sec-WebSocket-Version")
	case len(versions) > 1:
		bad("req-version-duplicate", "%d Sec-WebSocket-Version headers: %.60q", len(versions), versions)
	case strings.Contains(versions[0], ","):
		bad("req-version-duplicate", "Sec-WebSocket-Version is the list %.40q", versions[0])
	case versions[0] != "13":
		v := versions[0]
		bad("req-version-not-13", "version is %.20q, not 13", v)
		if n, err := strconv.Atoi(v); err != nil || n < 0 || n > 255 || v != strconv.Itoa(n) {
			bad("req-version-syntax", "version %.20q is not a number from 0 to 255 without leading zeros", v)
		}
	}
	s.checkSubprotocols(h)
	s.checkOffers(h)
	s.checkOrigin(h)
	if n, ok := h.Lookup("Content-Length"); ok && n != "0" {
		bad("req-body-present", "Content-Length is %.20q, a GET has no body", n)
	} else if _, ok := h.Lookup("Transfer-Encoding"); ok {
		bad("req-body-present", "Transfer-Encoding on a request that has no body")
	}
	if host := hostOf(h.Get("Host")); s.info.ClientTLS != nil && host != "" {
		switch sni := s.info.ClientTLS.SNI; {
		case sni == "" && !isIP(host):
			bad("req-sni-missing", "the TLS hello names no server, Host is %.60q", host)
		case sni != "" && !strings.EqualFold(host, sni):
			bad("req-sni-host-mismatch", "the TLS hello is for %.60q, Host is %.60q", sni, host)
		}
	}
	s.adviseRequest(h)
}

// checkTarget reports what is wrong with target and Host.
func (s *Session) checkTarget(h *Head) {
	target := h.Target
	if strings.Contains(target, "#") {
		s.report("req-target-fragment", FromClient, noFrame, "target %.80q has a fragment, a # in it is spelled %%23", target)
	}
	scheme, rest, absolute := strings.Cut(target, "://")
	switch strings.ToLower(scheme) {
	case "http", "https":
	case "ws", "wss": // some clients name it so to a proxy, which is all right (RFC 9112 §3.2.2)
		absolute = absolute && s.info.Via == "forward"
	default:
		absolute = false
	}
	if h.Method != "" && !absolute && !strings.HasPrefix(target, "/") {
		s.report("req-target-form", FromClient, noFrame, "target is %.60q, not a path or an http or https URL", target)
	}
	hosts := h.Values("Host")
	switch {
	case len(hosts) == 0:
		s.report("req-host-missing", FromClient, noFrame, "no Host header")
	case len(hosts) > 1:
		s.report("req-host-multiple", FromClient, noFrame, "%d Host headers: %.60q", len(hosts), hosts)
	case absolute:
		authority := rest[:strings.IndexAny(rest+"/", "/?#")]
		authority = authority[strings.LastIndexByte(authority, '@')+1:]
		if !strings.EqualFold(withPort(authority, scheme), withPort(hosts[0], scheme)) {
			s.report("req-host-target-mismatch", FromClient, noFrame, "Host is %.60q, the target is on %.60q", hosts[0], authority)
		}
	}
}

// withPort adds the port of scheme to an authority without one.
func withPort(authority, scheme string) string {
	port := ":80"
	if strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss") {
		port = ":443"
	}
	if h := hostOf(authority); len(h) == len(authority) || strings.HasSuffix(authority, "]") {
		return authority + port
	}
	return authority
}

// hostOf returns the host in "host:port", without the brackets of an IPv6
// address.
func hostOf(authority string) string {
	if rest, ok := strings.CutPrefix(authority, "["); ok {
		host, _, _ := strings.Cut(rest, "]")
		return host
	}
	host, _, _ := strings.Cut(authority, ":")
	return host
}

// isIP reports whether host is an IP address and no name.
func isIP(host string) bool {
	if strings.Contains(host, ":") {
		return true
	}
	return strings.Trim(host, "0123456789.") == "" && strings.Count(host, ".") == 3
}

// checkKey reports what is wrong with Sec-WebSocket-Key.
func (s *Session) checkKey(h *Head) {
	keys := h.Values("Sec-WebSocket-Key")
	key := s.hs.Key
	switch {
	case key == "" && len(keys) < 2:
		s.report("req-key-missing", FromClient, noFrame, "no Sec-WebSocket-Key")
		return
	case len(keys) > 1:
		s.report("req-key-duplicate", FromClient, noFrame, "%d Sec-WebSocket-Key headers", len(keys))
		return
	}
	b, fault := decodeKey(key)
	if fault != "" {
		s.report("req-key-invalid", FromClient, noFrame, "key %.60q %s", key, fault)
		return
	}
	if again := base64.StdEncoding.EncodeToString(b); again != key {
		s.report("req-key-noncanonical", FromClient, noFrame, "key %q has spare bits that are not 0, it is usually spelled %q", key, again)
	}
	if why := weakKey(key, b); why != "" {
		s.report("req-key-weak", FromClient, noFrame, "key %q is %s", key, why)
	}
	if conn, ok := s.Seen.key(key, s.info.Conn); ok {
		s.report("req-key-reused", FromClient, noFrame, "key %q was used by session #%d before", key, conn)
	}
}

// decodeKey decodes a Sec-WebSocket-Key, or says what keeps it from being 16
// bytes in base64 (RFC 6455 §4.2.1).
func decodeKey(key string) (b []byte, fault string) {
	b, err := base64.StdEncoding.DecodeString(key)
	switch {
	case err != nil, strings.ContainsAny(key, "\r\n"): // which the decoder skips
		return nil, "is not base64"
	case len(b) != 16:
		return nil, fmt.Sprintf("is %d bytes in base64, not 16", len(b))
	}
	return b, ""
}

// weakKey says why a key can't be random, or returns "".
func weakKey(key string, b []byte) string {
	switch {
	case key == "dGhlIHNhbXBsZSBub25jZQ==":
		return "the sample of RFC 6455"
	case key == "x3JJHMbDL1EzLkh9GBhXDw==":
		return "a sample from documentation"
	case !slices.ContainsFunc(b, func(c byte) bool { return c != b[0] }):
		return fmt.Sprintf("16 times the byte %02x", b[0])
	case !slices.ContainsFunc(b, func(c byte) bool { return c < ' ' || c > '~' }):
		return fmt.Sprintf("the text %q, not random bytes", b)
	}
	return ""
}

// checkSubprotocols reports what is wrong with the subprotocols offered.
func (s *Session) checkSubprotocols(h *Head) {
	var all []string
	for _, v := range h.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(v, ",") {
			p = strings.Trim(p, " \t")
			switch {
			case p == "":
				s.report("req-protocol-syntax", FromClient, noFrame, "an element of the list %.60q is empty", v)
			case !isToken(p):
				s.report("req-protocol-syntax", FromClient, noFrame, "subprotocol %.60q is no token", p)
			case slices.Contains(all, p):
				s.report("req-protocol-duplicate", FromClient, noFrame, "subprotocol %.60q is offered twice", p)
			}
			all = append(all, p)
		}
	}
}

// checkOffers reports what is wrong with the extensions offered.
func (s *Session) checkOffers(h *Head) {
	lines := h.Values("Sec-WebSocket-Extensions")
	if lines == nil {
		return
	}
	exts, err := ParseExtensions(lines)
	if err != nil {
		s.report("req-extensions-syntax", FromClient, noFrame, "Sec-WebSocket-Extensions is wrong: %v", err)
	}
	for _, ext := range exts {
		switch {
		case ext.Name == permessageDeflate:
			p, faults := deflateParams(ext, true)
			for _, f := range faults {
				s.report(RuleID("pmd-offer-param-"+f.what), FromClient, noFrame, "%s", f.text)
			}
			s.checkWindow8(FromClient, p)
		case !registeredExtensions[ext.Name]:
			s.report("req-extension-unregistered", FromClient, noFrame, "extension %.40q is not registered", ext.Name)
		default: // bbf-usp-protocol, which defines eid
			for _, p := range ext.Params {
				if p.Name != "eid" {
					s.report("req-extension-param-undefined", FromClient, noFrame, "%s has no parameter %.40q", ext.Name, p.Name)
				}
			}
		}
	}
}

func (s *Session) checkWindow8(d Dir, p pmdParams) {
	for of, bits := range p.bits {
		if bits == 8 {
			s.report("pmd-window-8", d, noFrame, "%s_max_window_bits is 8, which zlib can't compress with", Dir(of))
		}
	}
}

// checkOrigin reports what is wrong with Origin (RFC 6454 §7).
func (s *Session) checkOrigin(h *Head) {
	origins := h.Values("Origin")
	switch {
	case len(origins) == 0:
		_, cookie := h.Lookup("Cookie")
		_, fetch := h.Lookup("Sec-Fetch-Mode")
		if ua := h.Get("User-Agent"); strings.HasPrefix(ua, "Mozilla/") && (cookie || fetch) {
			s.report("req-origin-missing-browser", FromClient, noFrame, "no Origin from the browser %.60q", ua)
		}
	case len(origins) > 1:
		s.report("req-origin-invalid", FromClient, noFrame, "%d Origin headers: %.80q", len(origins), origins)
	case origins[0] == "null":
	default:
		for o := range strings.SplitSeq(origins[0], " ") {
			if why := originFault(o); why != "" {
				s.report("req-origin-invalid", FromClient, noFrame, "Origin %.80q %s", origins[0], why)
				break
			}
		}
	}
}

// originFault says what keeps o from being an origin (RFC 6454 §6.2), or
// returns "". Files and some applications have one without a host.
func originFault(o string) string {
	scheme, host, ok := strings.Cut(o, "://")
	switch {
	case !ok || scheme == "" || strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "":
		return "has no scheme://"
	case host == "" && strings.HasPrefix(strings.ToLower(scheme), "http"):
		return "has no host"
	case strings.HasSuffix(host, "/"):
		return "ends in a slash"
	case strings.ContainsAny(host, "/?#@"):
		return "is more than scheme, host and port"
	}
	return ""
}

// mustReject are the faults of a request that a server refuses (RFC 6455
// §4.2.1, §9.1).
var mustReject = []RuleID{
	"req-method-not-get", "req-http-version-low", "req-host-missing",
	"req-upgrade-missing", "req-upgrade-not-websocket", "req-connection-no-upgrade",
	"req-key-missing", "req-key-duplicate", "req-key-invalid",
	"req-version-missing", "req-version-not-13", "req-version-duplicate",
	"req-extensions-syntax",
}

// checkResponse reports what is wrong with a 101 to a request for websocket.
func (s *Session) checkResponse() {
	h := s.hs.Response
	s.checkHead(FromServer, h)
	bad := func(id RuleID, format string, args ...any) { s.report(id, FromServer, noFrame, format, args...) }
	if h.Proto != "HTTP/1.1" {
		bad("res-http-version", "the 101 is %.20s, not HTTP/1.1", h.Proto)
	}
	for _, c := range s.totals.Rules {
		if c.From == FromClient && slices.Contains(mustReject, c.ID) {
			bad("res-101-bad-handshake", "101 to a request that breaks %s", c.ID)
			break
		}
	}
	if v, ok := h.Lookup("Upgrade"); !ok {
		bad("res-upgrade-missing", "no Upgrade header in the 101")
	} else if !strings.EqualFold(v, "websocket") {
		bad("res-upgrade-wrong", "Upgrade is %.40q, not websocket", v)
	}
	if !h.HasToken("Connection", "Upgrade") {
		bad("res-connection-missing", "Connection is %.60q, without Upgrade", strings.Join(h.Values("Connection"), ", "))
	}
	switch accepts := h.Values("Sec-WebSocket-Accept"); {
	case len(accepts) > 1:
		bad("res-accept-duplicate", "%d Sec-WebSocket-Accept headers", len(accepts))
	case s.hs.Accept == "":
		bad("res-accept-missing", "no Sec-WebSocket-Accept")
	case s.hs.Key != "" && !s.hs.AcceptOK():
		hint := ""
		if s.hs.Accept == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" {
			hint = "; it is the sample of RFC 6455"
		}
		bad("res-accept-mismatch", "accept is %.60q, key %.60q makes %q%s", s.hs.Accept, s.hs.Key, AcceptKey(s.hs.Key), hint)
	}
	s.checkSubprotocol(h)
	s.checkAccepted(h)
	if v, ok := h.Lookup("Content-Length"); ok {
		bad("res-101-content-length", "Content-Length %.20q in the 101", v)
	}
	if v, ok := h.Lookup("Transfer-Encoding"); ok {
		bad("res-101-transfer-encoding", "Transfer-Encoding %.20q in the 101", v)
	}
	s.rejected = s.clientMustReject()
	s.adviseResponse(h)
}

// clientRejects are the faults of a 101 that a client refuses (RFC 6455 §4.1,
// RFC 7692 §7).
var clientRejects = []RuleID{
	"res-upgrade-missing", "res-upgrade-wrong", "res-connection-missing",
	"res-accept-missing", "res-accept-mismatch", "res-extension-not-offered",
	"res-extensions-syntax", "res-protocol-not-offered",
	"pmd-res-param-unknown", "pmd-res-param-duplicate", "pmd-res-param-invalid",
}

func (s *Session) clientMustReject() bool {
	return slices.ContainsFunc(s.totals.Rules, func(c RuleCount) bool {
		return c.From == FromServer && slices.Contains(clientRejects, c.ID)
	})
}

// checkSubprotocol reports what is wrong with the subprotocol chosen.
func (s *Session) checkSubprotocol(h *Head) {
	chosen := h.Values("Sec-WebSocket-Protocol")
	bad := func(id RuleID, format string, args ...any) { s.report(id, FromServer, noFrame, format, args...) }
	switch {
	case len(chosen) == 0:
		return
	case len(chosen) > 1:
		bad("res-protocol-multiple", "%d Sec-WebSocket-Protocol headers: %.80q", len(chosen), chosen)
		return
	case strings.Contains(chosen[0], ","):
		bad("res-protocol-multiple", "%.80q is a list, the server chooses one", chosen[0])
		return
	case chosen[0] == "":
		bad("res-protocol-empty", "Sec-WebSocket-Protocol is empty, without a choice it is left out")
		return
	case !isToken(chosen[0]):
		bad("res-protocol-empty", "subprotocol %.60q is no token", chosen[0])
		return
	}
	offered := s.hs.Request.Tokens("Sec-WebSocket-Protocol")
	if slices.Contains(offered, chosen[0]) {
		return
	}
	hint := ""
	if slices.ContainsFunc(offered, func(p string) bool { return strings.EqualFold(p, chosen[0]) }) {
		hint = "; the case differs"
	}
	bad("res-protocol-not-offered", "subprotocol %.60q was not offered%s", chosen[0], hint)
}

// checkRefusal reports what is wrong with a response that is no 101.
func (s *Session) checkRefusal() {
	h := s.hs.Response
	s.checkHead(FromServer, h)
	bad := func(id RuleID, format string, args ...any) { s.report(id, FromServer, noFrame, format, args...) }
	v, asked := s.hs.Request.Lookup("Sec-WebSocket-Version")
	_, says := h.Lookup("Sec-WebSocket-Version")
	if asked && v != "13" && !says && (h.Status == 400 || h.Status == 426) {
		bad("res-version-not-advertised", "%d to version %.20q without a Sec-WebSocket-Version", h.Status, v)
	}
	if _, ok := h.Lookup("Upgrade"); !ok && h.Status == 426 {
		bad("res-426-no-upgrade", "426 without an Upgrade header")
	}
	if _, ok := h.Lookup("WWW-Authenticate"); !ok && h.Status == 401 {
		bad("res-401-no-challenge", "401 without a WWW-Authenticate header")
	}
	if _, ok := h.Lookup("Sec-WebSocket-Accept"); ok {
		bad("res-non101-accept", "%d with a Sec-WebSocket-Accept, the client will not take it for an upgrade", h.Status)
	}
}

// checkUnsolicited reports a 101 to a request that did not ask for it. One that
// asked for another protocol has asked.
func (s *Session) checkUnsolicited(h *Head) {
	_, asked := s.hs.Request.Lookup("Upgrade")
	if s.hs.Request != nil && (!asked || upgradesToWebSocket(h)) {
		s.report("res-101-unsolicited", FromServer, noFrame, "101 to %.40q, and the request does not ask for it", strings.Join(h.Values("Upgrade"), ", "))
	}
}
