package replay

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// counted returns the made value that a number is which counts up, if it does.
func (v *values) counted(place string, recorded, live json.Number) (made, bool) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.auto.mine == nil {
		return made{}, false
	}
	n, err := strconv.ParseInt(string(live), 10, 64)
	into := v.auto.mine.counters[v.auto.peer][place]
	last, known := v.auto.counts[place]
	if into == nil || err != nil || n < 0 || known && n <= last {
		return made{}, false
	}
	return made{recorded: string(recorded), live: string(live), counter: place, into: into, selector: counterSelector(into)}, true
}

// counterSelector returns how a person says where a number that counts up goes: into all
// but its own place, which is the first.
func counterSelector(into []pick.Selector) string {
	var places []string
	for _, sel := range into[1:] {
		places = append(places, sel.String())
	}
	return into[0].String() + intoWord + strings.Join(places, intoWord)
}

// intoWord stands between the selectors of a capture that says where the value goes.
const intoWord = " into "

// count notes the last value of each number that counts up.
func (v *values) count(got []byte) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.auto.mine == nil || len(v.auto.mine.counters[v.auto.peer]) == 0 {
		return
	}
	w := pick.Visitor{Scalar: func(s pick.Scalar) {
		number, ok := s.Value.(json.Number)
		if !ok {
			return
		}
		place := s.At.String()
		n, err := strconv.ParseInt(string(number), 10, 64)
		if err != nil || v.auto.mine.counters[v.auto.peer][place] == nil {
			return
		}
		if v.auto.counts == nil {
			v.auto.counts = map[string]int64{}
		}
		v.auto.counts[place] = n
	}}
	for _, part := range pick.Parts(got) {
		if part.JSON {
			w.Walk(part.Bytes)
		}
	}
}

// counters returns, by the places of numbers that d says and that count up, the paths to
// them and to the numbers in which the other side says them again. They are looked for
// where nobody knows the protocol: another counts by itself.
func (s *Script) counters(d decode.Dir) map[string][]pick.Selector {
	if s.stack != nil {
		return nil
	}
	type count struct {
		values []int64
		ats    []int
		broken bool // it does not count up
	}
	theirs := map[string]*count{}
	for place, n := range s.numbers(d) {
		c := theirs[place]
		if c == nil {
			if len(theirs) == maxPlaces {
				continue
			}
			c = &count{}
			theirs[place] = c
		}
		c.broken = c.broken || n.value < 0 || len(c.values) > 0 && n.value <= c.values[len(c.values)-1]
		c.values, c.ats = append(c.values, n.value), append(c.ats, n.at)
	}
	maps.DeleteFunc(theirs, func(_ string, c *count) bool { return c.broken || len(c.values) < 2 })
	if len(theirs) == 0 {
		return nil
	}
	back := map[string]map[string]map[int64]bool{} // by place of ours, of theirs: the values that come back
	for place, n := range s.numbers(d.Peer()) {
		of, seen := back[place]
		if !seen {
			if len(back) == maxPlaces {
				continue
			}
			of = map[string]map[int64]bool{}
			for p := range theirs {
				of[p] = map[int64]bool{}
			}
			back[place] = of
		}
		for p, values := range of {
			c := theirs[p]
			i, ok := slices.BinarySearch(c.values, n.value)
			if !ok || c.ats[i] >= n.at {
				delete(of, p)
				continue
			}
			values[n.value] = true
		}
	}
	found := map[string][]pick.Selector{}
	for _, place := range slices.Sorted(maps.Keys(back)) {
		for p, values := range back[place] {
			to, err := pick.Parse(place)
			if len(values) < 2 || err != nil {
				continue
			}
			if found[p] == nil {
				from, err := pick.Parse(p)
				if err != nil {
					continue
				}
				found[p] = []pick.Selector{from}
			}
			found[p] = append(found[p], to)
		}
	}
	return found
}

// maxPlaces is how many places of numbers are looked at, of each side.
const maxPlaces = 256

// A saidNumber is a whole number in a message at a position.
type saidNumber struct {
	value int64
	at    int
}

// numbers yields the whole numbers in the JSON that d sends, by their places.
func (s *Script) numbers(d decode.Dir) func(yield func(string, saidNumber) bool) {
	return func(yield func(string, saidNumber) bool) {
		for i := range s.sides[d].units {
			u := &s.sides[d].units[i]
			if u.kind != unitMessage || u.long != nil || !u.textual() {
				continue
			}
			over := false
			w := pick.Visitor{Scalar: func(x pick.Scalar) {
				if number, ok := x.Value.(json.Number); ok && !over {
					if n, err := strconv.ParseInt(string(number), 10, 64); err == nil {
						over = !yield(x.At.String(), saidNumber{n, u.at})
					}
				}
			}}
			for _, part := range pick.Parts(u.data) {
				if part.JSON {
					w.Walk(part.Bytes)
				}
			}
			if over {
				return
			}
		}
	}
}
