package change

import (
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// An outlet is what a gate sends by, apart from its decisions: a [proxy.Outlet].
type outlet interface {
	Inject(d decode.Dir, b []byte, change string) bool
	Note(d decode.Dir, change, text string)
	Reset(change string)
}

// A gate decides on the frames of one session. Decide is called with the session locked,
// and takes mu. The timer takes mu too, and lets it go before it calls what locks the
// session.
type gate struct {
	changes *Changes
	conn    int64
	out     outlet
	look    decode.Look // what the lines needed that were in force when the session began
	dry     bool        // there is no clock: times are those of events

	mu      sync.Mutex // protects what follows
	set     *lineSet   // in force
	lines   []lineState
	matched []bool // by line: the event at hand is a match
	dirs    [2]direction
	deflate decode.Deflate
	closed  string // the change that has closed the session: what comes from there on is dropped
	pings   int    // injected without a payload
	timer   *time.Timer
	over    bool
}

// A direction is what a gate remembers of one.
type direction struct {
	plan  plan           // for later pieces of the frame in flight
	held  held           // what waits until it is complete
	msg   message        // in flight, or the latest
	keys  func() [4]byte // gives masking keys
	pings []ping         // injected ones that this side is to answer
	skew  string         // the change since which the window of the receiver is another; "" for none
	rate  rateLimit
}

// A plan is what becomes of the pieces of a frame.
type plan uint8

const (
	passes   plan = iota // what was decided on the first
	holds                // they are held
	spells               // their content goes out uncompressed
	copies               // each is sent as it came, in a write of its own
	swallows             // they are dropped, as the session was closed
)

// A message is a data message in flight.
type message struct {
	op         ws.OpCode
	compressed bool
	held       bool   // its frames are held until it is complete
	by         string // the line because of which they are
	spelled    bool   // it is compressed and goes out uncompressed, as the windows differ
	dropped    string // the change that has dropped its first frame; "" for none
	going      bool   // a part of it was sent uncompressed
	stopped    bool   // a line has acted on one of its frames, and none acts on its content
	dup        dup
}

// A ping is one that was injected.
type ping struct{ payload, change string }

// An acting is a line that acts, with what the session remembers of it.
type acting struct {
	*Line
	st *lineState
	n  int // which line
}

// Decide is asked by the session about each event.
func (g *gate) Decide(ev *decode.Event) (dec proxy.Decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if s := g.changes.set.Load(); s != g.set {
		g.renew(s, &dec)
	}
	if hs := ev.Handshake; hs != nil && hs.Accepted {
		g.deflate = hs.Deflate
	}
	for i, l := range g.set.lines {
		g.matched[i] = l.kind != onHeads && !g.lines[i].blind && (l.cond == nil || l.cond.Match(&g.lines[i].state, ev))
	}
	switch ev.Kind {
	case decode.KindFrame:
		g.frame(ev, &dec)
	case decode.KindMessage: // it came with its final frame
	case decode.KindClosed:
		g.over = true
		g.schedule()
	default:
		g.other(ev, &dec)
	}
	return dec
}

// Look adds what the lines need to know of the session.
func (g *gate) Look(look *decode.Look) { g.set.addTo(look) }

// renew puts lines in force.
func (g *gate) renew(s *lineSet, dec *proxy.Decision) {
	first := g.set == nil
	g.set = s
	g.lines, g.matched = make([]lineState, len(s.lines)), make([]bool, len(s.lines))
	for i, l := range s.lines {
		g.lines[i].state.Messages = l.late
		if first {
			continue
		}
		look := g.look
		l.addCondition(&look)
		if l.addActions(&look); !covers(&g.look, &look) {
			g.lines[i].blind = true
			dec.Notes = append(dec.Notes, proxy.Note{Change: l.text, Text: "it looks into what this session does not; it acts in later ones"})
		}
	}
	for d := range g.dirs {
		g.dirs[d].held.candidates = nil
		g.dirs[d].rate = rateLimit{free: g.dirs[d].rate.free}
	}
	g.schedule()
}

// covers reports whether a session that has look can do with what want needs.
func covers(look, want *decode.Look) bool {
	return look.Messages == want.Messages && look.Inflate == want.Inflate && look.Pieces == want.Pieces &&
		look.Keep == want.Keep && look.Advice == want.Advice && look.WholeBodies == want.WholeBodies
}

// other takes an event that is no frame: lines that act on the session do so.
func (g *gate) other(ev *decode.Event, dec *proxy.Decision) {
	for i, l := range g.set.lines {
		switch {
		case !g.matched[i] || l.kind != onSession:
		case l.timer:
			if l.cond != nil || ev.Kind == decode.KindResponse && ev.Handshake.Accepted {
				g.arm(i, ev.Dir, ev.Time)
			}
		case l.cond != nil && g.agrees(i, ev.Dir, ev.Time):
			if g.perform(l, ev.Dir, dec); !l.also {
				return
			}
		}
	}
}

// frame decides on a frame, or a piece of one.
func (g *gate) frame(ev *decode.Event, dec *proxy.Decision) {
	f, dir := ev.Frame, &g.dirs[ev.Dir]
	switch {
	case !f.More:
		g.begin(ev, dir, dec)
	case g.closed != "" && dir.plan == holds:
		dir.plan = swallows
		g.forget(ev.Dir, dec)
	}
	switch dir.plan {
	case holds:
		g.hold(ev, dir, dec)
	case spells:
		g.spell(ev, dir, dec)
	case copies:
		dec.FX, dec.Kept, dec.Bytes = decode.FXReplace, true, f.AppendWire(nil)
	case swallows:
		dec.FX, dec.Change = decode.FXDrop, g.closed
	}
	if !f.Control() {
		if dir.msg.dup.n > 0 {
			g.duplicate(ev, dir, dec)
		}
		if f.Fin && f.Complete {
			if g.set.late && !dir.msg.held && !dir.msg.stopped && g.closed == "" {
				g.late(ev, dec)
			}
			dir.msg = message{}
		}
	}
	if dir.rate.perSecond > 0 {
		g.limit(ev, dir, dec)
	}
}

// begin decides on a frame that begins, as far as its header tells.
func (g *gate) begin(ev *decode.Event, dir *direction, dec *proxy.Decision) {
	f := ev.Frame
	dir.plan = passes
	data := !f.Control()
	if g.closed != "" {
		g.forget(ev.Dir, dec)
		dir.plan = swallows
		return
	}
	switch {
	case f.OpCode == ws.OpClose, !data && !f.Complete: // nothing could follow the beginning of a ping
		dec.Before = dir.held.release()
		dir.msg.held = false
	case data && f.OpCode != ws.OpContinuation:
		dec.Before = dir.held.release() // of a message that was not ended
		compressed := g.deflate.On && f.Rsv&4 != 0
		dir.msg = message{op: f.OpCode, compressed: compressed, spelled: compressed && dir.skew != ""}
		dir.msg.by, dir.msg.held = g.holds(ev)
	}
	if change, ok := dir.answers(f); ok {
		dec.FX, dec.Change = decode.FXDrop, change
		return
	}
	if data && dir.msg.dropped != "" {
		dec.FX, dec.Change = decode.FXDrop, dir.msg.dropped
		return
	}
	if data && dir.msg.held {
		dir.plan = holds
		dir.held.begin(f, g.candidates(ev))
		return
	}
	acts := g.act(ev, dec)
	spelled := data && dir.msg.spelled
	switch {
	case spelled && ev.Unread && !drops(acts):
		g.cannotInflate(ev, dir, dec)
	case spelled && (len(acts) == 0 || !f.Complete && !needsWhole(acts) && !drops(acts)):
		dir.plan = spells
		g.wait(ev, acts, dec)
	case len(acts) == 0:
	case f.Complete, !needsWhole(acts):
		var h held
		h.begin(f, nil)
		h.add(ev, spelled)
		g.compose(ev, dir, &h, outcome{frames: [][]acting{acts}}, dec)
	default:
		dir.plan = holds
		dir.held.begin(f, nil)
		dir.held.acts = acts
	}
}

// holds reports whether the message that begins with ev is held until it is complete, and
// because of which line.
func (g *gate) holds(ev *decode.Event) (by string, held bool) {
	if !g.set.holds {
		return "", false
	}
	for i, l := range g.set.lines {
		st := &g.lines[i]
		if l.late && l.kind&(onFrames|onMessages) != 0 && !st.blind && !(st.done && l.has(once)) && (l.cond == nil || l.cond.May(&st.state, ev)) {
			return l.text, true
		}
	}
	return "", false
}

// needsWhole reports whether all of a frame has to be at hand for what lines do with it.
func needsWhole(acts []acting) bool {
	return slices.ContainsFunc(acts, func(a acting) bool { return a.does(dup_, split, flip, len16, len64, truncate) })
}

func drops(acts []acting) bool {
	return slices.ContainsFunc(acts, func(a acting) bool { return a.does(drop) })
}

// candidates returns the lines about frames of which a frame, whose header has come, is a
// match. Those that act when it is time are armed.
func (g *gate) candidates(ev *decode.Event) (lines []int) {
	for i, l := range g.set.lines {
		switch {
		case !g.matched[i] || l.late:
		case l.timer:
			g.arm(i, ev.Dir, ev.Time)
		case l.concerns(ev.Frame):
			lines = append(lines, i)
		}
	}
	return lines
}

// act has the lines about frames act for a frame whose header has come, and returns those
// that do something with it. A control frame has come whole, and is its own message.
func (g *gate) act(ev *decode.Event, dec *proxy.Decision) (acts []acting) {
	f := ev.Frame
	for i, l := range g.set.lines {
		switch {
		case !g.matched[i] || l.late && !f.Control() || l.data:
			continue
		case l.timer:
			g.arm(i, ev.Dir, ev.Time)
			continue
		case !l.concerns(f) || !g.agrees(i, ev.Dir, ev.Time):
			continue
		}
		g.perform(l, ev.Dir, dec)
		if l.kind&onFrames != 0 {
			acts = append(acts, acting{l, &g.lines[i], i})
		}
		if !l.also {
			if !f.Control() {
				g.dirs[ev.Dir].msg.stopped = true
			}
			break
		}
	}
	return acts
}

// late has the lines act that look into messages and act on the session alone, at the end
// of a message that was not held.
func (g *gate) late(ev *decode.Event, dec *proxy.Decision) {
	for i, l := range g.set.lines {
		switch {
		case !g.matched[i] || !l.late || l.kind != onSession:
		case l.timer:
			g.arm(i, ev.Dir, ev.Time)
		case g.agrees(i, ev.Dir, ev.Time):
			if g.perform(l, ev.Dir, dec); !l.also {
				return
			}
		}
	}
}

// Release is called when the changes of d end: it returns what is held.
func (g *gate) Release(d decode.Dir) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	dir := &g.dirs[d]
	dir.plan = copies
	if g.closed != "" {
		return nil
	}
	return dir.held.release()
}

// forget drops what is held of d, because the session was closed.
func (g *gate) forget(d decode.Dir, dec *proxy.Decision) {
	if h := &g.dirs[d].held; len(h.raw) > 0 {
		dec.Notes = append(dec.Notes, proxy.Note{Dir: d, Change: g.closed, Text: "what was held of a message is dropped"})
		h.done()
	}
}

// names returns what is told of lines that act.
func names(acts []acting) string {
	if len(acts) == 1 {
		return acts[0].text
	}
	var all []string
	acts = slices.SortedFunc(slices.Values(acts), func(a, b acting) int { return a.n - b.n })
	for _, a := range acts {
		if !slices.Contains(all, a.text) {
			all = append(all, a.text)
		}
	}
	return strings.Join(all, "; ")
}
