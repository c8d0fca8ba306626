package trace

import (
	"bytes"
	"errors"
	"reflect"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// FuzzTrace checks that reading a line and writing it again is the identity,
// and that what any bytes, cut anywhere, become in a session is in its trace.
func FuzzTrace(f *testing.F) {
	for line := range strings.Lines(example) {
		f.Add([]byte(line), uint64(0))
	}
	for _, shape := range shapes {
		if len(shape) < 1000 {
			f.Add([]byte(shape), uint64(3))
		}
	}
	f.Add([]byte(`{"k":"x","t":-1e-9,"c":9,"é\n":"\ud83d\ude00","z":[{"a":1e400}]}`), uint64(0))
	f.Add([]byte(`{"k":"violation","conn":1,"frame":3,"text":"\u2028\u0080"}`), uint64(0))
	f.Add([]byte(upgrade()+frame(0x81, 7, "Hello")), uint64(4))
	f.Add([]byte(accept()+frame(0x81, 0, strings.Repeat("é", 200))), uint64(1<<60|5))
	f.Fuzz(func(t *testing.T, b []byte, cuts uint64) {
		checkLine(t, b)
		chunk := func() int { // from 1 to 16 bytes, or the rest
			cuts = cuts<<5 | cuts>>59
			if cuts&16 != 0 {
				return len(b)
			}
			return int(cuts&15) + 1
		}
		if len(b) > 0 {
			checkWire(t, client, b, chunk)
			checkWire(t, server, b, chunk)
		}
		checkExchange(t, b, chunk)
	})
}

func checkLine(t *testing.T, line []byte) {
	t.Helper()
	r, err := Parse(line)
	if err != nil {
		return
	}
	out := r.Append(nil)
	again, err := Parse(out)
	if err != nil {
		t.Fatalf("%q was written as %q: %v", line, out, err)
	}
	if !reflect.DeepEqual(r, again) {
		t.Errorf("%q was read as\n%+v\nwritten as %q, and read as\n%+v", line, r, out, again)
	}
	if bytes.Count(out, []byte("\n")) != 1 {
		t.Errorf("%q was written as %q", line, out)
	}
}

// checkExchange lets both sides of a session without a handshake send b, one
// after the other, and checks that its trace plays alike.
func checkExchange(t *testing.T, b []byte, chunk func() int) {
	t.Helper()
	rec := newTeller()
	s := decode.Session{Sink: rec}
	s.Look = thorough()
	s.Open(decode.Info{Conn: 1, Time: start})
	for d := client; d <= server; d++ {
		for rest := b; len(rest) > 0; {
			n := min(chunk(), len(rest))
			s.Data(d, start, rest[:n])
			rest = rest[n:]
		}
		s.End(d, start, decode.EndFIN, "")
	}
	s.Done(start)
	replay(t, rec)
}

// FuzzFormat checks that the canonical form of a trace is one.
func FuzzFormat(f *testing.F) {
	f.Add([]byte(example))
	_, blocks := formatMD(f)
	for _, b := range blocks {
		f.Add([]byte("{\"wstrace\":1}\n" + b.text))
	}
	f.Add([]byte("\n \n# x\r\n{\"k\":\"x\", \"a\" : 1}\n\ufeff"))
	f.Add([]byte(`{"fin":true,"k":"frame","op":"text","d":">","hex":"61 6263"}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var once, twice bytes.Buffer
		if Format(&once, bytes.NewReader(b)) != nil {
			return
		}
		if err := Format(&twice, bytes.NewReader(once.Bytes())); err != nil || !bytes.Equal(once.Bytes(), twice.Bytes()) {
			t.Errorf("%q became %q, then %v, %q", b, once.Bytes(), err, twice.Bytes())
		}
		src := Source{R: bytes.NewReader(b), Bad: func(error) {}}
		if err := src.Play(t.Context(), decode.SinkFunc(func(*decode.Event) {}), decode.Look{}); err != nil && !errors.Is(err, ErrCut) {
			t.Errorf("play %q: %v", b, err)
		}
		next := Source{R: bytes.NewReader(b), Bad: src.Bad, Before: &src, After: src.Last()}
		if err := next.Play(t.Context(), decode.SinkFunc(func(*decode.Event) {}), thorough()); err != nil && !errors.Is(err, ErrCut) {
			t.Errorf("play %q again: %v", b, err)
		}
	})
}
