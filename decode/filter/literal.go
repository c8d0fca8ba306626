package filter

import (
	"encoding/hex"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
)

// A literal is a value that a field is compared with.
type literal struct {
	token
	n     int64
	s     string
	x     float64 // of a JSON number
	json  jsonKind
	clock bool // n is nanoseconds since midnight
	re    *regexp.Regexp
}

type jsonKind uint8

const (
	jsonString jsonKind = iota
	jsonNumber
	jsonWord // true, false, null
)

// allowed says which operators a type has.
var allowed = [...]string{
	Bool:     "== !=",
	Number:   "== != < <= > >= in",
	Size:     "== != < <= > >= in",
	Duration: "== != < <= > >= in",
	Seconds:  "== != < <= > >= in",
	Time:     "== != < <= > >=",
	Text:     "== != contains matches in",
	Binary:   "== != contains matches in",
	Word:     "== != in",
	JSON:     "== != < <= > >= contains matches in",
}

// literal returns what t is for a field that op compares. why says what is wrong,
// and where whether that is t and not the operator.
func (f *Field) literal(op string, t token) (v literal, where bool, why string) {
	ops := allowed[f.Type]
	if f.Ordered {
		ops = allowed[Number]
	}
	if !slices.Contains(strings.Fields(ops), strings.TrimPrefix(op, "not ")) {
		return v, false, fmt.Sprintf("is a %s and can't be compared by %s; it has %s", f.Type, op, ops)
	}
	v.token = t
	if op == "matches" {
		re, err := regexp.Compile(t.text)
		if err != nil {
			return v, true, strings.TrimPrefix(err.Error(), "error parsing regexp: ")
		}
		v.re = re
		return v, true, ""
	}
	if t.kind == tokenString && f.Type != Text && f.Type != Binary && f.Type != JSON && f.Type != Time {
		return v, true, fmt.Sprintf("wants a %s, not the string %q", f.Type, t.text)
	}
	switch f.Type {
	case Bool:
		if t.text != "true" && t.text != "false" {
			return v, true, fmt.Sprintf("is true or false, never %q", t.text)
		}
		v.n = int64(len("false") - len(t.text))
	case Number, Size:
		n, ok := parseSize(t.text, f.Type == Size)
		if !ok {
			return v, true, fmt.Sprintf("wants a whole %s, not %q", f.Type, t.text)
		}
		v.n = n
		why = f.never(op, n)
	case Duration, Seconds:
		n, ok := parseDuration(t.text, f.Type == Seconds)
		if !ok {
			return v, true, fmt.Sprintf("wants a duration such as 50ms, not %q", t.text)
		}
		v.n = n
		why = f.never(op, n)
	case Time:
		if v.n, v.clock, why = parseTime(t.text); why == "" && v.clock && (op == "==" || op == "!=") {
			why = "has a day, so that a time of day compares by < <= > >= only"
		}
	case Text:
		if v.s = t.text; f.Words != nil && op != "contains" && !slices.Contains(f.Words, v.s) {
			return v, true, f.noWord(v.s)
		}
	case Binary:
		if v.s = t.text; t.kind == tokenWord {
			s, ok := parseHex(t.text)
			if !ok {
				return v, true, fmt.Sprintf("wants bytes such as 0xdeadbeef, de-ad-be-ef or [de ad be ef], or a string, not %q", t.text)
			}
			v.s = s
		}
	case Word:
		i := slices.Index(f.Words, t.text)
		if i < 0 || t.text == "" {
			return v, true, f.noWord(t.text)
		}
		if v.n = int64(i); f.Ordered {
			why = bounds(op, v.n, 0, int64(len(f.Words)-1))
		}
	case JSON:
		why = v.parseJSON(op)
	}
	if why == "" && op == "contains" && v.s == "" {
		why = "everything contains the empty string"
	}
	return v, true, why
}

func (f *Field) noWord(s string) string {
	if near := Nearest(s, f.Words); near != "" {
		return fmt.Sprintf("is never %q; the nearest is %s", s, near)
	}
	words := strings.Join(slices.DeleteFunc(slices.Clone(f.Words), func(w string) bool { return w == "" }), ", ")
	if len(words) > 150 {
		return fmt.Sprintf("is never %q", s)
	}
	return fmt.Sprintf("is never %q, but %s", s, words)
}

