package filter

import (
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

const (
	testRequest = "GET /chat?room=a%20b&x=1 HTTP/1.1\r\nHost: echo.example:81\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nX-A: one\r\nX-A: two\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: chat\r\n\r\n"
	testResponse = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\nSec-WebSocket-Protocol: chat\r\nServer: test\r\n\r\n"
)

var begin = time.Date(2026, 11, 21, 19, 28, 31, 0, time.UTC)

// play gives a session of ten steps, a second apart, to sink.
func play(sink decode.Sink, look decode.Look) {
	s := &decode.Session{Sink: sink, Look: look}
	t := begin
	at := func() time.Time { t = t.Add(time.Second); return t }
	s.Open(decode.Info{Conn: 3, Time: t, Client: "127.0.0.1:5", Server: "192.0.2.7:81", URL: "ws://u@echo.example:81/chat?room=a%20b&x=1", Via: "reverse", PID: 1234, Process: "curl",
		ClientTLS: &decode.TLS{Version: "TLS1.2"}, ServerTLS: &decode.TLS{Version: "TLS1.3"}})
	s.Data(decode.FromClient, at(), []byte(testRequest))
	s.Data(decode.FromServer, at(), []byte(testResponse))
	frame := func(d decode.Dir, f ws.Frame) {
		if d == decode.FromClient {
			f = ws.MaskFrameInPlaceWith(f, [4]byte{0x9a, 1, 0x77, 0xc3})
		}
		b, _ := ws.CompileFrame(f)
		s.Data(d, at(), b)
	}
	frame(decode.FromClient, ws.NewTextFrame([]byte(`{"type":"trade","n":12.5,"p":"10.5","ok":true,"none":null,"a":[{"b":1},{"b":"x\ny"}]}`)))
	frame(decode.FromServer, ws.NewFrame(ws.OpText, false, []byte("good ")))
	frame(decode.FromServer, ws.NewFrame(ws.OpContinuation, true, []byte("morning")))
	frame(decode.FromServer, ws.NewBinaryFrame([]byte("\xde\xad\xbe\xef")))
	frame(decode.FromServer, ws.NewPingFrame([]byte("p1")))
	frame(decode.FromClient, ws.NewPongFrame([]byte("p1")))
	frame(decode.FromServer, ws.Frame{Header: ws.Header{Fin: true, OpCode: ws.OpText, Length: 1, Masked: true}, Payload: []byte("x")})
	frame(decode.FromClient, ws.NewCloseFrame(ws.NewCloseFrameBody(4001, "bye now")))
	s.End(decode.FromClient, at(), decode.EndFIN, "")
	s.End(decode.FromServer, at(), decode.EndFIN, "")
}

// name says of an event what the tests compare: "f>0" is the client's first frame.
func name(ev *decode.Event) string {
	switch ev.Kind {
	case decode.KindFrame:
		return "f" + ev.Dir.Arrow() + strconv.FormatInt(ev.Frame.N, 10)
	case decode.KindMessage:
		return ""
	}
	return kindWords[ev.Kind]
}

// selected returns the names of what an expression selects.
func selected(t *testing.T, text string) string {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Errorf("%s: %v", text, err)
		return ""
	}
	var got []string
	var look decode.Look
	f.Needs().AddTo(&look)
	play(f.Where(decode.SinkFunc(func(ev *decode.Event) {
		if n := name(ev); n != "" {
			got = append(got, n)
		}
	})), look)
	again, err := Parse(f.String())
	if err != nil || again.String() != f.String() {
		t.Errorf("%s is printed as %s, which is %v, %v", text, f, again, err)
	}
	return strings.Join(got, " ")
}

const all = "open req res f>0 f<0 f<1 f<2 f<3 f>1 f<4 f>2 end end closed"

