package trace

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// example is a conversation with a bit of everything.
const example = `{"wstrace":1,"t0":"2026-11-21T07:31:41.123456789Z","by":"wstrace 0.3.0"}
{"k":"open","t":0,"c":1,"client":"127.0.0.1:51234","server":"192.0.2.7:443","url":"wss://echo.example/chat"}
{"k":"req","t":0.000412,"c":1,"m":"GET","target":"/chat","v":"HTTP/1.1","h":[["Host","echo.example"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","dGhlIHNhbXBsZSBub25jZQ=="],["Sec-WebSocket-Version","13"],["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"res","t":0.011,"c":1,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"frame","t":0.0203,"c":1,"d":">","op":"text","mask":"37fa213d","text":"Hello"}
{"k":"frame","t":0.0211,"c":1,"d":"<","op":"text","rsv":4,"b64":"8kjNyckHAA==","=text":"Hello"}
{"k":"frame","t":0.0302,"c":1,"d":"<","op":"text","fin":false,"text":"Hel"}
{"k":"frame","t":0.0302,"c":1,"d":"<","op":"ping","text":"hb"}
{"k":"frame","t":0.0303,"c":1,"d":">","op":"pong","mask":"a1b2c3d4","text":"hb"}
{"k":"frame","t":0.0310,"c":1,"d":"<","op":"cont","text":"lo"}
{"k":"frame","t":0.0400,"c":1,"d":">","op":"bin","mask":"00000000","lenc":64,"b64":"AAEC"}
{"k":"frame","t":0.0500,"c":1,"d":">","op":"close","mask":"01020304","code":1000,"reason":"bye"}
{"k":"junk","t":0.0501,"c":1,"d":"<","b64":"iA==","why":"eof inside frame header"}
{"k":"end","t":0.0501,"c":1,"how":"rst"}
`

func TestExample(t *testing.T) {
	for d, want := range [2]string{
		head("GET /chat HTTP/1.1", "Host: echo.example", "Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
			"Sec-WebSocket-Version: 13", "Sec-WebSocket-Extensions: permessage-deflate") +
			"\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58" + frame(0x8a, 0xa1b2c3d4, "hb") +
			"\x82\xff\x00\x00\x00\x00\x00\x00\x00\x03\x00\x00\x00\x00\x00\x01\x02" + frame(0x88, 0x01020304, "\x03\xe8bye"),
		accept("Sec-WebSocket-Extensions: permessage-deflate") + "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00" + "\x01\x03Hel" + "\x89\x02hb" + "\x80\x02lo" + "\x88",
	} {
		got, err := Bytes(NewReader(strings.NewReader(example)), 1, decode.Dir(d))
		if err != nil || string(got) != want {
			t.Errorf("%s: got %q, %v, want %q", decode.Dir(d), got, err, want)
		}
	}
	rec := newTeller()
	var kinds []decode.Kind
	var broken []decode.RuleID
	if err := playAll(strings.NewReader(example), decode.SinkFunc(func(ev *decode.Event) {
		kinds = append(kinds, ev.Kind)
		rec.Emit(ev)
		for _, v := range ev.Violations {
			if v.Severity < decode.SeverityInfo {
				broken = append(broken, v.ID)
			}
		}
	}), thorough()); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(kinds), "[0 1 2 3 11 3 11 3 3 3 3 11 3 11 3 6 9 10]"; got != want {
		t.Errorf("got events %s, want %s", got, want)
	}
	if want := []decode.RuleID{"req-key-weak", "frame-length-not-minimal", "mask-key-zero"}; !slices.Equal(broken, want) {
		t.Errorf("got violations %q, want %q", broken, want)
	}
	replay(t, rec)
}

