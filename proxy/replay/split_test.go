package replay

import (
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// TestRecords takes streams of records in pieces of every size.
func TestRecords(t *testing.T) {
	for _, c := range []struct {
		name  string
		split splitter
		op    ws.OpCode
		want  []string
		whole bool // a record does not go on in another message
	}{
		{"SignalR", signalRRecord, ws.OpText, []string{"{\"type\":6}\x1e", "{}\x1e", "\x1e"}, true},
		{"SignalR in MessagePack", signalRRecord, ws.OpBinary, []string{"\x02\x91\x06", "\x80\x01" + strings.Repeat("x", 128), "\x00"}, true},
		{"MQTT", mqttRecord, ws.OpBinary, []string{"\xc0\x00", "\x30\x80\x01" + strings.Repeat("x", 128), "\x62\x02\x00\x03"}, false},
		{"NATS", natsRecord, ws.OpBinary, []string{"INFO {\"a\":1}\r\n", "PING\r\n", "PUB a.b 5\r\nhe\r\nl\r\n", "\r\n", "msg a 1 _IN.b 0\r\n\r\n", "HMSG a 1 12 13\r\nNATS/1.0\r\n\r\nx\r\n", "PUB a x\r\n", "+OK\r\n"}, false},
		{"yamux", yamuxRecord, ws.OpBinary, []string{"\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02hi", "\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x07"}, false},
		{"smux", smuxRecord, ws.OpBinary, []string{"\x01\x00\x00\x00\x03\x00\x00\x00", "\x01\x02\x02\x00\x03\x00\x00\x00hi", "\x01\x03\x00\x00\x00\x00\x00\x00"}, false},
		{"STOMP", stompRecord, ws.OpText, []string{"\n", "SEND\ndestination:/a\n\nbody\x00", "\r\n", "SEND\r\ncontent-length:3\r\n\r\na\x00b\x00", "SEND\n\n\x00"}, false},
	} {
		stream := strings.Join(c.want, "")
		for size := 1; size <= len(stream); size++ {
			if c.whole {
				size = len(stream)
			}
			var got []string
			r := records{split: c.split, emit: func(u *unit) { got = append(got, string(u.data)) }}
			for rest := stream; rest != ""; {
				n := min(size, len(rest))
				r.take(&unit{kind: unitMessage, op: c.op, data: []byte(rest[:n])})
				rest = rest[n:]
			}
			r.take(&unit{kind: unitEnd})
			if want := fmt.Sprintf("%q", append(c.want, "")); fmt.Sprintf("%q", got) != want {
				t.Errorf("%s in pieces of %d: got %q, want %s", c.name, size, got, want)
				break
			}
		}
	}
	var got []string
	r := records{split: mqttRecord, emit: func(u *unit) { got = append(got, fmt.Sprintf("%d %s", u.kind, u.data)) }}
	r.take(&unit{kind: unitMessage, op: ws.OpBinary, data: []byte("\x30\x09cut")})
	r.take(&unit{kind: unitClose, op: ws.OpClose})
	if want := []string{fmt.Sprintf("%d \x30\x09cut", unitMessage), fmt.Sprintf("%d ", unitClose)}; fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("a record that is cut off: got %q, want %q", got, want)
	}
}

// A client may put its records into other messages than were recorded; the answers wait
// for the same records.
func TestRecordsOfTheClient(t *testing.T) {
	text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf("/", "mqtt") + `{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"30 02 61 31 30 02 61 32"}
{"k":"frame","d":"<","op":"bin","hex":"40 02 00 01"}
{"k":"frame","d":"<","op":"bin","hex":"40 02 00 02"}
{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"c0 00"}
{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"30 02 61 33"}
{"k":"frame","d":"<","op":"bin","hex":"40 02 00 03"}
`
	const stream = "\x30\x02a1\x30\x02a2\x30\x02a3"
	for size := 1; size <= len(stream); size++ {
		conn, wait := servedWith(t, loaded(t, text), "/", "Sec-WebSocket-Protocol: mqtt\r\n")
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			io.WriteString(conn, frame(ws.OpBinary, rest[:n]))
			rest = rest[n:]
		}
		expect(t, conn, "\x82\x04\x40\x02\x00\x01\x82\x04\x40\x02\x00\x02\x82\x04\x40\x02\x00\x03")
		conn.Close()
		if err := wait(); err != nil {
			t.Errorf("in pieces of %d: %v", size, err)
		}
	}
	conn, wait := servedWith(t, loaded(t, text), "/", "Sec-WebSocket-Protocol: mqtt\r\n")
	io.WriteString(conn, frame(ws.OpBinary, "\x30\x02a1")+frame(ws.OpBinary, "\x30\x02xx"))
	if err := wait(); err == nil || !strings.Contains(err.Error(), "expected client record 1, binary [30 02 61 32], after client record 0 (line 5); got binary [30 02 78 78]") {
		t.Errorf("got %v", err)
	}
	conn.Close()
	other := strings.Replace(text, `"hex":"30 02 61 31 30 02 61 32"}`, `"hex":"30 02 61 31"}`+"\n"+`{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"30 02 61 32"}`, 1)
	if got := diff(t, text, other); got != "" {
		t.Errorf("diff says\n%s", got)
	}
	if got := diff(t, text, strings.Replace(other, "61 32", "61 33", 1)); got == "" {
		t.Error("diff finds nothing")
	}
}

