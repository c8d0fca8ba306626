package decode

// Severity says how bad a violation is.
type Severity uint8

const (
	SeverityError   Severity = iota // breaks a MUST
	SeverityWarning                 // breaks a SHOULD, or something was lost
	SeverityInfo                    // legal, but worth knowing
)

var severityNames = [...]string{"error", "warning", "info"}

// String returns "error", "warning" or "info".
func (s Severity) String() string { return severityNames[s] }

// Who says which side a rule is for.
type Who uint8

const (
	EitherSide Who = iota
	ClientOnly
	ServerOnly
)

var whoNames = [...]string{"client or server", "client", "server"}

// String returns "client", "server" or "client or server".
func (w Who) String() string { return whoNames[w] }

// RuleID is the name of a rule, as every output shows it.
type RuleID string

// A Rule is something that a client or a server must or should do.
type Rule struct {
	ID       RuleID
	Severity Severity
	Who      Who
	Section  string // where it is written: "RFC 6455 §5.2"; "advice" if it is our own
	Text     string // what it demands
}

const (
	rfc6454 = "RFC 6454 §"
	rfc6455 = "RFC 6455 §"
	rfc7692 = "RFC 7692 §"
	rfc9110 = "RFC 9110 §"
	rfc9112 = "RFC 9112 §"
	advice  = "advice"
)

// Rules are all the rules, in the order in which a connection meets them.
// Those of severity info are judged only if [Look.Advice] is set.
var Rules = ruleTable()

