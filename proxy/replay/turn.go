package replay

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// step finds out what to do next.
func (p *player) step(now time.Time) action {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.nextAction(now)
	if due := p.beatsDue(); due.After(now) && a.wait > 0 {
		a.wait = min(a.wait, due.Sub(now))
	}
	return a
}

// nextAction is called with mu locked.
func (p *player) nextAction(now time.Time) action {
	switch {
	case p.err != nil:
		return action{stop: true}
	case p.handshake != nil && !p.how.byClock && !p.cast.turn(p.part, p.nextOurs()):
		return p.holdOn(now)
	case p.handshake != nil && p.answerDue().After(now):
		return action{wait: p.answerDue().Sub(now)}
	case p.handshake != nil:
		b := p.handshake
		p.handshake = nil
		if p.role == decode.FromServer {
			p.handshaken(now)
			if items := p.s.sides[p.role].items; len(items) > 0 && items[0].t == p.s.start && !items[0].end { // they came together
				if more, _, _ := p.batch(now); p.err == nil {
					b = append(b, more...)
				}
			}
		}
		return action{bytes: b}
	case p.ready && p.notUpgraded:
		return action{stop: true}
	}
	b, end, due := p.batch(now)
	switch {
	case p.err != nil:
		return action{stop: true}
	case len(b) > 0 || end != nil:
		return action{bytes: b, pongs: p.idle, end: end}
	case p.ready && p.next == len(p.s.sides[p.role].items) && p.arrived == len(p.matched):
		return p.finish(now)
	case !due.IsZero():
		return action{wait: due.Sub(now)}
	}
	return p.holdOn(now)
}

// holdOn waits for the peer, or for other sessions, if there is patience left.
func (p *player) holdOn(now time.Time) action {
	if now.Before(p.patience()) {
		return action{wait: p.patience().Sub(now)}
	}
	if p.cast != nil {
		part, begun := p.cast.blame()
		if part != p.part && begun {
			return action{wait: p.how.stall} // it will say what it waits for
		}
		if !begun {
			p.fail(p.cast.awaited(part))
			return action{stop: true}
		}
	}
	if p.how.update {
		return p.goOn()
	}
	p.fail(p.stalled())
	return action{stop: true}
}

// handshaken is called with mu locked.
func (p *player) handshaken(now time.Time) {
	p.ready = true
	p.start, p.progress = now, now
	p.sentLast = event{p.s.replyAt(), p.s.start, now}
	p.happened(p.sentLast)
	if p.cast != nil && p.how.byClock { // one clock for all
		p.start = p.cast.due(p.s.start)
	}
}

// patience returns until when the peer may be silent.
func (p *player) patience() time.Time {
	t := p.progress
	if units := p.s.sides[p.peer].units; p.how.speed > 0 && p.ready && p.arrived < len(units) {
		due := t.Add(p.how.scaled(units[p.arrived].t - p.latest.t))
		if p.how.byClock {
			due = p.clock(units[p.arrived].t)
		}
		if due.After(t) {
			t = due
		}
	}
	return p.cast.latest(t).Add(p.how.stall)
}

// atEnd is a position behind all that a trace can have: nothing remains.
const atEnd = math.MaxInt

// nextOurs returns the position of what we send next. It is called with mu locked,
// like those below.
func (p *player) nextOurs() int {
	switch {
	case p.over || p.err != nil:
		return atEnd
	case p.role == decode.FromClient && !p.sentOurPart:
		return p.s.at
	case p.role == decode.FromServer && !p.sentOurPart:
		return p.s.replyAt()
	}
	if it := p.required(p.written); it != nil {
		return it.at
	}
	return atEnd
}

// nextTheirs returns the position of what we wait for next.
func (p *player) nextTheirs() int {
	units := p.s.sides[p.peer].units
	switch {
	case p.over || p.err != nil:
		return atEnd
	case p.role == decode.FromServer && !p.ready && p.handshake == nil:
		return p.s.at
	case p.role == decode.FromClient && !p.ready:
		return p.s.replyAt()
	case p.arrived < len(units):
		return units[p.arrived].at
	}
	return atEnd
}

// report tells the sessions that are played together how far this one is.
func (p *player) report() {
	if p.cast != nil {
		p.cast.set(p.part, p.nextOurs(), p.nextTheirs(), p.progress)
	}
}

// clock returns when something recorded at t comes by the clock.
func (p *player) clock(t time.Duration) time.Time { return p.start.Add(p.how.scaled(t - p.s.start)) }

// An event is something that has come, or was sent.
type event struct {
	at   int           // position
	t    time.Duration // when it was recorded
	real time.Time     // when it was
}

// happened notes an event.
func (p *player) happened(e event) {
	if e.at >= p.latest.at {
		p.latest = e
	}
	p.cast.happened(p.part, e)
}