var matches = []struct{ text, want string }{
	{"session == 3", all},
	{"session != 3", ""},
	{"session", all},
	{"not session > 3", all},
	{"websocket", strings.TrimPrefix(all, "open ")},
	{"not websocket", "open"},
	{"from == client", "req f>0 f>1 f>2 end"},
	{"from != client", "res f<0 f<1 f<2 f<3 f<4 end"},
	{"kind == closed", "closed"},
	{"kind in {req, res}", "req res"},
	{"op == close", "f>2"},
	{"op", "f>0 f<0 f<1 f<2 f<3 f>1 f<4 f>2"},
	{"op not in {text, bin, cont}", "f<3 f>1 f>2"},
	{"op in {ping, pong}", "f<3 f>1"},
	{"op != text", "f<1 f<2 f<3 f>1 f>2"},
	{"not fin && op", "f<0"},
	{"fin == false", "f<0"},
	{"fin != false and from == server", "f<1 f<2 f<3 f<4"},
	{"rsv1 or rsv2 || rsv3", ""},
	{"masked and from == server", "f<4"},
	{"key == 9A-01-77-C3", "f>0 f>1 f>2"},
	{"key == 0x00000000", "f<4"},
	{"key", "f>0 f>1 f<4 f>2"},
	{"key contains 01:77", "f>0 f>1 f>2"},
	{"len > 50B", "f>0"},
	{"len <= 1", "f<4"},
	{"len < 0.01KB and op == bin", "f<2"},
	{"len >= 1KiB", ""},
	{"wire == 9", "f<1"},
	{"wire in {9, 15}", "f<1 f>2"},
	{"frame == 0", "f>0 f<0"},
	{"message == 0", "f>0 f<0 f<1"},
	{"message", "f>0 f<0 f<1 f<2 f<4"},
	{"message == 2", "f<4"},
	{"message.len == 12", "f<1"},
	{`text contains "d m"`, "f<1"},
	{`"p1"`, "f<3 f>1"},
	{`"bye"`, "f>2 closed"},
	{`text matches "^g.*\w$"`, "f<1"},
	{"text == x", "f<4"},
	{"text != x", "f>0 f<1 f<3 f>1 f>2 closed"},
	{"binary contains [be ef]", "f<2"},
	{"binary == 0xdeadbeef", "f<2"},
	{`binary == "x"`, "f<4"},
	{`binary contains "\xde\xad"`, "f<2"},
	{"json", "f>0"},
	{"json.type == trade", "f>0"},
	{`json.type in {"a", "trade"}`, "f>0"},
	{"json.type != trade", ""},
	{"json.type != other", "f>0"},
	{"json.n > 12", "f>0"},
	{"json.n <= 12", ""},
	{"json.n == 12.50", "f>0"},
	{"json.p >= 10.5 and json.p < 11", "f>0"},
	{"json.ok == true and json.none == null", "f>0"},
	{"json.a[0].b == 1", "f>0"},
	{`json..b == "x\ny"`, "f>0"},
	{`json.a[1]['b'] contains y`, "f>0"},
	{`json.a[*].b matches "^x"`, "f>0"},
	{"json.a", "f>0"},
	{"json.zz", ""},
	{"code == 4001", "f>2 closed"},
	{"code > 4000 and kind == frame", "f>2"},
	{`reason == "bye now"`, "f>2 closed"},
	{"url contains example", all},
	{"host == echo.example", all},
	{`host matches "\.example$"`, all},
	{"path == /chat", all},
	{`query.room == "a b"`, all},
	{"query.y", ""},
	{"header.x-a == two and kind == open", ""},
	{"header.x-a == two and kind == closed", "closed"},
	{"header.x-a != two", ""},
	{"header.Server == test and kind in {req, res}", "res"},
	{"method == GET and kind == req", "req"},
	{"status == 101", "res closed"},
	{"subprotocol == chat and kind == frame and fin == false", "f<0"},
	{"extension", ""},
	{"via == reverse", all},
	{"pid == 1234", all},
	{"pid > 1234", ""},
	{"process == curl", all},
	{"tls.version == TLS1.3", all},
	{"tls.version != TLS1.3", ""},
	{"client contains 127.", all},
	{"server == 192.0.2.7:81", all},
	{"time >= 2026-11-21T19:28:43Z", "end closed"},
	{"time < 2026-11-21T19:28:32Z", "open"},
	{"since <= 1s", "open req"},
	{"delta >= 1s", "req res f>0 f<0 f<1 f<2 f<3 f>1 f<4 f>2 end end"},
	{"delta == 0 and kind == closed", "closed"},
	{"rule == frame-server-masked", "f<4"},
	{"rule contains masked", "f<4"},
	{"severity >= error and op == text", "f<4"},
	{"rtt", "f>1"},
	{"rtt > 500ms and rtt < 1.5s", "f>1"},
	{"by == client", "closed"},
	{"idle == 1s", "closed"},
	{"seconds > 11 and seconds < 1m", "closed"},
	{"frames == 8", "closed"},
	{"bytes > 100", "closed"},
	{"fx or leg or change", ""},
	{"packed", ""},
	{"body", ""},
	{"not (op == text or op == cont) and op", "f<2 f<3 f>1 f>2"},
	{"op == text and from == server or op == ping", "f<0 f<3 f<4"},
	{"op == text and (from == server or op == ping)", "f<0 f<4"},
}

