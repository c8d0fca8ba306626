package replay

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A builder makes a script of what was done in a session, in its order.
type builder struct {
	s          *Script
	assemblers [2]assembler // by Dir
	answers    int          // final responses so far
	ended      [2]bool      // by Dir
	played     [2]bool      // by Dir: its end is to be played, so nothing can follow
	pings      [2][]string  // by Dir: not answered yet
	marks      marks        // of what is at hand
	allowance  *allowance   // of all sessions of the file
	err        error        // of a unit
	bodies     [2]httpBody  // by Dir
	tunnel     bool         // it is one
	done       bool         // the exchange is over

	elsewhere elsewhere // since the last item
	passed    elsewhere // before the item at hand
	scratch   []byte
	slab      *slab // of all sessions of the file

	diffs    bool                     // the script is for Diff only
	selects  func(*decode.Event) bool // nil selects all
	out      bool                     // the event at hand is not selected
	optional func(*decode.Event) bool // what may come or not; nil for nothing
	chosen   bool                     // the event at hand may
}

// marks are what someone has written into a trace, next to what was recorded.
type marks struct {
	after    int // valid iff hasAfter
	hasAfter bool
	group    string
	re       *regexp.Regexp
}

// An elsewhere is what another session of the file did, at a position.
type elsewhere struct {
	session int64
	at      int
}

// elsewhere notes what a session did for the one that is played alone.
func (l *library) elsewhere(number int64, at int) {
	if !l.all && len(l.builders) == 1 && l.builders[0].s.number != number {
		l.builders[0].elsewhere = elsewhere{number, at}
	}
}

// newBuilder returns the builder of a script that begins at a position.
func (l *library) newBuilder(s *Script, at int, lines bool, t time.Duration) *builder {
	s.at, s.lines, s.begin = at, lines, t
	b := &builder{s: s, allowance: &l.allowance, slab: &l.slab, diffs: l.diffs, selects: l.selects, optional: s.chooses()}
	for d := range decode.Dir(2) {
		b.assemblers[d] = assembler{exact: s.exact, emit: func(u *unit, items []int) { b.unit(d, u, items) }}
	}
	return b
}

// see takes an event before what it makes is taken.
func (b *builder) see(ev *decode.Event) {
	b.out = b.selects != nil && !b.selects(ev)
	b.chosen = b.optional != nil && b.optional(ev)
}

// response takes a response.
func (b *builder) response(h *head, t time.Duration) {
	b.s.replies = append(b.s.replies, h)
	b.s.start = t
	if h.Status >= 200 || h.Status == 101 {
		b.answers++
	}
}

// add takes an item of d. The units that come from now on are of it.
func (b *builder) add(d decode.Dir, it item) {
	it.unit = -1
	it.early = !it.end && d == decode.FromClient && b.s.request != nil && b.answers == 0
	if b.marks.hasAfter {
		it.need, it.needOnly = b.marks.after, !it.end
	}
	sd := &b.s.sides[d]
	b.passed, b.elsewhere = b.elsewhere, elsewhere{}
	b.assemblers[d].item = len(sd.items)
	sd.items = append(sd.items, it)
}

// end takes the end of d, or one that is that of both sides. It reports whether
// it is to be played.
func (b *builder) end(d decode.Dir, both bool, at int, t time.Duration, how decode.End) bool {
	if b.ended[d] {
		return false
	}
	b.ended[d] = true
	if b.s.info.NoFrames && (b.s.closes(decode.FromClient) || b.s.closes(decode.FromServer)) {
		return false // of what followed a Close such files have not all
	}
	switch how {
	case decode.EndFIN, decode.EndRST, decode.EndTLSEOF:
	default: // it was none of this side's doing: the trace stops here
		return false
	}
	it := item{at: at, t: t, end: true, how: how, ends: true, need: b.have(d.Peer())}
	if both && d == decode.FromServer && it.need > 0 { // at once: nobody waits
		it.need--
	}
	b.add(d, it)
	b.played[d] = true
	return true
}

// errAfterEnd is for bytes that come after the end of their side.
var errAfterEnd = errors.New("its side has ended before")

// errNoRecord is for bytes of frames that are not in records of frames, so that it
// is not known when they were sent.
var errNoRecord = errors.New("bytes of frames follow a head in its record")

// maxPings is how many pings may wait for their answers.
const maxPings = 1000

// have returns how many units d has so far.
func (b *builder) have(d decode.Dir) int { return len(b.s.sides[d].units) }

