package decode

import "time"

// A fault is the worst thing sent by one side for which its peer must fail the
// connection (RFC 6455 §5.1, §5.2, §8.1, RFC 7692 §6.1).
type fault struct {
	rule      RuleID   // "" if there is none
	duty      Severity // of the violation if the peer goes on all the same
	frame     int64
	at        time.Time
	tolerated bool // it was reported that the peer goes on
}

// noteFault notes a fault in a frame, to see whether the peer of its sender lets
// it pass. duty is how bad that would be: for some faults the RFC puts a duty on
// the sender only.
func (j *judge) noteFault(duty Severity, id RuleID, f *Frame) {
	x := &j.connection.faults[f.Dir]
	if b := &j.connection.before[f.Dir]; b.frame != f.N+1 {
		*b = before{f.N + 1, *x}
	}
	if x.rule == "" || duty < x.duty {
		*x = fault{rule: id, duty: duty, frame: f.N, at: j.now}
	}
}

// tolerance finds that the sender of f begins a message long after it got a
// frame that it should have failed the connection for.
func (j *judge) tolerance(f *Frame) {
	d := f.Dir.Peer()
	x := &j.connection.faults[d]
	if x.rule == "" || x.tolerated {
		return
	}
	if wait := j.now.Sub(x.at); wait >= answerWithin {
		x.tolerated = true
		j.atAs(x.duty, f, flagsOf(f), "violation-tolerated", "goes on %s after frame %d of the %s, which breaks %s", seconds(wait), x.frame, d, x.rule)
	}
}

// answers finds that the sender of the pong f should not have answered the ping
// p: before p it got a frame that it should have failed the connection for, or
// it has failed the connection already. An empty payload does not prove that the
// pong is an answer.
func (j *judge) answers(f *Frame, p *ping) {
	d := f.Dir.Peer()
	own, x := j.verdict.closes[f.Dir], &j.connection.faults[d]
	switch {
	case f.Length == 0:
	case j.connection.closing[f.Dir].failed:
		if p.n >= own.heard {
			j.at(f, flagsOf(f), "frame-after-fail", "pong to frame %d, which came after the close frame %d that failed the connection", p.n, own.frame)
		}
	case !own.sent && x.rule != "" && !x.tolerated && p.n > x.frame:
		x.tolerated = true
		j.atAs(x.duty, f, flagsOf(f), "violation-tolerated", "pong to frame %d, which came after frame %d of the %s, which breaks %s", p.n, x.frame, d, x.rule)
	}
}
