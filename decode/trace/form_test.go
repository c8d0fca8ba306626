package trace

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestContinuationForm checks that a continuation is recorded in the form of its
// message: zeros of a binary one are UTF-8 too, and as text take six times as much.
func TestContinuationForm(t *testing.T) {
	var rec bytes.Buffer
	s := &decode.Session{Sink: NewWriter(&rec, Options{})}
	s.Open(decode.Info{Conn: 1})
	s.Upgraded()
	zeros := strings.Repeat("\x00", 100)
	s.Data(decode.FromServer, time.Time{}, []byte("\x02\x02\xff\x01"+"\x00\x64"+zeros+"\x89\x02hb"+"\x80\x02ok"+"\x01\x01a"+"\x80\x02ok"))
	var got []string
	for line := range strings.Lines(rec.String()) {
		if _, payload, ok := strings.Cut(line, `"op":`); ok {
			got = append(got, strings.TrimSpace(payload))
		}
	}
	want := []string{
		`"bin","fin":false,"b64":"/wE="}`,
		`"cont","fin":false,"b64":"` + strings.Repeat("A", 134) + `=="}`,
		`"ping","text":"hb"}`,
		`"cont","b64":"b2s="}`,
		`"text","fin":false,"text":"a"}`,
		`"cont","text":"ok"}`,
	}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
