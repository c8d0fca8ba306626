package render

import (
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// fateNames say what a change did to what came.
var fateNames = [...]string{
	decode.FXDrop:    "dropped",
	decode.FXDelay:   "delayed",
	decode.FXReplace: "replaced",
	decode.FXHold:    "held",
}

// fate appends a line that says what became of what ev shows, unless it was sent
// on as it came. Later pieces of a frame share its fate.
func (p *printer) fate(ev *decode.Event) {
	if ev.Fate.FX == decode.FXNone || ev.Frame != nil && ev.Frame.More {
		return
	}
	p.change(ev, fateNames[ev.Fate.FX])
	if hs := ev.Handshake; ev.Fate.FX == decode.FXReplace && hs != nil {
		switch {
		case ev.Kind == decode.KindRequest && hs.Forwarded != nil:
			p.sentHead(ev, hs.Request, hs.Forwarded)
		case ev.Kind == decode.KindResponse && hs.Relayed != nil && ev.Head == hs.Response:
			p.sentHead(ev, hs.Response, hs.Relayed)
		}
	}
}

// sentHead appends a line that says in which fields a head that was sent differs from
// the one that came, unless the line of the head says so: in Host, and in what was
// removed from a request.
func (p *printer) sentHead(ev *decode.Event, came, sent *decode.Head) {
	var gone string
	if ev.Kind == decode.KindResponse {
		gone = removed(came, sent)
	}
	added := slices.DeleteFunc(slices.Clone(sent.Fields), func(f decode.Field) bool {
		return slices.Contains(came.Fields, f) || strings.EqualFold(f.Name, "Host")
	})
	if len(added) == 0 && gone == "" {
		return
	}
	p.changed(ev)
	p.text("sent")
	for _, f := range added {
		p.text("  ")
		p.wire(f.Name)
		p.text(": ")
		p.wire(f.Value)
	}
	p.part("removed", gone)
	p.end()
}

// change appends a line that says what a change did.
func (p *printer) change(ev *decode.Event, did string) {
	p.changed(ev)
	p.text(did)
	p.appendChange(ev)
	p.end()
}

// changed begins a line about what a change did.
func (p *printer) changed(ev *decode.Event) {
	p.line(ev, "~", p.pens.changes)
	p.colored(p.pens.sides[ev.Dir], ev.Dir.Arrow())
	p.text(" ")
}

// sentBy appends the change that sent what ev shows, if it is known.
func (p *printer) sentBy(ev *decode.Event) {
	if ev.Out {
		p.appendChange(ev)
	}
}

// appendChange appends the change that decided it, if that is known.
func (p *printer) appendChange(ev *decode.Event) {
	if ev.Fate.Change == "" {
		return
	}
	p.trim()
	p.text("  change ")
	p.payload = append(p.payload[:0], ev.Fate.Change...)
	p.buf = decode.AppendEscaped(p.buf, p.payload, false)
}
