package trace

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// playPiece plays a trace without a header, and returns what happened in words,
// and which rules were broken.
func playPiece(t *testing.T, trace string) (got []string, broken []string) {
	t.Helper()
	src := Source{R: strings.NewReader(trace)}
	err := src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
		what := ""
		switch ev.Kind {
		case decode.KindOpen:
			what = "open"
		case decode.KindRequest:
			what = "req"
		case decode.KindResponse:
			what = "res"
		case decode.KindFrame:
			what = fmt.Sprintf("%s %q", decode.OpName(ev.Frame.OpCode), ev.Frame.AppendPayload(nil, 20))
		case decode.KindGap:
			what = fmt.Sprint("gap ", ev.Lost)
		case decode.KindEnd:
			what = "end"
		case decode.KindClosed:
			what = fmt.Sprint("closed ", ev.Totals.Code)
		case decode.KindJunk:
			what = fmt.Sprintf("junk % x", ev.Data)
		case decode.KindNotice:
			what = "note"
		}
		if what != "" {
			got = append(got, fmt.Sprint(ev.Conn, " ", what))
		}
		for _, v := range ev.Violations {
			broken = append(broken, fmt.Sprint(ev.Conn, " ", v.ID))
		}
	}), thorough())
	if err != nil && !errors.Is(err, ErrCut) || !src.Piece() {
		t.Errorf("play\n%s: %v, piece: %t", trace, err, src.Piece())
	}
	return got, broken
}

