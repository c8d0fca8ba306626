package render

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestLaterPieces shows as much of a payload as was asked for, also where it
// comes in pieces: because it is slow, or longer than a piece.
func TestLaterPieces(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.Local)
	show := func(preview int, play func(s *decode.Session)) string {
		var out bytes.Buffer
		s := &decode.Session{Sink: NewCompact(&out, Options{Preview: preview})}
		s.Open(decode.Info{Conn: 1, Time: at})
		s.Upgraded()
		play(s)
		return strings.ReplaceAll(out.String(), "03:04:05.0000 #1 ", "")
	}
	slow := func(s *decode.Session) {
		s.Data(decode.FromServer, at, []byte("\x81\x0aslo"))
		s.Flush(decode.FromServer, at)
		s.Data(decode.FromServer, at, []byte("w frame"))
	}
	if got, want := show(80, slow), "< text  10000001     10             \"slo\"… 3 bytes so far\n< text  7 more bytes \"w frame\"\n"; got != want {
		t.Errorf("slow frame: got\n%swant\n%s", got, want)
	}
	if got, want := show(5, slow), "< text  10000001     10             \"slo\"… 3 bytes so far\n< text  7 more bytes \"w \"…\n"; got != want {
		t.Errorf("slow frame, 5 bytes of it: got\n%swant\n%s", got, want)
	}
	long := func(s *decode.Session) {
		s.Data(decode.FromServer, at, append([]byte("\x81\x7f\x00\x00\x00\x00\x00\x03\x0d\x40"), strings.Repeat("x", 200_000)...))
	}
	if got, want := show(2, long), "< text  10000001 200000             \"xx\"…\n"; got != want {
		t.Errorf("long frame: got\n%swant\n%s", got, want)
	}
	if got := show(300_000, long); strings.Count(got, "x") != 200_000+strings.Count(got, "text") || strings.Count(got, "\n") != 4 {
		t.Errorf("long frame, all of it: got %d bytes in %d lines, want the whole payload in 4", len(got), strings.Count(got, "\n"))
	}
}
