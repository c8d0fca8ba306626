package replay

import (
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"
	"time"
)

// exchangeOf returns the lines of an exchange: the request with its target, and an answer with
// these headers and lines for its body.
func exchangeOf(c int, target, headers string, body ...string) string {
	var b strings.Builder
	fmt.Fprintf(&b, `{"k":"open","c":%d}`+"\n"+`{"k":"req","c":%[1]d,"m":"GET","target":%q,"v":"HTTP/1.1","h":[["Host","h"]]}`+"\n", c, target)
	status := 200
	if strings.Contains(headers, "Location") {
		status = 302
	}
	fmt.Fprintf(&b, `{"k":"res","c":%d,"v":"HTTP/1.1","code":%d,"reason":"OK","h":[%s]}`+"\n", c, status, headers)
	for _, line := range body {
		fmt.Fprintf(&b, `{"k":"body","c":%d,"d":"<",%s}`+"\n", c, line)
	}
	fmt.Fprintf(&b, `{"k":"done","c":%d,"sent":0,"got":1}`+"\n", c)
	return b.String()
}

// gzipped returns the key of a record that has a text compressed.
func gzipped(text string) string {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	io.WriteString(z, text)
	z.Close()
	return `"b64":"` + base64.StdEncoding.EncodeToString(b.Bytes()) + `"`
}

const (
	header  = `{"wstrace":1}` + "\n"
	asGzip  = `["Content-Encoding","gzip"],["Transfer-Encoding","chunked"]`
	asText  = `["Transfer-Encoding","chunked"]`
	anID    = "3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f"
	otherID = "b8e1d7f4-22c3-4a09-8f6e-91d2e3f4a5b6"
)

// Bodies that are not as recorded are told of, whatever their coding, and those that mean
// the same are not.
func TestBodiesDiffer(t *testing.T) {
	cut := func(text string, n int) string { return fmt.Sprintf(`"text":%q,"len":%d,"cut":true`, text, n) }
	for _, c := range []struct {
		name           string
		served, wanted string
		opts           []CompareOption
		want           string // "" for no difference
	}{
		{"gzip", exchangeOf(1, "/", asGzip, gzipped("hello")), exchangeOf(1, "/", asGzip, gzipped("hello")), nil, ""},
		{"other gzip", exchangeOf(1, "/", asGzip, gzipped("hallo")), exchangeOf(1, "/", asGzip, gzipped("hello")), nil, `expected the body of the answer to GET /, "hello"; got "hallo", which differs at byte 1`},
		{"plain for gzip", exchangeOf(1, "/", asText, `"text":"hello"`), exchangeOf(1, "/", asGzip, gzipped("hello")), nil, ""},
		{"no gzip", exchangeOf(1, "/", asGzip, `"text":"hello"`), exchangeOf(1, "/", asGzip, gzipped("hello")), nil, "expected the body of the answer to GET /, got 5 bytes that are no gzip"},
		{"of a cut one", exchangeOf(1, "/", asText, `"text":"abcdef"`), exchangeOf(1, "/", asText, cut("abc", 6)), nil, ""},
		{"cut, other text", exchangeOf(1, "/", asText, `"text":"abXdef"`), exchangeOf(1, "/", asText, cut("abc", 6)), nil, `expected the body of the answer to GET /, "abc"; got "abX", which differs at byte 2`},
		{"cut, other text, with a selector", exchangeOf(1, "/", asText, `"text":"abXdef"`), exchangeOf(1, "/", asText, cut("abc", 6)), []CompareOption{Ignore("$.x")}, `expected the body of the answer to GET /, "abc"; got "abX", which differs at byte 2`},
		{"cut, other length", exchangeOf(1, "/", asText, `"text":"abcd"`), exchangeOf(1, "/", asText, cut("abc", 6)), nil, "expected the body of the answer to GET /, of 6 bytes, got 4 bytes"},
		{"redirect", exchangeOf(1, "/", `["Location","/error"],["Content-Length","0"]`), exchangeOf(1, "/", `["Location","/home"],["Content-Length","0"]`), nil, `expected GET / to lead to "/home", got "/error"`},
		{"redirect elsewhere", exchangeOf(1, "/", `["Location","https://h/home"],["Content-Length","0"]`), exchangeOf(1, "/", `["Location","/home"],["Content-Length","0"]`), nil, ""},
		{"cache buster", exchangeOf(1, "/?t=1700000000001", asText, `"text":"a"`), exchangeOf(1, "/?t=1700000000009", asText, `"text":"a"`), nil, ""},
		{"name in place of one", exchangeOf(1, "/?t=monday", asText, `"text":"a"`), exchangeOf(1, "/?t=friday", asText, `"text":"a"`), nil, `expected status 200 for GET /?t=friday, got 404 Not Found: "GET /?t=friday is not in the recording"`},
	} {
		_, cerr := together(t, loadAll(t, header+c.served), loadAll(t, header+c.wanted, c.opts...), Stall(200*time.Millisecond), PlayOptions())
		got := fmt.Sprint(cerr)
		if _, rest, ok := strings.Cut(got, ": line "); ok {
			_, got, _ = strings.Cut(rest, ": ")
		}
		if c.want == "" {
			c.want = "<nil>"
		}
		if got != c.want {
			t.Errorf("%s: got %s\nwant %s", c.name, got, c.want)
		}
	}
}

