package proxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/clock"
)

// A session is a decode.Session that survives a panic in decoding or in a
// sink: it is reported, the traffic goes on, and the direction is no longer
// decoded.
type session struct {
	decode.Session
	log      *slog.Logger
	clock    *clock.Clock
	outlet   *Outlet         // nil without a gate
	gated    bool            // it is upgraded, and its frames go through outlet
	panics   [2]atomic.Int32 // by direction
	reported atomic.Bool
	lasting  *time.Timer // calls Lasting; nil if nobody is to know
}

// lastingAfter is how long an exchange may take before it is told of.
const lastingAfter = time.Second

// watchLasting has the session tell of its exchange if that takes long.
func (s *session) watchLasting() {
	if s.Sink != nil {
		s.lasting = time.AfterFunc(lastingAfter, func() {
			now := s.now()
			defer s.guard(decode.FromClient, now)
			s.Session.Lasting(now)
		})
	}
}

// now returns the time by the clock of the proxy.
func (s *session) now() time.Time { return s.clock.Now() }

func (s *session) Open(info decode.Info) {
	defer s.guard(decode.FromClient, info.Time)
	s.Session.Open(info)
}

// Data does nothing after a second panic: then the direction can't even be
// counted.
func (s *session) Data(d decode.Dir, t time.Time, b []byte) {
	if s.panics[d].Load() < 2 {
		defer s.guard(d, t)
		s.Session.Data(d, t, b)
	}
}

func (s *session) Head(d decode.Dir, t time.Time, h, sent *decode.Head) {
	defer s.guard(d, t)
	s.Session.Head(d, t, h, sent)
}

func (s *session) Sent(d decode.Dir, t time.Time, b []byte, change string) {
	defer s.guard(d, t)
	s.Session.Sent(d, t, b, change)
}

func (s *session) Notice(t time.Time, text string) {
	defer s.guard(decode.FromClient, t)
	s.Session.Notice(t, text)
}

func (s *session) Changed(d decode.Dir, t time.Time, change, text string) {
	defer s.guard(d, t)
	s.Session.Changed(d, t, change, text)
}

func (s *session) Flush(d decode.Dir, t time.Time) {
	defer s.guard(d, t)
	s.Session.Flush(d, t)
}

func (s *session) FlushAll(d decode.Dir, t time.Time) {
	defer s.guard(d, t)
	s.Session.FlushAll(d, t)
}

// flushAt returns when Flush is due for d; after a panic it never is.
func (s *session) flushAt(d decode.Dir) (at time.Time, ok bool) {
	if s.panics[d].Load() > 0 {
		return time.Time{}, false
	}
	return s.Session.FlushAt(d, flushAfter)
}

func (s *session) Opaque(d decode.Dir, t time.Time, why string) {
	defer s.guard(d, t)
	s.Session.Opaque(d, t, why)
}

func (s *session) End(d decode.Dir, t time.Time, how decode.End, text string) {
	defer s.guard(d, t)
	if why, reset := s.outlet.wasReset(); reset {
		if how, text = decode.EndLocal, ""; why != "" {
			text = "reset by change " + why
		}
	}
	s.Session.End(d, t, how, text)
}

func (s *session) Done(t time.Time) {
	defer s.guard(decode.FromClient, t)
	if s.lasting != nil {
		s.lasting.Stop()
	}
	if s.outlet != nil {
		s.outlet.report(s)
		s.outlet.end()
	}
	s.Session.Done(t)
}

// guard recovers from a panic. The first makes the direction opaque.
func (s *session) guard(d decode.Dir, t time.Time) {
	e := recover()
	if e == nil {
		return
	}
	if s.reported.CompareAndSwap(false, true) {
		s.log.Error(fmt.Sprintf("panic while decoding the %s's bytes: %v", d, e))
		s.log.Debug(string(debug.Stack()))
	}
	if s.outlet != nil {
		s.outlet.boxes[d].lose(true)
	}
	if s.panics[d].Add(1) == 1 {
		s.Opaque(d, t, fmt.Sprintf("panic: %v", e))
	}
}
