package replay

import (
	"fmt"
	"io"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// upgradeOf returns the records of a handshake.
func upgradeOf(target, subprotocol string) string {
	if subprotocol != "" {
		subprotocol = `,["Sec-WebSocket-Protocol","` + subprotocol + `"]`
	}
	return `{"k":"req","m":"GET","target":"` + target + `","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]` + subprotocol + `]}
{"k":"res","v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]` + subprotocol + `]}
`
}

// TestBeats checks what is a heartbeat of which protocol.
func TestBeats(t *testing.T) {
	for _, c := range []struct {
		name, target, subprotocol string
		first                     [2]string // by Dir
		ask, answer, alone, none  []string
	}{
		{"Socket.IO", "/socket.io/?EIO=4&transport=websocket", "", [2]string{}, []string{"2"}, []string{"3"}, nil, []string{"2probe", "3probe", "40", "22"}},
		{"SignalR", "/hub", "", [2]string{`{"protocol":"json","version":1}` + "\x1e"}, nil, nil, []string{"{\"type\":6}\x1e", "{\"type\":6}\x1e{\"type\":6}\x1e"}, []string{"{\"type\":6}\x1e{\"type\":1}\x1e", "{}\x1e"}},
		{"Phoenix", "/socket/websocket?vsn=2.0.0", "", [2]string{}, []string{`[null,"4","phoenix","heartbeat",{}]`, `{"topic":"phoenix","event":"heartbeat","payload":{},"ref":"4"}`},
			[]string{`[null,"4","phoenix","phx_reply",{"status":"ok","response":{}}]`}, nil, []string{`["1","4","room:phoenix","phx_join",{}]`, `["1","4","room","heartbeat",{}]`}},
		{"GraphQL over WebSocket", "/", "graphql-transport-ws", [2]string{}, []string{`{"type":"ping"}`, `{"type":"ping","payload":{}}`}, []string{`{"type":"pong"}`}, nil, []string{`{"type":"next"}`, "ping"}},
		{"GraphQL subscriptions", "/", "graphql-ws", [2]string{}, nil, nil, []string{`{"type":"ka"}`}, []string{`{"type":"data"}`}},
		{"STOMP", "/", "v12.stomp", [2]string{}, nil, nil, []string{"\n", "\r\n"}, []string{"", "SEND\n"}},
		{"SockJS", "/echo/123/abcdefgh/websocket", "", [2]string{"", "o"}, nil, nil, []string{"h"}, []string{"hh"}},
		{"Action Cable", "/cable", "actioncable-v1-json", [2]string{}, nil, nil, []string{`{"type":"ping","message":1764400000}`}, []string{`{"type":"welcome"}`}},
		{"tRPC", "/?connectionParams=1", "", [2]string{}, []string{"PING"}, []string{"PONG"}, nil, []string{"ping"}},
		{"tRPC", "/", "", [2]string{`{"id":1,"method":"query","params":{"input":{"path":1},"path":"a"}}`}, []string{"PING"}, nil, nil, nil},
		{"tRPC", "/", "", [2]string{`[{"id":1,"method":"subscription","params":{"path":"a"}}]`}, []string{"PING"}, nil, nil, nil},
		{"Primus", "/primus?_primuscb=abc", "", [2]string{}, []string{`"primus::ping::1764400000000"`}, []string{`"primus::pong::1764400000000"`}, nil, []string{`"primus::server::close"`}},
		{"NATS", "/", "", [2]string{"", "INFO {}\r\n"}, []string{"PING\r\n"}, []string{"PONG\r\n"}, nil, []string{"+OK\r\n", "PONG\r\nPING\r\n"}},
		{"Bayeux", "/cometd", "", [2]string{"[]", ""}, []string{"[]", `[{"id":"3","channel":"/meta/connect"}]`}, nil, nil, []string{`[{"id":"3","channel":"/meta/connect"},{"id":"4","channel":"/x"}]`, `[{"channel":"/meta/connect","successful":true}]`, `[{"channel":"/meta/handshake"}]`, "[1]", "{}", "[] x"}},
		{"Bayeux", "/events", "", [2]string{`{"id":"1","channel":"/meta/handshake"}`, ""}, []string{"[]"}, nil, nil, nil},
		{"JSON-RPC", "/", "", [2]string{"", `{"jsonrpc":"2.0","method":"x"}`}, nil, nil, nil, []string{"ping"}},
		{"WAMP", "/", "wamp.2.json", [2]string{}, nil, nil, nil, []string{"[1]"}},
		{"Discord", "/?v=10", "", [2]string{"", `{"op":10,"d":{}}`}, []string{`{"op":1,"d":251}`}, []string{`{"op":11}`}, nil, []string{`{"op":0}`}},
	} {
		text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf(c.target, c.subprotocol)
		s := loaded(t, text)
		for d, first := range c.first {
			if first != "" {
				s.sides[d].units = append([]unit{{kind: unitMessage, op: ws.OpText, data: []byte(first)}}, s.sides[d].units...)
			}
		}
		s.stack = s.recognize()
		if s.stack == nil || s.stack.name != c.name {
			t.Errorf("%s is taken for %v", c.name, s.stack)
			continue
		}
		for kind, list := range map[beat][]string{beatAsk: c.ask, beatAnswer: c.answer, beatAlone: c.alone, noBeat: c.none} {
			for _, text := range list {
				if got := s.beatOf(decode.FromClient, &unit{kind: unitMessage, op: ws.OpText, data: []byte(text)}, false); got != kind {
					t.Errorf("%s: %q is %d, want %d", c.name, text, got, kind)
				}
			}
		}
	}
	s := loaded(t, `{"wstrace":1}`+"\n"+`{"k":"open","c":1}`+"\n"+upgradeOf("/", "mqtt"))
	for text, want := range map[string]beat{"\xc0\x00": beatAsk, "\xd0\x00": beatAnswer, "\x30\x00": noBeat} {
		if got := s.beatOf(decode.FromClient, &unit{kind: unitMessage, op: ws.OpBinary, data: []byte(text)}, false); got != want {
			t.Errorf("MQTT: %q is %d, want %d", text, got, want)
		}
	}
	s = loaded(t, linesOf("/cometd", "", "> []"))
	for text, want := range map[string]beat{"[]": beatAnswer, `[{"channel":"/meta/connect","id":"3","successful":true}]`: beatAnswer, `[{"channel":"/meta/connect","id":"3"}]`: noBeat} {
		if got := s.beatOf(decode.FromServer, &unit{kind: unitMessage, op: ws.OpText, data: []byte(text)}, false); got != want {
			t.Errorf("Bayeux: %q is %d, want %d", text, got, want)
		}
	}
	for _, lines := range [][]string{{"> []", "< []"}, {`> [{"id":"1","channel":"/x"}]`}, {`> {"id":1,"method":"a.b"}`}, {`> {"json":"2.0","id":1,"method":"a"}`},
		{`> {"id":1,"method":"query","params":{"input":{"path":"a"}}}`}, {`> {"id":1,"method":"ask","params":{"path":"a"}}`}, {`> {"method":"query","params":{"path":"a"}}`}, {`> {"id":1,"method":"query","params":["path"]}`}} {
		if s := loaded(t, linesOf("/", "", lines...)); s.stack != nil {
			t.Errorf("%q is taken for %s", lines, s.stack.name)
		}
	}
	if s := loaded(t, linesOf("/", "", "> PING", "< PONG", `> {"id":1,"method":"query","params":{"input":{},"path":"a"}}`)); s.stack == nil || s.sides[decode.FromClient].units[0].beat != beatAsk {
		t.Error("tRPC is not recognized behind a heartbeat")
	}
	if s := loaded(t, talk); s.stack != nil {
		t.Errorf("%s in a chat", s.stack.name)
	}
}

const signalR = open + `{"k":"frame","t":0.1,"d":">","op":"text","mask":"00000000","text":"{\"protocol\":\"json\",\"version\":1}\u001e"}
{"k":"frame","t":0.2,"d":"<","op":"text","text":"{}\u001e"}
{"k":"frame","t":15,"d":">","op":"text","mask":"00000000","text":"{\"type\":6}\u001e"}
{"k":"frame","t":15.1,"d":"<","op":"text","text":"{\"type\":6}\u001e"}
{"k":"frame","t":16,"d":">","op":"text","mask":"00000000","text":"hi"}
{"k":"frame","t":17,"d":"<","op":"text","text":"ho"}
`

// A client may send more heartbeats than were recorded, or none.
func TestBeatsOfTheClient(t *testing.T) {
	for _, beats := range []int{0, 1, 5} {
		conn, wait := served(t, loaded(t, signalR))
		io.WriteString(conn, frame(ws.OpText, `{"protocol":"json","version":1}`+"\x1e"))
		expect(t, conn, "\x81\x03{}\x1e")
		for range beats {
			io.WriteString(conn, frame(ws.OpText, `{"type":6}`+"\x1e"))
		}
		io.WriteString(conn, frame(ws.OpText, "hi"))
		expect(t, conn, "\x81\x02ho")
		conn.Close()
		if err := wait(); err != nil {
			t.Errorf("%d heartbeats: %v", beats, err)
		}
	}
	for _, exact := range []CompareOption{CompareOptions(), Exact()} { // another message is not let through
		conn, wait := served(t, loaded(t, signalR, exact))
		io.WriteString(conn, frame(ws.OpText, `{"protocol":"json","version":1}`+"\x1e"))
		expect(t, conn, "\x81\x03{}\x1e")
		io.WriteString(conn, frame(ws.OpText, "other"))
		if err := wait(); err == nil {
			t.Error("another message is let through")
		}
		conn.Close()
	}
}

// While a server waits, it sends its heartbeats when they are due, and no sooner.
func TestBeatsOfOurs(t *testing.T) {
	text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf("/socket.io/?EIO=4", "") + `{"k":"frame","t":0.5,"d":"<","op":"text","text":"0{}"}
{"k":"frame","t":1.5,"d":"<","op":"text","text":"2"}
{"k":"frame","t":1.6,"d":">","op":"text","mask":"00000000","text":"3"}
{"k":"frame","t":2.5,"d":"<","op":"text","text":"2"}
{"k":"frame","t":2.6,"d":">","op":"text","mask":"00000000","text":"3"}
{"k":"frame","t":3,"d":">","op":"text","mask":"00000000","text":"42[1]"}
{"k":"frame","t":3.1,"d":"<","op":"text","text":"43[1]"}
`
	synctest.Test(t, func(t *testing.T) {
		conn, wait := servedWith(t, loaded(t, text), "/socket.io/?EIO=4", "")
		began := time.Now()
		expect(t, conn, "\x81\x030{}")
		for _, due := range []time.Duration{1 * time.Second, 2 * time.Second} {
			expect(t, conn, "\x81\x012")
			if d := time.Since(began); d != due {
				t.Errorf("a heartbeat after %v, want %v", d, due)
			}
			io.WriteString(conn, frame(ws.OpText, "3"))
		}
		io.WriteString(conn, frame(ws.OpText, "42[1]"))
		expect(t, conn, "\x81\x0543[1]")
		conn.Close()
		check(t, wait(), "")
	})
	synctest.Test(t, func(t *testing.T) { // a fast client gets none
		conn, wait := servedWith(t, loaded(t, text), "/socket.io/?EIO=4", "")
		expect(t, conn, "\x81\x030{}")
		io.WriteString(conn, frame(ws.OpText, "42[1]"))
		expect(t, conn, "\x81\x0543[1]")
		conn.Close()
		check(t, wait(), "")
	})
	synctest.Test(t, func(t *testing.T) { // heartbeats alone are no progress
		conn, wait := servedWith(t, loaded(t, text), "/socket.io/?EIO=4", "")
		began := time.Now()
		go io.Copy(io.Discard, conn)
		if err := wait(); err == nil || time.Since(began) != DefaultStall {
			t.Errorf("%v after %v", err, time.Since(began))
		}
		conn.Close()
	})
}

// An answer has the id of its question, also one more than was recorded, and goes without
// compression, as does what follows.
func TestBeatsHaveTheirIDs(t *testing.T) {
	text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1,"ext":"permessage-deflate"}` + "\n" +
		strings.ReplaceAll(upgradeOf("/socket/websocket?vsn=2.0.0", ""), `"C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]`, `"C/0nmHhBztSRGR1CwL6Tf4ZjwpY="],["Sec-WebSocket-Extensions","permessage-deflate"]`) +
		`{"k":"frame","t":1,"d":">","op":"text","mask":"00000000","text":"[null,\"4\",\"phoenix\",\"heartbeat\",{}]"}
{"k":"frame","t":1.1,"d":"<","op":"text","deflate":"[null,\"4\",\"phoenix\",\"phx_reply\",{\"status\":\"ok\",\"response\":{}}]"}
{"k":"frame","t":2,"d":">","op":"text","mask":"00000000","text":"hi"}
{"k":"frame","t":2.1,"d":"<","op":"text","deflate":"[null,null,\"room\",\"phx_reply\"]"}
`
	text = strings.Replace(text, `["Sec-WebSocket-Version","13"]`, `["Sec-WebSocket-Version","13"],["Sec-WebSocket-Extensions","permessage-deflate"]`, 1)
	conn, wait := servedWith(t, loaded(t, text), "/socket/websocket?vsn=2.0.0", "Sec-WebSocket-Extensions: permessage-deflate\r\n")
	for _, id := range []string{"9", "10"} {
		io.WriteString(conn, frame(ws.OpText, `[null,"`+id+`","phoenix","heartbeat",{}]`))
		want := `[null,"` + id + `","phoenix","phx_reply",{"status":"ok","response":{}}]`
		expect(t, conn, "\x81"+string(rune(len(want)))+want)
	}
	io.WriteString(conn, frame(ws.OpText, "hi"))
	want := `[null,null,"room","phx_reply"]`
	expect(t, conn, "\x81"+string(rune(len(want)))+want)
	conn.Close()
	check(t, wait(), "")
}

