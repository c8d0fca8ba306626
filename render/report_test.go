package render

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
)

// reportOf returns the report on a session in which the server sends b, in
// chunks of at most size bytes, a second each.
func reportOf(t *testing.T, ext, b string, size int) string {
	t.Helper()
	var out strings.Builder
	rep := NewReport(&out, Options{}, decode.SeverityWarning)
	s := &decode.Session{Sink: rep, Look: decode.Look{Messages: true}}
	now := time.Date(2026, 11, 21, 19, 28, 31, 0, time.UTC)
	s.Open(decode.Info{Conn: 1, Time: now, Ext: ext})
	s.Upgraded()
	for len(b) > 0 {
		n := min(len(b), size)
		s.Data(decode.FromServer, now, []byte(b[:n]))
		s.Flush(decode.FromServer, now)
		b = b[n:]
		now = now.Add(time.Second)
	}
	s.Done(now)
	rep.End()
	return out.String()
}

// A frame that comes in pieces is shown once: its header, and the row of what is
// at hand that has the fault.
func TestReportOfPieces(t *testing.T) {
	frame := "\x81\x7e\x00\x90" + strings.Repeat("0123456789abcdef", 8) + "0123\xff56789abcdef"
	for size, want := range map[int]string{
		1000: `
  00000000  81 7e 00 90 30 31 32 33  34 35 36 37 38 39 61 62  |.~..0123456789ab|
  00000080  63 64 65 66 30 31 32 33  ff 35 36 37 38 39 61 62  |cdef0123.56789ab|
                                     ^^
`,
		16: `
  00000000  81 7e 00 90                                       |.~..|
  00000080  63 64 65 66 30 31 32 33  ff 35 36 37 38 39 61 62  |cdef0123.56789ab|
                                     ^^
`,
		134: `
  00000000  81 7e 00 90                                       |.~..|
  00000086  32 33 ff 35 36 37 38 39  61 62                    |23.56789ab|
                  ^^
`,
	} {
		if got := reportOf(t, "", frame, size); !strings.Contains(got, "144 bytes"+want) {
			t.Errorf("in pieces of %d bytes: got\n%swant\n%s", size, got, want)
		}
	}
	// The fault is in the first row, of which the later piece has a part.
	short := "\x81\x0c" + "abcdef" + "gh\xffijk"
	want := "12 bytes" + `
  00000000  81 0c                                             |..|
  00000008  67 68 ff 69 6a 6b                                 |gh.ijk|
                  ^^
`
	if got := reportOf(t, "", short, 8); !strings.Contains(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// A fault in a compressed message is shown in what that inflates to.
func TestReportOfInflated(t *testing.T) {
	text := "0123456789abcdef0123\xff567"
	got := reportOf(t, "permessage-deflate", storedFrame(text), 1000)
	want := ", inflated:" + `
  00000010  30 31 32 33 ff 35 36 37                           |0123.567|
                        ^^
`
	if !strings.Contains(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	got = reportOf(t, "permessage-deflate", storedFrame("0123456789abcdef\xc3"), 1000)
	want = ", inflated:" + `
  00000010  c3                                                |.|
            ^^
`
	if !strings.Contains(got, want) {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}

// storedFrame returns a frame with a compressed message of text, in a block that
// is stored.
func storedFrame(text string) string {
	n := byte(len(text))
	payload := append([]byte{0, n, 0, ^n, 0xff}, text...)
	payload = append(payload, 0)
	return string(append([]byte{0xc1, byte(len(payload))}, payload...))
}

func TestWrap(t *testing.T) {
	long := strings.Repeat("x", 100)
	for _, c := range []struct{ line, want string }{
		{"short", "short"},
		{strings.Repeat("x", 80), strings.Repeat("x", 80)},
		{strings.Repeat("x", 80) + " y", strings.Repeat("x", 80) + "\n    y"},
		{"a " + long, "a\n    " + long[:76] + "\n    " + long[76:]},
		{strings.Repeat("é", 79) + "  bc", strings.Repeat("é", 79) + "\n    bc"},
		{strings.Repeat("x", 66) + " (RFC 6455 §5.1)", strings.Repeat("x", 66) + "\n    (RFC 6455 §5.1)"},
		{"\x1b[1m" + strings.Repeat("x", 80) + "\x1b[22m", "\x1b[1m" + strings.Repeat("x", 80) + "\x1b[22m"},
	} {
		p := printer{}
		p.text(c.line)
		p.wrap(0, 80, 4)
		got := string(p.buf)
		if got != c.want {
			t.Errorf("%q: got %q, want %q", c.line, got, c.want)
		}
	}
}

// checkColumns checks that no line of a report is too long.
func checkColumns(t *testing.T, report string) {
	t.Helper()
	for line := range strings.Lines(report) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > reportColumns {
			t.Errorf("%d columns: %s", n, line)
		}
	}
}