func TestMatch(t *testing.T) {
	for _, c := range matches {
		if got := selected(t, c.text); got != c.want {
			t.Errorf("%s\n got %s\nwant %s", c.text, got, c.want)
		}
	}
	for _, f := range Fields() {
		stem, _, _ := strings.Cut(f.Name, "NAME")
		stem, _, _ = strings.Cut(stem, "PATH")
		found := false
		for _, c := range matches {
			found = found || strings.Contains(c.text, stem)
		}
		if !found {
			t.Errorf("no test names %s", f.Name)
		}
	}
}

// TestPacked checks that text and JSON are those of what is packed, and that nothing is
// unpacked unless an expression asks for it.
func TestPacked(t *testing.T) {
	for _, c := range []struct {
		text, want string
		unpacked   int
	}{
		{"packed == gzip", "f<2", 1},
		{"json.in == 1 and op == bin", "f<2", 1},
		{`"in" and packed`, "f<2", 1},
		{"binary == 0xdeadbeef", "f<2", 0},
		{"op == bin and message.len == 4", "f<2", 0},
	} {
		f, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		unpacked := 0
		look := decode.Look{Unpack: func(data []byte, cut bool) ([]byte, string, bool) {
			if unpacked++; string(data) != "\xde\xad\xbe\xef" || cut {
				return nil, "", false
			}
			return []byte(`{"in":1}`), "gzip", false
		}}
		f.Needs().AddTo(&look)
		play(f.Where(decode.SinkFunc(func(ev *decode.Event) {
			if n := name(ev); n != "" {
				got = append(got, n)
			}
		})), look)
		if got := strings.Join(got, " "); got != c.want || unpacked != c.unpacked {
			t.Errorf("%s: got %s, and %d messages were unpacked", c.text, got, unpacked)
		}
	}
}

// TestOpOfMessages checks what op is where messages stand for their frames.
func TestOpOfMessages(t *testing.T) {
	f, err := Parse("op == text and from == server")
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	play(f.WhereMessages(decode.SinkFunc(func(ev *decode.Event) {
		if n := name(ev); n != "" {
			got = append(got, n)
		}
	})), decode.Look{Messages: true})
	if got := strings.Join(got, " "); got != "f<0 f<1 f<4" {
		t.Errorf("got %s", got)
	}
}

func TestTimeOfDay(t *testing.T) {
	defer func(l *time.Location) { time.Local = l }(time.Local)
	time.Local = time.UTC
	if got := selected(t, "time >= 19:28:43"); got != "end closed" {
		t.Errorf("got %s", got)
	}
	if got := selected(t, `time < "2026-11-21 19:28:32"`); got != "open" {
		t.Errorf("got %s", got)
	}
}

func TestChanged(t *testing.T) {
	for _, c := range []struct {
		text string
		ev   decode.Event
		want bool
	}{
		{"fx == drop", decode.Event{Fate: decode.Fate{FX: decode.FXDrop}}, true},
		{"fx", decode.Event{}, false},
		{"leg == out", decode.Event{Out: true}, true},
		{"change contains delay", decode.Event{Fate: decode.Fate{Change: "do delay 1s"}}, true},
	} {
		f, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Match(new(State), &c.ev); got != c.want {
			t.Errorf("%s: got %v", c.text, got)
		}
	}
}