// The user names what may come or not: by a selector, or by a filter.
func TestOptional(t *testing.T) {
	const text = open + `{"k":"frame","d":">","op":"text","mask":"00000000","text":"{\"hb\":1}"}
{"k":"frame","d":"<","op":"text","text":"{\"hb\":1}"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"hi"}
{"k":"frame","d":"<","op":"text","text":"ho"}
`
	filter := OptionalFunc(func() func(*decode.Event) bool {
		return func(ev *decode.Event) bool {
			return ev.Message != nil && strings.Contains(string(ev.Message.Data), "hb")
		}
	})
	for name, opt := range map[string]CompareOption{"selector": Optional("$.hb"), "expression": Optional("/hb/"), "filter": filter} {
		for _, beats := range []int{0, 1, 3} {
			conn, wait := served(t, loaded(t, text, opt))
			for n := range beats {
				id := string(rune('3' + n))
				io.WriteString(conn, frame(ws.OpText, `{"hb":`+id+`}`))
				expect(t, conn, "\x81\x08"+`{"hb":`+id+`}`)
			}
			io.WriteString(conn, frame(ws.OpText, "hi"))
			expect(t, conn, "\x81\x02ho")
			conn.Close()
			if err := wait(); err != nil {
				t.Errorf("%s, %d: %v", name, beats, err)
			}
		}
		if got := diff(t, text, strings.Replace(text, `{"k":"frame","d":"<","op":"text","text":"{\"hb\":1}"}`+"\n", "", 1), opt); got != "" {
			t.Errorf("%s: diff says\n%s", name, got)
		}
	}
	if err := Check(Optional("?x")); err == nil {
		t.Error("?x names no part of a message")
	}
}

