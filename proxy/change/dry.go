package change

import (
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
	gates   decode.PerSession[*gate]
	sent    decode.Decoder
}

func (y *dry) emit(ev *decode.Event) {
	if ev.Conn == 0 || ev.Out {
		return
	}
	at := y.gates.Of(ev)
	if *at == nil {
		*at = y.changes.newGate(ev.Conn, nil)
		(*at).dry = true
	}
	g := *at
	was := ev.Fate
	defer func() { ev.Fate = was }()
	ev.Fate = decode.Fate{}
	due := g.due(ev.Time)
	y.besides(ev, &due)
	var head proxy.HeadDecision
	if ev.Kind == decode.KindRequest || ev.Kind == decode.KindResponse && ev.Handshake != nil && ev.Head == ev.Handshake.Response {
		if head = g.Head(ev); head.Change != "" {
			ev.Fate = decode.Fate{FX: decode.FXReplace, Change: head.Change}
			if head.Status != 0 {
				ev.Fate.FX = decode.FXDrop
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
