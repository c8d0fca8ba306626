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
// proxy; "" if that is not known.
func (v *Verdict) Closer() string {
	switch {
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
	limit, _ := idleLimit(v.Idle)
	return limit
}

// verdict follows how a connection is closed (RFC 6455 §7) and fills a [Verdict].
type verdict struct {
	closes [2]sentClose // by Dir
	closed bool         // a Close frame has come, and the Verdict has its code
	failed bool         // before any, a side ended the connection: that is the Verdict
	gone   bool         // one side has ended the connection
	goneAt time.Time    // when that was
}

// A sentClose is the first Close frame of one side.
type sentClose struct {
	sent  bool
	frame int64     // its number
	at    time.Time // when it came
	heard int64     // how many frames the other side had sent before it
}

// A closeFact is what a Close frame says, and which one it is.
type closeFact struct {
	first      bool // neither side sent one before: it decides the verdict
	again      bool // its sender sent one before
	peerClosed bool // the other side sent one before
	code       int  // valid iff ok
	reason     []byte
	ok         bool // it has a code
}

// close takes a Close frame and as much of its body as is at hand. heard is how
// many frames the other side has sent, quiet how long no frame had come.
func (v *verdict) close(f *Frame, body []byte, now time.Time, heard int64, quiet time.Duration, to *Verdict) closeFact {
	own, peer := &v.closes[f.Dir], &v.closes[f.Dir.Peer()]
	c := closeFact{again: own.sent, peerClosed: peer.sent}
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
		to.Answered = peer.sent
	}
	return c
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

// both reports whether both sides have sent a Close frame.
func (v *verdict) both() bool { return v.closes[FromClient].sent && v.closes[FromServer].sent }

// sinceBoth returns how long ago the later of both Close frames came.
func (v *verdict) sinceBoth(now time.Time) time.Duration {
	return min(now.Sub(v.closes[FromClient].at), now.Sub(v.closes[FromServer].at))
}
