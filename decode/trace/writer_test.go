package trace

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// write lets one session happen and returns its trace without the header.
func write(t *testing.T, o Options, steps ...any) string {
	t.Helper()
	var b bytes.Buffer
	w := NewWriter(&b, o)
	writes := 0
	s := decode.Session{Sink: decode.SinkFunc(func(ev *decode.Event) {
		before := b.Len()
		w.Emit(ev)
		if b.Len() > before {
			writes++
		}
	})}
	now := start
	s.Open(decode.Info{Conn: 1, Time: now})
	for _, step := range steps {
		now = now.Add(time.Second)
		switch step := step.(type) {
		case op:
			step(&s, now)
		case edited:
			step.take(&s, now)
		case data:
			s.Data(step.dir, now, []byte(step.b))
		}
	}
	if err := w.Err(); err != nil || writes == 0 {
		t.Fatalf("%d writes, %v", writes, err)
	}
	header, rest, _ := strings.Cut(b.String(), "\n")
	if want := `{"wstrace":1,"t0":"2026-11-21T07:31:41.123456789Z"}`; header != want {
		t.Errorf("got header %s, want %s", header, want)
	}
	return rest
}

func lines(l ...string) string { return strings.Join(l, "\n") + "\n" }

func TestWriter(t *testing.T) {
	long := strings.Repeat("éa", 40_000) // 120 kB; 64 KiB end within é
	got := write(t, Options{}, upgraded,
		data{server, frame(0x81, 0, "Hello")},
		data{client, frame(0x82, 0x01020304, "\x00\x01")},
		data{client, frame(0x81, 0x0a0b0c0d, long)[:14+65536+70]},
		notice("half way"),
		data{client, frame(0x81, 0x0a0b0c0d, long)[14+65536+70:]},
		end(client, decode.EndRST, "read: connection reset by peer"), end(server, decode.EndLocal, ""))
	want := lines(`{"k":"open","t":0,"c":1}`,
		`{"k":"frame","t":2,"c":1,"d":"<","op":"text","text":"Hello"}`,
		`{"k":"frame","t":3,"c":1,"d":">","op":"bin","mask":"01020304","b64":"AAE="}`,
		`{"k":"frame","t":4,"c":1,"d":">","op":"text","mask":"0a0b0c0d","len":120000,"text":"`+long[:65535]+`"}`,
		`{"k":"note","t":5,"c":1,"text":"half way"}`,
		`{"k":"more","t":6,"c":1,"d":">","text":"`+long[65535:]+`"}`,
		`{"k":"end","t":7,"c":1,"d":">","how":"rst","err":"read: connection reset by peer"}`,
		`{"k":"end","t":8,"c":1,"d":"<","how":"local"}`)
	same(t, "line", strings.Split(got, "\n"), strings.Split(want, "\n"))
}

func TestWriterAnswer(t *testing.T) {
	got := write(t, Options{Derived: true}, data{client, upgrade()}, answer(504), end(server, decode.EndTimeout, "too late"), end(client, decode.EndLocal, ""))
	for _, want := range []string{
		`{"k":"end","t":3,"c":1,"d":"<","how":"timeout","err":"too late","status":504}` + "\n",
		`{"k":"end","t":4,"c":1,"d":">","how":"local"}` + "\n",
		`{"k":"closed","t":4,"c":1,"status":504,`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("got\n%swant %s", got, want)
		}
	}
	got = write(t, Options{Derived: true}, data{client, upgrade()}, data{server, strings.Replace(accept(), "Upgrade: websocket\r\n", "", 1)},
		answer(502), end(server, decode.EndLocal, "refused"), end(client, decode.EndLocal, ""))
	if want := `"code":1006,"by":"wstrace","answered":false,"status":502,`; !strings.Contains(got, want) {
		t.Errorf("got\n%swant %s", got, want)
	}
}

