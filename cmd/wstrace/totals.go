package main

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

// totals is a sink that adds up a whole run.
type totals struct {
	sessions  int64                    // exchanges and tunnels are among them
	exchanges plain                    // that did not ask for websocket
	tunnels   plain                    // whose bytes were only counted
	tally                              // of the other sessions that are closed
	partial   bool                     // some may never be closed, because the recording ends before
	open      decode.PerSession[tally] // of those, if there may be any
	unchecked bool                     // there were messages that nobody looked into
	silent    string                   // the -w that leaves nothing to be shown, or ""
	unread    [2]int64                 // messages that could not be looked into
	deflate   [2]decode.Savings
	heartbeat [2]decode.Heartbeat
	dropped   int64 // lines of output
}

// plain counts sessions without a WebSocket connection, and their bytes.
type plain struct{ n, bytes int64 }

func (p *plain) add(bytes [2]int64) { p.bytes += bytes[decode.FromClient] + bytes[decode.FromServer] }

// String returns how many bytes they had, after a comma.
func (p *plain) String() string { return string(render.AppendSize([]byte(", "), p.bytes)) }

// A tally counts what went over the wire, by Dir, and what was wrong with it.
type tally struct {
	frames, bytes [2]int64
	bare          [2]int64 // messages of which no frames are known
	violations    map[decode.RuleID]int64
	tunnel        bool // of one session: it is a tunnel
}

func (t *tally) broke(id decode.RuleID, n int64) {
	if t.violations == nil {
		t.violations = make(map[decode.RuleID]int64)
	}
	t.violations[id] += n
}

func (t *tally) add(of *tally) {
	for d := range t.frames {
		t.frames[d] += of.frames[d]
		t.bytes[d] += of.bytes[d]
		t.bare[d] += of.bare[d]
	}
}

// Emit counts ev.
func (t *totals) Emit(ev *decode.Event) {
	if t.partial && len(ev.Violations) > 0 {
		open := t.of(ev)
		for _, v := range ev.Violations {
			open.broke(v.ID, 1)
		}
	}
	switch ev.Kind {
	case decode.KindOpen:
		t.sessions++
	case decode.KindRequest:
		if plainRequest(ev.Handshake) {
			t.exchanges.n++
		}
	case decode.KindOpaque:
		if ev.Handshake == nil {
			t.of(ev).tunnel = true
			t.tunnels.n++
		}
	case decode.KindFrame:
		if t.partial && !ev.Out {
			t.frame(ev)
		}
	case decode.KindMessage:
		if m := ev.Message; t.partial && m.Frames == 0 && ev.Info.NoFrames {
			open := t.of(ev)
			open.bytes[ev.Dir] += m.Len
			if m.Op <= ws.OpBinary {
				open.bare[ev.Dir]++
			}
		}
	case decode.KindClosed:
		open := t.open.Lookup(ev.Conn)
		switch hs := ev.Handshake; {
		case open != nil && open.tunnel:
			t.tunnels.add(ev.Totals.Bytes)
		case hs == nil && ev.Totals.Status != 0: // a CONNECT that we refused
			t.tunnels.n++
		case hs != nil && plainRequest(hs):
			t.exchanges.add(ev.Totals.Bytes)
		default:
			of := tally{frames: ev.Totals.Frames, bytes: ev.Totals.Bytes}
			if ev.Info.NoFrames {
				of.bare = ev.Totals.Messages
			}
			t.add(&of)
		}
		for _, c := range ev.Totals.Rules {
			t.broke(c.ID, c.N)
		}
		if hs := ev.Handshake; hs != nil && hs.Accepted {
			t.messages(ev.Totals)
		}
		t.open.Forget(ev.Conn)
	}
}

// plainRequest reports whether a request, if one has come, does not ask for
// websocket.
func plainRequest(hs *decode.Handshake) bool {
	return hs.Request != nil && hs.Request.Method != "" && !hs.WebSocket
}

// of returns the tally of a session that may never be closed.
func (t *totals) of(ev *decode.Event) *tally {
	t.open.Forgotten = t.never
	return t.open.Of(ev)
}

// maxRTTs is how many round-trip times are kept of each side.
const maxRTTs = 1 << 14

