package change

import (
	"bytes"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// FuzzGate plays traffic through a gate: each run of bytes begins with one that says who
// sends it, and how long it is. Whatever it is nothing panics, what is held is bounded, and
// if no line acts every byte goes on.
func FuzzGate(f *testing.F) {
	s := &sender{d: decode.FromServer, rand: rand.New(rand.NewPCG(1, 2))}
	run := func(d byte, b []byte) (all []byte) {
		for len(b) > 0 {
			n := min(len(b), 60)
			all = append(append(all, d<<7|byte(n)), b[:n]...)
			b = b[n:]
		}
		return all
	}
	text := run(1, append(s.message(1, []byte(`{"a":"x"}`)), s.frame(true, 0, 9, []byte("p"))...))
	s.fragment = 3
	parts := run(1, s.message(1, []byte(`{"a":"x"}`)))
	s.deflate, s.takeover = true, true
	packed := run(1, append(s.message(1, []byte(`{"a":"x"}`)), s.message(1, []byte(`{"a":"x"}`))...))
	for _, line := range keeping {
		f.Add(line.lines, byte(1), bytes.Join([][]byte{text, parts, packed, text}, nil))
	}
	for _, fault := range Faults {
		f.Add(strings.Join(fault.Lines, "\n"), byte(0), bytes.Join([][]byte{text, parts}, nil))
	}
	f.Add("do replace /x/y/\nwhen op == ping do close 1000", byte(0), bytes.Join([][]byte{parts[:5], text, parts}, nil))
	f.Add("do len64, truncate 1", byte(0), run(0, []byte("\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01junk")))
	f.Fuzz(func(t *testing.T, text string, ext byte, traffic []byte) {
		lines, err := Parse(strings.NewReader(text))
		if err != nil || len(lines) > 20 {
			return
		}
		if strings.Contains(text, "split") && len(traffic) > 1<<16 {
			return // slow, and no more than that
		}
		c := New(1, lines)
		w := newWireOf(t, c, 1, extensions[int(ext)%len(extensions)])
		var sent [2][]byte
		for len(traffic) > 0 {
			d, n := decode.Dir(traffic[0]>>7), min(int(traffic[0]&0x7f), len(traffic)-1)
			b := traffic[1 : 1+n]
			traffic = traffic[1+n:]
			if n == 0 {
				w.tick(time.Second)
				continue
			}
			w.say(d, b)
			sent[d] = append(sent[d], b...)
			if h := &w.g.dirs[d].held; len(h.raw)+len(h.content) > 2*MaxHeld+decode.MaxPiece || len(h.frames) > MaxHeldFrames {
				t.Fatalf("%d bytes and %d frames are held", len(h.raw)+len(h.content), len(h.frames))
			}
		}
		for d := range decode.Dir(2) {
			w.end(d)
		}
		for _, a := range c.Acts() {
			if a.N > 0 {
				return
			}
		}
		for d, got := range w.got {
			// The beginning of a header is told by nothing.
			want := controlFirst(sent[d])
			if got := controlFirst(got); !bytes.Equal(got, want) && !w.junk[d] {
				t.Errorf("nothing acts: the %s sent %q, the other side got %q", decode.Dir(d), want, got)
			}
		}
	})
}