// due returns when it is to be sent, if there is a speed. By the clock that is when it
// was recorded; else as long after what stands before it.
func (p *player) due(it *item) time.Time {
	if p.how.byClock {
		return p.clock(it.t)
	}
	before := p.sentLast
	if it.need > 0 && it.need <= len(p.came) {
		if e := p.came[it.need-1]; e.at >= before.at {
			before = e
		}
	}
	before = p.cast.before(p.part, it.at, before)
	return before.real.Add(p.how.scaled(it.t - before.t))
}

// answerDue returns when a server sends its answer to the handshake.
func (p *player) answerDue() time.Time {
	if p.role == decode.FromClient || p.how.speed == 0 || p.how.byClock {
		return time.Time{}
	}
	return p.asked.Add(p.how.scaled(p.s.start - p.s.begin))
}

// batch returns what can be sent now: bytes, or our end. Otherwise due is when
// there will be something by the clock, or zero.
func (p *player) batch(now time.Time) (b []byte, end *item, due time.Time) {
	items := p.s.sides[p.role].items
	p.idle = true
	for len(b) < maxBatch {
		if !p.midFrame && !p.noMoreFrames {
			b = append(b, p.pongs...)
		}
		if !p.midFrame {
			p.pongs = nil
		}
		if p.next == len(items) {
			break
		}
		it := &items[p.next]
		if it.end || it.isClose {
			b = append(b, p.payBeats(atEnd, now)...)
		} else {
			b = append(b, p.payBeats(it.at, now)...)
		}
		if it.reply || it.unit >= 0 && it.unit+1 == p.passedOver {
			p.next++
			continue
		}
		if !p.ready && !it.early {
			break
		}
		if u := p.beatAt(it); u != nil && !p.midFrame {
			if p.isQuestion(u) {
				p.passedOver = it.unit + 1
				continue
			}
			if u.answers < 0 && u.beat != beatAnswer && !p.passes(now) { // we wait, and it may be its time
				if due = p.beatDue(it); due.After(now) {
					if _, turn := p.afterBeats(); !turn && due.After(p.patience()) { // we do not wait so long
						due = time.Time{}
					}
					break
				}
				due = time.Time{}
				b = append(b, p.beatFrame(u, p.live(u))...)
				p.sentLast = event{it.at, it.t, now}
			} else {
				p.uncompressed = p.uncompressed || u.compressed // the windows differ from now on
			}
			p.passedOver = it.unit + 1
			continue
		}
		if p.ahead[p.next] {
			p.next++
			continue
		}
		inTurn := p.how.byClock && !it.end && !it.isClose
		if !inTurn && (!p.mayFollow(it) || !it.needOnly && !p.cast.turn(p.part, it.at)) || it.captures > p.arrived {
			if frame := p.cross(); frame != nil {
				p.idle = false
				b = append(b, frame...)
				continue
			}
			break
		}
		if due = p.pingDue(it, now); due.After(now) {
			break
		}
		due = time.Time{}
		if p.how.speed > 0 && p.ready {
			if due = p.due(it); due.After(now) {
				break
			}
			due = time.Time{}
		}
		p.sentLast = event{it.at, it.t, now}
		p.happened(p.sentLast)
		if it.end {
			if len(b) == 0 {
				end = it
				p.idle = false
				p.next++
			}
			break
		}
		p.idle = false
		out := p.bytesOf(it)
		if !p.midFrame && len(out) > 0 && out[0]&15 <= byte(ws.OpBinary) {
			p.midMessage = out[0]&0x80 == 0
		}
		b = append(b, out...)
		p.midFrame = !it.ends
		p.noMoreFrames = p.noMoreFrames || it.isClose || p.isJunk(it)
		p.noteAsked(it)
		p.next++
	}
	if end == nil {
		b = append(b, p.payBeats(atEnd, now)...)
		switch next := p.askDue(); {
		case next.IsZero():
		case !next.After(now):
			b = append(b, p.ask()...)
		case due.IsZero() || next.Before(due):
			due = next
		}
	}
	if !p.idle && p.ready {
		p.sent = now
	}
	return b, end, due
}

// pingTime is how long our end waits for a ping that came before it in the recording.
const pingTime = time.Second

// pingDue returns until when a Close or an end of ours waits for the ping that it
// followed in the recording; zero if it does not.
func (p *player) pingDue(it *item, now time.Time) time.Time {
	if p.pings >= it.pings || p.s.exact || p.how.update || p.how.byClock {
		return time.Time{}
	}
	if p.pingsBy.IsZero() {
		p.pingsBy = now.Add(pingTime)
	}
	if p.how.note != nil && !p.pingsBy.After(now) && !p.toldPings {
		p.toldPings = true
		p.how.note(fmt.Sprintf("%s goes without a ping of the %s before it, which did not come", p.nameOurs(it), p.peer))
	}
	return p.pingsBy
}

