package replay

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// Where a protocol is recognized that has ids, one is bound to its question: the other
// side may ask with another id than the recorded one, our answer goes with the id that
// came, and all that the other side says of that question later has to have it. Our
// own questions have their recorded ids, and so do the answers to them.

// An ident is an id in a record.
type ident struct {
	pick.Span            // where it stands
	value     string     // a string of JSON without its quotes
	asks      bool       // it is a new one, of a question
	asker     decode.Dir // who has made it
	either    bool       // or the other has
	space     string     // ids of two spaces have nothing in common
	json      any        // it is this value of JSON; nil for none
	tied      bool       // the record does not stand alone

	// In a script.
	question idPlace // where it was made
	piece    bool    // only a part of it stands here, and the rest in other messages
	part     int     // how many bytes of it stand before, then
}

// An idPlace says where an id is: the nth of a unit. The unit is -1 for nowhere.
type idPlace struct {
	dir     decode.Dir
	unit, n int
}

// maxID is how long an id is at most, in bytes.
const maxID = 256

// hasIDs reports whether ids are bound in the session.
func (s *Script) hasIDs() bool {
	return !s.exact && !s.stream && s.stack != nil && s.stack.ids != nil && (s.stack.split == nil || s.splitter() != nil)
}

// idsOf returns the ids in a record that a side sends.
func (s *Script) idsOf(from decode.Dir, u *unit) []ident {
	if !s.hasIDs() || !splits(u) {
		return nil
	}
	ids := s.stack.ids(from, u.op, u.data)
	for i := range ids {
		id := &ids[i]
		id.question.unit = -1
		switch v := id.json.(type) {
		case string:
			id.value = v
		case json.Number:
			id.value, id.space = string(v), id.space+" number"
		default:
			id.value = string(u.data[id.Start:id.End])
		}
	}
	return slices.DeleteFunc(ids, func(id ident) bool { return id.value == "" || len(id.value) > maxID })
}

// idsIn is idsOf for the records of a message, none of which goes on in another.
func (s *Script) idsIn(from decode.Dir, op ws.OpCode, data []byte) (ids []ident) {
	at := 0
	r := records{split: s.splitter(), emit: func(u *unit) {
		for _, id := range s.idsOf(from, u) {
			id.Start, id.End = id.Start+at, id.End+at
			ids = append(ids, id)
		}
		at += len(u.data)
	}}
	r.take(&unit{kind: unitMessage, op: op, data: data})
	r.end()
	return ids
}

// splits reports whether u is part of what is split into records.
func splits(u *unit) bool { return u.kind == unitMessage && u.long == nil && !u.cut }

// An idMark is where something stands among the units of a side.
type idMark struct{ unit, at int }

// noteIDs notes where ids stand, and where they were made.
func (s *Script) noteIDs() {
	for d := range s.sides {
		for i := range s.sides[d].units {
			u := &s.sides[d].units[i]
			u.ids, u.crosses, u.inside = nil, false, false
		}
	}
	if !s.hasIDs() {
		return
	}
	var lists [2][]unit
	var marks [2]idMark
	for d := range decode.Dir(2) {
		lists[d], _ = s.recordsOf(d)
	}
	made := map[string]idPlace{}
	for len(lists[0])+len(lists[1]) > 0 {
		d := decode.FromClient
		if len(lists[d]) == 0 || len(lists[d.Peer()]) > 0 && lists[d.Peer()][0].at < lists[d][0].at {
			d = d.Peer()
		}
		rec := &lists[d][0]
		lists[d] = lists[d][1:]
		if splits(rec) && len(rec.data) > 0 {
			s.noteRecord(d, rec, &marks[d], made)
		}
	}
}

