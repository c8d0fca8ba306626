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

// A talker says what a side sends over a wire.
type talker struct {
	*wire
	sender
}

// talk has d talk over a new wire.
func talk(t *testing.T, d decode.Dir, ext string, lines ...string) *talker {
	t.Helper()
	return &talker{newWire(t, ext, lines...), sender{d: d, deflate: ext != "", takeover: ext == takeover, rand: rand.New(rand.NewPCG(1, 2))}}
}

func (k *talker) text(m string) { k.say(k.d, k.message(ws.OpText, []byte(m))) }

// fragments sends the parts of a message in a frame each.
func (k *talker) fragments(parts ...string) {
	for n, part := range parts {
		op := ws.OpText
		if n > 0 {
			op = ws.OpContinuation
		}
		k.say(k.d, k.sender.frame(n == len(parts)-1, 0, op, []byte(part)))
	}
}

// heard returns what the other side received: each frame as op, FIN as a full stop, and
// payload.
func (k *talker) heard() string {
	var all []string
	d := decode.Decoder{Dir: k.d}
	for f := range d.Frames(k.got[k.d]) {
		end := ""
		if f.Fin {
			end = "."
		}
		all = append(all, fmt.Sprintf("%s%s %s", decode.OpName(f.OpCode), end, f.AppendPayload(nil, -1)))
	}
	return strings.Join(all, " | ")
}

func (k *talker) wants(t *testing.T, want string) {
	t.Helper()
	if got := k.heard(); got != want {
		t.Errorf("heard %s\n  want %s", got, want)
	}
}

// wantsMessages checks that the messages arrived, in a stream that breaks no rule.
func (k *talker) wantsMessages(t *testing.T, ext string, want ...string) {
	t.Helper()
	got, broken := k.received(k.d, ext)
	if !slices.Equal(got, want) || len(broken) > 0 {
		t.Errorf("got %q, breaks %v; want %q", got, broken, want)
	}
}

// Once the windows differ, the fragments of one message keep their order, whatever else
// is done with some of them.
func TestSkewedFragments(t *testing.T) {
	for _, line := range []string{`when op == text do delay 1ms`, `when op == cont do stall 1ms`, `when op in {text, cont} do split 3`,
		`when op == text do dup`, `when op == cont do inject > ping`} {
		for _, fragment := range []int{1, 5, 40} {
			k := talk(t, decode.FromServer, takeover, `when op == text once do drop`, line)
			k.text("first, and dropped")
			k.fragment = fragment
			k.text("second, a little longer, second")
			k.text("third, and so on, second, third")
			k.end(k.d)
			want := []string{"second, a little longer, second", "third, and so on, second, third"}
			if strings.Contains(line, "dup") {
				want = []string{want[0], want[0], want[1], want[1]}
			}
			k.wantsMessages(t, takeover, want...)
		}
	}
}

// A line that looks into messages acts on control frames too.
func TestControlContent(t *testing.T) {
	k := talk(t, decode.FromServer, "", `when op == ping and binary == [61] do drop`, `when op in {text, pong} and text in {b, c} do dup`, `do replace /x/y/`)
	k.say(k.d, k.sender.frame(true, 0, ws.OpPing, []byte("a")))
	k.say(k.d, k.sender.frame(true, 0, ws.OpPong, []byte("c")))
	k.text("b")
	k.text("x")
	k.wants(t, "pong. c | pong. c | text. b | text. b | text. y")
	if len(k.notes) > 0 {
		t.Errorf("notes %q", k.notes)
	}
	k = talk(t, decode.FromServer, "", `when op == ping do delay 1ms`, `when op == ping and binary == [61] do inject < text "no"`)
	k.say(k.d, k.sender.frame(true, 0, ws.OpPing, []byte("a")))
	k.wants(t, "ping. a")
	k = talk(t, decode.FromServer, "", `when text contains a do drop`)
	k.say(k.d, k.sender.frame(true, 0, ws.OpPing, []byte("a")))
	k.text("a")
	k.wants(t, "ping. a")
}

// A frame that is dropped from the middle of a held message is not sent.
func TestDropOfHeldFragment(t *testing.T) {
	k := talk(t, decode.FromServer, "", `when op == cont and not fin do drop`, `do replace /x/y/`)
	k.fragments("a", "b", "c")
	k.fragments("a", "x", "c")
	k.wants(t, "text a | cont. c | text. ayc")
}

