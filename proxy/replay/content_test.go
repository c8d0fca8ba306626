package replay

import (
	"bytes"
	"compress/flate"
	"encoding/base64"
	"fmt"
	"io"
	"runtime"
	"strings"
	"testing"
)

// deflated returns a message that is compressed.
func deflated(text []byte) string {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression)
	w.Write(text)
	w.Flush()
	return base64.StdEncoding.EncodeToString(bytes.TrimSuffix(b.Bytes(), []byte("\x00\x00\xff\xff")))
}

const openDeflate = `{"wstrace":1}
{"k":"open","c":1,"ext":"permessage-deflate; server_no_context_takeover"}
`

// A message that is longer than what is kept is compared to its last byte, however
// it was sent.
func TestLongMessages(t *testing.T) {
	body := bytes.Repeat([]byte("x"), MaxMessage+100)
	other := bytes.Clone(body)
	other[len(other)-1] = 'y'
	longer := append(bytes.Clone(body), 'x')
	whole := func(b []byte) string {
		return open + fmt.Sprintf(`{"k":"frame","d":"<","op":"text","text":"%s"}`, b) + "\n"
	}
	halves := open + fmt.Sprintf(`{"k":"frame","d":"<","op":"text","fin":false,"text":"%s"}
{"k":"frame","d":"<","op":"cont","text":"%s"}
`, body[:99], body[99:])
	packed := func(b []byte) string {
		return openDeflate + fmt.Sprintf(`{"k":"frame","d":"<","op":"text","rsv":4,"b64":"%s"}`, deflated(b)) + "\n"
	}
	for _, c := range []struct {
		name, a, b, want string
	}{
		{"itself", whole(body), whole(body), ""},
		{"in two frames", whole(body), halves, "~"},
		{"compressed", whole(body), packed(body), "~"},
		{"compressed alike", packed(body), packed(body), ""},
		{"last byte", whole(body), whole(other), fmt.Sprintf("which differs behind byte %d; longer than the 8 MiB that are compared by value, so its length and hash are", MaxMessage)},
		{"compressed last byte", packed(body), packed(other), "which differs behind byte"},
		{"one byte more", packed(body), whole(longer), fmt.Sprintf("which has %d bytes, expected %d", len(longer), len(body))},
		{"short", whole(body), whole([]byte("x")), "which has 1 bytes"},
	} {
		var out bytes.Buffer
		differ, err := Diff(&out, loaded(t, c.a), loaded(t, c.b), 0)
		if err != nil || differ != (c.want != "") || !strings.Contains(out.String(), c.want) {
			t.Errorf("%s: differ %t, %v, want %q:\n%s", c.name, differ, err, c.want, out.String())
		}
		if out.Len() > 2000 {
			t.Errorf("%s: %d bytes of diff", c.name, out.Len())
		}
	}
	same := loaded(t, packed(body))
	serr, cerr := both(t, same, loaded(t, packed(body)))
	check(t, serr, "")
	check(t, cerr, "")
	if _, cerr = both(t, same, loaded(t, packed(other))); cerr == nil || !strings.Contains(cerr.Error(), "which differs behind byte") {
		t.Errorf("got %v", cerr)
	}
	serr, _ = both(t, same, loaded(t, whole(body))) // whose client offers no compression
	check(t, serr, "the client takes no compressed messages, and our frame 0 (line 3) is too long to be sent in another form")
}

