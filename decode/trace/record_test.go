package trace

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// TestCanonical has lines that are as Append writes them, with every key.
func TestCanonical(t *testing.T) {
	for _, line := range []string{
		`{"wstrace":1}`,
		`{"wstrace":1,"t0":"2026-11-21T07:31:41.123456789Z","by":"wstrace 0.3.0","host":"h","mode":"proxy","redact":["authorization","cookie"],"snap":0,"x":1}`,
		`{"wstrace":1,"t0":"2026-11-21T09:31:41.50+02:00"}`,
		`{"k":"open","t":0,"c":1,"client":"127.0.0.1:51234","server":"192.0.2.7:443","url":"wss://echo.example/chat","via":"pcap","pid":1234,"process":"curl","ext":"permessage-deflate","tls":{"client":{"ver":"1.3"}}}`,
		`{"k":"open","c":1}`,
		`{"k":"req","t":-0.000000001,"c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["A","b"],["a",""],["A","b"]],"fx":"replace","change":"when op == text do drop"}`,
		`{"k":"req","m":"GET","target":"/","v":"HTTP/2","h":[[":path","/"]],"leg":"out"}`,
		`{"k":"req","raw":"R0VUIC8=","body":"AA=="}`,
		`{"k":"res","v":"HTTP/1.1","code":403,"reason":"","h":[],"body":"bm8=","blen":70000}`,
		`{"k":"res","raw":"SFRU"}`,
		`{"k":"frame","t":0.0203,"c":1,"d":">","op":"text","mask":"37fa213d","text":"Hello"}`,
		`{"k":"frame","d":"<","op":"cont"}`,
		`{"k":"frame","d":"<","op":"text","fin":false,"rsv":7,"mask":"00000000","lenc":64,"len":10,"b64":"AAE=","leg":"out","fx":"delay","change":"c","cut":true,"=text":"","=cut":true,"after":3}`,
		`{"k":"frame","d":"<","op":"bin","len":18446744073709551615,"b64":"AAE="}`,
		`{"k":"frame","d":"<","op":3,"lenc":16,"hex":"00 ff"}`,
		`{"k":"frame","d":"<","op":15}`,
		`{"k":"frame","d":"<","op":"close","code":1000}`,
		`{"k":"frame","d":"<","op":"close","len":125,"code":65535,"reason":"bye"}`,
		`{"k":"frame","d":"<","op":"close","b64":"Aw=="}`,
		`{"k":"frame","d":"<","op":"text","deflate":"Hello"}`,
		`{"k":"frame","d":"<","op":"text","deflate":""}`,
		`{"k":"more","t":1,"c":2,"d":">","text":"\"\\\b\f\n\r\t\u0000\u001f\u007f\u0080\u009f é€😀\u2028\u2029<&>"}`,
		`{"k":"more","d":"<","len":70000,"hex":"01","cut":true}`,
		`{"k":"junk","d":"<","b64":"iA==","why":"ends inside a frame header"}`,
		`{"k":"junk","d":"<","hex":"88"}`,
		`{"k":"opaque","c":4,"d":">","why":"TLS, not intercepted"}`,
		`{"k":"end","how":"rst"}`,
		`{"k":"end","c":1,"d":"<","how":"local","err":"dial upstream \"127.0.0.1:1902\": connection refused","status":502}`,
		`{"k":"done","sent":0,"got":9223372036854775807}`,
		`{"k":"gap","d":">","n":1460}`,
		`{"k":"note","text":"here"}`,
		`{"k":"violation","t":1,"conn":1,"from":"client","frame":0,"rule":"frame-client-unmasked","severity":"error","section":"RFC 6455 §5.1","text":"…"}`,
		`{"k":"violation","from":"server","rule":"frag-orphan-continuation"}`,
		`{"k":"sum","conns":1,"frames":2,"bytes":3}`,
		`{"k":"message","t":0.4,"c":1,"d":"<","op":"text","frames":2,"wire":7,"len":5,"text":"Hello","compressed":true,"cut":true,"unread":true,"unfinished":true,"z":1}`,
		`{"k":"message","op":"bin","frames":0,"wire":0,"len":0,"b64":"AA=="}`,
		`{"k":"message"}`,
		`{"k":"closed","t":8,"c":1,"code":1000,"by":"client","reason":"bye","answered":false,"status":502,"seconds":8.5,"frames":[2,4],"bytes":[24,168],"messages":[1,4],"unread":[0,1],"compressed":[7,0],"inflated":[5,0],"pings":[1,0],"pongs":[0,0],"violations":2,"rules":{"frame-client-unmasked":1,"frame-length-msb":1},"z":1}`,
		`{"k":"closed","c":2,"seconds":0,"bytes":[0,0],"violations":0}`,
		`{"k":"closed"}`,
		`{"k":"x-mine","t":1.5,"c":2,"d":"<","op":{"a":[1e400,"\ud800"]},"op":null,"":"","=y":0.10}`,
	} {
		r, err := Parse([]byte(line))
		if err != nil {
			t.Errorf("parse %s: %v", line, err)
		} else if got := string(r.Append(nil)); got != line+"\n" {
			t.Errorf("got  %swant %s", got, line)
		}
	}
}