func ruleTable() []Rule {
	const (
		e = SeverityError
		w = SeverityWarning
		i = SeverityInfo
	)
	return []Rule{
		// Heads, of either side.
		{"head-space-colon", e, EitherSide, rfc9112 + "5.1", "no space stands between a field name and its colon"},
		{"head-name-invalid", e, EitherSide, rfc9110 + "5.1", "the name of a header field is a token"},
		{"head-colon-missing", e, EitherSide, rfc9112 + "5", "a header line has a name, a colon and a value"},
		{"head-fold", e, EitherSide, rfc9112 + "5.2", "a header line is not continued on the next one"},
		{"head-bad-bytes", e, EitherSide, rfc9110 + "5.5", "header lines hold no NUL and no CR but the one that ends them"},
		{"head-bare-lf", e, EitherSide, rfc9112 + "2.2", "header lines end in CRLF"},
		{"head-cl-te-conflict", e, EitherSide, rfc9112 + "6.2", "a head has Content-Length or Transfer-Encoding, not both"},
		{"head-length-ambiguous", e, EitherSide, rfc9112 + "6.3", "the Content-Length is one decimal number"},
		{"head-te-not-chunked", e, ClientOnly, rfc9112 + "6.1", "the Transfer-Encoding of a request ends in chunked"},

		// The opening handshake of the client.
		{"req-method-not-get", e, ClientOnly, rfc6455 + "4.1", "the method of a WebSocket request is GET"},
		{"req-http-version-low", e, ClientOnly, rfc6455 + "4.1", "a WebSocket request is HTTP/1.1 or higher"},
		{"req-target-fragment", e, ClientOnly, rfc6455 + "3", "the target of a WebSocket request has no #fragment"},
		{"req-target-bad-bytes", e, ClientOnly, rfc9112 + "3.2", "a target is ASCII without spaces"},
		{"req-target-form", e, ClientOnly, rfc6455 + "4.1", "the target of a WebSocket request is a path or an absolute http or https URL"},
		{"req-host-missing", e, ClientOnly, rfc6455 + "4.1", "a WebSocket request has a Host header"},
		{"req-host-multiple", e, ClientOnly, rfc9112 + "3.2", "a request has one Host header"},
		{"req-host-target-mismatch", e, ClientOnly, rfc9112 + "3.2", "Host repeats the authority of an absolute target"},
		{"req-upgrade-missing", e, ClientOnly, rfc6455 + "4.1", "a WebSocket request has an Upgrade header"},
		{"req-upgrade-not-websocket", e, ClientOnly, rfc6455 + "4.1", "the Upgrade header of a WebSocket request lists websocket"},
		{"req-connection-no-upgrade", e, ClientOnly, rfc6455 + "4.1", "the Connection header of a WebSocket request lists Upgrade"},
		{"req-key-missing", e, ClientOnly, rfc6455 + "4.1", "a WebSocket request has a Sec-WebSocket-Key"},
		{"req-key-duplicate", e, ClientOnly, rfc6455 + "11.3.1", "the Sec-WebSocket-Key comes once"},
		{"req-key-invalid", e, ClientOnly, rfc6455 + "4.1", "the Sec-WebSocket-Key is 16 bytes in base64"},
		{"req-key-noncanonical", i, ClientOnly, "RFC 4648 §3.5", "the spare bits of the last character of a base64 value are 0"},
		{"req-key-reused", e, ClientOnly, rfc6455 + "4.1", "every connection has a new random Sec-WebSocket-Key"},
		{"req-key-weak", w, ClientOnly, rfc6455 + "4.1", "the Sec-WebSocket-Key is random"},
		{"req-version-missing", e, ClientOnly, rfc6455 + "4.1", "a WebSocket request has a Sec-WebSocket-Version"},
		{"req-version-not-13", e, ClientOnly, rfc6455 + "4.1", "the Sec-WebSocket-Version is 13"},
		{"req-version-duplicate", e, ClientOnly, rfc6455 + "11.3.5", "the Sec-WebSocket-Version of a request comes once, with one value"},
		{"req-version-syntax", e, ClientOnly, rfc6455 + "4.3", "the Sec-WebSocket-Version is a number from 0 to 255 without leading zeros"},
		{"req-protocol-syntax", e, ClientOnly, rfc6455 + "4.1", "every subprotocol offered is a token that is not empty"},
		{"req-protocol-duplicate", e, ClientOnly, rfc6455 + "4.1", "every subprotocol is offered once"},
		{"req-extensions-syntax", e, ClientOnly, rfc6455 + "9.1", "Sec-WebSocket-Extensions follows its grammar"},
		{"req-extension-unregistered", e, ClientOnly, rfc6455 + "9.1", "extensions offered are registered with IANA"},
		{"req-extension-param-undefined", e, ClientOnly, rfc6455 + "9.1", "extensions are offered with parameters that they define"},
		{"req-origin-missing-browser", e, ClientOnly, rfc6455 + "4.1", "the request of a browser has an Origin"},
		{"req-origin-invalid", e, ClientOnly, rfc6454 + "7.1", "an Origin is scheme://host, with an optional port, or null"},
		{"req-body-present", w, ClientOnly, rfc9110 + "9.3.1", "a WebSocket request has no body"},
		{"req-early-data", e, ClientOnly, rfc6455 + "4.1", "the client waits for the 101 before it sends frames"},
		{"req-sni-missing", e, ClientOnly, rfc6455 + "4.1", "a client that uses TLS names the server in its hello"},
		{"req-sni-host-mismatch", i, ClientOnly, advice, "the server named in the TLS hello is that of the Host header"},

		// Its permessage-deflate.
		{"pmd-offer-param-unknown", e, ClientOnly, rfc7692 + "7", "permessage-deflate is offered with parameters that it defines"},
		{"pmd-offer-param-duplicate", e, ClientOnly, rfc7692 + "7", "an offer has a parameter once"},
		{"pmd-offer-param-invalid", e, ClientOnly, rfc7692 + "7.1", "the parameters of an offer have the values they may have"},
		{"pmd-window-8", i, EitherSide, rfc7692 + "7.1.2", "max_window_bits is 9 or more, as zlib can't do 8"},

		// The opening handshake of the server.
		{"res-not-http", e, ServerOnly, rfc6455 + "4.2.2", "a server answers in HTTP/1.1"},
		{"res-http-version", w, ServerOnly, rfc9110 + "6.2", "the 101 is HTTP/1.1"},
		{"res-upgrade-missing", e, ServerOnly, rfc6455 + "4.2.2", "a 101 has an Upgrade header"},
		{"res-upgrade-wrong", e, ServerOnly, rfc6455 + "4.1", "the Upgrade header of a 101 is websocket"},
		{"res-connection-missing", e, ServerOnly, rfc6455 + "4.1", "the Connection header of a 101 lists Upgrade"},
		{"res-connection-options", i, ServerOnly, advice, "the Connection header of a 101 is Upgrade and nothing else"},
		{"res-accept-missing", e, ServerOnly, rfc6455 + "4.1", "a 101 has a Sec-WebSocket-Accept"},
		{"res-accept-mismatch", e, ServerOnly, rfc6455 + "4.2.2", "the Sec-WebSocket-Accept is computed from the key of the request"},
		{"res-accept-duplicate", e, ServerOnly, rfc6455 + "11.3.3", "the Sec-WebSocket-Accept comes once"},
		{"res-protocol-not-offered", e, ServerOnly, rfc6455 + "4.1", "the subprotocol chosen is one that the client offered"},
		{"res-protocol-multiple", e, ServerOnly, rfc6455 + "11.3.4", "one subprotocol is chosen, in one header line"},
		{"res-protocol-empty", e, ServerOnly, rfc6455 + "4.2.2", "the subprotocol chosen is a token; without one there is no Sec-WebSocket-Protocol"},
		{"res-extension-not-offered", e, ServerOnly, rfc6455 + "4.1", "the extensions chosen are among those the client offered"},
		{"res-extensions-syntax", e, ServerOnly, rfc6455 + "9.1", "Sec-WebSocket-Extensions follows its grammar"},
		{"res-extensions-split", w, ServerOnly, rfc6455 + "11.3.2", "the response has Sec-WebSocket-Extensions once"},
		{"res-101-unsolicited", e, ServerOnly, rfc9110 + "7.8", "a 101 answers a request that asked for it"},
		{"res-101-bad-handshake", e, ServerOnly, rfc6455 + "4.2.1", "a server refuses a handshake that breaks a rule"},
		{"res-101-content-length", e, ServerOnly, rfc9110 + "8.6", "a 101 has no Content-Length"},
		{"res-101-transfer-encoding", e, ServerOnly, rfc9112 + "6.1", "a 101 has no Transfer-Encoding"},
		{"res-version-not-advertised", e, ServerOnly, rfc6455 + "4.4", "a server that does not know the version says which ones it knows"},
		{"res-426-no-upgrade", e, ServerOnly, rfc9110 + "15.5.22", "a 426 has an Upgrade header"},
		{"res-401-no-challenge", e, ServerOnly, rfc9110 + "15.5.2", "a 401 has a WWW-Authenticate header"},
		{"res-non101-accept", w, ServerOnly, advice, "a response other than a 101 has no Sec-WebSocket-Accept"},
		{"res-client-ignored-failure", e, ClientOnly, rfc6455 + "4.1", "a client does not go on after a response that it must reject"},

		// Its permessage-deflate.
		{"pmd-res-param-unknown", e, ServerOnly, rfc7692 + "7", "permessage-deflate is accepted with parameters that it defines"},
		{"pmd-res-param-duplicate", e, ServerOnly, rfc7692 + "7", "a response has a parameter once"},
		{"pmd-res-param-invalid", e, ServerOnly, rfc7692 + "7.1", "the parameters of a response have the values they may have"},
		{"pmd-res-client-bits-unoffered", e, ServerOnly, rfc7692 + "7.1.2.2", "client_max_window_bits is only answered to an offer that has it"},
		{"pmd-res-client-bits-no-value", e, ServerOnly, rfc7692 + "7.1.2.2", "client_max_window_bits has a value in a response"},
		{"pmd-res-client-bits-larger", w, ServerOnly, rfc7692 + "7.1.2.2", "client_max_window_bits is no larger than what the client said it would use"},
		{"pmd-res-server-bits-larger", e, ServerOnly, rfc7692 + "7.1.2.1", "server_max_window_bits is no larger than the client asked for"},
		{"pmd-res-server-bits-missing", e, ServerOnly, rfc7692 + "7.1.2.1", "an offer of server_max_window_bits is accepted by repeating it"},
		{"pmd-res-server-nct-missing", e, ServerOnly, rfc7692 + "7.1.1.1", "an offer of server_no_context_takeover is accepted by repeating it"},
		{"pmd-res-accepted-bad-offer", e, ServerOnly, rfc7692 + "7", "a server declines an offer that is not valid"},
		{"pmd-res-multiple", e, ServerOnly, rfc7692 + "5", "one compression extension is accepted"},

		// Frames.
		{"frame-not-websocket", e, EitherSide, rfc6455 + "5.2", "frames follow the handshake, and nothing else"},
		{"frame-rsv-set", e, EitherSide, rfc6455 + "5.2", "RSV1, RSV2 and RSV3 are 0 unless an extension defines them"},
		{"frame-opcode-reserved", e, EitherSide, rfc6455 + "5.2", "opcodes 3 to 7 and 11 to 15 are not used"},
		{"frame-length-not-minimal", e, EitherSide, rfc6455 + "5.2", "the payload length takes the fewest bytes that can hold it"},
		{"frame-length-msb", e, EitherSide, rfc6455 + "5.2", "the top bit of a 64-bit payload length is 0"},
		{"frame-client-unmasked", e, ClientOnly, rfc6455 + "5.1", "frames from a client are masked"},
		{"frame-server-masked", e, ServerOnly, rfc6455 + "5.1", "frames from a server are not masked"},
		{"mask-key-repeated", e, ClientOnly, rfc6455 + "5.3", "every frame has a new random masking key"},
		{"mask-key-constant", e, ClientOnly, rfc6455 + "5.3", "a connection has more than one masking key"},
		{"mask-key-zero", w, ClientOnly, rfc6455 + "5.3", "a masking key is not 0, which masks nothing"},
		{"mask-key-predictable", e, ClientOnly, rfc6455 + "5.3", "a masking key can't be predicted from those before it"},
		{"mask-key-seed-fixed", e, ClientOnly, rfc6455 + "5.3", "every connection begins with another masking key"},
		{"frame-truncated", w, EitherSide, rfc6455 + "5.2", "a connection ends between frames"},
		{"violation-tolerated", e, EitherSide, rfc6455 + "7.1.7", "a side that gets a frame which breaks a rule fails the connection"},
		{"frame-after-fail", e, EitherSide, rfc6455 + "7.1.7", "a side that has failed the connection answers nothing more"},

		// Fragmentation and control frames.
		{"frag-orphan-continuation", e, EitherSide, rfc6455 + "5.4", "a continuation frame continues a message"},
		{"frag-interleaved", e, EitherSide, rfc6455 + "5.4", "a message ends before the next begins"},
		{"frag-unfinished", e, EitherSide, rfc6455 + "6.1", "a message is complete before its sender closes"},
		{"control-fragmented", e, EitherSide, rfc6455 + "5.5", "control frames are not fragmented"},
		{"control-too-long", e, EitherSide, rfc6455 + "5.5", "the payload of a control frame is at most 125 bytes"},
		{"pong-missing", e, EitherSide, rfc6455 + "5.5.2", "a ping is answered by a pong"},
		{"pong-slow", w, EitherSide, rfc6455 + "5.5.2", "a ping is answered as soon as is practical"},
		{"pong-payload-mismatch", w, EitherSide, rfc6455 + "5.5.3", "a pong has the payload of the ping that it answers"},
		{"pong-unsolicited", i, EitherSide, rfc6455 + "5.5.3", "a pong answers a ping"},
		{"ping-payload-app-data", i, EitherSide, advice, "a ping carries little"},

		// Text.
		{"text-invalid-utf8", e, EitherSide, rfc6455 + "8.1", "text is UTF-8"},
		{"text-utf8-cut", e, EitherSide, rfc6455 + "5.6", "a text message ends at the end of a character"},

		// Close and the end of the connection.
		{"close-body-one-byte", e, EitherSide, rfc6455 + "5.5.1", "the body of a close frame is empty or begins with a 2-byte code"},
		{"close-code-forbidden", e, EitherSide, rfc6455 + "7.4.1", "codes 1005, 1006 and 1015 are never sent"},
		{"close-code-out-of-range", e, EitherSide, rfc6455 + "7.4.2", "a close code is from 1000 to 4999"},
		{"close-code-unassigned", e, EitherSide, rfc6455 + "7.4.2", "codes 1004 and 1016 to 2999 are not assigned"},
		{"close-code-unregistered", i, EitherSide, rfc6455 + "7.4.2", "codes from 3000 to 3999 are registered with IANA"},
		{"close-reason-invalid-utf8", e, EitherSide, rfc6455 + "5.5.1", "the reason in a close frame is UTF-8"},
		{"close-1010-from-server", w, ServerOnly, rfc6455 + "7.4.1", "code 1010 is for clients"},
		{"close-1010-no-list", w, ClientOnly, rfc6455 + "7.4.1", "the reason to code 1010 lists the extensions that are missing"},
		{"close-1011-from-client", i, ClientOnly, rfc6455 + "7.4.1", "code 1011 is for servers"},
		{"data-after-close", e, EitherSide, rfc6455 + "5.5.1", "no data frames follow a close frame"},
		{"control-after-close", i, EitherSide, rfc6455 + "5.5.1", "nothing follows a close frame"},
		{"close-twice", w, EitherSide, rfc6455 + "5.5.1", "a side sends one close frame"},
		{"close-not-answered", e, EitherSide, rfc6455 + "5.5.1", "a close frame is answered by a close frame"},
		{"close-reply-code-differs", i, EitherSide, rfc6455 + "5.5.1", "the answer to a close frame repeats its code"},
		{"close-missing", w, EitherSide, rfc6455 + "7.1.7", "a connection is closed by a close frame"},
		{"idle-close-60s", w, EitherSide, advice, "a quiet connection is kept alive"},
		{"tcp-reset", w, EitherSide, rfc6455 + "7.1.1", "a connection is not ended by a reset"},
		{"tcp-close-late", e, ServerOnly, rfc6455 + "5.5.1", "the server closes the connection once both sides have sent a close frame"},
		{"tcp-client-closed-first", i, ClientOnly, rfc6455 + "7.1.1", "the server is the first to close the TCP connection"},
		{"tls-no-close-notify", i, EitherSide, rfc6455 + "7.1.1", "TLS is ended by a close_notify"},
		{"bytes-after-close", i, EitherSide, rfc6455 + "7.1.1", "nothing is sent once both sides have sent a close frame"},
		{"reconnect-no-backoff", w, ClientOnly, rfc6455 + "7.2.3", "a client waits longer and longer before it connects again"},

		// Compressed messages.
		{"pmd-rsv1-continuation", e, EitherSide, rfc7692 + "6.1", "RSV1 is set on the first frame of a compressed message only"},
		{"pmd-rsv1-control", e, EitherSide, rfc7692 + "6.1", "RSV1 is not set on control frames"},
		{"pmd-inflate-failed", e, EitherSide, rfc7692 + "7.2.1", "a compressed message is valid DEFLATE"},
		{"pmd-tail-not-stripped", e, EitherSide, rfc7692 + "7.2.1", "the 00 00 ff ff at the end of a compressed message is left out"},
		{"pmd-context-kept", e, EitherSide, rfc7692 + "7.2.1", "without context takeover a message refers to nothing before it"},
		{"pmd-window-exceeded", e, EitherSide, rfc7692 + "7.2.1", "a message refers back no farther than the window that was agreed"},
		{"pmd-bfinal", i, EitherSide, rfc7692 + "7.2.1", "a compressed message has no final block"},
		{"pmd-bomb", w, EitherSide, rfc6455 + "10.4", "a compressed message is not far larger than what is sent of it"},
		{"pmd-not-worth-it", i, EitherSide, advice, "a message is compressed if that makes it smaller"},
		{"pmd-unused", i, EitherSide, advice, "once compression was agreed on, long text is compressed"},

		// Advice: no RFC asks for it.
		{"frag-storm", w, EitherSide, advice, "a message is not sent in many tiny fragments"},
		{"tiny-messages", i, EitherSide, advice, "many tiny messages are sent as one"},
		{"message-huge", i, EitherSide, advice, "a message is no larger than what most receivers take"},
		{"frame-buffer-split", i, EitherSide, advice, "a message is not fragmented by the size of a buffer"},
		{"ping-absent", i, EitherSide, advice, "a quiet connection has a heartbeat"},
		{"ping-storm", i, EitherSide, advice, "pings are at least a second apart"},
		{"handshake-slow", i, ServerOnly, advice, "a handshake is answered within a second"},
		{"origin-missing", i, ClientOnly, advice, "a request has an Origin"},
		{"origin-null", i, ClientOnly, advice, "the Origin says where a page is from"},
		{"origin-not-checked", w, ServerOnly, advice, "a server that knows its users by cookies accepts its own pages only"},
		{"mixed-content", w, ClientOnly, advice, "a page that came over https uses wss"},
		{"plaintext-remote", w, ClientOnly, advice, "what goes to another machine goes over wss"},
		{"token-in-url", w, ClientOnly, advice, "a URL holds no secret, as it ends up in logs"},
		{"token-in-subprotocol", w, ClientOnly, advice, "Sec-WebSocket-Protocol holds no secret"},
		{"basic-auth-in-url", w, ClientOnly, advice, "a URL holds no password"},
		{"subprotocol-none-selected", i, ServerOnly, advice, "a server chooses one of the subprotocols offered"},
		{"subprotocol-unregistered", i, ServerOnly, advice, "the subprotocol is registered with IANA"},
		{"json-as-binary", i, EitherSide, advice, "JSON is sent as text"},
		{"base64-in-text", i, EitherSide, advice, "bytes are sent in binary messages"},
		{"text-bom", i, EitherSide, advice, "text does not begin with a byte order mark"},
		{"duplicate-message", i, EitherSide, advice, "a message is sent once"},
		{"redundant-headers", i, EitherSide, advice, "a handshake has no headers of the drafts before RFC 6455"},
		{"cookie-large", i, ClientOnly, advice, "the head of a request is smaller than 8 KiB"},
	}
}

var ruleByID = func() map[RuleID]*Rule {
	m := make(map[RuleID]*Rule, len(Rules))
	for i := range Rules {
		m[Rules[i].ID] = &Rules[i]
	}
	return m
}()

// LookupRule returns the rule with the given id, or nil.
func LookupRule(id RuleID) *Rule { return ruleByID[id] }
