package proxy

import (
	"cmp"
	"fmt"
	"net/http"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A HeadGate changes the heads of the handshake, too.
type HeadGate interface {
	Gate

	// Head is given a request, or the final response to it, just before the session
	// has it. ev is as the session will emit it, but for its violations and its
	// fate; it is the gate's. Decide is given it too. If Head panics, the heads and
	// frames of that direction are changed no more.
	Head(ev *decode.Event) HeadDecision
}

// A HeadDecision says what becomes of a head. The zero HeadDecision lets it go on.
// What follows it is relayed, and what was agreed on is judged, by the head that
// came.
type HeadDecision struct {
	Change string // what decided it: the line of a change, as a user wrote it

	// Edit, if not nil, is given the head as it would be sent on, so after the edits
	// that proxying needs, and returns the one to send. It leaves the head that it
	// is given as it is.
	Edit func(*decode.Head) *decode.Head

	// Status, if not 0, is what the client gets as its answer, from us: in place of
	// that of the server, which is dropped, or without asking the server at all.
	// Both connections end with it.
	Status int
	Body   string // of that answer; "" for a line that says whose answer it is
}

// head asks the gate about a head of d that came, h, in place of which sent would
// be sent if that is not nil. It returns what is sent then, and the answer that the
// client gets instead, or nil. It may be called without an outlet.
func (o *Outlet) head(d decode.Dir, t time.Time, h, sent *decode.Head) (*decode.Head, *failure) {
	if o == nil || o.boxes[d].ungated.Load() {
		return sent, nil
	}
	gate, ok := o.gate.(HeadGate)
	if !ok {
		return sent, nil
	}
	was := cmp.Or(sent, h)
	decision, edited := o.askHead(gate, o.session.HeadEvent(d, t, h, sent), was)
	fate := decode.Fate{Change: decision.Change}
	switch {
	case decision.Status != 0:
		fate.FX = decode.FXDrop
		o.boxes[d].setHeadFate(fate)
		text := fmt.Sprintf("a change answers with %d %s", decision.Status, http.StatusText(decision.Status))
		return decode.NotSent, &failure{status: decision.Status, text: text, body: decision.Body, made: true, change: decision.Change, dir: d}
	case edited != was:
		fate.FX = decode.FXReplace
		o.boxes[d].setHeadFate(fate)
		return edited, nil
	}
	return sent, nil
}

// askHead asks the gate about a head, and returns what it makes of was. If it
// panics, its direction is asked about no more.
func (o *Outlet) askHead(gate HeadGate, ev *decode.Event, was *decode.Head) (decision HeadDecision, edited *decode.Head) {
	defer o.recover(ev.Dir, func() { decision, edited = HeadDecision{}, was })
	decision = gate.Head(ev)
	if decision.Edit == nil {
		return decision, was
	}
	switch edited = decision.Edit(was); {
	case edited == nil:
		return decision, was
	case edited.Raw == "":
		e := *edited
		e.Raw = string(e.Append(nil))
		edited = &e
	}
	if edited.Raw == was.Raw {
		return decision, was
	}
	return decision, edited
}

// setHeadFate sets the fate of the next head event.
func (o *outbox) setHeadFate(fate decode.Fate) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.head = fate
}

// headFate returns the fate of the head that ev is about.
func (o *outbox) headFate(ev *decode.Event) decode.Fate {
	if ev.Kind == decode.KindResponse && (ev.Handshake == nil || ev.Head != ev.Handshake.Response) { // an interim one
		return decode.Fate{}
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.head
}
