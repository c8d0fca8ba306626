package proxy

import (
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A Gate decides what becomes of the frames of one session; see
// [Proxy.NewGate].
//
// Decide is given every event of the session just before it is emitted, save
// those that tell what was sent in place of what came. The session is locked
// meanwhile: Decide answers at once, does no I/O and calls no method of the
// session. ev is valid during the call.
//
// What Decide returns counts for frames alone. When a frame comes in pieces, the
// first decides for all of them; of a frame that is replaced, the Bytes that are
// returned for each piece are sent.
//
// If Decide panics, or when bytes can't be framed, it is not asked about that
// direction any more: what is held is sent on, and the rest as it comes. So it is
// when a sink panics. An injection that then can't stand between two frames is
// lost.
type Gate interface {
	Decide(ev *decode.Event) Decision
}

// A Decision is the fate of a frame, and what is sent besides. The zero Decision
// lets the frame go on as it came, and at once unless something waits in front
// of it; then its event says that it was delayed. The slices are the proxy's
// from then on.
type Decision struct {
	decode.Fate

	Until  time.Time // with FXDelay, FXHold and FXReplace: it, and all behind it, goes on no sooner
	Bytes  []byte    // with FXReplace: what is sent in place of the frame, if anything
	Before []byte    // sent right in front of the frame: a control frame, or whole messages
	After  []byte    // sent right behind it
	Kept   bool
	Stall  time.Duration
	Notes  []Note
	Reset  string
	Inject []Injection
}

// An Outlet sends what a gate adds of its own accord.
type Outlet struct {
	gate  Gate
	boxes [2]outbox // by Dir
	log   *slog.Logger

	mu     sync.Mutex
	notice string // of a panic, not reported yet; protected by mu
}

// newOutlet returns the outlet of a gate made by newGate, or nil if it makes
// none.
func newOutlet(newGate func(decode.Info, *Outlet) Gate, info decode.Info, log *slog.Logger) *Outlet {
	if newGate == nil {
		return nil
	}
	o := &Outlet{log: log}
	for d := range o.boxes {
		o.boxes[d].init(decode.Dir(d))
	}
	if o.gate = newGate(info, o); o.gate == nil {
		return nil
	}
	return o
}

// Inject sends b as if it came from the side d: one control frame, as soon as a
// frame of d ends, or whole messages, as soon as a message of d ends. A ping or
// pong overtakes what is held, a Close has it sent first. Inject may be called
// at any time, also in Decide, and does not wait. It reports whether b was
// taken: nothing is after the end of d, nor while a lot waits already. b is the
// proxy's from then on; change says what made it.
func (o *Outlet) Inject(d decode.Dir, b []byte, change string) bool {
	return o.boxes[d].inject(b, change)
}

// decide is the [decode.Session.Gate] of the session.
func (o *Outlet) decide(ev *decode.Event) decode.Fate {
	box := &o.boxes[ev.Dir]
	var decision Decision
	if !o.leavesOut(ev) {
		decision = o.ask(ev)
	}
	switch ev.Kind {
	case decode.KindFrame:
		return box.frame(ev.Frame, decision)
	case decode.KindJunk:
		box.lose(false)
		return box.junk(ev.Data)
	case decode.KindOpaque:
		box.lose(true)
	}
	return decode.Fate{}
}

// leavesOut reports whether the gate is not to be asked about ev.
func (o *Outlet) leavesOut(ev *decode.Event) bool {
	switch ev.Kind {
	case decode.KindOpen, decode.KindNotice, decode.KindClosed: // of no direction
		return o.boxes[0].ungated.Load() && o.boxes[1].ungated.Load()
	}
	return o.boxes[ev.Dir].ungated.Load()
}

// ask asks the gate. If it panics, its direction is asked about no more.
func (o *Outlet) ask(ev *decode.Event) (decision Decision) {
	defer func() {
		e := recover()
		if e == nil {
			return
		}
		decision = Decision{}
		o.boxes[ev.Dir].stopAsking()
		o.mu.Lock()
		defer o.mu.Unlock()
		o.notice = fmt.Sprintf("panic in the gate: %v; what the %s sends is changed no more", e, ev.Dir)
		o.log.Debug(string(debug.Stack()))
	}()
	return o.gate.Decide(ev)
}

// report tells s of a panic in its gate, once.
func (o *Outlet) report(s *session) {
	o.mu.Lock()
	text := o.notice
	o.notice = ""
	o.mu.Unlock()
	if text != "" {
		o.log.Error(text)
		s.Notice(s.now(), text)
	}
}