// Compressed messages that stand for far more than they take are kept in part, and
// compared whole.
func TestInflatedMemory(t *testing.T) {
	zeros := make([]byte, 4<<20)
	bomb := func(last byte) string {
		var b strings.Builder
		b.WriteString(openDeflate)
		line := fmt.Sprintf(`{"k":"frame","d":"<","op":"bin","rsv":4,"b64":"%s"}`, deflated(zeros)) + "\n"
		for range 60 { // 240 MB
			b.WriteString(line)
		}
		end := bytes.Clone(zeros)
		end[len(end)-1] = last
		fmt.Fprintf(&b, `{"k":"frame","d":"<","op":"bin","rsv":4,"b64":"%s"}`, deflated(end))
		return b.String() + "\n"
	}
	a := loaded(t, bomb(0))
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	if m.HeapAlloc > 120<<20 {
		t.Errorf("%d MB are kept", m.HeapAlloc>>20)
	}
	if differ, err := Diff(io.Discard, a, loaded(t, bomb(0)), 0); differ || err != nil {
		t.Errorf("the same differs, %v", err)
	}
	var out bytes.Buffer
	if differ, err := Diff(&out, a, loaded(t, bomb(1)), 0); !differ || err != nil {
		t.Errorf("what differs is the same, %v", err)
	}
	if n := strings.Count(out.String(), "\n"); n > 20 {
		t.Errorf("%d lines of diff:\n%.2000s", n, out.String())
	}
}

// Of messages that can't be inflated, the bytes that came are compared.
func TestDiffUnread(t *testing.T) {
	broken := func(b64 string) string {
		return openDeflate + fmt.Sprintf(`{"k":"frame","d":"<","op":"text","rsv":4,"b64":"%s"}`, b64) + "\n"
	}
	for b, want := range map[string]bool{"////": false, "//7/": true} {
		differ, err := Diff(io.Discard, loaded(t, broken("////")), loaded(t, broken(b)), 0)
		if differ != want || err != nil {
			t.Errorf("%s: %t, %v", b, differ, err)
		}
	}
}

// What came from the wire can't control a terminal.
func TestDiffEscapes(t *testing.T) {
	text := func(x string) string {
		return open[:len(open)-1] + `
{"k":"req","m":"GET\u001b","target":"/\u001b[2J` + x + `","v":"HTTP/1.1","h":[["Upgrade","websocket"],["X\u001b","\u009b` + x + `"]]}
{"k":"res","v":"HTTP/1.1","code":101,"reason":"\u001b]0;x\u0007","h":[["Upgrade","websocket"],["Sec-WebSocket-Protocol","\u001b` + x + `"]]}
{"k":"frame","d":"<","op":"text","re":"\u001b` + x + `","text":"{\"a\":\"\u001b\u202e` + x + ` long enough to be compared by value\"}"}
`
	}
	var out bytes.Buffer
	differ, err := Diff(&out, loaded(t, text("a"), Headers("X\x1b")), loaded(t, text("b"), Headers("X\x1b")), 0)
	if !differ || err != nil {
		t.Fatal(differ, err)
	}
	if strings.ContainsAny(out.String(), "\x1b\x07\u009b\u202e") {
		t.Errorf("%q", out.String())
	}
}

// Records in an order that makes no sense are refused in a sentence.
func TestLoadDisorder(t *testing.T) {
	req := `{"k":"req","m":"GET","target":"/","v":"HTTP/1.1","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]]}` + "\n"
	frame := `{"k":"frame","d":"<","op":"text","text":"a"}` + "\n"
	early := `{"k":"res","raw":"` + base64.StdEncoding.EncodeToString([]byte("HTTP/1.1 101 x\r\nUpgrade: websocket\r\n\r\n\x81\x01a")) + `"}` + "\n"
	for text, want := range map[string]string{
		open + frame + req: "line 4: the handshake comes after frames",
		open + req + req:   "line 4: a second request",
		open + frame + `{"k":"end","how":"fin"}` + "\n" + frame: "line 5: its side has ended before",
		open + frame + `{"k":"end","how":"fin"}` + "\n" + req:   "line 5: its side has ended before",
		open + frame + `{"k":"open","c":1}` + "\n":              "line 4: session 1 is open already",
		open + req + early: "line 4: bytes of frames follow a head in its record",
		open + `{"k":"frame","d":"<","op":"text","text":"a","after":-1}`: "after: -1 is not a number of messages",
	} {
		_, err := Load(Trace(strings.NewReader(text)))
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
		LoadAll(onlySource{Trace(strings.NewReader(text))})
	}
}