func TestFixture(t *testing.T) {
	const fixture = `{"wstrace":1}
{"k":"open","c":1}

# server sends an orphan continuation
{"k":"frame","d":"<","op":"cont","text":"lo"}
{"k":"frame","t":1.5,"d":"<","op":"close","hex":"03 e8"}
  # indented
{"k":"note","text":"same time"}
`
	var said []string
	t0 := time.Date(1970, 1, 1, 0, 0, 0, 0, time.Local)
	if err := playAll(strings.NewReader(fixture), decode.SinkFunc(func(ev *decode.Event) {
		s := fmt.Sprintf("%d #%d %v", ev.Kind, ev.Conn, ev.Time.Sub(t0))
		for _, v := range ev.Violations {
			s += " " + string(v.ID)
		}
		said = append(said, s)
	}), decode.Look{}); err != nil {
		t.Fatal(err)
	}
	same(t, "event", said, []string{"0 #1 0s", "3 #1 0s frag-orphan-continuation", "3 #1 1.5s", "8 #1 1.5s"})
	b, err := Bytes(NewReader(strings.NewReader(fixture)), 1, server)
	if want := "\x80\x02lo\x88\x02\x03\xe8"; err != nil || string(b) != want {
		t.Errorf("got %q, %v, want %q", b, err, want)
	}
}

// TestCutFile cuts a trace off at every byte, as a crash may.
func TestCutFile(t *testing.T) {
	whole := strings.SplitAfter(example, "\n")
	for at := range len(example) {
		n := strings.Count(example[:at], "\n")
		rest := at - len(strings.Join(whole[:n], ""))
		want := n
		if rest == len(whole[n])-1 { // only its line end is missing
			want++
		}
		r := NewReader(iotest.HalfReader(strings.NewReader(example[:at])))
		got := 0
		for {
			rec, err := r.Next()
			if err == io.EOF {
				break
			}
			if err != nil {
				t.Fatalf("cut at %d: %v", at, err)
			}
			if got++; rec.Line != got {
				t.Fatalf("cut at %d: got line %d, want %d", at, rec.Line, got)
			}
		}
		if got != want {
			t.Fatalf("cut at %d: got %d records, want %d", at, got, want)
		}
		if w := r.Warning(); rest == 0 && w != nil {
			t.Errorf("cut at %d: got warning %v", at, w)
		} else if want := fmt.Sprintf("line %d: the file is cut off here", n+1); rest > 0 && (!errors.Is(w, ErrCut) || w.Error() != want) {
			t.Errorf("cut at %d: got warning %v, want %s", at, w, want)
		}
		if err := playAll(strings.NewReader(example[:at]), decode.SinkFunc(func(*decode.Event) {}), decode.Look{}); (err == nil) != (rest == 0) ||
			rest > 0 && err.Error() != r.Warning().Error() {
			t.Errorf("cut at %d: play: got %v, want %v", at, err, r.Warning())
		}
	}
}