func TestErrors(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"", "column 1: want a field or a string, found the end"},
		{"opp == text", `column 1: no field "opp"; the nearest is op`},
		{"body.state == 1", `column 1: no field "body.state"; the nearest is json.state`},
		{"body[0] == 1", `column 1: no field "body[0]"; the nearest is json[0]`},
		{"op == text and payload > 3", `column 16: no field "payload"; text to search for stands in quotes`},
		{"op == ping é", `column 12: "é" follows the expression; and, or are missing between`},
		{"op == foo", `column 7: op: is never "foo", but cont, text, bin, rsv3, rsv4, rsv5, rsv6, rsv7, close, ping, pong, rsv11, rsv12, rsv13, rsv14, rsv15`},
		{"op == txt", `column 7: op: is never "txt"; the nearest is text`},
		{"op == 'text'", `column 7: op: wants a word, not the string "text"`},
		{"op > text", "column 4: op: is a word and can't be compared by >; it has == != in"},
		{"from == me", `column 9: from: is never "me", but client, server`},
		{"code > 70000", "column 8: code: is from 0 to 65535, so that this never holds"},
		{"code >= 65536", "column 9: code: is from 0 to 65535, so that this never holds"},
		{"code < 0", "column 8: code: is from 0 to 65535, so that this never holds"},
		{"code in {1000, 70000}", "column 16: code: is from 0 to 65535, so that this never holds"},
		{"len < 0", "column 7: len: is 0 or more, so that this never holds"},
		{"len > 1.5", `column 7: len: wants a whole size, not "1.5"`},
		{"len contains 1", "column 5: len: is a size and can't be compared by contains; it has == != < <= > >= in"},
		{"len > 5ms", `column 7: len: wants a whole size, not "5ms"`},
		{"frame > 1KB", `column 9: frame: wants a whole number, not "1KB"`},
		{"delta > 5", `column 9: delta: wants a duration such as 50ms, not "5"`},
		{"fin == 1", `column 8: fin: is true or false, never "1"`},
		{"fin > true", "column 5: fin: is a yes or no and can't be compared by >; it has == !="},
		{"text < a", "column 6: text: is a text and can't be compared by <; it has == != contains matches in"},
		{`host matches "("`, "column 14: host: missing closing ): `(`"},
		{`text contains ""`, "column 15: text: everything contains the empty string"},
		{`""`, "column 1: an empty string is in every text"},
		{`"abc`, "column 1: the string has no end"},
		{`"\xz"`, `column 2: \x wants 2 hexadecimal digits`},
		{"op = text", `column 4: "=" is not an operator; use "=="`},
		{"op & fin", `column 4: "&" is not an operator; use "&&"`},
		{"(op", "column 1: ( has no ): found the end"},
		{"op)", `column 3: ")" follows the expression; and, or are missing between`},
		{"op in ping", `column 7: want { behind in, found "ping"`},
		{"op in {ping", "column 12: want , or }, found the end"},
		{"op in {}", `column 8: want a value, found "}"`},
		{"op not ping", `column 8: want in behind not, found "ping"`},
		{"op ==", "column 6: want a value, found the end"},
		{"not", "column 4: want a field or a string, found the end"},
		{"json[x == 1", "column 5: [ has no ]"},
		{"json.[ == 1", "column 6: [ has no ]"},
		{"json.a > b", `column 10: json.a: numbers alone have an order, and "b" is none`},
		{"json.a[x]", `column 1: path "$.a[x]": [x] is neither a number, a name in quotes nor *`},
		{"binary == zz", `column 11: binary: wants bytes such as 0xdeadbeef, de-ad-be-ef or [de ad be ef], or a string, not "zz"`},
		{"rule == frame-rsv", `column 9: rule: is never "frame-rsv"; the nearest is frame-rsv-set`},
		{"severity > error", "column 12: severity: is from 0 to 2, so that this never holds"},
		{"time > now", `column 8: time: wants a time such as 19:28:31 or 2026-11-21T19:28:31Z, not "now"`},
		{"time == 19:28", "column 9: time: has a day, so that a time of day compares by < <= > >= only"},
		{strings.Repeat("(", 300), "column 201: more than 200 parentheses and negations are open"},
		{strings.Repeat("a", maxLen+1), "column 65537: the expression is longer than 64 KiB"},
	} {
		_, err := Parse(c.text)
		if err == nil || err.Error() != c.want {
			t.Errorf("%.60s\n got %v\nwant %s", c.text, err, c.want)
		}
	}
}

// TestNeeds checks that sessions look into messages only for who names them.
func TestNeeds(t *testing.T) {
	for _, c := range []struct {
		text string
		want Needs
	}{
		{"op == close and code != 1000 or header.a or key == 0x01020304 or message == 1 or rtt > 1s", Needs{}},
		{"message.len > 5", messages},
		{`"a"`, bodies},
		{"json.a", bodies},
		{`not "a"`, content},
		{"binary == 0x01", content},
		{"rule == frame-rsv-set", messages},
		{"rule == pong-unsolicited", Needs{Messages: true, Keep: 1, Advice: true}},
		{"severity == info", Needs{Messages: true, Keep: 1, Advice: true}},
	} {
		f, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		if got := f.Needs(); got != c.want {
			t.Errorf("%s: got %+v", c.text, got)
		}
		var look decode.Look
		f.Needs().AddTo(&look)
		looked := 0
		play(decode.SinkFunc(func(ev *decode.Event) {
			if ev.Message != nil {
				looked++
			}
		}), look)
		if (looked > 0) != c.want.Messages {
			t.Errorf("%s: %d messages were put together", c.text, looked)
		}
	}
	look := decode.Look{Messages: true, Keep: 80}
	if messages.AddTo(&look); look.Keep != 80 {
		t.Errorf("keeps %d", look.Keep)
	}
	if content.AddTo(&look); look.Keep != decode.MaxMessageData {
		t.Errorf("keeps %d", look.Keep)
	}
}

