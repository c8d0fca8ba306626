package har

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// whole is what sessions look into for a Writer.
var whole = decode.Look{Messages: true, Bodies: math.MaxInt64, WholeBodies: true, FactsOnly: true}

// A story is what events tell, without what HAR has no place for, a line each.
type story struct {
	lines []string
	conns []int64
}

func (s *story) add(ev *decode.Event, format string, args ...any) {
	s.lines = append(s.lines, fmt.Sprintf("#%d %s ", ev.Conn, ev.Time.UTC().Format("15:04:05.999999999"))+fmt.Sprintf(format, args...))
}

func (s *story) Emit(ev *decode.Event) {
	if ev.Out {
		return
	}
	switch m := ev.Message; {
	case ev.Kind == decode.KindOpen:
		s.conns = append(s.conns, ev.Conn)
	case ev.Kind == decode.KindRequest:
		s.add(ev, "> %s %s %q", ev.Handshake.Request.Method, ev.Handshake.Request.Target, ev.Handshake.Request.Fields)
	case ev.Kind == decode.KindResponse && (ev.Head.Status >= 200 || ev.Head.Status == 101):
		s.add(ev, "< %d %s %q", ev.Head.Status, ev.Head.Reason, ev.Head.Fields)
	case ev.Body != nil:
		s.lines = append(s.lines, fmt.Sprintf("#%d body %s %d %t %q", ev.Conn, ev.Dir, ev.Body.Len, ev.Body.Unfinished, ev.Body.Data))
	case m != nil && m.Op <= ws.OpBinary && !m.Cut && !m.Unread && !m.Unfinished && !(ev.Kind == decode.KindMessage && m.Frames > 0):
		s.add(ev, "%s %s %q", m.Dir, decode.OpName(m.Op), m.Data)
	case m != nil && m.Frames == 0 && m.Op > ws.OpBinary:
		s.add(ev, "%s %s %q", m.Dir, decode.OpName(m.Op), m.Data)
	case ev.Kind == decode.KindFrame && ev.Frame.OpCode > ws.OpBinary:
		s.add(ev, "%s %s %q", ev.Dir, decode.OpName(ev.Frame.OpCode), ev.Frame.AppendPayload(nil, -1))
	case ev.Kind == decode.KindNotice:
		s.add(ev, "note %s", ev.Text)
	case ev.Kind == decode.KindEnd:
		s.add(ev, "end %s %s %t %q %d", ev.Dir, ev.How, ev.Both, ev.Text, ev.Status)
	}
}