// The answer to a heartbeat waits for the end of a message of ours that is under way; what
// may cross does, too; and a heartbeat in several frames is passed over whole.
func TestBeatsBetweenFrames(t *testing.T) {
	head := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf("/socket.io/?EIO=3", "")
	text := head + `{"k":"frame","d":">","op":"text","mask":"00000000","text":"2"}
{"k":"frame","d":"<","op":"text","text":"3"}
{"k":"frame","d":"<","op":"text","fin":false,"text":"42a"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"42q"}
{"k":"frame","d":"<","op":"cont","text":"b"}
`
	conn, wait := servedWith(t, loaded(t, text), "/socket.io/?EIO=3", "")
	expect(t, conn, "\x01\x0342a")
	io.WriteString(conn, frame(ws.OpText, "2")+frame(ws.OpText, "42q"))
	expect(t, conn, "\x80\x01b\x81\x013")
	conn.Close()
	check(t, wait(), "")

	text = head + `{"k":"frame","d":">","op":"text","mask":"00000000","text":"42a"}
{"k":"frame","t":9,"d":"<","op":"text","fin":false,"text":""}
{"k":"frame","t":9,"d":"<","op":"ping","text":"p"}
{"k":"frame","t":9,"d":"<","op":"cont","text":"2"}
{"k":"frame","t":9,"d":"<","op":"text","text":"43a"}
`
	conn, wait = servedWith(t, loaded(t, text), "/socket.io/?EIO=3", "")
	io.WriteString(conn, frame(ws.OpText, "42a"))
	expect(t, conn, "\x89\x01p\x81\x0343a")
	conn.Close()
	check(t, wait(), "")
}

