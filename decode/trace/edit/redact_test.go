package edit

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/trace"
)

const open = `{"wstrace":1}
{"k":"open","c":1}
`

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
	want := `{"wstrace":1,"redact":["x","credentials"]}
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

// A line that continues a header holds part of its secret.
func TestRedactFolded(t *testing.T) {
	const rest = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: 8YmBPf+ktDVCLmdeQNEzYw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	record := func(raw string) string {
		return `{"k":"req","raw":"` + base64.StdEncoding.EncodeToString([]byte(raw)) + `"}` + "\n"
	}
	parts := func(header string) string { // as a head in its usual spelling is written
		return `{"k":"req","m":"GET","target":"/c","v":"HTTP/1.1","h":[["Host","a"],` + header +
			`,["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","8YmBPf+ktDVCLmdeQNEzYw=="],["Sec-WebSocket-Version","13"]]}` + "\n"
	}
	for _, c := range []struct{ name, raw, want string }{
		{"authorization", "GET /c HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer\r\n  s3cr3t-token\r\n" + rest,
			parts(`["Authorization","redacted-authorization-1"]`)},
		{"cookie", "GET /c HTTP/1.1\r\nHost: a\r\nCookie: a=1;\r\n\tsession=TOPSECRET\r\n" + rest,
			parts(`["Cookie","a=redacted-cookie-1; session=redacted-cookie-2"]`)},
		{"value on the next line", "GET /c HTTP/1.1\r\nCookie:\r\n a\r\n b\r\nhost:  a\r\n\r\n",
			record("GET /c HTTP/1.1\r\nCookie:\r\n redacted-cookie-1\r\nhost:  a\r\n\r\n")},
		{"the same secret in one line and in two", "GET / HTTP/1.1\nAuthorization: Bearer x\nAuthorization: Bearer\n\tx\n\n",
			record("GET / HTTP/1.1\nAuthorization: redacted-authorization-1\nAuthorization: redacted-authorization-1\n\n")},
		{"a location", "GET / HTTP/1.1\nReferer: http://h/?token=a\n b&x=1\n\n",
			record("GET / HTTP/1.1\nReferer: http://h/?token=redacted-token-1&x=1\n\n")},
		{"beyond ASCII", "GET / HTTP/1.1\r\nCookie: a\r\nX: \xe9\r\n\r\n",
			record("GET / HTTP/1.1\r\nCookie: redacted-cookie-1\r\nX: \xe9\r\n\r\n")},
	} {
		_, got, _ := strings.Cut(redacted(t, open+record(c.raw), Secrets...), `"c":1}`+"\n")
		if got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// The names of cookies and their attributes stay, and a value has the same placeholder
// in each head, so that a replay knows it again.
func TestRedactCookies(t *testing.T) {
	const (
		set, again = "sid=s3cr3t-of-ada; HttpOnly; Path=/", "theme=dark; sid=s3cr3t-of-ada"
		wantSet    = "sid=redacted-cookie-1; HttpOnly; Path=/"
		wantAgain  = "theme=redacted-cookie-2; sid=redacted-cookie-1"
	)
	raw := func(head string) string { return base64.StdEncoding.EncodeToString([]byte(head)) }
	text := func(by, set, cookie, folded, whole string) string {
		return `{"wstrace":1` + by + `}
{"k":"open","c":1}
{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[]}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["set-cookie","` + set + `"],["Content-Length","0"]]}
{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Cookie","` + cookie + `"]]}
{"k":"req","c":1,"raw":"` + raw("GET / HTTP/1.1\nCOOKIE:  "+cookie+" \nCookie:"+folded+"\nSet-Cookie: "+whole+"\n\n") + `"}
`
	}
	old := text("", set, again, " theme=dark;\n\tsid=s3cr3t-of-ada", "s3cr3t-of-ada")
	for _, c := range []struct {
		selectors []string
		by        string
	}{{Secrets, `,"redact":["credentials"]`}, {[]string{"Cookie:", "Set-Cookie:"}, `,"redact":["Cookie:","Set-Cookie:"]`}} {
		want := text(c.by, wantSet, wantAgain, " "+wantAgain, "redacted-cookie-1")
		got := redacted(t, old, c.selectors...)
		if got != want {
			t.Errorf("%v: got\n%s\nwant\n%s", c.selectors, got, want)
		}
		if again := redacted(t, got, c.selectors...); again != got {
			t.Errorf("%v, a second time: got\n%s", c.selectors, again)
		}
	}

	// A trace that was redacted when cookies had one placeholder for all of them.
	before := text(`,"redact":["credentials"]`, "redacted-set-cookie-1", "redacted-cookie-1", " redacted-cookie-2", "redacted-set-cookie-2")
	if got := redacted(t, before, Secrets...); got != before {
		t.Errorf("got\n%s\nwant\n%s", got, before)
	}

	// One selector, and an expression that matches in what stays.
	if got, want := redacted(t, old, "Cookie:", "/theme|HttpOnly/"), "redacted-text-2=redacted-cookie-1; sid=redacted-cookie-2"; !strings.Contains(got, want) {
		t.Errorf("got\n%s\nwant %s", got, want)
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
{"k":"frame","c":1,"d":"<","op":"text","fin":false,"text":"0{\"user\":{\"id\":1,\"na"}
{"k":"frame","c":1,"d":"<","op":"ping","text":"key=redacted-text-1"}
{"k":"frame","c":1,"d":">","op":"pong","mask":"01020304","text":"key=redacted-text-1"}
{"k":"frame","c":1,"d":"<","op":"cont","text":"me\":\"redacted-name-2\"}} key=redacted-text-1"}
{"k":"frame","c":1,"d":"<","op":"bin","b64":"a2V5PXJlZGFjdGVkLXRleHQtMg=="}
{"k":"frame","c":1,"d":"<","op":"text","text":"{\"user\":{\"name\":\"redacted-name-1\",\"tags\":\"redacted-tags-1\"}}"}
{"k":"frame","c":1,"d":"<","op":"close","code":1000,"reason":"key=redacted-text-1"}
{"k":"junk","c":1,"d":"<","b64":"a2V5PXJlZGFjdGVkLXRleHQtMQ=="}
{"k":"note","c":1,"text":"a message of the client was not looked into for secrets, as it is not complete: its payload is left out"}
{"k":"frame","c":1,"d":">","op":"text","fin":false,"mask":"01020304","len":19,"cut":true}
{"k":"end","c":1,"how":"fin"}
`
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if again := redacted(t, got, "$.user.id", "$..name", "$.user.tags", "/key=([a-z]+)/"); again != got {
		t.Errorf("a second time: got\n%s", again)
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
	for _, c := range []struct {
		selectors []string
		want      string
	}{{nil, "nothing is to be redacted"}, {[]string{"x"}, `"x" is not "$.path", "xml:/path", "?parameter", "Header:", "/expression/", "@offset:length" or "credentials"`}, {[]string{"/x/", "@2:4"}, `"@2:4" names bytes, for which there is no placeholder`}} {
		if _, err := NewRedactWriter(nil, c.selectors...); err == nil || err.Error() != c.want {
			t.Errorf("got %v, want %s", err, c.want)
		}
	}
}

// A head in a place where none can be is no frame.
func TestRedactLateHead(t *testing.T) {
	text := open + `{"k":"frame","c":1,"d":"<","op":"text","text":"a"}
{"k":"req","c":1,"m":"APPLE","target":"/?token=x","v":"HTTP/1.1","h":[]}
{"k":"req","c":1,"m":"\u0081~","target":"/","v":"HTTP/1.1","h":[]}
{"k":"res","c":1,"v":"APPLE","code":101,"reason":"","h":[]}
{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"ab"}
`
	want := strings.NewReplacer(`"wstrace":1`, `"wstrace":1,"redact":["/…/","?token"]`, "token=x", "token=redacted-token-1", "ab", "aredacted-text-1").Replace(text)
	if got := redacted(t, text, "/b/", "?token"); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// What an expression matches in JSON leaves it JSON.
func TestRedactKeepsJSON(t *testing.T) {
	for _, c := range []struct{ old, selector, want string }{
		{`{"a":1000000,"b":["\u0000","x0000"]}`, "/0000/", `{"a":1,"b":["redacted-text-2","redacted-text-3"]}`},
		{`{"a":"say hi","n":5}`, "/hi/", `{"a":"say redacted-text-1","n":5}`},
		{`{"abc":true}`, "/abc\":t/", `{"redacted-value-1":"redacted-text-2"}`},
		{`7{"a":17}`, "/7/", `redacted-text-1{"a":1}`},
	} {
		red, err := NewRedactor(c.selector)
		if err != nil {
			t.Fatal(err)
		}
		if got := string(red.Content([]byte(c.old))); got != c.want {
			t.Errorf("%s in %s: got %s, want %s", c.selector, c.old, got, c.want)
		}
	}
}

// A password is not told by a CONNECT of MQTT that is cut into messages, wherever
// it is cut. Other messages stay.
func TestRedactCutConnect(t *testing.T) {
	connect := "\x10\x00\x00\x04MQTT\x04\xc2\x00\x3c\x00\x03abc\x00\x04user\x00\x06S3CRET"
	connect = "\x10" + string(rune(len(connect)-2)) + connect[2:]
	const accept = `{"k":"res","v":"HTTP/1.1","code":101,"reason":"","h":[["Sec-WebSocket-Protocol","mqtt"]]}` + "\n"
	frame := func(s string) string {
		return `{"k":"frame","d":">","op":"bin","mask":"01020304","b64":"` + base64.StdEncoding.EncodeToString([]byte(s)) + `"}` + "\n"
	}
	for i := 1; i < len(connect); i++ {
		got := redacted(t, open+accept+frame(connect[:i])+frame(connect[i:])+frame("\xc0\x00"), Secrets...)
		if all := everything(t, got); strings.Contains(all, "CRET") || strings.Contains(all, "S3") || !strings.Contains(all, "\xc0\x00") {
			t.Errorf("cut at %d: got %q", i, all)
		}
	}
	bytewise := open + accept
	for _, b := range []byte(connect) {
		bytewise += frame(string([]byte{b}))
	}
	if got := redacted(t, bytewise, Secrets...); strings.Count(got, `"cut":true`) != len(connect) {
		t.Errorf("byte by byte: got %s", got)
	}
	for _, other := range []string{"\x10", "\x10\x05hello", "\x10\x80\x80\x80\x80"} {
		if got := redacted(t, open+frame(other)+frame("x"), Secrets...); strings.Contains(got, "cut") {
			t.Errorf("%q, which is no MQTT: got %s", other, got)
		}
	}
}

// A piece of a trace loses its secrets too, and a first line that is cut off.
func TestRedactPiece(t *testing.T) {
	var b strings.Builder
	err := Redact(&b, strings.NewReader(`t":"{\"password\":\"a\"}"}
{"k":"frame","c":7,"d":"<","op":"text","fin":false,"text":"{\"password\":\"se"}
{"k":"frame","c":7,"d":"<","op":"cont","text":"cret\"}"}
{"k":"frame","c":8,"d":"<","op":"text","rsv":4,"b64":"/zM="}
`), Secrets...)
	const want = `{"k":"frame","c":7,"d":"<","op":"text","fin":false,"text":"{\"password\":\"redacted-password-1\""}
{"k":"frame","c":7,"d":"<","op":"cont","text":"}"}
{"k":"note","c":8,"text":"a message of the server was not looked into for secrets, as it is of an extension that is not known: its payload is left out"}
{"k":"frame","c":8,"d":"<","op":"text","rsv":4,"len":2,"cut":true}
`
	if b.String() != want || !errors.Is(err, trace.ErrCut) || !strings.Contains(err.Error(), "first line") {
		t.Errorf("got %v and\n%s", err, b.String())
	}
	for text, want := range map[string]string{"a\nb\n": "line 1: not a JSON object", "a\n": "line 1: not a JSON object", `{"wstrace":1}` + "\nb\n": "line 2: not a JSON object"} {
		if err := Redact(io.Discard, strings.NewReader(text), Secrets...); err == nil || err.Error() != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A secret is taken out wherever it is repeated after it was selected.
func TestRedactRepeated(t *testing.T) {
	const secret = "Zq8Xk2Vt9Lm4Rw7Yb1"
	got := redacted(t, open+`{"k":"req","m":"GET","target":"/?apikey=`+secret+`&mode=x","v":"HTTP/1.1","h":[["X-Other","`+secret+`"]]}
{"k":"frame","d":"<","op":"text","text":"your key `+secret+` is valid"}
{"k":"frame","d":"<","op":"text","text":"{\"echo\":\"`+secret+`\",\"n\":[\"password\"]}"}
{"k":"frame","d":"<","op":"text","text":"{\"token\":\"`+secret+`\",\"bad\":`+secret+`"}
{"k":"frame","d":"<","op":"bin","b64":"`+base64.StdEncoding.EncodeToString([]byte("\xff"+secret))+`"}
{"k":"frame","d":"<","op":"close","code":1000,"reason":"bad key `+secret+`"}
{"k":"note","text":"key `+secret+`"}
`, Secrets...)
	if all := everything(t, got); strings.Contains(all, secret) || strings.Count(all, "redacted-apikey-1") < 8 {
		t.Errorf("got %s", got)
	}
	got = redacted(t, open+`{"k":"req","m":"GET","target":"/?password=subscribe","v":"HTTP/1.1","h":[]}
{"k":"frame","d":"<","op":"text","text":"subscribe 12345678"}
`, Secrets...)
	if !strings.Contains(got, `"subscribe 12345678"`) {
		t.Errorf("a word is taken for a secret: %s", got)
	}
}

func TestKnown(t *testing.T) {
	var k known
	for i := range 3 * maxKnown {
		k.add(fmt.Sprintf("secret-%d-X", i))
	}
	for i, want := range map[int]bool{0: false, maxKnown - 1: false, 2 * maxKnown: true, 3*maxKnown - 1: true} {
		text := fmt.Sprintf("a secret-%d-X, b", i)
		if got := k.in(text); (len(got) == 1) != want {
			t.Errorf("%q: got %v, want it found: %t", text, got, want)
		}
	}
	if n := testing.AllocsPerRun(100, func() { k.in("a text without anything in it that is secret-") }); n > 0 {
		t.Errorf("looking allocates %v times", n)
	}
}
