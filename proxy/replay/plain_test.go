package replay

import (
	"bytes"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wstrace/wstrace/decode/trace"
)

// app is an application that asks by HTTP, then opens a WebSocket, and asks again.
const app = `{"wstrace":1,"t0":"2026-11-21T07:31:41Z"}
{"k":"open","c":1,"client":"127.0.0.1:5001","url":"http://h/hub/negotiate"}
{"k":"req","t":0,"c":1,"m":"POST","target":"/hub/negotiate?v=1&t=oX4zQ2w","v":"HTTP/1.1","h":[["Host","h"],["Content-Type","application/json"],["Content-Length","7"]]}
{"k":"body","c":1,"d":">","text":"{\"a\":1}"}
{"k":"res","t":0.1,"c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Type","application/json"],["Transfer-Encoding","chunked"]]}
{"k":"body","t":0.1,"c":1,"d":"<","text":"{\"id\":"}
{"k":"body","t":0.2,"c":1,"d":"<","text":"\"abc\"}"}
{"k":"done","c":1,"sent":7,"got":40}
{"k":"open","c":2,"client":"127.0.0.1:5002","url":"ws://h/hub?id=abc"}
{"k":"req","t":0.3,"c":2,"m":"GET","target":"/hub?id=abc","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]]}
{"k":"res","t":0.4,"c":2,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]]}
{"k":"frame","t":0.5,"c":2,"d":">","op":"text","mask":"01020304","text":"hello"}
{"k":"open","c":3,"client":"127.0.0.1:5001","url":"http://h/data"}
{"k":"req","t":0.6,"c":3,"m":"GET","target":"/data","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"res","t":0.7,"c":3,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","4"]]}
{"k":"body","c":3,"d":"<","text":"data"}
{"k":"done","c":3,"sent":0,"got":4}
{"k":"frame","t":0.8,"c":2,"d":"<","op":"text","text":"done"}
{"k":"frame","t":0.9,"c":2,"d":">","op":"close","mask":"01020304","code":1000}
{"k":"frame","t":1,"c":2,"d":"<","op":"close","code":1000}
{"k":"end","t":1,"c":2,"how":"fin"}
`

// An application is played whole, by both roles, and what is recorded of it is the same.
func TestApplication(t *testing.T) {
	for name, opt := range map[string]PlayOption{"turns": PlayOptions(), "pauses": Timing(Scale(10)), "clock": Clock(Scale(10)), "chunks": Chunks(3)} {
		var rec bytes.Buffer
		serr, cerr := together(t, loadAll(t, app), loadAll(t, app), PlayOptions(opt, Events(trace.NewWriter(&rec, trace.Options{}))), opt)
		if serr != nil || cerr != nil {
			t.Errorf("%s: %v, %v\n%s", name, serr, cerr, &rec)
			continue
		}
		again := loadAll(t, rec.String())
		if got := again.Exchanges(); got != 2 {
			t.Errorf("%s: the recording has %d exchanges", name, got)
		}
		if name == "clock" { // who asks by it may not wait for what came before
			continue
		}
		if serr, cerr := together(t, again, loadAll(t, app), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
			t.Errorf("%s: the recording of the replay: %v, %v\n%s", name, serr, cerr, &rec)
		}
	}
}

// What differs is told by the side that sees it.
func TestApplicationDiffers(t *testing.T) {
	for _, c := range []struct{ old, new, server, client string }{
		{`{\"a\":1}`, `{\"a\":2}`, `session 1: line 4: expected the body of the request POST /hub/negotiate?v=1&t=oX4zQ2w, '{"a":1}'; got '{"a":2}', where $.a is 2, expected 1`, ""},
		{`\"abc\"}`, `\"xyz\"}`, "", `session 1: line 6: expected the body of the answer to POST /hub/negotiate?v=1&t=oX4zQ2w, '{"id":"xyz"}'; got '{"id":"abc"}', where $.id is "abc", expected "xyz"`},
		{`"code":200,"reason":"OK","h":[["Content-Length"`, `"code":201,"reason":"OK","h":[["Content-Length"`, "", `session 3: line 15: expected status 201 for GET /data, got 200 OK: "data"`},
		{`"text":"data"`, `"text":"dada"`, "", `session 3: line 16: expected the body of the answer to GET /data, "dada"; got "data", which differs at byte 2`},
		{`"/data"`, `"/other"`, "", `session 3: line 15: expected status 200 for GET /other, got 404 Not Found: "GET /other is not in the recording"`},
	} {
		other := strings.Replace(app, c.old, c.new, 1)
		if other == app {
			t.Fatal(c.old)
		}
		serr, cerr := together(t, loadAll(t, app), loadAll(t, other), Stall(300*time.Millisecond), Stall(3*time.Second))
		if c.server != "" && fmt.Sprint(serr) != c.server {
			t.Errorf("%s: server: got %v\nwant %s", c.new, serr, c.server)
		}
		if c.client != "" && fmt.Sprint(cerr) != c.client {
			t.Errorf("%s: client: got %v\nwant %s", c.new, cerr, c.client)
		}
	}
}

