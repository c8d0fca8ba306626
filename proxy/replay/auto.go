package replay

import (
	"encoding/json"
	"slices"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// autoValues is what [CaptureAuto] has to know while sessions are played. It is protected
// by the lock of the values that it is part of.
type autoValues struct {
	recorded []*recorded       // of all sessions that are played together
	lives    map[string]string // what was recorded, by the live value
	told     map[string]bool   // selectors
	mine     *recorded         // of the session; nil for none
	peer     decode.Dir        // the other side
	counts   map[string]int64  // of the session: the last value of a counter, by its place
}

// knows has v know what was recorded, in all of the sessions that are played together.
func (v *values) knows(scripts ...*Script) {
	for _, s := range scripts {
		if s.words != nil {
			v.knowsWords(s.words.of(s))
		}
	}
}

// knowsWords is knows for the words of something else that is played with the sessions.
func (v *values) knowsWords(r *recorded) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.auto.recorded = append(v.auto.recorded, r)
}

// plays has v know which session it is of.
func (v *values) plays(s *Script, peer decode.Dir) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.auto.peer, v.auto.mine = peer, nil
	if s.words != nil {
		v.auto.mine = s.words.of(s)
	}
}

// where returns the first and the last position where a word was recorded, in any session;
// ok is false for nowhere.
func (v *values) where(word string) (first, last int, ok bool) {
	all := v.all()
	all.mu.Lock()
	defer all.mu.Unlock()
	for _, r := range all.auto.recorded {
		at, here := r.words[word]
		switch {
		case !here:
		case !ok:
			first, last, ok = at.first, at.last, true
		default:
			first, last = min(first, at.first), max(last, at.last)
		}
	}
	return first, last, ok
}

// A made value is one that looks made up and differs from the recorded one.
type made struct {
	recorded, live string
	number         bool            // in JSON
	selector       string          // that names it
	known          bool            // the protocol has one here that is made up anew
	unused         bool            // the other side makes it up here, and it does not come back
	time           bool            // it is a time
	counter        string          // the place of a number that counts up; "" for none
	into           []pick.Selector // of a counter: where it goes
}

// substitutions returns what a made value replaces.
func (m *made) substitutions() []substitution {
	switch {
	case m.counter != "":
		return []substitution{{recorded: json.Number(m.recorded), live: json.Number(m.live), into: m.into, own: true}}
	case m.number:
		return []substitution{{recorded: json.Number(m.recorded), live: json.Number(m.live)}, {recorded: m.recorded, live: m.live}}
	}
	return []substitution{{recorded: m.recorded, live: m.live}}
}

func substitutionsOf(list []made) (subs []substitution) {
	for i := range list {
		subs = append(subs, list[i].substitutions()...)
	}
	return subs
}

// takesUp reports whether a made value, that came at a position, is to be captured: the
// other side makes it up there, as nobody has said it before, and it comes back later; and
// the live one is new too.
func (v *values) takesUp(m *made, at int) bool {
	switch {
	case m.counter != "":
		return true
	case m.time:
		m.unused = true
		return false
	}
	first, last, ok := v.where(m.recorded)
	if ok && first != at || !ok && !m.known {
		return false
	}
	if _, _, recorded := v.where(m.live); recorded {
		return false
	}
	if last <= at && !m.known {
		m.unused = true
		return false
	}
	all := v.all()
	all.mu.Lock()
	defer all.mu.Unlock()
	was, known := all.auto.lives[m.live]
	return !known || was == m.recorded
}

// takeUp captures values, and tells their selectors.
func (v *values) takeUp(list []made, tell func(selector string)) {
	v.add(substitutionsOf(list))
	all := v.all()
	var news []string
	all.mu.Lock()
	if all.auto.lives == nil {
		all.auto.lives, all.auto.told = map[string]string{}, map[string]bool{}
	}
	for _, m := range list {
		if m.counter == "" {
			all.auto.lives[m.live] = m.recorded
		}
		if !all.auto.told[m.selector] {
			all.auto.told[m.selector] = true
			news = append(news, m.selector)
		}
	}
	all.mu.Unlock()
	for _, sel := range news {
		if tell != nil {
			tell(sel)
		}
	}
}

// split returns which of the made values at a position are to be captured, and which are
// left. ok is false if they contradict each other.
func (v *values) split(list []made, at int) (taken, left []made, ok bool) {
	lives, olds, known := map[string]string{}, map[string]string{}, map[string]bool{}
	for _, m := range list {
		known[m.recorded] = known[m.recorded] || m.known
	}
	for _, m := range list {
		m.known = known[m.recorded] // in another place too
		key := m.recorded + " " + m.counter
		live, seen := lives[key]
		old, had := olds[m.live+" "+m.counter]
		switch {
		case seen && live != m.live, had && old != m.recorded:
			return nil, nil, false
		case seen:
			continue
		}
		lives[key], olds[m.live+" "+m.counter] = m.live, m.recorded
		if v.takesUp(&m, at) {
			taken = append(taken, m)
		} else {
			left = append(left, m)
		}
	}
	return taken, left, true
}

// madeDiffer is differs for a message that differs from the recorded one, in which captured
// values have their place already: it returns "" if they differ only in values that are to
// be captured.
func (e *equality) madeDiffer(v *values, want *unit, live, got []byte, why string) string {
	switch equal, taken, unused := e.butForMade(v, want, live, got); {
	case equal:
		return ""
	case unused != nil:
		u := *want
		u.data = live
		if data, _ := newValues(substitutionsOf(taken)...).putIn(&u, true); len(taken) > 0 {
			why = e.differs(data, got, want.textual())
		}
		return why + ", and looks made up, but does not come back"
	}
	return why
}

