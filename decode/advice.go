package decode

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"encoding/json"
	"hash/maphash"
	"slices"
	"strings"
	"time"

	"github.com/gobwas/ws"
)

// adviseRequest looks at what is legal in a request and seldom meant.
func (s *Session) adviseRequest(h *Head) {
	say := func(id RuleID, format string, args ...any) { s.report(id, FromClient, noFrame, format, args...) }
	origin, hasOrigin := h.Lookup("Origin")
	switch {
	case !hasOrigin:
		say("origin-missing", "no Origin header, as from a program that is no browser")
	case origin == "null":
		say("origin-null", "Origin is null, as from a sandboxed frame or a file")
	}
	if n := len(h.Raw); n > 8<<10 {
		say("cookie-large", "the head is %d bytes, many servers take 8192", n)
	}
	for _, f := range h.Fields {
		switch name := strings.ToLower(f.Name); name {
		case "sec-websocket-origin", "sec-websocket-key1", "sec-websocket-key2", "sec-websocket-draft":
			say("redundant-headers", "%s is a header of a draft", f.Name)
		}
	}
	s.adviseURL(h)
	for _, p := range h.Tokens("Sec-WebSocket-Protocol") {
		if looksSecret(p) || strings.EqualFold(p, "bearer") || strings.HasPrefix(p, "base64url.bearer.authorization.k8s.io.") {
			say("token-in-subprotocol", "a subprotocol offered looks like a credential of %d characters", len(p))
		}
	}
	if s.plain() {
		host := hostOf(h.Get("Host"))
		if strings.HasPrefix(strings.ToLower(origin), "https://") && !isLoopback(host) {
			say("mixed-content", "the page of %.60q came over https, the connection is ws", origin)
		}
		if server := s.serverHost(); server != "" && !isLoopback(server) {
			say("plaintext-remote", "ws:// to %.60q, everyone on the way can read and change it", server)
		}
	}
	if client := s.client(); client != "" {
		if n := s.Seen.connected(client, s.now); n >= backoffTimes {
			say("reconnect-no-backoff", "connects again at once after a connection that failed, %d times in a row", n)
		}
	}
}

// client names the client and where it goes, for Seen.
func (s *Session) client() string {
	if s.info.Client == "" || s.hs.Request == nil || s.Seen == nil {
		return ""
	}
	return hostOf(s.info.Client) + " " + s.info.Server + " " + s.hs.Request.Target
}

// plain reports whether the client is known not to use TLS.
func (s *Session) plain() bool {
	return s.info.ClientTLS == nil && strings.HasPrefix(strings.ToLower(s.info.URL), "ws://")
}

// serverHost returns the host that the client wants, by the URL.
func (s *Session) serverHost() string {
	_, rest, ok := strings.Cut(s.info.URL, "://")
	if !ok {
		return ""
	}
	rest = rest[:strings.IndexAny(rest+"/", "/?#")]
	return hostOf(rest[strings.LastIndexByte(rest, '@')+1:])
}

func isLoopback(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "::1" ||
		strings.HasPrefix(host, "127.") && isIP(host)
}

// secretKeys are the keys of a query that hold what should not be in logs.
var secretKeys = []string{"token", "access_token", "api_key", "apikey", "auth", "jwt", "sig", "session", "password"}

func (s *Session) adviseURL(h *Head) {
	rest := h.Target
	if _, after, ok := strings.Cut(rest, "://"); ok {
		authority := after[:strings.IndexAny(after+"/", "/?#")]
		if user, _, ok := strings.Cut(authority, "@"); ok && strings.Contains(user, ":") {
			s.report("basic-auth-in-url", FromClient, noFrame, "the target holds a user name and a password")
		}
	}
	_, query, _ := strings.Cut(rest, "?")
	for pair := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(pair, "=")
		if value == "" {
			continue
		}
		if slices.Contains(secretKeys, strings.ToLower(key)) || looksSecret(value) {
			s.report("token-in-url", FromClient, noFrame, "the query has a credential, %.40q, which ends up in logs", key)
		}
	}
}

// looksSecret reports whether v is a JSON Web Token: three parts in base64, of
// which the first begins with {".
func looksSecret(v string) bool {
	parts := strings.Split(v, ".")
	if len(parts) != 3 || !strings.HasPrefix(parts[0], "eyJ") || len(parts[1]) < 8 {
		return false
	}
	for _, p := range parts {
		if _, err := base64.RawURLEncoding.DecodeString(p); err != nil {
			return false
		}
	}
	return true
}