// noteRecord notes the ids in a record of d, which begins at a mark.
func (s *Script) noteRecord(d decode.Dir, rec *unit, mark *idMark, made map[string]idPlace) {
	units := s.sides[d].units
	ids := s.idsOf(d, rec)
	for i := range ids {
		ids[i].question = ids[i].madeIn(made)
	}
	crosses := len(ids) > 0 && !slices.ContainsFunc(ids, func(id ident) bool { return id.tied })
	for at := 0; at < len(rec.data); {
		for !splits(&units[mark.unit]) || mark.at == len(units[mark.unit].data) {
			*mark = idMark{unit: mark.unit + 1}
		}
		u := &units[mark.unit]
		n := min(len(u.data)-mark.at, len(rec.data)-at)
		if mark.at == 0 {
			u.inside, u.crosses = at > 0, true
		}
		u.crosses = u.crosses && crosses && n == len(rec.data)
		for _, id := range ids {
			from, to := max(id.Start, at), min(id.End, at+n)
			if from >= to {
				continue
			}
			if to-from < id.End-id.Start {
				id.piece, id.part = true, from-id.Start
			}
			id.Span = pick.Span{Start: mark.at + from - at, End: mark.at + to - at}
			if id.asks && id.part == 0 {
				made[id.key(id.asker)] = idPlace{d, mark.unit, len(u.ids)}
			}
			u.ids = append(u.ids, id)
		}
		mark.at += n
		at += n
	}
}

// key returns what is the same for the same id of a side.
func (id *ident) key(asker decode.Dir) string { return fmt.Sprint(asker, " ", id.space, " ", id.value) }

// madeIn returns where an id was made.
func (id *ident) madeIn(made map[string]idPlace) idPlace {
	nowhere := idPlace{unit: -1}
	if id.asks {
		return nowhere
	}
	if place, ok := made[id.key(id.asker)]; ok {
		return place
	}
	if place, ok := made[id.key(id.asker.Peer())]; ok && id.either {
		return place
	}
	return nowhere
}

// alikeIDs reports whether two records have ids in the same places, of the same kinds.
func alikeIDs(a, b []ident) bool {
	return slices.EqualFunc(a, b, func(x, y ident) bool {
		return x.asks == y.asks && x.asker == y.asker && x.space == y.space && (x.json == nil) == (y.json == nil)
	})
}

// withAsked returns want with the ids of the questions in got, which may be any.
func withAsked(want, got *unit) *unit {
	return withValues(want, got, func(k int) bool { return want.ids[k].asks })
}

// withAllIDs is withAsked for all ids.
func withAllIDs(want, got *unit) *unit { return withValues(want, got, func(int) bool { return true }) }

func withValues(want, got *unit, of func(k int) bool) *unit {
	if len(want.ids) == 0 || !alikeIDs(want.ids, got.ids) {
		return want
	}
	return want.with(want.data, want.ids, func(k int) string {
		if of(k) {
			return got.ids[k].value
		}
		return want.ids[k].value
	})
}

// with returns u with data, in which ids stand, and other ids in their place; u itself if
// that is the same.
func (u *unit) with(data []byte, ids []ident, value func(k int) string) *unit {
	var edits []pick.Edit
	for k, id := range ids {
		v := value(k)
		if _, ok := id.json.(string); ok && v != id.value {
			edits = append(edits, pick.Edit{Span: id.Span, Text: pick.Encode(v)})
		} else if !ok && v != string(data[id.Start:id.End]) {
			edits = append(edits, pick.Edit{Span: id.Span, Text: []byte(v)})
		}
	}
	if len(edits) == 0 && sameMemory(data, u.data) {
		return u
	}
	c := *u
	c.data, c.rare = pick.Apply(nil, data, edits), u.rare.whole()
	return &c
}

// liveID returns the id that stands for one of a record of d, and whether it is another
// one.
func (p *player) liveID(id *ident) (value string, other bool) {
	value, other = p.liveIDs[id.question]
	if !other || id.question.unit < 0 || id.question.dir != p.peer {
		return id.value, false
	}
	return value, true
}

// bind notes with what ids the peer asks in u, which came as its unit i.
func (p *player) bind(i int, u *unit) {
	want := &p.s.sides[p.peer].units[i]
	if !alikeIDs(want.ids, u.ids) {
		return
	}
	for k := range want.ids {
		if !want.ids[k].asks {
			continue
		}
		at := idPlace{p.peer, i, k}
		if want.ids[k].value == u.ids[k].value {
			delete(p.liveIDs, at) // of a heartbeat that came once more
			continue
		}
		if p.liveIDs == nil {
			p.liveIDs = map[idPlace]string{}
		}
		p.liveIDs[at] = u.ids[k].value
	}
}

