package replay

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A comparison looks for the first difference between two JSON values.
type comparison struct {
	ignored  func(at pick.Place) bool // whether the value there may be any or missing
	captured func(at pick.Place) bool // whether a string or number there may be another
	like     func(want, got any) bool // whether a recorded value stands for another
	shown    func(any) []byte         // what came, as it may be shown
	at       pick.Place               // of the values at hand
}

// A jsonDiff is a difference between two documents. A side is nil where the
// value is missing.
type jsonDiff struct {
	at        pick.Place
	want, got []byte
}

// values compares two values, and returns nil if they count as equal.
func (c *comparison) values(want, got any) *jsonDiff {
	if c.ignored(c.at) || canCapture(want) && canCapture(got) && c.captured(c.at) || c.like(want, got) {
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
	return c.differ(pick.Encode(want), c.shown(got))
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
		return c.differ(pick.Encode(want), nil)
	}
	return c.differ(nil, c.shown(got))
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

// String says what differs: "where $.id is 8, expected 7".
func (d *jsonDiff) String() string {
	at := d.at
	switch {
	case d.got == nil:
		return fmt.Sprintf("where %s is missing, expected %s", at, shorten(d.want))
	case d.want == nil:
		return fmt.Sprintf("where %s is %s, which is not expected", at, shorten(d.got))
	}
	want, got := bothAround(string(d.want), string(d.got), maxDiffLine)
	return fmt.Sprintf("where %s is %s, expected %s", at, got, want)
}

// shorten returns the beginning of a value that is to be shown.
func shorten(b []byte) string {
	if len(b) <= maxShown {
		return string(b)
	}
	return string(decode.WholeChars(b[:maxShown])) + "…"
}
