package replay

import (
	"bytes"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/trace"
)

const chat = "testdata/chat.wst" // of three people

func loadAll(t *testing.T, text string, opts ...CompareOption) *Play {
	t.Helper()
	p, err := LoadAll(Trace(strings.NewReader(text)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// together plays the servers of one trace against the clients of another.
func together(t *testing.T, servers, clients *Play, serverOpt, clientOpt PlayOption) (serverErr, clientErr error) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- servers.Serve(t.Context(), l, serverOpt) }()
	clientErr = clients.Connect(t.Context(), "ws://"+l.Addr().String(), clientOpt)
	return <-done, clientErr
}

func TestTogether(t *testing.T) {
	b, err := os.ReadFile(chat)
	if err != nil {
		t.Fatal(err)
	}
	text := string(b)
	for name, opts := range map[string]struct {
		compare CompareOption
		play    PlayOption
	}{"turns": {CompareOptions(), PlayOptions()}, "exact": {Exact(), PlayOptions()}, "clock": {CompareOptions(), Clock(Scale(20))}, "pauses": {CompareOptions(), Timing(Scale(20))}} {
		var rec bytes.Buffer
		serr, cerr := together(t, loadAll(t, text, opts.compare), loadAll(t, text, opts.compare),
			PlayOptions(opts.play, Events(trace.NewWriter(&rec, trace.Options{}))), opts.play)
		if serr != nil || cerr != nil {
			t.Errorf("%s: %v, %v", name, serr, cerr)
		}
		for n := int64(1); n <= 3; n++ {
			if got := diff(t, text, rec.String(), opts.compare, Session(n)); got != "" {
				t.Errorf("%s: the recording of the replay differs:\n%s", name, got)
			}
		}
	}
	serr, cerr := together(t, loadAll(t, strings.Replace(text, "At nine.", "At ten.", 1)), loadAll(t, text), PlayOptions(), PlayOptions())
	check(t, serr, `session 1: line 36: expected client frame 1, text "At ten.", after client frame 0 (line 18); got text "At nine.", which differs at byte 3`)
	if cerr == nil {
		t.Error("the clients notice nothing")
	}
}

// What is sent in one session waits for what came before it in others.
func TestTurnsOfOthers(t *testing.T) {
	const text = `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/a"}
{"k":"frame","c":1,"d":"<","op":"text","text":"a1"}
{"k":"open","c":2,"url":"ws://h/b"}
{"k":"frame","c":2,"d":"<","op":"text","text":"b1"}
{"k":"frame","c":2,"d":">","op":"text","mask":"01020304","text":"b2"}
{"k":"frame","c":1,"d":"<","op":"text","text":"a2"}
{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"a3"}
{"k":"frame","c":2,"d":"<","op":"text","text":"b3"}
`
	file := fixture(t, text)
	synctest.Test(t, func(t *testing.T) {
		srv := Serve(t, file, All())
		connect := func(path string) net.Conn {
			conn, err := srv.DialContext(t.Context(), "tcp", "x:80")
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(conn, "GET "+path+" HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
			return conn
		}
		answered := func(conn net.Conn) {
			t.Helper()
			expect(t, conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
				"Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n")
		}
		quiet := func(conn net.Conn) {
			t.Helper()
			conn.SetReadDeadline(time.Now().Add(time.Second))
			if n, err := conn.Read(make([]byte, 1)); n > 0 || err == nil {
				t.Errorf("got something before its turn")
			}
			conn.SetReadDeadline(time.Time{})
		}
		a := connect("/a")
		answered(a)
		expect(t, a, "\x81\x02a1")
		b := connect("/b")
		answered(b)
		expect(t, b, "\x81\x02b1")
		quiet(a)
		io.WriteString(b, frame(ws.OpText, "b2"))
		expect(t, a, "\x81\x02a2")
		quiet(b)
		io.WriteString(a, frame(ws.OpText, "a3"))
		expect(t, b, "\x81\x02b3")
		a.Close()
		b.Close()
	})
	synctest.Test(t, func(t *testing.T) {
		told := watch(t, func(t *witness) {
			srv := Serve(t, file, All())
			Dial(&witness{T: t.T}, "ws://x", file, Dialer(srv.DialContext), Stall(time.Minute), Session(1)) // one client only, whose complaints nobody hears
		})
		want := "replay " + file + ": session 1: server waits for the client of session 2 (line 5): nothing for 5s"
		if len(told) == 0 || told[0] != want {
			t.Errorf("got %q\nwant %q", told, want)
		}
	})
	synctest.Test(t, func(t *testing.T) {
		srv := Serve(t, file, All())
		Dial(t, "ws://x", file, Dialer(srv.DialContext), All())
	})
}
