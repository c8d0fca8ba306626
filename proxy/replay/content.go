package replay

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"unicode"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode/pick"
)

// A capture takes a value out of what the other side sends, which differs from
// the recorded one, to use it in place of the recorded one from then on.
type capture struct {
	from pick.Selector
	into []pick.Selector // where in later messages the value stands; nil: anywhere
}

// A found value has been captured.
type found struct {
	recorded, live any // string or json.Number
	into           []pick.Selector
}

// content says when two messages are equal.
type content struct {
	ignore   []pick.Selector
	captures []capture
}

// differs compares a message that came with the recorded one, in which values
// captured earlier have their place already. It returns "" if they are equal,
// and otherwise where they are not, to be put behind what came.
func (c *content) differs(want, got []byte, text bool) string {
	if bytes.Equal(want, got) {
		return ""
	}
	if !text {
		return bytesDiffer(c.withoutMatches(want), c.withoutMatches(got))
	}
	want, got = c.withoutMatches(want), c.withoutMatches(got)
	ws, gs := pick.Parts(want), pick.Parts(got)
	alike := len(ws) == len(gs)
	for i := 0; alike && i < len(ws); i++ {
		alike = ws[i].JSON == gs[i].JSON
	}
	if !alike {
		return bytesDiffer(want, got)
	}
	at := 0
	for i, w := range ws {
		g := gs[i]
		if w.JSON {
			if why := c.documentsDiffer(w.Bytes, g.Bytes); why != "" {
				return why
			}
		} else if n := common(w.Bytes, g.Bytes); n < len(w.Bytes) || n < len(g.Bytes) {
			return differAt(at + n)
		}
		at += len(g.Bytes)
	}
	return ""
}

// documentsDiffer says where two JSON documents differ, if they do.
func (c *content) documentsDiffer(want, got []byte) string {
	cmp := comparison{ignored: c.ignored, captured: c.captured}
	if d := cmp.values(pick.Decode(want), pick.Decode(got)); d != nil {
		return d.String()
	}
	return ""
}

// compared returns a text with … for each value, and in what is no JSON for each
// match, that is not compared.
func (c *content) compared(b []byte) []byte {
	if len(c.ignore) == 0 && len(c.captures) == 0 {
		return b
	}
	out := []byte{}
	for _, p := range pick.Parts(b) {
		if !p.JSON {
			out = append(out, c.mapMatches(p.Bytes, []byte("…"))...)
			continue
		}
		var edits []pick.Edit
		v := pick.Visitor{
			Enter: func(at pick.Place, span pick.Span) bool {
				if !c.free(at) {
					return true
				}
				edits = append(edits, pick.Edit{Span: span, Text: []byte(`"…"`)})
				return false
			},
			Scalar: func(s pick.Scalar) {
				if c.free(s.At) {
					edits = append(edits, pick.Edit{Span: s.Span, Text: []byte(`"…"`)})
				}
			},
		}
		v.Walk(p.Bytes)
		out = pick.Apply(out, p.Bytes, edits)
	}
	return out
}

// ignored reports whether the value at a place is not compared, and may be
// missing.
func (c *content) ignored(at pick.Place) bool {
	return slices.ContainsFunc(c.ignore, func(s pick.Selector) bool { return s.Path != nil && s.Path.Matches(at) })
}

// captured reports whether the value at a place is captured, so that it may be
// another one.
func (c *content) captured(at pick.Place) bool {
	return slices.ContainsFunc(c.captures, func(c capture) bool { return c.from.Path != nil && c.from.Path.Matches(at) })
}

// free reports whether the value at a place need not be the recorded one.
func (c *content) free(at pick.Place) bool { return c.ignored(at) || c.captured(at) }

// withoutMatches returns b with what the regular expressions match taken out.
func (c *content) withoutMatches(b []byte) []byte { return c.mapMatches(b, nil) }

// mapMatches returns b with text in place of what the regular expressions match.
func (c *content) mapMatches(b, text []byte) []byte {
	for i := range c.ignore {
		if expr := c.ignore[i].Expr; expr != nil {
			b = expr.ReplaceAllLiteral(b, text)
		}
	}
	for i := range c.captures {
		from := c.captures[i].from
		if from.Expr == nil {
			continue
		}
		var edits []pick.Edit
		for _, span := range from.Spans(b) {
			edits = append(edits, pick.Edit{Span: span, Text: text})
		}
		b = pick.Apply(nil, b, edits)
	}
	return b
}

