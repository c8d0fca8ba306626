package decode

import (
	"encoding/base64"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// request judges the head of a request (RFC 6455 §4.1).
func (j *judge) request(h *Head) {
	j.head(FromClient, h)
	if sent := j.hs.Forwarded; sent != nil && j.hs.WebSocket && !h.http2() {
		defer j.sentRequest(sent)
	}
	switch {
	case !j.hs.WebSocket:
	case h.http2():
		j.extendedConnect(h)
	default:
		j.upgradeRequest(h)
	}
}

// refuse adds a violation in the request for which the server must refuse it
// (RFC 6455 §4.2.1, §9.1).
func (j *judge) refuse(name string, id RuleID, format string, args ...any) {
	if j.badRequest == "" {
		j.badRequest = id
	}
	j.field(FromClient, name, id, format, args...)
}

// extendedConnect judges a request for websocket over HTTP/2 (RFC 8441 §5),
// which has neither Upgrade nor key.
func (j *judge) extendedConnect(h *Head) {
	j.checkSubprotocols(h)
	j.checkOffers(h)
	j.checkOrigin(h)
	j.adviseRequest(h)
}

// upgradeRequest judges a request for websocket over HTTP/1.1 (RFC 6455 §4.1).
func (j *judge) upgradeRequest(h *Head) {
	bad := func(field string, id RuleID, format string, args ...any) {
		j.field(FromClient, field, id, format, args...)
	}
	if h.Method != "GET" {
		j.refuse("", "req-method-not-get", "method is %.20q, not GET", h.Method)
	}
	if h.Proto < "HTTP/1.1" {
		j.refuse("", "req-http-version-low", "request is %.20s, which cannot upgrade", h.Proto)
	}
	j.checkTarget(h)
	if v, ok := h.Lookup("Upgrade"); !ok {
		j.refuse("Upgrade", "req-upgrade-missing", "no Upgrade header")
	} else if !upgradesToWebSocket(h) {
		j.refuse("Upgrade", "req-upgrade-not-websocket", "Upgrade is %.40q, not websocket", v)
	}
	if !h.HasToken("Connection", "Upgrade") {
		j.refuse("Connection", "req-connection-no-upgrade", "Connection is %.60q, without Upgrade", strings.Join(h.Values("Connection"), ", "))
	}
	j.checkKey(h)
	versions := h.Values("Sec-WebSocket-Version")
	switch {
	case len(versions) == 0:
		j.refuse(fieldVersion, "req-version-missing", "no Sec-WebSocket-Version")
	case len(versions) > 1:
		j.refuse(fieldVersion, "req-version-duplicate", "%d Sec-WebSocket-Version headers: %.60q", len(versions), versions)
	case strings.Contains(versions[0], ","):
		j.refuse(fieldVersion, "req-version-duplicate", "Sec-WebSocket-Version is the list %.40q", versions[0])
	case versions[0] != "13":
		v := versions[0]
		j.refuse(fieldVersion, "req-version-not-13", "version is %.20q, not 13", v)
		if n, err := strconv.Atoi(v); err != nil || n < 0 || n > 255 || v != strconv.Itoa(n) {
			bad(fieldVersion, "req-version-syntax", "version %.20q is not a number from 0 to 255 without leading zeros", v)
		}
	}
	j.checkSubprotocols(h)
	j.checkOffers(h)
	j.checkOrigin(h)
	if n, ok := h.Lookup("Content-Length"); ok && n != "0" {
		bad("", "req-body-present", "Content-Length is %.20q, a GET has no body", n)
	} else if _, ok := h.Lookup("Transfer-Encoding"); ok {
		bad("", "req-body-present", "Transfer-Encoding on a request that has no body")
	}
	if host := hostOf(h.Get("Host")); j.info.ClientTLS != nil && host != "" {
		switch sni := j.info.ClientTLS.SNI; {
		case sni == "" && !isIP(host):
			bad("Host", "req-sni-missing", "the TLS hello names no server, Host is %.60q", host)
		case sni != "" && !strings.EqualFold(strings.TrimSuffix(host, "."), sni): // SNI has no trailing dot (RFC 6066 §3)
			bad("Host", "req-sni-host-mismatch", "the TLS hello is for %.60q, Host is %.60q", sni, host)
		}
	}
	j.adviseRequest(h)
}

// checkTarget reports what is wrong with target and Host.
func (j *judge) checkTarget(h *Head) {
	target := h.Target
	if strings.Contains(target, "#") {
		j.field(FromClient, "", "req-target-fragment", "target %.80q has a fragment, a # in it is spelled %%23", target)
	}
	if i := strings.IndexFunc(target, func(r rune) bool { return r <= ' ' || r >= 0x7f }); i >= 0 {
		j.field(FromClient, "", "req-target-bad-bytes", "target %.80q has %q, which is spelled %s", target, target[i:i+1], percent(target[i]))
	}
	scheme, rest, absolute := strings.Cut(target, "://")
	switch strings.ToLower(scheme) {
	case "http", "https":
	case "ws", "wss": // which some clients send to a proxy, as they may (RFC 9112 §3.2.2)
		absolute = absolute && (j.info.Via == "forward" || j.info.Via == "direct" || j.info.Via == "pcap")
	default:
		absolute = false
	}
	if h.Method != "" && !absolute && !strings.HasPrefix(target, "/") {
		j.field(FromClient, "", "req-target-form", "target is %.60q, not a path or an http or https URL", target)
	}
	hosts := h.Values("Host")
	switch {
	case len(hosts) == 0:
		j.refuse("Host", "req-host-missing", "no Host header")
	case len(hosts) > 1:
		j.field(FromClient, "Host", "req-host-multiple", "%d Host headers: %.60q", len(hosts), hosts)
	case absolute:
		authority := rest[:strings.IndexAny(rest+"/", "/?#")]
		authority = authority[strings.LastIndexByte(authority, '@')+1:]
		if !strings.EqualFold(withPort(authority, scheme), withPort(hosts[0], scheme)) {
			j.field(FromClient, "Host", "req-host-target-mismatch", "Host is %.60q, the target is on %.60q", hosts[0], authority)
		}
	}
}

// percent spells a byte of a target that can't stand for itself (RFC 3986 §2.1).
func percent(c byte) string { return fmt.Sprintf("%%%02X", c) }

// checkKey reports what is wrong with Sec-WebSocket-Key.
func (j *judge) checkKey(h *Head) {
	keys := h.Values(fieldKey)
	key := h.Get(fieldKey)
	switch {
	case key == "" && len(keys) < 2:
		j.refuse(fieldKey, "req-key-missing", "no Sec-WebSocket-Key")
		return
	case len(keys) > 1:
		j.refuse(fieldKey, "req-key-duplicate", "%d Sec-WebSocket-Key headers", len(keys))
		return
	}
	b, fault := decodeKey(key)
	if fault != "" {
		j.refuse(fieldKey, "req-key-invalid", "key %.60q %s", key, fault)
		return
	}
	if again := base64.StdEncoding.EncodeToString(b); again != key {
		j.field(FromClient, fieldKey, "req-key-noncanonical", "key %q has spare bits that are not 0, it is usually spelled %q", key, again)
	}
	if why := weakKey(key, b); why != "" {
		j.field(FromClient, fieldKey, "req-key-weak", "key %q is %s", key, why)
	}
}

// keyUsed finds that a key has led to a connection before. Only a 101 uses it up: a
// client may keep it while it authenticates, follows a redirect, or tries again
// after no answer.
func (j *judge) keyUsed() {
	key := j.hs.Key
	if _, fault := decodeKey(key); fault != "" || j.info.incomplete() { // it may be the session itself that had the key
		return
	}
	used := usedKey{j.info.Conn, j.requested, j.now}
	before, ok := j.seen.key(key, used)
	if ok && j.info.Via == "pcap" && (used.within(before) || before.within(used)) {
		j.otherLeg = true // the capture has both sides of a proxy, or several interfaces that it passed
		return
	}
	if ok {
		j.field(FromClient, fieldKey, "req-key-reused", "key %q was used by session #%d before", key, before.conn)
	}
}

// decodeKey decodes a Sec-WebSocket-Key, or says why it is not 16 bytes in base64
// (RFC 6455 §4.2.1).
func decodeKey(key string) (b []byte, fault string) {
	b, err := base64.StdEncoding.DecodeString(key)
	switch {
	case err != nil, strings.ContainsAny(key, "\r\n"): // the decoder skips line ends
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
func (j *judge) checkSubprotocols(h *Head) {
	var all []string
	for _, v := range h.Values("Sec-WebSocket-Protocol") {
		for p := range strings.SplitSeq(v, ",") {
			p = strings.Trim(p, " \t")
			switch {
			case p == "":
				j.field(FromClient, fieldProtocol, "req-protocol-syntax", "an element of the list %.60q is empty", v)
			case !isToken(p):
				j.field(FromClient, fieldProtocol, "req-protocol-syntax", "subprotocol %.60q is not a token", p)
			case slices.Contains(all, p):
				j.field(FromClient, fieldProtocol, "req-protocol-duplicate", "subprotocol %.60q is offered twice", p)
			}
			all = append(all, p)
		}
	}
}

// checkOffers reports what is wrong with the extensions offered.
func (j *judge) checkOffers(h *Head) {
	lines := h.Values("Sec-WebSocket-Extensions")
	if lines == nil {
		return
	}
	exts, err := ParseExtensions(lines)
	if err != nil {
		j.refuse(fieldExtensions, "req-extensions-syntax", "Sec-WebSocket-Extensions is wrong: %v", err)
	}
	for _, ext := range exts {
		switch {
		case ext.Name == permessageDeflate:
			p, faults := deflateParams(ext, true)
			for _, f := range faults {
				j.field(FromClient, fieldExtensions, f.offer, "%s", f.text)
			}
			j.checkWindow8(FromClient, p)
		case !registeredExtensions[ext.Name]:
			sev := SeverityError
			if isCompression(ext.Name) {
				sev = SeverityWarning
			}
			j.fieldAs(sev, FromClient, fieldExtensions, "req-extension-unregistered", "extension %.40q is not registered", ext.Name)
		default: // bbf-usp-protocol, which defines eid
			for _, p := range ext.Params {
				if p.Name != "eid" {
					j.field(FromClient, fieldExtensions, "req-extension-param-undefined", "%s has no parameter %.40q", ext.Name, p.Name)
				}
			}
		}
	}
}

// isCompression reports whether an extension compresses, by its name. Many clients
// still offer what a draft or a vendor had; whoever does not know it leaves it out.
func isCompression(name string) bool {
	name = strings.ToLower(name)
	return slices.ContainsFunc([]string{"deflate", "compress", "zip", "zstd", "brotli", "lz4", "snappy"}, func(method string) bool {
		return strings.Contains(name, method)
	})
}

// checkWindow8 reports a window that zlib can't compress with.
func (j *judge) checkWindow8(d Dir, p pmdParams) {
	for of, bits := range p.bits {
		if bits == 8 {
			j.field(d, fieldExtensions, "pmd-window-8", "%s_max_window_bits is 8, which zlib can't compress with", Dir(of))
		}
	}
}

// checkOrigin reports what is wrong with Origin (RFC 6454 §7).
func (j *judge) checkOrigin(h *Head) {
	origins := h.Values("Origin")
	switch {
	case len(origins) == 0:
		_, cookie := h.Lookup("Cookie")
		_, fetch := h.Lookup("Sec-Fetch-Mode")
		if ua := h.Get("User-Agent"); strings.HasPrefix(ua, "Mozilla/") && (cookie || fetch) {
			j.field(FromClient, "Origin", "req-origin-missing-browser", "no Origin from the browser %.60q", ua)
		}
	case len(origins) > 1:
		j.field(FromClient, "Origin", "req-origin-invalid", "%d Origin headers: %.80q", len(origins), origins)
	case origins[0] == "null":
	default:
		for o := range strings.SplitSeq(origins[0], " ") {
			if why := originFault(o); why != "" {
				j.field(FromClient, "Origin", "req-origin-invalid", "Origin %.80q %s", origins[0], why)
				break
			}
		}
	}
}
