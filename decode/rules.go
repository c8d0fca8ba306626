package decode

import "fmt"

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

// RuleID is the name of a rule, as every output shows it.
type RuleID string

// A Rule is something that a client or a server must or should do.
type Rule struct {
	ID       RuleID
	Severity Severity
	Section  string // where it is written: "RFC 6455 §5.2"
	Text     string // what it asks for
}

const (
	rfc6455 = "RFC 6455 §"
	rfc9110 = "RFC 9110 §"
)

// Rules are all the rules, in the order in which a connection meets them.
var Rules = []Rule{
	// The opening handshake of the client.
	{"req-method-not-get", SeverityError, rfc6455 + "4.1", "the method of a WebSocket request is GET"},
	{"req-http-version-low", SeverityError, rfc6455 + "4.1", "a WebSocket request is HTTP/1.1 or higher"},
	{"req-upgrade-missing", SeverityError, rfc6455 + "4.1", "a WebSocket request has an Upgrade header"},
	{"req-upgrade-not-websocket", SeverityError, rfc6455 + "4.1", "the Upgrade header of a WebSocket request lists websocket"},
	{"req-connection-no-upgrade", SeverityError, rfc6455 + "4.1", "the Connection header of a WebSocket request lists Upgrade"},
	{"req-key-missing", SeverityError, rfc6455 + "4.1", "a WebSocket request has a Sec-WebSocket-Key"},
	{"req-key-invalid", SeverityError, rfc6455 + "4.1", "the Sec-WebSocket-Key is 16 bytes in base64"},
	{"req-version-missing", SeverityError, rfc6455 + "4.1", "a WebSocket request has a Sec-WebSocket-Version"},
	{"req-version-not-13", SeverityError, rfc6455 + "4.1", "the Sec-WebSocket-Version is 13"},

	// The opening handshake of the server.
	{"res-upgrade-missing", SeverityError, rfc6455 + "4.2.2", "a 101 has an Upgrade header"},
	{"res-upgrade-wrong", SeverityError, rfc6455 + "4.1", "the Upgrade header of a 101 is websocket"},
	{"res-connection-missing", SeverityError, rfc6455 + "4.1", "the Connection header of a 101 lists Upgrade"},
	{"res-accept-missing", SeverityError, rfc6455 + "4.1", "a 101 has a Sec-WebSocket-Accept"},
	{"res-accept-mismatch", SeverityError, rfc6455 + "4.2.2", "the Sec-WebSocket-Accept is computed from the key of the request"},

	// Frames.
	{"frame-rsv-set", SeverityError, rfc6455 + "5.2", "RSV1, RSV2 and RSV3 are 0 unless an extension defines them"},
	{"frame-opcode-reserved", SeverityError, rfc6455 + "5.2", "opcodes 3 to 7 and 11 to 15 are not used"},
	{"frame-length-not-minimal", SeverityError, rfc6455 + "5.2", "the payload length takes the fewest bytes that can hold it"},
	{"frame-length-msb", SeverityError, rfc6455 + "5.2", "the top bit of a 64-bit payload length is 0"},
	{"frame-client-unmasked", SeverityError, rfc6455 + "5.1", "frames from a client are masked"},
	{"frame-server-masked", SeverityError, rfc6455 + "5.1", "frames from a server are not masked"},

	// Fragmentation and control frames.
	{"frag-orphan-continuation", SeverityError, rfc6455 + "5.4", "a continuation frame continues a message"},
	{"frag-interleaved", SeverityError, rfc6455 + "5.4", "a message ends before the next begins"},
	{"control-fragmented", SeverityError, rfc6455 + "5.5", "control frames are not fragmented"},
	{"control-too-long", SeverityError, rfc6455 + "5.5", "the payload of a control frame is at most 125 bytes"},

	// Close.
	{"close-body-one-byte", SeverityError, rfc6455 + "5.5.1", "the body of a close frame is empty or begins with a 2-byte code"},
	{"close-code-forbidden", SeverityError, rfc6455 + "7.4.1", "codes 1005, 1006 and 1015 are never sent"},
	{"close-code-out-of-range", SeverityError, rfc6455 + "7.4.2", "a close code is from 1000 to 4999"},
	{"close-code-unassigned", SeverityError, rfc6455 + "7.4.2", "codes 1004 and 1016 to 2999 are not assigned"},
	{"close-reason-invalid-utf8", SeverityError, rfc6455 + "5.5.1", "the reason in a close frame is UTF-8"},
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

// A Violation is a rule that one side broke, and what was seen. It is a value:
// the traffic goes on.
type Violation struct {
	*Rule
	From  Dir    // the side at fault
	Frame int64  // the frame's number in that side's direction, or -1
	Text  string // what was seen and what the limit is
}

// String returns "client frame-rsv-set: …  (RFC 6455 §5.2)", as texts show it.
func (v *Violation) String() string {
	return fmt.Sprintf("%s %s: %s (%s)", v.From, v.ID, v.Text, v.Section)
}
