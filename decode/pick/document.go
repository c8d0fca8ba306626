package pick

import (
	"bytes"
	"encoding/json"
	"sync"
	"unicode/utf8"
)

// A Part is a stretch of a message: a JSON document, or what stands between
// documents. A document among other things is an object or an array; alone,
// perhaps with space around it, it may be a string.
type Part struct {
	Bytes []byte // of the message, not a copy
	JSON  bool
}

// maxTries is how many times a bracket in a message may turn out not to begin
// a document before the rest is taken as plain text.
const maxTries = 32

// Parts returns the parts of a message, in order. Joined they are the message.
func Parts(message []byte) []Part {
	if !utf8.Valid(message) {
		if len(message) == 0 {
			return nil
		}
		return []Part{{message, false}}
	}
	return AnyParts(message)
}

// AnyParts is like [Parts], and finds documents in what is not UTF-8 too.
func AnyParts(message []byte) []Part {
	var list []Part
	plain := 0 // where plain text begins
	documents(message, func(from, to int) bool {
		if plain < from {
			list = append(list, Part{message[plain:from], false})
		}
		list = append(list, Part{message[from:to], true})
		plain = to
		return true
	})
	if plain < len(message) {
		list = append(list, Part{message[plain:], false})
	}
	return list
}

// documents calls each with where the documents of a message begin and end, in
// order, until it returns false.
func documents(b []byte, each func(from, to int) bool) {
	if t := bytes.TrimLeft(b, " \t\r\n"); len(t) > 0 && bytes.IndexByte([]byte(`{["`), t[0]) >= 0 && json.Valid(b) {
		each(0, len(b))
		return
	}
	for i, tries := 0, 0; i < len(b) && tries < maxTries; i++ {
		if b[i] != '{' && b[i] != '[' {
			continue
		}
		n := documentLen(b[i:])
		if n == 0 {
			tries++
			continue
		}
		if !each(i, i+n) {
			return
		}
		i += n - 1
	}
}

// documentLen returns the length of the object or array that b begins with, or 0.
func documentLen(b []byte) int {
	depth, quoted := 0, false
	for i := 0; i < len(b); i++ {
		switch c := b[i]; {
		case quoted && c == '\\':
			i++
		case c == '"':
			quoted = !quoted
		case quoted:
		case c == '{' || c == '[':
			depth++
		case c == '}' || c == ']':
			if depth--; depth > 0 {
				continue
			}
			if !json.Valid(b[:i+1]) {
				return 0
			}
			return i + 1
		}
	}
	return 0
}

// ends returns where the objects and arrays of a document end, in the order in
// which they begin.
func ends(doc []byte) []int {
	var list, open []int
	inString := false
	for i := 0; i < len(doc); i++ {
		switch c := doc[i]; {
		case inString && c == '\\':
			i++
		case c == '"':
			inString = !inString
		case inString:
		case c == '{' || c == '[':
			open = append(open, len(list))
			list = append(list, len(doc))
		case (c == '}' || c == ']') && len(open) > 0:
			list[open[len(open)-1]] = i + 1
			open = open[:len(open)-1]
		}
	}
	return list
}

// Decode returns the value of a document: nil, bool, string, json.Number, []any
// or map[string]any.
func Decode(doc []byte) any {
	d := decoders.Get().(*decoder)
	d.r.Reset(doc)
	var v any
	if err := d.Decode(&v); err == nil && len(doc) <= 64<<10 { // a document is valid
		decoders.Put(d)
	}
	return v
}

// A decoder is used for one small document after the other, of which a message may
// have millions.
type decoder struct {
	*json.Decoder
	r bytes.Reader
}

var decoders = sync.Pool{New: func() any {
	d := &decoder{}
	d.Decoder = json.NewDecoder(&d.r)
	d.UseNumber()
	return d
}}

// Encode returns v as a document without white space, in which <, > and & stand
// for themselves.
func Encode(v any) []byte {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	e.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte("\n"))
}

// An Edit puts text in the place of bytes of a document or message.
type Edit struct {
	Span
	Text []byte
}

// Apply appends b with the edits made, which are in order and do not overlap, to
// dst.
func Apply(dst, b []byte, edits []Edit) []byte {
	from := 0
	for _, e := range edits {
		dst = append(dst, b[from:e.Start]...)
		dst = append(dst, e.Text...)
		from = e.End
	}
	return append(dst, b[from:]...)
}
