package change

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

const (
	takeover   = "Sec-WebSocket-Extensions: permessage-deflate\r\n"
	noTakeover = "Sec-WebSocket-Extensions: permessage-deflate; client_no_context_takeover; server_no_context_takeover\r\n"
)

// What lines make of the nth message, from 1.
type made func(n int, m string) []string

func same(_ int, m string) []string  { return []string{m} }
func twice(_ int, m string) []string { return []string{m, m} }
func noted(_ int, m string) []string { return []string{strings.ReplaceAll(m, "message", "note")} }
func without(every int) made {
	return func(n int, m string) []string {
		if n%every == 0 {
			return nil
		}
		return []string{m}
	}
}

// keeping are lines that keep the protocol.
var keeping = []struct {
	lines string
	want  made
}{
	{`when op == close do drop`, same},
	{`when op in {text, bin} every 3 do drop`, without(3)},
	{`when text every 3 do drop`, without(3)},
	{`when text contains "message 3" do drop`, func(n int, m string) []string { return without(map[bool]int{true: n, false: 99}[n == 3])(n, m) }},
	{`when op == text do delay 1ms`, same},
	{`when op == text do stall 1ms`, same},
	{`when op in {text, bin} do dup`, twice},
	{`when text do dup`, twice},
	{`when op in {text, bin, cont} do split 7`, same},
	{`when text do split 7`, same},
	{`do split 100`, same},
	{`do replace /message/note/`, noted},
	{`do replace /me(s+)age/no${1}te/`, func(_ int, m string) []string { return []string{strings.ReplaceAll(m, "message", "nosste")} }},
	{`do replace /message/note/, split 20, dup`, func(n int, m string) []string { return append(noted(n, m), noted(n, m)...) }},
	{"do replace /message/note/ also\ndo replace /note/word/", func(_ int, m string) []string { return []string{strings.ReplaceAll(m, "message", "word")} }},
	{"do replace /message/note/\ndo replace /note/word/", noted},
	{"when op == text every 2 do replace /message/note/\ndo dup", func(n int, m string) []string {
		if n%2 == 0 {
			return noted(n, m)
		}
		return []string{m, m}
	}},
	{`do replace /nothing/note/`, same},
	{`when json do set $.n 7`, func(_ int, m string) []string { return []string{m[:strings.Index(m, `"n":`)] + `"n":7}`} }},
	{`do text "all"`, func(int, string) []string { return []string{"all"} }},
	{`when op == text do inject > ping, inject < ping "x"`, same},
	{`every 2 do rate 1KB/s`, same},
	{"when op == text every 3 do drop\nwhen text do split 4", func(n int, m string) []string { return without(3)(n, m) }},
}

// Actions that keep the protocol do so with every kind of message, in either direction,
// and say what they are to.
func TestKeeps(t *testing.T) {
	for _, tt := range keeping {
		for _, ext := range []string{"", takeover, noTakeover} {
			for fragment, chunks := range map[int][]int{0: {1}, 10: {1 << 20, 1}} {
				for _, chunk := range chunks {
					for d := range decode.Dir(2) {
						name := fmt.Sprintf("%s, %q, fragments of %d, chunks of %d, from %s", tt.lines, ext, fragment, chunk, d)
						w := newWire(t, ext, tt.lines)
						s := &sender{d: d, deflate: ext != "", takeover: ext == takeover, fragment: fragment, rand: rand.New(rand.NewPCG(1, 2))}
						var want []string
						for n := 1; n < 8; n++ {
							m := fmt.Sprintf(`{"a":"message %d %s","n":%d}`, n, strings.Repeat("äb", n), n)
							b := s.message(ws.OpText, []byte(m))
							for len(b) > 0 {
								c := min(chunk, len(b))
								w.say(d, b[:c])
								b = b[c:]
							}
							want = append(want, tt.want(n, m)...)
						}
						for d := range decode.Dir(2) {
							w.end(d)
						}
						got, broken := w.received(d, ext)
						if !slices.Equal(got, want) {
							t.Errorf("%s:\n got %q\nwant %q", name, got, want)
						}
						if len(broken) > 0 {
							t.Errorf("%s: breaks %v", name, broken)
						}
						if notes := w.besidesWaiting(); len(notes) > 0 {
							t.Errorf("%s: notes %q", name, notes)
						}
					}
				}
			}
		}
	}
}

