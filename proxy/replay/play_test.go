package replay

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

const open = `{"wstrace":1}
{"k":"open","c":1}
`

// served plays the server of a script, and returns a connection to it that has
// been through the handshake, and what waits for its error.
func served(t *testing.T, s *Script, opts ...PlayOption) (conn net.Conn, wait func() error) {
	t.Helper()
	return servedWith(t, s, "/", "", opts...)
}

// servedWith is served for a target, with more headers.
func servedWith(t *testing.T, s *Script, target, headers string, opts ...PlayOption) (conn net.Conn, wait func() error) {
	t.Helper()
	conn, server := memconn.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.PlayServer(t.Context(), server, opts...) }()
	t.Cleanup(func() { conn.Close() })
	io.WriteString(conn, "GET "+target+" HTTP/1.1\r\nHost: x\r\n"+headers+"Upgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
	want := "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n" + headers + "\r\n"
	expect(t, conn, want)
	return conn, func() error { return <-done }
}

func expect(t *testing.T, conn net.Conn, want string) {
	t.Helper()
	got := make([]byte, len(want))
	n, err := io.ReadFull(conn, got)
	if string(got[:n]) != want {
		t.Fatalf("got %q, %v, want %q", got[:n], err, want)
	}
}

// readFrame reads a frame of at most 1 MiB and unmasks it.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err != nil {
		return ws.Frame{}, err
	}
	if h.Length > 1<<20 {
		return ws.Frame{}, fmt.Errorf("a frame of %d bytes", h.Length)
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	if _, err := io.ReadFull(r, f.Payload); err != nil {
		return ws.Frame{}, err
	}
	if h.Masked {
		f = ws.UnmaskFrameInPlace(f)
	}
	return f, nil
}

func frame(op ws.OpCode, text string) string {
	return string(appendFrame(nil, 0x80|byte(op), []byte(text), true, [4]byte{9, 8, 7, 6}))
}

func check(t *testing.T, err error, want string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("got %v, want no error", err)
	case want != "" && (err == nil || err.Error() != want):
		t.Errorf("got  %v\nwant %s", err, want)
	}
}

// A ping is answered as soon as no frame is in the way, and those recorded are
// not waited for.
func TestHeartbeats(t *testing.T) {
	s := loaded(t, open+`
{"k":"frame","d":">","op":"ping","mask":"00000000","text":"recorded"}
{"k":"frame","d":"<","op":"pong","text":"recorded"}
{"k":"frame","d":"<","op":"ping","text":"ours"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"a"}
{"k":"frame","d":"<","op":"pong"}
{"k":"frame","d":"<","op":"text","text":"b"}
`)
	conn, wait := served(t, s)
	expect(t, conn, "\x89\x04ours")
	io.WriteString(conn, frame(ws.OpPing, "1")+frame(ws.OpPing, "2")+frame(ws.OpPong, "3"))
	expect(t, conn, "\x8a\x011\x8a\x012")
	io.WriteString(conn, frame(ws.OpText, "a"))
	expect(t, conn, "\x8a\x00\x81\x01b")
	conn.Close()
	check(t, wait(), "")
}

func TestHeartbeatsExact(t *testing.T) {
	const text = open + `
{"k":"frame","d":">","op":"ping","mask":"00000000","text":"1"}
{"k":"frame","d":"<","op":"pong","text":"1"}
{"k":"frame","d":">","op":"text","mask":"00000000","lenc":16,"text":"a"}
`
	conn, wait := served(t, loaded(t, text, Exact()))
	io.WriteString(conn, frame(ws.OpPing, "1"))
	expect(t, conn, "\x8a\x011")
	io.WriteString(conn, "\x81\xfe\x00\x01\x00\x00\x00\x00a")
	conn.Close()
	check(t, wait(), "")

	conn, wait = served(t, loaded(t, text, Exact()))
	io.WriteString(conn, frame(ws.OpText, "a"))
	check(t, wait(), `line 4: expected client frame 0, frame 10001001 ping "1", after the handshake; got frame 10000001 text "a"`)

	conn, wait = served(t, loaded(t, text, Exact()))
	io.WriteString(conn, frame(ws.OpPing, "1")+frame(ws.OpText, "a"))
	check(t, wait(), `line 6: expected client frame 1, frame 10000001 with a 16-bit length text "a", after client frame 0 (line 4); got frame 10000001 text "a"`)

	conn, wait = served(t, loaded(t, text, Exact()))
	io.WriteString(conn, frame(ws.OpPing, "1")+"\x81\x01a")
	check(t, wait(), `line 6: expected client frame 1, frame 10000001 with a 16-bit length text "a", after client frame 0 (line 4); got frame 10000001 unmasked text "a"`)
}