// serveApp serves a trace. It returns the address, and what waits for the end and says how
// it went.
func serveApp(t *testing.T, text string, opts ...PlayOption) (addr string, wait func() error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- loadAll(t, text).Serve(t.Context(), l, opts...) }()
	return l.Addr().String(), func() error { return <-done }
}

func get(t *testing.T, method, url, body string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	b, err := io.ReadAll(res.Body)
	if err != nil {
		b = append(b, " ! "+err.Error()...)
	}
	return fmt.Sprintf("%d %s", res.StatusCode, b)
}

// Other clients than ours are answered: with the last answer again, with our own address,
// with a 404 or, where the recording lacks the body, a 502.
func TestAnswers(t *testing.T) {
	const text = `{"wstrace":1}
{"k":"open","c":1,"url":"http://h/"}
{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","h:81"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","22"]]}
{"k":"body","c":1,"d":"<","text":"new WebSocket('ws://h:81')"}
{"k":"done","c":1,"sent":0,"got":22}
{"k":"open","c":2,"url":"http://h/big"}
{"k":"req","c":2,"m":"GET","target":"/big","v":"HTTP/1.1","h":[["Host","h:81"]]}
{"k":"res","c":2,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","9000"]]}
{"k":"body","c":2,"d":"<","len":9000,"text":"beginning","cut":true}
{"k":"done","c":2,"sent":0,"got":9000}
{"k":"open","c":3,"url":"http://h/old"}
{"k":"req","c":3,"m":"GET","target":"/old","v":"HTTP/1.1","h":[["Host","h:81"]]}
{"k":"res","c":3,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","9000"]]}
{"k":"done","c":3,"sent":0,"got":9000}
{"k":"open","c":4,"url":"http://h/cut"}
{"k":"req","c":4,"m":"GET","target":"/cut","v":"HTTP/1.1","h":[["Host","h:81"]]}
{"k":"res","c":4,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","9000"]]}
{"k":"body","c":4,"d":"<","len":3,"text":"abc","cut":true}
{"k":"end","c":4,"d":"<","how":"rst"}
{"k":"done","c":4,"sent":0,"got":3}
{"k":"open","c":5,"url":"http://other/x"}
{"k":"req","c":5,"m":"GET","target":"/x","v":"HTTP/1.1","h":[["Host","other"]]}
{"k":"res","c":5,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","1"]]}
{"k":"body","c":5,"d":"<","text":"x"}
{"k":"done","c":5,"sent":0,"got":1}
{"k":"open","c":6,"url":"http://h/last"}
{"k":"req","c":6,"m":"GET","target":"/last","v":"HTTP/1.1","h":[["Host","h:81"]]}
{"k":"res","c":6,"v":"HTTP/1.1","code":204,"reason":"No Content","h":[]}
{"k":"done","c":6,"sent":0,"got":0}
`
	var mu sync.Mutex
	var notes []string
	addr, wait := serveApp(t, text, Notes(func(s string) {
		mu.Lock()
		defer mu.Unlock()
		notes = append(notes, s)
	}), BodyHint("record more"))
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/health", "404 GET /health is not in the recording\n"},
		{"GET", "/", "200 new WebSocket('ws://" + addr + "')"},
		{"GET", "/", "200 new WebSocket('ws://" + addr + "')"},
		{"GET", "/big", "502 the body of the answer to GET /big was not recorded whole: 8991 bytes are missing; record more\n"},
		{"GET", "/old", "502 the body of the answer to GET /old was not recorded whole: 9000 bytes are missing; record more\n"},
		{"GET", "/cut", "200 abc ! unexpected EOF"},
		{"POST", "/", "404 POST / is not in the recording\n"},
		{"GET", "/x", "200 x"},
		{"GET", "/last", "204 "},
	} {
		if got := get(t, c.method, "http://"+addr+c.path, ""); got != c.want {
			t.Errorf("%s %s: got %q, want %q", c.method, c.path, got, c.want)
		}
	}
	if err := wait(); err != nil {
		t.Error(err)
	}
	want := []string{
		"the body of the answer to GET /big was not recorded whole: 8991 bytes are missing; record more",
		"the body of the answer to GET /old was not recorded whole: 9000 bytes are missing; record more",
		"not in the recording, and answered by a 404: GET /health, POST /",
	}
	if !slices.Equal(notes, want) {
		t.Errorf("got notes %q, want %q", notes, want)
	}
}

