package replay

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// linesOf returns the records of a session: "> text" and "< text", or "> hex 01 02" for a
// binary message, each a millisecond after the one before.
func linesOf(target, subprotocol string, lines ...string) string {
	b := []byte(`{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf(target, subprotocol))
	for i, line := range lines {
		b = fmt.Appendf(b, `{"k":"frame","t":%.3f,"d":"%c"`, float64(i+1)/1000, line[0])
		if line[0] == '>' {
			b = append(b, `,"mask":"00000000"`...)
		}
		if hex, ok := strings.CutPrefix(line[2:], "hex "); ok {
			b = fmt.Appendf(b, `,"op":"bin","hex":"%s"}`+"\n", hex)
			continue
		}
		text, _ := json.Marshal(line[2:])
		b = fmt.Appendf(b, `,"op":"text","text":%s}`+"\n", text)
	}
	return string(b)
}

// idCases are sessions of each protocol with ids. In the second the side that asks has
// made other ids; in the third the other side answers with a wrong one.
var idCases = []struct {
	name, target, subprotocol string
	recorded, live            []string
	wrong                     map[int]string // lines of live that are another, and have to fail
}{
	{"Phoenix", "/socket/websocket?vsn=2.0.0", "",
		[]string{`> ["4","4","room","phx_join",{}]`, `< ["4","4","room","phx_reply",{"status":"ok"}]`, `< [null,null,"room","all",{"n":"4"}]`,
			`> ["4","5","room","shout",{"a":5}]`, `< ["4","5","room","phx_reply",{"status":"ok"}]`, `< ["4",null,"room","evt",{}]`, `< ["4","4","room","phx_close",{}]`},
		[]string{`> ["11","11","room","phx_join",{}]`, `< ["11","11","room","phx_reply",{"status":"ok"}]`, `< [null,null,"room","all",{"n":"4"}]`,
			`> ["11","13","room","shout",{"a":5}]`, `< ["11","13","room","phx_reply",{"status":"ok"}]`, `< ["11",null,"room","evt",{}]`, `< ["11","11","room","phx_close",{}]`},
		map[int]string{3: `> ["4","13","room","shout",{"a":5}]`, 4: `< ["11","12","room","phx_reply",{"status":"ok"}]`, 5: `< ["13",null,"room","evt",{}]`}},
	{"Phoenix 1", "/socket/websocket?vsn=1.0.0", "",
		[]string{`> {"topic":"r","event":"phx_join","payload":{},"ref":"1","join_ref":"1"}`, `< {"topic":"r","event":"phx_reply","payload":{},"ref":"1"}`,
			`> {"join_ref":"1","ref":"2","topic":"r","event":"x","payload":{}}`, `< {"topic":"r","event":"phx_reply","payload":{},"ref":"2"}`},
		[]string{`> {"topic":"r","event":"phx_join","payload":{},"ref":"8","join_ref":"8"}`, `< {"topic":"r","event":"phx_reply","payload":{},"ref":"8"}`,
			`> {"join_ref":"8","ref":"10","topic":"r","event":"x","payload":{}}`, `< {"topic":"r","event":"phx_reply","payload":{},"ref":"10"}`},
		map[int]string{3: `< {"topic":"r","event":"phx_reply","payload":{},"ref":"8"}`}},
	{"Phoenix in binary", "/socket/websocket?vsn=2.0.0", "",
		[]string{`> ["4","4","t","phx_join",{}]`, `< ["4","4","t","phx_reply",{}]`, `> hex 00 01 01 01 01 34 35 74 65 01`, `< hex 01 01 01 01 02 34 35 74 6f 6b 02`, `< hex 00 01 01 01 34 74 65 01`},
		[]string{`> ["7","7","t","phx_join",{}]`, `< ["7","7","t","phx_reply",{}]`, `> hex 00 01 01 01 01 37 38 74 65 01`, `< hex 01 01 01 01 02 37 38 74 6f 6b 02`, `< hex 00 01 01 01 37 74 65 01`},
		map[int]string{3: `< hex 01 01 01 01 02 37 39 74 6f 6b 02`}},
	{"GraphQL over WebSocket", "/", "graphql-transport-ws",
		[]string{`> {"type":"connection_init"}`, `< {"type":"connection_ack"}`, `> {"id":"a","type":"subscribe","payload":{"query":"{a}"}}`, `> {"id":"b","type":"subscribe","payload":{"query":"{b}"}}`,
			`< {"id":"b","type":"next","payload":{"b":"a"}}`, `< {"id":"a","type":"next","payload":1}`, `> {"id":"b","type":"complete"}`, `< {"id":"a","type":"complete"}`},
		[]string{`> {"type":"connection_init"}`, `< {"type":"connection_ack"}`, `> {"id":"xyz","type":"subscribe","payload":{"query":"{a}"}}`, `> {"id":"a","type":"subscribe","payload":{"query":"{b}"}}`,
			`< {"id":"a","type":"next","payload":{"b":"a"}}`, `< {"id":"xyz","type":"next","payload":1}`, `> {"id":"a","type":"complete"}`, `< {"id":"xyz","type":"complete"}`},
		map[int]string{5: `< {"id":"a","type":"next","payload":1}`, 6: `> {"id":"xyz","type":"complete"}`}},
	{"GraphQL subscriptions", "/", "graphql-ws",
		[]string{`> {"type":"start","id":"1","payload":{}}`, `< {"type":"data","id":"1","payload":{}}`, `> {"type":"stop","id":"1"}`, `< {"type":"complete","id":"1"}`},
		[]string{`> {"type":"start","id":"2","payload":{}}`, `< {"type":"data","id":"2","payload":{}}`, `> {"type":"stop","id":"2"}`, `< {"type":"complete","id":"2"}`},
		map[int]string{1: `< {"type":"data","id":"1","payload":{}}`}},
	{"JSON-RPC", "/", "",
		[]string{`> {"jsonrpc":"2.0","id":1,"method":"a","params":[1]}`, `< {"jsonrpc":"2.0","id":1,"result":1}`, `< {"jsonrpc":"2.0","id":1,"method":"ask"}`, `> {"jsonrpc":"2.0","id":1,"result":"yes"}`,
			`> {"jsonrpc":"2.0","method":"note","params":{"id":1}}`, `> [{"jsonrpc":"2.0","id":2,"method":"b"},{"id":3,"jsonrpc":"2.0","method":"c"}]`, `< [{"jsonrpc":"2.0","id":3,"error":{"code":1}},{"jsonrpc":"2.0","id":2,"result":2}]`,
			`> {"jsonrpc":"2.0","id":"x","method":"slow"}`, `> {"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"x"}}`, `< {"jsonrpc":"2.0","id":"x","error":{"code":-32800}}`},
		[]string{`> {"jsonrpc":"2.0","id":10,"method":"a","params":[1]}`, `< {"jsonrpc":"2.0","id":10,"result":1}`, `< {"jsonrpc":"2.0","id":7,"method":"ask"}`, `> {"jsonrpc":"2.0","id":7,"result":"yes"}`,
			`> {"jsonrpc":"2.0","method":"note","params":{"id":1}}`, `> [{"jsonrpc":"2.0","id":3,"method":"b"},{"id":200,"jsonrpc":"2.0","method":"c"}]`, `< [{"jsonrpc":"2.0","id":200,"error":{"code":1}},{"jsonrpc":"2.0","id":3,"result":2}]`,
			`> {"jsonrpc":"2.0","id":"yy","method":"slow"}`, `> {"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"yy"}}`, `< {"jsonrpc":"2.0","id":"yy","error":{"code":-32800}}`},
		map[int]string{1: `< {"jsonrpc":"2.0","id":1,"result":1}`, 3: `> {"jsonrpc":"2.0","id":1,"result":"yes"}`, 4: `> {"jsonrpc":"2.0","method":"note","params":{"id":2}}`, 8: `> {"jsonrpc":"2.0","method":"$/cancelRequest","params":{"id":"x"}}`}},
	{"JSON-RPC of Chrome", "/devtools/page/A", "",
		[]string{`> {"id":1,"method":"Page.enable"}`, `< {"method":"Page.loaded","params":{"id":1}}`, `< {"id":1,"result":{}}`},
		[]string{`> {"id":31,"method":"Page.enable"}`, `< {"method":"Page.loaded","params":{"id":1}}`, `< {"id":31,"result":{}}`},
		map[int]string{1: `< {"method":"Page.loaded","params":{"id":31}}`, 2: `< {"id":32,"result":{}}`}},
	{"tRPC", "/?connectionParams=1", "",
		[]string{`> {"id":1,"method":"query","params":{"path":"a"}}`, `< {"id":1,"result":{}}`, `> {"id":2,"method":"subscription","params":{"path":"s"}}`, `< {"id":2,"result":{"type":"started"}}`, `> {"id":2,"method":"subscription.stop"}`, `< {"id":2,"result":{"type":"stopped"}}`, `< {"id":null,"method":"reconnect"}`},
		[]string{`> {"id":2,"method":"query","params":{"path":"a"}}`, `< {"id":2,"result":{}}`, `> {"id":4,"method":"subscription","params":{"path":"s"}}`, `< {"id":4,"result":{"type":"started"}}`, `> {"id":4,"method":"subscription.stop"}`, `< {"id":4,"result":{"type":"stopped"}}`, `< {"id":null,"method":"reconnect"}`},
		map[int]string{3: `< {"id":2,"result":{"type":"started"}}`, 4: `> {"id":2,"method":"subscription.stop"}`}},
	{"Socket.IO", "/socket.io/?EIO=4", "",
		[]string{`> 420["add",0]`, `> 42/a,0["add",0]`, `< 43/a,0["a"]`, `< 430[0]`, `< 421["you"]`, `> 431[]`, `> 451-1["bin",{"_placeholder":true,"num":0}]`, `> hex 01`, `< 461-1[{"_placeholder":true,"num":0}]`, `< hex 01`, `> 42["say",0]`},
		[]string{`> 4210["add",0]`, `> 42/a,7["add",0]`, `< 43/a,7["a"]`, `< 4310[0]`, `< 422["you"]`, `> 432[]`, `> 451-12["bin",{"_placeholder":true,"num":0}]`, `> hex 01`, `< 461-12[{"_placeholder":true,"num":0}]`, `< hex 01`, `> 42["say",0]`},
		map[int]string{2: `< 43/a,10["a"]`, 5: `> 431[]`, 8: `< 461-1[{"_placeholder":true,"num":0}]`, 10: `> 42["say",1]`}},
	{"SignalR", "/hub", "",
		[]string{"> {\"protocol\":\"json\",\"version\":1}\x1e", "< {}\x1e", "> {\"type\":1,\"invocationId\":\"1\",\"target\":\"A\",\"arguments\":[\"1\"]}\x1e", "< {\"type\":1,\"target\":\"m\",\"arguments\":[]}\x1e{\"type\":3,\"invocationId\":\"1\",\"result\":null}\x1e",
			"> {\"type\":4,\"invocationId\":\"2\",\"target\":\"S\",\"arguments\":[],\"streamIds\":[\"3\"]}\x1e", "> {\"type\":2,\"invocationId\":\"3\",\"item\":0}\x1e", "> {\"type\":3,\"invocationId\":\"3\"}\x1e", "< {\"type\":2,\"invocationId\":\"2\",\"item\":0}\x1e", "> {\"type\":5,\"invocationId\":\"2\"}\x1e", "< {\"type\":3,\"invocationId\":\"2\"}\x1e",
			"< {\"type\":1,\"invocationId\":\"1\",\"target\":\"Ask\",\"arguments\":[]}\x1e", "> {\"type\":3,\"invocationId\":\"1\",\"result\":1}\x1e"},
		[]string{"> {\"protocol\":\"json\",\"version\":1}\x1e", "< {}\x1e", "> {\"type\":1,\"invocationId\":\"10\",\"target\":\"A\",\"arguments\":[\"1\"]}\x1e", "< {\"type\":1,\"target\":\"m\",\"arguments\":[]}\x1e{\"type\":3,\"invocationId\":\"10\",\"result\":null}\x1e",
			"> {\"type\":4,\"invocationId\":\"12\",\"target\":\"S\",\"arguments\":[],\"streamIds\":[\"13\"]}\x1e", "> {\"type\":2,\"invocationId\":\"13\",\"item\":0}\x1e", "> {\"type\":3,\"invocationId\":\"13\"}\x1e", "< {\"type\":2,\"invocationId\":\"12\",\"item\":0}\x1e", "> {\"type\":5,\"invocationId\":\"12\"}\x1e", "< {\"type\":3,\"invocationId\":\"12\"}\x1e",
			"< {\"type\":1,\"invocationId\":\"s4\",\"target\":\"Ask\",\"arguments\":[]}\x1e", "> {\"type\":3,\"invocationId\":\"s4\",\"result\":1}\x1e"},
		map[int]string{3: "< {\"type\":1,\"target\":\"m\",\"arguments\":[]}\x1e{\"type\":3,\"invocationId\":\"1\",\"result\":null}\x1e", 6: "> {\"type\":3,\"invocationId\":\"12\"}\x1e", 11: "> {\"type\":3,\"invocationId\":\"1\",\"result\":1}\x1e"}},
	{"SignalR in MessagePack", "/hub", "",
		[]string{"> {\"protocol\":\"messagepack\",\"version\":1}\x1e", "< {}\x1e", "> hex 0b 96 01 80 a2 31 30 a1 41 91 2a 90", "< hex 08 95 03 80 a2 31 30 03 2a"},
		[]string{"> {\"protocol\":\"messagepack\",\"version\":1}\x1e", "< {}\x1e", "> hex 0b 96 01 80 a2 31 35 a1 41 91 2a 90", "< hex 08 95 03 80 a2 31 35 03 2a"},
		map[int]string{3: "< hex 08 95 03 80 a2 31 36 03 2a"}},
	{"WAMP", "/", "wamp.2.json",
		[]string{`> [1,"r",{}]`, `< [2,99,{}]`, `> [32,1,{},"t"]`, `< [33,1,5]`, `> [48,2,{},"p",[2]]`, `< [50,2,{},[2]]`, `< [68,1,7,{}]`, `> [70,1,{},[1]]`, `> [48,3,{},"q"]`, `> [49,3,{}]`, `< [8,48,3,{},"e"]`, `< [36,5,1,{}]`},
		[]string{`> [1,"r",{}]`, `< [2,99,{}]`, `> [32,10,{},"t"]`, `< [33,10,5]`, `> [48,12,{},"p",[2]]`, `< [50,12,{},[2]]`, `< [68,4,7,{}]`, `> [70,4,{},[1]]`, `> [48,13,{},"q"]`, `> [49,13,{}]`, `< [8,48,13,{},"e"]`, `< [36,5,1,{}]`},
		map[int]string{3: `< [33,12,5]`, 7: `> [70,1,{},[1]]`, 10: `< [8,48,12,{},"e"]`, 11: `< [36,5,12,{}]`}},
	{"OCPP", "/cp", "ocpp1.6",
		[]string{`> [2,"a","Boot",{}]`, `< [3,"a",{}]`, `< [2,"z","Reset",{}]`, `> [4,"z","NotSupported","",{}]`},
		[]string{`> [2,"b","Boot",{}]`, `< [3,"b",{}]`, `< [2,"y","Reset",{}]`, `> [4,"y","NotSupported","",{}]`},
		map[int]string{1: `< [3,"a",{}]`, 3: `> [4,"z","NotSupported","",{}]`}},
	{"MQTT", "/", "mqtt",
		[]string{"> hex 82 08 00 01 00 03 61 2f 23 01", "< hex 90 03 00 01 01", "> hex 34 06 00 01 61 00 02 31", "< hex 50 02 00 02", "> hex 62 02 00 02", "< hex 70 02 00 02", "< hex 32 06 00 01 61 00 05 31", "> hex 40 02 00 05", "> hex 30 04 00 01 61 02"},
		[]string{"> hex 82 08 07 01 00 03 61 2f 23 01", "< hex 90 03 07 01 01", "> hex 34 06 00 01 61 07 02 31", "< hex 50 02 07 02", "> hex 62 02 07 02", "< hex 70 02 07 02", "< hex 32 06 00 01 61 00 09 31", "> hex 40 02 00 09", "> hex 30 04 00 01 61 02"},
		map[int]string{1: "< hex 90 03 00 01 01", 3: "< hex 50 02 00 02", 4: "> hex 62 02 07 03", 7: "> hex 40 02 00 05", 8: "> hex 30 04 00 01 61 07"}},
	{"Bayeux", "/cometd", "",
		[]string{`> [{"id":"1","channel":"/meta/handshake","version":"1.0"}]`, `< [{"channel":"/meta/handshake","id":"1","successful":true,"clientId":"c"}]`, `> [{"id":"2","channel":"/meta/connect","clientId":"c"}]`, `< [{"channel":"/meta/connect","id":"2","successful":true}]`,
			`> [{"id":"3","channel":"/meta/subscribe","subscription":"/x"}]`, `< [{"channel":"/meta/subscribe","id":"3","successful":true}]`, `> [{"id":"4","channel":"/x","data":{"id":"4"}},{"id":"5","channel":"/x","data":2}]`, `< [{"channel":"/x","data":{"id":"4"},"id":"4"},{"channel":"/x","id":"4","successful":true},{"channel":"/x","id":"5","successful":true}]`},
		[]string{`> [{"id":"a1","channel":"/meta/handshake","version":"1.0"}]`, `< [{"channel":"/meta/handshake","id":"a1","successful":true,"clientId":"c"}]`, `> [{"id":"a2","channel":"/meta/connect","clientId":"c"}]`, `< [{"channel":"/meta/connect","id":"a2","successful":true}]`,
			`> [{"id":"a5","channel":"/meta/subscribe","subscription":"/x"}]`, `< [{"channel":"/meta/subscribe","id":"a5","successful":true}]`, `> [{"id":"a7","channel":"/x","data":{"id":"4"}},{"id":"a8","channel":"/x","data":2}]`, `< [{"channel":"/x","data":{"id":"4"},"id":"4"},{"channel":"/x","id":"a7","successful":true},{"channel":"/x","id":"a8","successful":true}]`},
		map[int]string{5: `< [{"channel":"/meta/subscribe","id":"3","successful":true}]`, 6: `> [{"id":"a7","channel":"/x","data":{"id":"a7"}},{"id":"a8","channel":"/x","data":2}]`}},
}

