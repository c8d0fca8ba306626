package change

import (
	"cmp"
	"fmt"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// Dry returns a sink that passes on to sink what the changes would act on, with what they
// would do with it, and what they would send. It is for the events of a recording, of
// sessions that look into what [Changes.AddTo] says; time is that of the events. What was
// changed in the recording itself is left out.
func (c *Changes) Dry(sink decode.Sink) decode.Sink {
	d := &dry{changes: c, sink: sink}
	return decode.SinkFunc(d.emit)
}

// AddTo adds what the changes need to know of sessions to look.
func (c *Changes) AddTo(look *decode.Look) { c.set.Load().addTo(look) }

type dry struct {
	changes *Changes
	sink    decode.Sink
	open    decode.PerSession[drySession]
	sent    decode.Decoder
}

type drySession struct {
	g        *gate
	answered bool // the client got another answer, and nothing follows
}

func (y *dry) emit(ev *decode.Event) {
	if ev.Conn == 0 || ev.Out {
		return
	}
	at := y.open.Of(ev)
	if at.answered {
		return
	}
	if at.g == nil {
		at.g = y.changes.newGate(ev.Conn, nil)
		at.g.dry = true
	}
	g := at.g
	fate, handshake := ev.Fate, ev.Handshake
	defer func() { ev.Fate, ev.Handshake = fate, handshake }()
	ev.Fate = decode.Fate{}
	due := g.due(ev.Time)
	y.besides(ev, &due)
	var head proxy.HeadDecision
	if ev.Kind == decode.KindRequest || ev.Kind == decode.KindResponse && ev.Handshake != nil && ev.Head == ev.Handshake.Response {
		if head = g.Head(ev); head.Change != "" {
			ev.Fate = decode.Fate{FX: decode.FXReplace, Change: head.Change}
			if at.answered = head.Status != 0; at.answered {
				ev.Fate.FX = decode.FXDrop
			} else {
				ev.Handshake = edited(ev, head.Edit)
			}
		}
	}
	dec := g.Decide(ev)
	if ev.Kind == decode.KindFrame {
		if ev.Fate = dec.Fate; dec.Kept {
			ev.Fate.FX = decode.FXDelay
		}
	}
	if ev.Fate.FX != decode.FXNone {
		y.sink.Emit(ev)
	}
	if head.Status != 0 {
		y.note(ev, ev.Dir.Peer(), head.Change, fmt.Sprintf("the client gets %d", head.Status))
	}
	if !dec.Kept {
		y.frames(ev, ev.Dir, dec.Bytes, dec.Change)
	}
	y.besides(ev, &dec)
}

// edited returns the handshake of ev, a head, with that edited.
func edited(ev *decode.Event, edit func(*decode.Head) *decode.Head) *decode.Handshake {
	hs := *ev.Handshake
	if ev.Kind == decode.KindRequest {
		hs.Forwarded = edit(cmp.Or(hs.Forwarded, hs.Request))
	} else {
		hs.Relayed = edit(hs.Response)
	}
	return &hs
}

// besides emits what a decision does besides.
func (y *dry) besides(ev *decode.Event, dec *proxy.Decision) {
	for _, i := range dec.Inject {
		y.frames(ev, i.Dir, i.Bytes, i.Change)
	}
	for _, n := range dec.Notes {
		y.note(ev, n.Dir, n.Change, n.Text)
	}
	if dec.Reset != "" {
		y.note(ev, ev.Dir, dec.Reset, "both connections are reset")
	}
}

// frames emits the frames that b has.
func (y *dry) frames(ev *decode.Event, d decode.Dir, b []byte, change string) {
	y.sent = decode.Decoder{Dir: d}
	for f := range y.sent.Frames(b) {
		y.sink.Emit(&decode.Event{Kind: decode.KindFrame, Dir: d, Conn: ev.Conn, Time: ev.Time, Info: ev.Info,
			Handshake: ev.Handshake, Frame: f, Out: true, Fate: decode.Fate{Change: change}, Start: ev.Start})
	}
}

func (y *dry) note(ev *decode.Event, d decode.Dir, change, text string) {
	y.sink.Emit(&decode.Event{Kind: decode.KindNotice, Dir: d, Conn: ev.Conn, Time: ev.Time, Info: ev.Info,
		Handshake: ev.Handshake, Text: text, Fate: decode.Fate{Change: change}, Start: ev.Start})
}
