package decode

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
)

const vectorFiles = "../testdata/vectors/*.txt"

// TestVectors feeds every vector whole, byte by byte, at every split, and cut
// off at every prefix.
func TestVectors(t *testing.T) {
	for _, v := range vectors.Load(t, vectorFiles) {
		if len(v.Steps) == 0 {
			continue
		}
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			checkVector(t, v, v.Steps, "whole")
			checkVector(t, v, byteByByte(v.Steps), "byte by byte")
			long := slices.ContainsFunc(v.Messages, func(m vectors.Message) bool { return m.Length >= 1<<20 })
			for i, s := range v.Steps {
				for at := range cuts(len(s.Bytes), long) {
					split := slices.Concat(v.Steps[:i], []vectors.Step{{Side: s.Side, Bytes: s.Bytes[:at], At: s.At}, {Side: s.Side, Bytes: s.Bytes[at:], At: s.At}}, v.Steps[i+1:])
					checkVector(t, v, split, fmt.Sprintf("step %d split at %d", i, at))
					cut := slices.Concat(v.Steps[:i], []vectors.Step{{Side: s.Side, Bytes: s.Bytes[:at], At: s.At}})
					checkCut(t, v, cut, fmt.Sprintf("cut off at %d of step %d", at, i))
				}
			}
		})
	}
}

// cuts yields the places where n bytes are split: everywhere, but for long
// vectors only near their ends, which have the headers, and here and there
// between. What takes long, because it is or becomes very long, is split less.
func cuts(n int, long bool) func(yield func(int) bool) {
	return func(yield func(int) bool) {
		near := 40
		switch {
		case long:
			near = 4
		case n > 10_000:
			near = 16
		}
		for at := range n {
			if end := min(at, n-at); n > 500 && end > near && (at%max(61, n/20) != 0 || n > 1<<20) {
				continue
			}
			if !yield(at) {
				return
			}
		}
	}
}

func byteByByte(steps []vectors.Step) []vectors.Step {
	var single []vectors.Step
	for _, s := range steps {
		if s.End != "" {
			single = append(single, s)
		}
		n := 1
		if len(s.Bytes) > 1<<20 {
			n = 1000 // takes too long otherwise
		}
		for b := range slices.Chunk(s.Bytes, n) {
			single = append(single, vectors.Step{Side: s.Side, Bytes: b, At: s.At})
		}
	}
	return single
}

// play gives steps to a Session and ends it. It returns all events, and how
// many of them there were before an end that is not in the steps.
func play(v vectors.Vector, steps []vectors.Step) (r record, before int) {
	return playWith(&Session{Look: Look{Messages: true, Advice: v.Advice, Seen: new(Seen)}}, v, steps)
}

// playWith is play with a session of the caller's.
func playWith(s *Session, v vectors.Vector, steps []vectors.Step) (r record, before int) {
	s.Sink = &r
	info := Info{Conn: 1, Time: start, Ext: v.Ext, URL: v.URL}
	if v.SNI != "" {
		info.ClientTLS = &TLS{SNI: strings.Trim(v.SNI, "-")}
	}
	s.Open(info)
	if !v.Heads {
		s.Upgraded()
	}
	now, ended := start, false
	for _, step := range steps {
		now = start.Add(step.At)
		if step.End == "" {
			s.Data(Dir(step.Side), now, step.Bytes)
			continue
		}
		how, ok := ParseEnd(step.End)
		if !ok {
			panic("unknown end " + step.End)
		}
		s.End(Dir(step.Side), now, how, "")
		ended = true
	}
	before = len(r)
	s.End(FromClient, now, EndFIN, "")
	s.End(FromServer, now, EndFIN, "")
	if ended {
		before = len(r)
	}
	return r, before
}

// checkVector checks that steps, which are all of v, give what v wants.
func checkVector(t *testing.T, v vectors.Vector, steps []vectors.Step, how string) {
	t.Helper()
	r, before := play(v, steps)
	checkWire(t, r, steps, how)
	if got := rulesOf(r[:before]); !slices.Equal(got, v.Rules) {
		t.Errorf("%s: got violations %v, want %v", how, got, v.Rules)
	}
	checkMessages(t, v, r, how)
	if v.AnyFrames {
		return
	}
	for d := range v.Junk {
		if got := r[:before].junk(Dir(d)); !bytes.Equal(got, v.Junk[d]) {
			t.Errorf("%s: got junk % x from the %s, want % x", how, got, Dir(d), v.Junk[d])
		}
		want := framesOf(v, Dir(d))
		got := r[:before].frames(Dir(d))
		if len(got) != len(want) && !(len(want) > 0 && isCut(want[len(want)-1])) {
			t.Errorf("%s: got %d frames from the %s, want %d", how, len(got), Dir(d), len(want))
			continue
		}
		for i, f := range r.frames(Dir(d)) {
			checkFrame(t, f, want[i], len(want[i].Payload), how)
		}
		checkDecoder(t, Dir(d), steps, v, how)
	}
}