// A client that asks with other ids than recorded is answered with these, a server that
// does is too, and neither may give a wrong one.
func TestIDs(t *testing.T) {
	for _, c := range idCases {
		recorded, live := linesOf(c.target, c.subprotocol, c.recorded...), linesOf(c.target, c.subprotocol, c.live...)
		if s := loaded(t, recorded); s.stack == nil || !strings.HasPrefix(c.name, s.stack.name) {
			t.Errorf("%s is taken for %v", c.name, s.stack)
			continue
		}
		for _, as := range [][2]string{{recorded, recorded}, {recorded, live}, {live, recorded}} {
			serr, cerr := both(t, loaded(t, as[0]), loaded(t, as[1]))
			if serr != nil || cerr != nil {
				t.Errorf("%s: %v, %v", c.name, serr, cerr)
			}
			if got := diff(t, as[0], as[1]); got != "" {
				t.Errorf("%s: diff says\n%s", c.name, got)
			}
		}
		if diff(t, recorded, live, Exact()) == "" {
			t.Errorf("%s: all is alike", c.name)
		}
		for i, line := range c.wrong {
			list := append([]string(nil), c.live...)
			list[i] = line
			wrong := linesOf(c.target, c.subprotocol, list...)
			server, client := live, wrong
			if line[0] == '<' {
				server, client = wrong, live
			}
			serr, cerr := both(t, loaded(t, server), loaded(t, client))
			err := serr
			if line[0] == '<' {
				err = cerr
			}
			if err == nil || !strings.Contains(err.Error(), "; got ") {
				t.Errorf("%s with %s: got %v, %v", c.name, line, serr, cerr)
			}
			if diff(t, recorded, wrong) == "" {
				t.Errorf("%s with %s: diff finds nothing", c.name, line)
			}
		}
	}
}

