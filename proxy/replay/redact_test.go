package replay

import (
	"bytes"
	"encoding/base64"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/trace"
)

func redacted(t *testing.T, text string, selectors ...string) string {
	t.Helper()
	var whole, lines bytes.Buffer
	if err := Redact(&whole, strings.NewReader(text), selectors...); err != nil {
		t.Fatal(err)
	}
	// The same, while it is recorded.
	w, err := NewRedactWriter(&lines, selectors...)
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(text) {
		if !strings.HasPrefix(line, "#") && line != "\n" {
			if n, err := w.Write([]byte(line)); n != len(line) || err != nil {
				t.Fatal(n, err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	if lines.String() != whole.String() {
		t.Errorf("recorded:\n%s\nfrom a file:\n%s", lines.String(), whole.String())
	}
	return whole.String()
}

func TestRedactHandshake(t *testing.T) {
	got := redacted(t, `{"wstrace":1,"redact":["x"]}
{"k":"open","c":1,"url":"ws://h/chat?token=s3cret&room=1"}
{"k":"req","c":1,"m":"GET","target":"/chat?token=s3cret&room=1","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["authorization","Bearer s3cret"],["Cookie","a"],["Cookie","b"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":403,"reason":"No","h":[["Set-Cookie","a"],["Content-Length","2"]],"body":"bm8=","blen":2}
{"k":"open","c":2}
{"k":"req","c":2,"raw":"`+base64.StdEncoding.EncodeToString([]byte("GET /?token HTTP/1.1\nAuthorization:\tBearer s3cret\n\n"))+`"}
`, Secrets...)
	want := `{"wstrace":1,"redact":["x","Authorization:","Proxy-Authorization:","Cookie:","Set-Cookie:","?token","?access_token","?api_key"]}
{"k":"open","c":1,"url":"ws://h/chat?token=redacted-token-1&room=1"}
{"k":"req","c":1,"m":"GET","target":"/chat?token=redacted-token-1&room=1","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["authorization","redacted-authorization-1"],["Cookie","redacted-cookie-1"],["Cookie","redacted-cookie-2"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":403,"reason":"No","h":[["Set-Cookie","redacted-cookie-1"],["Content-Length","2"]],"body":"bm8=","blen":2}
{"k":"open","c":2}
{"k":"req","c":2,"raw":"` + base64.StdEncoding.EncodeToString([]byte("GET /?token HTTP/1.1\nAuthorization:\tredacted-authorization-1\n\n")) + `"}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

func TestRedactMessages(t *testing.T) {
	got := redacted(t, `{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"{\"user\" : {\"id\": 17, \"name\": \"Ada\"}, \"n\":17}"}
{"k":"frame","c":1,"d":"<","op":"text","fin":false,"text":"0{\"user\":{\"id\":17,\"na"}
{"k":"frame","c":1,"d":"<","op":"ping","text":"key=abc"}
{"k":"frame","c":1,"d":">","op":"pong","mask":"01020304","text":"key=abc"}
{"k":"frame","c":1,"d":"<","op":"cont","text":"me\":\"Bob\"}} key=abc"}
{"k":"frame","c":1,"d":"<","op":"bin","text":"key=abcd"}
{"k":"frame","c":1,"d":"<","op":"text","text":"{\"user\":{\"name\":\"Ada\",\"tags\":[1]}}"}
{"k":"frame","c":1,"d":"<","op":"close","code":1000,"reason":"key=abc"}
{"k":"junk","c":1,"d":"<","b64":"a2V5PWFiYw=="}
{"k":"frame","c":1,"d":">","op":"text","fin":false,"mask":"01020304","text":"never complete key="}
{"k":"end","c":1,"how":"fin"}
`, "$.user.id", "$..name", "$.user.tags", "/key=([a-z]+)/")
	want := `{"wstrace":1,"redact":["$.user.id","$..name","$.user.tags","/key=([a-z]+)/"]}
{"k":"open","c":1}
{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"{\"user\" : {\"id\": 1, \"name\": \"redacted-name-1\"}, \"n\":17}"}
{"k":"frame","c":1,"d":"<","op":"text","text":"0{\"user\":{\"id\":1,\"name\":\"redacted-name-2\"}} key=redacted-text-1"}
{"k":"frame","c":1,"d":"<","op":"ping","text":"key=redacted-text-1"}
{"k":"frame","c":1,"d":">","op":"pong","mask":"01020304","text":"key=redacted-text-1"}
{"k":"frame","c":1,"d":"<","op":"bin","b64":"a2V5PXJlZGFjdGVkLXRleHQtMg=="}
{"k":"frame","c":1,"d":"<","op":"text","text":"{\"user\":{\"name\":\"redacted-name-1\",\"tags\":\"redacted-tags-1\"}}"}
{"k":"frame","c":1,"d":"<","op":"close","code":1000,"reason":"key=redacted-text-1"}
{"k":"junk","c":1,"d":"<","b64":"a2V5PXJlZGFjdGVkLXRleHQtMQ=="}
{"k":"note","c":1,"text":"a message of the client was left out: it could not be looked into for secrets"}
{"k":"end","c":1,"how":"fin"}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := redacted(t, got, "$.user.id", "$..name", "$.user.tags", "/key=([a-z]+)/"); again != got {
		t.Errorf("a second time: got\n%s", again)
	}
}

// A compressed session stays one: what follows a redacted message can still be
// inflated.
func TestRedactCompressed(t *testing.T) {
	var frozen bytes.Buffer
	if err := Freeze(&frozen, strings.NewReader(strings.Replace(talk, `"deflate":"John says: good morning"`, `"deflate":"Welcome John. Welcome John."`, 1))); err != nil {
		t.Fatal(err)
	}
	for _, in := range []string{frozen.String(), talk} {
		got := redacted(t, in, "/Welcome J([a-z]+)/", "$.id")
		s := load(t, got)
		serr, cerr := both(t, s, s)
		check(t, serr, "")
		check(t, cerr, "")
		text := diff(t, in, got)
		for _, want := range []string{`"Welcome Jredacted-text-1."`, `{\"id\":1,\"name\":\"Welcome Jredacted-text-1\"}`} {
			if !strings.Contains(text, want) {
				t.Errorf("%s is not in\n%s", want, text)
			}
		}
		if strings.Contains(got, "Welcome John") {
			t.Errorf("the secret is in\n%s", got)
		}
	}
}

// A body that changes its length is told so, chunked or not.
func TestRedactBody(t *testing.T) {
	for _, c := range []struct{ header, body, wantHeader, wantBody string }{
		{`["Content-Length","14"]`, `{"token":"abc"}`, `["Content-Length","28"]`, `{"token":"redacted-token-1"}`},
		{`["Transfer-Encoding","chunked"]`, "9\r\n{\"token\":\r\n6\r\n\"abc\"}\r\n0\r\n\r\n", `["Transfer-Encoding","chunked"]`, "1c\r\n{\"token\":\"redacted-token-1\"}\r\n0\r\n\r\n"},
		{`["Transfer-Encoding","chunked"]`, "9\r\n{\"tok", `["Transfer-Encoding","chunked"]`, ""},
	} {
		text := func(header, body string) string {
			b64 := ""
			if body != "" {
				b64 = `,"body":"` + base64.StdEncoding.EncodeToString([]byte(body)) + `"`
			}
			return `{"k":"res","c":1,"v":"HTTP/1.1","code":403,"reason":"No","h":[` + header + `]` + b64 + "}\n"
		}
		_, got, _ := strings.Cut(redacted(t, open+text(c.header, c.body), "$.token"), `"c":1}`+"\n")
		if want := text(c.wantHeader, c.wantBody); got != want {
			t.Errorf("got\n%swant\n%s", got, want)
		}
	}
	_, err := NewRedactWriter(nil)
	check(t, err, "nothing is to be redacted")
	_, err = NewRedactWriter(nil, "x")
	check(t, err, `"x" is not "$.path", "?parameter", "Header:" or "/expression/"`)
}

// Without anything to look for in messages no line is held back, and frames
// stay as they are.
func TestRedactHoldsNothing(t *testing.T) {
	var b bytes.Buffer
	w, err := NewRedactWriter(&b, "Cookie:")
	if err != nil {
		t.Fatal(err)
	}
	tw := trace.NewWriter(w, trace.Options{})
	s := load(t, talk, Events(tw))
	serr, cerr := both(t, s, load(t, talk))
	check(t, serr, "")
	check(t, cerr, "")
	if got := diff(t, talk, b.String()); got != "" {
		t.Error(got)
	}
}
