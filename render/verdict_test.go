package render

import (
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestVerdictOfForbiddenCodes has codes in Close frames that say, where there is
// no such frame, that there is none.
func TestVerdictOfForbiddenCodes(t *testing.T) {
	for body, want := range map[string]string{
		"\x00":         "= closed 1005 by server (no code) after",
		"\x02\x03\xed": "= closed 1005 by server (No Status Rcvd) after",
		"\x02\x03\xee": "= closed 1006 by server (Abnormal Closure) after",
		"\x02\x00\x00": "= closed 0 by server after",
	} {
		var out strings.Builder
		s := &decode.Session{Sink: NewCompact(&out, Options{Preview: 80})}
		s.Open(decode.Info{Conn: 1})
		s.Upgraded()
		s.Data(decode.FromServer, time.Time{}, []byte("\x88"+body))
		s.End(decode.FromServer, time.Time{}, decode.EndLocal, "")
		s.End(decode.FromClient, time.Time{}, decode.EndLocal, "")
		if got := out.String(); !strings.Contains(got, want) {
			t.Errorf("close frame % x: got\n%swant %q", body, got, want)
		}
	}
}

// TestVerdictNamesTheCause has a client that ends without a close because of what
// the server did.
func TestVerdictNamesTheCause(t *testing.T) {
	start := time.Unix(1e9, 0)
	for _, c := range []struct {
		dir   decode.Dir
		bytes string
		want  string
	}{
		{decode.FromServer, "\x81\x01\xff", "= closed 1006 by client after server text-invalid-utf8 after 2.0 s"},
		{decode.FromClient, "\x89\x80\x01\x02\x03\x04", "= closed 1006 by client (end without close, no pong came to its ping) after 2.0 s"},
		{decode.FromServer, "\x81\x00", "= closed 1006 by client (end without close) after 2.0 s"},
	} {
		var out strings.Builder
		s := &decode.Session{Sink: NewCompact(&out, Options{Preview: 80}), Look: decode.Look{Messages: true}}
		s.Open(decode.Info{Conn: 1, Time: start})
		s.Upgraded()
		s.Data(c.dir, start, []byte(c.bytes))
		s.End(decode.FromClient, start.Add(2*time.Second), decode.EndFIN, "")
		s.End(decode.FromServer, start.Add(2*time.Second), decode.EndFIN, "")
		if got := out.String(); !strings.Contains(got, c.want) {
			t.Errorf("% x: got\n%swant %q", c.bytes, got, c.want)
		}
	}
}