// A heartbeat of ours that is next holds up no other session.
func TestBeatsHoldNobodyUp(t *testing.T) {
	text := `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/socket.io/?EIO=4&n=1"}
{"k":"open","c":2,"url":"ws://h/socket.io/?EIO=4&n=2"}
{"k":"frame","c":1,"t":0.1,"d":"<","op":"text","text":"0{}"}
{"k":"frame","c":2,"t":0.1,"d":"<","op":"text","text":"0{}"}
{"k":"frame","c":1,"t":25,"d":"<","op":"text","text":"2"}
{"k":"frame","c":1,"t":25.1,"d":">","op":"text","mask":"00000000","text":"3"}
{"k":"frame","c":2,"t":26,"d":">","op":"text","mask":"00000000","text":"42b"}
{"k":"frame","c":2,"t":26.1,"d":"<","op":"text","text":"42b"}
{"k":"frame","c":1,"t":26.1,"d":"<","op":"text","text":"42b"}
`
	serr, cerr := together(t, loadAll(t, text), loadAll(t, text), PlayOptions(Stall(2*time.Second)), PlayOptions(Stall(2*time.Second)))
	if serr != nil || cerr != nil {
		t.Errorf("%v, %v", serr, cerr)
	}
}

// A trace that is made anew has all heartbeats where they came.
func TestBeatsInAnUpdate(t *testing.T) {
	text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf("/socket.io/?EIO=3", "") + `{"k":"frame","d":">","op":"text","mask":"00000000","text":"2"}
{"k":"frame","d":"<","op":"text","text":"3"}
{"k":"frame","d":">","op":"text","mask":"00000000","text":"42q"}
{"k":"frame","d":"<","op":"text","text":"43q"}
`
	var got []string
	conn, wait := servedWith(t, loaded(t, text), "/socket.io/?EIO=3", "", Update(true), Events(decode.SinkFunc(func(ev *decode.Event) {
		if ev.Message != nil && ev.Kind == decode.KindFrame {
			got = append(got, ev.Dir.Arrow()+string(ev.Message.Data))
		}
	})))
	io.WriteString(conn, frame(ws.OpText, "2"))
	expect(t, conn, "\x81\x013")
	io.WriteString(conn, frame(ws.OpText, "42q"))
	expect(t, conn, "\x81\x0343q")
	conn.Close()
	wait()
	if want := ">2 <3 >42q <43q"; strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s", got, want)
	}
}

