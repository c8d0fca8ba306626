package decode

import (
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"
)

// closeSoon is how long a server may take to end the connection after both
// Close frames.
const closeSoon = 2 * time.Second

// checkClose looks into a Close frame and keeps the first for the verdict.
func (s *Session) checkClose(f *Frame) {
	sd, peer := &s.sides[f.Dir], &s.sides[f.Dir.Peer()]
	body := f.AppendPayload(s.scratch[:0], len(s.scratch))
	code, reason, ok := CloseBody(body)
	t := &s.totals
	first := !s.judged && (f.Complete || ok)
	if first {
		s.judged = true
		t.Code, t.By, t.Idle, t.Said = CodeNoStatus, f.Dir, s.quiet(), ok
		if ok {
			t.Code, t.Reason = code, string(reason)
		}
	}
	again := sd.closed
	if again {
		if !s.repeated("close-twice", f.Dir) {
			s.report("close-twice", f.Dir, f.N, "close frame after the close frame %d", sd.closeFrame)
		}
	} else {
		sd.closed, sd.closeFrame, sd.closedAt = true, f.N, s.now
		sd.failed = ok && (code == 1002 || code == 1007) && peer.fault.rule != ""
		sd.heard = s.totals.Frames[f.Dir.Peer()]
		t.Answered = peer.closed
	}
	if sd.open {
		sd.open = false
		sev := SeverityError
		if peer.closed {
			sev = SeverityInfo
		}
		s.reportAs(sev, "frag-unfinished", f.Dir, f.N, "close frame before the end of a message")
	}
	if f.Rsv != 0 {
		return
	}
	switch {
	case f.Length == 1:
		s.reportAt(0, "close-body-one-byte", f.Dir, f.N, "body of 1 byte, a code takes 2")
	case ok:
		s.checkCode(f, code, len(reason))
		if f.Complete && f.Length <= ws.MaxControlFramePayloadSize && !utf8.Valid(reason) {
			at, _ := new(utf8Check).add(reason)
			s.reportAt(2+max(0, at), "close-reason-invalid-utf8", f.Dir, f.N, "reason %q is not UTF-8", reason)
		}
	}
	if !first && !again && f.Complete && peer.closed && t.By != f.Dir {
		if !ok {
			code = CodeNoStatus
		}
		if code != t.Code {
			s.reportAt(max(-1, min(0, f.Length-2)), "close-reply-code-differs", f.Dir, f.N, "code %s answers code %s", CloseName(code), CloseName(t.Code))
		}
	}
}

// checkCode reports what is wrong with the status code of a Close frame.
func (s *Session) checkCode(f *Frame, code, reason int) {
	if id := closeCodeRule(code); id != "" {
		s.reportAt(0, id, f.Dir, f.N, "code %s", CloseName(code))
		return
	}
	switch {
	case code >= 3000 && code < 4000 && closeNames[code] == "":
		s.reportAt(0, "close-code-unregistered", f.Dir, f.N, "code %d is not registered, codes of an application's own begin at 4000", code)
	case code == 1010 && f.Dir == FromServer:
		s.reportAt(0, "close-1010-from-server", f.Dir, f.N, "code %s, a server refuses the handshake instead", CloseName(code))
	case code == 1010 && reason == 0 && f.Length == 2:
		s.reportAt(0, "close-1010-no-list", f.Dir, f.N, "code %s without a list of extensions", CloseName(code))
	case code == 1011 && f.Dir == FromClient:
		s.reportAt(0, "close-1011-from-client", f.Dir, f.N, "code %s, which a server sends", CloseName(code))
	}
}

// quiet returns for how long no frame has come.
func (s *Session) quiet() time.Duration {
	if s.lastFrame.IsZero() {
		return 0
	}
	return s.now.Sub(s.lastFrame)
}

// judge reports what is overdue by now, before the next frame or end is looked
// at. What it finds belongs to no frame.
func (s *Session) judge(end bool) {
	s.judgePing(FromClient, end)
	s.judgePing(FromServer, end)
	c, v := &s.sides[FromClient], &s.sides[FromServer]
	switch {
	case s.ended > 0:
	case c.closed && v.closed:
		if wait := s.sinceClose(); wait > closeSoon && !s.late {
			s.late = true
			s.report("tcp-close-late", FromServer, noFrame, "the connection is still open %s after both close frames, limit is %s", seconds(wait), seconds(closeSoon))
		}
	case c.closed:
		s.judgeClose(FromClient, end)
	case v.closed:
		s.judgeClose(FromServer, end)
	}
	s.adviseQuiet()
	if len(s.viol) > 0 {
		s.emit(Event{Kind: KindViolation})
	}
}

