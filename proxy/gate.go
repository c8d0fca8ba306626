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
// Decide is given every event of the session just before it is emitted, but for
// those that tell what was sent in place of what came. The session is locked
// meanwhile: Decide answers at once, does no I/O and calls no method of the
// session. ev is valid during the call.
//
// What it answers counts for frames. Of a frame that comes in pieces, it is the
// first piece that decides: later ones have the same fate whatever is answered,
// save that the Bytes of each are sent.
//
// After a panic in Decide, or bytes that can't be framed, Decide is not asked
// about that direction any more: what is held is sent on, and the rest goes as
// it comes.
type Gate interface {
	Decide(ev *decode.Event) Decision
}

// A Decision is the fate of a frame, and what is to be sent. The zero Decision
// lets the frame go on as it came.
//
// A frame goes on at once unless something waits in front of it; then its event
// says that it was delayed. Bytes, Before and After are the proxy's once they
// are returned.
type Decision struct {
	decode.Fate

	Until  time.Time // with FXDelay or FXHold: the frame, and what follows it, goes on no sooner
	Bytes  []byte    // with FXReplace: what is sent in its place, if anything
	Before []byte    // what is sent in front of the frame, as by [Outlet.Inject]
	After  []byte    // and behind it
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

// Inject sends b, as if it came from the side d, as soon as a frame of d ends,
// or a message if b is data: one or more whole messages, or one control frame. A
// ping or pong overtakes what is held; a Close releases it first. Inject may be
// called at any time, from Decide too, and does not wait. It reports whether b
// was taken: after the end of d nothing is, nor while a lot waits to be sent.
// The outlet owns b from then on; change says what made it.
func (o *Outlet) Inject(d decode.Dir, b []byte, change string) bool {
	return o.boxes[d].inject(b, change)
}

// decide is the [decode.Session.Gate] of the session.
func (o *Outlet) decide(ev *decode.Event) decode.Fate {
	box := &o.boxes[ev.Dir]
	var decision Decision
	if !o.deaf(ev) {
		decision = o.ask(ev)
	}
	switch ev.Kind {
	case decode.KindFrame:
		return box.frame(ev.Frame, decision)
	case decode.KindJunk:
		box.stopAsking(true)
		return box.junk(ev.Data)
	case decode.KindOpaque:
		box.stopAsking(true)
	}
	return decode.Fate{}
}

// deaf reports whether the gate is not to be asked about ev.
func (o *Outlet) deaf(ev *decode.Event) bool {
	switch ev.Kind {
	case decode.KindOpen, decode.KindNotice, decode.KindClosed: // of no direction
		return o.boxes[0].deaf.Load() && o.boxes[1].deaf.Load()
	}
	return o.boxes[ev.Dir].deaf.Load()
}

// ask asks the gate. If it panics, its direction is asked about no more.
func (o *Outlet) ask(ev *decode.Event) (decision Decision) {
	defer func() {
		e := recover()
		if e == nil {
			return
		}
		decision = Decision{}
		o.boxes[ev.Dir].stopAsking(false)
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
		s.Notice(time.Now(), text)
	}
}
