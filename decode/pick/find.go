package pick

import (
	"bytes"
	"unicode/utf16"
	"unicode/utf8"
)

// MaxFind is how many steps a path may have at most for [Path.Find].
const MaxFind = 63

// Find calls ok with each value that p leads to in the documents of a message,
// until it returns true, and reports whether it did. A value is the bytes of it in
// the message; one inside another comes before that. Find allocates nothing.
func (p Path) Find(message []byte, ok func(value []byte) bool) bool {
	if len(p) > MaxFind || !utf8.Valid(message) {
		return false
	}
	found := false
	documents(message, func(from, to int) bool {
		f := finder{p: p, b: message[:to], i: from}
		found = f.value(1, ok)
		return !found
	})
	return found
}

// Spans returns where the values stand in a message that p leads to, in order. Of one
// inside another it has the outer one alone.
func (p Path) Spans(message []byte) []Span {
	var spans []Span
	p.Find(message, func(value []byte) bool {
		from := cap(message) - cap(value)
		for len(spans) > 0 && spans[len(spans)-1].Start >= from {
			spans = spans[:len(spans)-1]
		}
		spans = append(spans, Span{from, from + len(value)})
		return false
	})
	return spans
}

// A finder goes through a document once. It takes the steps of its path as the
// states of an automaton: bit n of a set is that n steps were taken.
type finder struct {
	p Path
	b []byte // is valid up to the end of the document
	i int
}

// value goes through a value. ok is a parameter so that it stays on the stack.
func (f *finder) value(set uint64, ok func([]byte) bool) bool {
	f.space()
	start := f.i
	switch c := f.b[f.i]; {
	case set == 0:
		f.pass()
	case c == '{':
		for f.i++; f.more('}'); {
			name := f.string()
			f.space()
			f.i++ // the colon
			if f.value(f.member(set, name), ok) {
				return true
			}
		}
	case c == '[':
		f.i++
		for n := 0; f.more(']'); n++ {
			if f.value(f.element(set, n), ok) {
				return true
			}
		}
	default:
		f.pass()
	}
	return set>>len(f.p)&1 != 0 && ok(f.b[start:f.i])
}

// member returns the steps that are taken after a step to a member; name is as it
// stands in the document.
func (f *finder) member(set uint64, name []byte) (next uint64) {
	for i := range f.p {
		if set>>i&1 == 0 {
			continue
		}
		st := &f.p[i]
		if st.deep {
			next |= 1 << i
		}
		if st.any || st.index < 0 && isString(name, st.name) {
			next |= 2 << i
		}
	}
	return next
}

// element returns the steps that are taken after a step to an element.
func (f *finder) element(set uint64, n int) (next uint64) {
	for i := range f.p {
		if set>>i&1 == 0 {
			continue
		}
		st := &f.p[i]
		if st.deep {
			next |= 1 << i
		}
		if st.any || st.index == n {
			next |= 2 << i
		}
	}
	return next
}

func (f *finder) space() {
	for f.i < len(f.b) && (f.b[f.i] == ' ' || f.b[f.i] == '\t' || f.b[f.i] == '\r' || f.b[f.i] == '\n') {
		f.i++
	}
}

// more passes over what separates the values in an object or array, or over its
// end.
func (f *finder) more(end byte) bool {
	f.space()
	if f.b[f.i] == ',' {
		f.i++
		f.space()
	}
	if f.b[f.i] == end {
		f.i++
		return false
	}
	return true
}

// string passes over a string and returns it, with its quotes.
func (f *finder) string() []byte {
	start := f.i
	for f.i++; f.b[f.i] != '"'; f.i++ {
		if f.b[f.i] == '\\' {
			f.i++
		}
	}
	f.i++
	return f.b[start:f.i]
}

// pass passes over a value.
func (f *finder) pass() {
	for depth := 0; f.i < len(f.b); {
		switch f.b[f.i] {
		case '"':
			f.string()
		case '{', '[':
			depth++
			f.i++
		case '}', ']':
			if depth == 0 {
				return // of what the value is in
			}
			depth--
			f.i++
		case ' ', '\t', '\r', '\n', ',', ':':
			if depth == 0 {
				return
			}
			f.i++
			continue
		default: // a number or a word
			for f.i++; f.i < len(f.b) && bytes.IndexByte([]byte(" \t\r\n,:]}"), f.b[f.i]) < 0; f.i++ {
			}
		}
		if depth == 0 {
			return
		}
	}
}

// isString reports whether a string of a document, with its quotes, is s.
func isString(quoted []byte, s string) bool {
	if bytes.IndexByte(quoted, '\\') < 0 {
		return string(quoted[1:len(quoted)-1]) == s
	}
	if len(quoted) > 6*len(s)+2 {
		return false
	}
	var room [256]byte
	name, _ := AppendString(room[:0], quoted)
	return string(name) == s
}

// AppendString appends what a string of a document stands for, which is given with
// its quotes and must be valid JSON. whole is false if half of a surrogate pair
// stands in it, for which U+FFFD is appended.
func AppendString(dst, quoted []byte) (out []byte, whole bool) {
	s := quoted[1 : len(quoted)-1]
	whole = true
	for len(s) > 0 {
		i := bytes.IndexByte(s, '\\')
		if i < 0 {
			return append(dst, s...), whole
		}
		dst = append(dst, s[:i]...)
		c := s[i+1]
		s = s[i+2:]
		switch c {
		case 'b':
			c = '\b'
		case 'f':
			c = '\f'
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'u':
			r := hex4(s)
			s = s[4:]
			if utf16.IsSurrogate(r) {
				low := rune(-1)
				if len(s) >= 6 && s[0] == '\\' && s[1] == 'u' {
					low = hex4(s[2:])
				}
				if r = utf16.DecodeRune(r, low); r != utf8.RuneError {
					s = s[6:]
				} else {
					whole = false
				}
			}
			dst = utf8.AppendRune(dst, r)
			continue
		}
		dst = append(dst, c)
	}
	return dst, whole
}

func hex4(s []byte) (r rune) {
	for _, c := range s[:4] {
		switch {
		case c <= '9':
			c -= '0'
		case c <= 'F':
			c -= 'A' - 10
		default:
			c -= 'a' - 10
		}
		r = r<<4 | rune(c)
	}
	return r
}