// adviseResponse looks at what is legal in a 101 and seldom meant.
func (s *Session) adviseResponse(h *Head) {
	req := s.hs.Request
	say := func(id RuleID, format string, args ...any) { s.report(id, FromServer, noFrame, format, args...) }
	if took := s.now.Sub(s.requested); took > answerSoon {
		say("handshake-slow", "the 101 came %s after the request", seconds(took))
	}
	origin := req.Get("Origin")
	if _, cookie := req.Lookup("Cookie"); cookie && origin != "" {
		hosts := []string{hostOf(req.Get("Host")), hostOf(s.hs.Forwarded.Get("Host")), s.serverHost()}
		if from := originHost(origin); from != "" && !slices.ContainsFunc(hosts, func(h string) bool { return sameSite(from, h) }) {
			say("origin-not-checked", "accepts cookies from a page of %.60q, any other page may do the same", origin)
		}
	}
	_, chose := h.Lookup("Sec-WebSocket-Protocol")
	if offered := req.Tokens("Sec-WebSocket-Protocol"); len(offered) > 0 && !chose {
		say("subprotocol-none-selected", "none of the subprotocols %.80q is chosen, some clients then give up", offered)
	}
	if p := s.hs.Subprotocol; chose && isToken(p) && !registeredSubprotocols[p] {
		say("subprotocol-unregistered", "subprotocol %.60q is not registered", p)
	}
}

// originHost returns the host of an http or https origin.
func originHost(origin string) string {
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok || !strings.HasPrefix(strings.ToLower(scheme), "http") {
		return ""
	}
	return hostOf(rest)
}

// sameSite reports whether two hosts may well belong to the same site: they are
// the same, or both loopback, or end in the same two labels.
func sameSite(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a == b || isLoopback(a) && isLoopback(b) {
		return true
	}
	return !isIP(a) && !isIP(b) && site(a) == site(b)
}