// The sentence shows the id that had to come.
func TestWrongID(t *testing.T) {
	const target = "/socket/websocket?vsn=2.0.0"
	text := linesOf(target, "", `> ["4","4","r","phx_join",{}]`, `< ["4","4","r","phx_reply",{}]`, `> ["4","5","r","x",{}]`)
	conn, wait := servedWith(t, loaded(t, text), target, "")
	io.WriteString(conn, frame(ws.OpText, `["10","10","r","phx_join",{}]`))
	expect(t, conn, "\x81\x1e"+`["10","10","r","phx_reply",{}]`)
	io.WriteString(conn, frame(ws.OpText, `["4","11","r","x",{}]`))
	check(t, wait(), `line 7: expected client frame 1, text '["10","11","r","x",{}]', after client frame 0 (line 5); got text '["4","11","r","x",{}]', where $[0] is "4", expected "10"`)
	conn.Close()
}

// Conversations with ids may cross: a question may come before one that was recorded
// before it, and its answer does not wait for that. What has no id keeps its place.
func TestIDsCross(t *testing.T) {
	text := linesOf("/", "", `> {"jsonrpc":"2.0","id":1,"method":"a"}`, `< {"jsonrpc":"2.0","id":1,"result":"A"}`, `> {"jsonrpc":"2.0","id":2,"method":"b"}`, `> {"jsonrpc":"2.0","method":"note"}`, `< {"jsonrpc":"2.0","id":2,"result":"B"}`)
	ask := func(id, method string) string {
		return frame(ws.OpText, `{"jsonrpc":"2.0","id":`+id+`,"method":"`+method+`"}`)
	}
	note := frame(ws.OpText, `{"jsonrpc":"2.0","method":"note"}`)
	answer := func(id, result string) string {
		return "\x81\x25" + `{"jsonrpc":"2.0","id":` + id + `,"result":"` + result + `"}`
	}
	conn, wait := served(t, loaded(t, text))
	io.WriteString(conn, ask("1", "b")+ask("2", "a"))
	expect(t, conn, answer("2", "A"))
	io.WriteString(conn, note)
	expect(t, conn, answer("1", "B"))
	conn.Close()
	check(t, wait(), "")

	conn, wait = served(t, loaded(t, text))
	io.WriteString(conn, note)
	check(t, wait(), `line 5: expected client frame 0, text '{"jsonrpc":"2.0","id":1,"method":"a"}', after the handshake; got text '{"jsonrpc":"2.0","method":"note"}', which is expected later, as client frame 2 (line 8)`)
	conn.Close()
	conn, wait = served(t, loaded(t, text))
	io.WriteString(conn, ask("1", "b")+ask("2", "b"))
	check(t, wait(), `line 5: expected client frame 0, text '{"jsonrpc":"2.0","id":2,"method":"a"}', after client frame 1 (line 7); got text '{"jsonrpc":"2.0","id":2,"method":"b"}', where $.method is "b", expected "a"`)
	conn.Close()
	conn, wait = served(t, loaded(t, text), Stall(50*time.Millisecond))
	io.WriteString(conn, ask("1", "b"))
	check(t, wait(), `server waits for client frame 0 (line 5); client may be waiting for our frame 0 (line 6): nothing for 50ms`)
	conn.Close()
}