func TestContent(t *testing.T) {
	for _, c := range []struct {
		name, recorded, came string
		opts                 []LoadOption
		want                 string
	}{
		{"spelling of JSON", `{"a":1.0,"b":["x",null]}`, "{ \"b\": [\"\\u0078\", null],\n\"a\": 1}", nil, ""},
		{"JSON in text", `42["chat",{"id":1}]`, `42[ "chat", {"id":1}]`, nil, ""},
		{"number before JSON", `42["chat"]`, `43["chat"]`, nil, `which differs at byte 1`},
		{"several documents", "{\"a\":1}\x1e{}\x1e", "{ \"a\":1}\x1e{ }\x1e", nil, ""},
		{"type of a value", `{"a":"1"}`, `{"a":1}`, nil, `where $.a is 1, expected "1"`},
		{"object for an array", `{"a":[]}`, `{"a":{}}`, nil, `where $.a is {}, expected []`},
		{"longer array", `[1]`, `[1,2]`, nil, `where $[1] is 2, which is not expected`},
		{"big numbers", `[12345678901234567890]`, `[12345678901234567891]`, nil, `where $[0] is 12345678901234567891, expected 12345678901234567890`},
		{"ignored value", `{"t":1,"a":2}`, `{"t":{"x":1},"a":2}`, []LoadOption{Ignore("$.t")}, ""},
		{"ignored value is missing", `{"t":1,"a":2}`, `{"a":2}`, []LoadOption{Ignore("$.t")}, ""},
		{"ignored at any depth", `{"a":[{"t":1}],"t":2}`, `{"a":[{"t":3}],"t":4}`, []LoadOption{Ignore("$..t")}, ""},
		{"ignored elements", `{"a":[{"t":1},{"t":2}]}`, `{"a":[{"t":3},{"t":4}]}`, []LoadOption{Ignore("$.a[*].t")}, ""},
		{"one element ignored", `{"a":[1,2]}`, `{"a":[3,4]}`, []LoadOption{Ignore("$.a[0]")}, `where $.a[1] is 4, expected 2`},
		{"ignored by expression", `took 12 ms`, `took 345 ms`, []LoadOption{Ignore(`/\d+ ms/`)}, ""},
		{"a string", `"caf\u00e9"`, ` "café"`, nil, ""},
		{"another string", `"a"`, `"b"`, nil, `where $ is "b", expected "a"`},
		{"no string", `"a`, `"b`, nil, `which differs at byte 1`},
		{"space around JSON", `{"a":1}`, "\n{\"a\":1}\r\n", nil, ""},
		{"captured value is another", `{"id":1,"a":2}`, `{"id":"x","a":2}`, []LoadOption{Capture("$.id")}, ""},
		{"captured value is missing", `{"id":1,"a":2}`, `{"a":2}`, []LoadOption{Capture("$.id")}, `where $.id is missing, expected 1`},
		{"captured value is none", `{"id":1}`, `{"id":[1]}`, []LoadOption{Capture("$.id")}, `where $.id is [1], expected 1`},
		{"brackets that are no JSON", `[John] {hi}`, `[John] {ho}`, nil, `which differs at byte 9`},
	} {
		t.Run(c.name, func(t *testing.T) {
			rec := trace.Record{Kind: "frame", Fin: true, HasDir: true, Op: ws.OpText, Masked: true, Payload: []byte(c.recorded), Len: uint64(len(c.recorded))}
			conn, wait := served(t, loaded(t, open+string(rec.Append(nil)), c.opts...))
			io.WriteString(conn, frame(ws.OpText, c.came))
			if c.want == "" {
				conn.Close()
				check(t, wait(), "")
				return
			}
			err := wait()
			if err == nil || !strings.HasSuffix(err.Error(), ", "+c.want) {
				t.Errorf("got %v, want … %s", err, c.want)
			}
		})
	}
}

// A captured value takes the place of the recorded one in what follows.
func TestCapture(t *testing.T) {
	s := loaded(t, open+`
{"k":"frame","d":">","op":"text","mask":"00000000","text":"0{\"sid\":\"abc\",\"n\":7}"}
{"k":"frame","d":"<","op":"text","fin":false,"text":"40{\"for\":\"abc\","}
{"k":"frame","d":"<","op":"cont","text":"\"path\":\"/abc/x\",\"abcd\":\"abcd\",\"n\":7,\"m\":17}"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"abc, 7, (abc)"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"id=x1;"}
{"k":"frame","d":"<","op":"text","text":"got x1"}
`, Capture("$.sid"), Capture("$.n"), Capture("/id=([^;]*)/"))
	conn, wait := served(t, s)
	io.WriteString(conn, frame(ws.OpText, `0{"sid":"zyxw","n":8}`))
	expect(t, conn, "\x81\x3c"+`40{"for":"zyxw","path":"/zyxw/x","abcd":"abcd","n":8,"m":17}`)
	io.WriteString(conn, frame(ws.OpText, "zyxw, 7, (zyxw)")+frame(ws.OpText, "id=y22;"))
	expect(t, conn, "\x81\x07got y22")
	conn.Close()
	check(t, wait(), "")
}

// Expressions reach the reason in a Close frame, and values are put into ours.
func TestReasons(t *testing.T) {
	text := open + `{"k":"frame","d":">","op":"close","mask":"00000000","code":4000,"reason":"at 0x55, id=abc;"}
{"k":"frame","d":"<","op":"close","code":4000,"reason":"bye abc"}
`
	s := loaded(t, text, Ignore("/0x[0-9a-f]+/"), Capture("/id=([^;]*)/"))
	conn, wait := served(t, s)
	io.WriteString(conn, frame(ws.OpClose, "\x0f\xa0at 0xab, id=xyz;"))
	expect(t, conn, "\x88\x09\x0f\xa0bye xyz")
	conn.Close()
	check(t, wait(), "")
	for _, reason := range []string{"\x0f\xa0in 0xab, id=xyz;", "\x0f\xa1at 0xab, id=xyz;"} {
		conn, wait := served(t, loaded(t, text, Ignore("/0x[0-9a-f]+/")))
		io.WriteString(conn, frame(ws.OpClose, reason))
		if err := wait(); err == nil {
			t.Errorf("%q is taken for what was recorded", reason)
		}
		conn.Close()
	}
}

// A client whose handshake is not the recorded one is told why.
func TestRefusal(t *testing.T) {
	s := loaded(t, `{"wstrace":1}`+"\n"+`{"k":"open","c":1}`+"\n"+upgradeOf("/chat", "echo"))
	client, server := memconn.Pipe()
	done := make(chan error, 1)
	go func() { done <- s.PlayServer(t.Context(), server) }()
	io.WriteString(client, "GET /chat HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: other\r\n\r\n")
	got, err := io.ReadAll(client)
	const want = "line 3: expected offered subprotocol \"echo\", got \"other\""
	if err != nil || !strings.HasPrefix(string(got), "HTTP/1.1 400 Bad Request\r\n") || !strings.HasSuffix(string(got), "\r\n\r\n"+want+"\n") {
		t.Errorf("got %q, %v", got, err)
	}
	err = <-done
	check(t, err, want)
	if d := (*Difference)(nil); !errors.As(err, &d) || d.Header != "Sec-WebSocket-Protocol" {
		t.Errorf("got %+v", d)
	}
}