// mayFollow reports whether what an item waits for has come: all that stands before it
// or, in any order, the last of that.
func (p *player) mayFollow(it *item) bool {
	return it.need <= p.arrived || p.mayCross() && it.unit >= 0 && !it.end && !it.isClose &&
		(p.s.anyOrder || p.s.sides[p.role].units[it.unit].crosses) && p.causeCame(it)
}

// mayCross reports whether conversations may cross, which are those of records with ids
// or, in any order, all: one of ours then waits for what it answers, and not for all
// before it.
func (p *player) mayCross() bool {
	return (p.s.anyOrder || p.s.hasIDs()) && !p.s.exact && p.how.speed == 0 && !p.how.update
}

// causeCame reports whether the last of theirs has come that an item waits for, and what
// it answers by its ids.
func (p *player) causeCame(it *item) bool {
	theirs := p.s.sides[p.peer].units
	last := it.need - 1
	for last >= 0 && theirs[last].beat != noBeat {
		last--
	}
	if last >= 0 && !p.matched[last] {
		return false
	}
	return !slices.ContainsFunc(p.s.sides[p.role].units[it.unit].ids, func(id ident) bool {
		q := id.question
		return q.unit >= 0 && q.dir == p.peer && theirs[q.unit].beat == noBeat && !p.matched[q.unit]
	})
}

// cross returns a message of ours, as one frame without compression, that is later than
// the next but may go now, because what it answers has come; nil if there is none.
func (p *player) cross() []byte {
	if !p.mayCross() || !p.ready || p.midFrame || p.midMessage || p.midRecord() || p.noMoreFrames {
		return nil
	}
	sd := &p.s.sides[p.role]
	for i := p.next + 1; i < len(sd.items); i++ {
		it := &sd.items[i]
		if it.end || it.isClose {
			return nil
		}
		if p.ahead[i] || it.unit < 0 || it.need == 0 {
			continue
		}
		u := &sd.units[it.unit]
		if u.kind != unitMessage || u.long != nil || u.cut || u.beat != noBeat || int(u.firstItem) != i || !p.s.anyOrder && !u.crosses || !p.causeCame(it) ||
			it.captures > p.arrived || !it.needOnly && !p.cast.turn(p.part, it.at) {
			continue
		}
		if p.ahead == nil {
			p.ahead = map[int]bool{}
		}
		for j := i; j <= int(u.lastItem); j++ {
			if sd.items[j].unit == it.unit {
				p.ahead[j] = true
			}
		}
		data, ok := p.dataOf(u)
		if !ok {
			return nil
		}
		p.uncompressed = p.uncompressed || u.compressed // the windows differ from now on
		return appendFrame(nil, 0x80|byte(u.op), data, u.masked, it.mask)
	}
	return nil
}

// beatAt returns the unit that an item begins if it may be sent or not; else nil.
func (p *player) beatAt(it *item) *unit {
	if it.unit < 0 {
		return nil
	}
	u := &p.s.sides[p.role].units[it.unit]
	if p.how.update && u.answers < 0 && u.beat != beatAnswer { // the new trace has to have it too
		return nil
	}
	if u.beat != noBeat && &p.s.sides[p.role].items[u.firstItem] == it {
		return u
	}
	return nil
}

// isBeat reports whether an item is of a heartbeat.
func (p *player) isBeat(it *item) bool {
	return it.unit >= 0 && p.s.sides[p.role].units[it.unit].beat != noBeat
}

// passes reports whether we go on without the heartbeat that is next: nothing else is to
// be waited for.
func (p *player) passes(now time.Time) bool {
	it, turn := p.afterBeats()
	return turn && (it == nil || p.how.speed == 0 || !p.due(it).After(now))
}

// afterBeats returns what we send next that has to be sent, and whether the other side
// has done all for it; nil for nothing more, and whether it has done all there is.
func (p *player) afterBeats() (it *item, turn bool) {
	if it = p.required(p.next); it == nil {
		return nil, p.arrived == len(p.matched)
	}
	return it, p.mayFollow(it) && it.captures <= p.arrived && (it.needOnly || p.cast.turn(p.part, it.at))
}

// required returns the first of our items, from one on, that has to be sent; nil for none.
func (p *player) required(from int) *item {
	items := p.s.sides[p.role].items
	for i := from; i < len(items); i++ {
		if it := &items[i]; !p.isBeat(it) && !it.reply && !p.ahead[i] {
			return it
		}
	}
	return nil
}

// beatDue returns when a heartbeat of ours is sent while we wait: as long after what we
// sent last as it was recorded.
func (p *player) beatDue(it *item) time.Time {
	d := it.t - p.sentLast.t
	if p.how.speed > 0 {
		d = p.how.scaled(d)
	}
	return p.sentLast.real.Add(max(d, 0))
}

func (p *player) isJunk(it *item) bool {
	return it.unit >= 0 && p.s.sides[p.role].units[it.unit].kind == unitJunk
}
