package decode

import "time"

// emit hands ev to the sink, with the violations found since the last event.
func (s *Session) emit(ev Event) {
	if s.judge != nil && (ev.Kind == KindRequest || ev.Kind == KindResponse) {
		s.judge.keepFault(ev.Dir)
	}
	s.ev = ev
	s.emitEvent()
}

// newEvent returns an empty event to fill in for emitEvent. On the hot path this
// is faster than emit, which copies a whole Event.
func (s *Session) newEvent(kind Kind, d Dir) *Event {
	s.ev = Event{}
	s.ev.Kind, s.ev.Dir = kind, d
	return &s.ev
}

// emitEvent is emit for s.ev. Nothing follows the closed event: sinks have
// forgotten the session by then.
func (s *Session) emitEvent() {
	ev := &s.ev
	if s.judge != nil && len(s.judge.found) > 0 {
		ev.Violations = s.judge.take()
	}
	if s.over && ev.Kind != KindClosed || s.Sink == nil && s.Gate == nil {
		return
	}
	ev.Conn, ev.Time, ev.Info = s.info.Conn, s.now, &s.info
	ev.Line, ev.Offset = s.line, s.offset
	if s.hs.Request != nil || s.hs.Accepted {
		ev.Handshake = &s.hs
	}
	if s.tee != nil && !s.locked {
		s.tee.Lock()
		s.locked = true
	}
	if (s.Gate != nil || s.delivered != nil) && !ev.Out {
		s.decide(ev)
	}
	if s.Sink != nil {
		s.Sink.Emit(ev)
	}
	if len(s.remarks) > 0 && (ev.Kind != KindFrame || ev.Message == nil) { // else its message is next
		s.tellRemarks()
	}
}

// decide asks the gate for the fate of ev, and notes what that means.
func (s *Session) decide(ev *Event) {
	if s.Gate != nil && ev.Fate.Change == "" { // else it tells what the gate did
		ev.Fate = s.Gate(ev)
		if s.Tap != nil {
			s.pass(ev)
		}
	}
	if ev.Kind == KindFrame && (s.delivered != nil || ev.Fate.FX != FXNone) {
		s.deliver(ev.Frame, ev.Fate.FX)
	}
}

// lock begins a call at time t. It uses the wall clock alone, whose times can be
// recorded and read back: with monotonic readings, durations would differ from
// those between the times shown.
func (s *Session) lock(t time.Time) {
	s.mu.Lock()
	if t = t.Round(0); t.After(s.now) {
		s.now = t
	}
}

// unlock ends a call, and with it the run of events in the Tee. The caller's
// bytes are let go, so that an idle session does not keep a read buffer alive.
func (s *Session) unlock() {
	s.tapPassing()
	s.ev.Data, s.ev.Frame, s.ev.Content = nil, nil, nil
	if s.locked {
		s.locked = false
		s.tee.Unlock()
	}
	s.mu.Unlock()
}
