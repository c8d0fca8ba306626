package replay

import (
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

func loaded(t testing.TB, text string, opts ...LoadOption) *Script {
	t.Helper()
	s, err := Load(Trace(strings.NewReader(text)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// both plays the server of one script against the client of another.
func both(t testing.TB, server, client *Script, opts ...PlayOption) (serverErr, clientErr error) {
	t.Helper()
	return bothAs(t, server, client, opts, opts)
}

// bothAs is both, where each has its options.
func bothAs(t testing.TB, server, client *Script, serverOpts, clientOpts []PlayOption) (serverErr, clientErr error) {
	t.Helper()
	c, s := memconn.Pipe()
	done := make(chan error)
	go func() { done <- server.PlayServer(t.Context(), s, serverOpts...) }()
	clientErr = client.PlayClient(t.Context(), c, &url.URL{Scheme: "ws", Host: "replay.test"}, clientOpts...)
	return <-done, clientErr
}

const handshake = `{"wstrace":1,"t0":"2026-11-21T07:31:41Z"}
{"k":"open","t":0,"c":1,"client":"127.0.0.1:51234","server":"127.0.0.1:1901","url":"ws://127.0.0.1:1901/chat?name=John"}
{"k":"req","t":0,"c":1,"m":"GET","target":"/chat?name=John","v":"HTTP/1.1","h":[["Host","127.0.0.1:1901"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"],["Sec-WebSocket-Protocol","echo, chat"],["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"res","t":0.1,"c":1,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="],["Sec-WebSocket-Protocol","echo"],["Sec-WebSocket-Extensions","permessage-deflate"]]}
`

const talk = handshake + `{"k":"frame","t":0.2,"c":1,"d":"<","op":"text","text":"John joined."}
{"k":"frame","t":0.2,"c":1,"d":"<","op":"text","deflate":"Welcome John."}
{"k":"frame","t":0.3,"c":1,"d":">","op":"text","fin":false,"mask":"01020304","text":"good "}
{"k":"frame","t":0.3,"c":1,"d":"<","op":"ping","text":"beat"}
{"k":"frame","t":0.3,"c":1,"d":">","op":"pong","mask":"01020304","text":"beat"}
{"k":"frame","t":0.4,"c":1,"d":">","op":"cont","mask":"01020304","text":"morning"}
{"k":"frame","t":0.5,"c":1,"d":"<","op":"text","deflate":"John says: good morning"}
{"k":"frame","t":0.5,"c":1,"d":"<","op":"bin","hex":"00 01 02"}
{"k":"frame","t":0.6,"c":1,"d":">","op":"text","mask":"01020304","deflate":"{\"id\":1,\"name\":\"Welcome John\"}"}
{"k":"frame","t":0.7,"c":1,"d":">","op":"close","mask":"01020304","code":1000,"reason":"bye"}
{"k":"frame","t":0.8,"c":1,"d":"<","op":"close","code":1000,"reason":"bye"}
{"k":"end","t":0.8,"c":1,"d":"<","how":"fin"}
{"k":"end","t":0.8,"c":1,"d":">","how":"fin"}
`

func TestBothRoles(t *testing.T) {
	for name, opts := range map[string]struct {
		load []LoadOption
		play []PlayOption
	}{"messages": {}, "exact": {load: []LoadOption{Exact()}}, "clock": {play: []PlayOption{Clock(Scale(100))}}, "pauses": {play: []PlayOption{Timing(Scale(100))}}} {
		t.Run(name, func(t *testing.T) {
			s := loaded(t, talk, opts.load...)
			if serr, cerr := both(t, s, s, opts.play...); serr != nil || cerr != nil {
				t.Errorf("server: %v\nclient: %v", serr, cerr)
			}
		})
	}
}

// Each change to the recording is found by the side that plays the changed one
// against the original, and told in a sentence.
func TestMutations(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, m := range []struct {
			name     string
			role     decode.Dir // that plays the changed recording
			old, new string
			want     string
		}{
			{"text changed", decode.FromServer, `"text":"morning"`, `"text":"evening"`,
				`line 10: expected client message 0, text "good evening", after the handshake; got text "good morning", which differs at byte 5`},
			{"text changed", decode.FromClient, `"text":"John joined."`, `"text":"Joan joined."`,
				`line 5: expected server frame 0, text "Joan joined.", after the handshake; got text "John joined.", which differs at byte 2`},
			{"compressed text changed", decode.FromClient, `"deflate":"Welcome John."`, `"deflate":"Welcome Joan."`,
				`line 6: expected server frame 1, text "Welcome Joan.", after server frame 0 (line 5); got text "Welcome John.", which differs at byte 10`},
			{"binary changed", decode.FromClient, `"00 01 02"`, `"00 01 03"`,
				`line 12: expected server frame 3, binary [00 01 03], after server frame 2 (line 11); got binary [00 01 02], which differs at byte 2`},
			{"binary made text", decode.FromClient, `"op":"bin","hex":"00 01 02"`, `"op":"text","text":"abc"`,
				`line 12: expected server frame 3, text "abc", after server frame 2 (line 11); got binary [00 01 02]`},
			{"JSON value changed", decode.FromServer, `\"id\":1`, `\"id\":2`,
				`line 13: expected client frame 1, text '{"id":2,"name":"Welcome John"}', after client message 0 (line 10); got text '{"id":1,"name":"Welcome John"}', where $.id is 1, expected 2`},
			{"JSON member dropped", decode.FromServer, `\"id\":1,`, ``,
				`line 13: expected client frame 1, text '{"name":"Welcome John"}', after client message 0 (line 10); got text '{"id":1,"name":"Welcome John"}', where $.id is 1, which is not expected`},
			{"JSON member added", decode.FromServer, `\"id\":1,`, `\"id\":1,\"x y\":[true],`,
				`line 13: expected client frame 1, text '{"id":1,"x y":[true],"name":"Welcome John"}', after client message 0 (line 10); got text '{"id":1,"name":"Welcome John"}', where $['x y'] is missing, expected [true]`},
			{"close code", decode.FromServer, `"code":1000,"reason":"bye"}
{"k":"frame","t":0.8`, `"code":1001,"reason":"bye"}
{"k":"frame","t":0.8`,
				`line 14: expected client frame 2, close 1001 "bye", after client frame 1 (line 13); got close 1000 "bye"`},
			{"close reason", decode.FromClient, `"code":1000,"reason":"bye"}
{"k":"end"`, `"code":1000,"reason":"by"}
{"k":"end"`,
				`line 15: expected server frame 4, close 1000 "by", after server frame 3 (line 12); got close 1000 "bye"`},
			{"frame dropped", decode.FromClient, line(talk, 5), "",
				`line 5: expected server frame 0, text "Welcome John.", after the handshake; got text "John joined.", which differs at byte 0`},
			{"frame dropped", decode.FromServer, line(talk, 13), "",
				`line 13: expected client frame 1, close 1000 "bye", after client message 0 (line 10); got text '{"id":1,"name":"Welcome John"}'`},
			{"last frame dropped", decode.FromServer, line(talk, 14), "",
				`line 16: expected the client to end the connection (fin) after client frame 1 (line 13); got close 1000 "bye"`},
			{"frame added", decode.FromClient, line(talk, 11), line(talk, 11) + line(talk, 11),
				`line 12: expected server frame 3, text "John says: good morning", after server frame 2 (line 11); got binary [00 01 02], which is expected later, as server frame 4 (line 13)`},
			{"frame added at the end", decode.FromServer, line(talk, 14), line(talk, 14) + line(talk, 14),
				`server waits for client frame 3 (line 15): nothing for 5s`},
			{"frames reordered", decode.FromClient, line(talk, 11) + line(talk, 12), line(talk, 12) + line(talk, 11),
				`line 11: expected server frame 2, binary [00 01 02], after server frame 1 (line 6); got text "John says: good morning", which is expected later, as server frame 3 (line 12)`},
			{"end dropped", decode.FromClient, line(talk, 15) + line(talk, 16) + line(talk, 17), line(talk, 15) + line(talk, 12) + line(talk, 16) + line(talk, 17),
				`line 16: expected server frame 5, binary [00 01 02], after server frame 4 (line 15); got the end of the connection (fin)`},
			{"path", decode.FromServer, `"target":"/chat?`, `"target":"/chats?`,
				`line 3: expected path "/chats", got "/chat"`},
			{"query", decode.FromServer, `"target":"/chat?name=John"`, `"target":"/chat?name=Joan"`,
				`line 3: expected query "name=Joan", got "name=John"`},
			{"method", decode.FromServer, `"m":"GET"`, `"m":"POST"`,
				`line 3: expected method POST, got GET`},
			{"offered subprotocols", decode.FromServer, `"echo, chat"`, `"chat, echo"`,
				`line 3: expected offered subprotocol "chat, echo", got "echo, chat"`},
			{"subprotocol", decode.FromClient, `["Sec-WebSocket-Protocol","echo"]`, `["Sec-WebSocket-Protocol","chat"]`,
				`line 4: expected subprotocol "chat", got "echo"`},
			{"no subprotocol", decode.FromClient, `["Sec-WebSocket-Protocol","echo"],`, ``,
				`line 4: expected subprotocol none, got "echo"`},
			{"extension parameter", decode.FromClient, `["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"frame"`, `["Sec-WebSocket-Extensions","permessage-deflate; server_max_window_bits=10"]]}
{"k":"frame"`,
				`line 4: expected extensions "permessage-deflate; server_max_window_bits=10", got "permessage-deflate"`},
			{"no extension offered", decode.FromServer, `,["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"res"`, `]}
{"k":"res"`,
				`line 3: expected offered extensions none, got "permessage-deflate"`},
			{"status", decode.FromClient, `"code":101`, `"code":403`,
				`line 4: expected status 403, got 101 Switching Protocols`},
			{"someone waits", decode.FromServer, line(talk, 6), line(talk, 6) + line(talk, 13) + line(talk, 11),
				`line 7: expected client frame 0, text '{"id":1,"name":"Welcome John"}', after the handshake; got text "good morning", which is expected later, as client message 1 (line 12)`},
		} {
			changed := strings.Replace(talk, m.old, m.new, 1)
			if changed == talk {
				t.Fatalf("%s: nothing changes", m.name)
			}
			err := against(t, m.role, loaded(t, changed), loaded(t, talk))
			if err == nil {
				t.Errorf("%s: the %s's replay does not fail", m.name, m.role)
			} else if err.Error() != m.want {
				t.Errorf("%s: got %v\nwant %s", m.name, err, m.want)
			}
		}
	})
}

// Whatever is done to a frame of the other side, the replay fails.
func TestEachMutation(t *testing.T) {
	greeting, err := os.ReadFile("testdata/greeting.wst")
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{"talk": talk, "greeting": string(greeting), "reply": talkWithoutPings} {
		for _, opts := range [][]LoadOption{nil, {Exact()}} {
			lines := slices.Collect(strings.Lines(text))
			for i, l := range lines {
				if !strings.Contains(l, `"k":"frame"`) || strings.Contains(l, `"op":"p`) {
					continue // pings and pongs are given as they are asked for
				}
				role := decode.FromServer
				if strings.Contains(l, `"d":"<"`) {
					role = decode.FromClient
				}
				mutants := map[string]string{"dropped": "", "doubled": l + l}
				for _, key := range []string{`"text":"`, `"deflate":"`, `"reason":"`} {
					mutants["changed, "+key] = strings.Replace(l, key, key+"x", 1)
				}
				mutants["changed, code"] = strings.Replace(l, `"code":1000`, `"code":1011`, 1)
				mutants["of another type"] = strings.Replace(l, `"op":"text"`, `"op":"bin"`, 1)
				mutants["the last of its message"] = strings.Replace(l, `"fin":false,`, "", 1)
				for what, m := range mutants {
					if m == l {
						continue
					}
					changed := strings.Join(lines[:i], "") + m + strings.Join(lines[i+1:], "")
					if err := playedAgainst(t, role, changed, text, opts); err == nil {
						t.Errorf("%s, %d options: line %d %s: the %s's replay does not fail", name, len(opts), i+1, what, role)
					}
				}
			}
		}
	}
}

var talkWithoutPings = strings.Replace(talk, line(talk, 8)+line(talk, 9), "", 1)

// playedAgainst plays a changed recording against the original in the other
// role, and returns what it says.
func playedAgainst(t *testing.T, role decode.Dir, changed, original string, opts []LoadOption) (err error) {
	synctest.Test(t, func(t *testing.T) {
		mutant, err1 := Load(Trace(strings.NewReader(changed)), opts...)
		if err1 != nil { // it is no session any more
			err = err1
			return
		}
		err = against(t, role, mutant, loaded(t, original, opts...))
	})
	return err
}

// against plays script in a role against other, which has more patience, and
// returns what it says.
func against(t *testing.T, role decode.Dir, script, other *Script) (err error) {
	patient := []PlayOption{Stall(time.Minute)}
	if role == decode.FromServer {
		err, _ = bothAs(t, script, other, nil, patient)
	} else {
		_, err = bothAs(t, other, script, patient, nil)
	}
	return err
}

// line returns line n of text, counted from 1, with its end.
func line(text string, n int) string { return strings.SplitAfter(text, "\n")[n-1] }