// The server holds a /meta/connect back as long as in the recording, also one more, and
// answers it with its own id; ids of what else the client asks shift then. The first has
// to come.
func TestBeatsOfBayeux(t *testing.T) {
	connect := func(id string) string {
		return `[{"id":"` + id + `","channel":"/meta/connect","clientId":"c"}]`
	}
	connected := func(id string) string {
		return `[{"channel":"/meta/connect","id":"` + id + `","successful":true}]`
	}
	say := func(d string, t float64, text string) string {
		mask := ""
		if d == ">" {
			mask = `,"mask":"00000000"`
		}
		return fmt.Sprintf(`{"k":"frame","t":%.1f,"d":"%s"%s,"op":"text","text":%q}`+"\n", t, d, mask, text)
	}
	text := linesOf("/cometd", "", `> [{"id":"1","channel":"/meta/handshake"}]`, `< [{"id":"1","channel":"/meta/handshake","successful":true}]`) +
		say(">", 1, connect("2")) + say("<", 1, connected("2")) + say(">", 1, connect("3")) + say("<", 4, connected("3")) + say(">", 4, connect("4")) +
		say(">", 5, `[{"id":"5","channel":"/x","data":1}]`) + say("<", 5, `[{"channel":"/x","id":"5","successful":true}]`)
	message := func(text string) string { return "\x81" + string(rune(len(text))) + text }
	synctest.Test(t, func(t *testing.T) {
		conn, wait := servedWith(t, loaded(t, text), "/cometd", "", Stall(time.Minute))
		send := func(text string) { io.WriteString(conn, frame(ws.OpText, text)) }
		send(`[{"id":"1","channel":"/meta/handshake"}]`)
		expect(t, conn, message(`[{"id":"1","channel":"/meta/handshake","successful":true}]`))
		send(connect("2"))
		expect(t, conn, message(connected("2")))
		began := time.Now()
		send(connect("3"))
		expect(t, conn, message(connected("3")))
		if d := time.Since(began); d != 3*time.Second {
			t.Errorf("held for %v", d)
		}
		send(connect("4")) // that of the recording was under way to its end
		expect(t, conn, message(connected("4")))
		if d := time.Since(began); d != 6*time.Second {
			t.Errorf("both held for %v", d)
		}
		send(connect("5"))
		send("[]")
		send(`[{"id":"6","channel":"/x","data":1}]`)
		expect(t, conn, message(`[{"channel":"/x","id":"6","successful":true}]`))
		conn.Close()
		check(t, wait(), "")
	})
	synctest.Test(t, func(t *testing.T) { // as a client, with one that is in no hurry
		serr, cerr := both(t, loaded(t, text), loaded(t, text))
		if serr != nil || cerr != nil {
			t.Errorf("%v, %v", serr, cerr)
		}
	})
	conn, wait := servedWith(t, loaded(t, text), "/cometd", "")
	io.WriteString(conn, frame(ws.OpText, `[{"id":"1","channel":"/meta/handshake"}]`)+frame(ws.OpText, `[{"id":"2","channel":"/y","data":1}]`))
	if err := wait(); err == nil || !strings.Contains(err.Error(), `expected client frame 1, text '[{"id":"2","channel":"/meta/connect"`) {
		t.Errorf("got %v", err)
	}
	conn.Close()
}