func TestDefaults(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{` { "op" : "text", "c": 1, "k":"frame","d":"<", "fin":true,"rsv":0,"lenc":7,"len":2,"text":"hi","cut":false,"t": 1.50 } ` + "\r",
			`{"k":"frame","t":1.5,"c":1,"d":"<","op":"text","text":"hi"}`},
		{`{"text":"\u0041\/\ud83d\ude00","op":1,"d":"<","k":"frame"}`, `{"k":"frame","d":"<","op":"text","text":"A/😀"}`},
		{`{"k":"frame","d":"<","op":10,"text":""}`, `{"k":"frame","d":"<","op":"pong"}`},
		{`{"k":"frame","d":"<","op":"close","hex":" 03E8 62 79"}`, `{"k":"frame","d":"<","op":"close","hex":"03 e8 62 79"}`},
		{`{"k":"frame","d":"<","op":"close","reason":"by","code":1000}`, `{"k":"frame","d":"<","op":"close","code":1000,"reason":"by"}`},
		{`{"k":"x", "z" : { "b" : [ 1 , 2 ] , "a" : " " } , "t":1e-3,"y":-0}`, `{"k":"x","t":0.001,"z":{"b":[1,2],"a":" "},"y":-0}`},
		{`{"h":[ [ "A" , "b" ] ],"v":"HTTP/1.1","target":"/","m":"GET","k":"req","raw":""}`, `{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["A","b"]]}`},
		{`{"k":"res","code":200,"v":"HTTP/1.1","blen":0}`, `{"k":"res","v":"HTTP/1.1","code":200,"reason":"","h":[]}`},
	} {
		r, err := Parse([]byte(test.line))
		if err != nil {
			t.Errorf("parse %s: %v", test.line, err)
		} else if got := string(r.Append(nil)); got != test.want+"\n" {
			t.Errorf("%s: got  %swant %s", test.line, got, test.want)
		}
	}
}

