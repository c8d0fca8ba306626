package filter

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestBodies checks what is selected of an exchange: each body when all of it is there.
func TestBodies(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"body", `> "{\"a\":[1]}" < "no\n"`},
		{"kind == body", `> "{\"a\":[1]}" < "no\n"`},
		{`body contains "a" and len == 9`, `> "{\"a\":[1]}"`},
		{`body matches "^n" and from == server`, `< "no\n"`},
		{"body and json.a[0] == 1", `> "{\"a\":[1]}"`},
		{"body and json", `> "{\"a\":[1]}"`},
		{`"no" and not body == x`, `< "no\n"`},
		// What searches contents searches bodies.
		{`"no"`, `< "no\n"`},
		{`text contains "a"`, `> "{\"a\":[1]}"`},
		{"json.a[0] == 1", `> "{\"a\":[1]}"`},
		{"json", `> "{\"a\":[1]}"`},
		{"not not json", `> "{\"a\":[1]}"`},
		{"packed", ""},
		{"body and (op or message or message.len or wire or rule)", ""},
		{"body == x", ""},
	} {
		f, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var look decode.Look
		f.Needs().AddTo(&look)
		if !look.WholeBodies || look.Bodies == 0 {
			t.Errorf("%s: bodies are not looked into", c.text)
		}
		var got []string
		s := &decode.Session{Look: look, Sink: f.Where(decode.SinkFunc(func(ev *decode.Event) {
			if ev.Body == nil {
				return
			}
			got = append(got, ev.Dir.Arrow()+" "+string(decode.AppendText(nil, ev.Body.Data)))
		}))}
		at := time.Unix(1, 0)
		s.Open(decode.Info{Conn: 1, Time: at})
		s.Data(decode.FromClient, at, []byte("POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{\"a\":[1]}"))
		s.Data(decode.FromServer, at, []byte("HTTP/1.1 404 Not Found\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nn\r\n2\r\no\n\r\n0\r\n\r\n"))
		s.Done(at)
		for i, line := range got {
			got[i] = strings.ReplaceAll(line, "'", `"`)
		}
		if got := strings.Join(got, " "); strings.ReplaceAll(got, `\"`, `"`) != strings.ReplaceAll(c.want, `\"`, `"`) {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	// What looks at no contents, or leaves them out, leaves bodies alone.
	for _, text := range []string{"kind == message", "binary == 0x01", "message.len > 1", `not "x"`, "len > 1 and not (json.a or text == x)"} {
		if f, err := Parse(text); err != nil || f.Needs().Bodies {
			t.Errorf("%s: %v, or it needs bodies", text, err)
		}
	}
	// One that is cut may end inside of a character.
	f, err := Parse(`"no"`)
	if err != nil {
		t.Fatal(err)
	}
	cut := &decode.Event{Kind: decode.KindBody, Info: &decode.Info{}, Body: &decode.Message{Data: []byte("no\xe2\x82"), Len: 5, Cut: true}}
	if !f.Match(new(State), cut) {
		t.Error("text before a cut is not found")
	}
	if c, err := ParseColumns("text,json,packed"); err != nil || c.Needs().Bodies {
		t.Error("columns ask for bodies", err)
	}
	c, err := ParseColumns("kind,len,body,op")
	if err != nil || !c.Needs().Bodies {
		t.Fatal(err, c.Needs())
	}
	var st State
	c.See(&st, &decode.Event{Kind: decode.KindBody, Info: &decode.Info{}, Body: &decode.Message{Data: []byte("ab"), Len: 5}})
	if got := c.Append(nil, &st); !slices.Equal(got, []string{"body", "5", "ab", ""}) {
		t.Errorf("got %q", got)
	}
}
