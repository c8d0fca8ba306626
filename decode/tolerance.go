package decode

import "time"

// mustFail are the faults of a frame that its receiver must not let pass: it
// fails the connection (RFC 6455 §5.1, §5.2, §8.1, RFC 7692 §6.1). For those
// that are a warning here, only the sender has such a duty in the text.
var mustFail = map[RuleID]Severity{
	"frame-client-unmasked": SeverityError,
	"frame-server-masked":   SeverityError,
	"frame-rsv-set":         SeverityError,
	"frame-opcode-reserved": SeverityError,
	"text-invalid-utf8":     SeverityError,
	"text-utf8-cut":         SeverityError,
	"pmd-rsv1-continuation": SeverityError,
	"pmd-rsv1-control":      SeverityError,

	"frame-length-not-minimal": SeverityWarning,
	"frag-orphan-continuation": SeverityWarning,
	"frag-interleaved":         SeverityWarning,
	"control-fragmented":       SeverityWarning,
	"control-too-long":         SeverityWarning,
}

// A fault is the worst of mustFail that one side has sent.
type fault struct {
	rule     RuleID // "" if there is none
	severity Severity
	frame    int64
	at       time.Time
	let      bool // that the other side lets it pass was reported
}

// noteFault notes that from broke a rule, for what its peer makes of that.
func (s *Session) noteFault(id RuleID, from Dir, frame int64) {
	x := &s.sides[from].fault
	if sev, ok := mustFail[id]; ok && (x.rule == "" || sev < x.severity) {
		*x = fault{rule: id, severity: sev, frame: frame, at: s.now}
	}
}

// checkTolerance reports that the sender of f begins a message long after it
// got a frame that it should have failed the connection for.
func (s *Session) checkTolerance(f *Frame) {
	d := f.Dir.Peer()
	x := &s.sides[d].fault
	if x.rule == "" || x.let {
		return
	}
	if wait := s.now.Sub(x.at); wait >= answerWithin {
		x.let = true
		s.reportAs(x.severity, "violation-tolerated", f.Dir, f.N, "goes on %s after frame %d of the %s, which breaks %s", seconds(wait), x.frame, d, x.rule)
	}
}

// checkAnswer reports that the sender of the pong f should not be there any
// more to answer p: it got a frame before that it should have failed the
// connection for, or has done so. An empty payload does not prove that the pong
// is an answer.
func (s *Session) checkAnswer(f *Frame, p *ping) {
	d := f.Dir.Peer()
	sd, x := &s.sides[f.Dir], &s.sides[d].fault
	switch {
	case f.Length == 0:
	case sd.failed:
		if p.n >= sd.heard {
			s.report("frame-after-fail", f.Dir, f.N, "pong to frame %d, which came after the close frame %d that failed the connection", p.n, sd.closeFrame)
		}
	case !sd.closed && x.rule != "" && !x.let && p.n > x.frame:
		x.let = true
		s.reportAs(x.severity, "violation-tolerated", f.Dir, f.N, "pong to frame %d, which came after frame %d of the %s, which breaks %s", p.n, x.frame, d, x.rule)
	}
}