// Actions that break the protocol break the rules that they are for, and no others.
func TestBreaks(t *testing.T) {
	for _, tt := range []struct {
		line string
		from decode.Dir
		want string
	}{
		{`do flip mask`, decode.FromClient, "frame-client-unmasked"},
		{`do flip mask`, decode.FromServer, "frame-server-masked"},
		{`do flip rsv2`, decode.FromServer, "frame-rsv-set"},
		{`do flip rsv1`, decode.FromClient, "frame-rsv-set"},
		{`do len16`, decode.FromServer, "frame-length-not-minimal"},
		{`do len64`, decode.FromClient, "frame-length-not-minimal"},
		{`when op == text every 2 do flip fin`, decode.FromServer, "frag-interleaved"},
		{`do inject > bin [00], replace /m/n/`, decode.FromClient, ""},
	} {
		w := newWire(t, "", tt.line)
		s := &sender{d: tt.from, rand: rand.New(rand.NewPCG(1, 2))}
		for n := range 3 {
			w.say(tt.from, s.message(ws.OpText, fmt.Appendf(nil, "message %d", n)))
		}
		_, broken := w.received(tt.from, "")
		broken = slices.Compact(broken)
		if got := strings.Join(broken, " "); got != tt.want {
			t.Errorf("%s from %s: breaks %q, want %q", tt.line, tt.from, got, tt.want)
		}
	}
	w := newWire(t, "", `when len > 3 do truncate 3, reset`)
	s := &sender{d: decode.FromServer, rand: rand.New(rand.NewPCG(1, 2))}
	w.say(decode.FromServer, s.message(ws.OpText, []byte("message")))
	if want := "\x81\x07mes"; string(w.got[decode.FromServer]) != want || w.reset == "" {
		t.Errorf("truncate, reset: got %q, want %q; reset by %q", w.got[decode.FromServer], want, w.reset)
	}
}

// Without a match every byte goes on as it came, and nothing is told.
func TestNoMatch(t *testing.T) {
	for _, ext := range []string{"", takeover} {
		for _, line := range []string{`when op == ping do drop`, `when len == 12345 do split 3`, `when text contains "nowhere" do drop`, `do replace /nowhere/x/`} {
			for d := range decode.Dir(2) {
				w := newWire(t, ext, line)
				s := &sender{d: d, deflate: ext != "", takeover: true, rand: rand.New(rand.NewPCG(3, 4))}
				var all []byte
				for n := range 50 {
					all = append(all, s.message(ws.OpText, fmt.Appendf(nil, "message %d", n))...)
				}
				w.say(d, all)
				w.end(d)
				if !bytes.Equal(w.got[d], all) || len(w.fates)+len(w.notes) > 0 {
					t.Errorf("%s, %q: fates %q, notes %q, same bytes: %v", line, ext, w.fates, w.notes, bytes.Equal(w.got[d], all))
				}
			}
		}
	}
}

// Up to 1 MiB with its headers a message is changed, and what is longer passes unchanged,
// which is told.
func TestMaxHeld(t *testing.T) {
	for _, ext := range []string{"", takeover} {
		for _, fragment := range []int{0, 100_000} {
			for _, extra := range []int{-300, 1, 100_000} {
				w := newWire(t, ext, `when text contains "a" do replace /^./x/`)
				s := &sender{d: decode.FromServer, fragment: fragment, rand: rand.New(rand.NewPCG(5, 6))}
				long := bytes.Repeat([]byte("a"), MaxHeld+extra)
				w.say(decode.FromServer, s.message(ws.OpText, long))
				w.say(decode.FromServer, s.message(ws.OpText, []byte("ab")))
				got, broken := w.received(decode.FromServer, ext)
				wantNotes := 0
				if extra > 0 {
					wantNotes = 1
				} else {
					long[0] = 'x'
				}
				if len(got) != 2 || got[0] != string(long) || got[1] != "xb" || len(broken) > 0 || len(w.besidesWaiting()) != wantNotes {
					t.Errorf("%q, %d more, fragments of %d: %d messages, notes %q, breaks %v", ext, extra, fragment, len(got), w.notes, broken)
				}
			}
		}
	}
}

