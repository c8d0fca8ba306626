package trace

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"hash/crc64"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

var start = time.Date(2026, 11, 21, 7, 31, 41, 123456789, time.UTC)

// head writes an HTTP head.
func head(lines ...string) string { return strings.Join(lines, "\r\n") + "\r\n\r\n" }

func upgrade(fields ...string) string {
	return head(append([]string{"GET /chat HTTP/1.1", "Host: a", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version: 13"}, fields...)...)
}

func accept(fields ...string) string {
	return head(append([]string{"HTTP/1.1 101 Switching Protocols", "Upgrade: websocket", "Connection: Upgrade",
		"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, fields...)...)
}

// frame writes a frame; flags is its first byte. A key of 0 means unmasked.
func frame(flags byte, key uint32, payload string) string {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Length: int64(len(payload))}
	p := []byte(payload)
	if key != 0 {
		h.Masked = true
		binary.BigEndian.PutUint32(h.Mask[:], key)
		ws.Cipher(p, h.Mask, 0)
	}
	var b bytes.Buffer
	if err := ws.WriteHeader(&b, h); err != nil {
		panic(err)
	}
	return b.String() + string(p)
}

// describe writes down all that an event says.
func describe(ev *decode.Event) string {
	var b strings.Builder
	fmt.Fprintf(&b, "kind %d dir %v how %v both %v conn %d at %d info %+v/%d n %d text %q data %s", ev.Kind, ev.Dir, ev.How, ev.Both, ev.Conn, ev.Time.UnixNano(),
		infoText(ev.Info), ev.Info.Time.UnixNano(), ev.BodyLen+ev.Lost+int64(ev.Status), ev.Text, digest(ev.Data))
	if ev.CutOff {
		b.WriteString(" cut off")
	}
	describeHead := func(name string, h *decode.Head) {
		if h != nil {
			fmt.Fprintf(&b, " %s %+v", name, *h)
		}
	}
	describeHead("head", ev.Head)
	if h := ev.Handshake; h != nil {
		fmt.Fprintf(&b, " handshake %v %v %q", h.WebSocket, h.Accepted, h.Key)
		describeHead("request", h.Request)
		describeHead("forwarded", h.Forwarded)
		describeHead("relayed", h.Relayed)
		// A response is known before its event where that waits for the body.
		if h.Accepted || ev.Kind == decode.KindResponse || ev.Kind == decode.KindClosed {
			fmt.Fprintf(&b, " %q %q %q", h.Accept, h.Subprotocol, h.Extensions)
			describeHead("response", h.Response)
		}
	}
	if ev.Out || ev.Fate != (decode.Fate{}) {
		fmt.Fprintf(&b, " out %v fate %v by %q", ev.Out, ev.Fate.FX, ev.Fate.Change)
	}
	if f := ev.Frame; f != nil {
		fmt.Fprintf(&b, " frame %+v %v #%d offset %d head %x at %d more %v complete %v payload %s wire %s", f.Header, f.Dir, f.N, f.Offset, f.Head,
			f.At, f.More, f.Complete, digest(f.AppendPayload(nil, -1)), digest(f.AppendWire(nil)))
	}
	if m := ev.Message; m != nil {
		fmt.Fprintf(&b, " message %v %d #%d first %d frames %d wire %d len %d compressed %v cut %v unread %v unfinished %v data %s", m.Dir, m.Op, m.N, m.First,
			m.Frames, m.Wire, m.Len, m.Compressed, m.Cut, m.Unread, m.Unfinished, digest(m.Data))
	}
	for _, v := range ev.Violations {
		fmt.Fprintf(&b, " violation %s #%d at %v", v.String(), v.Frame, v.Where)
	}
	if t := ev.Totals; t != nil {
		opened, closed := t.Opened.UnixNano(), t.Closed.UnixNano()
		c := *t
		c.Opened, c.Closed = time.Time{}, time.Time{}
		fmt.Fprintf(&b, " totals %+v %d %d", c, opened, closed)
	}
	return b.String()
}

// digest stands for b in a description.
func digest(b []byte) string {
	return fmt.Sprintf("%d:%x:%.20q", len(b), crc64.Checksum(b, crc64.MakeTable(crc64.ECMA)), b)
}

func infoText(i *decode.Info) string {
	text := fmt.Sprintf("%d %q %q %q %q %q %d %q", i.Conn, i.Client, i.Server, i.URL, i.Via, i.Ext, i.PID, i.Process)
	for _, leg := range []*decode.TLS{i.ClientTLS, i.ServerTLS} {
		if leg != nil {
			text += fmt.Sprintf(" %+v", *leg)
		} else {
			text += " plain"
		}
	}
	return text
}

// thorough returns what has the sessions of a run look into everything.
func thorough() decode.Look {
	return decode.Look{Messages: true, Advice: true, Seen: new(decode.Seen), Bodies: 100_000}
}

// A teller keeps what the events of a run say, and their trace.
type teller struct {
	said  []string
	trace bytes.Buffer
	w     *Writer
}

func newTeller() *teller {
	t := &teller{}
	t.w = NewWriter(&t.trace, Options{By: "wstrace test"})
	return t
}

func (t *teller) Emit(ev *decode.Event) {
	t.said = append(t.said, describe(ev))
	t.w.Emit(ev)
}

// An op is something that happens in a session.
type op func(s *decode.Session, now time.Time)

// data is an op that may be split.
type data struct {
	dir decode.Dir
	b   string
}

const (
	client = decode.FromClient
	server = decode.FromServer
)

// edited is a request, and what is sent in place of its head.
type edited struct{ b, sent string }

func (e edited) take(s *decode.Session, now time.Time) {
	n := decode.HeadLen([]byte(e.b), 0)
	h, _ := decode.ParseRequest(e.b[:n])
	sent, _ := decode.ParseRequest(e.sent)
	s.Head(client, now, h, sent)
	s.Data(client, now, []byte(e.b[n:]))
}

func gap(d decode.Dir, n int64) op {
	return func(s *decode.Session, now time.Time) { s.Gap(d, now, n) }
}
func opaque(d decode.Dir, why string) op {
	return func(s *decode.Session, now time.Time) { s.Opaque(d, now, why) }
}
func skip(d decode.Dir, n int64) op {
	return func(s *decode.Session, now time.Time) { s.Skip(d, now, n) }
}
func notice(text string) op {
	return func(s *decode.Session, now time.Time) { s.Notice(now, text) }
}
func answer(status int) op {
	return func(s *decode.Session, now time.Time) { s.Answer(status) }
}
func end(d decode.Dir, how decode.End, text string) op {
	return func(s *decode.Session, now time.Time) { s.End(d, now, how, text) }
}

var (
	done     op = func(s *decode.Session, now time.Time) { s.Done(now) }
	upgraded op = func(s *decode.Session, now time.Time) { s.Upgraded() }
)

// A play is what happens in one session, in order.
type play struct {
	name  string
	info  decode.Info
	steps []any // data and op
	whole bool  // the trace has every byte
}

func plays() []play {
	long := strings.Repeat("aé€😀", 20<<10)                                                   // 200 KiB
	broken := strings.Repeat("ab\xe0\xe0", 40<<10)                                           // begins characters, ends none
	blob := strings.Repeat("\x00\xff\x7f<&>\u2028\"\\", 15<<10)                              // 180 KiB
	chunked := strings.Repeat("1000\r\n"+strings.Repeat("x", 4096)+"\r\n", 25) + "0\r\n\r\n" // 100 KiB
	fins := []any{end(client, decode.EndFIN, ""), end(server, decode.EndFIN, "")}
	scene := func(name string, info decode.Info, whole bool, steps ...any) play {
		return play{name, info, steps, whole}
	}
	info := decode.Info{Client: "127.0.0.1:51234", Server: "192.0.2.7:80", URL: "ws://a/chat", Via: "reverse"}
	handshake := []any{data{client, upgrade()}, data{server, accept()}}
	with := func(steps ...any) []any { return append(append([]any{}, handshake...), steps...) }
	return []play{
		scene("chat", info, true, append([]any{
			edited{upgrade(), strings.Replace(upgrade(), "Host: a", "Host: b", 1)},
			data{server, head("HTTP/1.1 103 Early Hints", "Link: </a>") + accept("Sec-WebSocket-Extensions: permessage-deflate") + frame(0x81, 0, "Welcome")},
			data{client, frame(0x01, 7, "Hé") + frame(0x89, 8, "hb") + frame(0x80, 9, "llo")},
			data{server, frame(0x8a, 0, "hb") + frame(0xc1, 0, "\xf2\x48\xcd\xc9\xc9\x07\x00") + frame(0x82, 0, "\x00\x01")},
			notice("half \x1b[1mway"),
			data{client, frame(0x88, 1, "\x03\xe8Closing")},
			data{server, frame(0x88, 0, "\x03\xe8\xff")},
		}, fins...)...),
		scene("TLS", decode.Info{URL: "wss://a/chat", ClientTLS: &decode.TLS{Version: "TLS1.2", Cipher: "TLS_RSA", ALPN: "http/1.1", SNI: "a\"b"},
			ServerTLS: &decode.TLS{Version: "TLS1.3"}}, true, with(data{client, frame(0x81, 4, "hello")})...),
		scene("TLS on one leg", decode.Info{ServerTLS: new(decode.TLS)}, true, handshake...),
		scene("long", info, true, append(with(
			data{client, frame(0x81, 0x01020304, long)},
			data{server, frame(0x01, 0, broken) + frame(0x80, 0, broken+"\xe0")},
			data{client, frame(0x82, 0xa0b0c0d0, blob)},
			data{server, frame(0x81, 0, long) + frame(0x81, 0, long[:65535]) + frame(0x81, 0, long[:65536]) + frame(0x81, 0, long[:65537])},
			data{client, frame(0x82, 1, "")},
		), fins...)...),
		scene("cut in a character", info, true, append(with(
			data{client, frame(0x81, 5, "aé")[:8]},
			data{server, frame(0x81, 0, long)[:70_000]},
		), end(server, decode.EndRST, ""), end(client, decode.EndLocal, "relay: broken pipe"))...),
		scene("cut in a header", info, true, append(with(
			data{client, "\x81\xfe\x01"}, data{server, "\x82"},
		), end(client, decode.EndTimeout, ""), end(server, decode.EndTLSEOF, ""))...),
		scene("done without an end", info, true, append(with(data{client, "\x81\xfe\x01"}, data{server, frame(0x81, 0, "aé")[:4]}),
			end(client, decode.EndFIN, ""), done)...),
		scene("no such length", info, true, append(with(
			data{client, "\x81\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01\x02\x03\x04" + long},
			data{server, frame(0x83, 0, "") + frame(0xfb, 0, "ab") + "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00" + blob},
		), fins...)...),
		scene("odd frames", info, true, append(with(
			data{client, frame(0x81, 0, "unmasked") + "\x82\x80\x00\x00\x00\x00" + "\x81\xfe\x00\x00\x00\x00\x00\x00" + "\x82\x7f\x00\x00\x00\x00\x00\x00\x00\x01x"},
			data{server, frame(0x81, 3, "masked") + frame(0x09, 0, strings.Repeat("\x00", 128)) + frame(0x88, 0, "\x03") + frame(0x80, 0, "orphan")},
		), fins...)...),
		scene("early", info, true, append([]any{
			data{client, upgrade() + frame(0x81, 4, "too soon")}, data{server, accept()}, data{client, frame(0x81, 4, "now")}}, fins...)...),
		scene("request body", info, true, append([]any{
			data{client, upgrade("Content-Length: 9") + "not quite" + frame(0x81, 4, "x")}, data{server, accept() + frame(0x81, 0, "y")}}, fins...)...),
		scene("odd heads", info, true, append([]any{
			data{client, strings.ReplaceAll(upgrade("X: \xff", "Y:  two"), "\r\n", "\n")}, data{server, strings.Replace(accept("Z: caf\xc3\xa9"), ": ", ":", 1)},
			data{server, frame(0x81, 0, "y")}}, fins...)...),
		scene("refused, chunked", info, false, append([]any{
			data{client, upgrade()}, data{server, head("HTTP/1.1 403 Forbidden", "Transfer-Encoding: chunked") + chunked}}, fins...)...),
		scene("refused, kept alive", info, false, data{client, upgrade()},
			data{server, head("HTTP/1.1 426 Upgrade Required", "Upgrade: websocket", "Content-Length: 3") + "no!"}, done),
		scene("refused, until closed", info, false, append([]any{
			data{client, upgrade()}, data{server, head("HTTP/1.0 200 OK") + "<html>"}}, fins...)...),
		scene("refused, cut off", info, false, append([]any{
			data{client, upgrade()}, data{server, head("HTTP/1.1 400 Bad Request", "Content-Length: 70000") + long[:69_000]}}, fins...)...),
		scene("refused, no body", info, false, append([]any{
			data{client, upgrade() + frame(0x81, 4, "too soon")}, data{server, head("HTTP/1.1 304 Not Modified")}}, fins...)...),
		scene("no answer", info, false, data{client, upgrade()}, answer(502),
			end(server, decode.EndLocal, `dial upstream "127.0.0.1:1902": connection refused`), end(client, decode.EndLocal, "")),
		scene("refused by us", info, false, append(with(answer(502)), fins...)...),
		scene("exchange", info, false, edited{head("POST http://a/x HTTP/1.1", "Host: a", "Content-Length: 5") + "hello", head("POST /x HTTP/1.1", "Host: a", "Content-Length: 5")},
			data{server, head("HTTP/1.1 100 Continue") + head("HTTP/1.1 200 OK", "Transfer-Encoding: chunked") + chunked}, done),
		scene("tunnel", decode.Info{Server: "example.com:443", Via: "direct", PID: 1, Process: "a \x1b\"b"}, false, append([]any{
			opaque(client, "TLS, not intercepted"), data{client, "\x16\x03\x01"}, skip(server, 88_200)}, append(fins, done)...)...),
		scene("other protocol", info, false, data{client, head("GET / HTTP/1.1", "Upgrade: h2c", "Connection: Upgrade")},
			data{server, head("HTTP/1.1 101 Switching Protocols", "Upgrade: h2c") + "bytes"}, data{client, "PRI"}, done),
		scene("not HTTP", info, false, append([]any{data{client, upgrade() + frame(0x81, 9, "early")[:8]},
			data{server, "220 mail ESMTP\r\n\r\n250 ok\r\n"}, data{client, "QUIT"}}, fins...)...),
		scene("not HTTP either", info, false, data{server, "SSH"}, data{client, "hello there\r\n\r\nmore"}, data{server, "-2.0"}, done),
		scene("cut heads", info, false, data{client, "GET / HT"}, data{server, "HTTP/1."}, end(client, decode.EndFIN, ""), done),
		scene("both end", info, true, append(handshake, data{server, frame(0x81, 0, "Hello")},
			op(func(s *decode.Session, now time.Time) { s.EndBoth(now, decode.EndRST, "a guess") }))...),
		scene("gaps", decode.Info{Ext: "permessage-deflate", Via: "pcap"}, false, upgraded,
			data{client, frame(0x81, 3, "Hello")[:8]}, gap(client, 2), data{client, frame(0x81, 3, "Hello")[10:] + frame(0x81, 3, "again")},
			data{server, frame(0xc1, 0, "\x01")}, gap(server, 1460), data{server, frame(0x81, 0, "lost")}, end(client, decode.EndDrop, ""), end(server, decode.EndFIN, "")),
		scene("given up", info, true, append(with(data{client, frame(0x81, 3, "Hello")[:8]}, data{server, "\x81"},
			opaque(client, "panic: oops"), opaque(server, "panic: oops"), data{client, "more"}, data{server, long}), fins...)...),
	}
}

// live lets the sessions of ps happen, with the data cut and the sessions
// interleaved at random.
func live(rnd *rand.Rand, ps []play, sink decode.Sink) {
	type running struct {
		decode.Session
		steps []any
	}
	now := start
	look := thorough()
	var rs []*running
	for i, p := range ps {
		r := &running{Session: decode.Session{Sink: sink, Look: look}, steps: p.steps}
		p.info.Conn, p.info.Time = int64(i+1), now
		r.Open(p.info)
		rs = append(rs, r)
		now = now.Add(time.Duration(rnd.IntN(1e6)))
	}
	for len(rs) > 0 {
		i := rnd.IntN(len(rs))
		r := rs[i]
		if len(r.steps) == 0 {
			rs = append(rs[:i], rs[i+1:]...)
			continue
		}
		now = now.Add(time.Duration(rnd.IntN(1e9)))
		switch step := r.steps[0].(type) {
		case op:
			step(&r.Session, now)
			r.steps = r.steps[1:]
		case edited:
			step.take(&r.Session, now)
			r.steps = r.steps[1:]
		case data:
			n := len(step.b)
			switch rnd.IntN(3) {
			case 0:
				n = min(n, 1+rnd.IntN(20))
			case 1:
				n = min(n, 1+rnd.IntN(100_000))
			}
			r.Data(step.dir, now, []byte(step.b[:n]))
			r.steps = append([]any{data{step.dir, step.b[n:]}}, r.steps[1:]...)
			if n == len(step.b) {
				r.steps = r.steps[1:]
			}
			if rnd.IntN(8) == 0 {
				now = now.Add(time.Second)
				r.Flush(step.dir, now)
			}
		}
	}
}

// same reports the first line in which two lists differ.
func same(t *testing.T, what string, got, want []string) bool {
	t.Helper()
	clip := func(l []string, i int) string {
		if i >= len(l) {
			return "nothing"
		}
		return fmt.Sprintf("%.1500s", l[i])
	}
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) || got[i] != want[i] {
			t.Errorf("%s %d: got\n%s\nwant\n%s", what, i, clip(got, i), clip(want, i))
			return false
		}
	}
	return true
}

// playAll plays a trace.
func playAll(r io.Reader, sink decode.Sink, look decode.Look) error {
	src := Source{R: r}
	return src.Play(context.Background(), sink, look)
}

// replay checks that a trace plays as it was recorded, and is written as it was
// read.
func replay(t *testing.T, rec *teller) bool {
	t.Helper()
	again := newTeller()
	if err := playAll(bytes.NewReader(rec.trace.Bytes()), again, thorough()); err != nil {
		t.Errorf("play: %v", err)
		return false
	}
	return same(t, "event", again.said, rec.said) &&
		same(t, "line", strings.Split(again.trace.String(), "\n"), strings.Split(rec.trace.String(), "\n"))
}

func TestLiveAndPlayed(t *testing.T) {
	for _, p := range plays() {
		t.Run(p.name, func(t *testing.T) {
			for seed := range uint64(6) {
				rec := newTeller()
				live(rand.New(rand.NewPCG(1, seed)), []play{p}, rec)
				if !replay(t, rec) {
					t.Fatalf("seed %d, trace\n%.4000s", seed, rec.trace.Bytes())
				}
				checkBytes(t, []play{p}, rec.trace.Bytes())
			}
		})
	}
}

func TestInterleaved(t *testing.T) {
	ps := plays()
	for seed := range uint64(2) {
		rec := newTeller()
		live(rand.New(rand.NewPCG(2, seed)), ps, rec)
		if !replay(t, rec) {
			t.Fatalf("seed %d", seed)
		}
		if seed == 0 {
			checkBytes(t, ps[:8], rec.trace.Bytes()) // each reads the whole of it
		}
	}
}

// checkBytes checks that what each side sent can be rebuilt from the trace.
func checkBytes(t *testing.T, ps []play, trace []byte) {
	t.Helper()
	for i, p := range ps {
		if !p.whole {
			continue
		}
		for d, want := range sent(p) {
			got, err := Bytes(NewReader(bytes.NewReader(trace)), int64(i+1), decode.Dir(d))
			if err != nil {
				t.Errorf("bytes of the %s: %v", decode.Dir(d), err)
			} else if string(got) != want {
				t.Errorf("bytes of the %s: got %d bytes %.100q…, want %d bytes %.100q…", decode.Dir(d), len(got), got, len(want), want)
			}
		}
	}
}

// sent returns what each side sends in p.
func sent(p play) (b [2]string) {
	for _, step := range p.steps {
		switch s := step.(type) {
		case data:
			b[s.dir] += s.b
		case edited:
			b[client] += s.b
		}
	}
	return b
}

// TestSharedTraces reads the traces that other packages use, and holds them to
// their canonical form.
func TestSharedTraces(t *testing.T) {
	names, _ := filepath.Glob("../../testdata/traces/*.wst")
	if len(names) < 2 {
		t.Fatalf("got %d traces, want 2 or more", len(names))
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := Format(&out, bytes.NewReader(b)); err != nil {
			t.Errorf("format %s: %v", name, err)
		}
		same(t, name+" line", strings.Split(string(b), "\n"), strings.Split(out.String(), "\n"))
		rec := newTeller()
		if err := playAll(bytes.NewReader(b), rec, thorough()); err != nil {
			t.Errorf("play %s: %v", name, err)
		}
		if len(rec.said) < 10 {
			t.Errorf("%s: got %d events, want 10 or more", name, len(rec.said))
		}
		replay(t, rec)
	}
}

// TestEveryEvent checks that the trace with a sample of everything has one.
func TestEveryEvent(t *testing.T) {
	f, err := os.Open("../../testdata/traces/every-event.wst")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	kinds := map[decode.Kind]bool{}
	ends := map[decode.End]bool{}
	ops := map[ws.OpCode]bool{}
	fates := map[decode.FX]bool{}
	out := map[decode.Kind]bool{}
	if err := playAll(f, decode.SinkFunc(func(ev *decode.Event) {
		kinds[ev.Kind] = true
		ends[ev.How] = true
		fates[ev.Fate.FX] = true
		if ev.Out {
			out[ev.Kind] = true
		}
		if ev.Frame != nil {
			ops[ev.Frame.OpCode] = true
		}
	}), decode.Look{}); err != nil {
		t.Fatal(err)
	}
	for k := decode.KindOpen; k <= decode.KindClosed; k++ {
		if !kinds[k] && k != decode.KindViolation {
			t.Errorf("no event of kind %d", k)
		}
	}
	for _, op := range []ws.OpCode{0, 1, 2, 3, 8, 9, 10} {
		if !ops[op] {
			t.Errorf("no %s frame", decode.OpName(op))
		}
	}
	for fx := decode.FXNone; fx <= decode.FXHold; fx++ {
		if !fates[fx] {
			t.Errorf("nothing that meets %v", fx)
		}
	}
	if !out[decode.KindFrame] || !out[decode.KindJunk] {
		t.Errorf("sent: got events of kinds %v, want frames and junk", out)
	}
	if !ends[decode.EndRST] || !ends[decode.EndLocal] {
		t.Errorf("ends: got %v, want rst and local among them", ends)
	}
}