// messages adds what became of messages, and of pings.
func (t *totals) messages(s *decode.Totals) {
	t.unchecked = t.unchecked || !s.Checked && s.Messages != [2]int64{}
	for d := range t.deflate {
		t.unread[d] += s.Unchecked[d]
		t.deflate[d].Messages += s.Deflate[d].Messages
		t.deflate[d].Wire += s.Deflate[d].Wire
		t.deflate[d].Len += s.Deflate[d].Len
		h, of := &t.heartbeat[d], &s.Heartbeat[d]
		h.Pings += of.Pings
		h.Pongs += of.Pongs
		h.Missing += of.Missing
		h.RTTs = append(h.RTTs, of.RTTs[:min(len(of.RTTs), maxRTTs-len(h.RTTs))]...)
	}
}

// frame counts a frame of a session that may never be closed.
func (t *totals) frame(ev *decode.Event) {
	open := t.open.Lookup(ev.Conn)
	if open == nil {
		open = t.of(ev)
	}
	open.bytes[ev.Dir] += int64(ev.Frame.Len())
	if !ev.Frame.More {
		open.frames[ev.Dir]++
		open.bytes[ev.Dir] += int64(len(ev.Frame.Head))
	}
}

// never adds up a session that is never closed.
func (t *totals) never(_ int64, open *tally) {
	t.add(open)
	for id, n := range open.violations {
		t.broke(id, n)
	}
}

// print writes the totals to con.
func (t *totals) print(con *console) {
	for _, conn := range t.open.Open() {
		t.never(conn, t.open.Lookup(conn))
	}
	if t.dropped > 0 {
		con.say("%s dropped in total: the output is incomplete", plural(t.dropped, "line"))
	}
	others := ""
	if t.exchanges.n > 0 {
		others += "; " + plural(t.exchanges.n, "HTTP request") + t.exchanges.String()
	}
	if t.tunnels.n > 0 {
		others += "; " + plural(t.tunnels.n, "tunnel") + t.tunnels.String()
	}
	con.note("%s: %s, %s >; %s, %s <%s", plural(t.sessions-t.exchanges.n-t.tunnels.n, "session"),
		t.units(decode.FromClient), render.AppendSize(nil, t.bytes[decode.FromClient]),
		t.units(decode.FromServer), render.AppendSize(nil, t.bytes[decode.FromServer]), others)
	for _, d := range [...]decode.Dir{decode.FromClient, decode.FromServer} {
		t.printSide(con, d)
	}
	switch {
	case !t.unchecked:
	case t.silent != "":
		con.note("messages were not checked, as with %s none is shown; with --to FILE they are", t.silent)
	default:
		con.note("messages were not checked, as -o none looks into none; wstrace check FILE does")
	}
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

// units returns how many frames a side sent, and messages of which no frames are known.
func (t *totals) units(d decode.Dir) string {
	switch {
	case t.bare == [2]int64{}:
		return plural(t.frames[d], "frame")
	case t.frames == [2]int64{}:
		return plural(t.bare[d], "message")
	}
	return plural(t.frames[d], "frame") + " and " + plural(t.bare[d], "message")
}

// printSide writes what compression did for one side, and what became of its
// pings.
func (t *totals) printSide(con *console, d decode.Dir) {
	if s := t.deflate[d]; s.Messages > 0 && s.Len > 0 {
		verb, saved := "saved", s.Len-s.Wire
		if saved < 0 {
			verb, saved = "lost", -saved
		}
		con.note("%s compressed %s: %s to %s, %d%%, %s %s", plural(s.Messages, "message"), d.Arrow(),
			render.AppendSize(nil, s.Len), render.AppendSize(nil, s.Wire), (s.Wire*100+s.Len/2)/s.Len, render.AppendSize(nil, saved), verb)
	}
	if n := t.unread[d]; n > 0 {
		con.note("%s %s could not be inflated or looked into", plural(n, "message"), d.Arrow())
	}
	h := &t.heartbeat[d]
	if h.Pings == 0 {
		return
	}
	times := ""
	if slices.Sort(h.RTTs); len(h.RTTs) > 0 {
		times = fmt.Sprintf(", round trip %s median, %s p99",
			render.AppendDuration(nil, decode.Quantile(h.RTTs, 0.5)), render.AppendDuration(nil, decode.Quantile(h.RTTs, 0.99)))
	}
	con.note("%s %s: %d answered, %d missing%s", plural(h.Pings, "ping"), d.Arrow(), h.Pongs, h.Missing, times)
}

// plural returns "1 frame", "2 frames".
func plural(n int64, noun string) string {
	if n != 1 {
		noun += "s"
	}
	return strconv.FormatInt(n, 10) + " " + noun
}
