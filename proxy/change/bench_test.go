package change

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// framesAlone are lines whose conditions name fields of frames alone, and that match
// nothing here.
var framesAlone = []string{`when op == ping do drop`, `when len == 12345 do split 3`, `when from == server and op == close do delay 1s also`}

// decider returns a function that has a gate decide on a message of size bytes, in a
// session without compression.
func decider(tb testing.TB, size int, lines ...string) (decide func()) {
	c := &Changes{}
	var parsed []*Line
	for _, s := range lines {
		l, err := ParseLine(s)
		if err != nil {
			tb.Fatal(err)
		}
		parsed = append(parsed, l)
	}
	c.Set(parsed)
	g := c.newGate(1, nil)
	g.dry = true
	s := &sender{d: decode.FromServer, rand: rand.New(rand.NewPCG(1, 2))}
	var d decode.Decoder
	var events []*decode.Event
	for f := range d.Frames(s.message(ws.OpBinary, bytes.Repeat([]byte("x"), size))) {
		events = append(events, &decode.Event{Kind: decode.KindFrame, Dir: decode.FromServer, Info: &decode.Info{Conn: 1}, Frame: f.Clone()})
	}
	return func() {
		for _, ev := range events {
			if dec := g.Decide(ev); dec.FX != decode.FXNone || len(dec.Notes) > 0 {
				tb.Fatal("something matches")
			}
		}
	}
}

// Nothing is allocated for a frame that no line is about.
func TestAllocatesNothing(t *testing.T) {
	for _, size := range []int{128, 1 << 20} {
		decide := decider(t, size, framesAlone...)
		decide()
		if n := testing.AllocsPerRun(100, decide); n > 0 {
			t.Errorf("%d bytes: %v allocations", size, n)
		}
	}
}

// BenchmarkDecide measures what a gate costs for one message, without a proxy.
func BenchmarkDecide(b *testing.B) {
	for _, lines := range [][]string{nil, framesAlone[:1], framesAlone} {
		name := "none"
		if len(lines) > 0 {
			name = lines[len(lines)-1]
		}
		b.Run(name, func(b *testing.B) {
			decide := decider(b, 128, lines...)
			b.ReportAllocs()
			for b.Loop() {
				decide()
			}
		})
	}
}
