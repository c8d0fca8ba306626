package trace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

var _ decode.Source = (*Source)(nil)

// TestSourcePlace checks that events say where they were read.
func TestSourcePlace(t *testing.T) {
	const trace = "\ufeff" + `{"wstrace":1}
{"k":"note","text":"before"}
{"k":"open","c":1}
# a comment
{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[]}
{"k":"end","d":"<","how":"fin"}
{"k":"done","sent":0,"got":0}
{"k":"open","c":2}
{"k":"frame","d":"<","op":"text","text":"a"}
{"k":"frame","d":"<","op":"text","text":"b","leg":"out"}
`
	lines := strings.SplitAfter(trace, "\n")
	var got []string
	if err := playAll(strings.NewReader(trace), decode.SinkFunc(func(ev *decode.Event) {
		offset := len(strings.Join(lines[:ev.Line-1], ""))
		if int64(offset) != ev.Offset {
			t.Errorf("line %d: got offset %d, want %d", ev.Line, ev.Offset, offset)
		}
		got = append(got, fmt.Sprintf("%d %d", ev.Line, ev.Kind))
	}), decode.Look{}); err != nil {
		t.Fatal(err)
	}
	same(t, "event", got, []string{"2 8", "3 0", "5 1", "6 9", "7 10", "8 0", "9 3", "10 3"})
}

func TestSourceErrors(t *testing.T) {
	const header = `{"wstrace":1}` + "\n"
	for _, test := range []struct {
		trace string
		line  int
	}{
		{header + "nonsense\n", 2},
		{header + `{"k":"end","c":1}` + "\n", 2},
		{header + "\n" + `{"k":"op`, 3},
	} {
		src := Source{R: strings.NewReader(test.trace)}
		err := src.Play(t.Context(), decode.SinkFunc(func(*decode.Event) {}), decode.Look{})
		var at *decode.SourceError
		if !errors.As(err, &at) || at.Line != test.line || at.Offset != int64(strings.LastIndex(strings.TrimSuffix(test.trace, "\n"), "\n")+1) {
			t.Errorf("%q: got %#v, want an error of line %d", test.trace, err, test.line)
		}
		if cut := errors.Is(err, decode.ErrCut); cut != !strings.HasSuffix(test.trace, "\n") {
			t.Errorf("%q: got %v", test.trace, err)
		}
	}
}

// TestSourceAfter numbers the sessions of two files.
func TestSourceAfter(t *testing.T) {
	var got []int64
	sink := decode.SinkFunc(func(ev *decode.Event) { got = append(got, ev.Conn) })
	last := int64(0)
	for _, trace := range []string{`{"wstrace":1}` + "\n" + `{"k":"open","c":3}` + "\n", "", `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n"} {
		src := Source{R: strings.NewReader(trace), After: last}
		if err := src.Play(t.Context(), sink, decode.Look{}); err != nil {
			t.Fatal(err)
		}
		last = src.Last()
	}
	if fmt.Sprint(got) != "[3 4]" || last != 4 {
		t.Errorf("got sessions %v, the last %d, want 3 and 4", got, last)
	}
}

// TestSourceEnds ends the context between two records.
func TestSourceEnds(t *testing.T) {
	reason := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	n := 0
	src := Source{R: strings.NewReader(example)}
	err := src.Play(ctx, decode.SinkFunc(func(*decode.Event) {
		if n++; n == 3 {
			cancel(reason)
		}
	}), decode.Look{})
	if err != reason || n != 3 {
		t.Errorf("got %v after %d events, want %v after 3", err, n, reason)
	}
}