// unit takes a unit of d, which items with these numbers send.
func (b *builder) unit(d decode.Dir, u *unit, items []int) {
	sd := &b.s.sides[d]
	last := items[len(items)-1]
	if last >= len(sd.items) { // frames in the record of a head
		b.err = errNoRecord
		return
	}
	switch {
	case u.kind == unitControl && u.op == ws.OpPing:
		// Nobody answers as late as the oldest of so many.
		b.pings[d] = append(b.pings[d][max(0, len(b.pings[d])-maxPings):], string(u.data))
		return
	case u.kind == unitControl && u.op == ws.OpPong:
		// An answer is given when it is asked for (RFC 6455 §5.5.3).
		pings := b.pings[d.Peer()]
		if i := slices.Index(pings, string(u.data)); i >= 0 {
			b.pings[d.Peer()] = pings[i+1:]
			for _, i := range items {
				sd.items[i].reply = true
			}
		}
		return
	}
	it := &sd.items[last]
	u.at, u.t = it.at, it.t
	u.firstItem, u.lastItem = int32(items[0]), int32(last)
	u.out = b.out
	if b.marks.group != "" || b.marks.re != nil {
		u.rare = &rare{group: b.marks.group, re: b.marks.re}
		b.s.marked = true
	}
	u.chosen = b.chosen
	if b.passed.session != 0 {
		if b.s.before == nil {
			b.s.before = map[int]elsewhere{}
		}
		b.s.before[u.at] = b.passed
	}
	if b.s.anyOrder && u.kind == unitMessage {
		u.turn = int32(1 + b.have(d.Peer()))
	}
	wire := 0
	for _, i := range items {
		sd.items[i].unit = len(sd.units)
		if w := sd.items[i].wire; w != nil {
			wire += len(w.bytes)
		}
	}
	if u.compressed {
		b.allowance.spend(u, wire)
	}
	u.data = b.slab.keep(u.data)
	b.share(sd, u, items)
	sd.units = append(sd.units, *u)
}

// finish returns the script.
func (b *builder) finish() (*Script, error) {
	s := b.s
	if s.request != nil && b.answers == 0 {
		return nil, fmt.Errorf("session %d %w", s.number, errNoAnswer)
	}
	if len(s.replies) > 0 {
		if err := b.finishReply(s.final()); err != nil {
			return nil, err
		}
	}
	for d := range decode.Dir(2) {
		n := b.have(d.Peer())
		for _, it := range s.sides[d].items {
			if it.need > n {
				return nil, &decode.SourceError{Line: it.at, Err: fmt.Errorf("after: %d, but the other side sends %d", it.need, n)}
			}
		}
		s.noteCaptures(d)
		s.noteMade(d)
	}
	if s.stream && s.Long() > 0 {
		return nil, fmt.Errorf("session %d has a message of more than %d MiB, which can't be compared as part of a stream", s.number, MaxMessage>>20)
	}
	for d := range s.sides {
		s.sides[d].items, s.sides[d].units = fitted(s.sides[d].items), fitted(s.sides[d].units)
	}
	s.notePings()
	s.noteBeats()
	s.views = new([2]view)
	if s.auto && !s.exact {
		s.words, s.madeUp = new(recordedOnce), s.knownMade()
	}
	if s.forDiff = b.diffs; b.diffs {
		s.sides[0].items, s.sides[1].items = nil, nil
	}
	return s, nil
}

// finishReply gives the answer to the handshake its body.
func (b *builder) finishReply(h *head) error {
	body := &b.bodies[decode.FromServer]
	if len(h.body) == 0 && h.Status != 101 && b.s.request != nil {
		body.finish(h.Head, decode.ResponseBody(h.Head, b.s.request.Method))
		for _, p := range body.pieces {
			h.body = appendBody(h.body, h.Head, p.b)
		}
		if chunked(h.Head) && !body.cutOff {
			h.body = append(h.body, lastChunk...)
		}
		h.missing += body.missing
	}
	if h.missing > 0 {
		return &decode.SourceError{Line: h.at, Err: fmt.Errorf("%d %w", h.missing, errCutBody)}
	}
	return nil
}

// notePings notes which Close frames and ends follow the answer to a ping.
func (s *Script) notePings() {
	for d := range s.sides {
		pings, items := 0, s.sides[d].items
		for i := range items {
			switch it := &items[i]; {
			case it.reply:
				pings++
			case (it.end || it.isClose) && i > 0 && items[i-1].reply:
				it.pings = pings
			}
		}
	}
}

// noteCaptures notes which items of d hold values that are captured from earlier
// messages of its peer: the clock can't send them before those have come.
func (s *Script) noteCaptures(d decode.Dir) {
	if len(s.captures) == 0 {
		return
	}
	subs := newValues() // by the number of the unit that holds them
	units, next := s.sides[d.Peer()].units, 0
	items := s.sides[d].items
	for i := range items {
		it := &items[i]
		if it.unit < 0 {
			continue
		}
		for ; next < len(units) && units[next].at < it.at; next++ {
			data := units[next].data
			for _, sub := range s.substitutions(data, data) {
				sub.live = unitCount(next + 1)
				subs.add([]substitution{sub})
			}
		}
		subs.find(&s.sides[d].units[it.unit], func(sub *substitution) {
			it.captures = max(it.captures, int(sub.live.(unitCount)))
		})
	}
}

// A unitCount stands for a value that is in the last of so many units.
type unitCount int
