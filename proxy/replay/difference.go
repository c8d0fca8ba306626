package replay

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A Difference is where a replay came apart from the recording.
type Difference struct {
	Line int    // of the trace; 0 if none
	Text string // what was expected, what came, and after which frame
	Want []byte // the content expected, nil if there is none; has … for what is not compared
	Got  []byte // the content that came, nil if there is none; likewise

	Header string   // the header of a handshake that differs; "" for none
	Anew   []string // without CaptureAuto: selectors of what looks made up anew, here or before, and is used later, so that it should be captured
	Unused []string // selectors of what looks made up and does not come back, or is a time, if that and Anew is all that differs
}

// Error returns the difference as a sentence.
func (d *Difference) Error() string {
	if d.Line == 0 {
		return d.Text
	}
	return fmt.Sprintf("line %d: %s", d.Line, d.Text)
}

// Limits for what Diff returns.
const (
	maxDiffLines = 40  // all, or those with a change and a few around each
	maxDiffLine  = 200 // bytes, unless told otherwise; of a longer one the place of the change is shown
)

// Diff returns where the content that was expected and the content that came
// differ, line by line as diff prints it, with a few lines around: JSON with a line
// for each value, XML with one for each tag, what is no text in hexadecimal with
// offsets. Of a line that has more than width bytes what is around the difference is
// shown; a width of 0 is 200, and for a lower one nothing is. Diff is empty if only the
// sentence tells what differs.
func (d *Difference) Diff(width int) string {
	if width < 0 || d.Want == nil || d.Got == nil || bytes.Equal(d.Want, d.Got) {
		return ""
	}
	width = cmp.Or(width, maxDiffLine)
	as, bs := contentLines(d.Want), contentLines(d.Got)
	type line struct {
		mark byte
		text string
	}
	var rows []line
	var dropped []int // of rows, not paired with one that was added
	for _, p := range pairs(as, bs) {
		switch {
		case p.a < 0:
			r := line{'+', bs[p.b].text}
			marks := ""
			if len(dropped) > 0 {
				old := &rows[dropped[0]]
				dropped = dropped[1:]
				if hexRow(old.text) && hexRow(r.text) {
					marks = marksOfHex(old.text, r.text)
				}
				old.text, r.text = bothAround(old.text, r.text, width)
			}
			rows = append(rows, r)
			if marks != "" {
				rows = append(rows, line{'?', marks})
			}
		case p.b < 0:
			dropped = append(dropped, len(rows))
			rows = append(rows, line{'-', as[p.a].text})
		default:
			dropped = nil
			rows = append(rows, line{' ', as[p.a].text})
		}
	}
	changed := func(i int) bool { return rows[i].mark != ' ' }
	var out []byte
	lines, all := 0, len(rows) <= maxDiffLines
	for i := range rows {
		switch {
		case lines == maxDiffLines:
			return string(append(out, "  …\n"...))
		case all || near(len(rows), i, changed):
			lines++
			out = append(append(append(out, rows[i].mark, ' '), cropped(rows[i].text, 0, width)...), '\n')
		case i > 0 && near(len(rows), i-1, changed):
			out = append(out, "  …\n"...)
		}
	}
	return string(out)
}

// hexRow reports whether a line is one of bytes in hexadecimal.
func hexRow(line string) bool { return len(line) > 10 && line[8:10] == "  " && isHex(line[:8]) }

func isHex(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return !strings.ContainsRune("0123456789abcdef", r) }) < 0
}

// marksOfHex returns marks below the bytes of b that are not those of a.
func marksOfHex(a, b string) string {
	marks := make([]byte, len(b))
	for i := range marks {
		marks[i] = ' '
	}
	for i := 10; i < len(b); i += 3 {
		if i+2 > len(a) || a[i:i+2] != b[i:i+2] {
			marks[i], marks[i+1] = '^', '^'
		}
	}
	return strings.TrimRight(string(marks), " ")
}

// bothAround returns two lines, or of those that are longer than width what is around
// the place where they begin to differ.
func bothAround(a, b string, width int) (string, string) {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return cropped(a, n, width), cropped(b, n, width)
}

// cropped returns a line, or of one that is longer than width what is around the byte
// at an offset.
func cropped(line string, at, width int) string {
	if len(line) <= width {
		return line
	}
	lineShown := max(width*3/5, utf8.UTFMax)
	from := max(min(at, len(line))-lineShown/3, 0)
	for from > 0 && !utf8.RuneStart(line[from]) {
		from--
	}
	to := from + len(decode.WholeChars([]byte(line[from:min(from+lineShown, len(line))])))
	s := line[from:to]
	if from > 0 {
		s = "… " + s
	}
	if to < len(line) {
		s += " …"
	}
	return s
}

// contentLines returns the lines in which a content is shown in a diff.
func contentLines(b []byte) []step {
	var list []step
	add := func(line string) { list = append(list, step{key: keyOf(line), text: line}) }
	if !isText(b) {
		for at := 0; at < len(b); at += 16 {
			row := fmt.Sprintf("% x", b[at:min(at+16, len(b))])
			list = append(list, step{key: keyOf(row), text: fmt.Sprintf("%08x  %s", at, row)})
		}
		return list
	}
	if root := pick.ParseXML(b); root != nil {
		xmlLines(root, "", "", add)
		return list
	}
	for _, p := range pick.Parts(b) {
		if p.JSON {
			var buf bytes.Buffer
			e := json.NewEncoder(&buf)
			e.SetEscapeHTML(false)
			e.SetIndent("", "  ")
			e.Encode(pick.Decode(p.Bytes)) // with its names in order
			for line := range strings.Lines(buf.String()) {
				add(string(decode.AppendEscaped(nil, []byte(strings.TrimSuffix(line, "\n")), false)))
			}
			continue
		}
		for line := range strings.Lines(string(p.Bytes)) {
			q := strconv.Quote(strings.TrimSuffix(line, "\n"))
			add(q[1 : len(q)-1])
		}
	}
	return list
}

// isText reports whether most of b is text: seven of eight bytes are UTF-8 and no
// control characters.
func isText(b []byte) bool {
	others := 0
	for i := 0; i < len(b); {
		r, n := utf8.DecodeRune(b[i:])
		if r == utf8.RuneError && n == 1 || r < ' ' && r != '\n' && r != '\r' && r != '\t' && r != 0x1e && r != 0x1b {
			others++
		}
		i += n
	}
	return others*8 <= len(b)
}

// ErrStalled is wrapped by the error of a replay in which nothing happened for
// too long.
var ErrStalled = errors.New("nothing happens")

// ErrOtherSession is wrapped too where another session of the trace, which is not
// played, came before what the replay waits for: it may be what that answers.
var ErrOtherSession = errors.New("another session came before")
