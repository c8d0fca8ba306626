package replay

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// Frozen messages inflate to their texts, and keep within the window and the
// takeover that were agreed on, whatever the parameters.
func TestFreeze(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var texts []string
	for _, n := range []int{0, 5, 300, 5, 70_000, 0, 40_000, 2} {
		var b strings.Builder
		for b.Len() < n {
			fmt.Fprintf(&b, "%d,", r.IntN(1000))
		}
		texts = append(texts, b.String()[:n])
	}
	for bits := 8; bits <= 15; bits++ {
		for _, takeover := range []string{"", "; client_no_context_takeover; server_no_context_takeover"} {
			ext := fmt.Sprintf("permessage-deflate; client_max_window_bits=%d; server_max_window_bits=%d%s", bits, bits, takeover)
			var made bytes.Buffer
			fmt.Fprintf(&made, `{"wstrace":1}`+"\n# a comment\n"+`{"k":"open","c":1,"ext":%q}`+"\n", ext)
			want := [2][]string{}
			for i, text := range texts {
				rec := trace.Record{Kind: "frame", Dir: decode.Dir(i % 2), HasDir: true, Op: ws.OpText, Fin: true, Form: trace.FormDeflate, Payload: []byte(text)}
				want[rec.Dir] = append(want[rec.Dir], text)
				if rec.Dir == decode.FromClient {
					rec.Masked = true
				}
				if len(text) == 300 { // in two fragments
					rec.Fin, rec.Payload = false, rec.Payload[:100]
					made.Write(rec.Append(nil))
					rec.Fin, rec.Op, rec.Payload = true, ws.OpContinuation, []byte(text[100:])
				}
				made.Write(rec.Append(nil))
			}
			var frozen bytes.Buffer
			if err := edit.Freeze(&frozen, &made); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(frozen.String(), "deflate\":") || !strings.Contains(frozen.String(), "\n# a comment\n") {
				t.Fatalf("got %s", frozen.String())
			}
			s := loaded(t, frozen.String())
			for d := range s.sides {
				var got []string
				for _, u := range s.sides[d].units {
					got = append(got, string(u.data))
					if u.cut || !u.compressed {
						t.Errorf("%s: %v", ext, &u)
					}
				}
				if fmt.Sprint(got) != fmt.Sprint(want[d]) {
					t.Errorf("%s: %s sends other texts", ext, decode.Dir(d))
				}
			}
			src := trace.Source{R: &frozen}
			err := src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
				for _, v := range ev.Violations {
					if strings.HasPrefix(string(v.ID), "pmd") {
						t.Errorf("%s: %s", ext, v.Text)
					}
				}
			}), decode.Look{})
			if err != nil {
				t.Error(err)
			}
		}
	}
	err := edit.Freeze(io.Discard, strings.NewReader(open+`{"k":"frame","d":"<","op":"text","deflate":"x"}`+"\n"))
	check(t, err, "line 3: deflate: the handshake agrees on no permessage-deflate")
}

func redact(t *testing.T, text string, selectors ...string) string {
	t.Helper()
	var b bytes.Buffer
	if err := edit.Redact(&b, strings.NewReader(text), selectors...); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// A compressed session stays one: what follows a redacted message can still be
// inflated.
func TestRedactCompressed(t *testing.T) {
	var frozen bytes.Buffer
	if err := edit.Freeze(&frozen, strings.NewReader(strings.Replace(talk, `"deflate":"John says: good morning"`, `"deflate":"Welcome John. Welcome John."`, 1))); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{frozen.String(), talk} {
		got := redact(t, in, "/Welcome J([a-z]+)/", "$.id")
		s := loaded(t, got)
		serr, cerr := both(t, s, s)
		check(t, serr, "")
		check(t, cerr, "")
		if text := diff(t, in, got); text != "" {
			t.Errorf("a session differs from what was made of it:\n%s", text)
		}
		first, rest, _ := strings.Cut(got, "\n")
		first, _, _ = strings.Cut(first, `,"redact"`)
		text := diff(t, in, first+"}\n"+rest) // as if the placeholders were content
		for _, want := range []string{`"Welcome Jredacted-text-1."`, `{"id":1,"name":"Welcome Jredacted-text-1"}`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not in\n%s", want, text)
			}
		}
		if strings.Contains(got, "Welcome John") {
			t.Errorf("the secret is in\n%s", got)
		}
	}
}

// Without anything to look for in messages no line is held back, and frames
// stay as they are.
func TestRedactHoldsNothing(t *testing.T) {
	var b bytes.Buffer
	w, err := edit.NewRedactWriter(&b, "Cookie:")
	if err != nil {
		t.Fatal(err)
	}
	tw := trace.NewWriter(w, trace.Options{})
	s := loaded(t, talk)
	serr, cerr := bothAs(t, s, s, []PlayOption{Events(tw)}, nil)
	check(t, serr, "")
	check(t, cerr, "")
	if got := diff(t, talk, b.String()); got != "" {
		t.Error(got)
	}
}