// What was recorded at the time of the answer goes with it, in pieces if that is wanted.
func TestChunks(t *testing.T) {
	text := open + `{"k":"frame","d":"<","op":"text","text":"hello"}
{"k":"frame","t":1,"d":"<","op":"text","text":"later"}
{"k":"frame","t":2,"d":">","op":"text","mask":"00000000","text":"x"}
`
	const head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n"
	const all = head + "\x81\x05hello\x81\x05later"
	for n, opts := range map[int][]PlayOption{len(all): nil, 7: {Chunks(7)}, 1: {Chunks(1)}} {
		client, server := memconn.Pipe()
		var writes []int
		go loaded(t, text).PlayServer(t.Context(), &countingConn{server, &writes}, opts...)
		io.WriteString(client, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
			"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
		expect(t, client, all)
		client.Close()
		if len(writes) < len(all)/n || writes[0] != min(n, len(all)) {
			t.Errorf("%d bytes at once: got %v", n, writes)
		}
	}
}

// A countingConn notes how many bytes are written at once.
type countingConn struct {
	net.Conn
	writes *[]int
}

func (c *countingConn) Write(b []byte) (int, error) {
	*c.writes = append(*c.writes, len(b))
	return c.Conn.Write(b)
}

// By the clock a message still waits for what is captured for it.
func TestCaptureByTheClock(t *testing.T) {
	text := open + `{"k":"frame","t":0.1,"d":"<","op":"text","text":"{\"id\":\"abc\",\"n\":77}"}
{"k":"frame","t":0.2,"d":">","op":"text","mask":"00000000","text":"{\"re\":\"abc\",\"n\":77}"}
`
	synctest.Test(t, func(t *testing.T) {
		client := loaded(t, text, Capture("$.id"), Capture("$.n"))
		conn, peer := memconn.Pipe()
		done := make(chan error, 1)
		go func() {
			done <- client.PlayClient(t.Context(), conn, &url.URL{Scheme: "ws", Host: "x"}, Clock(Original))
		}()
		defer peer.Close()
		if _, err := ws.Upgrade(peer); err != nil {
			t.Fatal(err)
		}
		answered := time.Now()
		go func() {
			time.Sleep(2 * time.Second)
			ws.WriteFrame(peer, ws.NewTextFrame([]byte(`{"id":"xyz","n":5}`)))
		}()
		f, err := readFrame(peer)
		if want := `{"re":"xyz","n":5}`; err != nil || string(f.Payload) != want {
			t.Errorf("got %q, %v, want %q", f.Payload, err, want)
		}
		if d := time.Since(answered); d != 2*time.Second {
			t.Errorf("sent after %v, want 2s", d)
		}
		ws.WriteFrame(peer, ws.NewCloseFrame(nil))
		check(t, <-done, "")
	})
}

func TestCaptureNames(t *testing.T) {
	s := loaded(t, open+`
{"k":"frame","d":">","op":"text","mask":"00000000","text":"{\"id\":\"abc\"}"}
{"k":"frame","d":"<","op":"text","text":"[{ \"all\" : 0 , \"abc\" : {\"room abc\":\"abc\"}},{}]"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"{\"abc\":1}"}
`, Capture("$.id"))
	conn, wait := served(t, s)
	io.WriteString(conn, frame(ws.OpText, `{"id":"xy"}`))
	expect(t, conn, "\x81\x2b"+`[{ "all" : 0 , "xy" : {"room xy":"xy"}},{}]`)
	io.WriteString(conn, frame(ws.OpText, `{"xy":1}`))
	conn.Close()
	check(t, wait(), "")
}

func TestCaptureInto(t *testing.T) {
	s := loaded(t, open+`
{"k":"frame","d":">","op":"text","mask":"00000000","text":"{\"id\":1}"}
{"k":"frame","d":"<","op":"text","text":"{\"re\":1,\"n\":1,\"id\":1}"}
`, Capture("$.id", "$.re"))
	conn, wait := served(t, s)
	io.WriteString(conn, frame(ws.OpText, `{"id":55}`))
	expect(t, conn, "\x81\x16"+`{"re":55,"n":1,"id":1}`)
	conn.Close()
	check(t, wait(), "")
}

// When a compressed message has to change, it and all that are compressed after
// it go as they are, because the peer's window is another than the recorded.
func TestCaptureCompressed(t *testing.T) {
	const text = `{"wstrace":1}
{"k":"open","c":1,"ext":"permessage-deflate"}
{"k":"frame","d":"<","op":"text","deflate":"hello hello"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"{\"id\":\"abc\"}"}
{"k":"frame","d":"<","op":"text","deflate":"hello abc"}
{"k":"frame","d":"<","op":"text","deflate":"hello hello"}
{"k":"frame","d":"<","op":"text","text":"plain"}
{"k":"frame","d":">","op":"text","mask":"00000000","deflate":"done abc"}
`
	server := loaded(t, text, Capture("$.id"))
	client := loaded(t, strings.ReplaceAll(text, "abc", "xyz"))
	serr, cerr := both(t, server, client)
	check(t, serr, "")
	check(t, cerr, "")
}

// Without the extension, compressed messages go as they are.
func TestOtherExtensions(t *testing.T) {
	s := loaded(t, talk, Ignore("Sec-WebSocket-Extensions:"))
	for old, new := range map[string]string{`,["Sec-WebSocket-Extensions","permessage-deflate"]`: "", `"deflate":`: `"text":`} {
		plain := loaded(t, strings.ReplaceAll(strings.ReplaceAll(talk, old, new), `"deflate":`, `"text":`), Ignore("Sec-WebSocket-Extensions:"))
		serr, cerr := both(t, s, plain)
		check(t, serr, "")
		check(t, cerr, "")
	}
}

// The server agrees to what the client offers, or its messages go as they are.
func TestOffers(t *testing.T) {
	const answered = `["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="],["Sec-WebSocket-Protocol","echo"],["Sec-WebSocket-Extensions","permessage-deflate`
	for _, c := range []struct {
		answer, offer string
		want          bool
	}{
		{"", "permessage-deflate", true},
		{"", "x, permessage-deflate; client_max_window_bits", true},
		{"", "", false},
		{"", "permessage-deflate; server_no_context_takeover", false},
		{"", "permessage-deflate; server_no_context_takeover, permessage-deflate", true},
		{"; server_no_context_takeover", "permessage-deflate", true},
		{"; server_no_context_takeover", "permessage-deflate; server_no_context_takeover", true},
		{"", "permessage-deflate; server_max_window_bits=10", false},
		{"; server_max_window_bits=11", "permessage-deflate; server_max_window_bits=10", false},
		{"; server_max_window_bits=10", "permessage-deflate; server_max_window_bits=10", true},
		{"; client_max_window_bits=9", "x, permessage-deflate", false},
		{"; client_max_window_bits=9", "permessage-deflate; client_max_window_bits", true},
	} {
		s := loaded(t, strings.Replace(talk, answered, answered+c.answer, 1))
		req := &decode.Head{Fields: []decode.Field{{Name: "Sec-WebSocket-Extensions", Value: c.offer}}}
		if b, ext := s.answerTo(req, nil, nil); (len(ext) > 0) != c.want || strings.Contains(string(b), "permessage-deflate") != c.want {
			t.Errorf("answer %q to %q: got %v, %q", c.answer, c.offer, ext, b)
		}
	}

	// To what was recorded the answer is that recorded, also where it is wrong.
	unasked := strings.Replace(talk, `,["Sec-WebSocket-Extensions","permessage-deflate"]`, "", 1)
	if _, ext := loaded(t, unasked).answerTo(&decode.Head{}, nil, nil); len(ext) != 1 {
		t.Errorf("got %v", ext)
	}
}

func TestOrder(t *testing.T) {
	const text = open + `
{"k":"frame","d":"<","op":"text","text":"go"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"a"GROUP}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"b"GROUP}
{"k":"frame","d":">","op":"text","mask":"00000000","re":"^c+$"GROUP}
{"k":"frame","d":"<","op":"text","text":"on"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"d"}
`
	for _, c := range []struct {
		group, sent string
		opts        []LoadOption
		want        string
	}{
		{"", "abcd", nil, ""},
		{"", "bacd", nil, `line 5: expected client frame 0, text "a", after the handshake; got text "b", which is expected later, as client frame 1 (line 6)`},
		{"", "abxd", nil, `line 7: expected client frame 2, text that matches /^c+$/, after client frame 1 (line 6); got text "x"`},
		{"", "cbad", []LoadOption{AnyOrder()}, ""},
		{"", "cdba", []LoadOption{AnyOrder()}, ""},
		{"", "cxba", []LoadOption{AnyOrder()}, `line 5: expected client frame 0, text "a", after client frame 2 (line 7); got text "x", which differs at byte 0`},
		{`,"group":"x"`, "bcad", nil, ""},
		{`,"group":"x"`, "bbcd", nil, `line 5: expected client frame 0, text "a", after client frame 1 (line 6); got text "b", which differs at byte 0`},
	} {
		conn, wait := served(t, loaded(t, strings.ReplaceAll(text, "GROUP", c.group), c.opts...))
		expect(t, conn, "\x81\x02go")
		for _, r := range c.sent[:3] {
			io.WriteString(conn, frame(ws.OpText, string(r)))
		}
		if c.want == "" {
			expect(t, conn, "\x81\x02on")
		}
		io.WriteString(conn, frame(ws.OpText, c.sent[3:]))
		if c.want == "" {
			conn.Close()
		}
		check(t, wait(), c.want)
	}
}

// Two conversations may cross: one of ours waits for what it answers, and goes before
// what stands before it.
func TestCrossing(t *testing.T) {
	text := open + `{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"62 03"}
{"k":"frame","d":"<","op":"bin","hex":"70 03"}
{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"50 02"}
{"k":"frame","d":"<","op":"bin","hex":"62 02"}
{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"70 02"}
{"k":"frame","d":"<","op":"bin","hex":"ff"}
`
	const a1, b1, a2, b2, a3, end = "\x62\x03", "\x82\x02\x70\x03", "\x50\x02", "\x82\x02\x62\x02", "\x70\x02", "\x82\x01\xff"
	for _, steps := range [][]string{{a1, b1, a2, b2, a3, end}, {a2, b2, a1, b1, a3, end}, {a2, b2, a3, end, a1, b1}} {
		conn, wait := served(t, loaded(t, text, AnyOrder()))
		for i := 0; i < len(steps); i += 2 {
			io.WriteString(conn, frame(ws.OpBinary, steps[i]))
			expect(t, conn, steps[i+1])
		}
		conn.Close()
		if err := wait(); err != nil {
			t.Errorf("%q: %v", steps, err)
		}
	}
	conn, wait := served(t, loaded(t, text))
	io.WriteString(conn, frame(ws.OpBinary, a2))
	check(t, wait(), `line 3: expected client frame 0, binary [62 03], after the handshake; got binary [50 02], which is expected later, as client frame 1 (line 5)`)
	conn.Close()
}

// What is cut off is left out, and told.
func TestLoadCut(t *testing.T) {
	text := open + `{"k":"frame","d":"<","op":"text","text":"a"}
`
	for cut, want := range map[string]error{"": nil, `{"k":"frame","d":">","op":"te`: trace.ErrCut} {
		if s := loaded(t, text+cut); s.Messages(decode.FromServer) != 1 || !errors.Is(s.Warning(), want) {
			t.Errorf("%q: got %d messages, %v, want 1, %v", cut, s.Messages(decode.FromServer), s.Warning(), want)
		}
	}
}

// A frame waits for those recorded before it, unless it says for which.
func TestAfter(t *testing.T) {
	const text = open + `
{"k":"frame","d":">","op":"text","mask":"00000000","text":"1"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"2"}
{"k":"frame","d":"<","op":"text",AFTER"text":"for 1"}
{"k":"frame","d":"<","op":"text","text":"for 2"}
`
	synctest.Test(t, func(t *testing.T) {
		conn, wait := served(t, loaded(t, strings.Replace(text, "AFTER", `"after":1,`, 1)))
		io.WriteString(conn, frame(ws.OpText, "1"))
		expect(t, conn, "\x81\x05for 1")
		io.WriteString(conn, frame(ws.OpText, "2"))
		expect(t, conn, "\x81\x05for 2")
		conn.Close()
		check(t, wait(), "")

		conn, wait = served(t, loaded(t, strings.Replace(text, "AFTER", "", 1)), Stall(time.Hour))
		began := time.Now()
		io.WriteString(conn, frame(ws.OpText, "1"))
		err := wait()
		check(t, err, "server waits for client frame 1 (line 5); client may be waiting for our frame 0 (line 6): nothing for 1h0m0s")
		if !errors.Is(err, ErrStalled) || time.Since(began) != time.Hour {
			t.Errorf("%v after %v", err, time.Since(began))
		}
	})
	if _, err := Load(Trace(strings.NewReader(strings.Replace(text, "AFTER", `"after":3,`, 1)))); err == nil ||
		err.Error() != "line 6: after: 3, but the other side sends 2" {
		t.Error(err)
	}
}

// A ping is no progress.
func TestStallWithPings(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, wait := served(t, loaded(t, open+`{"k":"frame","d":">","op":"text","mask":"00000000","text":"1"}`+"\n"))
		stop := make(chan struct{})
		go func() {
			for {
				select {
				case <-time.After(time.Second):
					io.WriteString(conn, frame(ws.OpPing, ""))
				case <-stop:
					return
				}
			}
		}()
		check(t, wait(), "server waits for client frame 0 (line 3): nothing for 5s")
		close(stop)
	})
}

