package replay

import (
	"bytes"
	"slices"
	"sync"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// settle finds the session that a client plays, when it sends the first message u.
// Several recorded sessions may have the handshake of one, and then what they say first
// tells them apart, and not who came first. It reports whether u has records in that
// session, and has to be taken by these.
func (p *player) settle(u *unit) (again bool) {
	if p.cast == nil || p.role == decode.FromClient || p.how.update || u.kind == unitEnd ||
		u.kind == unitControl && (u.op == ws.OpPing || u.op == ws.OpPong) {
		return false
	}
	p.mu.Lock()
	over := p.settled || p.err != nil || p.over || p.s.beatOf(p.peer, u, p.chosen) != noBeat
	p.settled = p.settled || p.startsWith(p.s, u)
	settled := over || p.settled
	p.mu.Unlock()
	if settled {
		return false
	}
	p.cast.swap(p, u)
	p.mu.Lock()
	defer p.mu.Unlock()
	again = p.records.split == nil && p.s.splitter() != nil && u.kind == unitMessage
	if again {
		p.records.split = p.s.splitter()
	}
	return again
}

// startsWith reports whether u is what the client says first in s.
func (p *player) startsWith(s *Script, u *unit) bool {
	units := s.sides[p.peer].units
	i := slices.IndexFunc(units, func(u unit) bool { return u.beat == noBeat })
	if i < 0 {
		return false
	}
	if split := s.splitter(); split != nil && !u.record && len(u.data) > 0 && u.kind == unitMessage {
		first := *u
		if n := split(u.op, u.data); n > 0 && n < len(u.data) {
			first.data = u.data[:n]
		}
		u = &first
	}
	if want := units[i].data; s.stream && units[i].kind == unitMessage && u.kind == unitMessage {
		n := min(len(want), len(u.data))
		return n > 0 && bytes.Equal(want[:n], u.data[:n])
	}
	first := *u
	first.ids = s.idsOf(p.peer, u)
	ok, _ := s.compare(withAsked(&units[i], &first), u, p.subs)
	return ok
}

// swap gives p, whose client sends u first, a session that begins so: one that nobody
// has, or that of a client that has said nothing yet, who gets the one of p.
func (c *cast) swap(p *player, u *unit) {
	c.swaps.Lock()
	defer c.swaps.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.settled = true // or it differs, which match says
	}()
	for i, s := range c.scripts {
		if !p.startsWith(s, u) {
			continue
		}
		if i == p.part { // another has just changed with it
			return
		}
		if c.exchange(p, c.playerOf(i), i) || c.playerOf(i) != nil && c.exchange(p, c.playerOf(i), i) { // somebody may have come meanwhile
			return
		}
	}
}

// playerOf returns who plays a session, or is about to; nil for nobody.
func (c *cast) playerOf(i int) *player {
	c.mu.Lock()
	taken, seat := c.taken[i], c.seats[i]
	c.mu.Unlock()
	if !taken {
		return nil
	}
	<-seat
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.players[i]
}

func (c *cast) requestOf(i int) *decode.Head {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.requests[i]
}

// exchange gives p session i, and q, if anybody has it, that of p.
func (c *cast) exchange(p, q *player, i int) bool {
	locks := []*sync.Mutex{&p.mu}
	if q != nil {
		locks = append(locks, &q.mu)
		if i < p.part {
			slices.Reverse(locks)
		}
	}
	for _, l := range locks {
		l.Lock()
		defer l.Unlock()
	}
	mine, other := p.s, c.scripts[i]
	if !fits(other, c.requestOf(p.part), c.values) || !sameBeginning(mine, other, p.role, p.next) {
		return false
	}
	if q != nil && (q.settled || q.over || q.err != nil || !fits(mine, c.requestOf(i), c.values) || !sameBeginning(mine, other, p.role, q.next)) {
		return false
	}
	from := p.part
	c.mu.Lock()
	if q == nil && c.taken[i] {
		c.mu.Unlock()
		return false
	}
	c.wake[i], c.wake[from] = c.wake[from], c.wake[i]
	c.players[i], c.players[from] = p, q
	c.requests[i], c.requests[from] = c.requests[from], c.requests[i]
	c.taken[i], c.taken[from] = true, q != nil
	if q == nil { // nobody has begun it
		c.seats[i], c.seats[from] = c.seats[from], c.seats[i]
		c.ours[from], c.theirs[from] = mine.replyAt(), mine.at
		c.findFirst()
		c.events[from] = event{at: -1}
	}
	c.mu.Unlock()
	p.turnTo(other, i)
	if q != nil {
		q.turnTo(mine, from)
	}
	return true
}

// fits reports whether a client with this request may play s.
func fits(s *Script, req *decode.Head, v *values) bool {
	return req != nil && s.checkRequest(req, v) == nil
}

// sameBeginning reports whether a side sends the same in both sessions, up to its nth
// item.
func sameBeginning(a, b *Script, d decode.Dir, n int) bool {
	as, bs := a.sides[d].items, b.sides[d].items
	if n > len(as) || n > len(bs) {
		return false
	}
	return slices.EqualFunc(as[:n], bs[:n], func(x, y item) bool {
		return x.end == y.end && bytes.Equal(a.sides[d].wireOf(&x), b.sides[d].wireOf(&y))
	})
}

// turnTo goes on with another session, of which as much has been played. It is called
// with mu locked.
func (p *player) turnTo(s *Script, part int) {
	p.s, p.part = s, part
	p.subs.plays(s, p.peer)
	p.matched = make([]bool, len(s.sides[p.peer].units))
	if p.came != nil {
		p.came = make([]event, len(p.matched))
	}
	p.sentLast.at, p.sentLast.t = s.replyAt(), s.start
	if p.next > 0 {
		it := &s.sides[p.role].items[p.next-1]
		p.sentLast.at, p.sentLast.t = it.at, it.t
	}
	p.latest = p.sentLast
	p.arrived = 0
	p.pass()
	p.report()
	p.signal()
}
