package proxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A session is a decode.Session that survives a panic in decoding or in a
// sink: the traffic goes on, and the direction is no longer decoded.
type session struct {
	decode.Session
	log    *slog.Logger
	panics [2]int // by direction; used by the goroutine that reads it
}

// data is Session.Data, and reports what it could not decode.
func (s *session) data(d decode.Dir, t time.Time, b []byte) {
	if s.panics[d] < 2 {
		defer s.guard(d, t)
		s.Data(d, t, b)
	}
}

// guard turns a panic into junk: the first makes the direction opaque, a second
// stops decoding it altogether.
func (s *session) guard(d decode.Dir, t time.Time) {
	e := recover()
	if e == nil {
		return
	}
	s.panics[d]++
	s.log.Error(fmt.Sprintf("panic while decoding the %s's bytes: %v", d, e))
	s.log.Debug(string(debug.Stack()))
	if s.panics[d] == 1 {
		defer s.guard(d, t)
		s.Opaque(d, t, fmt.Sprintf("panic: %v", e))
	}
}
