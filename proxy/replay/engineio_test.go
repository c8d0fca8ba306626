package replay

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/trace"
)

// polled is a session of Socket.IO: it is opened, both sides send by polling, then it is
// upgraded, and goes on. A poll is under way when the upgrade comes.
const polled = `{"wstrace":1}
{"k":"open","c":1,"client":"127.0.0.1:5001"}
{"k":"req","c":1,"m":"GET","target":"/socket.io/?EIO=4&transport=polling&t=aaaaa","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Type","text/plain"],["Content-Length","69"],["Set-Cookie","node=abc"]]}
{"k":"body","c":1,"d":"<","text":"0{\"sid\":\"Zx81Kq0PfW\",\"upgrades\":[\"websocket\"],\"pingInterval\":25000}"}
{"k":"done","c":1,"sent":0,"got":69}
{"k":"open","c":2,"client":"127.0.0.1:5001"}
{"k":"req","c":2,"m":"POST","target":"/socket.io/?EIO=4&transport=polling&t=aaaab&sid=Zx81Kq0PfW","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","2"]]}
{"k":"open","c":3,"client":"127.0.0.1:5002"}
{"k":"req","c":3,"m":"GET","target":"/socket.io/?EIO=4&transport=polling&t=aaaac&sid=Zx81Kq0PfW","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"body","c":2,"d":">","text":"40"}
{"k":"res","c":2,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","2"]]}
{"k":"body","c":2,"d":"<","text":"ok"}
{"k":"done","c":2,"sent":2,"got":2}
{"k":"res","c":3,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Type","text/plain"],["Content-Length","41"]]}
{"k":"body","c":3,"d":"<","text":"40{\"sid\":\"Yb7Kd92LmQ\"}\u001e42[\"hello\"]\u001ebAQID"}
{"k":"done","c":3,"sent":0,"got":41}
{"k":"open","c":4,"client":"127.0.0.1:5001"}
{"k":"req","c":4,"m":"POST","target":"/socket.io/?EIO=4&transport=polling&t=aaaad&sid=Zx81Kq0PfW","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","26"]]}
{"k":"body","c":4,"d":">","text":"42[\"early\"]\u001e420[\"add\",1]"}
{"k":"res","c":4,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","2"]]}
{"k":"body","c":4,"d":"<","text":"ok"}
{"k":"done","c":4,"sent":26,"got":2}
{"k":"open","c":5,"client":"127.0.0.1:5002"}
{"k":"req","c":5,"m":"GET","target":"/socket.io/?EIO=4&transport=polling&t=aaaae&sid=Zx81Kq0PfW","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"open","c":6,"client":"127.0.0.1:5003"}
{"k":"req","c":6,"m":"GET","target":"/socket.io/?EIO=4&transport=websocket&sid=Zx81Kq0PfW","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"],["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"res","c":6,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]]}
{"k":"frame","c":6,"d":">","op":"text","mask":"01020304","text":"2probe"}
{"k":"frame","c":6,"d":"<","op":"text","text":"3probe"}
{"k":"res","c":5,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Type","text/plain"],["Content-Length","1"]]}
{"k":"body","c":5,"d":"<","text":"6"}
{"k":"done","c":5,"sent":0,"got":1}
{"k":"frame","c":6,"d":">","op":"text","mask":"01020304","text":"5"}
{"k":"frame","c":6,"d":"<","op":"text","text":"430[2]"}
{"k":"frame","c":6,"d":"<","op":"text","text":"2"}
{"k":"frame","c":6,"d":">","op":"text","mask":"01020304","text":"3"}
{"k":"frame","c":6,"d":">","op":"text","mask":"01020304","text":"451-[\"bytes\",{\"_placeholder\":true,\"num\":0}]"}
{"k":"frame","c":6,"d":">","op":"bin","mask":"01020304","hex":"0a0b"}
{"k":"frame","c":6,"d":">","op":"close","mask":"01020304","code":1000}
{"k":"frame","c":6,"d":"<","op":"close","code":1000}
{"k":"end","c":6,"d":">"}
`

func TestPollingIsPlayed(t *testing.T) {
	play := loadAll(t, polled)
	if n, m := len(play.Scripts()), play.Exchanges(); n != 1 || m != 5 || play.Alone() != nil {
		t.Errorf("%d scripts, %d exchanges, alone: %v", n, m, play.Alone())
	}
	var servers, clients bytes.Buffer
	serr, cerr := together(t, play, loadAll(t, polled), Events(trace.NewWriter(&servers, trace.Options{})), Events(trace.NewWriter(&clients, trace.Options{})))
	if serr != nil || cerr != nil {
		t.Fatal(serr, cerr)
	}
	for who, rec := range map[string]string{"server": servers.String(), "client": clients.String()} {
		for _, want := range []string{`"d":">","text":"40"`, `430[2]`, `"code":101`, `"op":"text","text":"3probe"`, `"text":"5"`} {
			if !strings.Contains(rec, want) {
				t.Errorf("%s: the recording of the replay has no %s:\n%s", who, want, rec)
			}
		}
		serr, cerr := together(t, loadAll(t, polled), loadAll(t, rec), PlayOptions(), PlayOptions())
		if serr != nil || cerr != nil {
			t.Errorf("the recording of the %s: %v, %v\n%s", who, serr, cerr, rec)
		}
	}
}

