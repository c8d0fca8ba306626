package filter

import (
	"strconv"
	"strings"
	"time"
	"unsafe"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A test is an expression that was compiled.
type test func(*Subject) bool

// compile returns n as a test, and adds what it needs to f. What stands behind not leaves
// out what it selects, and searches no bodies for that.
func (f *Filter) compile(n *node, negated bool) test {
	switch n.op {
	case "and":
		a, b := f.compile(n.left, negated), f.compile(n.right, negated)
		return func(s *Subject) bool { return a(s) && b(s) }
	case "or":
		a, b := f.compile(n.left, negated), f.compile(n.right, negated)
		return func(s *Subject) bool { return a(s) || b(s) }
	case "not":
		a := f.compile(n.left, !negated)
		return func(s *Subject) bool { return !a(s) }
	}
	f.needs.add(n.field.Needs)
	if n.field.searches && !negated {
		f.needs.add(bodies)
	}
	f.remembers = f.remembers || n.field.remembers
	for _, v := range n.values {
		if n.field.Advised != nil && n.field.Advised(v.text) {
			f.needs.Advice = true
		}
		if n.field.Name == "kind" && v.text == kindWords[decode.KindBody] {
			f.needs.add(bodies)
		}
	}
	get := n.get
	switch {
	case n.op == "" && n.field.Type == Bool:
		return func(s *Subject) bool { v, ok := get(s, 0); return ok && v.N != 0 }
	case n.op == "":
		return func(s *Subject) bool { _, ok := get(s, 0); return ok }
	}
	fits := n.fits()
	if n.op == "!=" || n.op == "not in" {
		return func(s *Subject) bool {
			for i := 0; ; i++ {
				v, ok := get(s, i)
				if !ok {
					return i > 0
				}
				if fits(s, v) {
					return false
				}
			}
		}
	}
	return func(s *Subject) bool {
		for i := 0; ; i++ {
			v, ok := get(s, i)
			if !ok {
				return false
			}
			if fits(s, v) {
				return true
			}
		}
	}
}

// fits returns what tells whether a value is as n says; for != and not in, whether
// it is not.
func (n *node) fits() func(*Subject, Value) bool {
	if len(n.values) > 1 {
		list := make([]func(*Subject, Value) bool, len(n.values))
		for i := range n.values {
			list[i] = n.fitsOne(&n.values[i])
		}
		return func(s *Subject, v Value) bool {
			for _, fits := range list {
				if fits(s, v) {
					return true
				}
			}
			return false
		}
	}
	return n.fitsOne(&n.values[0])
}

func (n *node) fitsOne(l *literal) func(*Subject, Value) bool {
	want, text := l.n, l.s
	switch {
	case n.field.Type == JSON:
		return l.fitsJSON(n.op)
	case n.op == "matches":
		return func(_ *Subject, v Value) bool { return l.re.MatchString(v.S) }
	case n.op == "contains":
		return func(_ *Subject, v Value) bool { return strings.Contains(v.S, text) }
	case n.field.Type == Text || n.field.Type == Binary:
		return func(_ *Subject, v Value) bool { return v.S == text }
	}
	order := ordered(n.op)
	if l.clock {
		return func(_ *Subject, v Value) bool { return order(timeOfDay(time.Unix(0, v.N)), want) }
	}
	switch n.op {
	case "==", "!=", "in", "not in":
		return func(_ *Subject, v Value) bool { return v.N == want }
	}
	return func(_ *Subject, v Value) bool { return order(v.N, want) }
}

func ordered(op string) func(a, b int64) bool {
	switch op {
	case "<":
		return func(a, b int64) bool { return a < b }
	case "<=":
		return func(a, b int64) bool { return a <= b }
	case ">":
		return func(a, b int64) bool { return a > b }
	case ">=":
		return func(a, b int64) bool { return a >= b }
	}
	return func(a, b int64) bool { return a == b }
}

// fitsJSON is fitsOne for a value in a document. A string that is a number
// compares with numbers too, as many protocols write prices in strings.
func (l *literal) fitsJSON(op string) func(*Subject, Value) bool {
	str := func(s *Subject, v Value) (string, bool) {
		if v.S[0] != '"' {
			return "", false
		}
		if strings.IndexByte(v.S, '\\') < 0 {
			return v.S[1 : len(v.S)-1], true
		}
		s.json, _ = pick.AppendString(s.json[:0], []byte(v.S))
		return view(s.json), true
	}
	switch {
	case op == "matches":
		return func(s *Subject, v Value) bool { t, ok := str(s, v); return ok && l.re.MatchString(t) }
	case op == "contains":
		return func(s *Subject, v Value) bool { t, ok := str(s, v); return ok && strings.Contains(t, l.s) }
	case l.json == jsonWord:
		return func(_ *Subject, v Value) bool { return v.S == l.s }
	case l.json == jsonString:
		return func(s *Subject, v Value) bool { t, ok := str(s, v); return ok && t == l.s }
	}
	return func(s *Subject, v Value) bool {
		t := v.S
		if q, ok := str(s, v); ok {
			t = q
		}
		if t == "" || t[0] != '-' && (t[0] < '0' || t[0] > '9') || len(t) > 64 || strings.ContainsAny(t, "xX_") {
			return false
		}
		x, err := strconv.ParseFloat(t, 64)
		if err != nil {
			return false
		}
		switch op {
		case "<":
			return x < l.x
		case "<=":
			return x <= l.x
		case ">":
			return x > l.x
		case ">=":
			return x >= l.x
		}
		return x == l.x
	}
}

// view returns b as a string that is valid as long as b is not changed.
func view(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }
