package change

import (
	"math/rand/v2"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
)

// A lineState is what a session remembers of a line.
type lineState struct {
	state filter.State // of its condition
	done  bool         // it has acted
	dirs  [2]matches   // by Dir
	rand  *rand.Rand   // of a line that acts when it is time
	due   time.Time    // when it does so next; zero if it waits for a match, or never will
	armed bool
	blind bool // it needs to know more of the session than is known
}

// matches counts those of a direction.
type matches struct {
	n     int64
	first time.Time
	last  time.Time // when the line last acted
	rand  *rand.Rand
}

// agrees notes a match, and reports whether the triggers agree that the line acts.
func (g *gate) agrees(i int, d decode.Dir, now time.Time) bool {
	l, st := g.set.lines[i], &g.lines[i]
	m := &st.dirs[d]
	if m.n++; m.n == 1 {
		m.first, m.last = now, now
	}
	for _, t := range l.triggers {
		ok := true
		switch t.when {
		case everyN:
			ok = m.n%t.n == 0
		case everyTime:
			ok = now.Sub(m.last) >= t.d
		case afterN:
			ok = m.n > t.n
		case afterTime:
			ok = now.Sub(m.first) >= t.d
		case once:
			ok = !st.done
		case chance:
			if m.rand == nil {
				m.rand = g.changes.random(g.conn, uint32(i), uint32(d))
			}
			ok = m.rand.Float64() < t.p
		}
		if !ok {
			return false
		}
	}
	st.done, m.last = true, now
	g.set.acts[i].Add(1)
	return true
}

// arm starts the clock of a line that acts when it is time, at its first match for which
// the triggers that count agree.
func (g *gate) arm(i int, d decode.Dir, now time.Time) {
	l, st := g.set.lines[i], &g.lines[i]
	if st.armed {
		return
	}
	st.dirs[d].n++
	wait := time.Duration(0)
	for _, t := range l.triggers {
		switch t.when {
		case everyN:
			if st.dirs[d].n%t.n != 0 {
				return
			}
		case afterN:
			if st.dirs[d].n <= t.n {
				return
			}
		case everyTime, afterTime:
			wait = max(wait, t.d)
		}
	}
	st.armed, st.due = true, now.Add(wait)
	g.schedule()
}

// fires notes that the time of a line has come, and reports whether it acts.
func (g *gate) fires(i int, now time.Time) bool {
	l, st := g.set.lines[i], &g.lines[i]
	again := time.Duration(0)
	ok := true
	for _, t := range l.triggers {
		switch t.when {
		case everyTime:
			again = t.d
		case chance:
			if st.rand == nil {
				st.rand = g.changes.random(g.conn, uint32(i), 2)
			}
			ok = ok && st.rand.Float64() < t.p
		}
	}
	if ok {
		st.done = true
		g.set.acts[i].Add(1)
	}
	if again == 0 || ok && l.has(once) {
		st.due = time.Time{}
	} else if st.due = st.due.Add(again); st.due.Before(now) { // it was asleep
		st.due = now.Add(again)
	}
	return ok
}

// next returns the line whose time comes first, or -1.
func (g *gate) next() (i int, at time.Time) {
	i = -1
	for n := range g.lines {
		if due := g.lines[n].due; !due.IsZero() && (i < 0 || due.Before(at)) {
			i, at = n, due
		}
	}
	return i, at
}
