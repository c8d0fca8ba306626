package trace

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
)

// mustEscape are the characters beyond ASCII that no output has as they are.
func mustEscape(r rune) bool {
	return r >= 0x80 && r <= 0x9f || r == 0x2028 || r == 0x2029 ||
		r == 0x061c || r == 0x200e || r == 0x200f || r >= 0x202a && r <= 0x202e || r >= 0x2066 && r <= 0x2069 || r == 0xfeff
}

// TestHidden writes every character, as JSON and for terminals.
func TestHidden(t *testing.T) {
	for r := rune(0x80); r <= 0x1ffff; r++ {
		if !utf8.ValidRune(r) {
			continue
		}
		text := "a" + string(r) + "b"
		want := `"` + text + `"`
		if mustEscape(r) {
			want = fmt.Sprintf(`"a\u%04xb"`, r)
			for _, quoted := range []bool{false, true} {
				if got := decode.AppendEscaped(nil, []byte(text), quoted); bytes.ContainsRune(got, r) {
					t.Errorf("%U: a terminal gets %q", r, got)
				}
			}
			if got := decode.AppendQuoted(nil, []byte(text)); string(got) != strconv.Quote(text) {
				t.Errorf("%U: quoted as %s", r, got)
			}
		}
		got := string(appendString(nil, text))
		if got != want || string(appendString(nil, []byte(text))) != want || string(AppendJSON(nil, []byte(`"`+text+`"`))) != want {
			t.Errorf("%U: got %s, want %s", r, got, want)
		}
		if back, err := str([]byte(got)); err != nil || string(back) != text {
			t.Errorf("%U: %s was read as %q, %v", r, got, back, err)
		}
	}
}

// TestHiddenAnywhere writes records with such characters wherever there is text.
func TestHiddenAnywhere(t *testing.T) {
	const all = "\u061c\u200e\u200f\u202a\u202e\u2066\u2069\ufeff\u0085\u2028"
	for _, line := range []string{
		`{"wstrace":1,"by":"#","run":"#","redact":["#"],"#":"#"}`,
		`{"k":"open","c":1,"client":"#","url":"#","ext":"#","tls":{"client":{"sni":"#"}},"x":["#",{"#":"#"}]}`,
		`{"k":"req","m":"#","target":"#","v":"#","h":[["#","#"]],"change":"#"}`,
		`{"k":"frame","d":"<","op":"text","text":"#","=text":"#"}`,
		`{"k":"frame","d":"<","op":"close","code":1000,"reason":"#"}`,
		`{"k":"end","how":"fin","err":"#"}`,
		`{"k":"violation","conn":1,"text":"#"}`,
		`{"k":"closed","reason":"#","rules":{"#":1}}`,
		`{"k":"#"}`,
	} {
		line = strings.ReplaceAll(line, "#", all)
		rec, err := Parse([]byte(line))
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		out := rec.Append(nil)
		if i := bytes.IndexFunc(out, mustEscape); i >= 0 {
			t.Errorf("%q is written as %q", line, out)
		}
		var before, after any
		if json.Unmarshal([]byte(line), &before) != nil || json.Unmarshal(out, &after) != nil || fmt.Sprint(before) != fmt.Sprint(after) {
			t.Errorf("%q is written as %q", line, out)
		}
	}
}
