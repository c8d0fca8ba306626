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
