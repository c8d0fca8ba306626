package change

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// rounds returns n, or many more where a test is to soak.
func rounds(n uint64) uint64 {
	if os.Getenv("SOAK") != "" {
		n *= 20
	}
	return n
}

// A turn is what a side says before the other one has its turn: whole frames.
type turn struct {
	d decode.Dir
	b []byte
}

var extensions = []string{"", takeover, noTakeover}

// randomTraffic returns what two sides say to each other, with messages that are
// fragmented, compressed, empty and long, and control frames between fragments.
func randomTraffic(r *rand.Rand, ext string) (turns []turn) {
	var sides [2]*sender
	for d := range sides {
		sides[d] = &sender{d: decode.Dir(d), deflate: ext != "", takeover: ext == takeover, rand: r}
	}
	for range 4 + r.IntN(20) {
		s := sides[r.IntN(2)]
		var b []byte
		for range 1 + r.IntN(3) {
			switch r.IntN(8) {
			case 0:
				b = append(b, s.frame(true, 0, []ws.OpCode{ws.OpPing, ws.OpPong}[r.IntN(2)], bytes.Repeat([]byte("p"), r.IntN(126)))...)
			default:
				s.fragment = []int{0, 1 + r.IntN(50), 1000 + r.IntN(1000)}[r.IntN(3)]
				size := r.IntN(1 << r.IntN(11))
				if r.IntN(20) == 0 {
					s.fragment, size = 70_000, r.IntN(200_000)
				}
				content := []byte(`{"n":1,"of":"`)
				for len(content) < size {
					content = fmt.Appendf(content, "message %d äö ", r.IntN(100))
				}
				content = append(content, `"}`...)
				if size == 0 {
					content = nil
				}
				op := ws.OpText
				if r.IntN(4) == 0 {
					op = ws.OpBinary
				}
				b = append(b, s.message(op, content)...)
			}
		}
		turns = append(turns, turn{s.d, b})
	}
	return turns
}

// sayAll plays turns, in chunks as r says, and ends both directions.
func (w *wire) sayAll(turns []turn, r *rand.Rand) {
	most := 1 << r.IntN(18)
	for _, t := range turns {
		w.now = w.now.Add(time.Second)
		w.g.tick(w.now) // as a clock would
		for b := t.b; len(b) > 0; {
			n := min(len(b), 1+r.IntN(most))
			w.s.Data(t.d, w.now, b[:n:n])
			b = b[n:]
		}
	}
	for d := range decode.Dir(2) {
		w.end(d)
	}
}

func choose[T any](r *rand.Rand, of []T) T { return of[r.IntN(len(of))] }

// randomLine returns a line; one with kept keeps the protocol.
func randomLine(r *rand.Rand, kept bool) string {
	conditions := []string{"", "when op == text ", "when op in {text, bin} ", "when text ", `when text contains "message 7" `, "when json ", "when len > 100 ", "when message.len > 200 ",
		"when from == client ", "when from == server and op == bin ", "when op in {ping, pong} ", "when message > 3 ", `when binary contains [6d 65] `, "when not fin ", "when op in {text, cont} "}
	triggers := []string{"", "", "", "every 2 ", "every 3 ", "after 2 ", "once ", "p=0.5 ", "every 2s ", "after 5s ", "p=0.3 once "}
	keeps := []string{"delay 1ms", "delay 5ms±3ms", "stall 1ms", "dup", "split 1000", "split 7", `replace /message/note/`, `replace /(\d)\d/$1/`, "set $.n 7", `text "all"`,
		"inject > ping", `inject < text "more"`, `inject > bin [00 01]`, "rate 10KB/s"}
	breaks := []string{"flip fin", "flip rsv1", "flip rsv3", "flip mask", "len16", "len64", "truncate 3", "reset", `close 1012 "why"`, "drop", "inject < close"}
	var actions []string
	for range 1 + r.IntN(2) {
		a := choose(r, keeps)
		if !kept && r.IntN(2) == 0 {
			a = choose(r, breaks)
		}
		actions = append(actions, a)
	}
	also := ""
	if r.IntN(3) == 0 {
		also = " also"
	}
	if kept && r.IntN(6) == 0 { // a drop keeps the protocol if it is of whole messages
		return choose(r, []string{"when op in {text, bin} ", "when text ", "when message.len > 100 "}) + choose(r, triggers) + "do drop" + also
	}
	return choose(r, conditions) + choose(r, triggers) + "do " + strings.Join(actions, ", ") + also
}

