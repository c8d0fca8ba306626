package decode

import (
	"strconv"
	"time"
)

// How long an answer may take before it is late, and before it counts as missing.
const (
	answerSoon   = time.Second
	answerWithin = 10 * time.Second
)

// pong judges a pong (RFC 6455 §5.5.3).
func (j *judge) pong(f *Frame, p *pongFact) {
	where := payloadOf(f, 0, int(min(f.Length, 16)))
	switch p.kind {
	case pongUnsolicited:
		j.at(f, where, "pong-unsolicited", "pong, but no ping waits for one")
	case pongAnswers:
		j.answers(f, &p.first)
		missed := j.connection.missing[f.Dir.Peer()] == p.waited+1
		if wait := j.now.Sub(p.last.time); wait > answerSoon && !missed {
			j.at(f, where, "pong-slow", "pong %s after the ping of %s, %s is soon enough", seconds(wait), frameText(p.last.n), seconds(answerSoon))
		}
	case pongMismatch:
		j.at(f, where, "pong-payload-mismatch", "pong does not repeat the payload of the ping of %s, nor of another ping that waits", frameText(p.waited))
	}
}

// pongOverdue finds that a ping of d got no answer in time, or none before the end
// of the connection (RFC 6455 §5.5.2).
func (j *judge) pongOverdue(d Dir, end bool) {
	h, missing := j.conn.hearts[d], &j.connection.missing[d]
	if h == nil || h.waiting == 0 || *missing == h.frame+1 || j.ended > 0 || j.closing() {
		return
	}
	wait := j.now.Sub(h.since)
	after := j.conn.cutters[d.Peer()].lastData.Sub(h.since)
	switch {
	case wait >= answerWithin:
		*missing = h.frame + 1
		j.side(d.Peer(), "pong-missing", "no pong to the ping of %s in %s, limit is %s", frameText(h.frame), seconds(wait), seconds(answerWithin))
	case end && after >= answerSoon:
		*missing = h.frame + 1
		j.side(d.Peer(), "pong-missing", "no pong to the ping of %s, though data was sent %s after it", frameText(h.frame), seconds(after))
	}
}

// closing reports whether either side has sent a Close frame, or was sent one: no
// pong is owed then.
func (j *judge) closing() bool {
	v := &j.verdict
	return v.closes[FromClient].sent || v.closes[FromServer].sent || v.reached[FromClient].sent || v.reached[FromServer].sent
}

// gaveUp reports whether d, which ends the connection, has waited for a pong that
// never came, and finds that, unless it was found before (RFC 6455 §5.5.2).
func (j *judge) gaveUp(d Dir) bool {
	h, missing := j.conn.hearts[d], &j.connection.missing[d]
	if h == nil || h.waiting == h.injected() || j.closing() {
		return false
	}
	wait := j.now.Sub(h.since)
	if wait < answerSoon {
		return false
	}
	if *missing != h.frame+1 {
		*missing = h.frame + 1
		j.sideAs(SeverityWarning, d.Peer(), "pong-missing", "no pong to the ping of %s in %s, after which the %s gave up", frameText(h.frame), seconds(wait), d)
	}
	return true
}

// seconds formats a duration for the text of a violation: "0.3 ms", "10 s",
// "60.1 s".
func seconds(d time.Duration) string {
	unit, name := time.Second, " s"
	if d < 950*time.Millisecond {
		unit, name = time.Millisecond, " ms"
	}
	tenths := int64((d*10 + unit/2) / unit)
	if tenths%10 == 0 {
		return strconv.FormatInt(tenths/10, 10) + name
	}
	return strconv.FormatFloat(float64(tenths)/10, 'f', 1, 64) + name
}