// A frame that comes slowly is progress.
func TestSlowFrame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		conn, wait := served(t, loaded(t, open+`{"k":"frame","d":">","op":"text","mask":"00000000","text":"0123456789"}`+"\n"))
		f := frame(ws.OpText, "0123456789")
		io.WriteString(conn, f[:7])
		for _, b := range []byte(f[7:]) {
			time.Sleep(DefaultStall - 1)
			conn.Write([]byte{b})
		}
		conn.Close()
		check(t, wait(), "")

		conn, wait = served(t, loaded(t, open+`{"k":"frame","d":">","op":"text","mask":"00000000","text":"0123456789"}`+"\n"))
		io.WriteString(conn, frame(ws.OpText, "0123456789")[:9])
		check(t, wait(), "server waits for client frame 0 (line 3): nothing for 5s")
	})
}

// TestTiming checks that pauses are kept, and that an answer waits for its question, and
// then for as long as it did.
func TestTiming(t *testing.T) {
	const text = open + `
{"k":"frame","t":1,"d":"<","op":"text","text":"a"}
{"k":"frame","t":3,"d":">","op":"text","mask":"00000000","text":"b"}
{"k":"frame","t":31,"d":"<","op":"text","text":"c"}
{"k":"frame","t":32,"d":"<","op":"text","text":"d"}
`
	for _, speed := range []Speed{Original, Scale(10)} {
		seconds := func(s float64) time.Duration { return time.Duration(s / float64(speed) * float64(time.Second)) }
		synctest.Test(t, func(t *testing.T) {
			conn, wait := served(t, loaded(t, text), Timing(speed))
			began := time.Now()
			at := func(want float64, text string) {
				t.Helper()
				expect(t, conn, "\x81\x01"+text)
				if d := time.Since(began); d != seconds(want) {
					t.Errorf("speed %v: %s after %v, want %v", speed, text, d, seconds(want))
				}
			}
			at(1, "a")
			time.Sleep(seconds(5)) // 3 s later than recorded
			io.WriteString(conn, frame(ws.OpText, "b"))
			at(34, "c")
			at(35, "d")
			conn.Close()
			check(t, wait(), "")
		})
	}
}