func TestPiece(t *testing.T) {
	for _, test := range []struct {
		name, trace string
		want        []string
	}{
		{"a line", `{"k":"frame","t":3,"c":2,"d":"<","op":"text","text":"Hello"}`, []string{`2 open`, `2 text "Hello"`}},
		{"no number", `{"k":"frame","d":"<","op":"text","text":"Hello"}`, []string{`1 open`, `1 text "Hello"`}},
		{"a line that is cut in front", `xt":"{\"k\":1}"}` + "\n" + `{"k":"frame","c":2,"d":"<","op":"text","text":"Hello"}`, []string{`2 open`, `2 text "Hello"`}},
		{"in an object", `{"ver":"TLS1.3"}}}` + "\n" + `{"k":"frame","c":2,"d":"<","op":"ping"}`, []string{`2 open`, `2 ping ""`}},
		{"more without its frame", lines(`{"k":"more","c":1,"d":"<","text":"lo"}`, `{"k":"frame","c":1,"d":"<","op":"bin","b64":"AAE="}`), []string{`1 open`, `1 bin "\x00\x01"`}},
		{"a frame without its more", lines(`{"k":"frame","c":1,"d":"<","op":"text","len":9,"text":"Hello"}`, `{"k":"frame","c":1,"d":"<","op":"ping"}`),
			[]string{`1 open`, `1 text "Hello"`, `1 gap 4`, `1 ping ""`}},
		{"one of several", lines(`{"k":"frame","c":1,"d":"<","op":"text","len":9,"text":"Hello"}`, `{"k":"more","c":1,"d":"<","text":"!!"}`, `{"k":"more","c":1,"d":"<","text":"!!!"}`),
			[]string{`1 open`, `1 text "Hello"`, `1 text "!!"`}},
		{"a response alone", lines(`{"k":"res","c":1,"v":"HTTP/1.1","code":101,"reason":"","h":[["Upgrade","websocket"]]}`, `{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"a"}`),
			[]string{`1 open`, `1 res`, `1 text "a"`}},
		{"no response", lines(`{"k":"open","c":1}`, `{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","a"],["Upgrade","websocket"]]}`, `{"k":"frame","c":1,"d":"<","op":"text","text":"a"}`),
			[]string{`1 open`, `1 req`, `1 text "a"`}},
		{"junk", lines(`{"k":"junk","c":1,"d":"<","hex":"81 00","why":"cannot be framed"}`, `{"k":"junk","c":1,"d":"<","hex":"81","why":"cannot be framed"}`), []string{`1 open`, `1 junk 81 00`, `1 junk 81`}},
		{"ends", lines(`{"k":"frame","c":1,"d":"<","op":"ping"}`, `{"k":"end","c":1,"d":"<","how":"fin"}`, `{"k":"end","c":1,"d":">","how":"rst"}`),
			[]string{`1 open`, `1 ping ""`, `1 end`, `1 end`, `1 closed 0`}},
		{"done", `{"k":"done","c":1,"sent":0,"got":9}`, []string{`1 open`, `1 closed 0`}},
		{"notes and what is derived", lines(`{"k":"note","text":"x"}`, `{"k":"violation","conn":1,"rule":"x"}`, `{"k":"sum","conns":1,"frames":1,"bytes":1}`), []string{`0 note`}},
		{"a trace behind it", lines(`{"k":"frame","c":3,"d":"<","op":"ping"}`, `{"wstrace":1}`, `{"k":"open","c":1}`, `{"k":"frame","d":"<","op":"pong"}`), []string{`3 open`, `3 ping ""`, `4 open`, `4 pong ""`}},
	} {
		if got, _ := playPiece(t, test.trace); !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
	for _, test := range []struct{ trace, want string }{
		{`{"wstrace":2}` + "\n" + `{"k":"open","c":1}` + "\n", "line 1: wstrace: version 2 of the format, known is 1"},
		{`{"k":"open"` + "\n" + `{"k":"open","c":1}` + "\n", "line 1: not a JSON object"},
		{"GIF\nGIF\n", "line 1: not a JSON object"},
		{"GIF\n" + `{"wstrace":1}` + "\n", "line 1: not a JSON object"},
		{lines(`{"k":"open","c":1}`, "GIF"), "line 2: not a JSON object"},
	} {
		if err := playAll(strings.NewReader(test.trace), decode.SinkFunc(func(*decode.Event) {}), decode.Look{}); err == nil || err.Error() != test.want {
			t.Errorf("%q: got %v, want %s", test.trace, err, test.want)
		}
	}
	r := NewReader(strings.NewReader(`{"k":"note","t":2,"text":"x"}`))
	if rec, err := r.Next(); err != nil || !rec.Time.Equal(time.Date(1970, 1, 1, 0, 0, 2, 0, time.Local)) || !r.Piece() {
		t.Errorf("got %+v, %v, piece: %t", rec, err, r.Piece())
	}
}

// TestPieces plays pieces of a recording as tail, split and grep make them, and
// checks that no rule is broken there that is not in the recording.
func TestPieces(t *testing.T) {
	for seed := range uint64(3) {
		rnd := rand.New(rand.NewPCG(seed, 2))
		var whole bytes.Buffer
		live(rnd, plays(), NewWriter(&whole, Options{}))
		_, of := said(t, &whole)
		maps.Copy(of, saidAgain(t, &whole))
		text := whole.String()
		all := strings.SplitAfter(text, "\n")[1:]
		grep := func(word string, want bool) (found string) {
			for _, line := range all {
				if strings.Contains(line, word) == want {
					found += line
				}
			}
			return found
		}
		some := ""
		for _, line := range all {
			if rnd.IntN(3) > 0 {
				some += line
			}
		}
		from := 200 + rnd.IntN(len(text)/2)
		for _, piece := range []struct{ name, text string }{
			{"the end", text[from:]},
			{"the end by lines", strings.Join(all[rnd.IntN(len(all)/2):], "")},
			{"the middle", strings.Join(all[len(all)/4:len(all)/2], "")},
			{"some lines", some},
			{"text", grep(`"op":"text"`, true)},
			{"a session", grep(`"c":1,`, true)},
			{"the server", grep(`"d":"<"`, true)},
			{"no heads", grep(`"k":"re`, false)},
			{"no responses", grep(`"k":"res"`, false)},
			{"no requests", grep(`"k":"req"`, false)},
			{"no frames", grep(`"k":"frame"`, false)},
			{"no continuations", grep(`"op":"cont"`, false)},
			{"no closes", grep(`"op":"close"`, false)},
			{"no mores", grep(`"k":"more"`, false)},
		} {
			_, broken := playPiece(t, piece.text)
			for _, b := range broken {
				if !of[b] {
					t.Errorf("seed %d, %s: breaks a rule that the whole does not: %s", seed, piece.name, b)
				}
			}
		}
	}
}
