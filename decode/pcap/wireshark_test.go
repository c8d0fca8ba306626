package pcap

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/vectors"
	"github.com/wstrace/wstrace/decode/trace"
)

var start = time.Date(2026, 11, 29, 12, 0, 0, 123456789, time.UTC)

// tshark returns the fields of each packet that it shows of a capture: the values of
// each, of which a packet may have several.
func tshark(t *testing.T, capture []byte, fields []string, args ...string) [][][]string {
	t.Helper()
	if err := exec.Command("tshark", "--version").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	file := filepath.Join(t.TempDir(), "a.pcapng")
	if err := os.WriteFile(file, capture, 0o666); err != nil {
		t.Fatal(err)
	}
	args = append([]string{"-n", "-r", file, "-T", "fields", "-E", "separator=\x1e", "-E", "aggregator=\x1f"}, args...)
	for _, f := range fields {
		args = append(args, "-e", f)
	}
	cmd := exec.Command("tshark", args...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("tshark %q: %v\n%s", args, err, stderr.String())
	}
	var rows [][][]string
	for line := range strings.Lines(string(out)) {
		var row [][]string
		for column := range strings.SplitSeq(strings.TrimSuffix(line, "\n"), "\x1e") {
			if column == "" {
				row = append(row, nil)
			} else {
				row = append(row, strings.Split(column, "\x1f"))
			}
		}
		rows = append(rows, row)
	}
	return rows
}

// Columns of tsharkFrames: those of the frames begin with frameColumn.
const (
	streamColumn = iota
	sourceColumn
	destinationColumn
	commentColumn
	analysisColumn
	reusedColumn
	malformedColumn
	checksumColumn
	lengthColumn
	capturedColumn
	textColumn
	frameColumn
)

var frameFields = []string{
	"tcp.stream", "tcp.srcport", "tcp.dstport", "frame.comment", "tcp.analysis.flags", "tcp.analysis.reused_ports", "_ws.malformed", "tcp.checksum.status", "frame.len", "frame.cap_len", "websocket.payload.text",
	"websocket.fin", "websocket.rsv", "websocket.opcode", "websocket.mask",
	"websocket.payload_length", "websocket.payload_length_ext_16", "websocket.payload_length_ext_64",
	"websocket.masking_key", "websocket.payload.close.status_code",
}

// A side is what one side of a conversation sent, as tshark or as we have it.
type side struct {
	columns [9][]string // of frameFields from frameColumn on
	texts   []string
}

// add adds a frame, whose payload is whole.
func (s *side) add(f *decode.Frame) {
	add := func(i int, format string, v any) {
		s.columns[i] = append(s.columns[i], fmt.Sprintf(format, v))
	}
	bit := map[bool]int{true: 1}
	add(0, "%d", bit[f.Fin])
	add(1, "0x%02x", f.Rsv)
	add(2, "%d", f.OpCode)
	add(3, "%d", bit[f.Masked])
	add(4, "%d", f.Head[1]&0x7f)
	switch f.LengthBits() {
	case 16:
		add(5, "%d", f.Length)
	case 64:
		add(6, "%d", f.Length)
	}
	if f.Masked {
		add(7, "%x", f.Mask)
	}
	if code, _, ok := decode.CloseBody(f.AppendPayload(nil, 2)); ok && f.OpCode == ws.OpClose {
		add(8, "%d", code)
	}
}

func (s *side) String() string {
	var b strings.Builder
	for i, c := range s.columns {
		fmt.Fprintf(&b, "%s %s\n", strings.TrimPrefix(frameFields[frameColumn+i], "websocket."), strings.Join(c, " "))
	}
	return b.String()
}

// A wanted is what a capture must have of one session.
type wanted struct {
	name   string
	came   [2]side // by Dir
	sent   [2]side
	broken bool // rules are
	flawed bool // those of compression are
	lost   bool // tshark can't find all frames, or we can't
	junk   bool // not all are frames
	began  bool // a frame has, and is not complete
	frame  *decode.Frame
}

