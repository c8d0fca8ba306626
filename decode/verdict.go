package decode

import "time"

// A Verdict says how a session ended: who closed it, and how (RFC 6455 §7.1.5,
// §7.1.6).
type Verdict struct {
	// Code is the status code of the first Close frame; 1005 for a Close
	// without one; 1006 if a WebSocket connection ended without a Close; 0 for
	// any other session, and for one of which a part is missing, without a Close.
	Code     int
	Said     bool          // a Close frame has this Code in it, even if that is 1005 or 1006
	By       Dir           // who sent that Close or, without one, ended the connection
	Changed  bool          // a change sent that Close before either side did: By means nothing
	Reason   string        // of that Close
	Answered bool          // the other side sent a Close too
	How      End           // how the first direction to end did so
	Ended    Dir           // that direction
	Unknown  bool          // nobody knows which side ended the connection: Ended means nothing, nor does By without a Close
	Idle     time.Duration // from the last frame to the Close after it or, without one, to the end
	Status   int           // of the proxy's own answer to the client, given in place of the server's; 0 if there was none
}

// Abnormal reports whether there was no Close frame.
func (v *Verdict) Abnormal() bool { return !v.Said && (v.Code == 0 || v.Code == CodeAbnormal) }

// Closer names who closed the connection: "client", "server", or "wstrace" for the
// proxy, "change" for a change that sent a Close; "" if that is not known.
func (v *Verdict) Closer() string {
	switch {
	case v.Changed:
		return "change"
	case v.Status != 0 || v.How == EndLocal && v.Abnormal():
		return "wstrace"
	case v.Unknown && v.Abnormal():
		return ""
	}
	return v.By.String()
}

// IdleTimeout returns the idle timeout that most likely closed the connection,
// or 0.
func (v *Verdict) IdleTimeout() time.Duration {
	if v.Changed {
		return 0
	}
	limit, _ := idleLimit(v.Idle)
	return limit
}

// verdict follows how a connection is closed (RFC 6455 §7) and fills a [Verdict].
type verdict struct {
	closes  [2]sentClose // by Dir: the first that came from it
	reached [2]sentClose // by Dir: the first that its peer was sent
	closed  bool         // a Close frame has come, or was sent, and the Verdict has its code
	failed  bool         // before any, a side ended the connection: that is the Verdict
	gone    bool         // one side has ended the connection
	goneAt  time.Time    // when that was
}

// A sentClose is the first Close frame of one side, as it came or as it was sent on.
type sentClose struct {
	sent  bool
	frame int64     // its number; of one that was sent in place of what came, what outFrame says
	at    time.Time // when it came, or was sent
	heard int64     // how many frames the other side had sent before it; of one that came
	code  int       // of one that was sent on: its code, or 1005
	said  bool      // it has that code in it
}

// A closeFact is what a Close frame says, and which one it is.
type closeFact struct {
	first      bool // neither side sent one before: it decides the verdict
	again      bool // its sender sent one before
	peerClosed bool // it was sent one before
	code       int  // valid iff ok
	reason     []byte
	ok         bool // it has a code
}

// close takes a Close frame and as much of its body as is at hand. heard is how
// many frames the other side has sent, quiet how long no frame had come.
func (v *verdict) close(f *Frame, body []byte, now time.Time, heard int64, quiet time.Duration, to *Verdict) closeFact {
	own, peer := &v.closes[f.Dir], &v.closes[f.Dir.Peer()]
	c := closeFact{again: own.sent, peerClosed: v.reached[f.Dir.Peer()].sent}
	c.code, c.reason, c.ok = CloseBody(body)
	if c.first = !v.closed && !v.failed && (f.Complete || c.ok); c.first {
		v.closed = true
		to.Code, to.By, to.Idle, to.Said = CodeNoStatus, f.Dir, quiet, c.ok
		if c.ok {
			to.Code, to.Reason = c.code, string(c.reason)
		}
	}
	if !own.sent {
		*own = sentClose{sent: true, frame: f.N, at: now, heard: heard}
		to.Answered = peer.sent || to.Changed
	}
	return c
}

// reach takes a Close frame that is sent to the peer of its sender; n is its number.
func (v *verdict) reach(f *Frame, n int64, body []byte, now time.Time) {
	if x := &v.reached[f.Dir]; !x.sent {
		*x = sentClose{sent: true, frame: n, at: now, code: CodeNoStatus}
		if code, _, ok := CloseBody(body); ok {
			x.code, x.said = code, true
		}
	}
}

// inject is reach for a Close frame that is sent in place of what came. It decides
// the verdict if none came or was sent before.
func (v *verdict) inject(f *Frame, body []byte, now time.Time, quiet time.Duration, to *Verdict) {
	v.reach(f, outFrame(f.N), body, now)
	if v.closed || v.failed {
		return
	}
	v.closed = true
	to.Code, to.Idle, to.Changed = CodeNoStatus, quiet, true
	if code, reason, ok := CloseBody(body); ok {
		to.Code, to.Reason, to.Said = code, string(reason), true
	}
}

// end takes the end of d, the nth direction to end. whole says that no Close frame
// can be missing in what the session was given.
func (v *verdict) end(d Dir, how End, n int, quiet time.Duration, whole bool, to *Verdict) {
	if n == 0 || to.How == EndDrop && how != EndDrop { // a drop follows the end of a side, whichever is seen first
		to.How, to.Ended = how, d
		if !v.closed {
			to.By, to.Idle = d, quiet
			v.failed = whole && how.bySide()
		}
	}
}

// bySide reports whether the end was that of a side, not ours.
func (e End) bySide() bool { return e <= EndTLSEOF }

// both reports whether d has sent a Close frame and was sent one.
func (v *verdict) both(d Dir) bool { return v.closes[d].sent && v.reached[d.Peer()].sent }

// sinceBoth returns how long ago the later of these was.
func (v *verdict) sinceBoth(d Dir, now time.Time) time.Duration {
	return min(now.Sub(v.closes[d].at), now.Sub(v.reached[d.Peer()].at))
}
