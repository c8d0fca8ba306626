package render

import (
	"io"
	"regexp"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// TestTLS has the versions of both legs in the line of the request.
func TestTLS(t *testing.T) {
	v12, v13 := &decode.TLS{Version: "TLS1.2"}, &decode.TLS{Version: "TLS1.3"}
	for _, test := range []struct {
		client, server *decode.TLS
		want           string
	}{
		{nil, nil, ""},
		{v13, v13, "  tls 1.3"},
		{v13, v12, "  tls 1.3 → 1.2"},
		{nil, v13, "  tls none → 1.3"},
		{v12, nil, "  tls 1.2 → none"},
	} {
		var b strings.Builder
		c := open(NewCompact(&b, Options{}), decode.Info{ClientTLS: test.client, ServerTLS: test.server})
		c.client(head("GET / HTTP/1.1", "Upgrade: websocket"))
		if got, _, _ := strings.Cut(b.String(), "\n"); !strings.HasSuffix(got, " GET / HTTP/1.1"+test.want) {
			t.Errorf("got %q, want it to end with %q", got, test.want)
		}
	}
}

// TestProcess has whose request it is, where that is wanted and known.
func TestProcess(t *testing.T) {
	for _, test := range []struct {
		o    Options
		info decode.Info
		want string
	}{
		{Options{Process: true}, decode.Info{PID: 1234, Process: "curl"}, "  curl[1234]"},
		{Options{Process: true}, decode.Info{Process: "a\x1b[1m"}, `  a\x1b[1m`},
		{Options{Process: true}, decode.Info{PID: 1234}, "  [1234]"},
		{Options{Process: true}, decode.Info{}, ""},
		{Options{}, decode.Info{PID: 1234, Process: "curl"}, ""},
	} {
		for _, of := range []struct {
			what, line string
			play       func(c *talk)
		}{
			{"request", " GET / HTTP/1.1", func(c *talk) { c.client(head("GET / HTTP/1.1", "Upgrade: websocket")) }},
			{"tunnel", " tunnel a:1 SSH", func(c *talk) { c.Opaque(decode.FromClient, c.now, "SSH") }},
			{"exchange", " GET / no response in 0 ms", func(c *talk) { c.client(head("GET / HTTP/1.1")); c.Done(c.now) }},
		} {
			var b strings.Builder
			test.info.Server = "a:1"
			of.play(open(NewCompact(&b, test.o), test.info))
			if got, _, _ := strings.Cut(b.String(), "\n"); !strings.HasSuffix(got, of.line+test.want) {
				t.Errorf("%s: got %q, want it to end with %q", of.what, got, of.line+test.want)
			}
		}
	}
}

// TestSamples holds the forms to the samples that the documentation promises.
func TestSamples(t *testing.T) {
	tests := []struct {
		form    string
		samples []string
	}{
		{"compact", []string{
			"19:28:31.3301 #1 > GET /chat?name=John HTTP/1.1  host 127.0.0.1:8080 → 127.0.0.1:1901  key AQIDBAUGBwgJCgsMDQ4PEA==  version 13  protocols echo, chat  extensions permessage-deflate\n",
			"19:28:31.3477 #1 < text  10000001     12             \"John joined.\"\n",
			"19:28:31.3500 #1 < bin   10000010      4             [de ad be ef]\n",
			"19:28:46.5764 #1 > pong  10001010      0 16-39-8F-63\n",
			"19:28:47.0013 #1 > text  10000001      5 11-22-33-44 \"hello\"\n" +
				"19:28:47.0013 #1 ! client frame-length-not-minimal: 5 byte payload in a 16-bit length (RFC 6455 §5.2)\n",
			"19:28:48.1000 #1 > close 10001000      9 0B-44-10-5E 1000 \"Closing\"\n",
			"19:28:48.1020 #1 = closed 1000 by client after 16.8 s: 9 frames, 329 B >; ",
			"19:28:49.0000 #2 = GET http://127.0.0.1:1901/style.css 200 OK  1.2 kB in 3 ms\n",
			"19:28:50.0000 #7 < 403 Forbidden  not upgraded  \"no!\\n\"…\n",
			" #13 = tunnel example.com:443 TLS, not intercepted: 5.1 kB >; 88 kB <\n",
			" #3 ! dial upstream \"127.0.0.1:1902\": connection refused\n",
			" #14 < text  10000001 1099511627776      \"abc\"… 3 bytes so far\n",
			" #14 > junk 14 bytes: cannot be framed\n",
		}},
		{"fiddler", []string{
			"19:28:31:3312 Upgrading Session #1 to websocket\n",
			"19:28:31:3477  Server->Client (14 bytes)\nTYPE: TEXT.\nMESSAGE: John joined.\n" +
				"FLAGS: 10000001 DATA: 12 bytes.\n------------------------------\n",
			"19:28:46:5764  Client->Server (6 bytes)\nTYPE: PONG.\nMESSAGE: \n" +
				"FLAGS: 10001010 DATA: 0 bytes, masked using KEY: 16-39-8F-63.\n------------------------------\n",
			"MESSAGE: 1000 Closing\n",
		}},
		{"hex", []string{
			"19:28:47.0013 #1 > text  10000001      5 11-22-33-44\n" +
				"00000000  81 fe 00 05 11 22 33 44  68 65 6c 6c 6f           |.....\"3Dhello|\n" +
				"19:28:47.0013 #1 ! client frame-length-not-minimal: ",
		}},
	}
	for _, test := range tests {
		got := show(t, "every-event", test.form, Options{Preview: 80})
		for _, sample := range test.samples {
			if !strings.Contains(got, sample) {
				t.Errorf("%s: no sample\n%s", test.form, sample)
			}
		}
	}
}

// newForm returns the form with the given name, writing to w.
func newForm(name string, w io.Writer, o Options) decode.Sink {
	switch name {
	case "compact":
		return NewCompact(w, o)
	case "fiddler":
		return NewFiddler(w, o)
	}
	return NewHex(w, o)
}

var forms = []string{"compact", "fiddler", "hex"}

// TestRows compares with what hexdump -Cv prints.
func TestRows(t *testing.T) {
	const bytes = "\x00\x01\x02 ~\x7f\x80\xffé\n'abcdxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxlast"
	const want = `00000000  00 01 02 20 7e 7f 80 ff  c3 a9 0a 27 61 62 63 64  |... ~......'abcd|
00000010  78 78 78 78 78 78 78 78  78 78 78 78 78 78 78 78  |xxxxxxxxxxxxxxxx|
00000020  78 78 78 78 78 78 78 78  78 78 78 78 78 78 78 78  |xxxxxxxxxxxxxxxx|
00000030  6c 61 73 74                                       |last|
`
	var p hex
	p.rows(0, []byte(bytes))
	if got := string(p.buf); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	p.buf = nil
	p.rows(1<<32+10, []byte("12345678"))
	const wide = "10000000a  31 32 33 34 35 36 37 38                           |12345678|\n"
	if got := string(p.buf); got != wide {
		t.Errorf("got\n%swant\n%s", got, wide)
	}
}

// emit returns what the form shows of bytes that the server sends after the
// handshake.
func emit(form string, preview int, sent ...string) string {
	var b strings.Builder
	c := upgraded(newForm(form, &b, Options{Preview: preview}), decode.Info{Conn: 1})
	for _, bytes := range sent {
		c.server(bytes)
		c.Flush(decode.FromServer, c.now)
	}
	return b.String()
}

func TestPreview(t *testing.T) {
	tests := []struct {
		frame   string
		preview int
		compact string // after the column of the key
		fiddler string
	}{
		{frame(0x81, "hello"), 0, "", ""},
		{frame(0x81, "hello"), 5, `"hello"`, "hello"},
		{frame(0x81, "hello"), 4, `"hell"…`, "hell…"},
		{frame(0x81, "a€b"), 4, `"a€"…`, "a€…"},
		{frame(0x81, "a€b"), 3, `"a"…`, "a…"},
		{frame(0x81, "€b"), 1, `""…`, "…"},
		{frame(0x81, "a\xe2\x82"), 9, `"a\xe2\x82"`, `a\xe2\x82`},
		{frame(0x81, "a\xff\xfe\xfdbcd"), 4, `"a\xff\xfe\xfd"…`, `a\xff\xfe\xfd…`},
		{frame(0x81, "say \"hi\"\\\n"), 80, `"say \"hi\"\\\n"`, `say "hi"\\n`},
		{frame(0x81, "\x1b[31m\u202e"), 80, `"\x1b[31m\u202e"`, `\x1b[31m\u202e`},
		{frame(0x82, "hello"), 80, `"hello"`, "68-65-6C-6C-6F"},
		{frame(0x82, "hello"), 2, `"he"…`, "68-65…"},
		{frame(0xc1, "hello"), 80, "[68 65 6c 6c 6f] |hello|", "68-65-6C-6C-6F"},
		{frame(0x89, "hi\n"), 80, `"hi\n"`, `hi\n`},
		{frame(0x89, "hi\x00"), 80, "[68 69 00]", "68-69-00"},
		{frame(0x8a, "a€b"), 3, `"a"…`, "a…"},
		{frame(0x8a, "\x00€b"), 3, "[00 e2 82]…", "00-E2-82…"},
		{frame(0x83, "hi"), 80, `"hi"`, "hi"},
		{frame(0x88, "\x03\xe9bye\n"), 80, `1001 "bye\n"`, `1001 bye\n`},
		{frame(0x88, "\x03\xe9bye"), 4, `1001 "by"…`, "1001 by…"},
		{frame(0x88, "\x03\xe9bye"), 2, "1001…", "1001…"},
		{frame(0x88, "\x03\xe9bye"), 1, "[03]…", "03…"},
		{frame(0x88, "\x03\xe9\xff"), 80, `1001 "\xff"`, `1001 \xff`},
		{frame(0x88, "\x00\x00"), 80, "0", "0"},
		{frame(0x88, "\x03"), 80, "[03]", "no code, 1 byte: 03"},
		{frame(0x88, "\x03\xe9"), 0, "", ""},
		{frame(0x81, "hello")[:4], 80, `"he"… 2 bytes so far`, "he… 2 bytes so far"},
		{frame(0x81, "hello")[:4], 1, `"h"… 2 bytes so far`, "h… 2 bytes so far"},
		{frame(0x81, "hello")[:3], 0, "1 byte so far", "1 byte so far"},
		{frame(0x82, "\x00hello"), 80, "[00 68 65 6c 6c 6f] |.hello|", "00-68-65-6C-6C-6F"},
		{frame(0x82, "{}\x1e"), 80, `"{}\x1e"`, "7B-7D-1E"},
		{frame(0x81, `{"a":"\n"}`), 80, `'{"a":"\n"}'`, `{"a":"\n"}`},
		{frame(0x81, `{"a":"it's"}`), 80, `"{\"a\":\"it's\"}"`, `{"a":"it's"}`},
		{frame(0x81, "{\"a\":1}\n"), 80, `"{\"a\":1}\n"`, `{"a":1}\n`},
		{frame(0x81, `it's`), 80, `"it's"`, `it's`},
		{frame(0x82, "hello")[:2], 80, "0 bytes so far", "0 bytes so far"},
		{frame(0x88, "\x03\xe9bye")[:5], 80, `1001 "b"… 3 bytes so far`, "1001 b… 3 bytes so far"},
	}
	for _, test := range tests {
		line, _, _ := strings.Cut(emit("compact", test.preview, test.frame), "\n")
		const column = len("00:00:00.0000 #1 < text  10000001      5 16-39-8F-63 ")
		if got := line[min(column, len(line)):]; got != test.compact {
			t.Errorf("compact %q, preview %d: got %s, want %s", test.frame, test.preview, got, test.compact)
		}
		_, message, _ := strings.Cut(emit("fiddler", test.preview, test.frame), "MESSAGE: ")
		if got, _, _ := strings.Cut(message, "\n"); got != test.fiddler {
			t.Errorf("fiddler %q, preview %d: got %s, want %s", test.frame, test.preview, got, test.fiddler)
		}
	}
}

// TestHexPieces has the rows of a frame that comes in pieces go on where they
// ended, up to the preview.
func TestHexPieces(t *testing.T) {
	const whole = "0123456789abcdefghijklmnopqrstuvwxyz"
	f := frame(0x81, whole)
	got := emit("hex", 22, f[:12], f[12:22], f[22:32], f[32:])
	const want = `00:00:00.0000 #1 < text  10000001     36             10 bytes so far
00000000  81 24 30 31 32 33 34 35  36 37 38 39              |.$0123456789|
00:00:00.0000 #1 < text  10 more bytes
0000000c  61 62 63 64 65 66 67 68  69 6a                    |abcdefghij|
00:00:00.0000 #1 < text  10 more bytes
00000016  6b 6c                                             |kl|
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if got := emit("hex", 0, f); strings.Contains(got, "0123") || !strings.Contains(got, "|.$|\n") {
		t.Errorf("without preview: got\n%swant only the header", got)
	}
}

// TestFragments has the frames of a message shown as the first of them.
func TestFragments(t *testing.T) {
	got := emit("compact", 80,
		frame(0x01, "caf\xc3")+frame(0x89, "\x00")+frame(0x00, "\xa9")+frame(0x80, "\xa9"), // text
		frame(0x02, "ab")+frame(0x80, "cd"),                                                // binary
		frame(0x41, "ab")+frame(0x80, "cd"),                                                // compressed
		frame(0x80, "cd")+frame(0x80, "\xa9"))                                              // no message
	var previews []string
	for line := range strings.Lines(got) {
		if !strings.Contains(line, " ! ") {
			previews = append(previews, strings.TrimSpace(line[len("00:00:00.0000 #1 < text  10000001      5 16-39-8F-63 "):]))
		}
	}
	const want = `"caf\xc3" [00] "\xa9" "\xa9" "ab" "cd" [61 62] [63 64] "cd" [a9]`
	if got := strings.Join(previews, " "); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestForgets(t *testing.T) {
	p := NewCompact(io.Discard, Options{Preview: 80}).(*compact)
	play(t, "every-event", p)
	if len(p.sessions.Open()) != 0 {
		t.Errorf("got %d sessions remembered after all are closed, want 0", len(p.sessions.Open()))
	}
	upgraded(p, decode.Info{Conn: 7}).server(frame(0x01, "a"))
	if len(p.sessions.Open()) != 1 {
		t.Errorf("got %d sessions remembered in the middle of a message, want 1", len(p.sessions.Open()))
	}
	upgraded(p, decode.Info{Conn: 7}) // of another file
	if len(p.sessions.Open()) != 0 {
		t.Errorf("got %d sessions remembered after one of the same number began, want 0", len(p.sessions.Open()))
	}
}

// TestOneWrite has every event that shows something handed over in one call,
// as whole lines.
func TestOneWrite(t *testing.T) {
	for _, form := range forms {
		var writes []string
		sink := newForm(form, writerFunc(func(b []byte) (int, error) {
			writes = append(writes, string(b))
			return len(b), nil
		}), Options{Preview: 80})
		play(t, "every-event", decode.SinkFunc(func(ev *decode.Event) {
			writes = nil
			sink.Emit(ev)
			if len(writes) > 1 || len(writes) == 1 && !strings.HasSuffix(writes[0], "\n") {
				t.Errorf("%s: event of kind %d was written as %q, want whole lines in one call", form, ev.Kind, writes)
			}
		}))
	}
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

var sequence = regexp.MustCompile("\x1b\\[[0-9;]*m")

func TestColor(t *testing.T) {
	for _, form := range forms {
		plain := show(t, "every-event", form, Options{Preview: 80})
		colored := show(t, "every-event", form, Options{Preview: 80, Color: true})
		if !sequence.MatchString(colored) {
			t.Errorf("%s: no colour", form)
		}
		if sequence.MatchString(plain) {
			t.Errorf("%s: colour without being asked", form)
		}
		if got := sequence.ReplaceAllString(colored, ""); got != plain {
			t.Errorf("%s: without its sequences, coloured text differs: got\n%swant\n%s", form, got, plain)
		}
		for line := range strings.Lines(colored) {
			if n := len(sequence.FindAllString(line, -1)); n%2 != 0 {
				t.Errorf("%s: colour goes on after the line: %q", form, line)
			}
		}
	}
}

// raceEnabled reports whether the race detector is built in. It makes
// sync.Pool drop what it is given now and then, which sessions
// hold messages in.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestNoAllocations(t *testing.T) {
	long := strings.Repeat("größer ", 30_000) // several pieces
	key := uint32(0x16398f63)
	tests := []struct {
		name           string
		client, server string
	}{
		{"masked text", masked(0x81, key, "grüße \"hello\"\n\x00"), ""},
		{"text", "", frame(0x81, "John joined.")},
		{"invalid text", "", frame(0x81, "\xff\xfe\u202e")},
		{"binary", masked(0x82, key, "\xde\xad\xbe\xef"), frame(0x82, strings.Repeat("\x00", 500))},
		{"compressed", "", frame(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00")},
		{"fragments", masked(0x01, key, "a") + masked(0x00, key, "b") + masked(0x80, key, "c"), ""},
		{"ping and pong", masked(0x8a, key, "beat"), frame(0x89, "beat")},
		{"close", masked(0x88, key, "\x03\xe8Closing"), frame(0x88, "\x03\xe8")},
		{"large", masked(0x81, key, long), frame(0x82, long)},
		{"pieces", masked(0x81, key, long[:70_000])[:66_000] + masked(0x81, key, long[:70_000])[66_000:], ""},
	}
	for _, form := range forms {
		for _, color := range []bool{false, true} {
			sink := newForm(form, io.Discard, Options{Preview: 4096, Color: color})
			c := upgraded(sink, decode.Info{Conn: 1, Ext: "permessage-deflate"})
			for _, test := range tests {
				client, server := []byte(test.client), []byte(test.server)
				now := c.now
				n := testing.AllocsPerRun(20, func() {
					now = now.Add(300 * time.Millisecond) // so that the clock moves on too
					c.Data(decode.FromClient, now, client)
					c.Data(decode.FromServer, now, server)
				})
				if n != 0 && !raceEnabled() {
					t.Errorf("%s, %s: got %v allocations, want 0", form, test.name, n)
				}
			}
		}
	}
}

func TestClock(t *testing.T) {
	time.Local = time.FixedZone("", 5400)
	defer func() { time.Local = time.UTC }()
	var c clock
	for _, test := range []struct {
		at   time.Time
		want string
	}{
		{time.Unix(0, 0), "01:30:00.0000"},
		{time.Unix(0, 99_999), "01:30:00.0000"},
		{time.Unix(0, 100_000), "01:30:00.0001"},
		{time.Unix(0, 999_999_999), "01:30:00.9999"},
		{time.Unix(81_000, 12_345_678), "00:00:00.0123"},
		{time.Unix(80_999, 0), "23:59:59.0000"},
		{time.Date(1969, 12, 31, 23, 59, 59, 123_456_789, time.UTC), "01:29:59.1234"},
	} {
		if got := string(c.append(nil, test.at, '.')); got != test.want {
			t.Errorf("%v: got %s, want %s", test.at, got, test.want)
		}
	}
}

func TestAppendSize(t *testing.T) {
	for n, want := range map[int64]string{
		0: "0 B", 1: "1 B", 999: "999 B", 1000: "1.0 kB", 1049: "1.0 kB", 5123: "5.1 kB", 9949: "9.9 kB", 9951: "10 kB",
		88_200: "88 kB", 123_456: "123 kB", 999_499: "999 kB", 999_500: "1.0 MB", 16 << 20: "17 MB",
		1_234_567_890: "1.2 GB", 1 << 40: "1.1 TB", 1<<63 - 1: "9.2 EB",
	} {
		if got := string(AppendSize(nil, n)); got != want {
			t.Errorf("%d: got %s, want %s", n, got, want)
		}
	}
}

func TestAppendDuration(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0 ms", 49 * time.Microsecond: "0 ms", 50 * time.Microsecond: "0.1 ms", 310 * time.Microsecond: "0.3 ms",
		949 * time.Microsecond: "0.9 ms", 950 * time.Microsecond: "1 ms", 3 * time.Millisecond: "3 ms",
		999_499 * time.Microsecond: "999 ms", 999_500 * time.Microsecond: "1.0 s", 16_771_900 * time.Microsecond: "16.8 s",
		59_949 * time.Millisecond: "59.9 s", 59_950 * time.Millisecond: "1 m 0 s", 123 * time.Second: "2 m 3 s",
		3_599_499 * time.Millisecond: "59 m 59 s", 3_599_500 * time.Millisecond: "1 h 0 m", 26*time.Hour + 2*time.Minute: "26 h 2 m",
	} {
		if got := string(AppendDuration(nil, d)); got != want {
			t.Errorf("%v: got %s, want %s", d, got, want)
		}
	}
}

func TestAppendQuoted(t *testing.T) {
	for _, s := range []string{"", "a", "\"\\", "\a\b\f\n\r\t\v\x00\x1b\x7f", "é€😀", "\xff\xc3\xe2\x82", "\ufffd\u202e\u00a0\u2028\ufeff\U000e0001"} {
		if got, want := string(decode.AppendQuoted(nil, []byte(s))), strconv.Quote(s); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
	}
}

// FuzzText has any bytes on the wire shown without a byte that a terminal would
// act on.
func FuzzText(f *testing.F) {
	f.Add(true, head("GET /\x1b[2J HTTP/1.1", "Upgrade: websocket", "Host: \x9b \x07"), head("HTTP/1.1 400 \r\u202e  "), "\u2028\x00 ")
	f.Add(true, head("GET / HTTP/1.1", "Upgrade: websocket"), head("HTTP/1.1 101 ok", "Sec-WebSocket-Accept: \xff")+frame(0x81, "\x1b \n"), "")
	f.Add(false, masked(0x88, 1, "\x03\xe8\x1b ")+masked(0x89, 1, "\x7f  "), frame(0x81, "x ")+"\x81\xff\xff", "x")
	f.Add(true, head("GET /  HTTP/1.1", "Host: x"), head("HTTP/1.1 101  ", "Upgrade: \x1b")+"more", " ")
	f.Fuzz(func(t *testing.T, http bool, client, server, text string) {
		for _, form := range forms {
			var plain, colored strings.Builder
			for b, o := range map[*strings.Builder]Options{&plain: {Preview: 40}, &colored: {Preview: 40, Color: true}} {
				c := open(newForm(form, b, o), decode.Info{Conn: 1, Server: text, URL: text})
				if !http {
					c.Upgraded()
				}
				h, _ := decode.ParseRequest(client)
				sent, _ := decode.ParseRequest(client + text)
				c.Head(decode.FromClient, c.now, h, sent)
				c.client(client)
				c.server(server)
				c.Flush(decode.FromServer, c.now)
				c.Notice(c.now, text)
				c.Gap(decode.FromServer, c.now, 1)
				c.server(server)
				c.Opaque(decode.FromClient, c.now, text)
				c.client(client)
				c.End(decode.FromServer, c.now, decode.EndRST, text)
				c.Done(c.now)
			}
			if got := sequence.ReplaceAllString(colored.String(), ""); got != plain.String() {
				t.Errorf("%s: without its sequences, coloured text differs: got\n%swant\n%s", form, got, plain.String())
			}
			if !utf8.ValidString(plain.String()) {
				t.Errorf("%s: not UTF-8: %q", form, plain.String())
			}
			for line := range strings.Lines(plain.String()) {
				line = strings.TrimSuffix(line, "\n")
				if strings.ContainsFunc(line, func(r rune) bool { return r != '\u2192' && !strconv.IsPrint(r) }) {
					t.Errorf("%s: not escaped: %q", form, line)
				}
				if strings.HasSuffix(line, " ") && !strings.HasPrefix(line, "MESSAGE: ") {
					t.Errorf("%s: blank at the end of %q", form, line)
				}
			}
		}
	})
}

// TestLongestFrame shows a frame with all the length that can be declared.
func TestLongestFrame(t *testing.T) {
	h := header(ws.Header{Fin: true, OpCode: ws.OpBinary, Length: 1<<63 - 1})
	if got, want := emit("compact", 80, h), "00:00:00.0000 #1 < bin   10000010 9223372036854775807 0 bytes so far\n"; got != want {
		t.Errorf("got  %swant %s", got, want)
	}
	if got, want := emit("fiddler", 80, h), "  Server->Client (9223372036854775807 bytes)\n"; !strings.Contains(got, want) {
		t.Errorf("got\n%swant %s", got, want)
	}
}