// Once the windows differ, what can't be inflated closes both sides with 1011.
func TestCannotInflate(t *testing.T) {
	w := newWire(t, takeover, `when op == text once do drop`)
	s := &sender{d: decode.FromServer, deflate: true, takeover: true, rand: rand.New(rand.NewPCG(7, 8))}
	w.say(decode.FromServer, s.message(ws.OpText, []byte("one")))
	w.say(decode.FromServer, s.frame(true, 4, ws.OpText, []byte("\xff\xff\xff")))
	w.say(decode.FromServer, s.message(ws.OpText, []byte("three")))
	w.tick(0)
	if got := string(w.got[decode.FromServer]); got != "\x88\x10\x03\xf3cannot inflate" {
		t.Errorf("the client got %q", got)
	}
	if f := w.got[decode.FromClient]; len(f) != 22 || f[0] != 0x88 {
		t.Errorf("the server got %q", f)
	}
	if len(w.notes) != 1 {
		t.Errorf("notes %q", w.notes)
	}
}

// close sends a Close to both sides, and takes their answers and what else they send.
func TestClose(t *testing.T) {
	w := newWire(t, "", `when text == "bye" do close 1012 "restart"`)
	for d := range decode.Dir(2) {
		s := &sender{d: d, rand: rand.New(rand.NewPCG(9, 1))}
		w.say(d, s.message(ws.OpText, []byte("hello")))
		if d == decode.FromServer {
			w.say(d, s.message(ws.OpText, []byte("bye")))
		}
		w.say(d, s.frame(true, 0, ws.OpClose, []byte("\x03\xf4")))
	}
	w.tick(0)
	if got, want := string(w.got[decode.FromServer]), "\x81\x05hello\x81\x03bye\x88\x09\x03\xf4restart"; got != want {
		t.Errorf("the client got %q, want %q", got, want)
	}
}

// Lines that act when it is time do so without an event, from their first match on.
func TestTimes(t *testing.T) {
	w := newWire(t, "", `every 20s do inject < ping`, `when op == text after 30s once do inject < text "late"`, `after 45s do reset`)
	s := &sender{d: decode.FromServer, rand: rand.New(rand.NewPCG(9, 1))}
	w.tick(10 * time.Second)
	w.say(decode.FromServer, s.message(ws.OpText, []byte("hello")))
	w.tick(9 * time.Second)
	if got := string(w.got[decode.FromServer]); got != "\x81\x05hello" {
		t.Errorf("after 19 s: %q", got)
	}
	w.tick(2 * time.Second)
	w.tick(20 * time.Second)
	if got, want := string(w.got[decode.FromServer]), "\x81\x05hello\x89\x09wstrace 1\x89\x09wstrace 2\x81\x04late"; got != want || w.reset != "" {
		t.Errorf("after 41 s: %q, want %q; reset by %q", got, want, w.reset)
	}
	w.tick(20 * time.Second)
	w.tick(20 * time.Second)
	if got := string(w.got[decode.FromServer]); strings.Count(got, "late") != 1 || strings.Count(got, "wstrace") != 4 || w.reset == "" {
		t.Errorf("after 81 s: %q, reset by %q", got, w.reset)
	}
	// The pongs to injected pings are not passed on.
	c := &sender{d: decode.FromClient, rand: rand.New(rand.NewPCG(9, 1))}
	w.say(decode.FromClient, c.frame(true, 0, ws.OpPong, []byte("wstrace 2")))
	w.say(decode.FromClient, c.frame(true, 0, ws.OpPong, []byte("wstrace 1")))
	w.say(decode.FromClient, c.frame(true, 0, ws.OpPong, []byte("wstrace 4")))
	if n := len(w.fates); n < 2 || !strings.HasPrefix(w.fates[n-1], "drop every 20s") {
		t.Errorf("fates %q", w.fates)
	}
	var d decode.Decoder
	var left []string
	for f := range d.Frames(w.got[decode.FromClient]) {
		left = append(left, string(f.AppendPayload(nil, -1)))
	}
	if !slices.Equal(left, []string{"wstrace 1"}) {
		t.Errorf("the server got %q, want the pong that answers nothing any more", left)
	}
}