// An answer waits for what was recorded before it, in any session.
func TestAnswerWaits(t *testing.T) {
	const text = `{"wstrace":1}
{"k":"open","c":1,"url":"http://h/poll"}
{"k":"req","c":1,"m":"GET","target":"/poll?t=1699999999999","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"open","c":2,"url":"http://h/send"}
{"k":"req","c":2,"m":"POST","target":"/send","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","2"]]}
{"k":"body","c":2,"d":">","text":"hi"}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","3"]]}
{"k":"body","c":1,"d":"<","text":"hi!"}
{"k":"done","c":1,"sent":0,"got":3}
{"k":"res","c":2,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","0"]]}
{"k":"done","c":2,"sent":2,"got":0}
`
	addr, wait := serveApp(t, text)
	polled := make(chan string)
	go func() { polled <- get(t, "GET", "http://"+addr+"/poll?t=1700000000001", "") }()
	select {
	case got := <-polled:
		t.Errorf("got %q before anything was sent", got)
	case <-time.After(50 * time.Millisecond):
	}
	if got := get(t, "POST", "http://"+addr+"/send", "hi"); got != "200 " {
		t.Errorf("got %q", got)
	}
	if got := <-polled; got != "200 hi!" {
		t.Errorf("got %q", got)
	}
	if err := wait(); err != nil {
		t.Error(err)
	}

	addr, wait = serveApp(t, text, Stall(200*time.Millisecond))
	get2, err := http.Get("http://" + addr + "/poll?t=1700000000002")
	if err == nil {
		get2.Body.Close()
	}
	if got, want := fmt.Sprint(wait()), "server waits for the request POST /send of session 2 (line 5): nothing for 200ms"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Requests of one connection are performed on one connection, and so is the handshake
// behind them.
func TestOneConnection(t *testing.T) {
	const upgrade = `["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]`
	const text = `{"wstrace":1}
{"k":"open","c":1,"client":"127.0.0.1:5001"}
{"k":"req","c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","h"],` + upgrade + `]}
{"k":"res","c":1,"v":"HTTP/1.1","code":401,"reason":"Unauthorized","h":[["WWW-Authenticate","NTLM"],["Content-Length","4"]],"blen":4}
{"k":"body","c":1,"d":"<","text":"who?"}
{"k":"done","c":1,"sent":0,"got":4}
{"k":"open","c":2,"client":"127.0.0.1:5001"}
{"k":"req","c":2,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","h"],["Authorization","NTLM abc"],` + upgrade + `]}
{"k":"res","c":2,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]]}
{"k":"frame","c":2,"d":"<","op":"text","text":"in"}
{"k":"end","c":2,"d":">"}
`
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	counted := &countingListener{Listener: l}
	done := make(chan error)
	go func() { done <- loadAll(t, text).Serve(t.Context(), counted) }()
	if err := loadAll(t, text).Connect(t.Context(), "ws://"+l.Addr().String()); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil || counted.n != 1 {
		t.Errorf("%v, %d connections", err, counted.n)
	}
}

type countingListener struct {
	net.Listener
	n int
}

func (l *countingListener) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err == nil {
		l.n++
	}
	return conn, err
}

