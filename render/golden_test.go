package render

import (
	"encoding/binary"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

var update = flag.Bool("update", false, "rewrite the golden files")

func TestMain(m *testing.M) {
	time.Local = time.UTC
	os.Exit(m.Run())
}

// A talk is a session and the time, which stands still.
type talk struct {
	decode.Session
	now time.Time
}

func open(sink decode.Sink, info decode.Info) *talk {
	c := &talk{Session: decode.Session{Sink: sink, Look: decode.Look{Messages: true}}, now: time.Date(2012, 6, 27, 0, 0, 0, 0, time.UTC)}
	info.Time = c.now
	c.Open(info)
	return c
}

// upgraded opens a session whose handshake is not to be seen.
func upgraded(sink decode.Sink, info decode.Info) *talk {
	c := open(sink, info)
	c.Upgraded()
	return c
}

func (c *talk) client(b string) { c.Data(decode.FromClient, c.now, []byte(b)) }
func (c *talk) server(b string) { c.Data(decode.FromServer, c.now, []byte(b)) }

// head writes an HTTP head.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

// frame writes a frame of a server; flags is its first byte.
func frame(flags byte, payload string) string {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Length: int64(len(payload))}
	return header(h) + payload
}

// masked writes a frame of a client with the given key.
func masked(flags byte, key uint32, payload string) string {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Length: int64(len(payload)), Masked: true}
	binary.BigEndian.PutUint32(h.Mask[:], key)
	b := []byte(payload)
	ws.Cipher(b, h.Mask, 0)
	return header(h) + string(b)
}

func header(h ws.Header) string {
	var b strings.Builder
	if err := ws.WriteHeader(&b, h); err != nil {
		panic(err)
	}
	return b.String()
}

// play shows a trace to sink.
func play(t *testing.T, name string, sink decode.Sink) {
	t.Helper()
	playWith(t, name, sink, decode.Look{Messages: true})
}

func playWith(t *testing.T, name string, sink decode.Sink, look decode.Look) {
	t.Helper()
	f, err := os.Open(filepath.Join("..", "testdata", "traces", name+".wst"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	src := trace.Source{R: f}
	if err := src.Play(t.Context(), sink, look); err != nil {
		t.Fatal(err)
	}
}

// show returns a trace in a form.
func show(t *testing.T, name, form string, o Options) string {
	t.Helper()
	var b strings.Builder
	play(t, name, newForm(form, &b, o))
	return b.String()
}

func TestEveryEvent(t *testing.T) {
	for _, form := range forms {
		t.Run(form, func(t *testing.T) {
			golden(t, form+".golden", show(t, "every-event", form, Options{Preview: 80}))
		})
	}
}

// TestReport has what is wrong in a trace.
func TestReport(t *testing.T) {
	var b strings.Builder
	r := NewReport(&b, Options{}, decode.SeverityInfo)
	playWith(t, "every-event", r, checked())
	r.End()
	golden(t, "report.golden", b.String())
	checkColumns(t, b.String())
	if r.Errors() == 0 {
		t.Error("got no errors")
	}
	b.Reset()
	r = NewReport(&b, Options{}, decode.SeverityError)
	playWith(t, "every-event", r, checked())
	r.End()
	if got := b.String(); strings.Contains(got, "  info ") || strings.Contains(got, "  warning ") || !strings.Contains(got, "  error ") {
		t.Errorf("got\n%s\nwant errors only", got)
	}
}

// checked has sessions look for everything.
func checked() decode.Look {
	return decode.Look{Messages: true, Advice: true, Seen: new(decode.Seen)}
}

// TestMessages has a line a message and a body, and compressed text on final frames.
func TestMessages(t *testing.T) {
	for _, form := range forms {
		var b strings.Builder
		playWith(t, "every-event", newForm(form, &b, Options{Preview: 80, Messages: true}), decode.Look{Messages: true, Bodies: 1 << 20, WholeBodies: true})
		golden(t, form+"-messages.golden", b.String())
	}
}

// TestFiddler2012 has what Fiddler logged of a chat in 2012, but for a segment
// that holds two frames, of which Fiddler showed one.
func TestFiddler2012(t *testing.T) {
	golden(t, "fiddler-2012.golden", show(t, "fiddler-2012", "fiddler", Options{Preview: 80}))
}

// golden compares text with a file, or rewrites it.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	wantLines := strings.SplitAfter(string(want), "\n")
	for i, line := range strings.SplitAfter(got, "\n") {
		if i >= len(wantLines) || line != wantLines[i] {
			t.Fatalf("%s, line %d: got\n%swant\n%s", name, i+1, line, strings.Join(wantLines[min(i, len(wantLines)):min(i+1, len(wantLines))], ""))
		}
	}
	if got != string(want) {
		t.Fatalf("%s: got %d bytes, want %d", name, len(got), len(want))
	}
}