// With the same seed chances, delays and keys are the same, whatever the order between
// directions and the cut into pieces.
func TestSeed(t *testing.T) {
	run := func(seed uint64, chunk int, turn bool) (got [2][]byte) {
		w := newWireOf(t, changesOf(t, seed, `p=0.5 do drop`, `p=0.5 do dup, flip rsv2`), 3, "")
		var all [2][]byte
		for d := range decode.Dir(2) {
			s := &sender{d: d, rand: rand.New(rand.NewPCG(1, 1))}
			for n := range 40 {
				all[d] = append(all[d], s.message(ws.OpText, fmt.Appendf(nil, "%d", n))...)
			}
		}
		for len(all[0])+len(all[1]) > 0 {
			for i := range decode.Dir(2) {
				d := i
				if turn {
					d = i.Peer()
				}
				n := min(chunk, len(all[d]))
				w.say(d, all[d][:n])
				all[d] = all[d][n:]
			}
		}
		return w.got
	}
	a, b, c := run(1, 1000, false), run(1, 3, true), run(2, 1000, false)
	for d := range a {
		if !bytes.Equal(a[d], b[d]) {
			t.Errorf("%v: differs with the same seed", decode.Dir(d))
		}
		if bytes.Equal(a[d], c[d]) {
			t.Errorf("%v: is the same with another seed", decode.Dir(d))
		}
	}
}

// Other lines are in force at once, but for what a session does not look into.
func TestSet(t *testing.T) {
	w := newWire(t, "", `when op == text do drop`)
	s := &sender{d: decode.FromServer, rand: rand.New(rand.NewPCG(1, 1))}
	say := func(m string) { w.say(decode.FromServer, s.message(ws.OpText, []byte(m))) }
	say("one")
	w.g.changes.Set(nil)
	say("two")
	lines, _ := Parse(strings.NewReader("when text == \"three\" do drop\nwhen len == 4 do drop"))
	w.g.changes.Set(lines)
	say("three")
	say("four")
	if got := string(w.got[decode.FromServer]); got != "\x81\x03two\x81\x05three" || len(w.notes) != 1 {
		t.Errorf("got %q, notes %q", got, w.notes)
	}
}

// A message is held only if a line may be about it. What became of one that was is told.
func TestHoldsWhatLinesMayBeAbout(t *testing.T) {
	for _, line := range []string{
		`when from == client and text contains "a" do drop`,
		`when not (from == server or text contains "nowhere") do drop`,
		`when (from == client or path == /other) and text do replace /a/b/`,
		`when op == bin and text contains "a" do drop`,
	} {
		w := newWire(t, "", line)
		s := &sender{d: decode.FromServer, fragment: 5, rand: rand.New(rand.NewPCG(1, 2))}
		all := s.message(ws.OpText, []byte("a message in fragments"))
		w.say(decode.FromServer, all)
		if !bytes.Equal(w.got[decode.FromServer], all) || len(w.fates)+len(w.notes) > 0 {
			t.Errorf("%s: got %q, fates %q, notes %q", line, w.got[decode.FromServer], w.fates, w.notes)
		}
	}
	w := newWire(t, "", `when from == server and text contains "a" do drop`)
	s := &sender{d: decode.FromServer, fragment: 5, rand: rand.New(rand.NewPCG(1, 2))}
	w.say(decode.FromServer, s.message(ws.OpText, []byte("a message in fragments")))
	if got, _ := w.received(decode.FromServer, ""); len(got) > 0 || !slices.Equal(w.notes, []string{"the message that waited is dropped"}) {
		t.Errorf("got %q, notes %q", got, w.notes)
	}
}