// Emit notes the frames and short texts of a session.
func (w *wanted) Emit(ev *decode.Event) {
	w.broken = w.broken || len(ev.Violations) > 0
	switch ev.Kind {
	case decode.KindJunk, decode.KindGap:
		w.lost = true
		w.junk = w.junk || ev.Kind == decode.KindJunk
	case decode.KindFrame:
		f := ev.Frame
		if !f.More {
			w.frame = f.Clone()
		}
		if w.began = !f.Complete; w.began {
			return
		}
		if ev.Out || ev.Fate.FX == decode.FXNone {
			w.sent[f.Dir].add(w.frame)
		}
		if !ev.Out {
			w.came[f.Dir].add(w.frame)
		}
		if m := ev.Message; m != nil && m.Compressed && len(ev.Violations) > 0 {
			w.flawed = true
		} else if !ev.Out && m != nil && m.Frames == 1 && m.Op == ws.OpText && !m.Unread && !(m.Compressed && w.flawed) && isPlain(m.Data) {
			w.came[f.Dir].texts = append(w.came[f.Dir].texts, string(m.Data))
		}
	}
}

// isPlain reports whether tshark prints a text as it is.
func isPlain(b []byte) bool {
	return len(b) > 0 && len(b) < 200 && !bytes.ContainsFunc(b, func(r rune) bool { return r < ' ' || r > '~' || r == '\\' || r == '"' })
}

// whole reports whether tshark and we must have found the same.
func (w *wanted) whole() bool { return !w.lost && !w.began }

// compare compares what tshark has of a session with what it must have.
func (w *wanted) compare(t *testing.T, where string, got, want *[2]side) {
	t.Helper()
	for d := range want {
		if got, want := got[d].String(), want[d].String(); got != want {
			t.Errorf("%s, %s, %s: tshark finds\n%swe find\n%s", where, w.name, decode.Dir(d), got, want)
		}
		texts := got[d].texts
		for _, text := range want[d].texts {
			i := slices.Index(texts, text)
			if i < 0 {
				t.Errorf("%s, %s, %s: tshark has no text %q in %q", where, w.name, decode.Dir(d), text, got[d].texts)
				break
			}
			texts = texts[i+1:]
		}
	}
}

// take adds the frames in a packet.
func (s *side) take(row [][]string) {
	for i := range s.columns {
		s.columns[i] = append(s.columns[i], row[frameColumn+i]...)
	}
	s.texts = append(s.texts, row[textColumn]...)
}

// handshake returns the heads that agree on extensions.
func handshake(ext string) [2]string {
	const key = "AQIDBAUGBwgJCgsMDQ4PEA=="
	if ext != "" {
		ext = "Sec-WebSocket-Extensions: " + ext + "\r\n"
	}
	upgrade := "Upgrade: websocket\r\nConnection: Upgrade\r\n" + ext
	return [2]string{
		"GET / HTTP/1.1\r\nHost: example.com\r\n" + upgrade + "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + key + "\r\n\r\n",
		"HTTP/1.1 101 Switching Protocols\r\n" + upgrade + "Sec-WebSocket-Accept: " + decode.AcceptKey(key) + "\r\n\r\n",
	}
}

// play gives a vector to a session: after a handshake, unless noHandshake is set.
func playTo(w *Writer, want *wanted, v vectors.Vector, info decode.Info, noHandshake bool) {
	s := &decode.Session{Look: decode.Look{Messages: true, Tap: w}}
	s.Sink = decode.SinkFunc(func(ev *decode.Event) {
		want.Emit(ev)
		w.Emit(ev)
	})
	info.Time = start
	if noHandshake {
		info.Ext = v.Ext
	}
	s.Open(info)
	switch {
	case noHandshake:
		s.Upgraded()
	case !v.Heads:
		heads := handshake(v.Ext)
		s.Data(decode.FromClient, start, []byte(heads[0]))
		s.Data(decode.FromServer, start, []byte(heads[1]))
	}
	playSteps(s, v)
}

// playSteps gives what v has to s, and then ends both directions, at the time that it
// returns.
func playSteps(s *decode.Session, v vectors.Vector) (now time.Time) {
	now = start
	for _, step := range v.Steps {
		now = start.Add(step.At)
		if step.End != "" {
			how, _ := decode.ParseEnd(step.End)
			s.End(decode.Dir(step.Side), now, how, "")
		} else {
			s.Data(decode.Dir(step.Side), now, step.Bytes)
		}
	}
	s.End(decode.FromClient, now, decode.EndFIN, "")
	s.End(decode.FromServer, now, decode.EndFIN, "")
	return now
}

