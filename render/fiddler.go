package render

import (
	"io"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// fiddler shows one block a frame.
type fiddler struct {
	printer
}

// NewFiddler returns a Sink that writes to w what Fiddler's log says of frames
// and accepted handshakes:
//
//	19:28:31:3497 Upgrading Session #183 to websocket
//	19:28:46:5764  Client->Server (6 bytes)
//	TYPE: PONG.
//	MESSAGE:
//	FLAGS: 10001010 DATA: 0 bytes, masked using KEY: 16-39-8F-63.
//	------------------------------
//
// The count in brackets is the whole frame on the wire. What Fiddler has no
// words for and goes beyond the frames (violations, changes, refusals, bytes
// that are no frame, remarks) is a line as in the compact form; requests,
// exchanges that do not ask for websocket, and totals are left out.
func NewFiddler(w io.Writer, o Options) decode.Sink {
	o.Columns = nil // a block is what it is
	return o.sink(&fiddler{newPrinter(w, o, ':')})
}

// Emit shows ev.
func (p *fiddler) Emit(ev *decode.Event) {
	p.begin(ev)
	part, m := p.ofMessage(ev)
	switch {
	case m != nil:
		p.whole(ev)
	case ev.Kind == decode.KindFrame && !part && !ev.Frame.More:
		p.block(ev)
	default:
		if !part {
			p.other(ev)
		}
		p.violations(ev)
		p.fate(ev)
	}
	p.finish(ev)
}

// other appends the line of an event that is no frame, if it has one here.
func (p *fiddler) other(ev *decode.Event) {
	hs := ev.Handshake
	switch ev.Kind {
	case decode.KindRequest:
		if !hs.Request.Cut {
			return
		}
	case decode.KindResponse:
		if ev.Head.Cut {
			break
		}
		if hs == nil || ev.Head != hs.Response { // an interim one
			return
		}
		if hs.Accepted {
			p.upgrading(ev)
			return
		}
		if !hs.WebSocket {
			return
		}
	case decode.KindOpaque:
		if hs == nil || !hs.WebSocket && !hs.Accepted {
			return
		}
	case decode.KindClosed:
		if ev.Totals.Status == 0 && (hs == nil || !hs.WebSocket || hs.Accepted) {
			return
		}
	}
	p.event(ev)
}

func (p *fiddler) upgrading(ev *decode.Event) {
	p.time(ev.Time)
	p.text(" ")
	p.text(p.pens.session.on)
	p.text("Upgrading Session #")
	p.int(ev.Conn)
	p.text(" to websocket")
	p.text(p.pens.session.off)
	p.end()
}

var (
	fiddlerSides = [2]string{"Client->Server", "Server->Client"} // by decode.Dir
	fiddlerTypes = [16]string{"CONTINUATION", "TEXT", "BINARY", "RESERVED3", "RESERVED4", "RESERVED5", "RESERVED6", "RESERVED7",
		"CLOSE", "PING", "PONG", "RESERVED11", "RESERVED12", "RESERVED13", "RESERVED14", "RESERVED15"}
)

// block appends the block of a frame, with its violations before the dashes.
func (p *fiddler) block(ev *decode.Event) {
	f := ev.Frame
	p.time(ev.Time)
	if ev.Out {
		p.text(" ")
		p.colored(p.pens.changes, "~")
	} else {
		p.text("  ")
	}
	p.colored(p.pens.sides[ev.Dir], fiddlerSides[ev.Dir])
	p.text(" (")
	p.int(f.WireLen())
	p.text(" bytes)\nTYPE: ")
	p.text(fiddlerTypes[f.OpCode&15])
	p.text(".\nMESSAGE: ") // with a blank after the colon even if nothing follows, as Fiddler does
	p.message(ev)
	p.text("\nFLAGS: ")
	p.buf = appendBits(p.buf, f.Flags())
	p.text(" DATA: ")
	p.int(f.Length)
	p.text(" bytes")
	if f.Masked {
		p.text(", masked using KEY: ")
		p.buf = appendHex(p.buf, f.Mask[:], upperHex, '-')
	}
	p.text(".\n")
	p.violations(ev)
	p.fate(ev)
	if ev.Out && ev.Fate.Change != "" {
		p.change(ev, "sent")
	}
	p.text("------------------------------\n")
}

// whole appends the block of a message.
func (p *fiddler) whole(ev *decode.Event) {
	m := ev.Message
	p.time(ev.Time)
	p.text("  ")
	p.colored(p.pens.sides[ev.Dir], fiddlerSides[ev.Dir])
	p.text(" (")
	if m.Frames > 0 {
		p.count(m.Frames, "frame")
	} else {
		p.text("frames not known")
	}
	p.text(")\nTYPE: ")
	p.text(fiddlerTypes[m.Op&15])
	p.text(".\nMESSAGE: ")
	if g, ok := p.glimpseOf(m); ok {
		p.glance(g)
	}
	p.text("\nDATA: ")
	p.int(m.Len)
	p.text(" bytes")
	if m.Compressed {
		p.text(", compressed to ")
		p.int(m.Wire)
	}
	switch {
	case m.Unfinished:
		p.text(", unfinished")
	case m.Unread && m.Compressed:
		p.text(", not inflated")
	case m.Unread:
		p.text(", not looked into")
	}
	p.text(".\n")
	p.violations(ev)
	p.fate(ev)
	p.text("------------------------------\n")
}

// message appends the beginning of the payload.
func (p *fiddler) message(ev *decode.Event) {
	f := ev.Frame
	if g, ok := p.glimpse(ev); ok {
		if f.OpCode == ws.OpClose && !g.coded && !g.missing {
			p.text("no code, 1 byte: ")
		}
		p.glance(g)
		if !f.Complete {
			p.text(" ")
		}
	}
	p.soFar(f)
}

// glance appends the beginning of a payload or message.
func (p *fiddler) glance(g glimpse) {
	if g.coded {
		p.int(int64(g.code))
		if len(g.b) > 0 {
			p.text(" ")
		}
	}
	if g.text {
		p.buf = decode.AppendEscaped(p.buf, g.b, false)
	} else {
		p.buf = appendHex(p.buf, g.b, upperHex, '-')
	}
	if g.missing {
		p.text("…")
	}
}