// checkCut checks that steps, which are a beginning of v, give no frame that
// is not in v, and that nothing of them is lost.
func checkCut(t *testing.T, v vectors.Vector, steps []vectors.Step, how string) {
	t.Helper()
	r, before := play(v, steps)
	checkWire(t, r, steps, how)
	timed := slices.ContainsFunc(v.Steps, func(s vectors.Step) bool { return s.At > 0 || s.End != "" })
	if got := rulesOf(r[:before]); !timed && (len(got) > len(v.Rules) || !slices.Equal(got, v.Rules[:len(got)])) {
		t.Errorf("%s: got violations %v, want the first of %v", how, got, v.Rules)
	}
	if v.AnyFrames {
		return
	}
	for d := range v.Junk {
		want := framesOf(v, Dir(d))
		got := r.frames(Dir(d))
		if len(got) > len(want) {
			t.Errorf("%s: got %d frames from the %s, want at most %d", how, len(got), Dir(d), len(want))
			continue
		}
		for i, f := range got {
			whole := i < len(got)-1 || f.Complete
			if n := len(want[i].Payload); whole {
				checkFrame(t, f, want[i], n, how)
			} else {
				checkFrame(t, f, want[i], min(f.Len(), n), how)
			}
		}
	}
}

// checkWire checks that the bytes in steps can be rebuilt from r.
func checkWire(t *testing.T, r record, steps []vectors.Step, how string) {
	t.Helper()
	for _, d := range []Dir{FromClient, FromServer} {
		if got, want := r.wire(d), sent(steps, d); !bytes.Equal(got, want) {
			t.Errorf("%s: rebuilt %d bytes of the %s %.60q, want %d bytes %.60q", how, len(got), d, got, len(want), want)
		}
	}
}

// checkFrame compares f, of which n bytes of payload came, with want.
func checkFrame(t *testing.T, f *Frame, want vectors.Frame, n int, how string) {
	t.Helper()
	if OpName(f.OpCode) != want.Op || f.Flags() != want.Flags || f.Length != want.Length ||
		f.Masked != want.Masked || f.Mask != want.Key {
		t.Errorf("%s: got frame %s %08b %d masked %t %x, want %s %08b %d masked %t %x", how,
			OpName(f.OpCode), f.Flags(), f.Length, f.Masked, f.Mask, want.Op, want.Flags, want.Length, want.Masked, want.Key)
	}
	if f.Complete != (int64(f.Len()) == want.Length) {
		t.Errorf("%s: got complete %t with %d of %d bytes", how, f.Complete, f.Len(), want.Length)
	}
	if got := f.AppendPayload(nil, -1); !bytes.Equal(got, want.Payload[:n]) {
		t.Errorf("%s: got payload %.60q, want %.60q", how, got, want.Payload[:n])
	}
}

// checkMessages compares the messages in r with those of v, if it has any, and
// checks that each came with its final frame.
func checkMessages(t *testing.T, v vectors.Vector, r record, how string) {
	t.Helper()
	var got []*Message
	for i, ev := range r {
		if ev.Kind != KindMessage {
			continue
		}
		got = append(got, ev.Message)
		if f := r[i-1]; !ev.Message.Unfinished && (f.Kind != KindFrame || !f.Frame.Fin || !reflect.DeepEqual(f.Message, ev.Message)) {
			t.Errorf("%s: message %d of the %s does not stand behind its final frame", how, ev.Message.N, ev.Dir)
		}
	}
	if v.Messages == nil {
		return
	}
	if len(got) != len(v.Messages) {
		t.Errorf("%s: got %d messages, want %d", how, len(got), len(v.Messages))
		return
	}
	for i, want := range v.Messages {
		m := got[i]
		if m.Dir != Dir(want.Side) || OpName(m.Op) != want.Op || m.Len != want.Length || !bytes.HasPrefix(m.Data, want.Data) ||
			len(want.Data) == 0 && len(m.Data) > 0 {
			t.Errorf("%s: got message %s %s %d %.60q, want %s %s %d %.60q", how,
				m.Dir, OpName(m.Op), m.Len, m.Data, Dir(want.Side), want.Op, want.Length, want.Data)
		}
	}
}