// What the server makes up in an answer goes into the query of the handshake, and into
// later requests; what a client makes up is taken from its request.
func TestApplicationCaptures(t *testing.T) {
	made := strings.NewReplacer(`\"abc\"`, `\"3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f\"`, "id=abc", "id=3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f",
		`"/data"`, `"/data/3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f"`).Replace(app)
	now := strings.ReplaceAll(made, "3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f", "b8e1d7f4-22c3-4a09-8f6e-91d2e3f4a5b6")
	for name, opt := range map[string]CompareOption{"selector": Capture("$.id"), "auto": CaptureAuto()} {
		var mu sync.Mutex
		var taken []string
		serr, cerr := together(t, loadAll(t, now), loadAll(t, made, opt), PlayOptions(), Captured(func(sel string) {
			mu.Lock()
			defer mu.Unlock()
			taken = append(taken, sel)
		}))
		if serr != nil || cerr != nil {
			t.Errorf("%s: %v, %v", name, serr, cerr)
		}
		if name == "auto" && !slices.Equal(taken, []string{"$.id"}) {
			t.Errorf("got %q", taken)
		}
	}
	_, cerr := together(t, loadAll(t, now), loadAll(t, made), Stall(time.Second), PlayOptions())
	if got := fmt.Sprint(cerr); !strings.Contains(got, `where $.id is "b8e1d7f4-22c3-4a09-8f6e-91d2e3f4a5b6"`) {
		t.Errorf("without: %v", got)
	}
	// A cookie, and what a client says in a body.
	cookies := `{"wstrace":1}
{"k":"open","c":1,"client":"127.0.0.1:5001"}
{"k":"req","c":1,"m":"POST","target":"/login","v":"HTTP/1.1","h":[["Host","h"],["Content-Type","application/x-www-form-urlencoded"],["Content-Length","31"]]}
{"k":"body","c":1,"d":">","text":"nonce=kq8Zr2Vt9LmXw4&user=ada"}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Set-Cookie","sid=Vh3kP0qZt7Rm2; Path=/"],["Content-Length","22"]]}
{"k":"body","c":1,"d":"<","text":"welcome kq8Zr2Vt9LmXw4"}
{"k":"done","c":1,"sent":31,"got":22}
{"k":"open","c":2,"client":"127.0.0.1:5001"}
{"k":"req","c":2,"m":"GET","target":"/me","v":"HTTP/1.1","h":[["Host","h"],["Cookie","theme=dark; sid=Vh3kP0qZt7Rm2"]]}
{"k":"res","c":2,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","3"]]}
{"k":"body","c":2,"d":"<","text":"ada"}
{"k":"done","c":2,"sent":0,"got":3}
`
	other := strings.NewReplacer("Vh3kP0qZt7Rm2", "mQ81xWc5Ty0Bd", "kq8Zr2Vt9LmXw4", "Pz5Nc1Hs6YbTe8").Replace(cookies)
	if serr, cerr := together(t, loadAll(t, cookies, CaptureAuto(), Headers("Cookie")), loadAll(t, other, CaptureAuto()), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
		t.Errorf("cookies: %v, %v", serr, cerr)
	}
}

// A stream of events that still went on when the recording ended is held open.
func TestOpenStream(t *testing.T) {
	const text = `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","c":1,"m":"GET","target":"/events","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Type","text/event-stream"],["Transfer-Encoding","chunked"]]}
{"k":"body","t":0.1,"c":1,"d":"<","text":"data: 1\n\n"}
{"k":"open","c":2}
{"k":"req","c":2,"m":"POST","target":"/next","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","0"]]}
{"k":"res","c":2,"v":"HTTP/1.1","code":204,"reason":"No Content","h":[]}
{"k":"done","c":2,"sent":0,"got":0}
{"k":"body","t":0.2,"c":1,"d":"<","text":"data: 2\n\n"}
`
	if serr, cerr := together(t, loadAll(t, text), loadAll(t, text), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
		t.Errorf("%v, %v", serr, cerr)
	}
	other := strings.Replace(text, "data: 2", "data: 3", 1)
	if _, cerr := together(t, loadAll(t, text), loadAll(t, other), PlayOptions(), PlayOptions()); cerr == nil || !strings.Contains(cerr.Error(), `got "data: 1\n\ndata: 2\n\n", which differs at byte 15`) {
		t.Errorf("got %v", cerr)
	}
}

