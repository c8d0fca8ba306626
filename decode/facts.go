package decode

import (
	"time"
)

// facts are what a session knows of its traffic, without any judgement. The parts
// of the session keep them; the judge only reads them.
type facts struct {
	now  time.Time // of the call at hand; never runs backwards
	info Info
	exchange
	sides   [2]side     // by Dir
	conn    *connection // nil until frames can come
	verdict verdict
	totals  Totals
	ended   int // how many directions have ended

	delivered *[2]delivery // by Dir, whose peer is meant; nil as long as what came is what was sent
}

// A side is how far one direction of a session has come.
type side struct {
	phase phase
	ended bool
	lost  bool // in inJunk: frames can't be told apart because bytes are missing
}

// phase says what the next bytes of a direction are.
type phase uint8

const (
	inHead    phase = iota
	inBody          // the body that follows the head
	inRefusal       // the body of the answer to a refused upgrade, kept for its event
	inFrames        // WebSocket frames
	inJunk          // WebSocket bytes that can't be framed
	inOpaque        // bytes that are only counted
)

// A connection is the WebSocket connection that an exchange becomes
// (RFC 6455 §4, §5). It exists as soon as frames can come, which may be before
// the response to the handshake.
type connection struct {
	cutters   [2]cutter
	hearts    [2]*heartbeat // by who sent the pings; nil if there were none
	messages  *[2]assembly  // by Dir; nil unless messages are put together
	aliens    [2]alien      // by Dir
	rsv       [2]byte       // by Dir: reserved bits that extensions in force define for it (RFC 6455 §5.2)
	agreed    [2]Deflate    // by Dir: what it takes for agreed
	news      bool          // a control frame has come, and its fate is not known yet
	pong      pongFact      // of the latest pong
	lastFrame time.Time     // when the latest frame came, or the handshake ended
}

func newConnection() *connection {
	c := new(connection)
	c.cutters[FromServer].dec.Dir = FromServer
	return c
}

// quiet returns how long no frame has come.
func (f *facts) quiet() time.Duration {
	if f.conn == nil || f.conn.lastFrame.IsZero() {
		return 0
	}
	return f.now.Sub(f.conn.lastFrame)
}

// blind reports whether frames may pass that the session does not see.
func (f *facts) blind() bool {
	return f.sides[FromClient].phase != inFrames || f.sides[FromServer].phase != inFrames
}