// A multiplexer is recognized by all of its frames, which the client may send in other
// messages; what only begins like one is none.
func TestMux(t *testing.T) {
	for _, c := range []struct {
		name         string
		lines        []string
		sent, expect string // what a client sends, with another ping, and gets, in any order of what | separates
	}{
		{"yamux", []string{"> hex 00 01 00 01 00 00 00 01 00 00 00 00 00 00 00 00 00 00 00 01 00 00 00 02 68 69", "< hex 00 01 00 02 00 00 00 01 00 00 00 00", "> hex 00 02 00 01 00 00 00 00 00 00 00 07", "< hex 00 02 00 02 00 00 00 00 00 00 00 07", "> hex 00 03 00 00 00 00 00 00 00 00 00 00"},
			"\x00\x02\x00\x01\x00\x00\x00\x00\x00\x00\x00\x09\x00\x01\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x02hi\x00\x03\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
			"\x82\x0c\x00\x02\x00\x02\x00\x00\x00\x00\x00\x00\x00\x09|\x82\x0c\x00\x01\x00\x02\x00\x00\x00\x01\x00\x00\x00\x00"},
		{"smux", []string{"> hex 01 00 00 00 03 00 00 00 01 02 02 00 03 00 00 00 68 69", "< hex 01 02 01 00 03 00 00 00 6f", "> hex 01 03 00 00 00 00 00 00"},
			"\x01\x03\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x03\x00\x00\x00\x01\x02\x02\x00\x03\x00\x00\x00hi",
			"\x82\x09\x01\x02\x01\x00\x03\x00\x00\x00o"},
	} {
		text := linesOf("/", "", c.lines...)
		if s := loaded(t, text); s.stack == nil || s.stack.name != c.name {
			t.Errorf("%s is taken for %v", c.name, s.stack)
			continue
		}
		for size := 1; size <= len(c.sent); size++ {
			conn, wait := served(t, loaded(t, text))
			for rest := c.sent; rest != ""; {
				n := min(size, len(rest))
				io.WriteString(conn, frame(ws.OpBinary, rest[:n]))
				rest = rest[n:]
			}
			got := make([]byte, len(strings.ReplaceAll(c.expect, "|", "")))
			io.ReadFull(conn, got)
			for want := range strings.SplitSeq(c.expect, "|") {
				if !strings.Contains(string(got), want) {
					t.Errorf("%s in pieces of %d: got %q", c.name, size, got)
				}
			}
			conn.Close()
			check(t, wait(), "")
		}
		for _, line := range []string{"> hex 01", "> text", "> hex 00 01 00 01", "< hex 00 00 00 00 00 00 00 05 00 00 00 00", "< hex 01 02 01 00 05 00 00 00 6f", "> hex 02 07 00 00 05 00 00 00", "> hex 00 00 01 00 00 00 00 01 00 00 00 00"} {
			if s := loaded(t, linesOf("/", "", append(c.lines[:len(c.lines):len(c.lines)], line)...)); s.stack != nil {
				t.Errorf("%s is recognized in spite of %s", c.name, line)
			}
		}
	}
	if s := loaded(t, linesOf("/", "", "> hex 00 00 01 00", "< hex 00 01 0c 01 01 01 00 04 01 01 74 02 68 69 00")); s.stack != nil { // y-protocols
		t.Errorf("Yjs is taken for %s", s.stack.name)
	}
}

