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
// those that tell what was sent in place of what came, or what a change did. The
// session is locked meanwhile: Decide answers at once, does no I/O and calls no
// method of the session. ev is valid during the call.
//
// What Decide returns counts for frames alone, but for Inject, Notes and Reset; heads
// are for a [HeadGate]. When a frame comes in pieces, the first decides for all of them;
// of a frame that is replaced, the Bytes that are returned for each piece are sent, when
// the decision on the piece says.
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

	// Kept, with FXReplace, says that what came is sent on later, or is still to be
	// decided on: the event says FXDelay instead.
	Kept bool

	Until  time.Time // with FXDelay, FXHold and FXReplace: it, and all behind it, goes on no sooner
	Bytes  []byte    // with FXReplace: what is sent in place of the frame, if anything
	Before []byte    // sent right in front of the frame: a control frame, or whole messages
	After  []byte    // sent right behind it

	// Stall, with FXDelay, FXHold and FXReplace, is how long sending stops in the
	// middle of it: the first half of the bytes, so of a short frame a part of the
	// header, goes when it may go, the rest that much later, and all behind it after
	// that. Of a frame that comes in pieces, the first goes and the later ones wait.
	// What releases what is held ends the stall too.
	Stall time.Duration

	Inject []Injection // sent besides, as by [Outlet.Inject], behind the frame if that goes on at once
	Notes  []Note      // they follow the event

	// Reset, if not "", is the change that resets both connections, once what was
	// decided so far in this direction, and is not held, is written; the rest is
	// dropped. The session ends, on both sides, by our doing. What frames follow is
	// dropped.
	Reset string
}

// An Injection is what a gate adds to what the side Dir sends. If it can't be sent, a
// note says [NotInjected].
type Injection struct {
	Dir    decode.Dir
	Bytes  []byte
	Change string
}

// NotInjected is the text of a note on what could not be injected.
const NotInjected = "not sent: the session ends, or too much waits already"

// A Note tells what a change did that no frame tells, to what the side Dir sent.
type Note struct {
	Dir          decode.Dir
	Change, Text string
}

// A Holder is a Gate that holds back bytes itself, of frames that it has replaced by
// nothing so far. Release returns what it holds of d, whole frames and the beginning of
// one, which is then sent: d ends, or is changed no more. The session may be locked, or
// not: Decide may be called for the other direction meanwhile.
type Holder interface {
	Release(d decode.Dir) []byte
}

// A Looker is a Gate of a session that has to look into more than others.
type Looker interface {
	Look(look *decode.Look)
}

// An Outlet sends what a gate adds of its own accord.
type Outlet struct {
	gate    Gate
	boxes   [2]outbox // by Dir
	log     *slog.Logger
	link    *link         // of session
	session *session      // set before its first event
	begun   chan struct{} // closed behind that

	mu     sync.Mutex
	notice string // of a panic, not reported yet; protected by mu
	over   bool   // the session is; protected by mu
	reset  bool   // both connections were; protected by mu
	why    string // that was; protected by mu
}