// TestTimingClient checks the same of a client.
func TestTimingClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memconn.Pipe()
		done := make(chan error, 1)
		s := loaded(t, open+`
{"k":"frame","t":1,"d":"<","op":"text","text":"a"}
{"k":"frame","t":3,"d":">","op":"text","mask":"00000000","text":"b"}
{"k":"end","t":4,"d":">","how":"fin"}
`)
		go func() {
			done <- s.PlayClient(t.Context(), client, &url.URL{Scheme: "ws", Host: "x"}, Timing(Original))
		}()
		br := bufio.NewReader(server)
		req, err := http.ReadRequest(br)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n", decode.AcceptKey(req.Header.Get("Sec-WebSocket-Key")))
		time.Sleep(4 * time.Second)
		asked := time.Now()
		io.WriteString(server, "\x81\x01a")
		b := make([]byte, len("\x81\x81\x00\x00\x00\x00b"))
		if _, err := io.ReadFull(br, b); string(b) != "\x81\x81\x00\x00\x00\x00b" || err != nil || time.Since(asked) != 2*time.Second {
			t.Errorf("got %q, %v after %v", b, err, time.Since(asked))
		}
		if err := <-done; err != nil {
			t.Error(err)
		}
		server.Close()
	})
}

func TestClock(t *testing.T) {
	const text = open + `
{"k":"frame","t":1,"d":"<","op":"text","text":"a"}
{"k":"frame","t":3,"d":">","op":"text","mask":"00000000","text":"b"}
{"k":"frame","t":31,"d":"<","op":"text","text":"c"}
{"k":"frame","t":61,"d":">","op":"text","mask":"00000000","text":"d"}
`
	for _, c := range []struct {
		speed Speed
		a, c  time.Duration
	}{{Original, 1 * time.Second, 31 * time.Second}, {Scale(10), 100 * time.Millisecond, 3100 * time.Millisecond}} {
		synctest.Test(t, func(t *testing.T) {
			conn, wait := served(t, loaded(t, text), Clock(c.speed))
			began := time.Now()
			expect(t, conn, "\x81\x01a")
			if d := time.Since(began); d != c.a {
				t.Errorf("speed %v: first frame after %v, want %v", c.speed, d, c.a)
			}
			expect(t, conn, "\x81\x01c") // it does not wait for b
			if d := time.Since(began); d != c.c {
				t.Errorf("speed %v: second frame after %v, want %v", c.speed, d, c.c)
			}
			io.WriteString(conn, frame(ws.OpText, "b"))
			time.Sleep(time.Duration(30 / float64(c.speed) * float64(time.Second)))
			io.WriteString(conn, frame(ws.OpText, "d"))
			conn.Close()
			check(t, wait(), "")
		})
	}
}

// Both sides send at once, and more than any buffer holds.
func TestBothSidesSend(t *testing.T) {
	var b bytes.Buffer
	b.WriteString(open)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 16 {
		rec := trace.Record{Kind: "frame", Fin: true, HasDir: true, Op: ws.OpBinary, Payload: make([]byte, 300<<10), Len: 300 << 10}
		for i := range rec.Payload {
			rec.Payload[i] = byte(r.Uint32())
		}
		if rec.Dir = decode.Dir(i % 2); rec.Dir == decode.FromClient {
			rec.Masked = true
		}
		rec.Extra = []trace.Member{{Key: "after", Value: []byte("0")}}
		b.Write(rec.Append(nil))
	}
	s := loaded(t, b.String())
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = s.PlayServer(t.Context(), conn)
		}
		done <- err
	}()
	check(t, s.Connect(t.Context(), "ws://"+l.Addr().String()), "")
	check(t, <-done, "")
}