// A path is where sessions pass.
type path struct {
	v6          bool
	port        int // of the server
	noHandshake bool
}

func (p path) String() string {
	family := map[bool]string{false: "IPv4", true: "IPv6"}[p.v6]
	return fmt.Sprintf("%s port %d", family, p.port)
}

// client returns the client's port in the nth session.
func (p path) client(n int) int {
	if p.v6 {
		n += 10000
	}
	return 20000 + n
}

func (p path) info(n int) decode.Info {
	client, server := "10.0.0.1", "10.0.0.2"
	if p.v6 {
		client, server = "[fd00::1]", "[fd00::2]"
	}
	return decode.Info{
		Conn:   int64(p.port)<<16 + int64(p.client(n)),
		Client: fmt.Sprint(client, ":", p.client(n)),
		Server: fmt.Sprint(server, ":", p.port),
	}
}

// inflatesMore names vectors that tshark 4.0 can't inflate, though nothing is wrong
// with them: it stops at a final block, and has one window if only one side gives its
// own up.
var inflatesMore = []string{"final block, as a message", "context kept by the other side"}

// TestWireshark compares the frames that tshark finds in a capture of every vector
// with ours, on several ports, over IPv4 and IPv6.
func TestWireshark(t *testing.T) {
	all := vectors.Load(t, "../../testdata/vectors/*.txt")
	for _, c := range []struct {
		name  string
		paths []path
		args  []string
	}{
		{"as it is", []path{{port: 80}, {port: 443}, {port: 8080}, {port: 54321}, {v6: true, port: 80}, {v6: true, port: 54321}}, nil},
		{"with options", []path{{port: 1883}, {port: 6379}, {port: 9001, noHandshake: true}}, []string{"-o", "tcp.try_heuristic_first:TRUE", "-d", "tcp.port==9001,websocket"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			var file bytes.Buffer
			w := NewWriter(&file, Options{By: "test"})
			want := map[string]*wanted{} // by the ports
			paths := map[string]path{}
			for n, v := range all {
				for _, p := range c.paths {
					if v.Key != "" || len(v.Steps) == 0 || p.noHandshake && (v.Heads || v.Ext != "") {
						continue
					}
					key := fmt.Sprint(p.client(n), " ", p.port)
					x := &wanted{name: v.Name, lost: v.Heads} // which may be no handshake for tshark
					want[key], paths[key] = x, p
					playTo(w, x, v, p.info(n), p.noHandshake)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			got := map[string]*[2]side{}
			args := append([]string{"-o", "tcp.check_checksum:TRUE", "-o", "ip.check_checksum:TRUE"}, c.args...)
			for n, row := range tshark(t, file.Bytes(), frameFields, args...) {
				key, d := row[sourceColumn][0]+" "+row[destinationColumn][0], decode.FromClient
				if want[key] == nil {
					key, d = row[destinationColumn][0]+" "+row[sourceColumn][0], decode.FromServer
				}
				x := want[key]
				if x == nil {
					t.Fatalf("packet %d is of no session: %q", n+1, row)
				}
				if row[analysisColumn] != nil {
					t.Errorf("packet %d, %s, %s: tshark finds %q", n+1, paths[key], x.name, row[analysisColumn])
				}
				if row[malformedColumn] != nil && !x.broken {
					t.Errorf("packet %d, %s, %s: malformed for tshark", n+1, paths[key], x.name)
				}
				if !slices.Equal(row[checksumColumn], []string{"1"}) {
					t.Errorf("packet %d, %s, %s: checksum status %q", n+1, paths[key], x.name, row[checksumColumn])
				}
				if got[key] == nil {
					got[key] = new([2]side)
				}
				got[key][d].take(row)
			}
			compared := map[path]int{}
			for key, x := range want {
				if !x.whole() {
					continue
				}
				if got[key] == nil {
					t.Errorf("%s, %s: no packets", paths[key], x.name)
					continue
				}
				if slices.Contains(inflatesMore, x.name) {
					x.came[0].texts, x.came[1].texts = nil, nil
				}
				compared[paths[key]]++
				x.compare(t, paths[key].String(), got[key], &x.came)
			}
			for _, p := range c.paths {
				if compared[p] < 50 {
					t.Errorf("%s: compared %d sessions, want more", p, compared[p])
				}
			}
		})
	}
}

// TestWiresharkTraces compares the frames that tshark finds in captures of the traces
// in testdata with ours, on either side of the proxy.
func TestWiresharkTraces(t *testing.T) {
	files, _ := filepath.Glob("../../testdata/traces/*.wst")
	for _, name := range files {
		t.Run(filepath.Base(name), func(t *testing.T) {
			f, err := os.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			var file bytes.Buffer
			w := NewWriter(&file, Options{})
			want := map[int64]*wanted{}
			source := trace.Source{R: f}
			err = source.Play(context.Background(), decode.SinkFunc(func(ev *decode.Event) {
				x := want[ev.Conn]
				if x == nil {
					x = &wanted{name: fmt.Sprint("session ", ev.Conn)}
					want[ev.Conn] = x
				}
				if ev.Kind == decode.KindRequest && ev.Handshake.Forwarded != nil {
					x.name += ", split"
				}
				x.Emit(ev)
				w.Emit(ev)
			}), decode.Look{Messages: true, Tap: w})
			if err != nil || w.Close() != nil {
				t.Fatal(err)
			}
			streams := map[string]*[2]side{} // by number
			legs := map[string]string{}      // their names, by number
			clients := map[string]string{}
			malformed := map[string]int{} // packets, by leg
			args := []string{"-o", "tcp.check_checksum:TRUE"}
			if strings.Contains(name, "fiddler") { // it has no handshakes
				args = append(args, "-d", "tcp.port==80,websocket")
			}
			for n, row := range tshark(t, file.Bytes(), frameFields, args...) {
				stream := row[streamColumn][0]
				if streams[stream] == nil {
					legs[stream], _, _ = strings.Cut(row[commentColumn][0], ":")
					streams[stream] = new([2]side)
					clients[stream] = row[sourceColumn][0]
				}
				d := decode.FromClient
				if row[sourceColumn][0] != clients[stream] {
					d = decode.FromServer
				}
				streams[stream][d].take(row)
				checksum := "1"
				if row[lengthColumn][0] != row[capturedColumn][0] {
					checksum = "2" // not verified
				}
				if !slices.Equal(row[checksumColumn], []string{checksum}) {
					t.Errorf("packet %d: checksum status %q", n+1, row[checksumColumn])
				}
				if row[analysisColumn] != nil && row[reusedColumn] == nil { // as its sessions do
					t.Errorf("packet %d: tshark finds %q", n+1, row[analysisColumn])
				}
				if row[malformedColumn] != nil {
					malformed[legs[stream]]++
				}
			}
			n := 0
			for stream, got := range streams {
				var conn int64
				fmt.Sscanf(legs[stream], "session %d", &conn)
				x := want[conn]
				if n := malformed[legs[stream]]; x != nil && n > 0 && !x.broken && !x.junk {
					t.Errorf("%s: %d packets are malformed for tshark", legs[stream], n)
				}
				if x == nil {
					t.Fatalf("stream %s is of no session: %q", stream, legs[stream])
				}
				if !x.whole() {
					continue
				}
				n++
				frames := [2]side{x.came[0], x.sent[1]}
				if strings.HasSuffix(legs[stream], "to the server") {
					frames = [2]side{x.sent[0], x.came[1]}
				}
				x.compare(t, legs[stream], got, &frames)
			}
			if n == 0 {
				t.Error("no session was compared")
			}
		})
	}
}

// tsharkCut returns what tshark shows of a capture that is cut off.
func tsharkCut(t *testing.T, capture []byte) string {
	t.Helper()
	tshark(t, nil, nil, "-v") // is it there?
	cmd := exec.Command("tshark", "-n", "-r", "-")
	cmd.Stdin = bytes.NewReader(capture)
	out, err := cmd.Output()
	if err == nil {
		t.Error("tshark doesn't notice that the capture is cut off")
	}
	return string(out)
}