// QoS 2 goes both ways at once; whose turn it is nobody knows.
func TestMQTTCrosses(t *testing.T) {
	text := linesOf("/", "mqtt", "> hex 34 06 00 01 61 00 03 31", "< hex 34 06 00 01 61 00 02 31", "< hex 50 02 00 03", "> hex 62 02 00 03", "< hex 70 02 00 03", "> hex 50 02 00 02", "< hex 62 02 00 02", "> hex 70 02 00 02")
	conn, wait := servedWith(t, loaded(t, text), "/", "Sec-WebSocket-Protocol: mqtt\r\n")
	io.WriteString(conn, frame(ws.OpBinary, "\x34\x06\x00\x01a\x00\x091"))
	expect(t, conn, "\x82\x08\x34\x06\x00\x01a\x00\x021\x82\x04\x50\x02\x00\x09")
	io.WriteString(conn, frame(ws.OpBinary, "\x50\x02\x00\x02"))
	expect(t, conn, "\x82\x04\x62\x02\x00\x02")
	io.WriteString(conn, frame(ws.OpBinary, "\x70\x02\x00\x02\x62\x02\x00\x09"))
	expect(t, conn, "\x82\x04\x70\x02\x00\x09")
	conn.Close()
	check(t, wait(), "")
}

// An id of our packet may stand in several messages. One that does not fit fails.
func TestIDsInPieces(t *testing.T) {
	text := linesOf("/", "mqtt", "> hex 82 06 01 02 00 01 61 00", "< hex 90 03", "< hex 01", "< hex 02 00")
	conn, wait := servedWith(t, loaded(t, text), "/", "Sec-WebSocket-Protocol: mqtt\r\n")
	io.WriteString(conn, frame(ws.OpBinary, "\x82\x06\x07\x08\x00\x01a\x00"))
	expect(t, conn, "\x82\x02\x90\x03\x82\x01\x07\x82\x02\x08\x00")
	conn.Close()
	check(t, wait(), "")

	const target = "/socket/websocket?vsn=2.0.0"
	text = linesOf(target, "", `> ["4","4","t","phx_join",{}]`, "< hex 00 01 01 01 34 74 65 01")
	conn, wait = servedWith(t, loaded(t, text), target, "")
	io.WriteString(conn, frame(ws.OpText, `["10","10","t","phx_join",{}]`))
	check(t, wait(), `our frame 0 (line 6) can't have the id "10" in place of "4": in a binary message an id keeps its length`)
	conn.Close()
}

