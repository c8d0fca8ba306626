package replay

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
)

// A page of another origin than the recorded one, that asks a second server, may read the
// answer as the recorded page could.
func TestAnswerToAnotherOrigin(t *testing.T) {
	for _, c := range []struct{ origin, allowed, live, want string }{
		{"http://h:81", "http://h:81", "http://127.0.0.1:5001", "http://127.0.0.1:5001"},
		{"http://h:81", "*", "http://127.0.0.1:5001", "*"},
		{"http://h:81", "http://h:81", "null", "http://h:81"},
		{"null", "null", "http://127.0.0.1:5001", "null"},
	} {
		addr, wait := serveApp(t, `{"wstrace":1}
{"k":"open","c":1,"url":"http://api.h/"}
{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","api.h"],["Origin","`+c.origin+`"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":204,"reason":"No Content","h":[["Access-Control-Allow-Origin","`+c.allowed+`"]]}
{"k":"done","c":1,"sent":0,"got":0}
`)
		req, err := http.NewRequest("GET", "http://"+addr+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", c.live)
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		res.Body.Close()
		if got := res.Header.Get("Access-Control-Allow-Origin"); got != c.want {
			t.Errorf("%s, recorded with %s: %s is allowed, want %s", c.live, c.origin, got, c.want)
		}
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
}

// A client is told that what it has is good only if it says that it has something, in
// whatever order clients with and without a cache come.
func TestAnswerToWhoHasNothing(t *testing.T) {
	exchange := func(n, header, status, body string) string {
		return `{"k":"open","c":` + n + `,"url":"http://h/"}
{"k":"req","c":` + n + `,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","h"]` + header + `]}
{"k":"res","c":` + n + `,"v":"HTTP/1.1","code":` + status + `,"reason":"OK","h":[["ETag","\"1\""]` + body + `
{"k":"done","c":` + n + `,"sent":0,"got":1}
`
	}
	full := exchange("1", "", "200", `,["Content-Length","4"]]}`+"\n"+`{"k":"body","c":1,"d":"<","text":"page"}`)
	same := exchange("2", `,["If-None-Match","\"1\""]`, "304", `]}`)
	for _, c := range []struct {
		recorded string
		has      []bool
		want     string
		note     string
	}{
		{full + same, []bool{false, true}, "200 page, 304 ", ""},
		{full + same, []bool{false, false, true, true, false}, "200 page, 200 page, 304 , 304 , 200 page", ""},
		{full + same, []bool{true, true, false}, "200 page, 304 , 200 page", ""},
		{same, []bool{false, false}, "304 , 304 ", "GET / was answered by a 304 in the recording, and this client has nothing that it could keep; record it with an empty cache"},
	} {
		var note atomic.Value
		note.Store("")
		last := exchange("3", "", "204", `]}`)
		addr, wait := serveApp(t, `{"wstrace":1}`+"\n"+c.recorded+strings.ReplaceAll(last, `"target":"/"`, `"target":"/last"`), Notes(func(s string) { note.Store(s) }))
		var got []string
		for _, has := range c.has {
			req, err := http.NewRequest("GET", "http://"+addr+"/", nil)
			if err != nil {
				t.Fatal(err)
			}
			if has {
				req.Header.Set("If-None-Match", `"1"`)
			}
			res, err := http.DefaultClient.Do(req)
			if err != nil {
				t.Fatal(err)
			}
			b, _ := io.ReadAll(res.Body)
			res.Body.Close()
			got = append(got, fmt.Sprintf("%d %s", res.StatusCode, b))
		}
		get(t, "GET", "http://"+addr+"/last", "")
		if got := strings.Join(got, ", "); got != c.want {
			t.Errorf("%v: got %s, want %s", c.has, got, c.want)
		}
		if err := wait(); err != nil {
			t.Error(err)
		}
		if got := note.Load(); got != c.note {
			t.Errorf("%v: got the note %q, want %q", c.has, got, c.note)
		}
	}
}