// of returns the lines of a session, but for remarks that something is left out.
func (s *story) of(conn int64) string {
	var b strings.Builder
	for _, line := range s.lines {
		if strings.HasPrefix(line, fmt.Sprintf("#%d ", conn)) && !strings.HasSuffix(line, "left out") {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// play plays a HAR.
func play(t testing.TB, text string, sinks ...decode.Sink) (*story, error) {
	t.Helper()
	s := new(story)
	src := Source{R: strings.NewReader(text), Size: int64(len(text))}
	err := src.Play(context.Background(), &decode.Tee{Sinks: append(sinks, s)}, whole)
	return s, err
}

// write makes a HAR of a trace.
func write(t testing.TB, wst string, o Options) (text string, told *story) {
	t.Helper()
	var b bytes.Buffer
	o.By = "wstrace 1.0"
	w, told := NewWriter(&b, o), new(story)
	src := trace.Source{R: strings.NewReader(wst)}
	if err := src.Play(t.Context(), &decode.Tee{Sinks: []decode.Sink{w, told}}, whole); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return b.String(), told
}

// traces returns the traces of testdata.
func traces(t testing.TB) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../testdata/traces/*.wst")
	if err != nil || len(names) == 0 {
		t.Fatalf("no traces: %v", err)
	}
	all := map[string]string{}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all[filepath.Base(name)] = string(b)
	}
	return all
}

// TestThereAndBack writes traces as HAR and reads these: what both can hold is the
// same.
func TestThereAndBack(t *testing.T) {
	for name, wst := range traces(t) {
		for _, control := range []bool{false, true} {
			text, told := write(t, wst, Options{Control: control})
			got, err := play(t, text)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			if len(got.conns) == 0 {
				t.Errorf("%s: no sessions", name)
			}
			for _, conn := range got.conns {
				if got, want := got.of(conn), told.of(conn); got != want {
					t.Errorf("%s, control %t, session %d:\ngot\n%swant\n%s", name, control, conn, got, want)
				}
			}
		}
	}
}

// TestChromeForm writes messages as Chrome does.
func TestChromeForm(t *testing.T) {
	const wst = `{"wstrace":1,"t0":"2023-08-29T13:03:20Z"}
{"k":"open","c":1}
{"k":"frame","t":0.336985,"d":">","op":"text","text":"{\"a\":\"é\u0001\n\"}"}
{"k":"frame","t":0.412,"d":"<","op":"bin","hex":"00 ff"}
{"k":"frame","t":1,"d":"<","op":"ping","text":"hb"}
{"k":"frame","t":1.5,"d":"<","op":"text","hex":"ff"}
`
	text, _ := write(t, wst, Options{})
	for _, want := range []string{
		`{"type":"send","time":1693314200.336985,"opcode":1,"data":"{\"a\":\"é\u0001\n\"}"}`,
		`{"type":"receive","time":1693314200.412,"opcode":2,"data":"AP8="}`,
		`{"type":"receive","time":1693314201.5,"opcode":1,"data":"` + "\uFFFD" + `","_wstrace":{"b64":"/w=="}}`,
		`{"after":2,"time":1693314201,"opcode":9,"from":"server","data":"aGI="}`,
		`"_resourceType":"websocket"`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
	text, _ = write(t, wst, Options{Control: true})
	if want := `{"type":"receive","time":1693314201,"opcode":9,"data":"aGI="}`; !strings.Contains(text, want) {
		t.Errorf("no %s in\n%s", want, text)
	}
}

// TestReads plays what other programs write.
func TestReads(t *testing.T) {
	const handshake = `"request":{"method":"GET","url":"wss://a.example/chat?x=1#top","httpVersion":"HTTP/1.1","headers":[{"name":"Upgrade","value":"websocket"},{"name":"Connection","value":"Upgrade"}]},
"response":{"status":101,"statusText":"Switching Protocols","httpVersion":"HTTP/1.1","headers":[{"name":"Upgrade","value":"websocket"}],"content":{"size":0,"mimeType":"x-unknown"}}`
	const heads = `#1 13:03:20 > GET /chat?x=1 [{"Upgrade" "websocket"} {"Connection" "Upgrade"}]
#1 13:03:20 < 101 Switching Protocols [{"Upgrade" "websocket"}]
`
	const begun = `"startedDateTime":"2023-08-29T13:03:20.000Z",`
	gori := func(fields string) string {
		return `{"log":{"version":"1.2","creator":{"name":"gori","version":"0.9"},"entries":[{` + fields + `}]}}`
	}
	entry := func(fields string) string { return `{"log":{"version":"1.2","entries":[{` + fields + `}]}}` }
	for _, c := range []struct{ name, har, want string }{
		{"Chrome", entry(`"_resourceType":"websocket","_webSocketMessages":[{"type":"send","time":1693314200.336985,"opcode":1,"data":"hi \ud83d\ude00"},{"type":"receive","time":1693314200.412,"opcode":2,"data":"AP8="}],` + begun + handshake),
			heads + "#1 13:03:20.336985 client text \"hi 😀\"\n#1 13:03:20.412 server bin \"\\x00\\xff\"\n"},
		{"Playwright", entry(begun + handshake + `,"_resourceType":"websocket","_webSocketMessages":[{"type":"receive","time":1693314200412.5,"opcode":1,"data":"a"},{"type":"send","time":-1,"opcode":1,"data":"b"}]`),
			heads + "#1 13:03:20.4125 server text \"a\"\n#1 13:03:20.4125 client text \"b\"\n"},
		{"Playwright with a side file", entry(begun + strings.Replace(handshake, `"x-unknown"`, `"x-unknown","_file":"ab.jsonl"`, 1)),
			heads + "#1 13:03:20 note its messages are in the file \"ab.jsonl\", which is not read\n"},
		{"Firefox", entry(begun + handshake + `,"_securityState":"secure"`), heads + "#1 13:03:20 note the file has no messages of it\n"},
		{"mitmproxy", entry(`"startedDateTime":"2023-08-29T13:03:20+00:00",` + handshake + `,"_webSocketMessages":[{"type":"send","time":1693314201,"opcode":2,"data":""}]`),
			heads + "#1 13:03:21 client bin \"\"\n"},
		{"Fiddler, with a BOM", "\uFEFF" + entry(begun+handshake+`,"_webSocketMessages":[]`), heads + "#1 13:03:20 note the file has no messages of it\n"},
		{"HTTP Toolkit", entry(begun + `"time":5000,` + strings.Replace(handshake, "wss://", "https://", 1) + `,"_resourceType":"websocket","_webSocketMessages":[{"type":"send","opcode":2,"data":"AA==","time":1693314201.5}],"_webSocketClose":{"code":1001,"reason":"bye","timestamp":1693314204}`),
			heads + "#1 13:03:21.5 client bin \"\\x00\"\n#1 13:03:25 note the connection was closed with 1001 \"bye\"\n"},
		{"HTTP Toolkit, aborted", entry(begun + handshake + `,"_webSocketMessages":[{"type":"send","data":"a"}],"_webSocketClose":"aborted"`), heads + "#1 13:03:20 client text \"a\"\n"},
		{"HTTP Toolkit, a binary body", entry(begun + `"request":{"method":"POST","url":"http://a/","httpVersion":"HTTP/1.1","headers":[],"bodySize":3,"_requestBodyStatus":"discarded:not-representable","_content":{"text":"AP8B","size":3,"encoding":"base64"}}`),
			"#1 13:03:20 > POST / [{\"Content-Length\" \"3\"}]\n#1 body client 3 false \"\\x00\\xff\\x01\"\n"},
		{"gori", gori(begun + handshake + `,"_webSocketMessages":[{"type":"send","time":1693314201,"opcode":2,"data":"abcd"},{"type":"send","time":1693314201,"opcode":2,"data":"AP8=","encoding":"base64"},
{"type":"receive","time":1693314201,"opcode":1,"data":"/w==","encoding":"base64"},{"type":"receive","time":1693314202,"opcode":8,"data":"\u0003\u0000"},{"type":"receive","time":1693314202,"opcode":1,"data":"[gori] server: reset"}]`),
			heads + "#1 13:03:21 client bin \"abcd\"\n#1 13:03:21 client bin \"\\x00\\xff\"\n#1 13:03:21 server text \"\\xff\"\n#1 13:03:22 server close \"\\x03\\x00\"\n#1 13:03:22 note [gori] server: reset\n"},
		{"gori, in HTTP/2", gori(begun + `"request":{"method":"CONNECT","url":"https://a.example/chat?x=1","httpVersion":"HTTP/2","headers":[{"name":"Host","value":"a.example"},{"name":"X-Gori-Protocol","value":"websocket"}]},
"response":{"status":200,"statusText":"","httpVersion":"HTTP/2","headers":[]},"_resourceType":"websocket","_webSocketMessages":[{"type":"send","opcode":1,"data":"a"}]`),
			"#1 13:03:20 > CONNECT /chat?x=1 [{\":protocol\" \"websocket\"} {\"Host\" \"a.example\"}]\n#1 13:03:20 < 200  []\n#1 13:03:20 client text \"a\"\n"},
		{"gori, a body as it came", gori(begun + `"request":{"method":"GET","url":"http://a/","httpVersion":"HTTP/1.1","headers":[]},"response":{"status":200,"statusText":"OK","httpVersion":"HTTP/1.1","headers":[{"name":"Content-Encoding","value":"br"},{"name":"Content-Length","value":"9"}],"bodySize":9,"content":{"size":9,"text":"/wAB","encoding":"base64"}}`),
			"#1 13:03:20 > GET / []\n#1 13:03:20 < 200 OK [{\"Content-Encoding\" \"br\"} {\"Content-Length\" \"9\"}]\n#1 body server 9 false \"\\xff\\x00\\x01\"\n"},
		{"payload, ISO time, no opcode", entry(begun + handshake + `,"_webSocketMessages":[{"type":"receive","time":"2023-08-29T13:03:22.5Z","payload":"x"},{"type":"send","time":null,"data":"y"}]`),
			heads + "#1 13:03:22.5 server text \"x\"\n#1 13:03:22.5 client text \"y\"\n"},
		{"not base64", entry(begun + handshake + `,"_webSocketMessages":[{"type":"send","opcode":2,"data":"{\"a\":1}"}]`),
			heads + "#1 13:03:20 note 1 binary message is not in base64, and taken as it is\n#1 13:03:20 client bin \"{\\\"a\\\":1}\"\n"},
		{"not base64, some", entry(begun + handshake + `,"_webSocketMessages":[{"type":"send","opcode":2,"data":"!"},{"type":"send","opcode":2,"data":"AA=="},{"type":"send","opcode":2,"data":"?"}]`),
			heads + "#1 13:03:20 note 2 binary messages are not in base64, and taken as they are\n#1 13:03:20 client bin \"!\"\n#1 13:03:20 client bin \"\\x00\"\n#1 13:03:20 client bin \"?\"\n"},
		{"opcodes that there are not", entry(begun + handshake + `,"_webSocketMessages":[{"type":"send","opcode":-1,"data":"a"},{"type":"send","opcode":17,"data":"b"},{"type":"send","opcode":1,"data":"c"}]`),
			heads + "#1 13:03:20 note a message with the opcode -1, which there is not, is left out\n#1 13:03:20 note a message with the opcode 17, which there is not, is left out\n#1 13:03:20 client text \"c\"\n"},
		{"no date", entry(`"startedDateTime":"29.8.2023 13:03",` + handshake + `,"_webSocketMessages":[{"type":"send","time":1693314200,"opcode":1,"data":"a"}]`),
			heads + "#1 13:03:20 note its startedDateTime, \"29.8.2023 13:03\", is no time\n#1 13:03:20 client text \"a\"\n"},
		{"timings of all of it", entry(begun + `"time":900,"timings":{"send":1,"wait":800,"receive":99},` + handshake + `,"_webSocketMessages":[{"type":"send","time":1693314200.1,"opcode":1,"data":"a"},{"type":"send","time":1693314199,"opcode":1,"data":"b"}]`),
			strings.NewReplacer("20 >", "20.001 >", "20 <", "20.1 <").Replace(heads) + "#1 13:03:20.1 client text \"a\"\n#1 13:03:20.1 client text \"b\"\n#1 13:03:20.1 note the time of 1 message is before that of what precedes it, and is taken for the same\n"},
		{"an error of a frame", entry(begun + handshake + `,"_webSocketMessages":[{"type":"error","time":1693314201,"opcode":-1,"data":"Invalid frame header"}]`),
			heads + "#1 13:03:21 note error: Invalid frame header\n"},
		{"half a character", entry(begun + handshake + `,"_webSocketMessages":[{"type":"send","data":"\ud83d-\ude00"}]`), heads + "#1 13:03:20 client text \"\uFFFD-\uFFFD\"\n"},
		{"no handshake", entry(begun + `"request":{"method":"GET","url":"wss://a/","headers":[]},"response":{"status":101,"headers":[]},"_webSocketMessages":[{"type":"send","data":"a"}]`),
			"#1 13:03:20 note the handshake is not whole in the file, and is left out\n#1 13:03:20 client text \"a\"\n"},
		{"no answer", entry(begun + `"request":{"method":"GET","url":"http://a/b","headers":[]},"response":{"status":0,"_error":"net::ERR_CONNECTION_REFUSED"}`),
			"#1 13:03:20 > GET /b []\n#1 13:03:20 note it failed: net::ERR_CONNECTION_REFUSED\n"},
		{"bodies", entry(begun + `"time":7,"timings":{"send":1,"wait":4,"receive":2},"request":{"method":"POST","url":"http://a?q","httpVersion":"http/1.1","headers":[],"postData":{"mimeType":"text/plain","text":"hey"}},
"response":{"status":200,"statusText":"OK","httpVersion":"http/1.1","headers":[{"name":"content-encoding","value":"gzip"},{"name":"content-length","value":"3"}],"content":{"size":5,"mimeType":"text/plain","text":"aGVsbG8=","encoding":"base64"}}`),
			"#1 13:03:20.001 > POST /?q [{\"Content-Length\" \"3\"}]\n#1 body client 3 false \"hey\"\n#1 13:03:20.005 < 200 OK [{\"content-length\" \"5\"}]\n#1 body server 5 false \"hello\"\n"},
		{"two of the kind", `{"log":{"entries":[{"request":{"method":"GET","url":"http://a/1"}},null,7,{"request":{"method":"GET","url":"http://a/2"}}]},"log2":[[{}]]}`,
			"#1 00:00:00 > GET /1 []\n#4 00:00:00 > GET /2 []\n"},
	} {
		got, err := play(t, c.har)
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if text := strings.Join(got.lines, "\n") + "\n"; text != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, text, c.want)
		}
	}
}

// TestForeignIsNotJudged checks that nothing is said of heads and ends that a file has
// not.
func TestForeignIsNotJudged(t *testing.T) {
	src := Source{R: strings.NewReader(chrome), Size: int64(len(chrome))}
	found := 0
	err := src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
		for _, v := range ev.Violations {
			t.Errorf("found %v", v)
		}
		if ev.Kind == decode.KindClosed {
			if found++; ev.Totals.Code != 0 || ev.Totals.Closer() != "" {
				t.Errorf("got code %d by %q", ev.Totals.Code, ev.Totals.Closer())
			}
		}
	}), decode.Look{Messages: true})
	if err != nil || found != 1 || !src.Messages() || src.Last() != 1 {
		t.Errorf("got %v, %d sessions, messages %t, last %d", err, found, src.Messages(), src.Last())
	}
}

const chrome = `{"log":{"version":"1.2","creator":{"name":"WebInspector","version":"537.36"},"pages":[],"entries":[
{"_initiator":{"type":"script","stack":{"callFrames":[]}},"_priority":"High","_resourceType":"websocket",
"_webSocketMessages":[{"type":"send","time":1693314200.3,"opcode":1,"data":"one"},{"type":"receive","time":1693314200.4,"opcode":1,"data":"two"}],
"cache":{},"connection":"443","request":{"method":"GET","url":"wss://a.example/chat","httpVersion":"HTTP/1.1","headers":[{"name":"Upgrade","value":"websocket"}],"queryString":[],"cookies":[],"headersSize":-1,"bodySize":0},
"response":{"status":101,"statusText":"","httpVersion":"HTTP/1.1","headers":[],"cookies":[],"content":{"size":0,"mimeType":"x-unknown"},"redirectURL":"","headersSize":-1,"bodySize":-1,"_error":null},
"serverIPAddress":"","startedDateTime":"2023-08-29T13:03:20.100Z","time":900.5,"timings":{"blocked":-1,"send":0,"wait":0,"receive":0}}]}}
`

// TestCut plays each beginning of a file: what can be read is shown.
func TestCut(t *testing.T) {
	ours, _ := write(t, traces(t)["every-event.wst"], Options{})
	for _, text := range []string{chrome, ours} {
		had := 0
		end := strings.LastIndex(text, "}")
		step := 1 + len(text)/250
		for n := 0; n < end; n += step {
			got, err := play(t, text[:n])
			at, ok := errors.AsType[*decode.SourceError](err)
			if !errors.Is(err, decode.ErrCut) || !ok || at.Offset > int64(n) || at.Offset < int64(n)-16 {
				t.Fatalf("the first %d bytes: got %v", n, err)
			}
			texts := strings.Count(strings.Join(got.lines, "\n"), " text ")
			if texts < had-1 { // the one that was cut
				t.Fatalf("the first %d bytes: got %d texts, and had %d before", n, texts, had)
			}
			had = max(had, texts)
		}
		if had == 0 {
			t.Error("no text was shown")
		}
	}
}

// TestDamage checks where an error is said to be, and that what stands before is shown.
func TestDamage(t *testing.T) {
	messages := func(s string) string {
		return `{"log":{"entries":[{"request":{"method":"GET","url":"ws://a/"},"_webSocketMessages":[{"type":"send","data":"one"},` + s
	}
	for text, want := range map[string]string{
		`{}`:                      `byte 0: there is no "log" with "entries"`,
		`{"log":{"entries":{}}}`:  "",
		messages(`}`):             `byte 114: '}' where JSON has a value`,
		messages(`{"data":"\x"}`): `byte 123: "\\x" is no escape of JSON`,
		messages(`{"data" "a"}`):  `byte 122: '"' where JSON has a colon`,
		messages(`{"a":[1}`):      `byte 121: '}' where JSON has a value`,
		messages(`{"a":1 "b":2}`): `byte 121: '"' where JSON has a comma or the end of an object`,
		messages(`{a:1}`):         `byte 115: 'a' where JSON has a key`,
		messages(`{"opcode":` + strings.Repeat("1", 100) + `}`):    "byte 124: a number of more than 64 digits",
		messages(`{"x":` + strings.Repeat("[", 100_000)):           "byte 1119: nested deeper than 1000 levels",
		messages(`{"x":` + strings.Repeat(`{"a":`, 100_000) + `]`): "byte 5119: nested deeper than 1000 levels",
	} {
		got, err := play(t, text)
		if fmt.Sprint(err) != want && !(err == nil && want == "") {
			t.Errorf("%.150s: got %v, want %s", text, err, want)
		}
		if shown := strings.Contains(strings.Join(got.lines, "\n"), `text "one"`); shown != strings.Contains(text, "one") {
			t.Errorf("%.150s: the first message is shown: %t", text, shown)
		}
		var bad error
		src := Source{R: strings.NewReader(text), Size: int64(len(text)), Bad: func(err error) { bad = err }}
		if after := src.Play(t.Context(), new(story), whole); after != nil || strings.TrimSuffix(fmt.Sprint(bad), ": the rest of the file is lost") != fmt.Sprint(err) {
			t.Errorf("%.150s: with Bad got %v and %v", text, after, bad)
		}
	}
}

// overlapping is a trace of two sessions at the same time. The one that began last ends first.
const overlapping = `{"wstrace":1,"t0":"2026-01-01T00:00:00Z"}
{"k":"open","t":0,"c":1,"url":"ws://a/one"}
{"k":"frame","t":1,"c":1,"d":">","op":"text","mask":"01020304","text":"a"}
{"k":"open","t":1.5,"c":2,"url":"ws://a/two"}
{"k":"frame","t":2,"c":2,"d":">","op":"text","mask":"01020304","text":"b"}
{"k":"frame","t":3,"c":1,"d":"<","op":"text","text":"c"}
{"k":"frame","t":4,"c":2,"d":"<","op":"text","text":"d"}
{"k":"end","t":5,"c":2,"how":"fin"}
{"k":"frame","t":6,"c":1,"d":"<","op":"text","text":"e"}
{"k":"end","t":7,"c":1,"how":"fin"}
`

// TestOverlap reads sessions that were at the same time back in the order of their times.
func TestOverlap(t *testing.T) {
	text, told := write(t, overlapping, Options{})
	got, err := play(t, text)
	if err != nil {
		t.Fatal(err)
	}
	want, lines := strings.Join(told.lines, "\n"), strings.Join(got.lines, "\n")
	if lines != want {
		t.Errorf("got\n%s\nwant\n%s", lines, want)
	}
	cut, err := play(t, text[:strings.LastIndex(text, `"e"`)])
	if !errors.Is(err, decode.ErrCut) {
		t.Errorf("cut off: got %v", err)
	}
	if lines := strings.Join(cut.lines, "\n"); !strings.Contains(lines, `text "c"`) || !strings.Contains(lines, "#2 00:00:05 end") {
		t.Errorf("cut off: got\n%s", lines)
	}
}

// TestResume goes on behind damage where the next entry can be found.
func TestResume(t *testing.T) {
	text, _ := write(t, overlapping, Options{})
	var indented bytes.Buffer
	if err := json.Indent(&indented, []byte(text), "", "  "); err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string]string{
		"ours":     text,
		"indented": indented.String(),
		"one line": strings.ReplaceAll(text, "\n", ""),
	} {
		for _, damage := range []string{"@", "}", "]", `"`, "[", "{"} { // the last two are noticed at the end of the file
			i := strings.Index(text, `"cache":`)
			broken := text[:i] + damage + text[i:]
			var bad []string
			got := new(story)
			src := Source{R: strings.NewReader(broken), Size: int64(len(broken)), Bad: func(err error) { bad = append(bad, err.Error()) }}
			err := src.Play(t.Context(), got, whole)
			shown := strings.Contains(strings.Join(got.lines, "\n"), `#1 00:00:06 server text "e"`)
			if name == "one line" {
				lost := errors.Is(err, decode.ErrCut) || len(bad) == 1 && strings.Contains(bad[0], "the rest of the file is lost")
				if shown || !lost {
					t.Errorf("%s, %s: got %v, %q, %q", name, damage, err, bad, got.lines)
				}
			} else if err != nil || len(bad) != 1 || !shown {
				t.Errorf("%s, %s: got %v, %q, %q", name, damage, err, bad, got.lines)
			}
		}
	}
}

// A repeating reader gives a text, then another n times, then a third.
type repeating struct {
	first, again, last string
	n                  int
	at                 string
}

func (r *repeating) Read(p []byte) (int, error) {
	for r.at == "" {
		switch {
		case r.first != "":
			r.at, r.first = r.first, ""
		case r.n > 0:
			r.at, r.n = r.again, r.n-1
		case r.last != "":
			r.at, r.last = r.last, ""
		default:
			return 0, io.EOF
		}
	}
	n := copy(p, r.at)
	r.at = r.at[n:]
	return n, nil
}

func tempSpool(t testing.TB) Spool {
	f, err := os.CreateTemp(t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f
}

// heap returns how much memory is in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestMemory plays long files, and writes them: an entry with many messages, whose
// request comes last, one with a long body, and strings that nobody wants.
func TestMemory(t *testing.T) {
	kilo := strings.Repeat("0123456789abcdef", 64)
	mega := strings.Repeat(kilo, 1024)
	for name, r := range map[string]*repeating{
		"messages": {`{"log":{"entries":[{"_webSocketMessages":[{"type":"send","data":"a"}`, `,{"type":"receive","time":1,"opcode":1,"data":"` + kilo + `"}`, `]}]}}`, 60_000, ""},
		"body":     {`{"log":{"entries":[{"request":{"method":"GET","url":"http://a/"},"response":{"status":200,"content":{"text":"`, mega, `"}}}]}}`, 70, ""},
		"message":  {`{"log":{"entries":[{"_webSocketMessages":[{"type":"send","data":"`, mega, `"}]}]}}`, 70, ""},
		"unknown":  {`{"log":{"x":"`, mega, `","entries":[{}]}}`, 70, ""},
		"entries":  {`{"log":{"entries":[{}`, `,{"request":{"method":"GET","url":"http://a/"}}`, `]}}`, 20_000, ""},
	} {
		before, most := heap(), int64(0)
		w := NewWriter(io.Discard, Options{Spool: tempSpool(t)})
		events := 0
		file, err := os.Create(filepath.Join(t.TempDir(), "a.har"))
		if err != nil {
			t.Fatal(err)
		}
		defer file.Close()
		size, err := io.Copy(file, r)
		if err != nil {
			t.Fatal(err)
		}
		src := Source{R: file, Size: size, Spool: tempSpool(t)}
		err = src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
			w.Emit(ev)
			if events++; events%5000 == 0 || ev.Kind == decode.KindClosed && events < 1000 {
				most = max(most, heap())
			}
		}), decode.Look{Messages: true, FactsOnly: true})
		if err != nil || w.Close() != nil {
			t.Errorf("%s: %v, %v", name, err, w.Close())
		}
		limit := int64(40 << 20)
		if name == "message" || name == "body" { // what is held of one
			limit = 2 * maxData
		}
		if used := max(most, heap()) - before; used > limit {
			t.Errorf("%s: %d MiB are in use", name, used>>20)
		}
	}
}

// TestSpool writes and reads sessions that overlap, with hardly any memory.
func TestSpool(t *testing.T) {
	var b strings.Builder
	b.WriteString("{\"wstrace\":1}\n")
	for c := range 20 {
		fmt.Fprintf(&b, `{"k":"open","c":%d}`+"\n", c+1)
	}
	long := strings.Repeat("x", 60_000)
	for i := range 25 {
		for c := range 20 {
			fmt.Fprintf(&b, `{"k":"frame","c":%d,"d":"<","op":"text","text":"%d %d %s"}`+"\n", c+1, c+1, i, long)
		}
	}
	text, told := write(t, b.String(), Options{Spool: tempSpool(t)})
	got := new(story)
	src := Source{R: strings.NewReader(text), Size: int64(len(text)), Spool: tempSpool(t)}
	if err := src.Play(t.Context(), got, whole); err != nil {
		t.Fatal(err)
	}
	for c := range int64(20) {
		if got.of(c+1) != told.of(c+1) {
			t.Errorf("session %d differs", c+1)
		}
	}
	broken := NewWriter(io.Discard, Options{Spool: failing{}})
	trace := trace.Source{R: strings.NewReader(b.String())}
	trace.Play(t.Context(), broken, whole)
	if err := broken.Close(); err != io.ErrNoProgress {
		t.Errorf("got %v of a spool that is full", err)
	}
}

type failing struct{}

func (failing) WriteAt([]byte, int64) (int, error) { return 0, io.ErrNoProgress }
func (failing) ReadAt([]byte, int64) (int, error)  { return 0, io.ErrNoProgress }

// TestCodings writes a body without the coding that its head names, and with any other.
func TestCodings(t *testing.T) {
	look := whole
	look.Unpack = func([]byte, bool) ([]byte, string, bool) { return []byte("unpacked"), "gzip", false }
	for coding, want := range map[string]string{
		`["Content-Encoding","gzip"],`: `"text":"unpacked","_wstrace":{"b64":"H4v/"}`,
		"":                             `"text":"H4v/","encoding":"base64"}`,
	} {
		wst := `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","m":"GET","target":"/a","v":"HTTP/1.1","h":[["Host","a"]]}
{"k":"res","v":"HTTP/1.1","code":200,"reason":"OK","h":[` + coding + `["Content-Length","3"]]}
{"k":"body","d":"<","b64":"H4v/"}
{"k":"done","sent":0,"got":3}
`
		var b bytes.Buffer
		w, told := NewWriter(&b, Options{}), new(story)
		src := trace.Source{R: strings.NewReader(wst)}
		if err := src.Play(t.Context(), &decode.Tee{Sinks: []decode.Sink{w, told}}, look); err != nil || w.Close() != nil {
			t.Fatal(err)
		}
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, b.String())
		}
		if got, err := play(t, b.String()); err != nil || got.of(1) != told.of(1) {
			t.Errorf("%v, got\n%swant\n%s", err, got.of(1), told.of(1))
		}
	}
}

func TestTimes(t *testing.T) {
	for text, want := range map[string]string{
		"1693314200.336985":    "2023-08-29T13:03:20.336985Z",
		"1693314200336.985123": "2023-08-29T13:03:20.336985123Z",
		"1.693314200e9":        "2023-08-29T13:03:20Z",
		"1693314200":           "2023-08-29T13:03:20Z",
		"0.5":                  "1970-01-01T00:00:00.5Z",
	} {
		if got, ok := secondsOrMillis(text, false); !ok || got.UTC().Format(time.RFC3339Nano) != want {
			t.Errorf("%s: got %v, %t", text, got.UTC(), ok)
		}
	}
	for _, text := range []string{"-1", "0", "", "x", "1e300", "1e", "-", "NaN", "Infinity"} {
		if got, ok := secondsOrMillis(text, false); ok {
			t.Errorf("%s: got %v", text, got)
		}
	}
}

// FuzzHAR plays files, and writes what is in them as a HAR that says the same.
func FuzzHAR(f *testing.F) {
	f.Add(chrome)
	ours, _ := write(f, traces(f)["every-event.wst"], Options{})
	f.Add(ours)
	f.Add(`{"log":{"entries":[{"request":{"method":"GET","url":"http://a","postData":{"text":"a"}},"response":{"status":200,"content":{"text":"AA==","encoding":"base64"}}}]}}`)
	f.Fuzz(func(t *testing.T, text string) {
		var b bytes.Buffer
		w := NewWriter(&b, Options{})
		first, _ := play(t, text, w)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		if !json.Valid(b.Bytes()) {
			t.Fatalf("what was written is not JSON: %s", b.Bytes())
		}
		second, err := play(t, b.String())
		if err != nil {
			t.Fatalf("what was written can't be read: %v\n%s", err, b.Bytes())
		}
		messages := func(s *story) (n int) {
			for _, line := range s.lines {
				if strings.Contains(line, " text \"") || strings.Contains(line, " bin \"") {
					n++
				}
			}
			return n
		}
		if a, b := messages(first), messages(second); a != b {
			t.Fatalf("got %d messages, and %d when read again", a, b)
		}
	})
}

const cookieTrace = `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","a"],["Cookie","a=1; b=\"x y\"; c"],["Cookie","d=e=f"]]}
{"k":"res","v":"HTTP/1.1","code":200,"reason":"OK","h":[["Set-Cookie","a=1; Path=/; Domain=b; Expires=Wed, 09 Jun 2027 10:18:14 GMT; HttpOnly; Secure; SameSite=Lax"],["Set-Cookie","b=; expires=never"],["Set-Cookie","no"],["Content-Length","0"]]}
`

// TestCookies writes the cookies of heads.
func TestCookies(t *testing.T) {
	text, _ := write(t, cookieTrace, Options{})
	for _, want := range []string{
		`"cookies":[{"name":"a","value":"1"},{"name":"b","value":"\"x y\""},{"name":"d","value":"e=f"}]`,
		`"cookies":[{"name":"a","value":"1","path":"/","domain":"b","expires":"2027-06-09T10:18:14Z","httpOnly":true,"secure":true},{"name":"b","value":""}]`,
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in\n%s", want, text)
		}
	}
}