// What is a stream of bytes may come in other messages.
func TestStream(t *testing.T) {
	text := open + `{"k":"frame","d":">","op":"bin","mask":"00000000","text":"hello "}
{"k":"frame","d":">","op":"bin","mask":"00000000","text":"world"}
{"k":"frame","d":"<","op":"bin","text":"ok"}
{"k":"frame","d":">","op":"bin","mask":"00000000","text":"bye"}
`
	const stream = "hello world"
	for size := 1; size <= len(stream); size++ {
		conn, wait := served(t, loaded(t, text, Stream()))
		for rest := stream; rest != ""; {
			n := min(size, len(rest))
			io.WriteString(conn, frame(ws.OpBinary, rest[:n]))
			rest = rest[n:]
		}
		expect(t, conn, "\x82\x02ok")
		io.WriteString(conn, frame(ws.OpBinary, "bye"))
		conn.Close()
		if err := wait(); err != nil {
			t.Errorf("in pieces of %d: %v", size, err)
		}
	}
	for _, c := range []struct{ got, want string }{
		{"hello, world", `line 3: expected client frame 0, binary "hello ", after the handshake; got binary "hello, world", which differs at byte 5`},
		{"hello world, too", `line 6: expected client frame 2, binary "bye", after client frame 1 (line 4); got binary ", too", which differs at byte 0`},
	} {
		conn, wait := served(t, loaded(t, text, Stream()))
		io.WriteString(conn, frame(ws.OpBinary, c.got))
		go io.Copy(io.Discard, conn)
		check(t, wait(), c.want)
		conn.Close()
	}
	conn, wait := served(t, loaded(t, text, Stream()))
	io.WriteString(conn, frame(ws.OpBinary, "hell"))
	conn.Close()
	if err := wait(); err == nil || !strings.Contains(err.Error(), `got binary "hell"`) {
		t.Errorf("a stream that is cut off: %v", err)
	}
}

// Records may come in any order as well, and an expression that was written into the trace
// is for whole messages.
func TestRecordsInAnyOrder(t *testing.T) {
	text := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + upgradeOf("/", "mqtt") + `{"k":"frame","d":">","op":"bin","mask":"00000000","hex":"30 02 61 31 30 02 61 32"}
{"k":"frame","d":"<","op":"bin","hex":"40 02 00 01"}
`
	for _, sent := range []string{"\x30\x02a1\x30\x02a2", "\x30\x02a2\x30\x02a1"} {
		conn, wait := servedWith(t, loaded(t, text, AnyOrder()), "/", "Sec-WebSocket-Protocol: mqtt\r\n")
		io.WriteString(conn, frame(ws.OpBinary, sent))
		expect(t, conn, "\x82\x04\x40\x02\x00\x01")
		conn.Close()
		check(t, wait(), "")
	}
	re := strings.Replace(text, `"hex":"30 02 61 31 30 02 61 32"`, `"re":"^0.a10.a.$"`, 1)
	conn, wait := servedWith(t, loaded(t, re), "/", "Sec-WebSocket-Protocol: mqtt\r\n")
	io.WriteString(conn, frame(ws.OpBinary, "\x30\x02a1\x30\x02a2"))
	expect(t, conn, "\x82\x04\x40\x02\x00\x01")
	conn.Close()
	check(t, wait(), "")

	empty := open + `{"k":"frame","d":">","op":"text","mask":"00000000","text":"a"}
{"k":"frame","d":">","op":"text","mask":"00000000"}
{"k":"frame","d":"<","op":"text","text":"ok"}
`
	conn, wait = served(t, loaded(t, empty, Stream()))
	io.WriteString(conn, frame(ws.OpText, "a")+frame(ws.OpText, ""))
	expect(t, conn, "\x81\x02ok")
	conn.Close()
	check(t, wait(), "")
}

// FuzzRecords checks that records lose and add nothing, however hostile their lengths are.
func FuzzRecords(f *testing.F) {
	f.Add(uint8(0), true, []byte("{}\x1e{\"type\":6}\x1e"), 3)
	f.Add(uint8(1), false, []byte("\xc0\x00\x30\x80\x80\x80\x80\x80\x01"), 1)
	f.Add(uint8(2), true, []byte("SEND\ncontent-length:99999999999999999999\n\nx\x00\n"), 5)
	f.Add(uint8(3), false, []byte("PUB a 99999999999999999999\r\nMSG a 1 -1\r\nPUB a 9\r\nx"), 2)
	f.Add(uint8(4), false, []byte("\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff\x00"), 5)
	f.Add(uint8(5), false, []byte("\x01\x02\xff\xff\x03\x00\x00\x00\x00"), 7)
	splitters := []splitter{signalRRecord, mqttRecord, stompRecord, natsRecord, yamuxRecord, smuxRecord}
	f.Fuzz(func(t *testing.T, which uint8, text bool, stream []byte, size int) {
		op := ws.OpBinary
		if text {
			op = ws.OpText
		}
		size = max(size, 1)
		var got []byte
		r := records{split: splitters[int(which)%len(splitters)], emit: func(u *unit) {
			if u.kind == unitMessage && len(u.data) == 0 {
				t.Error("a record without a byte")
			}
			got = append(got, u.data...)
		}}
		for rest := stream; len(rest) > 0; {
			n := min(size, len(rest))
			r.take(&unit{kind: unitMessage, op: op, data: rest[:n:n]})
			rest = rest[n:]
		}
		r.take(&unit{kind: unitEnd})
		if string(got) != string(stream) {
			t.Errorf("got %q of %q", got, stream)
		}
	})
}