func TestReaderErrors(t *testing.T) {
	const header = `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n"
	frame := `{"k":"frame","d":"<","op":"text","len":9,"text":"Hello"}` + "\n"
	for _, test := range []struct{ trace, want string }{
		{"GIF89a\n", "line 1: not a JSON object"},
		{"\n# x\nnonsense\n", "line 3: not a JSON object"},
		{header + `{"k":"open"}` + "\n", "line 3: open has no c"},
		{header + `{"wstrace":1}` + "\n" + `{"k":"end","c":9223372036854775807}` + "\n", "line 4: c: is too big"},
		{header + `{"k":"open","c":1}` + "\n", "line 3: session 1: is open already"},
		{header + `{"k":"open","c":2,"tls":{"client":"1.3"}}` + "\n", "line 3: session 2: tls says nothing about client and server"},
		{header + `{"k":"end","c":2}` + "\n", "line 3: session 2: end, but the session is not open"},
		{`{"wstrace":1}` + "\n" + `{"k":"end"}` + "\n", "line 2: session 0: end, but the session is not open"},
		{header + `{"k":"frame","d":"<","op":"text","deflate":"x"}` + "\n", "line 3: session 1: deflate stands for no bytes yet, freeze the trace first"},
		{header + frame + frame, "line 4: session 1: frame from the server before its last one is complete, 4 bytes are missing"},
		{header + frame + `{"k":"more","d":"<","text":", you"}` + "\n", "line 4: session 1: 5 more bytes from the server for a frame that needs 4"},
		{header + `{"k":"more","d":"<","text":"x"}` + "\n", "line 3: session 1: 1 more bytes from the server for a frame that needs 0"},
	} {
		err := playAll(strings.NewReader(test.trace), decode.SinkFunc(func(*decode.Event) {}), decode.Look{})
		if err == nil || err.Error() != test.want {
			t.Errorf("%q: got %v, want %s", test.trace, err, test.want)
		}
	}
	for _, fine := range []string{
		"", "\n", "\ufeff" + header, header + "# no line end",
		header + frame + `{"k":"frame","d":">","op":"text"}` + "\n", // the other direction
		header + frame + `{"k":"gap","d":"<","n":4}` + "\n" + frame,
		header + frame + `{"k":"junk","d":"<","hex":"01 02 03 04"}` + "\n" + frame,
		header + `{"k":"frame","d":"<","op":"text","text":"x","leg":"out"}` + "\n" + `{"k":"new","x":1}` + "\n",
	} {
		if err := playAll(strings.NewReader(fine), decode.SinkFunc(func(*decode.Event) {}), decode.Look{}); err != nil {
			t.Errorf("%q: got %v", fine, err)
		}
	}
}

func TestKeepGoing(t *testing.T) {
	const trace = `{"wstrace":1}
{"k":"open","c":1}
nonsense
{"k":"frame","d":"<","op":"text","text":"a"}
{"k":"more","d":"<","text":"x"}
{"k":"frame","d":"<","op":"text","text":"b"}
{"k":"fra`
	var bad, text []string
	src := Source{R: strings.NewReader(trace), Bad: func(err error) { bad = append(bad, err.Error()) }}
	if err := src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
		if ev.Frame != nil {
			text = append(text, string(ev.Frame.AppendPayload(nil, -1)))
		}
	}), decode.Look{}); !errors.Is(err, decode.ErrCut) || err.Error() != "line 7: the file is cut off here" {
		t.Errorf("got %v, want that line 7 is cut off", err)
	}
	same(t, "error", bad, []string{"line 3: not a JSON object", "line 5: session 1: 1 more bytes from the server for a frame that needs 0"})
	same(t, "text", text, []string{"a", "b"})
	// Without Bad, Next can be called again.
	r := NewReader(strings.NewReader(trace))
	var got []string
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, rec.Kind)
		}
	}
	same(t, "record", got, []string{"", "open", "line 3: not a JSON object", "frame", "more", "frame"})
}

func TestSecondRecording(t *testing.T) {
	const trace = `{"wstrace":1,"t0":"2026-11-21T07:00:00Z"}
{"k":"open","t":1,"c":1}
{"k":"open","c":7}
{"k":"frame","d":"<","op":"text","len":5,"text":"a"}
{"wstrace":1,"t0":"2026-11-22T07:00:00Z"}
{"k":"note","text":"no time, no session"}
{"k":"open","c":1}
{"k":"frame","t":2,"d":"<","op":"text","text":"b"}
{"wstrace":1}
{"k":"open","c":1}
`
	var got []string
	if err := playAll(strings.NewReader(trace), decode.SinkFunc(func(ev *decode.Event) {
		got = append(got, fmt.Sprintf("%d #%d %s", ev.Kind, ev.Conn, ev.Time.UTC().Format(time.RFC3339)))
	}), decode.Look{}); err != nil {
		t.Fatal(err)
	}
	same(t, "event", got, []string{
		"0 #1 2026-11-21T07:00:01Z", "0 #7 2026-11-21T07:00:01Z", "3 #7 2026-11-21T07:00:01Z",
		"8 #0 2026-11-22T07:00:00Z", "0 #8 2026-11-22T07:00:00Z", "3 #8 2026-11-22T07:00:02Z",
		"0 #9 " + time.Date(1970, 1, 1, 0, 0, 0, 0, time.Local).UTC().Format(time.RFC3339)})
}

