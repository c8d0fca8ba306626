package replay

import (
	"bytes"
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
	Unused []string // with CaptureAuto: selectors of what looks made up and does not come back, if that is all that differs
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
	maxDiffLine  = 200 // bytes; of a longer one the place of the change is shown
	lineShown    = 120 // bytes of such a line
)

// Diff returns where the content that was expected and the content that came
// differ, line by line as diff prints it, with a few lines around: JSON with a line
// for each value, what is no text in hexadecimal with offsets. It is empty if only
// the sentence tells what differs.
func (d *Difference) Diff() string {
	if d.Want == nil || d.Got == nil || bytes.Equal(d.Want, d.Got) {
		return ""
	}
	as, bs := contentLines(d.Want), contentLines(d.Got)
	var rows []row
	var dropped []int // of rows, not paired with one that was added
	for _, p := range pairs(as, bs) {
		switch {
		case p.a < 0:
			r := row{mark: '+', text: bs[p.b].text}
			marks := ""
			if len(dropped) > 0 {
				old := &rows[dropped[0]]
				dropped = dropped[1:]
				if hexRow(old.text) && hexRow(r.text) {
					marks = marksOfHex(old.text, r.text)
				}
				old.text, r.text = bothAround(old.text, r.text)
			}
			rows = append(rows, r)
			if marks != "" {
				rows = append(rows, row{mark: '?', text: marks})
			}
		case p.b < 0:
			dropped = append(dropped, len(rows))
			rows = append(rows, row{mark: '-', text: as[p.a].text})
		default:
			dropped = nil
			rows = append(rows, row{mark: ' ', text: as[p.a].text})
		}
	}
	var out []byte
	lines, all := 0, len(rows) <= maxDiffLines
	for i := range rows {
		switch {
		case lines == maxDiffLines:
			return string(append(out, "  …\n"...))
		case all || near(rows, i):
			lines++
			out = append(append(append(out, rows[i].mark, ' '), cropped(rows[i].text, 0)...), '\n')
		case i > 0 && near(rows, i-1):
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

// bothAround returns two lines, or of long ones what is around the place where they
// begin to differ.
func bothAround(a, b string) (string, string) {
	n := 0
	for n < min(len(a), len(b)) && a[n] == b[n] {
		n++
	}
	return cropped(a, n), cropped(b, n)
}

// cropped returns a line, or of a long one what is around the byte at an offset.
func cropped(line string, at int) string {
	if len(line) <= maxDiffLine {
		return line
	}
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
func contentLines(b []byte) []*step {
	var list []*step
	add := func(line string) { list = append(list, &step{key: line, text: line}) }
	if !isText(b) {
		for at := 0; at < len(b); at += 16 {
			row := fmt.Sprintf("% x", b[at:min(at+16, len(b))])
			list = append(list, &step{key: row, text: fmt.Sprintf("%08x  %s", at, row)})
		}
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

// isText reports whether b is UTF-8 with few control characters.
func isText(b []byte) bool {
	if !utf8.Valid(b) {
		return false
	}
	control := 0
	for _, c := range b {
		if c < ' ' && c != '\n' && c != '\r' && c != '\t' && c != 0x1e && c != 0x1b {
			control++
		}
	}
	return control*8 <= len(b)
}

// ErrStalled is wrapped by the error of a replay in which nothing happened for
// too long.
var ErrStalled = errors.New("nothing happens")
