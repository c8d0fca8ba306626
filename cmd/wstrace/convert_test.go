package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/rogpeppe/go-internal/txtar"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// TestConvertTraces makes traces of those of testdata, whose lines are the same.
func TestConvertTraces(t *testing.T) {
	names, _ := filepath.Glob("../../testdata/traces/*.wst")
	if len(names) == 0 {
		t.Fatal("no traces")
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want, got bytes.Buffer
		if err := trace.Format(&want, bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		for _, all := range []bool{true, false} {
			in, err := source.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			c := conversion{}
			if !all {
				c.sessions = sessionsFlag{}
				for n := range int64(1000) {
					c.sessions = append(c.sessions, n+1)
				}
			}
			got.Reset()
			if err := c.copy(&got, in); err != nil || got.String() != want.String() {
				t.Errorf("%s, all %t: %v, and the lines differ", name, all, err)
			}
			in.Close()
		}
	}
}

// awkward are traces with all that is hard to keep, by name.
var awkward = map[string]string{
	"context takeover": `{"wstrace":1,"t0":"2026-01-01T00:00:00Z"}
{"k":"open","t":0,"c":1,"client":"127.0.0.1:50000","server":"127.0.0.1:80","url":"ws://a/chat"}
{"k":"req","t":0,"c":1,"m":"GET","target":"/chat","v":"HTTP/1.1","h":[["Host","a"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","dGhlIHNhbXBsZSBub25jZQ=="],["Sec-WebSocket-Version","13"],["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"res","t":0.1,"c":1,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","s3pPLMBiTxaQ9kYGzzhZRbK+xOo="],["Sec-WebSocket-Extensions","permessage-deflate"]]}
{"k":"frame","t":0.2,"c":1,"d":"<","op":"text","rsv":4,"hex":"f2 48 cd c9 c9 07 00"}
{"k":"frame","t":0.3,"c":1,"d":"<","op":"text","rsv":4,"hex":"f2 00 11 00 00"}
{"k":"frame","t":0.4,"c":1,"d":">","op":"text","fin":false,"rsv":4,"mask":"01020304","hex":"f2 48"}
{"k":"frame","t":0.5,"c":1,"d":"<","op":"ping","text":"between"}
{"k":"frame","t":0.5,"c":1,"d":">","op":"ping","mask":"05060708","text":""}
{"k":"frame","t":0.6,"c":1,"d":">","op":"cont","mask":"090a0b0c","hex":"cd c9 c9 07 00"}
{"k":"frame","t":0.7,"c":1,"d":">","op":"pong","mask":"01010101","text":"between"}
{"k":"frame","t":0.8,"c":1,"d":">","op":"text","mask":"01010101","text":""}
{"k":"frame","t":0.9,"c":1,"d":"<","op":"bin","hex":""}
{"k":"frame","t":1,"c":1,"d":"<","op":"text","hex":"ff fe"}
{"k":"frame","t":1.1,"c":1,"d":">","op":"close","mask":"01010101","code":1000,"reason":"done"}
{"k":"frame","t":1.2,"c":1,"d":"<","op":"close","code":1000,"reason":"done"}
{"k":"end","t":1.3,"c":1,"d":"<","how":"fin"}
{"k":"end","t":1.4,"c":1,"d":">","how":"rst","err":"connection reset by peer"}
`,
	"HTTP": `{"wstrace":1,"t0":"2026-01-01T00:00:00.123456789Z"}
{"k":"open","t":0,"c":1,"client":"127.0.0.1:50000","server":"127.0.0.1:80","url":"http://a/x?q=%20"}
{"k":"open","t":0.05,"c":2,"client":"127.0.0.1:50001","server":"127.0.0.1:80","url":"ws://a/no"}
{"k":"req","t":0.1,"c":1,"m":"POST","target":"/x?q=%20","v":"HTTP/1.1","h":[["Host","a"],["Content-Type","application/octet-stream"],["Content-Length","4"],["X","1"],["x","2"]]}
{"k":"body","t":0.15,"c":1,"d":">","b64":"AAH//w=="}
{"k":"res","t":0.17,"c":1,"v":"HTTP/1.1","code":103,"reason":"Early Hints","h":[["Link","</a>"]]}
{"k":"res","t":0.2,"c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Type","text/plain"],["Content-Encoding","gzip"],["Transfer-Encoding","chunked"]]}
{"k":"body","t":0.25,"c":1,"d":"<","b64":"H4sIAAAAAAAA/8tIzcnJBwCGphA2BQAAAA==","last":true}
{"k":"done","t":0.3,"c":1,"sent":4,"got":25}
{"k":"req","t":0.16,"c":2,"m":"GET","target":"/no","v":"HTTP/1.1","h":[["Host","a"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","dGhlIHNhbXBsZSBub25jZQ=="],["Sec-WebSocket-Version","13"]]}
{"k":"res","t":0.4,"c":2,"v":"HTTP/1.1","code":403,"reason":"Forbidden","h":[["Content-Length","2"]]}
{"k":"body","t":0.5,"c":2,"d":"<","text":"no"}
{"k":"done","t":0.5,"c":2,"sent":0,"got":2}
`,
	"a cut end": `{"wstrace":1,"t0":"2026-01-01T00:00:00Z"}
{"k":"open","t":0,"c":1,"url":"ws://a/"}
{"k":"open","t":0,"c":2,"url":"ws://b/"}
{"k":"frame","t":1,"c":2,"d":"<","op":"text","text":"two"}
{"k":"frame","t":2,"c":1,"d":">","op":"bin","mask":"01020304","hex":"00 01"}
{"k":"frame","t":3,"c":2,"d":">","op":"text","mask":"00000000","text":"deux"}
{"k":"frame","t":4,"c":1,"d":">","op":"text","fin":false,"mask":"01020304","text":"never fin"}
{"k":"frame","t":5,"c":2,"d":"<","op":"text","fin":false,"text":"never "}
`,
	"no time of day": `{"wstrace":1}
{"k":"open","c":1,"url":"ws://a/"}
{"k":"frame","d":"<","op":"text","text":"one"}
{"k":"frame","t":1.5,"d":">","op":"text","text":"two"}
{"k":"end","t":2,"how":"fin"}
`,
	"messages": `{"wstrace":1,"t0":"2026-01-01T00:00:00Z"}
{"k":"open","t":0,"c":1,"url":"ws://a/","via":"har","messages":true}
{"k":"message","t":1,"c":1,"d":">","op":"text","text":"one"}
{"k":"message","t":2,"c":1,"d":"<","op":"bin","b64":"AP8="}
{"k":"message","t":3,"c":1,"d":"<","op":"close","b64":"A+lieWU="}
`,
}

// A tale is what events tell, by session, in lines that begin with what they are about.
type tale map[int64][]string

func (s tale) Emit(ev *decode.Event) {
	if ev.Out {
		return
	}
	add := func(format string, args ...any) {
		line := fmt.Sprintf(format, args...)
		if ev.Kind != decode.KindBody { // which formats have at other times
			line += " at " + ev.Time.UTC().Format("15:04:05.000000")
		}
		s[ev.Conn] = append(s[ev.Conn], line)
	}
	switch m := ev.Message; {
	case ev.Kind == decode.KindRequest:
		r := ev.Handshake.Request
		add("head %s %s %q", r.Method, r.Target, r.Fields)
	case ev.Kind == decode.KindResponse:
		kind := "head"
		if st := ev.Head.Status; st >= 100 && st < 200 && st != 101 {
			kind = "interim"
		}
		add("%s %d %s %q", kind, ev.Head.Status, ev.Head.Reason, ev.Head.Fields)
	case ev.Body != nil && ev.Body.Cut: // formats differ in what they say of the rest
	case ev.Body != nil:
		add("body %s %d %q", ev.Body.Dir, ev.Body.Len, ev.Body.Data)
	case ev.Kind == decode.KindNotice && strings.HasSuffix(ev.Text, "left out"): // of a HAR
	case ev.Kind == decode.KindNotice:
		add("note %s", ev.Text)
	case ev.Kind == decode.KindJunk:
		add("junk %s %x", ev.Dir, ev.Data)
	case ev.Kind == decode.KindEnd:
		add("end %s %t %s %q", ev.Dir, ev.Both, ev.How, ev.Text)
	case ev.Kind == decode.KindFrame:
		f := ev.Frame
		data := f.AppendPayload(nil, -1)
		add("frame %s %d %t %d %t %x %d %q", f.Dir, f.OpCode, f.Fin, f.Rsv, f.Masked, f.Mask, f.Length, data)
		switch {
		case f.OpCode > ws.OpBinary:
			add("control %s %d %q", f.Dir, f.OpCode, data)
		case m != nil && !m.Unread:
			add("message %s %d %q", m.Dir, m.Op, m.Data)
		}
	case m != nil && m.Frames == 0 && m.Op > ws.OpBinary:
		add("frameless control %s %d %q", m.Dir, m.Op, m.Data)
	case m != nil && m.Frames == 0 && !m.Unread && !m.Unfinished && !m.Cut:
		add("frameless message %s %d %q", m.Dir, m.Op, m.Data)
	}
}

// of returns the lines about such things, session by session, that are in a file of such
// a format. A capture of few frames does not say that they are frames.
func (s tale) of(kinds []string, format string) string {
	var b strings.Builder
	n := 0 // of sessions that have any
	for _, conn := range slices.Sorted(maps.Keys(s)) {
		headed := func(line string) bool { return strings.HasPrefix(line, "head ") }
		if format == "pcapng" && !slices.ContainsFunc(s[conn], headed) {
			continue
		}
		begun := b.Len()
		for _, line := range s[conn] {
			if kind, _, _ := strings.Cut(line, " "); slices.Contains(kinds, kind) {
				fmt.Fprintf(&b, "%d %s\n", n+1, strings.TrimPrefix(line, "frameless "))
			}
		}
		if b.Len() > begun {
			n++
		}
	}
	return b.String()
}

// holds says what formats have a place for, with its time: an archive of Fiddler has
// remarks without.
var holds = map[string][]string{
	"wst":    {"head", "interim", "body", "note", "junk", "end", "frame", "control", "message", "frameless"},
	"har":    {"head", "body", "note", "end", "control", "message", "frameless"},
	"pcapng": {"head", "interim", "body", "junk", "frame", "control", "message"},
	"saz":    {"head", "body", "junk", "frame", "control", "message", "frameless"},
	"flow":   {"head", "body", "note", "control", "message", "frameless"},
}

// convertBytes makes a file of another, and returns what the latter tells.
func convertBytes(t *testing.T, name string, text []byte, to string) ([]byte, tale) {
	t.Helper()
	made, told, _ := convertTelling(t, name, text, to)
	return made, told
}

// convertTelling is convertBytes, and returns what stderr would say of what is left out.
func convertTelling(t *testing.T, name string, text []byte, to string) ([]byte, tale, string) {
	t.Helper()
	i := slices.IndexFunc(outFormats, func(f outFormat) bool { return f.name == to })
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	told := tale{}
	in, err := source.Open(path)
	if err == source.ErrEmpty {
		return nil, told, ""
	}
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := in.Play(t.Context(), told, convertLook()); err != nil && !errors.Is(err, decode.ErrCut) {
		t.Fatalf("%s: %v", name, err)
	}
	again, err := source.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	c := conversion{con: &console{w: io.Discard}, in: path, out: outFile{outFormat: &outFormats[i], name: "-"}}
	c.options.spool = new(file.Spool)
	defer c.options.spool.Close()
	var made bytes.Buffer
	left := leftOut{format: &outFormats[i]}
	if err := c.play(t.Context(), again, &made, &left); err != nil && !errors.Is(err, decode.ErrCut) {
		t.Fatalf("%s to %s: %v", name, to, err)
	}
	var said bytes.Buffer
	left.tell(&console{w: &said})
	return made.Bytes(), told, said.String()
}

// TestConvertThereAndBack makes files of one format of those of another, and these again
// of them: what both can hold is the same.
func TestConvertThereAndBack(t *testing.T) {
	type input struct {
		format string
		text   []byte
	}
	files := map[string]input{}
	for name, text := range awkward {
		files[name] = input{"wst", []byte(text)}
	}
	names, _ := filepath.Glob("../../testdata/traces/*.wst")
	for _, name := range names {
		files[filepath.Base(name)] = input{"wst", plainSessions(t, name)}
	}
	script, err := txtar.ParseFile("../../testdata/scripts/convert_saz.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range script.Files {
		if f.Name == "chat.flow" {
			files["mitmproxy"] = input{"flow", bytes.TrimSuffix(f.Data, []byte("\n"))}
		}
	}
	if len(files) < len(awkward)+2 {
		t.Fatal("files are missing")
	}
	for name, f := range files {
		for _, a := range outFormats {
			t.Run(name+", "+a.name, func(t *testing.T) {
				first, told := convertBytes(t, "in."+f.format, f.text, a.name)
				for _, b := range outFormats {
					second, toldFirst := convertBytes(t, "first."+a.name, first, b.name)
					_, toldBack := convertBytes(t, "second."+b.name, second, a.name)
					inFirst := both(holds[f.format], holds[a.name])
					if got, want := toldFirst.of(inFirst, a.name), told.of(inFirst, a.name); got != want {
						t.Fatalf("%s:\n%s", a.name, unlike(want, got))
					}
					inBoth := both(holds[a.name], holds[b.name])
					if a.name == "pcapng" && b.name == "har" { // whose messages have no frames
						inBoth = []string{"head", "body"}
					}
					if got, want := toldBack.of(inBoth, b.name), toldFirst.of(inBoth, b.name); got != want {
						t.Errorf("to %s and back:\n%s", b.name, unlike(want, got))
					}
				}
			})
		}
	}
}

// TestConvertTells converts what a format has no place for: that is told, and what it has
// a place for is not.
func TestConvertTells(t *testing.T) {
	const (
		begun    = `{"wstrace":1,"t0":"2026-01-01T00:00:00Z"}` + "\n" + `{"k":"open","t":0,"c":1,"url":"ws://a/"}` + "\n"
		request  = `{"k":"req","t":0,"c":1,"m":"GET","target":"/","v":"HTTP/1.1","h":[["Host","a"]]}` + "\n"
		response = `{"k":"res","t":1,"c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Content-Length","0"]]}` + "\n"
		frame    = `{"k":"frame","t":1,"c":1,"d":"<","op":"text","text":"a"}` + "\n"
		second   = `{"k":"open","t":2,"c":2,"url":"ws://a/"}` + "\n" + `{"k":"frame","t":2,"c":2,"d":"<","op":"text","text":"a"}` + "\n"
		frames   = "the frames of 1 session, whose messages are in it"
		none     = "" // nothing is said
	)
	for _, test := range []struct{ name, text, har, pcapng, saz string }{
		{"nothing", begun + request + response, none, none, none},
		{"frames", begun + frame + frame, frames, none, none},
		{"frames of two sessions", begun + frame + second, "the frames of 2 sessions, whose messages are in it", none, none},
		{"control frames, remarks and ends", begun + frame + `{"k":"frame","t":2,"c":1,"d":"<","op":"ping"}
{"k":"note","t":2,"c":1,"text":"a remark"}
{"k":"end","t":3,"c":1,"how":"rst","err":"reset"}
`, frames, none, none},
		{"messages", strings.Replace(begun, `"url"`, `"messages":true,"url"`, 1) + `{"k":"message","t":1,"c":1,"d":"<","op":"text","text":"a"}
{"k":"message","t":1,"c":1,"d":"<","op":"ping"}
`, none, "2 messages without frames", none},
		{"HTTP/2", begun + strings.Replace(request, "HTTP/1.1", "HTTP/2", 1) + strings.Replace(response, "HTTP/1.1", "HTTP/2", 1), none, "1 exchange of HTTP/2", none},
		{"a tunnel", begun + `{"k":"opaque","t":1,"c":1,"d":">","why":"not HTTP"}
{"k":"opaque","t":1,"c":1,"d":"<","why":"not HTTP"}
`, "1 tunnel", none, "1 tunnel"},
		{"an interim response", begun + request + strings.Replace(response, `"code":200,"reason":"OK","h":[["Content-Length","0"]]`, `"code":103,"reason":"Early Hints"`, 1) + response,
			"1 interim response", none, "1 interim response"},
		{"junk", begun + frame + `{"k":"junk","t":2,"c":1,"d":"<","b64":"gf///////////2FiY2RhYmM="}` + "\n", frames + "; junk in 1 place", none, none},
		{"a gap", begun + frame + `{"k":"gap","t":2,"c":1,"d":"<","n":5}` + "\n", frames + "; 1 gap", none, "1 gap"},
		{"a frame that was changed", begun + strings.Replace(frame, `"op"`, `"fx":"replace","op"`, 1) + strings.Replace(frame, `"op"`, `"leg":"out","op"`, 1),
			frames + "; what was changed in 1 session", none, "what was changed in 1 session"},
		{"a head that was changed", begun + strings.Replace(request, `"m"`, `"fx":"replace","m"`, 1) + strings.Replace(request, `"m"`, `"leg":"out","m"`, 1) + response,
			"what was changed in 1 session", none, "what was changed in 1 session"},
	} {
		for format, want := range map[string]string{"wst": none, "har": test.har, "pcapng": test.pcapng, "saz": test.saz} {
			_, _, got := convertTelling(t, "in.wst", []byte(test.text), format)
			if want != none {
				want = "wstrace: " + format + " has no place for these: " + want + "\n"
			}
			if got != want {
				t.Errorf("%s: got %q, want %q", test.name, got, want)
			}
		}
	}
}

// plainSessions returns a trace without the sessions of which something was changed, lost
// or cut off, or a frame came in pieces: not every format has these.
func plainSessions(t *testing.T, name string) []byte {
	t.Helper()
	all, other := map[int64]bool{}, map[int64]bool{}
	in, err := source.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	err = in.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
		all[ev.Conn] = true
		h, hs := ev.Head, ev.Handshake
		if ev.Out || ev.Fate.FX != decode.FXNone || ev.Kind == decode.KindGap || ev.Frame != nil && ev.Frame.More ||
			ev.Body != nil && (ev.Body.Cut || ev.Body.Unfinished) || h != nil && h.Cut || hs != nil && (hs.Forwarded != nil || hs.Request != nil && hs.Request.Cut) {
			other[ev.Conn] = true
		}
	}), convertLook())
	if err != nil {
		t.Fatal(err)
	}
	c := conversion{chosen: map[int64]bool{}}
	for conn := range all {
		c.chosen[conn] = !other[conn]
	}
	again, err := source.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer again.Close()
	var made bytes.Buffer
	if err := c.copy(&made, again); err != nil {
		t.Fatal(err)
	}
	return made.Bytes()
}

// both returns what is in a and in b.
func both(a, b []string) (c []string) {
	for _, s := range a {
		if slices.Contains(b, s) {
			c = append(c, s)
		}
	}
	return c
}

// unlike returns the lines from where two texts begin to differ.
func unlike(want, got string) string {
	w, g := strings.SplitAfter(want, "\n"), strings.SplitAfter(got, "\n")
	for len(w) > 0 && len(g) > 0 && w[0] == g[0] {
		w, g = w[1:], g[1:]
	}
	for len(w) > 0 && len(g) > 0 && w[len(w)-1] == g[len(g)-1] {
		w, g = w[:len(w)-1], g[:len(g)-1]
	}
	return "want\n" + strings.Join(w, "") + "got\n" + strings.Join(g, "")
}