// What the recorded server did wrong is done wrong again.
func TestBadServer(t *testing.T) {
	conn, wait := served(t, loaded(t, open+`
{"k":"frame","d":"<","op":3,"text":"x"}
{"k":"frame","d":"<","op":"text","rsv":7,"mask":"01010101","lenc":64,"hex":"00"}
{"k":"frame","d":"<","op":"cont","hex":"ff"}
{"k":"junk","d":"<","hex":"81 7f ff"}
{"k":"end","d":"<","how":"rst"}
`))
	expect(t, conn, "\x83\x01x\xf1\xff\x00\x00\x00\x00\x00\x00\x00\x01\x01\x01\x01\x01\x01\x80\x01\xff\x81\x7f\xff")
	if n, err := conn.Read(make([]byte, 1)); !isReset(err) {
		t.Errorf("got %d, %v, want a reset", n, err)
	}
	check(t, wait(), "")

	conn, wait = served(t, loaded(t, open+`
{"k":"frame","d":"<","op":"bin","len":1000,"hex":"01 02"}
{"k":"end","d":"<","how":"fin"}
{"k":"frame","d":">","op":"close","mask":"00000000","code":1002}
{"k":"end","d":">","how":"fin"}
`))
	expect(t, conn, "\x82\x7e\x03\xe8\x01\x02")
	if b, err := io.ReadAll(conn); len(b) > 0 || err != nil {
		t.Errorf("got %q, %v, want the end", b, err)
	}
	io.WriteString(conn, frame(ws.OpClose, "\x03\xea"))
	conn.Close()
	check(t, wait(), "")
}

func isReset(err error) bool { return endOf(err) == decode.EndRST && err != nil }

// A reset goes over a socket as a reset, behind the frames sent before it.
func TestReset(t *testing.T) {
	s := loaded(t, open+`
{"k":"frame","d":"<","op":"text","text":"bye"}
{"k":"end","d":"<","how":"rst"}
`)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	done := make(chan error)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = s.PlayServer(t.Context(), conn)
		}
		done <- err
	}()
	check(t, loaded(t, open+`
{"k":"frame","d":"<","op":"text","text":"bye"}
{"k":"end","d":"<","how":"rst"}
`, Exact()).Connect(t.Context(), "ws://"+l.Addr().String()), "")
	check(t, <-done, "")
}

// Bad clients are played too, and junk and frames that are cut off are expected
// where they were recorded.
func TestBadClient(t *testing.T) {
	const text = open + `
{"k":"frame","d":">","op":"text","text":"not masked"}
{"k":"frame","d":">","op":11,"mask":"01020304","text":"x"}
{"k":"frame","d":">","op":"text","mask":"01020304","text":"TEXT"}
{"k":"frame","d":">","op":"bin","mask":"01020304","len":9,"hex":"01"}
{"k":"end","d":">","how":"fin"}
{"k":"frame","d":"<","op":"close","code":1002}
{"k":"end","d":"<","how":"fin"}
`
	s := loaded(t, strings.Replace(text, "TEXT", "same", 1))
	serr, cerr := both(t, s, s)
	check(t, serr, "")
	check(t, cerr, "")
	serr, _ = both(t, loaded(t, strings.Replace(text, `"hex":"01"`, `"hex":"02"`, 1)), loaded(t, text))
	check(t, serr, `line 7: expected client frame 3, binary [02] that is cut off, after client frame 2 (line 6); got binary [01] that is cut off, which differs at byte 0`)

	const junk = open + `
{"k":"junk","d":">","hex":"82 ff ff ff ff ff ff ff ff ff 01 02 03 04 aa"}
{"k":"junk","d":">","hex":"bb cc"}
{"k":"frame","d":"<","op":"close","code":1002}
{"k":"end","d":"<","how":"fin"}
{"k":"end","d":">","how":"fin"}
`
	s = loaded(t, junk)
	serr, cerr = both(t, s, s)
	check(t, serr, "")
	check(t, cerr, "")
	serr, _ = both(t, loaded(t, strings.Replace(junk, "cc", "cd", 1)), s)
	check(t, serr, `line 5: expected client junk 1, junk [bb cd], after client junk 0 (line 4); got junk [bb cc], which differs at byte 1`)
}

