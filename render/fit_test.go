package render

import (
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestFit checks that every line ends where the terminal does, and that what does not
// end in payload goes on below.
func TestFit(t *testing.T) {
	for _, columns := range []int{60, 80, 200} {
		for _, color := range []bool{false, true} {
			for _, form := range []string{"compact", "hex"} {
				o := Options{Preview: Fit, Color: color, Columns: func() int { return columns }}
				got := sequence.ReplaceAllString(show(t, "every-event", form, o), "")
				for line := range strings.Lines(got) {
					if n := columnsOf([]byte(strings.TrimSuffix(line, "\n"))); n > columns && (columns >= 80 || !strings.Contains(line, "  |")) {
						t.Errorf("%s: %d of %d columns: %s", form, n, columns, line)
					}
				}
			}
		}
	}
}

func TestFitPayload(t *testing.T) {
	const prefix = len("00:00:00.0000 #1 < text  10000001    400             ")
	for _, test := range []struct {
		payload string
		columns int
		want    string
	}{
		{strings.Repeat("x", 400), 80, `"` + strings.Repeat("x", 80-prefix-3) + `"…`},
		{strings.Repeat("語", 133) + "x", 80, `"` + strings.Repeat("語", (80-prefix-3)/2) + `"…`},
		{strings.Repeat("\n", 400), 80, `"` + strings.Repeat(`\n`, (80-prefix-3)/2) + `"…`},
		{`{"a":"` + strings.Repeat("b", 394), 80, `'{"a":"` + strings.Repeat("b", 80-prefix-9) + `'…`},
		{strings.Repeat("x", 400), 500, `"` + strings.Repeat("x", 400) + `"`},
	} {
		var b strings.Builder
		c := upgraded(NewCompact(&b, Options{Preview: Fit, Columns: func() int { return test.columns }}), decode.Info{Conn: 1})
		b.Reset()
		c.Data(decode.FromServer, time.Unix(0, 0).UTC(), []byte(frame(0x81, test.payload)))
		line := strings.TrimSuffix(b.String(), "\n")
		if got := line[min(prefix, len(line)):]; got != test.want {
			t.Errorf("%d columns, %.20q: got %s, want %s", test.columns, test.payload, line, test.want)
		}
	}
}

// TestFitWords checks that letters stand beside hexadecimal if there are words.
func TestFitWords(t *testing.T) {
	for _, test := range []struct {
		payload string
		want    bool
	}{
		{"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c", true},
		{"\x82\xa4type\xa3add", true},
		{"\x00abc\xff", false},
		{strings.Repeat("\x00\xff\x80", 20) + "four", false},
		{strings.Repeat("\x00\xff\x80", 20) + "/five", true},
	} {
		if got := hasWords([]byte(test.payload)); got != test.want {
			t.Errorf("%q: %v", test.payload, got)
		}
	}
}