// Lines that keep the protocol do so whatever passes, and do the same with the same seed,
// however it is cut into pieces. So do others, but for keeping it.
func TestRandom(t *testing.T) {
	for n := range rounds(60) {
		r := rand.New(rand.NewPCG(n, 17))
		ext := choose(r, extensions)
		kept := n%4 != 0
		var lines []string
		for range 1 + r.IntN(4) {
			lines = append(lines, randomLine(r, kept))
		}
		turns := randomTraffic(r, ext)
		play := func(cut uint64) *wire {
			w := newWireOf(t, changesOf(t, n, lines...), 3, ext)
			w.sayAll(turns, rand.New(rand.NewPCG(n, cut)))
			return w
		}
		a, b := play(1), play(2)
		for d := range decode.Dir(2) {
			if !bytes.Equal(a.got[d], b.got[d]) {
				at := 0
				for at < min(len(a.got[d]), len(b.got[d])) && a.got[d][at] == b.got[d][at] {
					at++
				}
				t.Errorf("%d: %q, %q: what the %s sends differs from byte %d of %d and %d on", n, lines, ext, d, at, len(a.got[d]), len(b.got[d]))
			}
			_, broken := a.received(d, ext)
			broken = slices.DeleteFunc(broken, func(rule string) bool { return rule == "frag-storm" }) // so they shall
			if kept && len(broken) > 0 {
				t.Errorf("%d: %q, %q: what the %s sends breaks %v", n, lines, ext, d, broken)
			}
		}
		if t.Failed() {
			t.Fatalf("notes %q", a.notes)
		}
	}
}

// Lines that never match change neither bytes nor events. Those about whole messages
// change no bytes.
func TestRandomNoMatch(t *testing.T) {
	frames := []string{`when op == rsv3 do drop`, `when len == 123456789 do split 3, delay 1s`, `when frame == 99999 do inject < ping`, `when op == ping and len > 125 do close 1000`,
		`when path == /elsewhere every 2 do dup also`, `when message == 9999 do reset`, `when op == close after 3 do flip fin`, `when status == 404 do rate 1B/s`}
	whole := []string{`when text contains "nowhere" do drop`, `do replace /nowhere/here/`, `do set $.no.where 1`, `when json.no == 1 do close 1000`, `when message.len == 99999 do dup`}
	for n := range rounds(50) {
		r := rand.New(rand.NewPCG(n, 18))
		ext := choose(r, extensions)
		lines := []string{choose(r, frames), choose(r, frames)}
		if n%2 == 0 {
			lines = append(lines, choose(r, whole))
		}
		turns := randomTraffic(r, ext)
		play := func(lines ...string) (w *wire, told []string) {
			w = closedWire(t, changesOf(t, n, lines...), 3)
			w.s.Look.Messages = true
			w.s.Sink = decode.SinkFunc(func(ev *decode.Event) { told = append(told, tell(ev)) })
			w.open(ext)
			w.sayAll(turns, rand.New(rand.NewPCG(n, 1)))
			return w, told
		}
		w, told := play(lines...)
		var sent [2][]byte
		for _, turn := range turns {
			sent[turn.d] = append(sent[turn.d], turn.b...)
		}
		for d := range sent {
			want, got := sent[d], w.got[d]
			if n%2 == 0 { // a control frame overtakes the fragments that are held
				want, got = controlFirst(want), controlFirst(got)
			}
			if !bytes.Equal(got, want) {
				t.Fatalf("%d: %q, %q: %d bytes became %d", n, lines, ext, len(sent[d]), len(w.got[d]))
			}
		}
		_, without := play()
		for i := range told {
			if n%2 != 0 && (len(told) != len(without) || told[i] != without[i]) {
				t.Fatalf("%d: %q, %q: event %d of %d and %d is\n%s\n%s", n, lines, ext, i, len(told), len(without), told[i], without[i])
			}
		}
	}
}

// controlFirst returns the frames of b, control frames first.
func controlFirst(b []byte) []byte {
	var d decode.Decoder
	var control, data []byte
	for f := range d.Frames(b) {
		if f.Control() {
			control = f.AppendWire(control)
		} else {
			data = f.AppendWire(data)
		}
	}
	return append(control, data...)
}

// tell returns what an event says.
func tell(ev *decode.Event) string {
	s := fmt.Sprint(ev.Kind, ev.Dir, ev.Conn, ev.Time.UnixNano(), ev.Text, ev.Part, ev.Fate, ev.Out, ev.RTT, len(ev.Violations), string(ev.Data))
	if f := ev.Frame; f != nil {
		s += fmt.Sprintf("%v %d %d %x", f.Header, f.N, f.At, f.AppendWire(nil))
	}
	if m := ev.Message; m != nil {
		s += fmt.Sprint(m.N, m.Len, m.Wire, m.Frames, string(m.Data))
	}
	return s
}