// What a server makes up in each run is taken without a flag where polls have it, and by
// itself in messages.
func TestPollingWithOtherIDs(t *testing.T) {
	other := strings.NewReplacer("Zx81Kq0PfW", "Qp5Lw3Xz9R", "Yb7Kd92LmQ", "Hn4Tv6Bc1S", "aaaa", "bbbb").Replace(polled)
	var taken []string
	serr, cerr := together(t, loadAll(t, other), loadAll(t, polled, CaptureAuto()), PlayOptions(), Captured(func(sel string) { taken = append(taken, sel) }))
	if serr != nil || cerr != nil {
		t.Error(serr, cerr)
	}
	if !slices.Equal(taken, []string{"$.sid"}) {
		t.Errorf("captured %q", taken)
	}
	_, cerr = together(t, loadAll(t, other), loadAll(t, polled), Stall(time.Second), PlayOptions())
	check(t, cerr, `session 1: line 5: expected server frame 0, text '0{"sid":"Zx81Kq0PfW","upgrades":["websocket"],"pingInterval":25000}', after the handshake; got text '0{"sid":"Qp5Lw3Xz9R","upgrades":["websocket"],"pingInterval":25000}', where $.sid is "Qp5Lw3Xz9R", expected "Zx81Kq0PfW"`)
}

func TestPollingDiffers(t *testing.T) {
	for _, c := range []struct{ old, new, server, client string }{
		{`420[\"add\",1]`, `420[\"add\",7]`, `session 1: line 20: expected client frame 2, text '420["add",7]', after client frame 1 (line 20); got text '420["add",1]', where $[1] is 1, expected 7`, ""},
		{`"d":">","text":"40"`, `"d":">","text":"41"`, `session 1: line 11: expected client frame 0, text "41", after the handshake; got text "40", which differs at byte 1`, ""},
		{`"hex":"0a0b"`, `"hex":"0a0c"`, `session 1: line 39: expected client frame 5, binary [0a 0c], after client frame 4 (line 38); got binary [0a 0b], which differs at byte 1`, ""},
		{`42[\"hello\"]`, `42[\"adieu\"]`, "", `session 1: line 16: expected server frame 2, text '42["hello"]', after server frame 1 (line 16); got text '42["adieu"]', where $[0] is "adieu", expected "hello"`},
		{`bAQID`, `bAQIE`, "", `session 1: line 16: expected server frame 3, binary [01 02 03], after server frame 2 (line 16); got binary [01 02 04], which differs at byte 2`},
		{`430[2]`, `430[3]`, "", `session 1: line 35: expected server frame 4, text "430[2]", after server frame 3 (line 16); got text "430[3]", where $[0] is 3, expected 2`},
	} {
		other := strings.Replace(polled, c.old, c.new, 1)
		if other == polled {
			t.Fatalf("%s changes nothing", c.old)
		}
		serr, cerr := together(t, loadAll(t, other), loadAll(t, polled), Stall(500*time.Millisecond), Stall(3*time.Second))
		if c.server != "" && fmt.Sprint(serr) != c.server {
			t.Errorf("%s: server: got %v\nwant %s", c.new, serr, c.server)
		}
		if c.client != "" && fmt.Sprint(cerr) != c.client {
			t.Errorf("%s: client: got %v\nwant %s", c.new, cerr, c.client)
		}
	}
}

// A server that does not open the session is told apart by its answer.
func TestPollingRefused(t *testing.T) {
	srv := httptest.NewServer(http.NotFoundHandler())
	defer srv.Close()
	err := loadAll(t, polled).Connect(t.Context(), srv.URL)
	check(t, err, `session 1: line 4: expected status 200 for GET /socket.io/?EIO=4&transport=polling&t=aaaaa, got 404 Not Found: "404 page not found"`)
}

// A poller is a client of Engine.IO that does by polling what it is told.
type poller struct {
	t   *testing.T
	url string
}

func (p *poller) get() string { return get(p.t, "GET", p.url, "") }

func (p *poller) post(packets string) {
	p.t.Helper()
	if got := get(p.t, "POST", p.url, packets); got != "200 ok" {
		p.t.Errorf("post: got %q", got)
	}
}