// sinceClose returns for how long both sides have sent a Close frame.
func (s *Session) sinceClose() time.Duration {
	return min(s.now.Sub(s.sides[FromClient].closedAt), s.now.Sub(s.sides[FromServer].closedAt))
}

// judgeClose reports that the Close frame of d got no answer in time, or at the
// end of the connection.
func (s *Session) judgeClose(d Dir, end bool) {
	sd, peer := &s.sides[d], &s.sides[d.Peer()]
	if sd.unanswered {
		return
	}
	wait := s.now.Sub(sd.closedAt)
	switch {
	case wait >= answerWithin:
		sd.unanswered = true
		s.report("close-not-answered", d.Peer(), noFrame, "no answer to the close frame %d of the %s in %s, limit is %s", sd.closeFrame, d, seconds(wait), seconds(answerWithin))
	case end && peer.lastStart.Sub(sd.closedAt) >= answerSoon:
		sd.unanswered = true
		s.report("close-not-answered", d.Peer(), noFrame, "no answer to the close frame %d of the %s, though a new message was sent %s after it", sd.closeFrame, d, seconds(peer.lastStart.Sub(sd.closedAt)))
	}
}

// checkEnd reports what is wrong with how d ended. cut is where: inside a frame
// or its header, or "".
func (s *Session) checkEnd(d Dir, how End, cut string) {
	sd, peer := &s.sides[d], &s.sides[d.Peer()]
	if how != EndFIN && how != EndRST && how != EndTLSEOF {
		return // it was us
	}
	switch {
	case how == EndTLSEOF && !s.totals.Unknown:
		s.report("tls-no-close-notify", d, noFrame, "TLS ends without close_notify")
	case how == EndRST && !s.gone && !(sd.closed && peer.closed):
		s.report("tcp-reset", d, noFrame, "the connection was reset, what was on its way may be lost")
	}
	if d == FromClient && !s.gone && sd.closed && peer.closed && s.sinceClose() < closeSoon {
		s.report("tcp-client-closed-first", d, noFrame, "the client ends the connection before the server does, and keeps the port in TIME_WAIT")
	}
	switch {
	case cut != "" && how != EndRST && !(sd.closed && peer.closed):
		s.report("frame-truncated", d, noFrame, "the connection ends inside %s", cut)
	case cut == "" && sd.open && !peer.closed:
		sev := SeverityError
		if s.gone || how == EndRST {
			sev = SeverityWarning
		}
		s.reportAs(sev, "frag-unfinished", d, noFrame, "the connection ends before the end of a message")
	case cut == "" && sd.open:
		s.reportAs(SeverityInfo, "frag-unfinished", d, noFrame, "the connection ends before the end of a message")
	}
	if s.gone || sd.closed || peer.closed {
		return
	}
	s.report("close-missing", d, noFrame, "no close frame before the end of the connection, which the %s sees as 1006", d.Peer())
	if limit, what := idleLimit(s.totals.Idle); limit > 0 {
		s.report("idle-close-60s", d, noFrame, "the connection ends %s after the last frame; %s is %s", seconds(s.totals.Idle), seconds(limit), what)
	}
}

// idleLimits are how long a quiet connection lives, as proxies and load
// balancers usually have it.
var idleLimits = []struct {
	after time.Duration
	what  string
}{
	{30 * time.Second, "a usual idle timeout"},
	{55 * time.Second, "the idle timeout of Heroku"},
	{60 * time.Second, "a usual idle timeout (nginx, AWS ALB)"},
	{100 * time.Second, "the idle timeout of Cloudflare"},
	{120 * time.Second, "a usual idle timeout"},
	{300 * time.Second, "a usual idle timeout"},
	{350 * time.Second, "the idle timeout of AWS NLB"},
}

// idleLimit returns the idle timeout that ended a connection after it was
// quiet for so long, or 0.
func idleLimit(quiet time.Duration) (limit time.Duration, what string) {
	for _, l := range idleLimits {
		if d := quiet - l.after; d > -time.Second && d < 2*time.Second {
			return l.after, l.what
		}
	}
	return 0, ""
}

// IdleTimeout returns the idle timeout that most likely closed the connection,
// or 0.
func (t *Totals) IdleTimeout() time.Duration {
	limit, _ := idleLimit(t.Idle)
	return limit
}