// TestHostile has lines that are refused, because something in them would be
// lost or mean nothing.
func TestHostile(t *testing.T) {
	for _, test := range []struct{ line, want string }{
		{``, "not a JSON object"},
		{`[]`, "not a JSON object"},
		{`{"k":"note"`, "not a JSON object"},
		{`{"k":"note"}{"k":"note"}`, "not a JSON object"},
		{`{"k":"note","t":NaN}`, "not a JSON object"},
		{`{"k":"note","t":Infinity}`, "not a JSON object"},
		{`{"k":"note","t":01}`, "not a JSON object"},
		{`{"k":"note","text":"a` + "\n" + `"}`, "not a JSON object"},
		{`{"k":"note","text":` + strings.Repeat("[", 1<<20) + strings.Repeat("]", 1<<20) + `}`, "not a JSON object"},
		{`{"k":"note","text":"` + "\xff" + `"}`, "not UTF-8"},
		{`{}`, `has no "k"`},
		{`{"k":""}`, "k: is empty"},
		{`{"k":5}`, "k: 5 is not a string"},
		{`{"k":"note","k":"end"}`, "k: comes twice"},
		{`{"k":"note","text":"a","t\u0065xt":"b"}`, "text: comes twice"},
		{`{"k":"note","text":"\ud800"}`, "text: half of a surrogate pair"},
		{`{"k":"note","text":"\udc00\ud800"}`, "text: half of a surrogate pair"},
		{`{"k":"note","text":"\ud800\ud800"}`, "text: half of a surrogate pair"},
		{`{"k":"note","text":"\ud800x"}`, "text: half of a surrogate pair"},
		{`{"k":"note","text":"\ud800\n000000"}`, "text: half of a surrogate pair"},
		{`{"k":"note","\udfff":1}`, `key "\udfff": half of a surrogate pair`},
		{`{"k":"note","text":null}`, "text: null is not a string"},
		{`{"k":"note","t":"1"}`, `t: "1" is not a number`},
		{`{"k":"note","t":null}`, `t: null is not a number`},
		{`{"k":"note","t":1e999999999999}`, "t: 1e999999999999 seconds are out of range"},
		{`{"k":"note","t":9223372036.854775808}`, "t: 9223372036.854775808 seconds are out of range"},
		{`{"k":"note","t":9223372036.8547758075}`, "t: 9223372036.8547758075 seconds are out of range"},
		{`{"k":"note","t":` + strings.Repeat("9", 1000) + `}`, "t: " + strings.Repeat("9", 40) + " seconds are out of range"},
		{`{"k":"note","c":0}`, "c: 0 is not a whole number from 1"},
		{`{"k":"note","c":1.0}`, "c: 1.0 is not a whole number from 1"},
		{`{"k":"note","c":99999999999999999999}`, "c: 99999999999999999999 is not a whole number from 1"},
		{`{"k":"note","d":"x"}`, `d: "x" is neither ">" nor "<"`},
		{`{"wstrace":2}`, "wstrace: version 2 of the format, known is 1"},
		{`{"wstrace":"1"}`, `wstrace: "1" is not a whole number from 1`},
		{`{"wstrace":1,"t0":"yesterday"}`, `t0: "yesterday" is not a time as in RFC 3339`},
		{`{"wstrace":1,"redact":"cookie"}`, `redact: "cookie" is not a list`},
		{`{"k":"req","h":[]}`, "req has neither raw nor m, target and v"},
		{`{"k":"req"}`, "req has neither raw nor m, target and v"},
		{`{"k":"res","v":"HTTP/1.1"}`, "res has neither raw nor v and code"},
		{`{"k":"res","v":"HTTP/1.1","code":99}`, "code: 99 is not a whole number from 100"},
		{`{"k":"res","v":"HTTP/1.1","code":1000}`, "code: 1000 is not a status code"},
		{`{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["a"]]}`, `h: ["a"] is not a name and a value`},
		{`{"k":"req","raw":"AA==","m":"GET"}`, "raw and the parts of a head"},
		{`{"k":"req","raw":"AA"}`, `raw: "AA" is not base64`},
		{`{"k":"req","raw":"AB=="}`, `raw: "AB==" is not base64`},
		{`{"k":"frame","d":">"}`, "frame has no op"},
		{`{"k":"frame","op":"text"}`, "frame has no d"},
		{`{"k":"frame","d":">","op":"TEXT"}`, `op: "TEXT" is not an opcode`},
		{`{"k":"frame","d":">","op":""}`, `op: "" is not an opcode`},
		{`{"k":"frame","d":">","op":16}`, "op: 16 is more than 4 bits"},
		{`{"k":"frame","d":">","op":"text","rsv":8}`, "rsv: 8 is more than 3 bits"},
		{`{"k":"frame","d":">","op":"text","fin":1}`, "fin: 1 is neither true nor false"},
		{`{"k":"frame","d":">","op":"text","mask":"37fa21"}`, `mask: "37fa21" is not 8 hexadecimal digits`},
		{`{"k":"frame","d":">","op":"text","lenc":8}`, "lenc: 8 is not 7, 16 or 64"},
		{`{"k":"frame","d":">","op":"text","lenc":7,"len":126}`, "lenc: 7 bits can't hold 126"},
		{`{"k":"frame","d":">","op":"text","lenc":16,"len":65536}`, "lenc: 16 bits can't hold 65536"},
		{`{"k":"frame","d":">","op":"text","len":18446744073709551616}`, "len: 18446744073709551616 is not a whole number of 64 bits"},
		{`{"k":"frame","d":">","op":"text","len":-1}`, "len: -1 is not a whole number of 64 bits"},
		{`{"k":"frame","d":">","op":"text","len":1,"text":"ab"}`, "len: 1, and 2 bytes of payload"},
		{`{"k":"frame","d":">","op":"text","text":"a","b64":"AA=="}`, "b64: a second payload"},
		{`{"k":"frame","d":">","op":"close","text":"a","code":1000}`, "a second payload"},
		{`{"k":"frame","d":">","op":"text","code":1000}`, "code: is for close frames"},
		{`{"k":"frame","d":">","op":"close","reason":"x"}`, "reason: without a code"},
		{`{"k":"frame","d":">","op":"close","code":65536}`, "code: 65536 is more than 16 bits"},
		{`{"k":"frame","d":">","op":"bin","hex":"0"}`, `hex: "0" is not pairs of hexadecimal digits`},
		{`{"k":"frame","d":">","op":"text","deflate":"a","len":4}`, "deflate: with a length"},
		{`{"k":"more","d":">","len":3}`, "len and cut go together"},
		{`{"k":"more"}`, "more has no d"},
		{`{"k":"gap","d":">"}`, "gap has no n"},
		{`{"k":"gap","d":">","n":-1}`, "n: -1 is not a whole number from 0"},
		{`{"k":"end","how":"gone"}`, `how: "gone" is not a way to end`},
		{`{"k":"end","status":1000}`, "status: 1000 is not a status code"},
		{`{"wstrace":1,"wstrace":1}`, "wstrace: comes twice"},
		{`{"k":"closed","bytes":[1]}`, "bytes: [1] is not two numbers"},
		{`{"k":"closed","rules":[]}`, "rules: [] is not an object"},
		{`{"k":"closed","rules":{"a":-1}}`, "rules: -1 is not a whole number from 0"},
		{`{"k":"closed","seconds":"1"}`, `seconds: "1" is not a number`},
		{`{"k":"message","frames":-1}`, "frames: -1 is not a whole number from 0"},
	} {
		r, err := Parse([]byte(test.line))
		if err == nil {
			t.Errorf("%.200s: got %s, want an error", test.line, r.Append(nil))
		} else if err.Error() != test.want {
			t.Errorf("%.200s: got %q, want %q", test.line, err, test.want)
		}
	}
}