// What is held keeps its place when other lines come in the middle of a message, and
// lines that come then do not change the rest of it.
func TestSetInMessage(t *testing.T) {
	lines := func(s ...string) []*Line { return changesOf(t, 1, s...).set.Load().lines }
	k := talk(t, decode.FromServer, "", `do replace /x/y/`)
	k.say(k.d, k.sender.frame(false, 0, ws.OpText, []byte("a")))
	k.g.changes.Set(nil)
	k.say(k.d, k.sender.frame(true, 0, ws.OpContinuation, []byte("x")))
	k.text("x")
	k.wants(t, "text a | cont. x | text. x")

	k.g.changes.Set(nil)
	k.say(k.d, k.sender.frame(false, 0, ws.OpText, []byte("a")))
	k.g.changes.Set(lines(`do replace /x/y/`))
	k.say(k.d, k.sender.frame(true, 0, ws.OpContinuation, []byte("x")))
	k.text("x")
	k.wants(t, "text a | cont. x | text. x | text a | cont. x | text. y")
}

// A rate ends with its line.
func TestSetRate(t *testing.T) {
	k := talk(t, decode.FromServer, "", `do rate 1KB/s`)
	k.text("a")
	k.g.changes.Set(nil)
	k.text("b")
	if n := len(k.fates); n != 1 {
		t.Errorf("fates %q, want one", k.fates)
	}
}

// What comes of a message behind a Close is not changed.
func TestCloseInHeldMessage(t *testing.T) {
	k := talk(t, decode.FromServer, "", `do replace /x/y/`)
	k.say(k.d, k.sender.frame(false, 0, ws.OpText, []byte("x")))
	k.say(k.d, k.sender.frame(true, 0, ws.OpClose, []byte("\x03\xe8")))
	k.say(k.d, k.sender.frame(true, 0, ws.OpContinuation, []byte("x")))
	k.wants(t, "text x | close. \x03\xe8 | cont. x")
}

// Nothing that was held is sent behind a Close of ours.
func TestHeldAtClose(t *testing.T) {
	k := talk(t, decode.FromServer, "", `do replace /x/y/`, `when op == ping do close 1012`)
	k.say(k.d, k.sender.frame(false, 0, ws.OpText, []byte("x")))
	k.say(k.d, k.sender.frame(true, 0, ws.OpPing, nil))
	k.say(k.d, k.sender.frame(true, 0, ws.OpContinuation, []byte("x")))
	k.text("more")
	k.end(k.d)
	k.wants(t, "ping.  | close. \x03\xf4")
}

// A message that can't be inflated is not sent in part.
func TestHeldCannotInflate(t *testing.T) {
	for _, line := range []string{`do replace /x/y/`, `when op == text do delay 1ms`} {
		k := talk(t, decode.FromServer, takeover, `when op == text once do drop`, line)
		k.text("one, one, one")
		b := k.message(ws.OpText, []byte("two, one, two, one"))
		b = append(b[:len(b)-3], 0xff, 0xff, 0xff)
		k.say(k.d, b)
		k.text("three")
		k.tick(0)
		k.wants(t, "close. \x03\xf3cannot inflate")
	}
}

// Flipping RSV1 of a compressed message leaves the window of its receiver as it was.
func TestFlipRSV1Skews(t *testing.T) {
	k := talk(t, decode.FromServer, takeover, `when op == text once do flip rsv1`)
	k.text("a message, a message")
	k.text("a message, a message")
	got, _ := k.received(k.d, takeover)
	if len(got) != 2 || got[1] != "a message, a message" {
		t.Errorf("got %q", got)
	}
}

// Lines ask for as much of a message as each needs, in any order.
func TestLook(t *testing.T) {
	for _, lines := range [][]string{{`do dup also`, `when message.len > 5 do inject < ping`}, {`when message.len > 5 do inject < ping also`, `do dup`}} {
		k := talk(t, decode.FromServer, takeover, append([]string{`when text == "nothing" do drop`}, lines...)...)
		k.text("a message")
		k.wantsMessages(t, takeover, "a message", "a message")
		k = talk(t, decode.FromServer, takeover, lines...)
		if k.s.Look.Keep < MaxHeld {
			t.Errorf("%q: keeps %d bytes", lines, k.s.Look.Keep)
		}
	}
}

// One edit of a line may have nothing to change.
func TestSomeEdits(t *testing.T) {
	k := talk(t, decode.FromServer, "", `do set $.b 1, replace /x/y/, replace /nowhere/z/`)
	k.text(`{"a":"x"}`)
	k.text(`{"b":"x"}`)
	k.text(`{"c":"z"}`)
	k.wants(t, `text. {"a":"y"} | text. {"b":1} | text. {"c":"z"}`)
}