// A value is taken from a body, and put into it, whatever its coding and its pieces.
func TestBodiesAreChanged(t *testing.T) {
	half := `{"id":"` + anID[:20]
	ask := func(id string) string { return exchangeOf(2, "/use?id="+id, asText, `"text":"ok"`) }
	for name, c := range map[string]struct{ made, now string }{
		"gzip":   {exchangeOf(1, "/", asGzip, gzipped(`{"id":"`+anID+`"}`)) + ask(anID), exchangeOf(1, "/", asGzip, gzipped(`{"id":"`+otherID+`"}`)) + ask(otherID)},
		"pieces": {exchangeOf(1, "/", asText, fmt.Sprintf(`"text":%q`, half), fmt.Sprintf(`"t":0.1,"text":%q`, anID[20:]+`"}`)) + ask(anID), exchangeOf(1, "/", asText, fmt.Sprintf(`"text":%q`, `{"id":"`+otherID+`"}`)) + ask(otherID)},
	} {
		if serr, cerr := together(t, loadAll(t, header+c.now), loadAll(t, header+c.made, CaptureAuto()), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
			t.Errorf("%s, as client: %v, %v", name, serr, cerr)
		}
	}
	// Our address goes into what is compressed, or comes in pieces.
	for name, text := range map[string]string{
		"gzip":   exchangeOf(1, "/", asGzip, gzipped(`{"ws":"wss://h/ws"}`)),
		"pieces": exchangeOf(1, "/", asText, `"text":"{\"ws\":\"ws"`, `"t":0.1,"text":"s://h/ws\"}"`),
	} {
		addr, wait := serveApp(t, header+text)
		if got, want := get(t, "GET", "http://"+addr+"/", ""), `200 {"ws":"ws://`+addr+`/ws"}`; got != want {
			t.Errorf("%s: got %s, want %s", name, got, want)
		}
		if err := wait(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// A refusal in the recording is for the client that was refused, not for one that was
// accepted before.
func TestRefusedLater(t *testing.T) {
	const upgrade = `["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]`
	const text = header + `{"k":"open","c":1}
{"k":"req","c":1,"m":"GET","target":"/ws","v":"HTTP/1.1","h":[["Host","h"],` + upgrade + `]}
{"k":"res","c":1,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]]}
{"k":"frame","c":1,"d":"<","op":"text","text":"hi"}
{"k":"end","c":1}
{"k":"open","c":2}
{"k":"req","c":2,"m":"GET","target":"/ws","v":"HTTP/1.1","h":[["Host","h"],` + upgrade + `]}
{"k":"res","c":2,"v":"HTTP/1.1","code":503,"reason":"Service Unavailable","h":[["Content-Length","4"]],"blen":4}
{"k":"body","c":2,"d":"<","text":"full"}
{"k":"done","c":2,"sent":0,"got":4}
`
	if serr, cerr := together(t, loadAll(t, text), loadAll(t, text), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
		t.Errorf("%v, %v", serr, cerr)
	}
}

// What is no body, or only a part of one, ends a replay in a sentence.
func TestBrokenBodies(t *testing.T) {
	const post = header + `{"k":"open","c":1}
{"k":"req","c":1,"m":"POST","target":"/p","v":"HTTP/1.1","h":[["Host","h"],["Transfer-Encoding","chunked"]]}
{"k":"body","c":1,"d":">","text":"abc","last":true}
{"k":"res","c":1,"v":"HTTP/1.1","code":204,"reason":"No Content","h":[]}
{"k":"done","c":1,"sent":13,"got":0}
`
	for _, c := range []struct{ sent, want string }{
		{"3\r\nabc\r\n", "server waits for the rest of the request POST /p: nothing for 200ms"},
		{"3\r\nabc\r\nzz\r\n", "the request POST /p: the chunks of its body are broken"},
	} {
		addr, wait := serveApp(t, post, Stall(200*time.Millisecond))
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		io.WriteString(conn, "POST /p HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"+c.sent)
		if got := fmt.Sprint(wait()); got != c.want {
			t.Errorf("got %s, want %s", got, c.want)
		}
		conn.Close()
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		if conn, err := l.Accept(); err == nil {
			io.WriteString(conn, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
			io.Copy(io.Discard, conn)
		}
	}()
	err = loadAll(t, header+exchangeOf(1, "/", asText, `"text":"abc","last":true`)).Connect(t.Context(), "http://"+l.Addr().String())
	if want := "session 1: line 4: the answer to GET /: the chunks of its body are broken"; fmt.Sprint(err) != want {
		t.Errorf("got %v, want %s", err, want)
	}
}