func TestHandshakes(t *testing.T) {
	bad := strings.Replace(talk, "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=", 1)
	serr, cerr := both(t, loaded(t, bad), loaded(t, talk))
	if cerr == nil || !strings.HasSuffix(cerr.Error(), `got "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="`) {
		t.Errorf("a wrong accept: %v, server %v", cerr, serr)
	}
	serr, cerr = both(t, loaded(t, bad), loaded(t, bad))
	check(t, serr, "")
	check(t, cerr, "")

	badKey := strings.Replace(talk, `["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="]`, `["Sec-WebSocket-Key","short"]`, 1)
	serr, _ = both(t, loaded(t, talk), loaded(t, badKey))
	check(t, serr, `line 3: expected a key, got "short", which is not 16 bytes in base64`)

	refused := `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","m":"GET","target":"http://x/chat","v":"HTTP/1.1","h":[["Host","x"],["Upgrade","websocket"]]}
{"k":"res","v":"HTTP/1.1","code":100,"reason":"Continue","h":[]}
{"k":"res","v":"HTTP/1.1","code":403,"reason":"Forbidden","h":[["Content-Length","2"]],"body":"bm8="}
{"k":"end","how":"fin"}
`
	s := loaded(t, refused)
	serr, cerr = both(t, s, s)
	check(t, serr, "")
	check(t, cerr, "")
	_, cerr = both(t, s, loaded(t, strings.Replace(refused, "403", "401", 1)))
	check(t, cerr, "line 5: expected status 401, got 403 Forbidden")

	c, server := memconn.Pipe()
	c.Close()
	check(t, s.PlayServer(t.Context(), server), "line 3: expected a request from the client; got the end of the connection (fin)")
	c, server = memconn.Pipe()
	io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	check(t, s.PlayServer(t.Context(), server), "line 3: expected a request for websocket, got GET /")
	c, server = memconn.Pipe()
	io.WriteString(c, "\x16\x03\x01")
	c.Close()
	check(t, s.PlayServer(t.Context(), server), "line 3: expected a request from the client; got TLS, which goes with wss://, not ws://")
	c, server = memconn.Pipe()
	io.WriteString(server, "SSH-2.0-x\r\n")
	server.Close()
	check(t, s.PlayClient(t.Context(), c, &url.URL{Host: "x"}), `line 5: expected a response from the server, got "SSH-2.0-x\r\n", which is not a whole one`)

	// The address of a trace without a request is compared, if it has a path.
	for address, want := range map[string]string{
		"ws://h/":      "",
		"ws://h/other": `expected path "/other", got "/chat"`,
		"ws://h/chat":  `expected query "", got "name=John"`,
	} {
		c, server = memconn.Pipe()
		io.WriteString(c, "GET /chat?name=John HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\n\r\n")
		c.CloseWrite()
		addressed := loaded(t, `{"wstrace":1}
{"k":"open","c":1,"url":"`+address+`"}
{"k":"end","d":">","how":"fin"}
{"k":"frame","d":"<","op":"text","text":"x"}
`)
		check(t, addressed.PlayServer(t.Context(), server), want)
	}

	c, server = memconn.Pipe()
	io.WriteString(server, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
	check(t, s.PlayClient(t.Context(), c, &url.URL{Host: "x"}), "line 5: expected status 403, got 200 OK")
}

// The headers that are sent can be changed, and others be compared.
func TestHeaders(t *testing.T) {
	client := loaded(t, talk)
	set := []PlayOption{Header("authorization", "Bearer x"), Header("Sec-WebSocket-Version", "13"), Header("Host", "y")}
	how, err := newPlaying(set)
	if err != nil {
		t.Fatal(err)
	}
	head := client.requestFor(&url.URL{Scheme: "ws", Host: "h:1"}, how.headers, nil)
	req, err := decode.ParseRequest(string(head))
	if err != nil || len(req.Values("Sec-WebSocket-Version")) != 1 || req.Get("Authorization") != "Bearer x" || req.Get("Host") != "y" ||
		!strings.HasSuffix(req.Raw, "\r\n\r\n") || req.Target != "/chat?name=John" {
		t.Errorf("%v %q", err, head)
	}
	serr, _ := bothAs(t, loaded(t, talk, Headers("Authorization")), client, nil, set)
	check(t, serr, `line 3: expected Authorization none, got "Bearer x"`)
	serr, _ = bothAs(t, loaded(t, talk, Headers("Authorization"), Ignore("Authorization:")), client, nil, set)
	check(t, serr, "")

	for origin, want := range map[string]string{"http://127.0.0.1:1901": "https://h:1", "http://elsewhere": "http://elsewhere", "null": "null"} {
		page := strings.Replace(talk, `["Upgrade","websocket"]`, `["Upgrade","websocket"],["Origin","`+origin+`"]`, 1)
		head := loaded(t, page).requestFor(&url.URL{Scheme: "wss", Host: "h:1"}, nil, nil)
		if req, err := decode.ParseRequest(string(head)); err != nil || req.Get("Origin") != want {
			t.Errorf("origin %s: got %q, %v, want %s", origin, req.Get("Origin"), err, want)
		}
	}

	other, _ := url.Parse("ws://h/other?x=1")
	head = client.requestFor(other, how.headers, nil)
	if !strings.HasPrefix(string(head), "GET /other?x=1 HTTP/1.1\r\n") {
		t.Errorf("got %q", head)
	}
	serr, _ = both(t, loaded(t, strings.Replace(talk, "?name=John", "?name=John&a=1", 1), Ignore("?a")), loaded(t, strings.Replace(talk, "?name=John", "?a=2&name=John", 1)))
	check(t, serr, "")
}

func TestChoice(t *testing.T) {
	two := handshake + `{"k":"end","how":"fin"}
{"k":"open","c":2}
{"k":"req","c":2,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","x"]]}
{"k":"open","c":3}
{"k":"frame","c":3,"d":"<","op":"text","text":"third"}
`
	if s := loaded(t, two); s.number != 1 || s.request == nil {
		t.Errorf("got session %d", s.number)
	}
	if s := loaded(t, two, Session(3)); s.number != 3 || len(s.sides[decode.FromServer].units) != 1 {
		t.Errorf("got session %d", s.number)
	}
	for n, want := range map[int64]string{2: "session 2 did not ask for websocket", 4: "there is no session 4, the last is 3"} {
		_, err := Load(Trace(strings.NewReader(two)), Session(n))
		check(t, err, want)
	}
	for text, want := range map[string]string{
		open: "the trace has no WebSocket session",
		line(handshake, 1) + line(handshake, 2) + line(handshake, 3):                      "session 1 has a request and no answer",
		open + `{"k":"gap","d":"<","n":3}`:                                                "the trace has no WebSocket session",
		handshake + `{"k":"gap","d":"<","n":3}`:                                           "line 5: 3 bytes are lost here, so the session can't be played",
		open + `{"k":"frame","d":"<","op":"text","text":"a"}` + "\n" + line(handshake, 3): "line 4: the handshake comes after frames",
		open + `{"k":"frame","d":"<","op":"text","text":"a"}` + "\n" + line(handshake, 4): "line 4: the handshake comes after frames",
		open + `{"k":"frame","d":"<","op":"text","len":2,"text":"a"}` + "\n" + `{"k":"end","how":"fin"}` + "\n" + `{"k":"more","d":"<","text":"b"}`: "line 5: its side has ended before",
		open + `{"k":"frame","d":"<","op":"text","deflate":"x"}`:                                                                                    "line 3: deflate: the handshake agrees on no permessage-deflate",
		open + `{"k":"frame","d":">","op":"text","re":"("}`:                                                                                         "line 3: error parsing regexp: missing closing ): `(`",
		open + `{"k":"frame","d":">","op":"text","group":1}`:                                                                                        "line 3: group: 1 is not a string",
		open + `{"k":"frame","d":">","op":"text","after":"x"}`:                                                                                      `line 3: after: "x" is not a number of messages`,
	} {
		_, err := Load(Trace(strings.NewReader(text)))
		check(t, err, want)
	}
	for _, sel := range []string{"", "$.", "$x", "$[", "$['a", "$[x]", "?", "//", "/(/", "name"} {
		if _, err := Load(Trace(strings.NewReader(talk)), Ignore(sel)); err == nil {
			t.Errorf("selector %q is taken", sel)
		}
	}
}

// A replay can be recorded, and the recording is equal to what was replayed.
func TestRecord(t *testing.T) {
	for _, opts := range [][]LoadOption{nil, {Exact()}} {
		var rec [2]bytes.Buffer
		s := loaded(t, talk, opts...)
		serr, cerr := bothAs(t, s, s, []PlayOption{Events(trace.NewWriter(&rec[decode.FromServer], trace.Options{}))},
			[]PlayOption{Events(trace.NewWriter(&rec[decode.FromClient], trace.Options{}))})
		check(t, serr, "")
		check(t, cerr, "")
		for _, b := range rec {
			again := loaded(t, b.String(), opts...)
			serr, cerr := both(t, loaded(t, talk, opts...), again)
			check(t, serr, "")
			check(t, cerr, "")
			serr, cerr = both(t, again, loaded(t, talk, opts...))
			check(t, serr, "")
			check(t, cerr, "")
		}
	}
}

// A trace need not say how the session ends.
func TestOpenEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const text = open + `{"k":"frame","d":"<","op":"text","text":"a"}` + "\n"
		conn, wait := served(t, loaded(t, text))
		expect(t, conn, "\x81\x01a")
		began := time.Now()
		expect(t, conn, "\x88\x02\x03\xe8") // at the end of its patience
		if d := time.Since(began); d != DefaultStall {
			t.Errorf("closed after %v, want %v", d, DefaultStall)
		}
		io.WriteString(conn, frame(ws.OpClose, "\x03\xe8"))
		check(t, wait(), "")

		conn, wait = served(t, loaded(t, text))
		expect(t, conn, "\x81\x01a")
		io.WriteString(conn, frame(ws.OpClose, "\x03\xe9"))
		expect(t, conn, "\x88\x02\x03\xe9") // as the client closes
		check(t, wait(), "")

		conn, wait = served(t, loaded(t, text))
		io.WriteString(conn, frame(ws.OpText, "b"))
		check(t, wait(), `expected nothing more from the client after the handshake; got text "b"`)
	})
}

