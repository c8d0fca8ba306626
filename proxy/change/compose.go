package change

import (
	"fmt"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// compose does what lines say with frames that are at hand, whole unless only their fate
// is decided, and writes that into dec.
func (g *gate) compose(ev *decode.Event, dir *direction, h *held, o outcome, dec *proxy.Decision) {
	f := ev.Frame
	data := !f.Control()
	spelled := data && dir.msg.spelled
	var frames []frame
	changed, altered := false, false // the bytes differ; and what they say
	merged := o.edited || spelled && (len(h.frames) > 1 || f.Fin && f.OpCode != ws.OpContinuation)
	switch {
	case o.edited:
		frames = []frame{newFrame(ev.Dir, true, o.op, o.content)}
		changed, altered = true, true
	case merged:
		frames = []frame{newFrame(ev.Dir, true, dir.msg.op, h.content)}
		changed = true
	case spelled:
		frames = []frame{dir.fragment(ev.Dir, f.Fin, h.content)}
		changed = true
	default:
		for n := range h.frames {
			frames = append(frames, h.frame(n))
		}
	}
	w := work{g: g, dir: ev.Dir}
	var out []frame
	for n := range frames {
		if w.dropped && n > 0 && h.frames[0].OpCode != ws.OpContinuation && out == nil {
			break // the first frame took the others with it
		}
		acts := o.message
		w.goesOn = !merged && h.frames[n].OpCode == ws.OpContinuation
		switch {
		case merged:
			acts = slices.Concat(o.merged(), acts)
		case n < len(o.frames):
			acts = slices.Concat(o.frames[n], acts)
		}
		out = append(out, w.frame(frames[n], acts)...)
	}
	by := slices.Concat(slices.Concat(o.frames...), o.message)
	change := names(by)
	if change == "" {
		change = dir.skew
	}
	whole := merged || h.acts == nil && len(h.frames) > 1 || f.Fin && f.OpCode != ws.OpContinuation
	if w.dups > 0 && len(out) > 0 {
		switch {
		case !data:
			once := slices.Clone(out)
			for range w.dups {
				out = append(out, once...)
			}
			w.changed = true
		case whole && f.Complete:
			if copied, ok := g.copyOf(ev, dir, out); ok {
				for range w.dups {
					out = append(out, copied...)
				}
				w.changed = true
			} else {
				dec.Notes = append(dec.Notes, proxy.Note{Dir: ev.Dir, Change: change, Text: notTwice})
			}
		default:
			dir.msg.dup = dup{n: w.dups, change: change}
		}
	}
	changed, altered = changed || w.changed || w.dropped, altered || w.dropped || w.altered
	if data && altered && dir.msg.compressed && !g.deflate.NoTakeover[ev.Dir] && dir.skew == "" {
		dir.skew = change
	}
	if w.dropped && data && !f.Fin && f.OpCode != ws.OpContinuation && !merged {
		dir.msg.dropped = change
	}
	dec.Until, dec.Stall = w.until(ev.Time), w.stall
	switch {
	case w.dropped && len(out) == 0:
		dec.FX, dec.Change, dec.Until, dec.Stall = decode.FXDrop, change, time.Time{}, 0
	case changed:
		dec.FX, dec.Change = decode.FXReplace, change
		for i := range out {
			dec.Bytes = out[i].append(dec.Bytes, g.key(ev.Dir))
		}
	case len(h.frames) > 1 || f.More:
		dec.FX, dec.Kept, dec.Change = decode.FXReplace, true, change
		dec.Bytes = slices.Clone(h.raw)
	case w.delay > 0 || w.stall > 0:
		dec.FX, dec.Change = decode.FXDelay, change
	}
}

// merged returns what lines do with frames that became one. What drops one that continues
// the message does not drop the others.
func (o *outcome) merged() (all []acting) {
	for n, acts := range o.frames {
		for _, a := range acts {
			if n == 0 || !a.does(drop) {
				all = append(all, a)
			}
		}
	}
	return all
}

// wait has a frame wait that goes out in another form.
func (g *gate) wait(ev *decode.Event, acts []acting, dec *proxy.Decision) {
	if len(acts) == 0 {
		return
	}
	w := work{g: g, dir: ev.Dir}
	w.frame(frame{}, acts)
	dec.Until, dec.Stall = w.until(ev.Time), w.stall
}

// A work is what is done with frames.
type work struct {
	g       *gate
	dir     decode.Dir
	goesOn  bool // the frame at hand continues a message
	delay   time.Duration
	stall   time.Duration
	dups    int
	dropped bool
	changed bool // other bytes are sent
	altered bool // and they say something else
}

// until returns when what came now may go on; zero for at once.
func (w *work) until(now time.Time) time.Time {
	if w.delay == 0 {
		return time.Time{}
	}
	return now.Add(w.delay)
}

// frame does with f what lines say, and returns what is sent then.
func (w *work) frame(f frame, acts []acting) []frame {
	out := []frame{f}
	for _, l := range acts {
		for i := range l.actions {
			a := &l.actions[i]
			switch a.verb {
			case drop:
				w.dropped, out = true, nil
			case dup_:
				if !w.goesOn {
					w.dups = 1
				}
			case delay:
				w.delay = max(w.delay, w.time(l, a))
			case stall:
				w.stall = max(w.stall, a.d)
			case split, flip, len16, len64, truncate:
				var all []frame
				for _, f := range out {
					all = append(all, a.apply(f)...)
				}
				out, w.changed = all, true
				w.altered = w.altered || a.verb == truncate || a.verb == flip && a.bit == bitRSV1
			}
		}
	}
	return out
}

// time returns how long a says to wait.
func (w *work) time(l acting, a *action) time.Duration {
	d := a.d
	if a.jitter > 0 {
		m := &l.st.dirs[w.dir]
		if m.rand == nil {
			m.rand = w.g.changes.random(w.g.conn, uint32(l.n), uint32(w.dir))
		}
		d += time.Duration(m.rand.Int64N(2*int64(a.jitter)+1)) - a.jitter
	}
	return max(d, 0)
}

// fragment returns content as the next fragment of the message in flight, uncompressed.
func (dir *direction) fragment(d decode.Dir, fin bool, content []byte) frame {
	f := newFrame(d, fin, dir.msg.op, content)
	if dir.msg.going {
		f.op = ws.OpContinuation
	}
	dir.msg.going = !fin
	return f
}

// fragment returns the next fragment as it is sent, or nil if there is nothing to send.
func (g *gate) fragment(ev *decode.Event, dir *direction, content []byte) []byte {
	fin := ev.Frame.Fin && ev.Frame.Complete
	if len(content) == 0 && !fin {
		return nil
	}
	f := dir.fragment(ev.Dir, fin, content)
	return f.append(nil, g.key(ev.Dir))
}

// spell sends a piece of a compressed message uncompressed, because the window of its
// receiver is not that of its sender any more.
func (g *gate) spell(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	if ev.Unread {
		g.cannotInflate(ev, dir, dec)
		return
	}
	dec.FX, dec.Change = decode.FXReplace, dir.skew
	dec.Bytes = g.fragment(ev, dir, ev.Content)
}

// cannotInflate closes the session, because a message would have to go out uncompressed
// that can't be read.
func (g *gate) cannotInflate(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	dec.Notes = append(dec.Notes, proxy.Note{Dir: ev.Dir, Change: dir.skew, Text: "a message that follows can't be inflated: both sides get a Close with 1011"})
	g.close(closePayload(1011, "cannot inflate"), dir.skew, dec)
	dir.held.done()
	dir.plan = swallows
	dec.FX, dec.Change = decode.FXDrop, g.closed
}

// notTwice is told of a message of which there can be no copy.
const notTwice = "a message is not sent twice: its content can't be read, or is more than 1 MiB"

// A dup is copies that are to follow the message in flight.
type dup struct {
	n       int
	change  string
	content []byte
	lost    bool // it is too long, or can't be read
}

// duplicate gathers the content of the message in flight, and sends the copies behind it.
func (g *gate) duplicate(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	f, d := ev.Frame, &dir.msg.dup
	switch {
	case d.lost:
	case dir.msg.compressed:
		d.content = append(d.content, ev.Content...)
		d.lost = ev.Unread
	default:
		d.content = f.AppendPayload(d.content, -1)
	}
	if len(d.content) > MaxHeld {
		d.content, d.lost = nil, true
	}
	if !f.Fin || !f.Complete {
		return
	}
	copied := newFrame(ev.Dir, true, dir.msg.op, d.content)
	if d.lost {
		dec.Notes = append(dec.Notes, proxy.Note{Dir: ev.Dir, Change: d.change, Text: notTwice})
		d.n = 0
	}
	for range d.n {
		dec.Inject = append(dec.Inject, proxy.Injection{Dir: ev.Dir, Bytes: copied.append(nil, g.key(ev.Dir)), Change: d.change})
	}
	*d = dup{}
}

// copyOf returns a copy of a message that is sent as frames, uncompressed.
func (g *gate) copyOf(ev *decode.Event, dir *direction, frames []frame) ([]frame, bool) {
	if !dir.msg.compressed || len(frames) > 0 && frames[0].rsv&4 == 0 {
		return slices.Clone(frames), true
	}
	m := ev.Message
	if m == nil || m.Cut || m.Unread {
		return nil, false
	}
	return []frame{newFrame(ev.Dir, true, m.Op, m.Data)}, true
}

// A rateLimit is how fast a direction goes.
type rateLimit struct {
	perSecond int64 // bytes; 0 for no limit
	change    string
	free      time.Time // when all is through that came so far
}

// maxWait is how long a frame waits at most because of a rate.
const maxWait = 1000 * time.Hour

// limit has what dec sends wait until it is through at the rate of the direction.
func (g *gate) limit(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	r := &dir.rate
	if dec.FX == decode.FXDrop {
		return
	}
	f := ev.Frame
	n := int64(len(dec.Bytes))
	if dec.FX != decode.FXReplace {
		if f.More {
			return // the first piece has waited for all
		}
		n = min(f.WireLen(), 1<<40)
	}
	if n == 0 {
		return
	}
	if r.free.Before(ev.Time) {
		r.free = ev.Time
	}
	took := min(float64(n)/float64(r.perSecond), maxWait.Seconds())
	r.free = r.free.Add(time.Duration(took * float64(time.Second)))
	if latest := ev.Time.Add(maxWait); r.free.After(latest) {
		r.free = latest
	}
	if r.free.After(dec.Until) {
		dec.Until = r.free
	}
	if dec.FX == decode.FXNone {
		dec.FX, dec.Change = decode.FXDelay, r.change
	}
}

// inject has dec send what a says.
func (g *gate) inject(a *action, change string, dec *proxy.Decision) {
	f := newFrame(a.dir, true, a.op, []byte(a.payload))
	if a.op == ws.OpPing {
		if a.payload == "" { // so that its pong can be told from others
			g.pings++
			f.payload = fmt.Appendf(nil, "wstrace %d", g.pings)
		}
		to := &g.dirs[a.dir.Peer()]
		if to.pings = append(to.pings, ping{string(f.payload), change}); len(to.pings) > maxPings {
			to.pings = to.pings[1:]
		}
	}
	dec.Inject = append(dec.Inject, proxy.Injection{Dir: a.dir, Bytes: f.append(nil, g.key(a.dir)), Change: change})
}

// maxPings is how many pongs to injected pings are waited for.
const maxPings = 64

// answers reports whether f is the pong to an injected ping, and which change that was of.
// It forgets the ping and those before it (RFC 6455 §5.5.3).
func (dir *direction) answers(f *decode.Frame) (change string, ok bool) {
	if len(dir.pings) == 0 || f.OpCode != ws.OpPong || !f.Complete {
		return "", false
	}
	payload := string(f.AppendPayload(nil, -1))
	i := slices.IndexFunc(dir.pings, func(p ping) bool { return p.payload == payload })
	if i < 0 {
		return "", false
	}
	change = dir.pings[i].change
	dir.pings = dir.pings[i+1:]
	return change, true
}

// close sends a Close to both sides. What they send from there on is dropped.
func (g *gate) close(payload, change string, dec *proxy.Decision) {
	if g.closed != "" {
		return
	}
	g.closed = change
	for _, d := range [...]decode.Dir{decode.FromServer, decode.FromClient} {
		f := newFrame(d, true, ws.OpClose, []byte(payload))
		dec.Inject = append(dec.Inject, proxy.Injection{Dir: d, Bytes: f.append(nil, g.key(d)), Change: change})
	}
}

// key returns a masking key for a frame of d.
func (g *gate) key(d decode.Dir) [4]byte {
	dir := &g.dirs[d]
	if dir.keys == nil {
		r := g.changes.random(g.conn, 1<<31, uint32(d))
		dir.keys = func() (key [4]byte) {
			n := r.Uint32()
			return [4]byte{byte(n), byte(n >> 8), byte(n >> 16), byte(n >> 24)}
		}
	}
	return dir.keys()
}

// perform does what l does with the session, at an event of d.
func (g *gate) perform(l *Line, d decode.Dir, dec *proxy.Decision) {
	for i := range l.actions {
		a := &l.actions[i]
		switch a.verb {
		case inject:
			g.inject(a, l.text, dec)
		case closing:
			g.close(closePayload(a.n, a.reason), l.text, dec)
		case reset:
			dec.Reset = l.text
		case rate:
			g.dirs[d].rate = rateLimit{a.n, l.text, g.dirs[d].rate.free}
		}
	}
}
