package replay

import (
	"sync/atomic"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// A Script is a recorded session, ready to be played by either side, any number
// of times and also at the same time.
type Script struct {
	config
	played atomic.Int64 // sessions, also those that are not over

	number  int64 // of the session in the trace
	line    int   // of its first record after open
	url     string
	ext     string        // in force, for a trace without a handshake
	request *trace.Record // as the client sent it; nil if the trace has none
	edited  *trace.Record // as the server got it, if that was different
	replies []*trace.Record
	sides   [2]track // by Dir
	redact  []string // the selectors that the trace was redacted with
	cut     error
	begin   time.Duration // of its first record after open
	start   time.Duration // of the answer to the handshake
}

// A track is what one side did: in pieces to be sent, and in units to wait for.
type track struct {
	items []item
	units []unit
}

// An item is what is sent at one time: the bytes of one record, or the end.
type item struct {
	line  int
	bytes []byte
	end   bool
	how   decode.End
	close bool // it begins a Close frame
	last  bool // no more bytes of the same frame follow
	early bool // it came before the answer to the handshake
	need  int  // how many units of the other side have to come before
	takes int  // the same by the clock: they hold what is captured for it
	alone bool // and nothing of other sessions
	t     time.Duration

	skip bool    // it is an answer to a ping, to be given when one comes
	mask [4]byte // of the frame it begins
	unit int     // the unit that it belongs to; -1 for none
}

// Warning returns an error that wraps [trace.ErrCut] and names the line, if the
// trace ends in the middle of one. It is nil otherwise.
func (s *Script) Warning() error { return s.cut }

// Number returns the number of the session in its trace.
func (s *Script) Number() int64 { return s.number }

// Messages returns how many messages d sends in the session.
func (s *Script) Messages(d decode.Dir) int {
	n := 0
	for i := range s.sides[d].units {
		switch u := &s.sides[d].units[i]; {
		case u.kind == unitMessage, u.kind == unitFrame && u.op <= ws.OpBinary && u.flags&0x80 != 0:
			n++
		}
	}
	return n
}

// Target returns the path and query that the client asks for.
func (s *Script) Target() string {
	if s.request == nil {
		return "/"
	}
	return originForm(s.request.Head.Target)
}

// Redacted returns the selectors with which the trace was redacted. A trace
// made anew has to be redacted with them too.
func (s *Script) Redacted() []string { return s.redact }

// accepted reports whether the session became a WebSocket connection.
func (s *Script) accepted() bool {
	return len(s.replies) == 0 && s.request == nil || len(s.replies) > 0 && s.final().Head.Status == 101
}

// final returns the response that is not an interim one.
func (s *Script) final() *trace.Record { return s.replies[len(s.replies)-1] }

// replyLine returns the line of the answer to the handshake, or where it would
// be.
func (s *Script) replyLine() int {
	if len(s.replies) > 0 {
		return s.final().Line
	}
	return s.line
}

// extensions returns the extensions in force in the recorded session.
func (s *Script) extensions() []string {
	switch {
	case len(s.replies) > 0:
		return s.final().Head.Values("Sec-WebSocket-Extensions")
	case s.ext != "":
		return []string{s.ext}
	}
	return nil
}