func site(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// adviseFirstKey compares the first masking key with those of other sessions.
func (s *Session) adviseFirstKey(f *Frame, key uint32) {
	if !s.Advice || key == 0 {
		return
	}
	if conn, ok := s.Seen.mask(key, s.info.Conn); ok {
		s.report("echo-mask", f.Dir, f.N, "the first masking key %s is that of session #%d too", keyText(f.Mask), conn)
	}
}

// fragments are the frames of a message as far as advice needs them.
type fragments struct {
	n, small int64 // all, and those of less than 128 bytes
	length   int64
	size     int64 // of the one before
	equal    int64 // how many in a row had it, if it is that of a usual buffer
}

// hugeMessage is the longest message that goes without a remark.
const hugeMessage = 1 << 20

// adviseFragment looks at the frames of a message.
func (s *Session) adviseFragment(f *Frame) {
	m := &s.sides[f.Dir].fragments
	m.n++
	m.length += f.Length
	if f.Length < 128 {
		m.small++
	}
	if f.Fin && m.n >= 32 && m.small > m.n/2 {
		s.report("frag-storm", f.Dir, f.N, "message of %d bytes in %d fragments", m.length, m.n)
	}
	switch f.Length {
	case 4096, 8192, 16384:
		if m.equal++; f.Length != m.size {
			m.equal = 1
		}
		if m.equal == 3 {
			s.report("frame-buffer-split", f.Dir, f.N, "3 fragments in a row of %d bytes, the size of a buffer", f.Length)
		}
	default:
		m.equal = 0
	}
	m.size = f.Length
}

// adviseSize looks at the length of a message that is complete with f: as sent
// if m is nil, else inflated.
func (s *Session) adviseSize(f *Frame, m *Message) {
	n := s.sides[f.Dir].fragments.length
	if m != nil && !m.Unread {
		n = m.Len
	}
	if n > hugeMessage && !s.repeated("message-huge", f.Dir) {
		s.report("message-huge", f.Dir, f.N, "message of %d bytes, many receivers take 1 MiB", n)
	}
}

// advisePing looks at the rate and the payload of pings.
func (s *Session) advisePing(f *Frame) {
	sd := &s.sides[f.Dir]
	if f.Length > 32 {
		s.report("ping-payload-app-data", f.Dir, f.N, "ping with %d bytes, some receivers drop or cut it", f.Length)
	}
	gap := s.now.Sub(sd.lastPing)
	if sd.fastPings = again(sd.fastPings, !sd.lastPing.IsZero() && gap < time.Second); sd.fastPings == 3 {
		s.report("ping-storm", f.Dir, f.N, "3 pings in a row less than a second after the one before, the last %s", seconds(gap))
	}
	sd.lastPing = s.now
}

// quietTooLong is how long a connection may be quiet without a ping.
const quietTooLong = 60 * time.Second

// adviseQuiet looks at how long no frame has come.
func (s *Session) adviseQuiet() {
	h := &s.totals.Heartbeat
	if s.Advice && h[0].Pings+h[1].Pings == 0 && s.ended == 0 && s.quiet() > quietTooLong {
		s.report("ping-absent", FromServer, noFrame, "nothing for %s and no pings, many proxies end a connection after 60 s", seconds(s.quiet()))
	}
}

// A talk is what one side said lately, as far as advice needs it.
type talk struct {
	second      time.Time // when the second began that is counted
	count, tiny int       // messages in it, and those of less than 16 bytes

	sum   uint64 // of the latest message
	since time.Time
	times int // how often in a row it came within 100 ms
}

var adviceSeed = maphash.MakeSeed()

// adviseMessage looks at a whole message.
func (s *Session) adviseMessage(f *Frame, m *Message) {
	if !s.Advice || m.Unread {
		return
	}
	say := func(id RuleID, format string, args ...any) { s.report(id, f.Dir, f.N, format, args...) }
	if m.Compressed && m.Wire >= m.Len && m.Len > 0 {
		say("pmd-not-worth-it", "%d bytes are compressed to %d", m.Len, m.Wire)
	}
	if s.hs.Deflate.On && !m.Compressed && m.Op == ws.OpText && m.Len >= 1<<10 {
		if n := deflatedLen(m.Data); n < len(m.Data)*9/10 {
			say("pmd-unused", "text of %d bytes is not compressed, %d of its bytes would become %d", m.Len, len(m.Data), n)
		}
	}
	if m.Op == ws.OpText && bytes.HasPrefix(m.Data, []byte("\xef\xbb\xbf")) {
		say("text-bom", "text begins with EF BB BF")
	}
	if m.Op == ws.OpBinary && !m.Cut && len(m.Data) > 1 && strings.IndexByte("{[", m.Data[0]) >= 0 && json.Valid(m.Data) {
		say("json-as-binary", "binary message of %d bytes is JSON", m.Len)
	}
	if n := base64Run(m.Data); m.Op == ws.OpText && n >= 256 && n*10 > len(m.Data)*7 {
		say("base64-in-text", "%d of %d bytes of text are base64, a binary message takes a quarter less", n, len(m.Data))
	}
	s.adviseTalk(m, say)
}

// adviseTalk looks at how a message follows those before it.
func (s *Session) adviseTalk(m *Message, say func(RuleID, string, ...any)) {
	t := &s.messages[m.Dir].talk
	if s.now.Sub(t.second) >= time.Second {
		t.second, t.count, t.tiny = s.now, 0, 0
	}
	t.count++
	if m.Len < 16 {
		t.tiny++
	}
	if t.count == 201 && t.tiny > t.count/2 {
		say("tiny-messages", "more than 200 messages in a second, %d of them of less than 16 bytes", t.tiny)
	}
	sum := maphash.Bytes(adviceSeed, m.Data) + uint64(m.Len)
	if sum != t.sum || t.times == 0 || s.now.Sub(t.since) > 100*time.Millisecond {
		t.sum, t.since, t.times = sum, s.now, 0
	}
	if t.times++; t.times == 3 && m.Len > 0 {
		say("duplicate-message", "the same %d byte message 3 times within %s", m.Len, seconds(s.now.Sub(t.since)))
	}
}

// deflatedLen returns to how many bytes b can be compressed.
func deflatedLen(b []byte) int {
	var n byteCount
	w, err := flate.NewWriter(&n, flate.DefaultCompression)
	if err != nil {
		panic(err) // the level is a constant
	}
	w.Write(b)
	w.Flush()
	return int(n)
}

type byteCount int

func (c *byteCount) Write(p []byte) (int, error) {
	*c += byteCount(len(p))
	return len(p), nil
}

// base64Run returns the length of the longest run in text that may be base64:
// it has letters of both cases and digits.
func base64Run(text []byte) int {
	longest, start := 0, 0
	var upper, lower, digit bool
	for i := 0; i <= len(text); i++ {
		c := byte(' ') // ends the last run
		if i < len(text) {
			c = text[i]
		}
		switch {
		case c >= 'A' && c <= 'Z':
			upper = true
		case c >= 'a' && c <= 'z':
			lower = true
		case c >= '0' && c <= '9':
			digit = true
		case strings.IndexByte("+/-_=", c) >= 0:
		default:
			if upper && lower && digit {
				longest = max(longest, i-start)
			}
			upper, lower, digit, start = false, false, false, i+1
		}
	}
	return longest
}