// capture returns what the captures find in a message that came and in the
// recorded one, where it is not the same.
func (c *content) capture(want, got []byte) []found {
	var fs []found
	for i := range c.captures {
		cap := &c.captures[i]
		ws, gs := cap.from.Values(want), cap.from.Values(got)
		for i := range min(len(ws), len(gs)) {
			fs = append(fs, found{ws[i], gs[i], cap.into})
		}
	}
	return fs
}

// put returns the recorded text with the values found put in place of those
// recorded. It returns b itself if there are none in it.
func put(b []byte, fs []found) []byte {
	if len(fs) == 0 {
		return b
	}
	var out []byte
	changed := false
	for _, p := range pick.Parts(b) {
		if !p.JSON {
			text := putText(string(p.Bytes), fs, nil)
			changed = changed || text != string(p.Bytes)
			out = append(out, text...)
			continue
		}
		var edits []pick.Edit
		v := pick.Visitor{Scalar: func(s pick.Scalar) {
			var live any
			switch value := s.Value.(type) {
			case string:
				live = putText(value, fs, s.At)
			case json.Number:
				live = putNumber(value, fs, s.At)
			default:
				return
			}
			if live != s.Value {
				edits = append(edits, pick.Edit{Span: s.Span, Text: pick.Encode(live)})
			}
		}, Name: func(name string, span pick.Span) {
			if live := putText(name, fs, nil); live != name {
				edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(live)})
			}
		}}
		v.Walk(p.Bytes)
		changed = changed || len(edits) > 0
		out = pick.Apply(out, p.Bytes, edits)
	}
	if !changed {
		return b
	}
	return out
}

// goes reports whether f is to be put at a place in a document, or at nil,
// outside of documents.
func (f *found) goes(at pick.Place) bool {
	return f.into == nil || at != nil && slices.ContainsFunc(f.into, func(s pick.Selector) bool {
		return s.Path != nil && s.Path.Matches(at)
	})
}

func putNumber(n json.Number, fs []found, at pick.Place) any {
	for i := range fs {
		if f := &fs[i]; f.recorded == n && f.goes(at) {
			return f.live
		}
	}
	return n
}

// putText replaces the recorded strings where they stand in s as a word.
func putText(s string, fs []found, at pick.Place) string {
	var out []byte
	from := 0
next:
	for i := 0; i < len(s); i++ {
		for k := range fs {
			f := &fs[k]
			rec, ok := f.recorded.(string)
			if !ok || rec == "" || !f.goes(at) || !isWord(s, i, rec) {
				continue
			}
			out = append(out, s[from:i]...)
			out = fmt.Append(out, f.live)
			i += len(rec) - 1
			from = i + 1
			continue next
		}
	}
	if from == 0 {
		return s
	}
	return string(append(out, s[from:]...))
}

// isWord reports whether word stands in s at i, and neither a letter nor a
// digit is next to it.
func isWord(s string, i int, word string) bool {
	if len(s)-i < len(word) || s[i:i+len(word)] != word {
		return false
	}
	before, _ := utf8.DecodeLastRuneInString(s[:i])
	after, _ := utf8.DecodeRuneInString(s[i+len(word):])
	return !unicode.IsLetter(before) && !unicode.IsDigit(before) && !unicode.IsLetter(after) && !unicode.IsDigit(after)
}

// remember adds what was found, or replaces what was found before for the same
// recorded value.
func remember(fs, more []found) []found {
	for _, f := range more {
		fs = slices.DeleteFunc(fs, func(o found) bool { return o.recorded == f.recorded })
		fs = append(fs, f)
	}
	return fs
}

func bytesDiffer(want, got []byte) string {
	n := common(want, got)
	if n == len(want) && n == len(got) {
		return "" // but for what is ignored
	}
	return differAt(n)
}

func differAt(n int) string { return fmt.Sprintf("which differs at byte %d", n) }

// common returns how many bytes a and b have in common at their start.
func common(a, b []byte) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

// String says what differs: "where $.id is 8, expected 7".
func (d *jsonDiff) String() string {
	at := d.at
	switch {
	case d.got == nil:
		return fmt.Sprintf("where %s is missing, expected %s", at, shorten(d.want))
	case d.want == nil:
		return fmt.Sprintf("where %s is %s, which is not expected", at, shorten(d.got))
	}
	return fmt.Sprintf("where %s is %s, expected %s", at, shorten(d.got), shorten(d.want))
}

// maxShown is how many bytes of a payload or value are shown in a sentence.
const maxShown = 120

func shorten(b []byte) string {
	if len(b) <= maxShown {
		return string(b)
	}
	n := maxShown
	for n > 0 && !utf8.RuneStart(b[n]) {
		n--
	}
	return string(b[:n]) + "…"
}
