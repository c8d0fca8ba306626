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
	frame   int
	lines   []int
	stopped bool // a line has acted, and later ones don't
}

// begin takes a frame that begins.
func (h *held) begin(f *decode.Frame, lines []int) {
	if len(lines) > 0 {
		h.candidates = append(h.candidates, candidate{frame: len(h.frames), lines: lines})
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

// How much room for held frames stays between messages.
const (
	keptHeld       = 16 << 10 // bytes
	keptHeldFrames = 64
)

// done forgets what was held, and keeps some room.
func (h *held) done() {
	raw, frames := h.raw[:0], h.frames[:0]
	if cap(raw) > keptHeld {
		raw = nil
	}
	if cap(frames) > keptHeldFrames {
		frames = nil
	}
	*h = held{raw: raw, frames: frames}
}

// hold takes a piece of a frame that is held, and decides if it was the last.
func (g *gate) hold(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	f, h := ev.Frame, &dir.held
	spelled := dir.msg.spelled && !f.Control()
	if spelled && ev.Unread {
		g.cannotInflate(ev, dir, dec)
		return
	}
	one := h.acts != nil
	last := f.Complete && (one || f.Fin)
	if left := f.Length - f.At; left > int64(MaxHeld-len(h.raw)) || spelled && len(h.content)+len(ev.Content) > MaxHeld || len(h.frames) > MaxHeldFrames {
		h.add(ev, spelled)
		g.overflow(ev, dir, spelled, dec)
		return
	}
	if !last {
		h.add(ev, spelled)
		dec.FX, dec.Kept = decode.FXReplace, true
		return
	}
	o := outcome{frames: [][]acting{h.acts}}
	if !one { // before the frame is held: should it panic, that goes on by itself
		o = g.decide(ev, dir, dec)
	}
	if len(h.frames) > 1 || f.More || spelled || o.acts() {
		h.add(ev, spelled)
		g.compose(ev, dir, h, o, dec)
	}
	if o.acts() && !dec.Kept && (len(h.frames) > 1 || f.More) { // what came was told as waiting
		what, became := "message", "replaced"
		if one {
			what = "frame"
		}
		if dec.FX == decode.FXDrop {
			became = "dropped"
		}
		dec.Notes = append(dec.Notes, proxy.Note{Dir: ev.Dir, Change: dec.Change, Text: "the " + what + " that waited is " + became})
	}
	h.done()
}

// overflow gives up holding what is too long.
func (g *gate) overflow(ev *decode.Event, dir *direction, spelled bool, dec *proxy.Decision) {
	f, h := ev.Frame, &dir.held
	what, change := "message", dir.msg.by
	if h.acts != nil {
		what, change = "frame", names(h.acts)
	} else {
		dir.msg.held = false
	}
	dec.Notes = append(dec.Notes, proxy.Note{Dir: ev.Dir, Change: change, Text: "a " + what + " of more than 1 MiB passes unchanged"})
	switch {
	case spelled:
		dir.plan = spells
		dec.FX, dec.Change, dec.Bytes = decode.FXReplace, dir.skew, g.fragment(ev, dir, h.content)
	case !f.More && len(h.frames) == 1:
		dir.plan = passes
	default:
		dir.plan = copies
		dec.FX, dec.Kept, dec.Bytes = decode.FXReplace, true, slices.Clone(h.raw)
	}
	h.done()
	if f.Complete {
		dir.plan = passes
	}
}

// stopped reports whether a line has acted on the first frame, and later ones don't.
func (h *held) stopped() bool {
	return len(h.candidates) > 0 && h.candidates[0].frame == 0 && h.candidates[0].stopped
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
	all := false
	if m != nil {
		o.content, o.op = m.Data, m.Op
	}
	for i, l := range g.set.lines {
		switch {
		case l.kind == onHeads:
		case l.timer:
			if l.late && g.matched[i] {
				g.arm(i, ev.Dir, ev.Time)
			}
		case !l.late:
			for n := range h.candidates {
				c := &h.candidates[n]
				if all || c.stopped || !slices.Contains(c.lines, i) || !g.agrees(i, ev.Dir, ev.Time) {
					continue
				}
				g.perform(l, ev.Dir, dec)
				c.stopped = !l.also
				if l.kind&onFrames != 0 {
					for len(o.frames) <= c.frame {
						o.frames = append(o.frames, nil)
					}
					o.frames[c.frame] = append(o.frames[c.frame], acting{l, &g.lines[i], i})
				}
			}
		case all || h.stopped() || !g.matched[i] || g.lines[i].done && l.has(once):
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
		made, isText, has := a.edit(content)
		content, ok = made, ok || has
		if isText {
			op = ws.OpText
		}
	}
	return content, op, ok, ok
}