// TestKeys checks the table of keys.
func TestKeys(t *testing.T) {
	for kind, keys := range keysByKind {
		if len(keys) > 64 {
			t.Errorf("%s: %d keys are too many for parser.seen", kind, len(keys))
		}
		names := map[string]bool{}
		for _, k := range keys {
			if names[k.name] {
				t.Errorf("%s: %s is there twice", kind, k.name)
			}
			names[k.name] = true
		}
	}
}

// TestAppendFrame checks that frames are written as the table says.
func TestAppendFrame(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	yes := func() bool { return rnd.IntN(3) == 0 }
	texts := []string{"", "", "a", "Hello", "\xff", "\x03\xe8bye", strings.Repeat("é", 100), strings.Repeat("x", 70_000)}
	pick := func() string { return texts[rnd.IntN(len(texts))] }
	for range 20_000 {
		r := Record{Kind: KindFrame, T: time.Duration(rnd.Int64()), HasT: yes(), C: int64(rnd.IntN(3)), Dir: decode.Dir(rnd.IntN(2)), HasDir: yes(),
			Op: ws.OpCode(rnd.IntN(16)), Fin: yes(), Masked: yes(), Mask: [4]byte{1, 0x20, 0xab, 0xff}, Form: Form(rnd.IntN(6)), Payload: []byte(pick()),
			LenBits: []int{0, 7, 16, 64}[rnd.IntN(4)], Cut: yes(), Leg: pick(), FX: pick(), Change: pick(), HasInflated: yes(), Inflated: []byte("é\n"), InflatedCut: yes()}
		if r.Len = uint64(len(r.Payload)); yes() {
			r.Len += uint64(rnd.Int64N(1 << 20))
		}
		if yes() {
			r.Rsv = byte(rnd.IntN(8))
		}
		if got, want := string(r.appendFrame(nil)), string(r.appendKeys(nil)); got != want {
			t.Fatalf("%+v: got\n%s\nwant\n%s", r, got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for _, test := range []struct {
		in   string
		ns   int64
		want string
	}{
		{"0", 0, "0"},
		{"-0.0", 0, "0"},
		{"0e9999999999", 0, "0"},
		{"1", 1e9, "1"},
		{"0.0203", 20_300_000, "0.0203"},
		{"0.123456789", 123_456_789, "0.123456789"},
		{"100.000000001", 100_000_000_001, "100.000000001"},
		{"-1.25", -1_250_000_000, "-1.25"},
		{"1.0203000000000002", 1_020_300_000, "1.0203"},
		{"0.0000000005", 1, "0.000000001"},
		{"0.00000000049", 0, "0"},
		{"0.00000000004", 0, "0"},
		{"1e-05", 10_000, "0.00001"},
		{"1.5E+2", 150e9, "150"},
		{"1e-999999999999999999999", 0, "0"},
		{"9223372036.854775807", math.MaxInt64, "9223372036.854775807"},
		{"-9223372036.8547758069", -math.MaxInt64, "-9223372036.854775807"},
		{"0." + strings.Repeat("0", 100) + "1e100", 100_000_000, "0.1"},
	} {
		got, err := seconds([]byte(test.in))
		if err != nil || got != time.Duration(test.ns) {
			t.Errorf("%s: got %d, %v, want %d", test.in, got, err, test.ns)
		}
		if s := string(AppendSeconds(nil, got)); s != test.want {
			t.Errorf("%s: got %s, want %s", test.in, s, test.want)
		}
	}
	if got := string(AppendSeconds(nil, math.MinInt64)); got != "-9223372036.854775808" {
		t.Errorf("got %s, want -9223372036.854775808", got)
	}
}

// TestForms checks how payloads are spelled that nobody has spelled before.
func TestForms(t *testing.T) {
	for _, test := range []struct {
		op      ws.OpCode
		rsv     byte
		payload string
		want    string
	}{
		{ws.OpText, 0, "", ``},
		{ws.OpText, 0, "a\x00é", `,"text":"a\u0000é"`},
		{ws.OpText, 0, "\xef\xbb\xbf\x00", `,"text":"\ufeff\u0000"`},
		{ws.OpText, 0, "\xed\xa0\x80", `,"b64":"7aCA"`},
		{ws.OpText, 0, "caf\xc3", `,"b64":"Y2Fmww=="`},
		{ws.OpText, 4, "abc", `,"b64":"YWJj"`},
		{ws.OpContinuation, 0, "abc", `,"text":"abc"`},
		{ws.OpBinary, 0, "abc", `,"b64":"YWJj"`},
		{3, 0, "abc", `,"b64":"YWJj"`},
		{ws.OpPing, 0, "abc", `,"text":"abc"`},
		{ws.OpPing, 0, strings.Repeat("\x00", 3), `,"b64":"AAAA"`},
		{ws.OpPong, 0, "\xff", `,"b64":"/w=="`},
		{ws.OpPong, 1, "abc", `,"b64":"YWJj"`},
		{ws.OpClose, 0, "\x03", `,"b64":"Aw=="`},
		{ws.OpClose, 0, "\x03\xe8", `,"code":1000`},
		{ws.OpClose, 0, "\x03\xe8\x00bye", `,"code":1000,"reason":"\u0000bye"`},
		{ws.OpClose, 0, "\x03\xe8\xff", `,"b64":"A+j/"`},
		{ws.OpClose, 4, "\x03\xe8", `,"b64":"A+g="`},
	} {
		r := Record{Op: test.op, Rsv: test.rsv, Payload: []byte(test.payload), Kind: "frame"}
		if got := string(r.appendPayload(nil)); got != test.want {
			t.Errorf("op %d, rsv %d, %q: got %s, want %s", test.op, test.rsv, test.payload, got, test.want)
		}
		for _, form := range []Form{FormText, FormCode} { // asked for, and perhaps not possible
			r.Form = form
			if got := r.appendPayload(nil); bytes.Contains(got, []byte("\xff")) || bytes.Contains(got, []byte("\xed\xa0")) {
				t.Errorf("form %d of %q: got %q, which is not UTF-8", form, test.payload, got)
			}
		}
	}
}

// shapes are the frames of which the proof of the format is made, and more, by
// the header and payload as they stand on the wire.
var shapes = []string{
	"\x81\x05Hello",
	"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58",
	"\x82\x7e\x00\x05hello",                                     // 16 bits for 5 bytes
	"\x81\x7f\x00\x00\x00\x00\x00\x00\x00\x05hello",             // 64 bits
	"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00A", // zero mask
	"\xf3\x02ab",                   // RSV 7, opcode 3
	"\x01\x01\xc3", "\x80\x01\xa9", // split UTF-8
	"\x88\x01\x03",         // 1 byte in a Close
	"\x88\x03\x03\xe8\xff", // reason that is not UTF-8
	"\x88\x02\x03\xed", "\x88\x00",
	"\x89\x7e\x00\x80" + strings.Repeat("\x00", 128), // long ping
	"\x81\x03\xed\xa0\x80",                           // surrogate
	"\x81\x06\xed\xa0\xbd\xed\xb8\x80",               // CESU-8
	"\x81\x04\xef\xbb\xbf\x00",                       // BOM and NUL
	"\x09\x00", "\x83\x00", "\x8b\x00", "\xc1\x00", "\x80\x00", "\x01\x00",
	"\x82\x7e\x01\x00" + strings.Repeat("\x5a", 256),
	"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00" + strings.Repeat("\xa5", 65536),
	"\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00",
	// ends inside of a frame, from here on
	"\x82\x7e\x01\x00ab",
	"\x81\xff\x00\x00\x00\x01\x00\x00\x00\x00\x01\x02\x03\x04abcde",
	"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffab",
	"\x81", "\x81\xfe\x00", "\x81\x85\x01\x02\x03",
}

// TestShapes sends each shape of frame through a session to a trace and back.
func TestShapes(t *testing.T) {
	for _, shape := range shapes {
		for d := client; d <= server; d++ {
			checkWire(t, d, []byte(shape), func() int { return len(shape) })
			if len(shape) > 1000 {
				continue
			}
			checkWire(t, d, []byte(shape), func() int { return 1 })
			for _, next := range shapes[:20] {
				checkWire(t, d, []byte(next+shape), func() int { return len(next) + 1 })
			}
		}
	}
}

// checkWire gives b to a session in chunks of the given lengths, and checks
// that its trace plays alike and has the same bytes.
func checkWire(t *testing.T, d decode.Dir, b []byte, chunk func() int) {
	t.Helper()
	rec := newTeller()
	s := decode.Session{Sink: rec}
	s.Look = thorough()
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Upgraded()
	now := start
	for rest := b; len(rest) > 0; {
		n := min(max(chunk(), 1), len(rest))
		now = now.Add(time.Millisecond)
		s.Data(d, now, rest[:n])
		rest = rest[n:]
		if n%5 == 1 {
			s.Flush(d, now.Add(time.Microsecond))
		}
	}
	s.End(d, now, decode.EndFIN, "")
	s.End(d.Peer(), now, decode.EndFIN, "")
	replay(t, rec)
	got, err := Bytes(NewReader(bytes.NewReader(rec.trace.Bytes())), 1, d)
	if err != nil || !bytes.Equal(got, b) {
		t.Errorf("got % .60x, %v, want % .60x, trace\n%.2000s", got, err, b, rec.trace.Bytes())
	}
	var out bytes.Buffer
	if err := Format(&out, bytes.NewReader(rec.trace.Bytes())); err != nil || !bytes.Equal(out.Bytes(), rec.trace.Bytes()) {
		t.Errorf("format of a recording: got %v\n%.2000s\nwant\n%.2000s", err, out.Bytes(), rec.trace.Bytes())
	}
}
