package saz

import (
	"archive/zip"
	"bytes"
	"fmt"
	"hash/crc32"
	"io"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// memory is a Temp in memory.
type memory struct{ b []byte }

func (m *memory) WriteAt(p []byte, at int64) (int, error) {
	if need := at + int64(len(p)); need > int64(len(m.b)) {
		m.b = append(m.b, make([]byte, need-int64(len(m.b)))...)
	}
	return copy(m.b[at:], p), nil
}

func (m *memory) ReadAt(p []byte, at int64) (int, error) {
	if at >= int64(len(m.b)) {
		return 0, io.EOF
	}
	return copy(p, m.b[at:]), nil
}

// archive plays src into an archive.
func archive(t *testing.T, src decode.Source) []byte {
	t.Helper()
	var out bytes.Buffer
	w := NewWriter(&out, Options{By: "a test", Temp: new(memory)})
	if err := src.Play(t.Context(), w, decode.Look{Bodies: 1 << 40}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

func source(b []byte) *Source { return &Source{R: bytes.NewReader(b), Size: int64(len(b))} }

func wst(text string) decode.Source { return &trace.Source{R: strings.NewReader(text)} }

// A teller notes what events say, by session, but for what an archive can't hold. It
// puts the pieces of bodies and of long frames together.
type teller struct {
	said  map[int64][]string
	order []string // kinds and sessions, as they come
	frame [2][]byte

	notices bool // tell them
}

func (s *teller) Emit(ev *decode.Event) {
	if s.said == nil {
		s.said = map[int64][]string{}
	}
	when := ev.Time.Truncate(100 * time.Nanosecond).UTC().Format("15:04:05.0000000")
	tell := func(format string, args ...any) {
		s.said[ev.Conn] = append(s.said[ev.Conn], when+" "+fmt.Sprintf(format, args...))
	}
	d := ev.Dir.Arrow()
	switch ev.Kind {
	case decode.KindOpen:
		i := *ev.Info
		i.Via, i.Time, i.ClientTLS, i.ServerTLS = "", time.Time{}, nil, nil
		tell("open %+v", i)
		s.order = append(s.order, fmt.Sprint("open ", ev.Conn))
	case decode.KindRequest:
		tell("request %q", ev.Handshake.Request.Raw)
	case decode.KindResponse:
		if ev.Head.Status == 0 || ev.Head.Status >= 200 || ev.Head.Status == 101 {
			tell("response %q", ev.Head.Raw)
		}
	case decode.KindFrame:
		f := ev.Frame
		if !f.More {
			s.frame[ev.Dir] = nil
		}
		s.frame[ev.Dir] = f.AppendWire(s.frame[ev.Dir])
		if f.Complete {
			dropped := ""
			if ev.Fate.FX != decode.FXNone {
				dropped = "drop "
			}
			tell("frame %s out=%t %s%x", d, ev.Out, dropped, s.frame[ev.Dir])
		}
		s.order = append(s.order, fmt.Sprint("frame ", ev.Conn))
	case decode.KindJunk:
		tell("junk %s %q %x", d, ev.Text, ev.Data)
	case decode.KindMessage:
		if m := ev.Message; m.Frames == 0 {
			tell("message %s %d %q", d, m.Op, m.Data)
		}
	case decode.KindBody:
		b := fmt.Sprintf("body %s ", d)
		said := s.said[ev.Conn]
		if last := len(said) - 1; strings.Contains(said[last], b) {
			said[last] += string(ev.Data)
		} else if len(ev.Data) > 0 {
			s.said[ev.Conn] = append(said, b+string(ev.Data)) // its time is that of its end
		}
	case decode.KindGap:
		tell("gap %d", ev.Lost)
	case decode.KindNotice:
		if s.notices {
			tell("notice %s", ev.Text)
		}
	case decode.KindEnd:
		tell("end %s %s %q both=%t %d", d, ev.How, ev.Text, ev.Both, ev.Status)
	case decode.KindClosed:
		tell("closed %d %v", ev.Totals.Code, ev.Totals.Frames)
	}
}

func told(t *testing.T, src decode.Source) *teller {
	t.Helper()
	s := new(teller)
	if err := src.Play(t.Context(), s, decode.Look{Bodies: 1 << 40}); err != nil {
		t.Error(err)
	}
	return s
}

// traces returns the sessions that are written as archives, by name.
func traces(t *testing.T) map[string]string {
	t.Helper()
	names, err := filepath.Glob("../../testdata/traces/*.wst")
	if err != nil || len(names) == 0 {
		t.Fatal(err)
	}
	more := map[string]string{
		"bodies": `{"wstrace":1,"t0":"2026-11-29T10:00:00Z"}
{"k":"open","t":0,"c":1,"client":"[::1]:5000","server":"a.example:80","url":"http://a.example/"}
{"k":"req","t":0.1,"c":1,"m":"POST","target":"/","v":"HTTP/1.1","h":[["Host","a.example"],["Content-Length","5"]]}
{"k":"body","t":0.2,"c":1,"d":">","text":"hello"}
{"k":"res","t":0.3,"c":1,"v":"HTTP/1.1","code":200,"reason":"OK","h":[["Transfer-Encoding","chunked"]]}
{"k":"body","t":0.4,"c":1,"d":"<","text":"one, "}
{"k":"body","t":0.5,"c":1,"d":"<","text":"two","last":true}
{"k":"done","t":0.6,"c":1,"sent":5,"got":18}
{"k":"open","t":0.7,"c":2,"server":"a.example:80","url":"ws://a.example/x"}
{"k":"req","t":0.7,"c":2,"m":"GET","target":"/x","v":"HTTP/1.1","h":[["Host","a.example"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]]}
{"k":"res","t":0.8,"c":2,"v":"HTTP/1.1","code":403,"reason":"Forbidden","h":[["Content-Length","4"]],"blen":4}
{"k":"body","t":0.8,"c":2,"d":"<","text":"no!\n"}
{"k":"done","t":0.9,"c":2,"sent":0,"got":4}
`,
		"messages": `{"wstrace":1,"t0":"2026-11-29T10:00:00Z"}
{"k":"open","t":0,"c":1,"url":"ws://a","messages":true}
{"k":"message","t":0,"c":1,"d":">","op":"text","len":2,"text":"hi"}
{"k":"message","t":0.5,"c":1,"d":"<","op":"bin","len":2,"b64":"AP8="}
`,
		"no time of day": `{"wstrace":1}
{"k":"open","t":0,"c":3}
{"k":"frame","t":1,"d":">","op":"text","mask":"01020304","text":"a"}
{"k":"frame","t":2,"d":"<","op":"text","text":"b"}
`,
		"changed": `{"wstrace":1,"t0":"2026-11-29T10:00:00Z"}
{"k":"open","t":0,"c":1}
{"k":"frame","t":1,"c":1,"d":">","op":"text","mask":"01020304","text":"a","fx":"drop"}
{"k":"frame","t":2,"c":1,"d":"<","op":"text","text":"b","leg":"out","fx":"inject"}
`,
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		more[filepath.Base(name)] = string(b)
	}
	return more
}

// TestRoundTrip writes traces as archives, and reads those back.
func TestRoundTrip(t *testing.T) {
	for name, text := range traces(t) {
		t.Run(name, func(t *testing.T) {
			b := archive(t, wst(text))
			want, got := told(t, wst(text)), told(t, source(b))
			for conn, w := range want.said {
				if name == "every-event.wst" && (conn == 13 || conn == 14) {
					continue // a tunnel without a request, and a gap beyond a frame
				}
				g := got.said[conn]
				for i := range max(len(w), len(g)) {
					var a, b string
					if i < len(w) {
						a = w[i]
					}
					if i < len(g) {
						b = g[i]
					}
					if a != b {
						t.Errorf("session %d, event %d: got\n%.400s\nwant\n%.400s", conn, i, b, a)
						break
					}
				}
			}
			again := archive(t, source(b))
			if g := told(t, source(again)).all(); g != got.all() {
				t.Errorf("an archive of the archive says\n%s\nand the first one\n%s", g, got.all())
			}
		})
	}
}

// TestBits checks that the bits of a session are in hexadecimal, as Fiddler has them.
func TestBits(t *testing.T) {
	b := archive(t, wst(`{"wstrace":1,"t0":"2026-11-29T10:00:00Z"}
{"k":"open","t":0,"c":1,"url":"wss://a.example/"}
{"k":"frame","t":0,"c":1,"d":"<","op":"text","text":"a"}
`))
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	text, err := fs.ReadFile(z, "raw/000001_m.xml")
	if want := `<Session SID="1" BitFlags="40001">`; err != nil || !strings.Contains(string(text), want) || !strings.Contains(string(text), ` ClientDoneResponse="0001-01-01T00:00:00"`) {
		t.Errorf("got %s, %v, want %s", text, err, want)
	}
}

// twoAtOnce is a trace of two connections at the same time.
const twoAtOnce = `{"wstrace":1,"t0":"2026-11-29T10:00:00Z"}
{"k":"open","t":0,"c":1}
{"k":"frame","t":0,"c":1,"d":">","op":"text","mask":"01020304","text":"a"}
{"k":"open","t":1,"c":2}
{"k":"frame","t":1,"c":2,"d":">","op":"text","mask":"01020304","text":"a"}
{"k":"frame","t":2,"c":1,"d":"<","op":"text","text":"b"}
{"k":"frame","t":3,"c":2,"d":"<","op":"text","text":"b"}
{"k":"frame","t":4,"c":1,"d":">","op":"close","mask":"01020304","code":1000}
{"k":"frame","t":4,"c":1,"d":"<","op":"close","code":1000}
`

func TestOrder(t *testing.T) {
	b := archive(t, wst(twoAtOnce))
	got, want := told(t, source(b)), told(t, wst(twoAtOnce))
	if !slices.Equal(got.order, want.order) {
		t.Errorf("got %q, want %q", got.order, want.order)
	}
}

// An item is an entry of an archive made by a test.
type item struct{ name, text string }

func zipped(t testing.TB, items ...item) []byte {
	t.Helper()
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	for _, i := range items {
		w, err := z.Create(i.name)
		if err == nil {
			_, err = io.WriteString(w, i.text)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

const (
	request  = "GET http://a.example:8080/chat?x HTTP/1.1\r\nHost: a.example:8080\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	response = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n"
	times    = `<?xml version="1.0" encoding="utf-8"?><Session SID="1" BitFlags="0"><SessionTimers ClientConnected="2024-05-01T11:00:00.0000000+02:00" ClientBeginRequest="2024-05-01T14:00:00.1234567+02:00" GotRequestHeaders="2024-05-01T14:00:00.2+02:00" ServerConnected="0001-01-01T00:00:00" GotResponseHeaders="2024-05-01T14:00:00.3+02:00" /><PipeInfo /><SessionFlags><SessionFlag N="x-clientIP" V="::ffff:127.0.0.1" /><SessionFlag N="x-clientport" V="5000" /><SessionFlag N="x-ProcessInfo" V="chrome:1234" /><SessionFlag N="ui-comments" V="odd &quot;one&quot;" /></SessionFlags></Session>`
	hi       = "\x81\x82\x01\x02\x03\x04ik"
)

// TestFiddler reads archives as Fiddler writes them, new and old.
func TestFiddler(t *testing.T) {
	for _, c := range []struct {
		name  string
		items []item
		want  string // words of all that is told, in this order
	}{
		{"flags and times", []item{{"raw/1_c.txt", request}, {"raw/1_s.txt", response}, {"raw/1_m.xml", times},
			{"raw/1_w.txt", "\r\nRequest-Length: 8\r\nID: 0\r\nBitFlags: 0\r\nDoneRead: 2024-05-01T14:00:01.0000001+02:00\r\nBeginSend: 2024-05-01T14:00:01.1+02:00\r\n\r\n" + hi + "\r\n" +
				"Response-Length: 4\r\nID: 1\r\nBitFlags: 4\r\n\r\n\x81\x02yo\r\n"}},
			"12:00:00.1234567 open|Client:127.0.0.1:5000|Server:a.example:8080|URL:ws://a.example:8080/chat?x|PID:1234|Process:chrome|" +
				`notice odd "one"|12:00:00.2000000 request "GET http://a|12:00:00.3000000 response "HTTP/1.1 101|12:00:01.0000001 frame > out=false 818201020304696b|notice the archive has messages whose|12:00:01.0000001 frame < out=false 8102796f`},
		{"no flags, no times, no metadata", []item{{"raw/01_c.txt", request}, {"raw/01_s.txt", response},
			{"raw/01_w.txt", "Request-Length: 8\r\nID: 0\r\n\r\n" + hi + "\r\n"}},
			"00:00:00.0000000 open|request|response|frame > out=false 8182"},
		{"headers at the start", []item{{"raw/1_c.txt", request}, {"raw/1_s.txt", response},
			{"raw/1_w.txt", "Version: 2\r\n\r\nRequest-Length: 8\r\n\r\n" + hi + "\r\n"}}, "frame > out=false 8182"},
		{"dropped and generated", []item{{"raw/1_c.txt", request}, {"raw/1_s.txt", response},
			{"raw/1_w.txt", "\r\nRequest-Length: 8\r\nBitFlags: 1\r\n\r\n" + hi + "\r\nRequest-Length: 8\r\nBitFlags: 2\r\n\r\n" + hi + "\r\n"}},
			"frame > out=false drop 8182|frame > out=true 8182"},
		{"cut frame", []item{{"raw/1_c.txt", request}, {"raw/1_s.txt", response},
			{"raw/1_w.txt", "\r\nRequest-Length: 7\r\n\r\n" + hi[:7] + "\r\nRequest-Length: 8\r\n\r\n" + hi + "\r\n"}},
			"gap 1|frame > out=false 8182"},
		{"HTTPS, by bits in hexadecimal", []item{{"raw/1_c.txt", "GET /a HTTP/1.1\r\nHost: a.example\r\n\r\n"},
			{"raw/1_m.xml", `<Session SID="1" BitFlags="4001F"><SessionTimers ClientBeginRequest="0001-01-01T00:00:00+09:00" ClientConnected="2024-05-01T14:00:00-07:00" /><SessionFlags><SessionFlag N="x-clientip" V="127.0.0.1" /><SessionFlag N="x-clientport" V="0" /></SessionFlags></Session>`}},
			"21:00:00.0000000 open|Client:127.0.0.1 |Server:a.example:443|URL:https://a.example/a|request"},
		{"HTTP/2 and gRPC", []item{{"raw/1_c.txt", "POST https://a.example/a HTTP/2\r\nHost: a.example\r\n\r\n"}, {"raw/1_s.txt", "HTTP/2 200 OK\r\nContent-Length: 2\r\n\r\nhi"}, {"raw/1_g.txt", "x"}},
			`URL:https://a.example/a|notice the messages of gRPC in the archive are left out|request "POST https://a.example/a HTTP/2.0\r\n|response "HTTP/2.0 200 OK\r\n|body < hi|closed`},
		{"sorted by number", []item{{"raw/10_c.txt", "GET /b HTTP/1.1\r\nHost: a\r\n\r\n"}, {"raw\\9_c.txt", "GET /a HTTP/1.1\r\nHost: a\r\n\r\n"}, {"raw/0_c.txt", "x"}, {"raw/../9_c.txt", "x"}},
			"open|Conn:9|GET /a|closed|open|Conn:10|GET /b|closed"},
		{"connect", []item{{"raw/1_c.txt", "CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\nA ClientHello was found."}, {"raw/1_s.txt", "HTTP/1.1 200 Connection Established\r\n\r\nThis is a tunnel."}},
			"open|Server:a.example:443|request|response|closed"},
		{"chunked", []item{{"raw/1_c.txt", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, {"raw/1_s.txt", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n4\r\n two\r\n0\r\n\r\n"}},
			"response|body < one two|closed"},
		{"chunked by its head alone", []item{{"raw/1_c.txt", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, {"raw/1_s.txt", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{\"a\":1}"}},
			`response|body < {"a":1}|closed`},
		{"short body", []item{{"raw/1_c.txt", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, {"raw/1_s.txt", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\none"}},
			"response|body < one|closed"},
		{"no response", []item{{"raw/1_c.txt", "GET / HTTP/1.1\r\nHost: a\r\n\r\n"}, {"raw/1_s.txt", ""}}, "request|closed"},
		{"frames alone", []item{{"raw/1_w.txt", "\r\nRequest-Length: 8\r\n\r\n" + hi + "\r\n"}}, "Cont:true|frame > out=false 8182"},
		{"frames behind a refusal", []item{{"raw/1_c.txt", request}, {"raw/1_s.txt", "HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n"}, {"raw/1_w.txt", "\r\nRequest-Length: 8\r\n\r\n" + hi + "\r\n"}}, "403|notice|closed"},
		{"empty", nil, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := &teller{notices: true}
			if err := source(zipped(t, c.items...)).Play(t.Context(), s, decode.Look{Bodies: 1 << 40}); err != nil {
				t.Fatal(err)
			}
			got := s.all()
			rest := got
			for _, word := range strings.Split(c.want, "|") {
				i := strings.Index(rest, word)
				if i < 0 {
					t.Fatalf("got no %q where it should be in\n%s", word, got)
				}
				rest = rest[i+len(word):]
			}
		})
	}
}

// all returns all that was told, by session.
func (s *teller) all() string {
	var b strings.Builder
	for _, conn := range slices.Sorted(maps.Keys(s.said)) {
		for _, line := range s.said[conn] {
			b.WriteString(line + "\n")
		}
	}
	return b.String()
}

// TestPython reads archives by an independent reader: what they have is what was
// recorded.
func TestPython(t *testing.T) {
	python, err := exec.LookPath("/usr/bin/python3")
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	for name, text := range traces(t) {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "a.saz")
			if err := os.WriteFile(file, archive(t, wst(text)), 0o666); err != nil {
				t.Fatal(err)
			}
			out, err := exec.Command(python, "testdata/read.py", file).CombinedOutput()
			if err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if unzip, err := exec.LookPath("unzip"); err == nil {
				if out, err := exec.Command(unzip, "-tqq", file).CombinedOutput(); err != nil {
					t.Errorf("%v\n%s", err, out)
				}
			}
			want := new(heard)
			if err := wst(text).Play(t.Context(), want, decode.Look{Bodies: 1 << 40}); err != nil {
				t.Fatal(err)
			}
			got := strings.Split(string(out), "\n")
			for i, line := range strings.Split(want.text(), "\n") {
				if i >= len(got) || got[i] != line {
					t.Fatalf("line %d: got\n%.300s\nwant\n%.300s", i+1, strings.Join(got[min(i, len(got)):min(i+1, len(got))], ""), line)
				}
			}
		})
	}
}

// A heard notes the sessions as testdata/read.py prints them.
type heard struct{ sessions map[int64]*heardSession }

type heardSession struct {
	meta   string
	heads  [2]string
	bodies [2][]byte
	frames []string
	framed bool         // there is something in place of a frame, at least
	flight [2][2][]byte // by Dir; and of what was sent in place of frames
}

func (h *heard) Emit(ev *decode.Event) {
	if h.sessions == nil {
		h.sessions = map[int64]*heardSession{}
	}
	if h.sessions[ev.Conn] == nil {
		h.sessions[ev.Conn] = new(heardSession)
	}
	s := h.sessions[ev.Conn]
	i := ev.Info
	host, port := splitHost(i.Client)
	tls := i.ClientTLS != nil || strings.HasPrefix(i.URL, "wss:") || strings.HasPrefix(i.URL, "https:")
	websocket := strings.Contains(s.meta, "websocket=1") || i.NoFrames || ev.Handshake != nil && ev.Handshake.Accepted
	s.meta = fmt.Sprintf("tls=%d websocket=%d client=%s:%s began=%s", digit(tls), digit(websocket), host, port, appendTime(nil, i.Time))
	switch ev.Kind {
	case decode.KindRequest:
		s.heads[0] = rawHead(ev.Handshake.Request)
	case decode.KindResponse:
		if h := ev.Head; h.Cut || h.Status >= 200 || h.Status == 101 {
			s.heads[1] = rawHead(h)
		}
	case decode.KindBody:
		s.bodies[ev.Dir] = append(s.bodies[ev.Dir], ev.Data...)
	case decode.KindMessage:
		if m := ev.Message; m.Frames == 0 { // a short one
			s.frames = append(s.frames, fmt.Sprintf("%s bits=4 %s head=%02x%02x fin=1 rsv=0 op=%d masked=0 key=00000000 len=%d crc=%08x", ev.Dir, appendTime(nil, ev.Time),
				0x80|m.Op, m.Len, m.Op, m.Len, crc32.ChecksumIEEE(m.Data)))
		}
	case decode.KindJunk:
		s.framed = true
	case decode.KindFrame:
		s.framed = true
		f, b := ev.Frame, &s.flight[ev.Dir][digit(ev.Out)]
		if !f.More {
			*b = nil
		}
		*b = f.AppendPayload(*b, -1)
		if f.Complete {
			s.frames = append(s.frames, fmt.Sprintf("%s bits=%d %s head=%x fin=%d rsv=%d op=%d masked=%d key=%x len=%d crc=%08x", ev.Dir, frameBits(ev), appendTime(nil, ev.Time),
				f.Head, f.Flags()>>7, f.Rsv, f.OpCode, f.Head[1]>>7, f.Mask, f.Length, crc32.ChecksumIEEE(*b)))
		}
	}
}

func digit(b bool) int {
	if b {
		return 1
	}
	return 0
}

func rawHead(h *decode.Head) string {
	if h.Raw != "" {
		return h.Raw
	}
	return string(appendHTTP1(nil, h))
}

func (h *heard) text() string {
	var b strings.Builder
	for _, conn := range slices.Sorted(maps.Keys(h.sessions)) {
		s := h.sessions[conn]
		if s.heads == [2]string{} && s.frames == nil && !s.framed {
			continue
		}
		fmt.Fprintln(&b, conn, s.meta)
		for d, name := range [...]string{"request", "response"} {
			if decode.HeadLen([]byte(s.heads[d]), 0) > 0 {
				fmt.Fprintf(&b, "%d %s %x\n", conn, name, s.heads[d])
			}
			if len(s.bodies[d]) > 0 {
				fmt.Fprintf(&b, "%d %s body %x\n", conn, name, s.bodies[d])
			}
		}
		for _, line := range s.frames {
			fmt.Fprintln(&b, conn, line)
		}
	}
	return b.String()
}
