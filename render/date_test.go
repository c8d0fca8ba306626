package render

import (
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestDate has a line with the date where the day changes, whichever way, and at
// the start if it is asked for; and none without a time of day.
func TestDate(t *testing.T) {
	days := []time.Time{
		time.Date(2026, 11, 21, 23, 59, 59, 0, time.UTC),
		time.Date(2026, 11, 21, 23, 59, 59, 999e6, time.UTC),
		time.Date(2026, 11, 22, 0, 0, 0, 0, time.UTC),
		time.Date(2026, 11, 21, 23, 59, 59, 0, time.UTC),
		time.Date(2027, 11, 21, 23, 59, 59, 0, time.UTC),
	}
	none := []time.Time{time.Unix(0, 0), time.Unix(1e5, 0), time.Unix(2e5, 0)}
	for _, c := range []struct {
		name  string
		o     Options
		times []time.Time
		want  string
	}{
		{"in the middle", Options{}, days, "- - 2026-11-22 - 2026-11-21 - 2027-11-21 -"},
		{"at the start too", Options{Date: true}, days, "2026-11-21 - - 2026-11-22 - 2026-11-21 - 2027-11-21 -"},
		{"no time of day", Options{Date: true}, none, "- - -"},
	} {
		for _, form := range forms {
			var out strings.Builder
			sink := newForm(form, &out, c.o)
			for _, at := range c.times {
				sink.Emit(&decode.Event{Kind: decode.KindNotice, Conn: 1, Info: new(decode.Info), Time: at, Text: "x"})
			}
			var got []string
			for line := range strings.Lines(out.String()) {
				if strings.HasSuffix(line, "x\n") {
					line = "-"
				}
				got = append(got, strings.TrimSuffix(line, "\n"))
			}
			if got := strings.Join(got, " "); got != c.want {
				t.Errorf("%s, %s: got %s, want %s", form, c.name, got, c.want)
			}
		}
	}
}