// A thousand replays have one verdict.
func TestThousand(t *testing.T) {
	n := 1000
	if testing.Short() {
		n = 50
	}
	good, bad := loaded(t, talk), loaded(t, strings.Replace(talk, "morning", "evening", 1))
	for range n {
		serr, cerr := both(t, good, good)
		check(t, serr, "")
		check(t, cerr, "")
		serr, _ = both(t, bad, good)
		check(t, serr, `line 10: expected client message 0, text "good evening", after the handshake; got text "good morning", which differs at byte 5`)
		if t.Failed() {
			return
		}
	}
}

// Our end waits for a ping that it followed in the recording, a second at most.
func TestEndAfterPing(t *testing.T) {
	const text = open + `{"k":"frame","d":"<","op":"text","text":"hi"}
{"k":"frame","d":">","op":"ping","mask":"00000000","text":"p"}
{"k":"frame","d":"<","op":"pong","text":"p"}
{"k":"frame","d":"<","op":"close","code":1000}
{"k":"end","d":"<","how":"fin"}
`
	for _, after := range []time.Duration{0, 900 * time.Millisecond, time.Hour} {
		synctest.Test(t, func(t *testing.T) {
			var told []string
			conn, wait := served(t, loaded(t, text), Notes(func(s string) { told = append(told, s) }))
			began := time.Now()
			expect(t, conn, "\x81\x02hi")
			if after < time.Hour {
				time.Sleep(after)
				io.WriteString(conn, frame(ws.OpPing, "p"))
				expect(t, conn, "\x8a\x01p")
			}
			expect(t, conn, "\x88\x02\x03\xe8")
			if d := time.Since(began); d != min(after, pingTime) {
				t.Errorf("a ping after %v: closed after %v", after, d)
			}
			conn.Close()
			check(t, wait(), "")
			if want := after == time.Hour; want != (len(told) == 1) || want && told[0] != "our frame 1 (line 6) goes without a ping of the client before it, which did not come" {
				t.Errorf("a ping after %v: told %q", after, told)
			}
		})
	}
}

// Expressions reach the target, and the two segments of SockJS are not compared.
func TestTarget(t *testing.T) {
	for _, c := range []struct {
		recorded, got string
		opts          []LoadOption
		ok            bool
	}{
		{"/room/7", "/room/8", nil, false},
		{"/room/7", "/room/8", []LoadOption{Ignore("/[0-9]+/")}, true},
		{"/room/7", "/rooms/8", []LoadOption{Ignore("/[0-9]+/")}, false},
		{"/room?t=abc1", "/room?t=abc2", []LoadOption{Ignore("/abc[0-9]/")}, true},
		{"/echo/123/abcdefgh/websocket", "/echo/456/x_y-z/websocket", nil, true},
		{"/echo/123/abcdefgh/websocket", "/other/456/x_y-z/websocket", nil, false},
		{"/socket/websocket", "/sockets/websocket", nil, false},
	} {
		s := loaded(t, `{"wstrace":1}`+"\n"+`{"k":"open","c":1}`+"\n"+upgradeOf(c.recorded, ""), c.opts...)
		other := loaded(t, `{"wstrace":1}`+"\n"+`{"k":"open","c":1}`+"\n"+upgradeOf(c.got, ""), c.opts...)
		if err := s.checkRequest(other.request.Head, nil); (err == nil) != c.ok {
			t.Errorf("%s for %s: %v", c.got, c.recorded, err)
		}
		var out strings.Builder
		if differ, err := Diff(&out, s, other, 0); err != nil || differ == c.ok {
			t.Errorf("%s for %s: diff says %v\n%s", c.got, c.recorded, err, out.String())
		}
	}
}