// repeat reads b over and over, n bytes in all.
type repeat struct {
	b string
	n int
}

func (r *repeat) Read(p []byte) (int, error) {
	if r.n == 0 {
		return 0, io.EOF
	}
	n := min(len(p), r.n, len(r.b))
	copy(p[:n], r.b)
	r.n -= n
	return n, nil
}

func TestLongLines(t *testing.T) {
	long := strings.Repeat("long", 1<<20)
	header := `{"wstrace":1}` + "\n"
	r := NewReader(strings.NewReader(header + `{"k":"note","text":"` + long + `"}` + "\n"))
	r.Next()
	if rec, err := r.Next(); err != nil || rec.Text != long {
		t.Errorf("a line of 4 MiB: %v", err)
	}
	const max = 1 << 20
	spaces := strings.Repeat(" ", 1000)
	r = NewReader(io.MultiReader(strings.NewReader(header), &repeat{spaces, max + 1}, strings.NewReader("\n"+header),
		&repeat{spaces, max - len(header)}, strings.NewReader(header), &repeat{spaces, max + 1}))
	r.lines.max = max
	var got []string
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			got = append(got, err.Error())
		} else {
			got = append(got, fmt.Sprint("header in line ", rec.Line))
		}
	}
	same(t, "result", got, []string{"header in line 1", "line 2: longer than 64 MiB", "header in line 3", "header in line 4"})
	if w := r.Warning(); w == nil || w.Error() != "line 5: the file is cut off here" {
		t.Errorf("got warning %v", w)
	}
}

