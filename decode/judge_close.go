package decode

import (
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// closeSoon is how long a server may take to end the connection after both
// Close frames.
const closeSoon = 2 * time.Second

// closing is what the judge remembers of the closing handshake of one side.
type closing struct {
	unanswered bool // it was reported that its Close got no answer
	failed     bool // with its Close it failed the connection
}

// close judges a Close frame (RFC 6455 §5.5.1, §7).
func (j *judge) close(f *Frame, c *closeFact) {
	state := &j.connection.closing[f.Dir]
	if !c.again {
		state.failed = c.ok && (c.code == 1002 || c.code == 1007) && j.connection.faults[f.Dir.Peer()].rule != ""
	} else if !j.repeated("close-twice", f.Dir) {
		j.at(f, flagsOf(f), "close-twice", "close frame after the close frame %d", j.verdict.closes[f.Dir].frame)
	}
	if j.conn.cutters[f.Dir].open && !c.again && j.mayFail(f.Dir) == "" {
		sev := SeverityError
		if c.peerClosed {
			sev = SeverityInfo
		}
		j.atAs(sev, f, flagsOf(f), "frag-unfinished", "close frame before the end of a message")
	}
	if f.Rsv != 0 {
		return
	}
	switch {
	case f.Length == 1:
		j.at(f, codeOf(f), "close-body-one-byte", "body of 1 byte, a code takes 2")
	case c.ok && j.conn.aliens[f.Dir.Peer()].what != "": // it may repeat what it took for a code
	case c.ok:
		j.checkCode(f, c)
		if f.Complete && f.Length <= ws.MaxControlFramePayloadSize && !utf8.Valid(c.reason) {
			at, _ := new(utf8Check).add(c.reason)
			j.at(f, payloadOf(f, 2+max(0, at), 1), "close-reason-invalid-utf8", "reason %q is not UTF-8", c.reason)
		}
	}
	peer := &j.verdict.reached[f.Dir.Peer()]
	if c.first || c.again || !f.Complete || !c.peerClosed {
		return
	}
	code, where := CodeNoStatus, Span{}
	if c.ok {
		code, where = c.code, codeOf(f)
	}
	if code != peer.code {
		j.at(f, where, "close-reply-code-differs", "%s answers %s", closeText(code, c.ok), closeText(peer.code, peer.said))
	}
}

// closeText names a close frame by its code, if it has one.
func closeText(code int, said bool) string {
	if !said {
		return "a close frame without a code"
	}
	return "code " + CloseName(code)
}

// checkCode judges the status code of a Close frame.
func (j *judge) checkCode(f *Frame, c *closeFact) {
	code := c.code
	if id := closeCodeRule(code); id != "" {
		j.at(f, codeOf(f), id, "code %s", CloseName(code))
		return
	}
	switch {
	case code >= 3000 && code < 4000 && closeNames[code] == "":
		j.at(f, codeOf(f), "close-code-unregistered", "code %d is not registered, codes of an application's own begin at 4000", code)
	case code == 1010 && f.Dir == FromServer && !c.peerClosed: // else it repeats the client's
		j.at(f, codeOf(f), "close-1010-from-server", "code %s, a server refuses the handshake instead", CloseName(code))
	case code == 1010 && len(c.reason) == 0 && f.Length == 2 && f.Dir == FromClient && !c.peerClosed:
		j.at(f, codeOf(f), "close-1010-no-list", "code %s without a list of extensions", CloseName(code))
	case code == 1011 && f.Dir == FromClient && !c.peerClosed:
		j.at(f, codeOf(f), "close-1011-from-client", "code %s, which a server sends", CloseName(code))
	}
}

// closeCodeRule returns the rule that a code in a Close frame breaks, or "".
func closeCodeRule(code int) RuleID {
	switch {
	case code < 1000 || code >= 5000:
		return "close-code-out-of-range"
	case code == CodeNoStatus || code == CodeAbnormal || code == CodeTLS:
		return "close-code-forbidden"
	case code == 1004 || code >= 1016 && code <= 2999:
		return "close-code-unassigned"
	}
	return ""
}

// overdue judges what is overdue by now, before the next frame or end is taken.
// It reports whether it found anything.
func (j *judge) overdue(end bool) bool {
	j.pongOverdue(FromClient, end)
	j.pongOverdue(FromServer, end)
	if j.ended > 0 {
		j.keptOpen()
	} else {
		j.closeLate()
		j.closeOverdue(FromClient, end)
		j.closeOverdue(FromServer, end)
	}
	j.adviseQuiet()
	return len(j.found) > 0
}

// closeLate finds that the server has not ended the connection in time after both
// Close frames (RFC 6455 §7.1.1).
func (j *judge) closeLate() {
	if wait := j.verdict.sinceBoth(FromServer, j.now); j.verdict.both(FromServer) && wait > closeSoon && !j.connection.late {
		j.connection.late = true
		j.side(FromServer, "tcp-close-late", "the connection is still open %s after both close frames, limit is %s", seconds(wait), seconds(closeSoon))
	}
}

// closeOverdue finds that a Close frame of d, if its peer was sent one, got no
// answer in time, or none before the end of the connection (RFC 6455 §5.5.1).
func (j *judge) closeOverdue(d Dir, end bool) {
	own, state := &j.verdict.reached[d], &j.connection.closing[d]
	if !own.sent || j.verdict.closes[d.Peer()].sent || state.unanswered {
		return
	}
	wait := j.now.Sub(own.at)
	after := j.conn.cutters[d.Peer()].lastStart.Sub(own.at)
	switch {
	case wait >= answerWithin:
		state.unanswered = true
		j.side(d.Peer(), "close-not-answered", "no answer to %s in %s, limit is %s", own.text(d), seconds(wait), seconds(answerWithin))
	case end && after >= answerSoon:
		state.unanswered = true
		j.side(d.Peer(), "close-not-answered", "no answer to %s, though a new message was sent %s after it", own.text(d), seconds(after))
	}
}

// text names a Close frame, which d sent or which was sent in its place.
func (c *sentClose) text(d Dir) string {
	if c.frame <= outFrame(0) {
		return "the close of " + frameText(c.frame)
	}
	return "the close frame " + itoa(c.frame) + " of the " + d.String()
}

// keptOpen finds that one side has neither answered the Close frame of the other,
// which has ended the connection, nor ended it too.
func (j *judge) keptOpen() {
	for d := range Dir(2) {
		at, ok := j.facts.keptOpen(d)
		if !ok || j.now.Before(at) {
			continue
		}
		if state := &j.connection.closing[d.Peer()]; !state.unanswered {
			state.unanswered = true
			own := &j.verdict.reached[d.Peer()]
			j.sideAs(SeverityWarning, d, "close-not-answered", "no answer to %s, and the connection is still open %s after its end",
				own.text(d.Peer()), seconds(j.now.Sub(at)+keptOpenAfter))
		}
	}
}

// end judges how d ended (RFC 6455 §7.1.1, §7.1.7), and what inside of.
// gone says that one side had ended the connection before.
func (j *judge) end(d Dir, how End, cut cut, gone bool) {
	if !how.bySide() || !j.totals.How.bySide() {
		return // it was the proxy's doing
	}
	if j.conn.aliens[d].what != "" {
		return // it ends what is no WebSocket
	}
	cause := j.cause(d, gone)
	blameless := cause != "" || j.starved(d)
	if !gone && !j.verdict.closed {
		j.totals.Cause = cause
	}
	both := j.verdict.both(d)
	switch {
	case how == EndTLSEOF && !j.totals.Unknown:
		j.side(d, "tls-no-close-notify", "TLS ends without close_notify")
	case how == EndRST && !gone && !both && !blameless:
		j.side(d, "tcp-reset", "the connection was reset, what was on its way may be lost")
	}
	if d == FromClient && !gone && both && j.verdict.sinceBoth(d, j.now) < closeSoon {
		j.side(d, "tcp-client-closed-first", "the client ends the connection before the server does, and keeps the port in TIME_WAIT")
	}
	if how != EndRST && (!gone || j.totals.Unknown) && !blameless {
		j.endsInside(d, cut)
	}
	own, peer := &j.verdict.closes[d], &j.verdict.reached[d.Peer()]
	if gone || own.sent || blameless {
		return
	}
	switch {
	case peer.sent && how != EndRST && cut.in == cutNowhere && !j.connection.closing[d.Peer()].unanswered:
		j.connection.closing[d.Peer()].unanswered = true
		j.sideAs(SeverityWarning, d, "close-not-answered", "no answer to %s before the end of the connection", peer.text(d.Peer()))
	case peer.sent:
		return
	case how != EndRST:
		why := ""
		if d == FromClient && j.hs.Response != nil && j.totals.Frames == [2]int64{} && cut.in == cutNowhere {
			why = "; it may have refused the answer to its handshake"
		}
		j.side(d, "close-missing", "no close frame before the end of the connection, which the %s sees as 1006%s", d.Peer(), why)
	}
	if limit, what := idleLimit(j.totals.Idle); limit > 0 && !peer.sent {
		j.side(d, "idle-close-60s", "the connection ends %s after the last frame; %s is %s", seconds(j.totals.Idle), seconds(limit), what)
	}
}

// endsInside judges that d ended inside a frame, cut, or a message, though its peer
// had not ended before. With a Close of the peer it had better not go on
// (RFC 6455 §5.5.1, §6.1).
func (j *judge) endsInside(d Dir, cut cut) {
	sev := SeverityInfo
	peerClosed := j.verdict.reached[d.Peer()].sent
	switch open := j.conn.cutters[d].open && !j.verdict.closes[d].sent; { // with a Close, that was judged then
	case cut.in != cutNowhere && !j.verdict.both(d):
		if !peerClosed {
			sev = SeverityWarning
		}
		j.truncated(sev, d, cut)
	case cut.in == cutNowhere && open:
		switch {
		case j.totals.Unknown:
			sev = SeverityWarning
		case !peerClosed:
			sev = SeverityError
		}
		j.sideAs(sev, d, "frag-unfinished", "the connection ends before the end of a message")
	}
}

// beginsAfterClose judges the beginning of a header that a side sent after its own
// Close, as far as its first octet tells (RFC 6455 §5.5.1).
func (j *judge) beginsAfterClose(f *Frame) {
	id := RuleID("control-after-close")
	switch {
	case !f.Control():
		id = "data-after-close"
	case f.OpCode == ws.OpClose:
		id = "close-twice"
	}
	if j.verdict.both(f.Dir) {
		j.atAs(SeverityInfo, f, flagsOf(f), "bytes-after-close", "the beginning of a %s frame after both close frames", OpName(f.OpCode))
	}
	j.at(f, flagsOf(f), id, "the beginning of a %s frame after the close frame %d", OpName(f.OpCode), j.verdict.closes[f.Dir].frame)
}

// truncated reports a frame of which the connection ended inside.
func (j *judge) truncated(sev Severity, d Dir, cut cut) {
	text := "the connection ends inside frame %d, %s: %d of %d bytes of its payload came"
	args := []any{cut.frame, OpName(cut.op), cut.came, cut.of}
	switch {
	case cut.in == cutPayload:
	case cut.of == 0:
		text, args = "the connection ends inside frame %d, %s: 1 byte of its header came", args[:2]
	default:
		text = "the connection ends inside frame %d, %s: %d of %d bytes of its header came"
	}
	j.add(sev, "frame-truncated", d, cut.frame, Span{}, text, args)
}

// cause returns the rule that the peer of d broke, for which d may end the
// connection without a Close, or "". gone says that one side had ended it before.
func (j *judge) cause(d Dir, gone bool) RuleID {
	if id := j.mayFail(d); id != "" {
		return id
	}
	if !gone && j.gaveUp(d) {
		return "pong-missing"
	}
	return ""
}

// mayFail returns the rule that the peer of d broke, for which d must fail the
// connection and has not let it pass, or "".
func (j *judge) mayFail(d Dir) RuleID {
	if d == FromClient && j.totals.Frames[d] == 0 && j.rejected != "" {
		return j.rejected
	}
	if x := &j.connection.faults[d.Peer()]; !x.tolerated {
		return x.rule
	}
	return ""
}
