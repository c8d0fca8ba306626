package replay

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
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
}

// Error returns the difference as a sentence.
func (d *Difference) Error() string {
	if d.Line == 0 {
		return d.Text
	}
	return fmt.Sprintf("line %d: %s", d.Line, d.Text)
}

// Diff returns the content that was expected and the content that came, line by
// line as diff prints it, JSON with a line for each value. It is empty if only
// the sentence tells what differs.
func (d *Difference) Diff() string {
	if d.Want == nil || d.Got == nil || bytes.Equal(d.Want, d.Got) {
		return ""
	}
	as, bs := contentLines(d.Want), contentLines(d.Got)
	var out []byte
	for _, p := range pairs(as, bs) {
		switch {
		case p.a < 0:
			out = append(append(out, "+ "...), bs[p.b].key...)
		case p.b < 0:
			out = append(append(out, "- "...), as[p.a].key...)
		default:
			out = append(append(out, "  "...), as[p.a].key...)
		}
		out = append(out, '\n')
	}
	return string(out)
}

// contentLines returns the lines in which a content is shown in a diff.
func contentLines(b []byte) []*step {
	var list []*step
	add := func(line string) { list = append(list, &step{key: line}) }
	if !utf8.Valid(b) {
		for row := range slices.Chunk(b, 16) {
			add(fmt.Sprintf("% x", row))
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

// ErrStalled is wrapped by the error of a replay in which nothing happened for
// too long.
var ErrStalled = errors.New("nothing happens")
