package decode

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"
)

const pmd = "permessage-deflate"

// whole returns a Session past its handshake that looks into messages.
func whole(sink Sink, ext string) *Session {
	s := &Session{Sink: sink, Look: Look{Messages: true}}
	s.Open(Info{Conn: 1, Time: start, Ext: ext})
	s.Upgraded()
	return s
}

// deflate compresses messages as one stream of permessage-deflate.
func deflate(t testing.TB, level int, msgs ...string) [][]byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, m := range msgs {
		buf.Reset()
		io.WriteString(w, m)
		w.Flush()
		out = append(out, bytes.Clone(bytes.TrimSuffix(buf.Bytes(), []byte{0, 0, 0xff, 0xff})))
	}
	return out
}

func TestMessageFields(t *testing.T) {
	var r record
	s := whole(&r, pmd)
	s.Data(FromClient, start, []byte(masked(0x01, testKey, "grü")+masked(0x89, testKey, "")+masked(0x80, testKey, "ße")))
	s.Data(FromClient, start, []byte(masked(0xc2, testKey, "\xf2\x48\xcd\xc9\xc9\x07\x00")))
	var got []Message
	for _, ev := range r {
		if ev.Kind == KindMessage {
			got = append(got, *ev.Message)
		} else if final := ev.Kind == KindFrame && ev.Frame.OpCode < 8 && ev.Frame.Fin; final != (ev.Message != nil) {
			t.Errorf("frame event with message %v, final is %t", ev.Message, final)
		}
	}
	want := []Message{
		{Dir: FromClient, Op: 1, N: 0, First: 0, Frames: 2, Wire: 7, Len: 7, Data: []byte("grüße")},
		{Dir: FromClient, Op: 2, N: 1, First: 3, Frames: 1, Compressed: true, Wire: 7, Len: 5, Data: []byte("Hello")},
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestMessagesAreOptional checks that nothing is put together unless asked for.
func TestMessagesAreOptional(t *testing.T) {
	var r record
	s := &Session{Sink: &r}
	s.Open(Info{Conn: 1, Time: start, Ext: pmd})
	s.Upgraded()
	s.Data(FromServer, start, []byte(unmasked(0x81, "\xff")+unmasked(0xc1, "\xff")))
	s.End(FromServer, start, EndLocal, "")
	s.End(FromClient, start, EndLocal, "")
	for _, ev := range r {
		if ev.Message != nil || ev.Violations != nil {
			t.Errorf("got %s with message %v", line(ev), ev.Message)
		}
	}
	if totals := r[len(r)-1].Totals; totals.Checked || totals.Messages != [2]int64{FromServer: 2} {
		t.Errorf("got checked %t, messages %v, want false, 2 of the server", totals.Checked, totals.Messages)
	}
}

// TestMessageData checks how much of a message is kept.
func TestMessageData(t *testing.T) {
	long := strings.Repeat("0123456789abcdef", 1<<17) // 2 MiB
	compressed := deflate(t, 6, long)[0]
	for _, test := range []struct {
		name   string
		keep   int
		frames string
		want   int
		length int
	}{
		{"plain", 0, unmasked(0x82, long), MaxMessageData, len(long)},
		{"compressed", 0, unmasked(0xc2, string(compressed)), MaxMessageData, len(long)},
		{"80 bytes of it", 80, unmasked(0x81, long), 80, len(long)},
		{"more than there is", 80, unmasked(0x81, "abc"), 3, 3},
		{"in fragments", 80, unmasked(0x01, long[:60]) + unmasked(0x80, long[:60]), 80, 120},
	} {
		var got *Message
		s := whole(SinkFunc(func(ev *Event) {
			if ev.Kind == KindMessage {
				got = ev.Message.Clone()
			}
		}), pmd)
		if test.keep > 0 {
			s.conn.messages[FromServer].keep = test.keep
		}
		s.Data(FromServer, start, []byte(test.frames))
		if got == nil || len(got.Data) != test.want || got.Len != int64(test.length) || got.Cut != (test.want < test.length) {
			t.Errorf("%s: got %d of %d bytes, cut %t, want %d of %d", test.name, len(got.Data), got.Len, got.Cut, test.want, test.length)
		}
	}
}

// The hash of a message that is longer than what is kept is that of all of it, in
// whatever pieces it comes.
func TestMessageSum(t *testing.T) {
	text := strings.Repeat("0123456789abcdef", 100)
	for name, wire := range map[string]string{
		"plain":      unmasked(0x82, text),
		"text":       unmasked(0x81, text),
		"masked":     masked(0x82, testKey, text),
		"fragments":  unmasked(0x01, text[:9]) + unmasked(0x80, text[9:]),
		"compressed": unmasked(0xc2, string(deflate(t, 6, text)[0])),
	} {
		for _, keep := range []int{1, 9, 80, len(text) - 1, len(text)} {
			for _, size := range []int{1, 7, len(wire)} {
				var got *Message
				s := &Session{Look: Look{Messages: true, Keep: keep, Sums: true}, Sink: SinkFunc(func(ev *Event) {
					if ev.Message != nil {
						got = ev.Message.Clone()
					}
				})}
				s.Open(Info{Ext: pmd})
				s.Upgraded()
				for chunk := range slices.Chunk([]byte(wire), size) {
					s.Data(FromServer, start, chunk)
				}
				want := sha256.Sum256([]byte(text))
				if got.Cut != (keep < len(text)) || got.Cut != bytes.Equal(got.Sum, want[:]) {
					t.Errorf("%s, keep %d, by %d: cut %t, sum %x", name, keep, size, got.Cut, got.Sum)
				}
			}
		}
	}
}

func TestMessageGap(t *testing.T) {
	var r record
	s := whole(&r, pmd)
	s.Data(FromServer, start, []byte(unmasked(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00")))
	s.Data(FromServer, start, []byte("\xc1\x07\xf2\x48"))
	s.Gap(FromServer, start, 3)
	s.Data(FromServer, start, []byte("\x07\x00"+unmasked(0xc1, "\x02\x13\x00\x00")+unmasked(0x81, "plain")))
	s.Data(FromClient, start, []byte(masked(0x81, testKey, "\xc3\xbcbcdef")[:8]))
	s.Gap(FromClient, start, 5)
	var got []string
	for _, ev := range r {
		if m := ev.Message; ev.Kind == KindMessage {
			got = append(got, fmt.Sprintf("%s %q unread %t", ev.Dir.Arrow(), m.Data, m.Unread))
		}
		for _, v := range ev.Violations {
			got = append(got, v.String())
		}
	}
	want := []string{`< "Hello" unread false`, `< "H" unread true`, `< "" unread true`, `< "plain" unread false`}
	if !slices.Equal(got, want) {
		t.Errorf("got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
	}
	s.End(FromServer, start, EndLocal, "")
	s.End(FromClient, start, EndLocal, "")
	if got := r[len(r)-1].Totals.Unchecked; got != [2]int64{FromServer: 2} {
		t.Errorf("got %v messages not looked into, want 2 of the server", got)
	}
}

// TestTextOffsets checks where text is said to go wrong.
func TestTextOffsets(t *testing.T) {
	for _, test := range []struct {
		name   string
		frames string
		want   string
	}{
		{"in one frame", unmasked(0x81, "abc\xff"), "ff at byte 3 of message 0 is not UTF-8 (byte 3 of its frame)"},
		{"in the second frame", unmasked(0x01, "abc") + unmasked(0x80, "d\xe2\x82x"), "e2 82 78 at byte 4 of message 0 is not UTF-8 (byte 1 of its frame)"},
		{"begun in the frame before", unmasked(0x01, "abc\xe2") + unmasked(0x80, "\x82x"), "e2 82 78 at byte 3 of message 0 is not UTF-8 (byte 3 of frame 0)"},
		{"with a ping between", unmasked(0x01, "a\xf0") + unmasked(0x89, "") + unmasked(0x00, "\x9f") + unmasked(0x80, "\xff"), "f0 9f ff at byte 1 of message 0 is not UTF-8 (byte 1 of frame 0)"},
		{"far into a long frame", unmasked(0x81, strings.Repeat("a", 200_000)+"\xc0"), "c0 at byte 200000 of message 0 is not UTF-8 (byte 200000 of its frame)"},
		{"compressed", unmasked(0xc1, "\xf2\x48\xcd\xc9\xc9\xff\x0f\x00"), "ff at byte 5 of message 0 is not UTF-8 (after inflating)"},
		{"cut", unmasked(0x01, "abc\xe2") + unmasked(0x80, "\x82"), "message 0 ends inside a character, e2 82 at byte 3 of it"},
	} {
		for n := 1; n < 5; n++ {
			var got []string
			s := whole(SinkFunc(func(ev *Event) {
				for _, v := range ev.Violations {
					got = append(got, v.Text)
				}
			}), pmd)
			for p := range slices.Chunk([]byte(test.frames), n) {
				s.Data(FromServer, start, p)
			}
			if !slices.Equal(got, []string{test.want}) {
				t.Errorf("%s, in pieces of %d: got %q, want %q", test.name, n, got, test.want)
			}
		}
	}
}

// TestCompressionTotals compares what was saved with what was sent.
func TestCompressionTotals(t *testing.T) {
	var r record
	s := whole(&r, pmd)
	texts := []string{strings.Repeat("hello ", 100), "hello hello"}
	var wire int64
	for _, p := range deflate(t, 6, texts...) {
		wire += int64(len(p))
		s.Data(FromServer, start, []byte(unmasked(0xc1, string(p))))
	}
	s.Data(FromServer, start, []byte(unmasked(0x81, "plain")))
	s.Done(start)
	want := [2]Savings{FromServer: {Messages: 2, Wire: wire, Len: int64(len(texts[0]) + len(texts[1]))}}
	if got := r[len(r)-1].Totals; got.Deflate != want || got.Messages != [2]int64{FromServer: 3} || !got.Checked {
		t.Errorf("got %+v of %v messages, want %+v of 3", got.Deflate, got.Messages, want)
	}
}

// TestHeartbeatTotals checks what is counted of pings and pongs.
func TestHeartbeatTotals(t *testing.T) {
	var r record
	s := whole(&r, "")
	at := func(ms int) time.Time { return start.Add(time.Duration(ms) * time.Millisecond) }
	for i := range 100 {
		s.Data(FromServer, at(i*1000), []byte(unmasked(0x89, fmt.Sprint(i))))
		rtt := 10
		if i == 50 {
			rtt = 500
		}
		s.Data(FromClient, at(i*1000+rtt), []byte(masked(0x8a, [4]byte{byte(i), 1}, fmt.Sprint(i))))
	}
	s.Data(FromServer, at(100_000), []byte(unmasked(0x89, "x")))
	s.Data(FromClient, at(100_001), []byte(masked(0x89, [4]byte{1, 2, 3}, "y")))
	s.Done(at(100_002))
	got := r[len(r)-1].Totals.Heartbeat
	times := got[FromServer].RTTs
	if len(times) != 100 || Quantile(times, 0.5) != 10*time.Millisecond || Quantile(times, 0.99) != 10*time.Millisecond || Quantile(times, 1) != 500*time.Millisecond {
		t.Errorf("got round-trip times %v, want 99 of 10ms and one of 500ms", times)
	}
	got[FromServer].RTTs = nil
	want := [2]Heartbeat{
		FromClient: {Pings: 1, Missing: 1},
		FromServer: {Pings: 101, Pongs: 100, Missing: 1},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestMessagesAllocateNothing covers what most traffic is made of.
func TestMessageAllocatesNothing(t *testing.T) {
	if raceEnabled() { // a sync.Pool then drops some of what it gets
		t.Skip("run without -race by make test")
	}
	short := string(deflate(t, 6, `{"id":1,"text":"hello"}`)[0])
	long := string(deflate(t, 6, strings.Repeat(`{"id":2},`, 500))[0])
	for _, test := range []struct{ name, client, server string }{
		{"text", masked(0x81, testKey, "grüße"), unmasked(0x81, "grüße")},
		{"4 KiB", masked(0x81, testKey, strings.Repeat("x", 4<<10)), unmasked(0x82, strings.Repeat("x", 4<<10))},
		{"fragments", masked(0x01, testKey, "a") + masked(0x80, testKey, "b"), unmasked(0x01, "a") + unmasked(0x00, "b") + unmasked(0x80, "c")},
		{"compressed", "", unmasked(0xc1, short) + unmasked(0xc1, long)},
		{"ping and pong", masked(0x8a, testKey, "hb"), unmasked(0x89, "hb")},
	} {
		for _, messages := range []bool{true, false} {
			s := whole(SinkFunc(func(*Event) {}), pmd+"; server_no_context_takeover")
			if !messages {
				s.conn.messages = nil
			}
			client, server := []byte(test.client), []byte(test.server)
			feed := func() {
				s.Data(FromServer, start, server)
				s.Data(FromClient, start, client)
			}
			for range 300 { // until all buffers have their size
				feed()
			}
			if n := testing.AllocsPerRun(100, feed); n != 0 {
				t.Errorf("%s, messages %t: got %v allocations, want 0", test.name, messages, n)
			}
		}
	}
}

// TestMessageMemory sends messages far larger than what a session may keep.
func TestMessageMemory(t *testing.T) {
	s := whole(SinkFunc(func(*Event) {}), pmd)
	s.Data(FromServer, start, []byte("\x81\x7f\x00\x00\x00\xff\xff\xff\xff\xff"))
	chunk := bytes.Repeat([]byte("€"), 1<<18)
	for range 20 {
		s.Data(FromServer, start, chunk)
	}
	a := &s.conn.messages[FromServer]
	if n := cap(*a.buf); n > 2*MaxMessageData {
		t.Errorf("%d bytes are held of a message, want at most %d", n, 2*MaxMessageData)
	}
	if s.End(FromServer, start, EndFIN, ""); a.buf != nil {
		t.Error("the buffer is held after the end")
	}
}

// FuzzMessages checks that what is found in the bytes after a handshake does not
// depend on how they are cut, that nothing makes it panic, and that it holds
// no more than it may.
func FuzzMessages(f *testing.F) {
	f.Add([]byte(unmasked(0x01, "gr\xc3")+unmasked(0x89, "p")+unmasked(0x80, "\xbc\xff")), []byte(masked(0x8a, testKey, "p")), uint64(1))
	f.Add([]byte(unmasked(0x41, "\xf2\x48\xcd")+unmasked(0x80, "\xc9\xc9\x07\x00")+unmasked(0xc1, "\x02\x13\x00\x00")), []byte{}, uint64(2))
	f.Add([]byte(unmasked(0xc1, "\x06")+unmasked(0x88, "\x03\xe8")+unmasked(0x81, "")), []byte(masked(0x88, testKey, "\x03\xe9x")), uint64(3))
	f.Add([]byte(unmasked(0xc2, "\xed\xc1\x31\x01\x00\x00\x00\xc2\xa0\xf5\x4f\x6d")), []byte("\x83\x80\x00\x00\x00\x00"), uint64(4))
	f.Fuzz(func(t *testing.T, server, client []byte, seed uint64) {
		if len(server)+len(client) > 1<<12 {
			return
		}
		want := found(server, client, nil)
		if got := found(server, client, rand.New(rand.NewPCG(seed, 0))); !slices.Equal(got, want) {
			t.Errorf("cut, got\n\t%s\nwhole\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
	})
}

// found returns the violations and messages in what both sides send, cut at
// random places, or not at all.
func found(server, client []byte, r *rand.Rand) []string {
	var got record
	s := &Session{Sink: &got, Look: Look{Messages: true, Advice: true, Seen: new(Seen)}}
	s.Open(Info{Conn: 1, Time: start, Ext: pmd + "; client_no_context_takeover; server_max_window_bits=9"})
	s.Upgraded()
	now := start
	for i, b := range [][]byte{server, client, server} {
		now = now.Add(7 * time.Second)
		for len(b) > 0 {
			n := len(b)
			if r != nil {
				n = 1 + r.IntN(n)
			}
			s.Data(Dir(1-i%2), now, b[:n])
			b = b[n:]
		}
	}
	s.End(FromServer, now, EndFIN, "")
	s.End(FromClient, now, EndFIN, "")
	return got.findings()
}

func BenchmarkMessages(b *testing.B) {
	for _, size := range []int{128, 4 << 10, 1 << 20} {
		for _, messages := range []bool{false, true} {
			b.Run(fmt.Sprintf("%d/%t", size, messages), func(b *testing.B) {
				s := whole(SinkFunc(func(*Event) {}), "")
				if messages {
					s.conn.messages[FromClient].keep = 80 // as much as a line shows
				} else {
					s.conn.messages = nil
				}
				frame := []byte(masked(0x81, testKey, strings.Repeat("x", size)))
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					s.Data(FromClient, start, frame)
				}
			})
		}
	}
}
