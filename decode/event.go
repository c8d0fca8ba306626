package decode

import (
	"math"
	"slices"
	"time"
)

// Kind says what an [Event] is about.
type Kind uint8

const (
	KindOpen      Kind = iota // a session begins: Info
	KindRequest               // the request head is complete: Handshake.Request
	KindResponse              // a response head is complete, interim ones too: Head
	KindFrame                 // a frame, or a piece of one: Frame
	KindViolation             // Violations that belong to no frame or head
	KindOpaque                // from here on bytes are only counted: Text says why
	KindJunk                  // bytes that can't be framed: Data, Text says why
	KindGap                   // Lost bytes of a capture are missing
	KindNotice                // a remark of ours or of the user's: Text; if Fate has a change, on what that did to what Dir sent
	KindEnd                   // a direction ended: How, Text, Status
	KindClosed                // the session is over: Totals
	KindMessage               // a data message is complete, or never will be: Message
	KindBody                  // a piece of an HTTP body: Data, BodyLen, Part, Body
)

// An Event is one thing that happened in a [Session]. The session owns it and
// everything it points to; it is valid during [Sink.Emit], and [Event.Clone]
// makes a copy to keep.
type Event struct {
	Kind Kind
	Dir  Dir
	How  End
	Conn int64     // the session's number
	Time time.Time // of the chunk that completed it

	Info       *Info         // always set
	Handshake  *Handshake    // set once the request is known
	Head       *Head         // of a response
	Frame      *Frame        // of a frame
	Message    *Message      // of a message, and of the last piece of its final frame
	RTT        time.Duration // of a pong that answers a ping: since that came
	Part       bool          // of a frame: it belongs to a message that a later event will have; of a body: it goes on
	Content    []byte        // of a frame, with Look.Pieces: what this piece adds to the data message that Part or Message tells of, unmasked and inflated
	Unread     bool          // of such a frame: the content of its message can't be read, from the end of Content on
	Data       []byte        // of junk; of a body, or of the answer to a refused upgrade the body up to MaxPiece, without its transfer coding
	BodyLen    int64         // of a response: the whole length of the body that Data begins, 0 if that is not known; of a body: the length of the piece, which Data may not have all of
	Body       *Message      // of the last piece of a body: all of it, with Look.WholeBodies; Op is text if it is UTF-8
	CutOff     bool          // of a body, of which all that came is known: the connection ended inside of it
	Lost       int64         // of a gap: how many bytes
	Status     int           // of an end: the status of the answer that the proxy gave in place of the server; 0 if it gave none
	Both       bool          // of an end: both directions ended, and Dir means nothing
	Text       string        // why, or what
	Violations []Violation   // of this frame or head
	Totals     *Totals       // when closed

	Fate Fate // what [Session.Gate] decided
	Out  bool // it is about what was sent in place of what came; see [Session.Sent]

	// Where it was read in a file: the line, from 1, or 0 if there are none, and
	// the offset in bytes.
	Line   int
	Offset int64
	Start  time.Time // the t0 of the trace; zero elsewhere
}

// Clone returns a copy of ev that stays valid.
func (ev *Event) Clone() *Event {
	c := *ev
	info := *ev.Info
	c.Info = &info
	if ev.Handshake != nil {
		h := *ev.Handshake
		c.Handshake = &h
	}
	if ev.Frame != nil {
		c.Frame = ev.Frame.Clone()
	}
	if ev.Message != nil {
		c.Message = ev.Message.Clone()
	}
	if ev.Body != nil {
		c.Body = ev.Body.Clone()
	}
	if ev.Totals != nil {
		t := *ev.Totals
		t.Rules = slices.Clone(t.Rules)
		for d := range t.Heartbeat {
			t.Heartbeat[d].RTTs = slices.Clone(t.Heartbeat[d].RTTs)
		}
		c.Totals = &t
	}
	c.Content, c.Data = slices.Clone(ev.Content), slices.Clone(ev.Data)
	c.Violations = slices.Clone(ev.Violations)
	return &c
}

// End says how a direction ended.
type End uint8

const (
	EndFIN     End = iota // the sender closed its side
	EndRST                // the connection was reset
	EndTLSEOF             // TLS ended without close_notify
	EndTimeout            // a limit of ours ran out
	EndLocal              // we ended it
	EndDrop               // we stopped relaying it, as the other side had gone
)

