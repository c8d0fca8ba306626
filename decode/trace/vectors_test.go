package trace

import (
	"bytes"
	"slices"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/vectors"
)

const vectorFiles = "../../testdata/vectors/*.txt"

// TestVectors records every vector whole, byte by byte and cut off at every
// byte, and checks that its trace plays alike and has its bytes.
func TestVectors(t *testing.T) {
	for _, v := range vectors.Load(t, vectorFiles) {
		if v.Key != "" {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			checkVector(t, v, v.Steps)
			var single []vectors.Step
			for i, s := range v.Steps {
				if len(s.Bytes) > 300 {
					continue
				}
				for at := range s.Bytes {
					single = append(single, vectors.Step{Side: s.Side, Bytes: s.Bytes[at : at+1]})
					if i+at == 0 {
						continue // no bytes: nothing tells that there was a handshake
					}
					if v.Heads && i < 2 && at%9 != 0 {
						continue // heads are long, and much alike
					}
					if len(s.Bytes) > 100 && at > 20 && at%5 != 0 {
						continue // in the payload
					}
					cut := slices.Concat(v.Steps[:i], []vectors.Step{{Side: s.Side, Bytes: s.Bytes[:at]}})
					checkVector(t, v, cut)
				}
			}
			if len(single) > 0 {
				checkVector(t, v, single)
			}
			if t.Failed() {
				t.FailNow()
			}
		})
	}
}

func checkVector(t *testing.T, v vectors.Vector, steps []vectors.Step) {
	t.Helper()
	rec := newTeller()
	s := decode.Session{Sink: rec}
	s.Look = thorough()
	s.Open(decode.Info{Conn: 1, Time: start, Ext: v.Ext})
	if !v.Heads {
		s.Upgraded()
	}
	now := start
	var want [2][]byte
	for _, step := range steps {
		now = now.Add(time.Millisecond)
		s.Data(decode.Dir(step.Side), now, step.Bytes)
		want[step.Side] = append(want[step.Side], step.Bytes...)
	}
	last := decode.Dir(steps[len(steps)-1].Side) // its end may bring the first record
	s.End(last, now, decode.EndFIN, "")
	s.End(last.Peer(), now, decode.EndFIN, "")
	if !replay(t, rec) {
		t.Fatalf("trace\n%.3000s", rec.trace.Bytes())
	}
	for d, want := range want {
		got, err := Bytes(NewReader(bytes.NewReader(rec.trace.Bytes())), 1, decode.Dir(d))
		if err != nil || !bytes.Equal(got, want) {
			t.Fatalf("bytes of the %s: got %q, %v, want %q, trace\n%.3000s", decode.Dir(d), got, err, want, rec.trace.Bytes())
		}
	}
}