// all returns the first n packets that polls bring.
func (p *poller) all(n int) string {
	var list []string
	for len(list) < n {
		body, ok := strings.CutPrefix(p.get(), "200 ")
		if !ok {
			p.t.Fatalf("got %q behind %q", body, list)
		}
		list = append(list, strings.Split(body, packetEnd)...)
	}
	return strings.Join(list, " ")
}

// A client may put other packets into a request, poll at other times, send by one
// transport what was sent by the other, and upgrade later or not at all.
func TestPollingOtherwise(t *testing.T) {
	for _, upgrades := range []bool{false, true} {
		addr, wait := serveApp(t, polled)
		p := &poller{t, "http://" + addr + "/socket.io/?EIO=4&transport=polling&t=zzzzz"}
		if got := p.get(); !strings.HasPrefix(got, `200 0{"sid":"Zx81Kq0PfW"`) {
			t.Fatalf("got %q", got)
		}
		p.url += "&sid=Zx81Kq0PfW"
		p.post("40")
		if got, want := p.all(3), `40{"sid":"Yb7Kd92LmQ"} 42["hello"] bAQID`; got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		p.post(`42["early"]`)
		if !upgrades {
			p.post(`420["add",1]`)
			if got := p.all(1); !strings.HasPrefix(got, "430[2]") {
				t.Errorf("got %s", got)
			}
			p.post("451-[\"bytes\",{\"_placeholder\":true,\"num\":0}]" + packetEnd + "bCgs=")
			p.post("1")
			if err := wait(); err == nil || !strings.Contains(err.Error(), "line 40") { // it is the Close frame that does not come
				t.Errorf("without an upgrade: %v", err)
			}
			continue
		}
		polls := make(chan string)
		go func() { polls <- p.get() }()
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		io.WriteString(conn, "GET /socket.io/?EIO=4&transport=websocket&sid=Zx81Kq0PfW HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"+frame(ws.OpText, "2probe"))
		in := bufio.NewReader(conn)
		res, err := http.ReadResponse(in, nil)
		if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Accept") != "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=" {
			t.Fatal(res, err)
		}
		if _, got, err := readMessage(in); string(got) != packetProbed || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		if got := <-polls; got != "200 "+packetNoop {
			t.Errorf("the last poll: %q", got)
		}
		io.WriteString(conn, frame(ws.OpText, "5")+frame(ws.OpText, `420["add",1]`))
		if _, got, err := readMessage(in); string(got) != "430[2]" || err != nil {
			t.Errorf("%q, %v", got, err)
		}
		io.WriteString(conn, frame(ws.OpText, `451-["bytes",{"_placeholder":true,"num":0}]`)+frame(ws.OpBinary, "\x0a\x0b")+frame(ws.OpClose, "\x03\xe8"))
		op, _, _ := readMessage(in)
		for op == ws.OpText { // a heartbeat
			op, _, _ = readMessage(in)
		}
		if op != ws.OpClose {
			t.Errorf("got %v", op)
		}
		conn.Close()
		if err := wait(); err != nil {
			t.Error(err)
		}
	}
}

// What is not known of a session, or no session, stays what it is.
func TestPollingThatIsNotKnown(t *testing.T) {
	for name, text := range map[string]string{
		"no body":     strings.Replace(polled, `{"k":"body","c":3,"d":"<","text":"40{\"sid\":\"Yb7Kd92LmQ\"}\u001e42[\"hello\"]\u001ebAQID"}`+"\n", "", 1),
		"other bytes": strings.Replace(polled, `"d":">","text":"40"`, `"d":">","text":"x40"`, 1),
		"an error":    strings.Replace(polled, `"c":2,"v":"HTTP/1.1","code":200`, `"c":2,"v":"HTTP/1.1","code":400`, 1),
		"version 3":   strings.ReplaceAll(polled, "EIO=4", "EIO=3"),
	} {
		if play := loadAll(t, text); play.Exchanges() != 5 || play.scripts[0].engine != nil {
			t.Errorf("%s: %d exchanges", name, play.Exchanges())
		}
	}
	if play := loadAll(t, polled, Exact()); play.scripts[0].engine != nil {
		t.Error("exactly")
	}
	if _, err := Load(Trace(strings.NewReader(polled)), Session(6)); err != nil {
		t.Error(err)
	}
}

func TestServeTellsWhatPollsBring(t *testing.T) {
	file := fixture(t, polled)
	told := watch(t, func(t *witness) {
		srv := Serve(t, file, Stall(time.Second))
		Dial(&witness{T: t.T}, srv.URL, fixture(t.T, strings.Replace(polled, `42[\"early\"]`, `42[\"later\"]`, 1)))
	})
	want := `replay ` + file + `: session 1: line 20: expected client frame 1, text '42["early"]', after client frame 0 (line 11); got text '42["later"]', where $[0] is "later", expected "early"`
	if !slices.Equal(told, []string{want}) {
		t.Errorf("got %q\nwant %s", told, want)
	}
	srv := Serve(t, file)
	Dial(t, srv.URL, file)
}