// Serve and Dial play applications, too, also in a bubble.
func TestServeApplication(t *testing.T) {
	file := fixture(t, app)
	Dial(t, Serve(t, file).URL, file)
	srv := Serve(t, file, ServerTLS(nil))
	Dial(t, srv.URL, file, TLS(&tls.Config{RootCAs: srv.Roots}))
	synctest.Test(t, func(t *testing.T) {
		srv := Serve(t, file, Timing(Original))
		Dial(t, "ws://anywhere", file, Dialer(srv.DialContext), Timing(Original))
	})
	for _, c := range []struct {
		what string
		do   func(t *witness, srv *Server)
		want []string
	}{
		{"nothing", func(*witness, *Server) {}, []string{"no client has connected"}},
		{"health", func(t *witness, srv *Server) { get(t.T, "GET", srv.HTTP+"/health", "") },
			[]string{"no client has connected; not in the recording is GET /health"}},
		{"negotiate", func(t *witness, srv *Server) {
			get(t.T, "POST", srv.HTTP+"/hub/negotiate?v=1&t=oX4zQ2w", `{"a":1}`)
		}, []string{"no client has asked for GET /data (session 3, line 14)", "no client has connected"}},
		{"other body", func(t *witness, srv *Server) {
			get(t.T, "POST", srv.HTTP+"/hub/negotiate?v=1&t=oX4zQ2w", `{"a":2}`)
		}, []string{`session 1: line 4: expected the body of the request POST /hub/negotiate?v=1&t=oX4zQ2w, '{"a":1}'; got '{"a":2}', where $.a is 2, expected 1`}},
	} {
		told := watch(t, func(t *witness) { c.do(t, Serve(t, file)) })
		for i := range told {
			told[i] = strings.TrimPrefix(told[i], "replay "+file+": ")
		}
		if !slices.Equal(told, c.want) {
			t.Errorf("%s: got %q, want %q", c.what, told, c.want)
		}
	}
	// Without a WebSocket, too.
	plain := fixture(t, app[:strings.Index(app, `{"k":"open","c":2`)])
	Dial(t, Serve(t, plain).URL, plain)
	told := watch(t, func(t *witness) { Serve(t, plain) })
	if want := "replay " + plain + ": no client has asked for POST /hub/negotiate?v=1&t=oX4zQ2w (session 1, line 3)"; len(told) != 1 || told[0] != want {
		t.Errorf("got %q, want %q", told, want)
	}
}

// loginTrace is one of a server that gives a cookie, and wants it back.
const loginTrace = `{"wstrace":1}
{"k":"open","c":1,"client":"127.0.0.1:5001"}
{"k":"req","c":1,"m":"POST","target":"/login","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","3"]]}
{"k":"body","c":1,"d":">","text":"ada"}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Set-Cookie","sid=Vh3kP0qZt7Rm2; Path=/"],["Content-Length","5"]]}
{"k":"body","c":1,"d":"<","text":"hello"}
{"k":"done","c":1,"sent":3,"got":5}
{"k":"open","c":2,"client":"127.0.0.1:5001"}
{"k":"req","c":2,"m":"GET","target":"/me","v":"HTTP/1.1","h":[["Host","h"],["Cookie","theme=dark; sid=Vh3kP0qZt7Rm2"]]}
{"k":"res","c":2,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","3"]]}
{"k":"body","c":2,"d":"<","text":"ada"}
{"k":"done","c":2,"sent":0,"got":3}
`

