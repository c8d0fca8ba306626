package decode

import (
	"bytes"
	"strings"
	"testing"
)

// TestInflate puts the messages of a session together only if they may be
// compressed.
func TestInflate(t *testing.T) {
	for ext, want := range map[string]bool{"": false, pmd: true, "x-other": false} {
		var r record
		s := &Session{Sink: &r, Look: Look{Inflate: true}}
		s.Open(Info{Conn: 1, Time: start, Ext: ext})
		s.Upgraded()
		s.Data(FromServer, start, []byte(unmasked(0x81, "a")))
		s.EndBoth(start, EndFIN, "")
		s.Done(start)
		together := false
		for _, ev := range r {
			together = together || ev.Kind == KindMessage
		}
		if totals := r[len(r)-1].Totals; together != want || totals.Checked != want {
			t.Errorf("%q: got messages %t, checked %t, want %t", ext, together, totals.Checked, want)
		}
	}
}

// TestPieces has the content of messages piece by piece, in whatever chunks they
// come.
func TestPieces(t *testing.T) {
	long := strings.Repeat("0123456789abcdé", 20_000) // 320 kB
	z := deflate(t, 6, long, long, "hello, hello")
	in := masked(0x01, testKey, "grü") + masked(0x89, testKey, "ping") + masked(0x80, testKey, "ße") +
		masked(0x82, testKey, long) +
		masked(0xc1, testKey, string(z[0])) + masked(0x41, testKey, string(z[1][:9])) + masked(0x80, testKey, string(z[1][9:])) +
		masked(0x82, testKey, "") + masked(0xc2, testKey, string(z[2]))
	want := []string{"grüße", long, long, long, "", "hello, hello"}
	for _, keep := range []int{0, 3} {
		for _, chunk := range []int{1, 2, 7, 1000, 1 << 20} {
			var got []string
			var content []byte
			s := &Session{Look: Look{Messages: true, Pieces: true, Keep: keep}, Sink: SinkFunc(func(ev *Event) {
				if content = append(content, ev.Content...); ev.Kind == KindFrame && ev.Message != nil {
					got, content = append(got, string(content)), nil
				}
				if ev.Unread || len(ev.Content) > 0 && !ev.Part {
					t.Errorf("got %s, unread %t, part %t", line(ev), ev.Unread, ev.Part)
				}
			})}
			s.Open(Info{Conn: 1, Time: start, Ext: pmd})
			s.Upgraded()
			for b := []byte(in); len(b) > 0; {
				n := min(chunk, len(b))
				s.Data(FromClient, start, b[:n])
				b = b[n:]
			}
			for i := range want {
				if len(got) != len(want) || got[i] != want[i] {
					t.Errorf("keep %d, chunks of %d: message %d of %d: got %.40q, want %.40q", keep, chunk, i, len(got), got[min(i, len(got)-1)], want[i])
				}
			}
		}
	}
}

// TestPiecesUnread tells of messages that can't be inflated, or not to the end, and
// of those behind them that refer to them.
func TestPiecesUnread(t *testing.T) {
	type piece struct {
		content      string
		part, unread bool
	}
	z := deflate(t, 6, "hel", "hello")
	flushed := string(z[0]) + "\x00\x00\xff\xff" // ends with a block; the next one begins with 7, of no type
	for _, test := range []struct {
		name, in string
		want     []piece
	}{
		{"bad block", unmasked(0x41, flushed) + unmasked(0x00, "\x07") + unmasked(0x80, "abc") + unmasked(0xc1, string(z[1])) + unmasked(0x81, "plain"),
			[]piece{{"hel", true, false}, {"", true, true}, {"", true, true}, {"", true, true}, {"plain", true, false}}},
		{"bad end", unmasked(0xc1, flushed+"\x07"), []piece{{"hel", true, true}}},
		{"another extension", unmasked(0x91, "abc"), []piece{{"", true, true}}},
		{"no message", unmasked(0x80, "abc"), []piece{{"", false, false}}},
		{"not text", unmasked(0x81, "\xff\xff"), []piece{{"\xff\xff", true, false}}},
	} {
		var got []piece
		s := &Session{Look: Look{Inflate: true, Pieces: true}, Sink: SinkFunc(func(ev *Event) {
			if ev.Kind == KindFrame {
				got = append(got, piece{string(ev.Content), ev.Part, ev.Unread})
			}
		})}
		s.Open(Info{Conn: 1, Time: start, Ext: pmd})
		s.Upgraded()
		s.Data(FromServer, start, []byte(test.in))
		if len(got) != len(test.want) {
			t.Errorf("%s: got %+v, want %+v", test.name, got, test.want)
			continue
		}
		for i, want := range test.want {
			if got[i] != want {
				t.Errorf("%s: frame %d: got %+v, want %+v", test.name, i, got[i], want)
			}
		}
	}
}

// TestPiecesCloned keeps content beyond the call.
func TestPiecesCloned(t *testing.T) {
	var r record
	s := &Session{Sink: &r, Look: Look{Messages: true, Pieces: true}}
	s.Open(Info{Conn: 1, Time: start})
	s.Upgraded()
	s.Data(FromServer, start, []byte(unmasked(0x81, "one")+unmasked(0x81, "two")))
	if got := r[1].Clone(); !bytes.Equal(got.Content, []byte("one")) {
		t.Errorf("got %q, want one", got.Content)
	}
}

// TestPiecesNoAllocations checks that pieces cost no memory for each message.
func TestPiecesNoAllocations(t *testing.T) {
	for _, pieces := range []bool{false, true} {
		var n int
		s := &Session{Look: Look{Messages: true, Pieces: pieces}, Sink: SinkFunc(func(ev *Event) { n += len(ev.Content) })}
		s.Open(Info{Conn: 1, Time: start, Ext: pmd})
		s.Upgraded()
		b := []byte(masked(0x81, testKey, "hello") + masked(0x82, testKey, strings.Repeat("x", 5000)))
		if got := testing.AllocsPerRun(100, func() { s.Data(FromClient, start, b) }); got != 0 && !raceEnabled() {
			t.Errorf("pieces %t: got %v allocations, want 0", pieces, got)
		}
		if n > 0 != pieces {
			t.Errorf("pieces %t: got %d bytes of content", pieces, n)
		}
	}
}