func TestReadErrors(t *testing.T) {
	r := NewReader(io.MultiReader(strings.NewReader(example[:100]), iotest.ErrReader(os.ErrClosed)))
	r.Next()
	if _, err := r.Next(); !errors.Is(err, os.ErrClosed) || err.Error() != "line 2: file already closed" {
		t.Errorf("got %v, want line 2: file already closed", err)
	}
	// What is left of a compressed file after a crash.
	r = NewReader(io.MultiReader(strings.NewReader(example), iotest.ErrReader(io.ErrUnexpectedEOF)))
	n := 0
	for {
		if _, err := r.Next(); err == io.EOF {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		n++
	}
	if n != 14 || !errors.Is(r.Warning(), ErrCut) {
		t.Errorf("got %d records and warning %v, want 14 and %v", n, r.Warning(), ErrCut)
	}
}

func TestBytesErrors(t *testing.T) {
	const header = `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" + `{"k":"frame","d":"<","op":"text","text":"x"}` + "\n"
	for _, test := range []struct{ line, want string }{
		{`{"k":"new"}`, `line 4: kind "new" is not known`},
		{`{"k":"gap","d":"<","n":7}`, "line 4: 7 bytes are lost"},
		{`{"k":"message","d":"<"}`, "line 4: a message in place of its frames"},
		{`{"k":"frame","d":"<","op":"text","len":9,"cut":true}`, "line 4: the payload was cut when it was written"},
		{`{"k":"frame","d":"<","op":"text","deflate":"x"}`, "line 4: deflate stands for no bytes yet, freeze the trace first"},
		{`{"k":"res","v":"HTTP/1.1","code":403,"blen":5,"body":"AA=="}`, "line 4: 4 bytes of the body were not recorded"},
		{`{"k":"x-mine"}`, ""}, {`{"k":"note"}`, ""}, {`{"k":"violation"}`, ""}, {`{"k":"closed"}`, ""}, {`{"k":"sum"}`, ""},
		{`{"k":"gap","d":">","n":7}`, ""},
		{`{"k":"frame","d":"<","op":"text","text":"y","leg":"out"}`, ""},
		{`{"k":"frame","d":"<","op":"text","text":"y","fx":"inject"}`, ""},
		{`{"k":"new","c":2}`, ""},
	} {
		b, err := Bytes(NewReader(strings.NewReader(header+test.line+"\n")), 1, server)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != test.want || test.want == "" && string(b) != "\x81\x01x" {
			t.Errorf("%s: got %q, error %q, want error %q", test.line, b, got, test.want)
		}
	}
}

// Lines that grow, behind a comment, do not run into those that follow.
func TestFormatGrows(t *testing.T) {
	const n = 100
	in := "{\"wstrace\":1}\n#\n"
	want := in
	for range n {
		in += `{"k":"note","text":"` + strings.Repeat("\u0085", 20) + `"}` + "\n"
		want += `{"k":"note","text":"` + strings.Repeat(`\u0085`, 20) + `"}` + "\n"
	}
	var out bytes.Buffer
	if err := Format(&out, strings.NewReader(in)); err != nil || out.String() != want {
		t.Errorf("got %v and %d bytes, want %d", err, out.Len(), len(want))
	}
}

func TestFormat(t *testing.T) {
	const in = "\ufeff  # a comment \t\r\n" + `{"by":"me","wstrace":1}` + "\r\n\n \n" +
		`{"c":1,"k":"open","mine": {"a": 1} }` + "\n" +
		`{"op":"text","k":"frame","d":"<","fin":true,"text":"\u0041\u2028","=x":1}` + "\n" +
		`{"k":"later","z":1,"a":2}` // no line end
	const want = "  # a comment\n" + `{"wstrace":1,"by":"me"}` + "\n\n\n" +
		`{"k":"open","c":1,"mine":{"a":1}}` + "\n" +
		`{"k":"frame","d":"<","op":"text","text":"A\u2028","=x":1}` + "\n" +
		`{"k":"later","z":1,"a":2}` + "\n"
	var out, again bytes.Buffer
	if err := Format(&out, strings.NewReader(in)); !errors.Is(err, ErrCut) || out.String() != want {
		t.Errorf("got %v\n%s\nwant %v\n%s", err, out.String(), ErrCut, want)
	}
	if err := Format(&again, bytes.NewReader(out.Bytes())); err != nil || again.String() != want {
		t.Errorf("a second time: got %v\n%s", err, again.String())
	}
	out.Reset()
	if err := Format(&out, strings.NewReader(want+`{"k":"no`)); !errors.Is(err, ErrCut) || out.String() != want {
		t.Errorf("cut off: got %v\n%s", err, out.String())
	}
	out.Reset()
	if err := Format(&out, strings.NewReader("\n{\"k\":1}\n")); err == nil || err.Error() != "line 2: k: 1 is not a string" {
		t.Errorf("got %v", err)
	}
	if err := Format(&countWriter{err: os.ErrClosed}, strings.NewReader(want)); err != os.ErrClosed {
		t.Errorf("got %v, want %v", err, os.ErrClosed)
	}
}

// TestPlayLocks checks that a Tee is locked once around the events of a record.
func TestPlayLocks(t *testing.T) {
	tee := &lockSink{t: t}
	if err := playAll(strings.NewReader(example), tee, decode.Look{}); err != nil {
		t.Fatal(err)
	}
	if tee.events != 14 || tee.locks < 10 || tee.locked {
		t.Errorf("got %d events, %d locks, locked %v", tee.events, tee.locks, tee.locked)
	}
}

type lockSink struct {
	t             *testing.T
	locked        bool
	locks, events int
}

func (l *lockSink) Lock()   { l.locked = true; l.locks++ }
func (l *lockSink) Unlock() { l.locked = false }
func (l *lockSink) Emit(*decode.Event) {
	if l.events++; !l.locked {
		l.t.Error("an event without the lock")
	}
}