// expected returns unit i of the peer with the ids that u may and must have, and what
// has still to be put into it.
func (p *player) expected(i int, u *unit) (*unit, *values) {
	want := &p.s.sides[p.peer].units[i]
	alike := alikeIDs(want.ids, u.ids)
	value := func(k int) string {
		if id := &want.ids[k]; alike && id.asks {
			return u.ids[k].value
		} else {
			live, _ := p.liveID(id)
			return live
		}
	}
	if want.with(want.data, want.ids, value) == want {
		return want, p.subs
	}
	data, ids := p.putBeforeIDs(p.peer, want)
	if want = want.with(data, ids, value); p.s.auto {
		return want, p.subs // what is made up is looked for in the rest
	}
	return want, nil
}

// compare compares what came with unit i of the peer.
func (p *player) compare(i int, u *unit) (ok bool, why string) {
	want, subs := p.expected(i, u)
	return p.s.compare(want, u, subs)
}

// counts reports whether u, which is like a heartbeat, is the one that has to come.
func (p *player) counts(u *unit) bool {
	if p.s.stack == nil || !p.s.stack.held {
		return false
	}
	units := p.s.sides[p.peer].units
	for i := p.arrived; i < len(units); i++ {
		if units[i].first && !p.matched[i] {
			ok, _ := p.compare(i, u)
			return ok
		}
	}
	return false
}

// putBeforeIDs returns a message with captured values, and where its ids stand then.
func (p *player) putBeforeIDs(from decode.Dir, u *unit) (data []byte, ids []ident) {
	data, ids = u.data, u.ids
	if u.op != ws.OpText {
		return data, ids
	}
	if put := put(data, p.subs); !sameMemory(put, data) {
		if found := p.s.idsIn(from, u.op, put); len(found) == len(ids) {
			return put, found
		}
	}
	return data, ids
}

// dataOf returns what is sent for a message of ours: with captured values and, in place
// of the recorded ids, those of the questions that it answers. If one does not fit, the
// replay fails, and ok is false.
func (p *player) dataOf(u *unit) (data []byte, ok bool) {
	if len(u.ids) == 0 {
		return p.live(u), true
	}
	misfit := false
	value := func(k int) string {
		id := &u.ids[k]
		recorded := id.value
		if id.piece {
			recorded = string(u.data[id.Start:id.End])
		}
		live, other := p.liveID(id)
		switch {
		case !other:
			return recorded
		case (id.piece || u.op == ws.OpBinary) && len(live) != len(id.value):
			misfit = true
			p.fail(fmt.Errorf("%s can't have the id %q in place of %q: in a binary message an id keeps its length", p.nameOurs(&p.s.sides[p.role].items[u.firstItem]), live, id.value))
			return recorded
		case id.piece:
			return live[id.part : id.part+len(recorded)]
		}
		return live
	}
	switch changed := u.with(u.data, u.ids, value); {
	case misfit:
		return nil, false
	case changed != u:
		data, ids := p.putBeforeIDs(p.role, u)
		return u.with(data, ids, value).data, true
	}
	return p.live(u), true
}

// inRecords returns the script with records in place of the messages of both sides.
func (s *Script) inRecords() *Script {
	if s.splitter() == nil {
		return s
	}
	c := *s
	for d := range decode.Dir(2) {
		c.sides[d].units, _ = s.recordsOf(d)
	}
	c.noteBeats()
	return &c
}

// withoutIDs returns u with what its ids refer to in their place, as two sessions have
// different ones. key returns what is the same for contents that count as equal.
func (s *Script) withoutIDs(u *unit, key func(*unit) string) *unit {
	if len(u.ids) == 0 {
		return u
	}
	return u.named(func(id *ident) (name string, ok bool) {
		q := id.question
		switch {
		case id.asks:
			return "?", true
		case q.unit < 0:
			return "", false
		}
		asked := s.sides[q.dir].units[q.unit].named(func(*ident) (string, bool) { return "?", true })
		return fmt.Sprintf("?%x.%d", sha256.Sum256([]byte(key(asked))), q.n), true
	})
}

// named returns u with names in place of ids.
func (u *unit) named(name func(*ident) (string, bool)) *unit {
	var edits []pick.Edit
	for i := range u.ids {
		id := &u.ids[i]
		text, ok := name(id)
		if ok && id.json != nil {
			text = `"` + text + `"`
		}
		if ok {
			edits = append(edits, pick.Edit{Span: id.Span, Text: []byte(text)})
		}
	}
	c := *u
	c.data = pick.Apply(nil, u.data, edits)
	return &c
}