// butForMade reports whether two messages are equal but for values that are to be captured,
// which are taken. If they are equal but for such and for values that look made up and
// don't come back, unused has the selectors of those.
func (e *equality) butForMade(v *values, want *unit, live, got []byte) (equal bool, taken []made, unused []string) {
	taken, left, ok := v.split(e.made(v, live, got, want.textual()), want.at)
	if !ok || len(taken)+len(left) == 0 {
		return false, nil, nil
	}
	for _, m := range left {
		if !m.unused {
			return false, nil, nil
		}
		if !slices.Contains(unused, m.selector) {
			unused = append(unused, m.selector)
		}
	}
	u := *want
	u.data = live
	data, _ := newValues(substitutionsOf(slices.Concat(taken, left))...).putIn(&u, true)
	if e.differs(data, got, want.textual()) != "" {
		return false, nil, nil
	}
	return len(left) == 0, taken, unused
}

// remedies returns the selectors of values in which a message, or a body, differs from the
// recorded one: anew of those that look made up anew and come back later in the scripts,
// so that they should be captured and, if those alone and others that look made up or are
// times differ, unused of these, to be ignored.
func (e *equality) remedies(scripts []*Script, v *values, want, got *unit) (anew, unused []string) {
	if e.exact || want.kind != got.kind || want.op != got.op || want.re() != nil || want.long != nil || got.long != nil || want.opaque() {
		return nil, nil
	}
	live, _ := v.putIn(want, true)
	if e.auto {
		_, _, unused = e.butForMade(v, want, live, got.data)
		return nil, unused
	}
	all := newValues()
	for _, s := range scripts {
		all.knowsWords(new(recordedOnce).of(s))
	}
	taken, _, _ := all.split(e.made(all, live, got.data, want.textual()), want.at)
	_, _, unused = e.butForMade(all, want, live, got.data)
	for _, m := range taken {
		if !slices.Contains(anew, m.selector) {
			anew = append(anew, m.selector)
		}
	}
	return anew, unused
}

// learnAuto takes up the values in a message that came as recorded.
func (s *Script) learnAuto(v *values, how *playing, want, got *unit) {
	e := &s.equality
	if !e.auto || e.exact || want.kind == unitEnd || want.kind == unitClose || want.opaque() {
		return
	}
	live, _ := v.putIn(want, true)
	if string(live) != string(got.data) {
		if why := e.differs(live, got.data, want.textual()); why != "" {
			if taken, _, ok := v.split(e.made(v, live, got.data, want.textual()), want.at); ok {
				v.takeUp(taken, how.taken)
			}
		}
	}
	if want.textual() {
		v.count(got.data)
	}
}

// made returns what looks made up in a message that came, and differs from what was
// recorded there.
func (e *equality) made(v *values, want, got []byte, text bool) (list []made) {
	want, got = e.withoutMatches(want), e.withoutMatches(got)
	if !text {
		if len(want) != len(got) {
			return nil
		}
		return madeIn(string(want), string(got), "", "")
	}
	if w, g := pick.ParseXML(want), pick.ParseXML(got); w != nil && g != nil {
		return e.madeInXML(w, g)
	}
	ws, gs := pick.Parts(want), pick.Parts(got)
	if len(ws) != len(gs) {
		return nil
	}
	for i, w := range ws {
		switch {
		case w.JSON != gs[i].JSON:
			return nil
		case w.JSON:
			list = append(list, e.madeInJSON(v, w.Bytes, gs[i].Bytes)...)
		default:
			anchor := ""
			if i == 0 {
				anchor = "^"
			}
			list = append(list, madeIn(string(w.Bytes), string(gs[i].Bytes), anchor, "")...)
		}
	}
	return list
}

// madeInJSON is made for documents.
func (e *equality) madeInJSON(v *values, want, got []byte) (list []made) {
	came := map[string]any{}
	w := pick.Visitor{Scalar: func(s pick.Scalar) { came[s.At.String()] = s.Value }}
	w.Walk(got)
	w.Scalar = func(s pick.Scalar) {
		place := s.At.String()
		switch value := s.Value.(type) {
		case string:
			switch live, ok := came[place].(string); {
			case !ok || live == value || e.mayVary(s.At):
			case isTime(value) && isTime(live):
				list = append(list, made{recorded: value, live: live, selector: place, time: true})
			case e.isMadeUp(place, value, live):
				list = append(list, made{recorded: value, live: live, known: true, selector: place})
			default:
				list = append(list, madeInValue(value, live, place, `"`, `"\`)...)
			}
		case json.Number:
			live, ok := came[place].(json.Number)
			switch {
			case !ok || live == value || e.mayVary(s.At):
			case e.isMadeUp(place, string(value), string(live)):
				list = append(list, made{recorded: string(value), live: string(live), number: true, known: true, selector: place})
			case madeUpDigits(string(value), string(live)):
				list = append(list, made{recorded: string(value), live: string(live), number: true, selector: place})
			default:
				if m, ok := v.counted(place, value, live); ok {
					list = append(list, m)
				}
			}
		}
	}
	w.Walk(want)
	return list
}