// loginServer gives another cookie each time.
func loginServer(t *testing.T) *httptest.Server {
	sid, n := "", 0
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, err := r.Cookie("sid")
		switch {
		case r.URL.Path == "/login":
			n++
			sid = fmt.Sprintf("kq8Zr2Vt9LmX%d", n)
			http.SetCookie(w, &http.Cookie{Name: "sid", Value: sid})
			io.WriteString(w, "hello")
		case err != nil || c.Value != sid:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			io.WriteString(w, "ada")
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

// What a server makes up anew, and is not captured, is named where it fails.
func TestAnew(t *testing.T) {
	srv := loginServer(t)
	err := loadAll(t, loginTrace).Connect(t.Context(), srv.URL)
	var d *Difference
	if !errors.As(err, &d) || d.Text != "expected status 200 for GET /me, got 401 Unauthorized" || !slices.Equal(d.Anew, []string{"Set-Cookie:"}) {
		t.Errorf("got %v, %q", err, d.Anew)
	}
	for _, opt := range []CompareOption{CaptureAuto(), Capture("Set-Cookie:")} {
		if err := loadAll(t, loginTrace, opt).Connect(t.Context(), srv.URL); err != nil {
			t.Error(err)
		}
	}
	made := strings.NewReplacer(`\"abc\"`, `\"3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f\"`, "id=abc", "id=3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f").Replace(app)
	now := strings.ReplaceAll(made, "3f0c9a62-8d1e-4b7a-9c55-0a1b2c3d4e5f", "b8e1d7f4-22c3-4a09-8f6e-91d2e3f4a5b6")
	_, err = together(t, loadAll(t, now), loadAll(t, made), Stall(time.Second), PlayOptions())
	if !errors.As(err, &d) || !slices.Equal(d.Anew, []string{"$.id"}) {
		t.Errorf("got %v, %q", err, d.Anew)
	}
}

// An update of an application keeps its bodies, and uses what is captured.
func TestUpdateApplication(t *testing.T) {
	for name, update := range map[string]func(t *testing.T, file, url string){
		"relay": func(t *testing.T, file, url string) {
			srv := Serve(t, file, UpdateFrom(true, url))
			if err := loadAll(t, loginTrace, CaptureAuto()).Connect(t.Context(), srv.HTTP); err != nil {
				t.Error(err)
			}
		},
		"client": func(t *testing.T, file, url string) { Dial(t, url, file, Update(true), CaptureAuto()) },
		"server": func(t *testing.T, file, url string) {
			srv := Serve(t, file, Update(true))
			if err := loadAll(t, loginTrace).Connect(t.Context(), srv.HTTP); err != nil {
				t.Error(err)
			}
		},
	} {
		file := fixture(t, loginTrace)
		t.Run(name, func(t *testing.T) { update(t, file, loginServer(t).URL) })
		b, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if n := strings.Count(string(b), `"k":"body"`); n != 3 {
			t.Errorf("%s: %d bodies\n%s", name, n, b)
		}
		if name != "server" && strings.Contains(string(b), "Vh3kP0qZt7Rm2") {
			t.Errorf("%s: not made anew:\n%s", name, b)
		}
		again := loadAll(t, string(b))
		if serr, cerr := together(t, again, again, PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
			t.Errorf("%s: %v, %v", name, serr, cerr)
		}
	}
}

// A client that asks for something else is told of, though no request fits; one that looks
// whether the server is there is waited for.
func TestStranger(t *testing.T) {
	addr, wait := serveApp(t, loginTrace, Stall(200*time.Millisecond))
	get(t, "GET", "http://"+addr+"/health", "")
	get(t, "POST", "http://"+addr+"/signin", "")
	if got, want := fmt.Sprint(wait()), "server waits for the request POST /login of session 1 (line 3): nothing for 200ms"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

// Serve tells the test about requests too.
func TestServeTellsOfRequests(t *testing.T) {
	file := fixture(t, `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","c":1,"m":"POST","target":"/a","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","2"]]}
{"k":"body","c":1,"d":">","text":"hi"}
{"k":"res","c":1,"v":"HTTP/1.1","code":204,"reason":"No Content","h":[]}
{"k":"done","c":1,"sent":2,"got":0}
`)
	told := watch(t, func(t *witness) {
		srv := Serve(t, file)
		if got := get(t.T, "POST", strings.Replace(srv.URL, "ws:", "http:", 1)+"/a", "ho"); !strings.HasPrefix(got, "400 ") {
			t.T.Errorf("got %q", got)
		}
	})
	want := "replay " + file + `: session 1: line 4: expected the body of the request POST /a, "hi"; got "ho", which differs at byte 1`
	if !slices.Equal(told, []string{want}) {
		t.Errorf("got %q\nwant %s", told, want)
	}
}