// dup sends a fragmented message twice, not its fragments.
func TestDupFragments(t *testing.T) {
	for _, ext := range []string{"", takeover, noTakeover} {
		k := talk(t, decode.FromClient, ext, `do dup`)
		k.fragment = 4
		k.text("a message of some fragments")
		k.text("")
		k.wantsMessages(t, ext, "a message of some fragments", "a message of some fragments", "", "")
	}
}

// A line that acts when it is time does not spread the rate of one direction to the other.
func TestTimerLeavesRates(t *testing.T) {
	k := talk(t, decode.FromServer, "", `when from == client do rate 1KB/s`, `every 1s do inject < ping`)
	c := &sender{d: decode.FromClient, rand: k.rand}
	k.say(decode.FromClient, c.message(ws.OpText, []byte("a")))
	k.tick(2 * time.Second)
	k.fates = nil
	k.text("b")
	if len(k.fates) > 0 {
		t.Errorf("fates %q", k.fates)
	}
}

// A fragment whose message is held arms what its line does when it is time; without a
// condition the upgrade does, and no plain exchange.
func TestArm(t *testing.T) {
	k := talk(t, decode.FromServer, "", `do replace /x/y/`, `when op == text and not fin after 5s do inject < text "late"`)
	k.fragments("a", "b")
	k.tick(6 * time.Second)
	k.wants(t, "text a | cont. b | text. late")

	w := &wire{t: t, now: time.Unix(1e9, 0)}
	w.g = changesOf(t, 1, `every 1s do inject < ping`, `after 1s do reset`).newGate(1, w)
	w.g.dry = true
	w.s.Gate, w.s.Sink = w.gate, decode.SinkFunc(func(*decode.Event) {})
	w.s.Open(decode.Info{Conn: 1, Time: w.now})
	w.say(decode.FromClient, []byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"))
	w.say(decode.FromServer, []byte("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n"))
	w.tick(time.Minute)
	if len(w.got[decode.FromServer]) > 0 || w.reset != "" {
		t.Errorf("of an exchange: sent %q, reset by %q", w.got[decode.FromServer], w.reset)
	}
}

// All triggers of a line that acts when it is time have to agree, and need no more.
func TestTimesTogether(t *testing.T) {
	k := talk(t, decode.FromServer, "", `after 30s every 10s do inject < text "a"`)
	k.tick(29 * time.Second)
	k.wants(t, "")
	k.tick(2 * time.Second)
	k.wants(t, "text. a")
	k.tick(10 * time.Second)
	k.wants(t, "text. a | text. a")
}

// A frame that is longer than what is held is not held at all, and a slow rate delays a
// huge one for long rather than not at all.
func TestHugeFrames(t *testing.T) {
	k := talk(t, decode.FromServer, "", `do replace /x/y/`)
	begin := "\x81\x7f\x00\x00\x00\x00\x7f\xff\xff\xffxxx"
	k.say(k.d, []byte(begin))
	k.s.FlushAll(k.d, k.now)
	if got := string(k.got[k.d]); got != begin || len(k.notes) != 1 {
		t.Errorf("got %q, notes %q", got, k.notes)
	}

	k = talk(t, decode.FromServer, "", `do rate 1B/s`)
	k.say(k.d, append([]byte("\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"), bytes.Repeat([]byte("x"), decode.MaxPiece)...))
	if until := k.dec.Until; until.Before(k.now.Add(time.Hour)) {
		t.Errorf("it goes on %v later", until.Sub(k.now))
	}
}

// once and the notes on what can't be changed go together.
func TestUnreadableOnce(t *testing.T) {
	k := talk(t, decode.FromServer, noTakeover, `once do replace /a/b/`)
	k.text("a")
	k.say(k.d, k.sender.frame(true, 4, ws.OpText, []byte("\xff\xff\xff")))
	if len(k.notes) > 0 {
		t.Errorf("notes %q", k.notes)
	}
}

// What a timer tells behind the end of a session is not told.
func TestNoteBehindTheEnd(t *testing.T) {
	k := talk(t, decode.FromServer, "")
	closed := false
	k.s.Sink = decode.SinkFunc(func(ev *decode.Event) {
		if closed {
			t.Errorf("event %v behind the end", ev.Kind)
		}
		closed = ev.Kind == decode.KindClosed
	})
	k.s.Done(k.now)
	k.s.Changed(decode.FromServer, k.now, "a change", "too late")
	if !closed {
		t.Error("the session has no end")
	}
}