// never says why a comparison with n can't hold, or returns "".
func (f *Field) never(op string, n int64) string {
	most := f.Max
	if most == 0 {
		most = math.MaxInt64
	}
	return bounds(op, n, f.Min, most)
}

func bounds(op string, n, least, most int64) string {
	out := n < least || n > most
	switch op {
	case "<":
		out = n <= least
	case "<=":
		out = n < least
	case ">":
		out = n >= most
	case ">=":
		out = n > most
	case "!=", "not in":
		out = false
	}
	switch {
	case !out:
		return ""
	case most == math.MaxInt64:
		return fmt.Sprintf("is %d or more, so that this never holds", least)
	}
	return fmt.Sprintf("is from %d to %d, so that this never holds", least, most)
}

var sizeUnits = []struct {
	suffix string
	bytes  float64
}{
	{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"kB", 1e3}, {"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9},
	{"kb", 1e3}, {"mb", 1e6}, {"gb", 1e9},
	{"K", 1 << 10}, {"k", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"B", 1},
}

// ParseSize returns the number of bytes that a size such as 10KB or 1MiB stands for.
func ParseSize(s string) (n int64, ok bool) { return parseSize(s, true) }

func parseSize(s string, unit bool) (int64, bool) {
	if n, err := strconv.ParseInt(s, 0, 64); err == nil {
		return n, true
	}
	for _, u := range sizeUnits {
		if digits, ok := strings.CutSuffix(s, u.suffix); ok && unit {
			x, err := strconv.ParseFloat(digits, 64)
			x *= u.bytes
			return int64(x), err == nil && x == math.Trunc(x) && math.Abs(x) < 1<<62
		}
	}
	return 0, false
}

func parseDuration(s string, bare bool) (int64, bool) {
	if x, err := strconv.ParseFloat(s, 64); err == nil && (bare || x == 0) {
		x *= 1e9
		return int64(x), math.Abs(x) < 1<<62
	}
	d, err := time.ParseDuration(s)
	return int64(d), err == nil
}

// parseTime takes a time, a day or a time of day; local, unless it has a zone.
func parseTime(s string) (n int64, clock bool, why string) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t.UnixNano(), false, ""
	}
	for _, form := range []string{"2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", "2006-01-02"} {
		if t, err := time.ParseInLocation(form, s, time.Local); err == nil {
			return t.UnixNano(), false, ""
		}
	}
	for _, form := range []string{"15:04:05", "15:04"} {
		if t, err := time.Parse(form, s); err == nil {
			return timeOfDay(t), true, ""
		}
	}
	return 0, false, fmt.Sprintf(`wants a time such as 19:28:31 or 2026-11-21T19:28:31Z, not %q`, s)
}

func timeOfDay(t time.Time) int64 {
	h, m, s := t.Clock()
	return int64(h*3600+m*60+s)*1e9 + int64(t.Nanosecond())
}

func parseHex(s string) (string, bool) {
	if inner, ok := strings.CutPrefix(s, "["); ok {
		s = strings.ReplaceAll(strings.TrimSuffix(inner, "]"), " ", "")
	} else if inner, ok := strings.CutPrefix(s, "0x"); ok {
		s = inner
	} else {
		for i := 2; i < len(s); i += 3 {
			if s[i] != '-' && s[i] != ':' {
				return "", false
			}
		}
		s = strings.NewReplacer("-", "", ":", "").Replace(s)
	}
	b, err := hex.DecodeString(s)
	return string(b), err == nil && len(b) > 0
}

// parseJSON takes a value that JSON is compared with: a number, a word of JSON, or
// else a string.
func (v *literal) parseJSON(op string) string {
	v.s = v.text
	order := strings.HasPrefix(op, "<") || strings.HasPrefix(op, ">")
	if v.kind == tokenWord && op != "contains" {
		x, err := strconv.ParseFloat(v.text, 64)
		switch {
		case err == nil && !math.IsNaN(x) && !math.IsInf(x, 0):
			v.x, v.json = x, jsonNumber
		case v.text == "true" || v.text == "false" || v.text == "null":
			v.json = jsonWord
		}
	}
	if order && v.json != jsonNumber {
		return fmt.Sprintf("numbers alone have an order, and %q is none", v.text)
	}
	return ""
}
