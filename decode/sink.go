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