var payloads = []struct {
	body string
	want string // packets; "" for no payload
}{
	{"40", "text 40"},
	{"40\x1e42[1]\x1ebAQID", "text 40, text 42[1], binary \x01\x02\x03"},
	{"b", "binary "},
	{"", ""},
	{"40\x1e", ""},
	{"\x1e40", ""},
	{"7", ""},
	{"b!", ""},
	{"4\xff", ""},
	{"1:2", "text 1:2"},
}

func TestPayload(t *testing.T) {
	for _, c := range payloads {
		list, ok := splitPayload([]byte(c.body))
		var got []string
		for _, p := range list {
			got = append(got, map[ws.OpCode]string{ws.OpText: "text ", ws.OpBinary: "binary "}[p.op]+string(p.data))
		}
		if ok != (c.want != "") || strings.Join(got, ", ") != c.want {
			t.Errorf("%q: got %q, %t", c.body, got, ok)
		} else if again := appendPayload(nil, list); ok && string(again) != c.body {
			t.Errorf("%q: again %q", c.body, again)
		}
	}
}

func FuzzPayload(f *testing.F) {
	for _, c := range payloads {
		f.Add([]byte(c.body))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		list, ok := splitPayload(b)
		if !ok {
			return
		}
		again, ok := splitPayload(appendPayload(nil, list))
		if !ok || len(again) != len(list) {
			t.Errorf("%q, then %q, %t", list, again, ok)
		}
		for i := range again {
			if again[i].op != list[i].op || !bytes.Equal(again[i].data, list[i].data) {
				t.Errorf("%q, then %q", list, again)
			}
		}
	})
}

// Without an upgrade, the client's close ends the session at once.
func TestPollingAlone(t *testing.T) {
	i := strings.Index(polled, `{"k":"open","c":5`)
	text := polled[:i] + `{"k":"open","c":5}
{"k":"req","c":5,"m":"POST","target":"/socket.io/?EIO=4&transport=polling&t=aaaae&sid=Zx81Kq0PfW","v":"HTTP/1.1","h":[["Host","h"],["Content-Length","4"]]}
{"k":"body","c":5,"d":">","text":"41\u001e1"}
{"k":"res","c":5,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","2"]]}
{"k":"body","c":5,"d":"<","text":"ok"}
{"k":"done","c":5,"sent":4,"got":2}
`
	began := time.Now()
	var rec bytes.Buffer
	serr, cerr := together(t, loadAll(t, text), loadAll(t, text), Events(trace.NewWriter(&rec, trace.Options{})), PlayOptions())
	if serr != nil || cerr != nil || time.Since(began) > DefaultStall {
		t.Errorf("%v, %v, after %v", serr, cerr, time.Since(began))
	}
	if serr, cerr = together(t, loadAll(t, text), loadAll(t, rec.String()), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
		t.Errorf("the recording: %v, %v", serr, cerr)
	}
	other := strings.Replace(text, `41\u001e1`, `40\u001e1`, 1)
	serr, _ = together(t, loadAll(t, text), loadAll(t, other), Stall(time.Second), Stall(3*time.Second))
	check(t, serr, `session 1: line 26: expected client frame 3, text "41", after client frame 2 (line 20); got text "40", which differs at byte 1`)
}

// What a protocol makes up in a place need not come back; elsewhere it does.
func TestMadeUpByProtocols(t *testing.T) {
	const text = `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","c":1,"m":"GET","target":"/echo/info","v":"HTTP/1.1","h":[["Host","h"]]}
{"k":"res","c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","24"]]}
{"k":"body","c":1,"d":"<","text":"{\"entropy\":3485225866}  "}
{"k":"done","c":1,"sent":0,"got":24}
`
	for _, c := range []struct{ old, new, want string }{
		{"3485225866", "61647075", ""},
		{"/echo/info", "/echo/that", "entropy"},
		{"3485225866", "\\\"3485225866\\\"", "entropy"},
	} {
		recorded, live := text, strings.Replace(text, c.old, c.new, 1)
		if strings.HasPrefix(c.old, "/") {
			recorded, live = live, strings.Replace(live, "3485225866", "2061647075", 1)
		}
		live = strings.Replace(live, `["Content-Length","24"]`, `["Transfer-Encoding","chunked"]`, 1)
		_, err := together(t, loadAll(t, live), loadAll(t, recorded, CaptureAuto()), PlayOptions(), PlayOptions())
		if (err != nil) != (c.want != "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s for %s: %v", c.new, c.old, err)
		}
	}
}