// Ids that the user captures too are bound all the same, and where they come back by
// another way they are put as well.
func TestIDsAreCaptured(t *testing.T) {
	text := linesOf("/", "", `> {"jsonrpc":"2.0","id":"q1","method":"a"}`, `< {"jsonrpc":"2.0","id":"q1","result":"of q1"}`, `> {"jsonrpc":"2.0","id":"q2","method":"b","params":"q1"}`, `< {"jsonrpc":"2.0","id":"q2","result":"q1 q2"}`)
	conn, wait := served(t, loaded(t, text, Capture("$.id")))
	io.WriteString(conn, frame(ws.OpText, `{"jsonrpc":"2.0","id":"q2","method":"a"}`))
	expect(t, conn, "\x81\x2c"+`{"jsonrpc":"2.0","id":"q2","result":"of q2"}`)
	io.WriteString(conn, frame(ws.OpText, `{"jsonrpc":"2.0","id":"q1","method":"b","params":"q2"}`))
	expect(t, conn, "\x81\x2c"+`{"jsonrpc":"2.0","id":"q1","result":"q2 q1"}`)
	conn.Close()
	check(t, wait(), "")
}

// FuzzIDs checks that ids stand in a record, in order, and that one that changes leaves
// all else as it is.
func FuzzIDs(f *testing.F) {
	for i, c := range idCases {
		for _, line := range c.recorded {
			op := ws.OpText
			data := []byte(line[2:])
			if hex, ok := strings.CutPrefix(line[2:], "hex "); ok {
				op = ws.OpBinary
				fmt.Sscanf(strings.ReplaceAll(hex, " ", ""), "%x", &data)
			}
			f.Add(uint8(i), line[0] == '<', op == ws.OpText, data)
		}
	}
	scripts := make([]*Script, len(idCases))
	for i, c := range idCases {
		scripts[i] = loaded(f, linesOf(c.target, c.subprotocol, c.recorded...))
	}
	f.Fuzz(func(t *testing.T, which uint8, server, text bool, data []byte) {
		s := scripts[int(which)%len(scripts)]
		from, u := decode.FromClient, &unit{kind: unitMessage, op: ws.OpBinary, data: data}
		if server {
			from = decode.FromServer
		}
		if text {
			u.op = ws.OpText
		}
		u.ids = s.idsOf(from, u)
		at := 0
		for _, id := range u.ids {
			if id.Start < at || id.End <= id.Start || id.End > len(data) {
				t.Fatalf("an id at %d to %d of %d, after %d", id.Start, id.End, len(data), at)
			}
			at = id.End
		}
		if same := u.with(data, u.ids, func(k int) string { return u.ids[k].value }); same != u {
			t.Errorf("%q became %q", data, same.data)
		}
		other := u.with(data, u.ids, func(int) string { return "77" })
		if !alikeIDs(u.ids, s.idsOf(from, other)) && u.op == ws.OpText {
			t.Errorf("%q has other ids than %q", other.data, data)
		}
	})
}

