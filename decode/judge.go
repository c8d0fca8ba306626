package decode

import "fmt"

// A judge finds violations of the [Rules]. It is called for what happens in a
// session, reads the facts, and adds violations to the next event. It writes no
// facts: without it every event is the same, but for the violations and their
// counts in [Totals].
//
// A rule is in one place: where its violation is found, the bytes at fault are
// named, and what the other side has to do about it is noted.
type judge struct {
	*facts
	advice bool  // judge rules of severity info too
	seen   *Seen // what other sessions did; may be nil

	found []Violation // to go with the next event

	// The opening handshake.
	headFault  [2]string // by Dir: the first error in its heads
	badRequest RuleID    // the first fault of the request that a server must refuse; "" for none
	rejected   RuleID    // what the 101 breaks, so that the client must not accept it; "" if nothing
	otherLeg   bool      // the capture has this session more than once, and another of them is judged for its keys
	mute       bool      // find nothing, as it is another head that is judged

	connection *judgedConnection // nil until frames can come
}

// A judgedConnection is what the judge remembers of the frames of a connection.
type judgedConnection struct {
	keys      maskKeys // of the client
	muted     [2]bool  // by Dir: its framing is probably lost; its frames are not judged any more
	fragments [2]fragments
	pings     [2]pingRate
	missing   [2]int64 // by Dir of the pings: 1 + the frame of the one whose pong was reported missing
	faults    [2]fault // by Dir: what the other side must not let pass
	before    [2]before
	blurred   [2]bool // by Dir: the other side may have something to fail the connection for
	closing   [2]closing
	late      bool     // tcp-close-late was reported
	talks     *[2]talk // by Dir; nil unless messages are put together
	stream    bool     // the client began as MQTT
}

// take returns the violations for the next event. They are valid until another
// one is found.
func (j *judge) take() []Violation {
	v := j.found
	j.found = j.found[:0]
	return v
}

// add adds a violation. When a side breaks a rule again and again, the first case
// of each severity is added and the others are only counted. An info that holds
// for every session is added once a run. add reports whether the violation was
// added.
func (j *judge) add(sev Severity, id RuleID, from Dir, frame int64, where Span, format string, args []any) bool {
	if j.mute || sev == SeverityInfo && !j.advice || j.misses(id) || j.excused(id, from) {
		return false
	}
	r := ruleByID[id]
	if j.totals.count(r, sev, from) > 1 || sev == SeverityInfo && !perSession[id] && j.seen.told(trait(id, from, format, args)) {
		return false
	}
	j.found = append(j.found, Violation{Rule: r, Severity: sev, From: from, Frame: frame, Where: where, Text: fmt.Sprintf(format, args...)})
	return true
}

// perSession are the rules of severity info that tell what happened in a session.
// The others tell how a program is made, which holds for all of its sessions.
var perSession = ruleSet("handshake-slow", "ping-absent", "ping-storm", "tiny-messages", "duplicate-message",
	"message-huge", "frag-unfinished")

// trait returns the words of a violation without its numbers, which differ from
// session to session.
func trait(id RuleID, from Dir, format string, args []any) string {
	t := from.String() + " " + string(id) + " " + format
	for _, a := range args {
		if s, ok := a.(string); ok {
			t += "\x00" + s
		}
	}
	return t
}

// side adds a violation that concerns no frame.
func (j *judge) side(from Dir, id RuleID, format string, args ...any) {
	j.add(ruleByID[id].Severity, id, from, noFrame, Span{}, format, args)
}

// sideAs is side with a severity that differs from the rule's.
func (j *judge) sideAs(sev Severity, from Dir, id RuleID, format string, args ...any) {
	j.add(sev, id, from, noFrame, Span{}, format, args)
}

// field adds a violation in a head, in the header field of that name, or "" for
// none in particular.
func (j *judge) field(from Dir, name string, id RuleID, format string, args ...any) {
	j.add(ruleByID[id].Severity, id, from, noFrame, Span{Field: name}, format, args)
}

// fieldAs is field with a severity that differs from the rule's.
func (j *judge) fieldAs(sev Severity, from Dir, name string, id RuleID, format string, args ...any) {
	j.add(sev, id, from, noFrame, Span{Field: name}, format, args)
}

// line adds a violation in a line of a head: in n bytes of Raw from an offset on.
func (j *judge) line(from Dir, offset, n int, id RuleID, format string, args ...any) {
	j.add(ruleByID[id].Severity, id, from, noFrame, Span{From: int64(offset), N: n}, format, args)
}

// at adds a violation in a frame.
func (j *judge) at(f *Frame, where Span, id RuleID, format string, args ...any) {
	j.add(ruleByID[id].Severity, id, f.Dir, f.N, where, format, args)
}

// atAs is at with a severity that differs from the rule's.
func (j *judge) atAs(sev Severity, f *Frame, where Span, id RuleID, format string, args ...any) {
	j.add(sev, id, f.Dir, f.N, where, format, args)
}

// fatal is at for a fault that the receiver of the frame must not let pass: it
// must fail the connection (RFC 6455 §7.1.7). If it goes on all the same, that
// is a violation too, of severity duty.
func (j *judge) fatal(duty Severity, f *Frame, where Span, id RuleID, format string, args ...any) {
	if j.add(ruleByID[id].Severity, id, f.Dir, f.N, where, format, args) {
		j.noteFault(duty, id, f)
	}
}

// repeated reports whether from has broken a rule before, and if so counts this
// case too; the first case is left to add. Where a side may break a rule with
// each frame, asking first saves the cost of a text that would not be used.
func (j *judge) repeated(id RuleID, from Dir) bool {
	r := ruleByID[id]
	for i := range j.totals.Rules {
		if c := &j.totals.Rules[i]; c.Rule == r && c.Severity == r.Severity && c.From == from {
			j.totals.count(r, r.Severity, from)
			return true
		}
	}
	return r.Severity == SeverityInfo && !j.advice
}

// keepFault keeps the first error in the head of d.
func (j *judge) keepFault(d Dir) {
	for i := range j.found {
		if v := &j.found[i]; v.From == d && v.Severity == SeverityError && j.headFault[d] == "" {
			j.headFault[d] = v.String()
		}
	}
}

// closed takes the end of the session.
func (j *judge) closed() {
	if client := j.client(); client != "" && j.hs.WebSocket {
		j.seen.disconnected(client, j.now, j.failed())
	}
}
