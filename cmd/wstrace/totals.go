package main

import (
	"cmp"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

// totals is a sink that counts what a whole run adds up to.
type totals struct {
	sessions   int64
	tally                       // of the sessions that are closed
	open       map[int64]*tally // of those that are not; nil if all will be
	violations map[decode.RuleID]int64
	dropped    int64 // lines of output
}

// A tally counts what went over the wire, by Dir.
type tally struct {
	frames, bytes [2]int64
}

func (t *tally) add(frames, bytes [2]int64) {
	for d := range t.frames {
		t.frames[d] += frames[d]
		t.bytes[d] += bytes[d]
	}
}

// Emit counts ev.
func (t *totals) Emit(ev *decode.Event) {
	for _, v := range ev.Violations {
		if t.violations == nil {
			t.violations = make(map[decode.RuleID]int64)
		}
		t.violations[v.ID]++
	}
	switch ev.Kind {
	case decode.KindOpen:
		t.sessions++
	case decode.KindFrame:
		if t.open != nil {
			t.frame(ev)
		}
	case decode.KindClosed:
		t.add(ev.Totals.Frames, ev.Totals.Bytes)
		delete(t.open, ev.Conn)
	}
}

// frame counts a frame of a session that may never be closed, because the
// recording ends before.
func (t *totals) frame(ev *decode.Event) {
	open := t.open[ev.Conn]
	if open == nil {
		open = new(tally)
		t.open[ev.Conn] = open
	}
	open.bytes[ev.Dir] += int64(ev.Frame.Len())
	if !ev.Frame.More {
		open.frames[ev.Dir]++
		open.bytes[ev.Dir] += int64(len(ev.Frame.Head))
	}
}

// print writes the totals to con.
func (t *totals) print(con *console) {
	for _, open := range t.open {
		t.add(open.frames, open.bytes)
	}
	if t.dropped > 0 {
		con.say("%s dropped in all: the output is not complete", plural(t.dropped, "line"))
	}
	con.note("%s: %s, %s >; %s, %s <", plural(t.sessions, "session"),
		plural(t.frames[decode.FromClient], "frame"), render.AppendSize(nil, t.bytes[decode.FromClient]),
		plural(t.frames[decode.FromServer], "frame"), render.AppendSize(nil, t.bytes[decode.FromServer]))
	if len(t.violations) == 0 {
		return
	}
	ids := slices.SortedFunc(maps.Keys(t.violations), func(a, b decode.RuleID) int {
		return cmp.Or(cmp.Compare(t.violations[b], t.violations[a]), cmp.Compare(a, b))
	})
	var n int64
	list := make([]string, len(ids))
	for i, id := range ids {
		n += t.violations[id]
		list[i] = strconv.FormatInt(t.violations[id], 10) + " " + string(id)
	}
	con.note("%s: %s", plural(n, "violation"), strings.Join(list, ", "))
}

// plural returns "1 frame", "2 frames".
func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatInt(n, 10) + " " + noun
}