// newOutlet returns the outlet of a gate made by newGate, or nil if it makes
// none. What the gate wants the session to look into is added to look.
func newOutlet(newGate func(decode.Info, *Outlet) Gate, info decode.Info, look *decode.Look, log *slog.Logger) *Outlet {
	if newGate == nil {
		return nil
	}
	o := &Outlet{log: log, begun: make(chan struct{})}
	for d := range o.boxes {
		o.boxes[d].init(decode.Dir(d))
	}
	if o.gate = newGate(info, o); o.gate == nil {
		return nil
	}
	if l, ok := o.gate.(Looker); ok {
		l.Look(look)
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

// Reset resets both connections and drops what is held, because of a change. It may
// be called at any time, also before the answer to the handshake, but neither in
// NewGate nor in Decide. After the end of the session it does nothing.
func (o *Outlet) Reset(change string) {
	<-o.begun
	o.resetBoth(change)
}

// Note tells what a change did that no frame tells, to what d sent, at once. It is
// like Reset in when it may be called; a lock that Decide takes must not be held.
func (o *Outlet) Note(d decode.Dir, change, text string) {
	<-o.begun
	o.session.Changed(d, o.session.now(), change, text)
}

func (o *Outlet) resetBoth(change string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.over || o.reset {
		return
	}
	o.reset, o.why = true, change
	for d := range o.boxes {
		o.boxes[d].abandon(change)
	}
	o.link.reset()
}

// wasReset reports whether the connections were reset, and why. It may be called
// without an outlet.
func (o *Outlet) wasReset() (why string, reset bool) {
	if o == nil {
		return "", false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.why, o.reset
}

// end has nothing reset any more.
func (o *Outlet) end() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.over = true
}

// decide is the [decode.Session.Gate] of the session.
func (o *Outlet) decide(ev *decode.Event) decode.Fate {
	var decision Decision
	if !o.leavesOut(ev) {
		decision = o.ask(ev)
	}
	fate := o.carryOut(ev, &decision)
	for _, i := range decision.Inject {
		if !o.Inject(i.Dir, i.Bytes, i.Change) {
			decision.Notes = append(decision.Notes, Note{i.Dir, i.Change, NotInjected})
		}
	}
	for _, n := range decision.Notes {
		o.session.AlsoChanged(n.Dir, n.Change, n.Text)
	}
	if decision.Reset != "" && !o.boxes[ev.Dir].stop(decision.Reset) && ev.Kind != decode.KindClosed {
		o.resetBoth(decision.Reset)
		if ev.Kind == decode.KindRequest || ev.Kind == decode.KindResponse && ev.Handshake.Accepted { // it was not sent yet
			fate = decode.Fate{FX: decode.FXDrop, Change: decision.Reset}
		}
	}
	return fate
}

// release sends on what the gate itself holds of d.
func (o *Outlet) release(d decode.Dir) {
	if h, ok := o.gate.(Holder); ok {
		o.boxes[d].sendOn(h.Release(d))
	}
}

// carryOut carries out the decision on ev, and returns the fate that it has then.
func (o *Outlet) carryOut(ev *decode.Event, decision *Decision) decode.Fate {
	box := &o.boxes[ev.Dir]
	switch ev.Kind {
	case decode.KindRequest, decode.KindResponse:
		return box.headFate(ev)
	case decode.KindFrame:
		return box.frame(ev.Frame, decision)
	case decode.KindJunk:
		o.release(ev.Dir)
		box.lose(false)
		return box.junk(ev.Data)
	case decode.KindOpaque:
		o.release(ev.Dir)
		box.lose(true)
	}
	return decode.Fate{}
}

// leavesOut reports whether the gate is not to be asked about ev.
func (o *Outlet) leavesOut(ev *decode.Event) bool {
	switch ev.Kind {
	case decode.KindClosed: // what the gate has running ends
		return false
	case decode.KindOpen, decode.KindNotice: // of no direction
		return o.boxes[0].ungated.Load() && o.boxes[1].ungated.Load()
	}
	return o.boxes[ev.Dir].ungated.Load()
}

// ask asks the gate. If it panics, its direction is asked about no more.
func (o *Outlet) ask(ev *decode.Event) (decision Decision) {
	defer o.recover(ev.Dir, func() { decision = Decision{} })
	return o.gate.Decide(ev)
}

// recover, which is deferred, recovers from a panic of the gate when asked about d:
// it calls reset, and d is asked about no more.
func (o *Outlet) recover(d decode.Dir, reset func()) {
	e := recover()
	if e == nil {
		return
	}
	reset()
	o.release(d)
	o.boxes[d].stopAsking()
	o.mu.Lock()
	defer o.mu.Unlock()
	o.notice = fmt.Sprintf("panic in the gate: %v; what the %s sends is changed no more", e, d)
	o.log.Debug(string(debug.Stack()))
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
