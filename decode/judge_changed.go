package decode

// What is judged otherwise because a gate sent something else than what came.

// owed are the rules about what a side has to do because of what it was sent. After
// something that breaks the protocol it may fail the connection, and owes nothing.
var owed = ruleSet("pong-missing", "pong-slow", "pong-unsolicited", "pong-payload-mismatch",
	"close-not-answered", "close-reply-code-differs", "close-missing", "idle-close-60s",
	"frag-unfinished", "frame-truncated", "frame-after-fail", "violation-tolerated",
	"tcp-reset", "tcp-close-late", "tcp-client-closed-first")

// excused reports whether d does not owe what a rule asks for.
func (j *judge) excused(id RuleID, d Dir) bool {
	if j.delivered == nil || !owed[id] {
		return false
	}
	return j.delivered[d.Peer()].broken || j.connection.blurred[d.Peer()]
}

// starved reports whether d, which ends the connection, may do so because a change
// keeps something from it: the pong to its ping, or the rest of a frame.
func (j *judge) starved(d Dir) bool {
	return j.delivered != nil && (j.delivered[d.Peer()].pongs > 0 || j.delivered[d.Peer()].part)
}

// A before is what the fault of a side was before that of a frame.
type before struct {
	frame int64 // 1 + its number; 0 for none
	fault fault
}

// undoFault forgets the fault of a frame that was not passed on: its receiver has
// nothing to fail the connection for.
func (j *judge) undoFault(f *Frame) {
	if b := &j.connection.before[f.Dir]; b.frame == f.N+1 {
		j.connection.faults[f.Dir] = b.fault
	}
}

// blurFault takes back what a fault of f demands, if it has one: where other frames
// of its sender were changed, its receiver may see none.
func (j *judge) blurFault(f *Frame) {
	if j.connection.before[f.Dir].frame == f.N+1 {
		j.undoFault(f)
		j.connection.blurred[f.Dir] = true
	}
}

// sentRequest judges what the server was sent in place of the request, to know
// whether it must refuse that. It is nobody's fault.
func (j *judge) sentRequest(h *Head) {
	j.badRequest, j.mute = "", true
	j.upgradeRequest(h)
	j.mute = false
}

// relayed judges the answer that the client was sent by what it asked for, to know
// whether it must reject that. h is the answer that came.
func (j *judge) relayed(h *Head) {
	if j.hs.Forwarded == nil && j.hs.Relayed == nil {
		return
	}
	if j.hs.Relayed != nil {
		h = j.hs.Relayed
	}
	j.rejected = ""
	if h.Status == 101 || h.http2() {
		j.mute = true
		j.answer(j.hs.Request, h)
		j.mute = false
	}
}
