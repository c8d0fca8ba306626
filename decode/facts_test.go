package decode

import (
	"reflect"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
)

// TestFactsWithoutJudge checks that the facts do not depend on the rules:
// without a judge every event is the same, but for violations and their counts.
func TestFactsWithoutJudge(t *testing.T) {
	for _, v := range vectors.Load(t, vectorFiles) {
		for _, advice := range []bool{false, true} {
			look := Look{Messages: true, Advice: advice, Seen: new(Seen)}
			facts := look
			facts.FactsOnly = true
			judged, _ := playWith(&Session{Look: look}, v, v.Steps)
			plain, _ := playWith(&Session{Look: facts}, v, v.Steps)
			want := withoutViolations(judged)
			if len(plain) != len(want) {
				t.Errorf("%s: got %d events without a judge, want %d", v.Name, len(plain), len(want))
				continue
			}
			for i, ev := range plain {
				if !reflect.DeepEqual(ev, want[i]) {
					t.Errorf("%s: event %d without a judge: got %s, want %s", v.Name, i, line(ev), line(want[i]))
				}
			}
		}
	}
}

// withoutViolations takes out of r what a judge has added.
func withoutViolations(r record) record {
	var out record
	for _, ev := range r {
		if ev.Kind == KindViolation {
			continue
		}
		ev.Violations = nil
		if ev.Totals != nil {
			ev.Totals.Errors, ev.Totals.Warnings, ev.Totals.Infos, ev.Totals.Rules = 0, 0, 0, nil
			ev.Totals.Cause = ""
		}
		out = append(out, ev)
	}
	return out
}

// TestFactsOfMutedSide checks that what a side sends is followed also where the
// judge has nothing more to say on it, and after its Close.
func TestFactsOfMutedSide(t *testing.T) {
	text := "x" + strings.Repeat("é", 40<<10)
	for name, first := range map[string]string{
		"muted":  masked(0xf3, [4]byte{1}, ""),
		"closed": masked(0x88, [4]byte{1}, "\x03\xe8"),
	} {
		var r record
		s := whole(&r, "")
		s.Data(FromClient, start, []byte(first))
		for i := range byte(2) {
			s.Data(FromClient, start, []byte(masked(0x81, [4]byte{2, i}, "hi")))
		}
		s.Data(FromClient, start, []byte(masked(0x01, [4]byte{3}, "a")+masked(0x80, [4]byte{4}, text)))
		s.End(FromClient, start, EndFIN, "")
		s.End(FromServer, start, EndFIN, "")
		if got := r[len(r)-1].Totals.Messages; got != [2]int64{3, 0} {
			t.Errorf("%s: got messages %v, want 3 of the client", name, got)
		}
		pieces := 0
		for _, ev := range r {
			if ev.Frame == nil || ev.Frame.N != 4 {
				continue
			}
			pieces++
			if p := ev.Frame.AppendPayload(nil, -1); len(WholeChars(p)) != len(p) {
				t.Errorf("%s: a piece of %d bytes ends inside a character", name, len(p))
			}
		}
		if pieces != 2 {
			t.Errorf("%s: got %d pieces of the long frame, want 2", name, pieces)
		}
	}
}