// A client of Bayeux has one /meta/connect under way, however soon or late the server
// answers, until it says goodbye.
func TestClientOfBayeux(t *testing.T) {
	connect := func(id string) string { return `[{"id":"` + id + `","channel":"/meta/connect"}]` }
	const goodbye = `[{"id":"9","channel":"/meta/disconnect"}]`
	text := linesOf("/cometd", "", "> "+connect("1"), `< [{"id":"1","channel":"/meta/connect","successful":true}]`, "> "+connect("2"), `> [{"id":"5","channel":"/x","data":1}]`,
		`< [{"id":"2","channel":"/meta/connect","successful":true}]`, "> "+connect("3"), `< [{"id":"5","channel":"/x","successful":true}]`, "> "+goodbye, `< [{"id":"9","channel":"/meta/disconnect","successful":true}]`)
	for answers, want := range []string{"1 5 9", "1 5 9", "1 5 2 9", "1 5 2 3 9", "1 5 2 3 3 9"} { // of /meta/connect, before the one to 5
		synctest.Test(t, func(t *testing.T) {
			conn, server := memconn.Pipe()
			done := make(chan error, 1)
			go func() {
				done <- loaded(t, text).PlayClient(t.Context(), conn, &url.URL{Scheme: "ws", Host: "replay.test"})
			}()
			req, err := decode.ParseRequest(string(readHead(t.Context(), server, nil, time.Minute)))
			if err != nil {
				t.Fatal(err)
			}
			io.WriteString(server, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: "+decode.AcceptKey(req.Get("Sec-WebSocket-Key"))+"\r\n\r\n")
			answer := func(id, channel string) {
				text := `[{"id":"` + id + `","channel":"` + channel + `","successful":true}]`
				io.WriteString(server, "\x81"+string(rune(len(text)))+text)
			}
			var asked []string
			for left, said := answers, false; ; {
				f, err := readFrame(server)
				if err != nil {
					t.Fatalf("%v, having asked %s; %v", err, asked, <-done)
				}
				if f.Header.OpCode == ws.OpClose {
					break
				}
				m := bayeuxMessages(f.Payload)[0]
				id := m["id"].value.(string)
				asked = append(asked, id)
				switch {
				case m["channel"].is("/meta/disconnect"):
					answer(id, "/meta/disconnect")
				case m["channel"].is("/x"):
					said = true
				case left > 0:
					left--
					answer(id, "/meta/connect")
				}
				if said && left == 0 {
					said = false
					answer("5", "/x")
				}
			}
			server.Close()
			check(t, <-done, "")
			if got := strings.Join(asked, " "); got != want {
				t.Errorf("with %d answers it asks %s, want %s", answers, got, want)
			}
		})
	}
}

// What came before the answer to a ping goes before it, as NATS takes the answer for word
// that all has been said.
func TestBeatsAreBarriers(t *testing.T) {
	text := linesOf("/", "", "< hex 49 4e 46 4f 20 7b 7d 0d 0a", "> hex 43 4f 4e 4e 45 43 54 20 7b 7d 0d 0a 50 49 4e 47 0d 0a", "< hex 50 4f 4e 47 0d 0a",
		"> hex 50 55 42 20 61 20 31 0d 0a 78 0d 0a 50 49 4e 47 0d 0a", "< hex 4d 53 47 20 61 20 31 20 31 0d 0a 78 0d 0a", "< hex 50 4f 4e 47 0d 0a")
	for _, sent := range [][]string{{"PING\r\n", "PUB a 1\r\nx\r\nPING\r\n"}, {"PING\r\nPUB a 1\r\nx\r\n", "PING\r\n"}, {"PING\r", "\nPUB a 1\r\nx\r\nPING\r\nPING\r\n"}} {
		conn, wait := served(t, loaded(t, text))
		expect(t, conn, "\x82\x09INFO {}\r\n")
		io.WriteString(conn, frame(ws.OpBinary, "CONNECT {}\r\n"+sent[0])+frame(ws.OpBinary, sent[1]))
		const pong = "\x82\x06PONG\r\n"
		first := make([]byte, len(pong))
		io.ReadFull(conn, first)
		rest := "\x82\x0eMSG a 1 1\r\nx\r\n"
		if string(first) == pong {
			expect(t, conn, rest+pong)
		} else { // all had come
			expect(t, conn, rest[len(pong):]+pong+pong)
		}
		conn.Close()
		check(t, wait(), "")
	}
	conn, wait := served(t, loaded(t, text))
	io.WriteString(conn, frame(ws.OpBinary, "CONNECT {\"a\":1}\r\n"))
	if err := wait(); err == nil || !strings.Contains(err.Error(), `expected client record 0, binary "CONNECT {}`) {
		t.Errorf("got %v", err)
	}
	conn.Close()
}

// A trace is made anew with a client that has other heartbeats; each is answered, and what
// we ask goes as in the trace.
func TestOtherBeatsInAnUpdate(t *testing.T) {
	text := linesOf("/socket/websocket?vsn=2.0.0", "", `> [null,"1","phoenix","heartbeat",{}]`, `< [null,"1","phoenix","phx_reply",{}]`, `> ["2","2","r","phx_join",{}]`, `< ["2","2","r","phx_reply",{}]`)
	for beats := range 3 {
		conn, wait := servedWith(t, loaded(t, text), "/socket/websocket?vsn=2.0.0", "", Update(true))
		for n := range beats {
			id := string(rune('3' + n))
			io.WriteString(conn, frame(ws.OpText, `[null,"`+id+`","phoenix","heartbeat",{}]`))
			expect(t, conn, "\x81\x23"+`[null,"`+id+`","phoenix","phx_reply",{}]`)
		}
		io.WriteString(conn, frame(ws.OpText, `["7","7","r","phx_join",{"new":1}]`))
		expect(t, conn, "\x81\x1c"+`["7","7","r","phx_reply",{}]`)
		conn.Close()
		check(t, wait(), "")
	}
}