// A heartbeat takes the next id, so that all ids behind it shift, however many there are.
func TestHeartbeatsShiftIDs(t *testing.T) {
	const target = "/socket/websocket?vsn=2.0.0"
	text := linesOf(target, "", `> ["1","1","r","phx_join",{}]`, `< ["1","1","r","phx_reply",{}]`, `> [null,"2","phoenix","heartbeat",{}]`, `< [null,"2","phoenix","phx_reply",{}]`,
		`> ["1","3","r","say",{"n":3}]`, `< ["1","3","r","phx_reply",{"n":3}]`, `> ["1","4","r","phx_leave",{}]`, `< ["1","4","r","phx_reply",{}]`, `< ["1","1","r","phx_close",{}]`)
	for before := range 3 {
		for between := range 3 {
			conn, wait := servedWith(t, loaded(t, text), target, "")
			ref := 0
			talk := func(send, want string) string {
				ref++
				id := fmt.Sprint(ref)
				io.WriteString(conn, frame(ws.OpText, strings.ReplaceAll(send, "ID", id)))
				want = strings.ReplaceAll(want, "ID", id)
				expect(t, conn, "\x81"+string(rune(len(want)))+want)
				return id
			}
			beats := func(n int) {
				for range n {
					talk(`[null,"ID","phoenix","heartbeat",{}]`, `[null,"ID","phoenix","phx_reply",{}]`)
				}
			}
			beats(before)
			join := talk(`["ID","ID","r","phx_join",{}]`, `["ID","ID","r","phx_reply",{}]`)
			beats(between)
			talk(`["`+join+`","ID","r","say",{"n":3}]`, `["`+join+`","ID","r","phx_reply",{"n":3}]`)
			talk(`["`+join+`","ID","r","phx_leave",{}]`, `["`+join+`","ID","r","phx_reply",{}]`)
			want := `["` + join + `","` + join + `","r","phx_close",{}]`
			expect(t, conn, "\x81"+string(rune(len(want)))+want)
			conn.Close()
			check(t, wait(), "")
		}
	}
}