func TestFindings(t *testing.T) {
	f, err := Parse("from == server and rule == frame-server-masked")
	if err != nil {
		t.Fatal(err)
	}
	events, rules := 0, ""
	play(f.Findings(decode.SinkFunc(func(ev *decode.Event) {
		events++
		for _, v := range ev.Violations {
			rules += string(v.ID) + " "
		}
	})), decode.Look{Messages: true, Advice: true})
	if rules != "frame-server-masked " || events < 14 {
		t.Errorf("got %q in %d events", rules, events)
	}
}

func TestHelp(t *testing.T) {
	page := Help()
	for _, f := range Fields() {
		if !strings.Contains(page, "\n  "+f.Name) {
			t.Errorf("the page lacks %s", f.Name)
		}
	}
	for _, e := range Examples {
		if _, err := Parse(e[0]); err != nil {
			t.Errorf("%s: %v", e[0], err)
		}
	}
}

// TestMatchAllocatesNothing evaluates expressions over the events of a session.
func TestMatchAllocatesNothing(t *testing.T) {
	var events []*decode.Event
	play(decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind != decode.KindOpen && ev.Kind != decode.KindClosed { // they make room for a session
			events = append(events, ev.Clone())
		}
	}), decode.Look{Messages: true})
	for _, c := range matches {
		if strings.Contains(c.text, "query.") { // what is escaped there is rare, and short
			continue
		}
		f, err := Parse(c.text)
		if err != nil {
			t.Fatal(err)
		}
		st := new(State)
		if n := testing.AllocsPerRun(20, func() {
			for _, ev := range events {
				f.Match(st, ev)
			}
		}); n > 0 && !raceEnabled() {
			t.Errorf("%s: %v allocations", c.text, n)
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, c := range matches {
		f.Add(c.text)
	}
	for _, e := range Examples {
		f.Add(e[0])
	}
	f.Add(`text matches "a\"b\\" or not (not 'x' or json["a]b"] == '\u00e9')`)
	var events []*decode.Event
	play(decode.SinkFunc(func(ev *decode.Event) { events = append(events, ev.Clone()) }), decode.Look{Messages: true})
	f.Fuzz(func(t *testing.T, text string) {
		a, err := Parse(text)
		if err != nil {
			return
		}
		b, err := Parse(a.String())
		if err != nil || b.String() != a.String() {
			if len(text) > maxLen/4 {
				return // printed, it may be longer than is read
			}
			t.Fatalf("%q is printed as %q: %v", text, a, err)
		}
		var sa, sb State
		for _, ev := range events {
			if a.Match(&sa, ev) != b.Match(&sb, ev) {
				t.Fatalf("%q and %q select different events", text, a)
			}
		}
	})
}

func BenchmarkMatch(b *testing.B) {
	var events []*decode.Event
	play(decode.SinkFunc(func(ev *decode.Event) { events = append(events, ev.Clone()) }), decode.Look{Messages: true})
	for _, text := range []string{"op == close and code != 1000", "from == server and len > 100KB", `"price"`, "json.type == trade"} {
		f, err := Parse(text)
		if err != nil {
			b.Fatal(err)
		}
		b.Run(text, func(b *testing.B) {
			st := new(State)
			for i := range b.N {
				f.Match(st, events[i%len(events)])
			}
		})
	}
	b.Run("by hand: from == server and len > 100KB", func(b *testing.B) {
		n := 0
		for i := range b.N {
			if ev := events[i%len(events)]; ev.Kind == decode.KindFrame && ev.Dir == decode.FromServer && ev.Frame.Length > 100_000 {
				n++
			}
		}
	})
}

// raceEnabled reports whether the race detector is built in. It makes a sync.Pool
// drop some of what it gets, which is then allocated again.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
