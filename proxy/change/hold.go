package change

import (
	"slices"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// MaxHeldFrames is how many frames are held at most.
const MaxHeldFrames = 16 << 10

// A held is frames that wait until all are there that may be changed together.
type held struct {
	raw        []byte // as they came
	frames     []heldFrame
	content    []byte      // of a compressed message that goes out uncompressed
	candidates []candidate // of a message
	acts       []acting    // of a frame alone, which is decided already; nil for a message
}

// A heldFrame is one that begins at an offset.
type heldFrame struct {
	ws.Header
	start, head, bits int
}

// A candidate is a frame with the lines that it is a match of.
type candidate struct {
	frame int
	lines []int
}

// begin takes a frame that begins.
func (h *held) begin(f *decode.Frame, lines []int) {
	if len(lines) > 0 {
		h.candidates = append(h.candidates, candidate{len(h.frames), lines})
	}
	h.frames = append(h.frames, heldFrame{f.Header, len(h.raw), len(f.Head), f.LengthBits()})
}

// add takes a piece of a frame.
func (h *held) add(ev *decode.Event, spelled bool) {
	h.raw = ev.Frame.AppendWire(h.raw)
	if spelled {
		h.content = append(h.content, ev.Content...)
	}
}

// frame returns the nth frame, with a payload of its own.
func (h *held) frame(n int) frame {
	f, end := &h.frames[n], len(h.raw)
	if n+1 < len(h.frames) {
		end = h.frames[n+1].start
	}
	payload := slices.Clone(h.raw[f.start+f.head : end])
	if f.Masked {
		ws.Cipher(payload, f.Mask, 0)
	}
	return frame{fin: f.Fin, rsv: f.Rsv, op: f.OpCode, masked: f.Masked, bits: f.bits, payload: payload}
}

// release returns what is held, which is then forgotten.
func (h *held) release() []byte {
	raw := h.raw
	*h = held{frames: h.frames[:0]}
	return raw
}

// keptHeld is how much room for held frames stays between messages, in bytes.
const keptHeld = 16 << 10

// done forgets what was held, and keeps some room.
func (h *held) done() {
	raw := h.raw[:0]
	if cap(raw) > keptHeld {
		raw = nil
	}
	*h = held{raw: raw, frames: h.frames[:0]}
}

// hold takes a piece of a frame that is held, and decides if it was the last.
func (g *gate) hold(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	f, h := ev.Frame, &dir.held
	spelled := dir.msg.compressed && dir.skew != "" && !f.Control()
	one := h.acts != nil
	last := f.Complete && (one || f.Fin)
	if last && !f.More && len(h.frames) == 1 && !one { // as most are
		o := g.decide(ev, dir, dec)
		if h.add(ev, spelled); o.acts() || spelled {
			g.compose(ev, dir, h, o, dec)
		}
		h.done()
		return
	}
	h.add(ev, spelled)
	switch {
	case len(h.raw) > MaxHeld || len(h.content) > MaxHeld || len(h.frames) > MaxHeldFrames:
		g.overflow(ev, dir, spelled, dec)
	case !last:
		dec.FX, dec.Kept = decode.FXReplace, true
	default:
		o := outcome{frames: [][]acting{h.acts}}
		if !one {
			o = g.decide(ev, dir, dec)
		}
		g.compose(ev, dir, h, o, dec)
		h.done()
	}
}

// overflow gives up holding what is too long.
func (g *gate) overflow(ev *decode.Event, dir *direction, spelled bool, dec *proxy.Decision) {
	f, h := ev.Frame, &dir.held
	what, change := "message", ""
	if h.acts != nil {
		what, change = "frame", names(h.acts)
	} else {
		dir.msg.free = true
	}
	dec.Notes = append(dec.Notes, proxy.Note{Dir: ev.Dir, Change: change, Text: "a " + what + " of more than 1 MiB passes unchanged"})
	dec.FX = decode.FXReplace
	if spelled {
		dir.plan = spells
		dec.Change, dec.Bytes = dir.skew, g.fragment(ev, dir, h.content)
	} else {
		dir.plan = copies
		dec.Kept, dec.Bytes = true, slices.Clone(h.raw)
	}
	h.done()
	if f.Complete {
		dir.plan = passes
	}
}

// An outcome is what lines do with a message.
type outcome struct {
	message []acting   // what is about all of it
	frames  [][]acting // by frame: what is about that
	edited  bool       // it says something else:
	content []byte
	op      ws.OpCode
}

func (o *outcome) acts() bool {
	return len(o.message) > 0 || slices.ContainsFunc(o.frames, func(a []acting) bool { return len(a) > 0 })
}

// decide has the lines act on the message that is complete.
func (g *gate) decide(ev *decode.Event, dir *direction, dec *proxy.Decision) (o outcome) {
	h, m := &dir.held, ev.Message
	stopped, all := map[int]bool{}, false
	if m != nil {
		o.content, o.op = m.Data, m.Op
	}
	for i, l := range g.set.lines {
		switch {
		case l.kind == onHeads:
		case l.timer:
			if g.matched[i] {
				g.arm(i, ev.Dir, ev.Time)
			}
		case !l.late:
			for _, c := range h.candidates {
				if all || stopped[c.frame] || !slices.Contains(c.lines, i) || !g.agrees(i, ev.Dir, ev.Time) {
					continue
				}
				g.perform(l, ev.Dir, dec)
				stopped[c.frame] = !l.also
				if l.kind&onFrames != 0 {
					for len(o.frames) <= c.frame {
						o.frames = append(o.frames, nil)
					}
					o.frames[c.frame] = append(o.frames[c.frame], acting{l, &g.lines[i], i})
				}
			}
		case all || stopped[0] || !g.matched[i]:
		default:
			content, op, edited, ok := g.edit(l, m, o.content, o.op, ev.Dir, dec)
			if !ok || !g.agrees(i, ev.Dir, ev.Time) {
				continue
			}
			g.perform(l, ev.Dir, dec)
			if l.kind&(onFrames|onMessages) != 0 {
				o.message = append(o.message, acting{l, &g.lines[i], i})
			}
			if edited {
				o.content, o.op, o.edited = content, op, true
			}
			all = !l.also
		}
	}
	return o
}

// edit returns what l makes of the content of m. ok is false if there is nothing that it
// could change.
func (g *gate) edit(l *Line, m *decode.Message, content []byte, op ws.OpCode, d decode.Dir, dec *proxy.Decision) (c []byte, newOp ws.OpCode, edited, ok bool) {
	if l.kind&onMessages == 0 {
		return content, op, false, true
	}
	if m == nil || m.Cut || m.Unread || m.Unfinished {
		why := "its content can't be read"
		if m != nil && m.Cut && !m.Unread {
			why = "it inflates to more than 1 MiB"
		}
		dec.Notes = append(dec.Notes, proxy.Note{Dir: d, Change: l.text, Text: "a message passes unchanged: " + why})
		return content, op, false, false
	}
	for i := range l.actions {
		a := &l.actions[i]
		if verbs[a.verb].kind != onMessages {
			continue
		}
		var isText bool
		if content, isText, ok = a.edit(content); !ok {
			return nil, 0, false, false
		}
		if isText {
			op = ws.OpText
		}
	}
	return content, op, true, true
}