// checkDecoder feeds what d sent in steps to a Decoder.
func checkDecoder(t *testing.T, d Dir, steps []vectors.Step, v vectors.Vector, how string) {
	t.Helper()
	if v.Heads {
		return
	}
	dec := Decoder{Dir: d}
	got := decodeAll(&dec, chunks(steps, d))
	want := framesOf(v, d)
	if len(got) != len(want) {
		t.Errorf("%s: decoder got %d frames from the %s, want %d", how, len(got), d, len(want))
		return
	}
	var n, offset int64
	for i, f := range got {
		checkFrame(t, f, want[i], len(want[i].Payload), how)
		if f.Dir != d || f.N != n || f.Offset != offset {
			t.Errorf("%s: decoder got frame %d of the %s at %d, want frame %d of the %s at %d", how, f.N, f.Dir, f.Offset, n, d, offset)
		}
		n++
		offset += int64(len(f.Head) + f.Len())
	}
	head, rest, err := dec.Lost()
	if (err != nil) != (len(v.Junk[d]) > 0) {
		t.Errorf("%s: decoder lost framing with %v, junk is % x", how, err, v.Junk[d])
	}
	if whole := append(slices.Clone(head), rest...); !bytes.HasPrefix(v.Junk[d], whole) {
		t.Errorf("%s: decoder lost framing at % x, want the beginning of % x", how, whole, v.Junk[d])
	}
}

// decodeAll gives chunks to dec and returns the frames, pieces put together.
func decodeAll(dec *Decoder, chunks [][]byte) []*Frame {
	var fs []*Frame
	for _, b := range chunks {
		for f := range dec.Frames(b) {
			if !f.More {
				fs = append(fs, f.Clone())
				continue
			}
			whole := fs[len(fs)-1]
			whole.payload = append(whole.payload, f.payload...)
			whole.Complete = f.Complete
		}
	}
	return fs
}

func chunks(steps []vectors.Step, d Dir) [][]byte {
	var bs [][]byte
	for _, s := range steps {
		if Dir(s.Side) == d {
			bs = append(bs, s.Bytes)
		}
	}
	return bs
}

func sent(steps []vectors.Step, d Dir) []byte { return slices.Concat(chunks(steps, d)...) }

func framesOf(v vectors.Vector, d Dir) []vectors.Frame {
	return slices.DeleteFunc(slices.Clone(v.Frames), func(f vectors.Frame) bool { return Dir(f.Side) != d })
}

// isCut reports whether the vector itself ends inside of f.
func isCut(f vectors.Frame) bool { return int64(len(f.Payload)) < f.Length }

func rulesOf(r record) []vectors.Rule {
	var rs []vectors.Rule
	for _, ev := range r {
		for _, v := range ev.Violations {
			rs = append(rs, vectors.Rule{From: vectors.Side(v.From), ID: string(v.ID)})
		}
	}
	return rs
}

// acrossSessions are the rules that compare sessions. TestSeen breaks them.
var acrossSessions = map[RuleID]bool{"req-key-reused": true, "reconnect-no-backoff": true, "mask-key-seed-fixed": true}

// TestRulesHaveVectors checks that every rule is broken by a vector and nearly
// broken by another, and that vectors name no rule that there is not.
func TestRulesHaveVectors(t *testing.T) {
	broken := map[string]bool{}
	near := map[string]bool{}
	for _, v := range vectors.Load(t, vectorFiles) {
		for _, r := range v.Rules {
			broken[r.ID] = true
		}
		for _, id := range v.Near {
			near[id] = true
			if slices.ContainsFunc(v.Rules, func(r vectors.Rule) bool { return r.ID == id }) {
				t.Errorf("vector %q breaks %s and nearly breaks it", v.Name, id)
			}
		}
	}
	for _, r := range Rules {
		if acrossSessions[r.ID] {
			continue
		}
		if !broken[string(r.ID)] {
			t.Errorf("no vector breaks %s", r.ID)
		}
		if !near[string(r.ID)] {
			t.Errorf("no vector nearly breaks %s", r.ID)
		}
		delete(broken, string(r.ID))
		delete(near, string(r.ID))
	}
	for id := range broken {
		t.Errorf("a vector breaks %s, which is no rule", id)
	}
	for id := range near {
		t.Errorf("a vector nearly breaks %s, which is no rule", id)
	}
}
