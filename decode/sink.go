package decode

import "sync"

// A Sink takes the events of sessions: a text renderer, a recorder, a test.
//
// Emit must not keep ev or anything it points to; see [Event.Clone]. It must
// return quickly: the traffic waits for it. A Sink that several sessions share
// is reached through a [Tee], which calls it one event at a time.
type Sink interface {
	Emit(ev *Event)
}

// SinkFunc makes a function a [Sink].
type SinkFunc func(*Event)

// Emit calls f.
func (f SinkFunc) Emit(ev *Event) { f(ev) }

// A Tee hands every event to several sinks, all in the same order. A session
// locks it for the events of one chunk together.
type Tee struct {
	mu    sync.Mutex
	Sinks []Sink // fixed before the first event
}

// Lock begins a run of events. [Session] calls it.
func (t *Tee) Lock() { t.mu.Lock() }

// Unlock ends a run of events.
func (t *Tee) Unlock() { t.mu.Unlock() }

// Emit hands ev to every sink. The Tee must be locked.
func (t *Tee) Emit(ev *Event) {
	for _, s := range t.Sinks {
		s.Emit(ev)
	}
}

// Shared returns a sink that several sessions may use at the same time: sink
// itself if it is one, as a [*Tee] is, or a Tee around it; nil for nil.
func Shared(sink Sink) Sink {
	if _, ok := sink.(sync.Locker); ok || sink == nil {
		return sink
	}
	return &Tee{Sinks: []Sink{sink}}
}

// Locked calls f while no other session uses sink, if it is [Shared].
func Locked(sink Sink, f func()) {
	if l, ok := sink.(sync.Locker); ok {
		l.Lock()
		defer l.Unlock()
	}
	f()
}

// LockedWith returns a sink that calls emit and is locked together with sink. It
// is for a sink that wraps one which sessions share.
func LockedWith(sink Sink, emit func(*Event)) Sink {
	l, ok := sink.(sync.Locker)
	if !ok {
		return SinkFunc(emit)
	}
	return struct {
		SinkFunc
		sync.Locker
	}{emit, l}
}

// Where returns a sink that passes on to sink the events that ok selects.
func Where(ok func(*Event) bool, sink Sink) Sink {
	return SinkFunc(func(ev *Event) {
		if ok(ev) {
			sink.Emit(ev)
		}
	})
}

// MessagesOnly returns a sink that passes on to sink one event for each message
// in place of those of its frames: the event of its final frame, which has the
// message, or the message event if it has no final frame or no frames at all.
// Frames with violations, or that a gate has changed, and all other events pass
// as they are. The sessions have to put messages together ([Look.Messages]), and
// bodies, which pass as one event too ([Look.WholeBodies]).
func MessagesOnly(sink Sink) Sink {
	return Where(func(ev *Event) bool {
		switch ev.Kind {
		case KindFrame:
			return !ev.Part || ev.Message != nil || len(ev.Violations) > 0 || ev.Fate.FX != FXNone
		case KindMessage:
			return ev.Message.Unfinished || ev.Message.Frames == 0
		case KindBody:
			return ev.Body != nil
		}
		return true
	}, sink)
}
