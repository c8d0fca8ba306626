package replay

import (
	"fmt"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A Script is a recorded session, ready to be played by either side, any number
// of times and also at the same time. It knows what counts as equal; how it is
// played is said each time.
type Script struct {
	equality

	number    int64       // of the session in the trace
	sessions  int         // that the trace has
	at        int         // position of its first event after open
	lines     bool        // positions are lines of a file; else they count events
	info      decode.Info // as it was recorded; it has the extensions in force, if there is no handshake
	request   *head       // as the client sent it; nil if the trace has none
	edited    *head       // as the server got it, if the proxy had to edit it
	replies   []*head
	plain     *plain    // nil for a WebSocket connection
	engine    *engineIO // what it is made of, if it is a session of Engine.IO that began by polling; else nil
	sides     [2]side   // by Dir
	selectors []string  // the selectors that the trace was redacted with
	warning   error
	stack     *stack        // whose heartbeats it has; nil if that is not known
	marked    bool          // units have an expression, or a group, that was written into the trace
	words     *recordedOnce // what looks made up in it; nil without CaptureAuto
	views     *[2]view      // by Dir: as that side plays it; nil for itself
	begin     time.Duration // of its first event after open
	start     time.Duration // of the answer to the handshake

	before  map[int]elsewhere // by position of a unit: what other sessions did last before it, and behind what this one did
	forDiff bool              // it has no items
	changed bool              // something else was sent in it than what came
}

// Changed reports whether something else was sent in the session than what came,
// other than what any proxy edits: see [AsSent].
func (s *Script) Changed() bool { return s.changed }

// A head is a request or a response of the session, with the body behind it.
type head struct {
	*decode.Head
	body    []byte
	missing int64 // bytes of the body that were not recorded
	at      int
	out     bool // it was not selected
}

// bytes returns what was sent, but with another head in front.
func (h *head) bytes(as *decode.Head) []byte {
	if as.Raw != "" {
		return append([]byte(as.Raw), h.body...)
	}
	return append(as.Append(nil), h.body...)
}

// A side is what one side did: in pieces to be sent, and in units to wait for.
type side struct {
	items []item
	units []unit
}

// An item is what is sent at one time: bytes of a frame, or the end. Positions
// of items, units and heads tell which came before which, in all sessions.
type item struct {
	at      int
	t       time.Duration
	wire    *wire // what it sends; nil for a frame that is all of its unit. See side.wireOf
	end     bool
	how     decode.End
	isClose bool    // it begins a Close frame
	ends    bool    // a frame; no more bytes of it follow
	early   bool    // it came before the answer to the handshake
	reply   bool    // it answers a ping, and is given when one comes
	mask    [4]byte // of the frame that it begins

	needOnly bool // nothing of other sessions has to come before
	need     int  // how many units of the other side have to
	captures int  // as need, by the clock: what is captured for it is in them

	pings int // of a Close or an end that follows a reply: how many came before
	unit  int // the unit that it belongs to; -1 for none
}

// Warning returns an error that wraps [decode.ErrCut] and says where, if the
// trace is cut off. It is nil otherwise.
func (s *Script) Warning() error { return s.warning }

// Number returns the number of the session in its trace.
func (s *Script) Number() int64 { return s.number }

// Sessions returns how many sessions its trace has, of every kind. A trace with
// others too is not to be replaced by a recording of this one.
func (s *Script) Sessions() int { return s.sessions }

// Messages returns how many messages d sends in the session, without those that may
// come or not.
func (s *Script) Messages(d decode.Dir) int {
	n := 0
	for i := range s.sides[d].units {
		switch u := &s.sides[d].units[i]; {
		case u.beat != noBeat:
		case u.kind == unitMessage, u.kind == unitFrame && u.op <= ws.OpBinary && u.flags&0x80 != 0:
			n++
		}
	}
	return n
}

// Heartbeats returns how many messages of both sides may come or not: heartbeats, and
// what [Optional] selects.
func (s *Script) Heartbeats() int { return s.count(func(u *unit) bool { return u.beat != noBeat }) }

// Long returns how many messages are compared by their length and a hash of their
// content, to the byte, because they are longer than [MaxMessage] or the compressed
// messages of the trace stand for too much to be kept. What is ignored or captured
// is not looked for in them, nor the values of JSON.
func (s *Script) Long() int { return s.count(func(u *unit) bool { return u.long != nil }) }

// count returns how many units of both sides are as ok says.
func (s *Script) count(ok func(*unit) bool) (n int) {
	for d := range s.sides {
		for i := range s.sides[d].units {
			if ok(&s.sides[d].units[i]) {
				n++
			}
		}
	}
	return n
}

// Target returns the path and query that the client asks for.
func (s *Script) Target() string {
	if s.request == nil {
		return "/"
	}
	return originForm(s.request.Target)
}

// Redacted returns the selectors with which the trace was redacted. A trace
// made anew has to be redacted with them too.
func (s *Script) Redacted() []string { return s.selectors }

// accepted reports whether the session became a WebSocket connection.
func (s *Script) accepted() bool {
	return len(s.replies) == 0 && s.request == nil || len(s.replies) > 0 && s.final().Status == 101
}

// final returns the response that is not an interim one.
func (s *Script) final() *head { return s.replies[len(s.replies)-1] }

// replyAt returns the position of the answer to the handshake, or where it would
// be.
func (s *Script) replyAt() int {
	if len(s.replies) > 0 {
		return s.final().at
	}
	return s.at
}

// extensions returns the extensions in force in the recorded session.
func (s *Script) extensions() []string {
	switch {
	case len(s.replies) > 0:
		return s.final().Values("Sec-WebSocket-Extensions")
	case s.info.Ext != "":
		return []string{s.info.Ext}
	}
	return nil
}

// line returns the line at a position, or 0 if positions are none.
func (s *Script) line(at int) int {
	if !s.lines {
		return 0
	}
	return at
}

// inLine returns " (line 3)" for a position, or nothing.
func (s *Script) inLine(at int) string {
	if n := s.line(at); n > 0 {
		return fmt.Sprintf(" (line %d)", n)
	}
	return ""
}