// TestWriterNotUTF8 spells out bytes of a description that JSON can't hold.
func TestWriterNotUTF8(t *testing.T) {
	got := write(t, Options{}, notice("caf\xe9 é \xe2\x82"))
	if want := `"text":"caf\\xe9 é \\xe2\\x82"}`; !strings.Contains(got, want) {
		t.Errorf("got\n%swant %s", got, want)
	}
	if got, want := escapeInvalid("a\xff\uFFFD\xe9"), "a\\xff\uFFFD\\xe9"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestWriterTLS(t *testing.T) {
	both := &decode.TLS{Version: "TLS1.3", Cipher: "TLS_AES_128_GCM_SHA256", ALPN: "http/1.1", SNI: "localhost"}
	for _, test := range []struct {
		client, server *decode.TLS
		want           string
	}{
		{nil, nil, ""},
		{both, &decode.TLS{Version: "TLS1.2"}, `{"client":{"ver":"TLS1.3","cipher":"TLS_AES_128_GCM_SHA256","alpn":"http/1.1","sni":"localhost"},"server":{"ver":"TLS1.2"}}`},
		{&decode.TLS{SNI: "a"}, nil, `{"client":{"sni":"a"}}`},
		{nil, new(decode.TLS), `{"server":{}}`},
	} {
		if got := string(appendTLS(nil, test.client, test.server)); got != test.want {
			t.Errorf("got %s, want %s", got, test.want)
		}
	}
}

// TestWriterInflatedInPieces has the text of a compressed message on the last
// piece of its final frame.
func TestWriterInflatedInPieces(t *testing.T) {
	var b bytes.Buffer
	s := decode.Session{Sink: NewWriter(&b, Options{Derived: true, Preview: -1}), Look: decode.Look{Messages: true}}
	s.Open(decode.Info{Conn: 1, Time: start, Ext: "permessage-deflate"})
	s.Upgraded()
	hello := frame(0xc1, 0, "\xf2\x48\xcd\xc9\xc9\x07\x00")
	s.Data(server, start, []byte(hello[:5]))
	s.Flush(server, start)
	s.Data(server, start, []byte(hello[5:]))
	if !strings.Contains(b.String(), `{"k":"more","t":0,"c":1,"d":"<","b64":"yckHAA==","=text":"Hello"}`) {
		t.Errorf("got\n%s", b.String())
	}
}

// TestWriterEditedResponse keeps both heads of a response that was edited, and
// gives them back.
func TestWriterEditedResponse(t *testing.T) {
	rec := newTeller()
	s := decode.Session{Sink: rec}
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Data(client, start, []byte(upgrade()))
	res, _ := decode.ParseResponse(accept())
	s.Head(server, start, res, res.WithField("X-Added", "1"))
	s.Data(server, start, []byte(frame(0x81, 0, "hi")))
	text := rec.trace.String()
	if strings.Count(text, `{"k":"res"`) != 2 || !strings.Contains(text, `"fx":"replace"}`) || !strings.Contains(text, `["X-Added","1"]],"leg":"out"}`) {
		t.Errorf("got\n%s", text)
	}
	if b, err := SentBytes(NewReader(strings.NewReader(text)), 1, server); err != nil || !strings.Contains(string(b), "X-Added: 1\r\n") {
		t.Errorf("sent: got %q, %v", b, err)
	}
	again := newTeller()
	src := Source{R: strings.NewReader(text)}
	if err := src.Play(t.Context(), again, decode.Look{}); err != nil {
		t.Fatal(err)
	}
	same(t, "event", again.said, rec.said)
	same(t, "line", strings.Split(again.trace.String(), "\n"), strings.Split(text, "\n"))
}

func TestWriterHeads(t *testing.T) {
	got := write(t, Options{}, edited{head("GET http://b/ HTTP/1.1", "Host: b"), head("GET / HTTP/1.1", "Host: b")},
		data{server, "HTTP/1.1 200 OK\nContent-Length: 3\n\nabc"}, done)
	want := lines(`{"k":"open","t":0,"c":1}`,
		`{"k":"req","t":1,"c":1,"m":"GET","target":"http://b/","v":"HTTP/1.1","h":[["Host","b"]],"fx":"replace"}`,
		`{"k":"req","t":1,"c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","b"]],"leg":"out"}`,
		`{"k":"res","t":2,"c":1,"raw":"SFRUUC8xLjEgMjAwIE9LCkNvbnRlbnQtTGVuZ3RoOiAzCgo="}`,
		`{"k":"done","t":3,"c":1,"sent":0,"got":3}`)
	same(t, "line", strings.Split(got, "\n"), strings.Split(want, "\n"))
	got = write(t, Options{}, data{client, head("GET / HTTP/1.1", "Upgrade: websocket", "X: caf\xe9")}, data{server, "HTTP/1.1 403 No\r\nContent-Le"},
		end(server, decode.EndFIN, ""), end(client, decode.EndFIN, ""))
	want = lines(`{"k":"open","t":0,"c":1}`,
		`{"k":"req","t":1,"c":1,"raw":"R0VUIC8gSFRUUC8xLjENClVwZ3JhZGU6IHdlYnNvY2tldA0KWDogY2Fm6Q0KDQo="}`,
		`{"k":"res","t":3,"c":1,"raw":"SFRUUC8xLjEgNDAzIE5vDQpDb250ZW50LUxl"}`,
		`{"k":"end","t":3,"c":1,"d":"<","how":"fin"}`,
		`{"k":"end","t":4,"c":1,"d":">","how":"fin"}`,
		`{"k":"done","t":4,"c":1,"sent":0,"got":0}`)
	same(t, "line", strings.Split(got, "\n"), strings.Split(want, "\n"))
}

// TestWriterHeadWithoutRaw writes a head that came parsed.
func TestWriterHeadWithoutRaw(t *testing.T) {
	got := write(t, Options{}, op(func(s *decode.Session, now time.Time) {
		s.Head(client, now, &decode.Head{Method: "GET", Target: "/", Proto: "HTTP/2", Fields: []decode.Field{{Name: "a", Value: "b"}}}, nil)
	}))
	if want := `{"k":"req","t":1,"c":1,"m":"GET","target":"/","v":"HTTP/2","h":[["a","b"]]}` + "\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

func TestWriterDerived(t *testing.T) {
	got := write(t, Options{Derived: true, Preview: 6}, upgraded,
		data{client, frame(0x81, 0, "abcdefg")},
		data{server, frame(0x81, 0, "abcdeé") + frame(0x82, 0, "\x00\x01\x02\x03\x04\x05\x06") + frame(0x81, 0, "abcdef")},
		data{server, "\x82\x7e\x00\x80" + strings.Repeat("x", 128)},
		data{client, frame(0x88, 1, "\x03\xe8Closing")},
		data{server, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff"},
		end(client, decode.EndFIN, ""), end(server, decode.EndFIN, ""))
	want := lines(`{"k":"open","t":0,"c":1}`,
		`{"k":"frame","t":2,"c":1,"d":">","op":"text","len":7,"text":"abcdef","cut":true}`,
		`{"k":"violation","t":2,"conn":1,"from":"client","frame":0,"rule":"frame-client-unmasked","severity":"error","section":"RFC 6455 §5.1","text":"frame without a masking key"}`,
		`{"k":"frame","t":3,"c":1,"d":"<","op":"text","len":7,"text":"abcde","cut":true}`,
		`{"k":"frame","t":3,"c":1,"d":"<","op":"bin","len":7,"b64":"AAECAwQF","cut":true}`,
		`{"k":"frame","t":3,"c":1,"d":"<","op":"text","text":"abcdef"}`,
		`{"k":"frame","t":4,"c":1,"d":"<","op":"bin","len":128,"b64":"eHh4eHh4","cut":true}`,
		`{"k":"frame","t":5,"c":1,"d":">","op":"close","mask":"00000001","len":9,"code":1000,"reason":"Clos","cut":true}`,
		`{"k":"junk","t":6,"c":1,"d":"<","len":10,"b64":"gn//////","why":"length with its top bit set","cut":true}`,
		`{"k":"violation","t":6,"conn":1,"from":"server","frame":4,"rule":"frame-length-msb","severity":"error","section":"RFC 6455 §5.2","text":"64-bit payload length with its top bit set, 82 7f ff ff ff ff ff ff ff ff"}`,
		`{"k":"end","t":7,"c":1,"d":">","how":"fin"}`,
		`{"k":"end","t":8,"c":1,"d":"<","how":"fin"}`,
		`{"k":"closed","t":8,"c":1,"code":1000,"by":"client","reason":"Closing","answered":false,"seconds":8,"frames":[2,4],"bytes":[24,168],"messages":[1,4],"violations":2,"rules":{"frame-client-unmasked":1,"frame-length-msb":1}}`)
	same(t, "line", strings.Split(got, "\n"), strings.Split(want, "\n"))
	long := strings.Repeat("x", 70_000)
	got = write(t, Options{Derived: true, Preview: 0}, upgraded, data{server, frame(0x81, 0, long)})
	want = lines(`{"k":"open","t":0,"c":1}`,
		`{"k":"frame","t":2,"c":1,"d":"<","op":"text","len":70000,"cut":true}`,
		`{"k":"more","t":2,"c":1,"d":"<","len":4464,"cut":true}`)
	same(t, "line", strings.Split(got, "\n"), strings.Split(want, "\n"))
	if got := write(t, Options{Derived: true, Preview: -1}, upgraded, data{server, frame(0x81, 0, "whole")}); !strings.Contains(got, `"text":"whole"`) {
		t.Errorf("got %s, want all of the payload", got)
	}
	got = write(t, Options{Derived: true}, opaque(client, "TLS"), skip(server, 9), done)
	if want := `{"k":"closed","t":3,"c":1,"seconds":3,"bytes":[0,9],"violations":0}`; !strings.HasSuffix(got, lines(`{"k":"done","t":3,"c":1,"sent":0,"got":9}`, want)) {
		t.Errorf("got\n%s\nwant at its end\n%s", got, want)
	}
}

// derive writes what a server sends with permessage-deflate.
func derive(o Options, keep int, frames ...string) string {
	var b bytes.Buffer
	o.Derived = true
	s := decode.Session{Sink: NewWriter(&b, o), Look: decode.Look{Messages: true, Keep: keep}}
	s.Open(decode.Info{Conn: 1, Time: start, Ext: "permessage-deflate"})
	s.Upgraded()
	for _, f := range frames {
		s.Data(server, start, []byte(f))
	}
	s.Done(start)
	_, rest, _ := strings.Cut(b.String(), `{"k":"open","t":0,"c":1,"ext":"permessage-deflate"}`+"\n")
	rest, _, _ = strings.Cut(rest, `{"k":"done"`)
	return rest
}

// Samples of RFC 7692 §7.2.3.
const (
	hello  = "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00"
	again  = "\xc1\x05\xf2\x00\x11\x00\x00"
	hello1 = "\x41\x03\xf2\x48\xcd"
	hello2 = "\x80\x04\xc9\xc9\x07\x00"
	inBin  = "\xc2\x07\xf2\x48\xcd\xc9\xc9\x07\x00"
	broken = "\xc1\x01\x06"
)

func TestWriterInflated(t *testing.T) {
	for _, test := range []struct {
		name    string
		preview int
		keep    int
		frames  []string
		want    []string
	}{
		{"whole", -1, 0, []string{hello + again}, []string{
			`{"k":"frame","t":0,"c":1,"d":"<","op":"text","rsv":4,"b64":"8kjNyckHAA==","=text":"Hello"}`,
			`{"k":"frame","t":0,"c":1,"d":"<","op":"text","rsv":4,"b64":"8gARAAA=","=text":"Hello"}`}},
		{"fragments", -1, 0, []string{hello1 + hello2}, []string{
			`{"k":"frame","t":0,"c":1,"d":"<","op":"text","fin":false,"rsv":4,"b64":"8kjN"}`,
			`{"k":"frame","t":0,"c":1,"d":"<","op":"cont","b64":"yckHAA==","=text":"Hello"}`}},
		{"binary", -1, 0, []string{inBin}, []string{
			`{"k":"frame","t":0,"c":1,"d":"<","op":"bin","rsv":4,"b64":"8kjNyckHAA=="}`}},
		{"a part of it", 4, 4, []string{hello}, []string{
			`{"k":"frame","t":0,"c":1,"d":"<","op":"text","rsv":4,"len":7,"b64":"8kjNyQ==","cut":true,"=text":"Hell","=cut":true}`}},
		{"more than is kept", -1, 4, []string{hello}, []string{
			`{"k":"frame","t":0,"c":1,"d":"<","op":"text","rsv":4,"b64":"8kjNyckHAA==","=cut":true}`}},
	} {
		got := derive(Options{Preview: test.preview}, test.keep, test.frames...)
		if want := lines(test.want...); got != want {
			t.Errorf("%s: got\n%swant\n%s", test.name, got, want)
		}
	}
	if got := derive(Options{Preview: -1}, 0, broken); strings.Contains(got, "=text") {
		t.Errorf("got %s, want no text of what can't be inflated", got)
	}
}

func TestWriterMessages(t *testing.T) {
	got := derive(Options{Messages: true, Preview: -1}, 0, hello1+"\x89\x00"+hello2, inBin, "\x82\x01\x00", "\x80\x01x", "\x01\x03abc")
	var kinds []string
	for line := range strings.Lines(got) {
		if !strings.Contains(line, `"violation"`) {
			kinds = append(kinds, strings.TrimSuffix(line, "\n"))
		}
	}
	same(t, "line", kinds, []string{
		`{"k":"frame","t":0,"c":1,"d":"<","op":"ping"}`,
		`{"k":"message","t":0,"c":1,"d":"<","op":"text","frames":2,"wire":7,"len":5,"text":"Hello","compressed":true}`,
		`{"k":"message","t":0,"c":1,"d":"<","op":"bin","frames":1,"wire":7,"len":5,"b64":"SGVsbG8=","compressed":true}`,
		`{"k":"message","t":0,"c":1,"d":"<","op":"bin","frames":1,"wire":1,"len":1,"b64":"AA=="}`,
		`{"k":"frame","t":0,"c":1,"d":"<","op":"cont","text":"x"}`,
		`{"k":"message","t":0,"c":1,"d":"<","op":"text","frames":1,"wire":3,"len":3,"text":"abc","unfinished":true}`,
	})
}

// TestPlayCut plays what a preview left of the payloads.
func TestPlayCut(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b, Options{Derived: true, Preview: 2})
	s := decode.Session{Sink: w}
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Upgraded()
	s.Data(server, start, []byte(frame(0x81, 0, strings.Repeat("x", 70_000))+frame(0x81, 0, "Hello")+frame(0x81, 0, "hi")))
	var said []string
	err := playAll(&b, decode.SinkFunc(func(ev *decode.Event) {
		if f := ev.Frame; f != nil {
			said = append(said, string(f.AppendPayload(nil, -1)))
		} else if ev.Kind == decode.KindGap {
			said = append(said, "gap")
		}
	}), decode.Look{})
	if got, want := strings.Join(said, " "), "xx gap He gap hi"; err != nil || got != want {
		t.Errorf("got %s, %v, want %s", got, err, want)
	}
}

type countWriter struct {
	n   int
	max int
	err error
}

func (w *countWriter) Write(b []byte) (int, error) {
	if w.n == w.max {
		return 0, w.err
	}
	w.n++
	return len(b), nil
}

func TestWriterCalls(t *testing.T) {
	out := &countWriter{max: 3, err: errors.New("disk full")}
	w := NewWriter(out, Options{Derived: true, Preview: -1})
	ev := decode.Event{Kind: decode.KindViolation, Info: &decode.Info{}, Time: start}
	w.Emit(&ev)
	if out.n != 0 {
		t.Errorf("got %d writes for an event without a line, want 0", out.n)
	}
	s := decode.Session{Sink: w}
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Upgraded()
	s.Data(client, start, []byte(frame(0x81, 0, "with a violation")))
	if out.n != 2 {
		t.Errorf("got %d writes for 2 events, want 2", out.n)
	}
	if w.Err() != nil {
		t.Errorf("got error %v", w.Err())
	}
	s.Notice(start, "3")
	s.Notice(start, "4")
	out.max = 10
	s.Notice(start, "5")
	if w.Err() != out.err || out.n != 3 {
		t.Errorf("got %v after %d writes, want %v after 3", w.Err(), out.n, out.err)
	}
}

func TestWriterAllocatesNothing(t *testing.T) {
	for name, b := range map[string]string{
		"text":   frame(0x81, 0, "Hello, wörld"),
		"masked": frame(0x82, 0x01020304, strings.Repeat("\x00", 1000)),
		"ping":   frame(0x89, 0, "beat"),
		"close":  frame(0x88, 0, "\x03\xe8"),
		"long":   frame(0x81, 0, strings.Repeat("é", 100_000)),
	} {
		for _, o := range []Options{{}, {Derived: true, Preview: 4}} {
			w := NewWriter(io.Discard, o)
			s := decode.Session{Sink: w}
			s.Open(decode.Info{Conn: 1, Time: start, Ext: "x"})
			s.Upgraded()
			d := server
			if name == "masked" {
				d = client
			}
			chunk := []byte(b)
			now := start
			s.Data(d, now, chunk)
			if n := testing.AllocsPerRun(100, func() {
				now = now.Add(time.Millisecond)
				s.Data(d, now, chunk)
			}); n != 0 {
				t.Errorf("%s, %+v: got %v allocations, want 0", name, o, n)
			}
		}
	}
}
