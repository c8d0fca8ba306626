package replay

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// A part is a stretch of a message: a JSON document, or what stands between
// documents. Many protocols put a few characters before the JSON, or several
// documents into one message. There a document is an object or an array; alone,
// perhaps with space around it, it may be a string.
type part struct {
	bytes []byte
	json  bool
}

// maxTries is how many times a bracket in a message may turn out not to begin
// a document before the rest is taken as plain text.
const maxTries = 32

// parts returns the parts of a message, in order.
func parts(b []byte) []part {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && bytes.IndexByte([]byte(`{["`), t[0]) >= 0 && utf8.Valid(b) && json.Valid(b) {
		return []part{{b, true}}
	}
	var list []part
	plain := 0 // where plain text begins
	if utf8.Valid(b) {
		for i, tries := 0, 0; i < len(b) && tries < maxTries; i++ {
			if b[i] != '{' && b[i] != '[' {
				continue
			}
			n := documentLen(b[i:])
			if n == 0 {
				tries++
				continue
			}
			if plain < i {
				list = append(list, part{b[plain:i], false})
			}
			list = append(list, part{b[i : i+n], true})
			plain = i + n
			i = plain - 1
		}
	}
	if plain < len(b) {
		list = append(list, part{b[plain:], false})
	}
	return list
}

// documentLen returns the length of the JSON document that b begins with, or 0.
func documentLen(b []byte) int {
	d := json.NewDecoder(bytes.NewReader(b))
	var raw json.RawMessage
	if d.Decode(&raw) != nil {
		return 0
	}
	return int(d.InputOffset())
}

// parse returns the value of a document.
func parse(doc []byte) any {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.UseNumber()
	var v any
	d.Decode(&v) // a document is valid
	return v
}

// A scalar is a string, number, true, false or null in a document.
type scalar struct {
	at         []any // its place; valid during the visit
	start, end int   // in the document
	value      any   // string, json.Number, bool or nil
}

// A visitor sees the values of a document, in order.
type visitor struct {
	scalar func(scalar)
	// name, if not nil, sees the name of each member, before its value.
	name func(name string, start, end int)
	// enter, if not nil, sees each object and array before what is inside; if
	// it returns false, the inside is passed over.
	enter func(at []any, start, end int) bool
}

// walk leads v through a document, and returns where the document ends.
func (v *visitor) walk(doc []byte) {
	w := walker{visitor: v, doc: doc, d: json.NewDecoder(bytes.NewReader(doc))}
	w.d.UseNumber()
	w.value(nil, false)
}

type walker struct {
	*visitor
	doc []byte
	d   *json.Decoder
}

// value visits the next value, or only passes over it. It reports false if
// there is none: the object or array ends here.
func (w *walker) value(at []any, quiet bool) bool {
	start := int(w.d.InputOffset())
	tok, err := w.d.Token()
	if err == io.EOF || err != nil || tok == json.Delim('}') || tok == json.Delim(']') {
		return false
	}
	for bytes.IndexByte([]byte(" \t\r\n,:"), w.doc[start]) >= 0 {
		start++
	}
	switch tok {
	case json.Delim('{'), json.Delim('['):
		if !quiet && w.enter != nil {
			end := start + documentLen(w.doc[start:])
			quiet = !w.enter(at, start, end)
		}
		for i := 0; ; i++ {
			var key any = i
			if tok == json.Delim('{') {
				start := int(w.d.InputOffset())
				if key, err = w.d.Token(); key == json.Delim('}') || err != nil {
					return true
				}
				if !quiet && w.name != nil {
					start += bytes.IndexByte(w.doc[start:], '"')
					w.name(key.(string), start, int(w.d.InputOffset()))
				}
			}
			if !w.value(append(at, key), quiet) {
				return true
			}
		}
	}
	if !quiet {
		w.scalar(scalar{at, start, int(w.d.InputOffset()), tok})
	}
	return true
}

// An edit replaces bytes of a document.
type edit struct {
	start, end int
	text       []byte
}

// applyEdits appends b with the edits made, which are in order, to dst.
func applyEdits(dst, b []byte, edits []edit) []byte {
	from := 0
	for _, e := range edits {
		dst = append(dst, b[from:e.start]...)
		dst = append(dst, e.text...)
		from = e.end
	}
	return append(dst, b[from:]...)
}

// A comparison looks for the first difference between two JSON values.
type comparison struct {
	ignored  func(at []any) bool // whether the value there may be any or missing
	captured func(at []any) bool // whether a string or number there may be another
	at       []any
}

// A jsonDiff is a difference between two documents. A side is nil where the
// value is missing.
type jsonDiff struct {
	at        []any
	want, got []byte
}

func (c *comparison) values(want, got any) *jsonDiff {
	if c.ignored(c.at) || canCapture(want) && canCapture(got) && c.captured(c.at) {
		return nil
	}
	switch want := want.(type) {
	case map[string]any:
		if got, ok := got.(map[string]any); ok {
			return c.objects(want, got)
		}
	case []any:
		if got, ok := got.([]any); ok {
			return c.arrays(want, got)
		}
	case json.Number:
		if got, ok := got.(json.Number); ok && sameNumber(string(want), string(got)) {
			return nil
		}
	default:
		if want == scalarOf(got) {
			return nil
		}
	}
	return c.differ(compact(want), compact(got))
}

// canCapture reports whether v is a string or a number.
func canCapture(v any) bool {
	switch v.(type) {
	case string, json.Number:
		return true
	}
	return false
}

// scalarOf returns v in a form that == can look at.
func scalarOf(v any) any {
	switch v.(type) {
	case map[string]any, []any:
		return errNotScalar
	}
	return v
}

var errNotScalar = new(int)

func (c *comparison) objects(want, got map[string]any) *jsonDiff {
	names := make([]string, 0, len(want)+len(got))
	for name := range want {
		names = append(names, name)
	}
	for name := range got {
		if _, ok := want[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	for _, name := range names {
		w, inWant := want[name]
		g, inGot := got[name]
		if d := c.inside(name, w, g, inWant, inGot); d != nil {
			return d
		}
	}
	return nil
}

func (c *comparison) arrays(want, got []any) *jsonDiff {
	for i := range max(len(want), len(got)) {
		var w, g any
		if i < len(want) {
			w = want[i]
		}
		if i < len(got) {
			g = got[i]
		}
		if d := c.inside(i, w, g, i < len(want), i < len(got)); d != nil {
			return d
		}
	}
	return nil
}

func (c *comparison) inside(key, want, got any, inWant, inGot bool) *jsonDiff {
	c.at = append(c.at, key)
	defer func() { c.at = c.at[:len(c.at)-1] }()
	switch {
	case inWant && inGot:
		return c.values(want, got)
	case c.ignored(c.at):
		return nil
	case inWant:
		return c.differ(compact(want), nil)
	}
	return c.differ(nil, compact(got))
}

func (c *comparison) differ(want, got []byte) *jsonDiff {
	return &jsonDiff{slices.Clone(c.at), want, got}
}

// sameNumber reports whether two numbers have the same value, as far as both
// are held exactly by a float64.
func sameNumber(a, b string) bool {
	if a == b {
		return true
	}
	x, err1 := strconv.ParseFloat(a, 64)
	y, err2 := strconv.ParseFloat(b, 64)
	return err1 == nil && err2 == nil && x == y && math.Abs(x) < 1<<53
}

// compact returns v as JSON.
func compact(v any) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}