var endNames = [...]string{"fin", "rst", "tls-eof", "timeout", "local", "drop"}

// String returns the name that traces use.
func (e End) String() string { return endNames[e] }

// ParseEnd returns the End with the given name.
func ParseEnd(name string) (End, bool) {
	i := slices.Index(endNames[:], name)
	return End(max(i, 0)), i >= 0
}

// Info is what is known of a session before its first byte.
type Info struct {
	Conn   int64     // its number, from 1
	Time   time.Time // when it began
	Client string    // "ip:port"
	Server string    // "host:port" as dialled
	URL    string    // what the client asks for
	Via    string    // how it came to us: forward, reverse, connect, direct, pcap
	Ext    string    // extensions in force, for a session without a handshake

	PID     int    // of the client's process; 0 if it is not known
	Process string // its name; "" if it is not known

	// Something of the session is missing in the source, which is not held
	// against either side: with Cont its beginning, with Piece any events.
	Cont  bool
	Piece bool

	// NoFrames says that the source knows messages, and no frames: see
	// [Session.Message]. Its heads are not judged, as they may be a digest, and
	// without an end no Close is missed.
	NoFrames bool

	ClientTLS, ServerTLS *TLS // of each leg; nil if it does not use TLS
}

// TLS is what a TLS handshake agreed on.
type TLS struct {
	Version string // "TLS1.3"
	Cipher  string // "TLS_AES_128_GCM_SHA256"
	ALPN    string // "http/1.1", or "" for none
	SNI     string // the server name that was asked for, or ""
}

// Totals is what a session adds up to.
type Totals struct {
	Opened, Closed time.Time
	Frames         [2]int64 // by Dir
	Bytes          [2]int64 // by Dir: on the wire after the heads
	Messages       [2]int64 // by Dir: data messages, by their final frames

	// Violations, by severity and by rule. Every case counts, also those that
	// were not reported because the side had broken the rule before.
	Errors, Warnings, Infos int
	Rules                   []RuleCount // in the order in which they were broken first

	// What was learned from messages, if Look has them put together.
	Checked   bool       // whether they were
	Unchecked [2]int64   // by Dir: messages that could not be read
	Deflate   [2]Savings // by Dir: what compression did

	Heartbeat [2]Heartbeat // by who sent the pings

	// Cause is the rule that the other side had broken, which made the side that
	// ended the connection without a Close do so: it had to (RFC 6455 §7.1.7), or
	// waited for a pong for too long. "" if there was none. The judge finds it.
	Cause RuleID

	// OwnURL is a URL, in Location or a JSON body, by which the server names
	// itself with the Host that it was told in place of the client's: a client
	// that follows it passes the proxy by. "" if there was none.
	OwnURL string

	Verdict // how the session ended
}

// Savings say what permessage-deflate did for the messages that it compressed.
type Savings struct {
	Messages int64
	Wire     int64 // bytes of them on the wire
	Len      int64 // bytes of them, inflated
}

// A Heartbeat is what became of the pings that one side sent (RFC 6455 §5.5.2).
type Heartbeat struct {
	Pings   int64
	Pongs   int64           // pongs that answer one of them
	Missing int64           // pings at the end that got no answer
	RTTs    []time.Duration // the latest round-trip times, up to 256, from the proxy to the other side and back; ascending
}

// Quantile returns the time that a share q of times does not exceed; 0 if there
// are none. times must ascend.
func Quantile(times []time.Duration, q float64) time.Duration {
	if len(times) == 0 {
		return 0
	}
	return times[max(0, int(math.Ceil(q*float64(len(times))))-1)]
}

// Violations returns how many violations there were, of any severity.
func (t *Totals) Violations() int { return t.Errors + t.Warnings + t.Infos }

// count counts a case in which from broke r with severity sev, and returns how
// many there are now.
func (t *Totals) count(r *Rule, sev Severity, from Dir) int64 {
	switch sev {
	case SeverityError:
		t.Errors++
	case SeverityWarning:
		t.Warnings++
	case SeverityInfo:
		t.Infos++
	}
	for i := range t.Rules {
		if c := &t.Rules[i]; c.Rule == r && c.Severity == sev && c.From == from {
			c.N++
			return c.N
		}
	}
	t.Rules = append(t.Rules, RuleCount{r, sev, from, 1})
	return 1
}
