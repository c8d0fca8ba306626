package pick

import (
	"bytes"
	"encoding/json"
)

// A Scalar is a string, number, true, false or null in a document.
type Scalar struct {
	Span        // in the document
	At    Place // valid during the visit
	Value any   // string, json.Number, bool or nil
}

// A Visitor sees the values of a document, in order.
type Visitor struct {
	// Scalar sees each scalar.
	Scalar func(Scalar)
	// Name, if not nil, sees the name of each member, before its value.
	Name func(name string, span Span)
	// Enter, if not nil, sees each object and array before what is inside; if
	// it returns false, the inside is passed over. The place is valid during
	// the call.
	Enter func(at Place, span Span) bool
}

// Walk leads v through a document.
func (v *Visitor) Walk(doc []byte) {
	w := walker{Visitor: v, doc: doc, d: json.NewDecoder(bytes.NewReader(doc))}
	w.d.UseNumber()
	if v.Enter != nil {
		w.ends = ends(doc)
	}
	w.value(nil, false)
}

type walker struct {
	*Visitor
	doc  []byte
	d    *json.Decoder
	ends []int // of the objects and arrays to come, if Enter wants to know
}

// value visits the next value, or only passes over it. It reports false if
// there is none: the object or array ends here.
func (w *walker) value(at Place, unseen bool) bool {
	start := int(w.d.InputOffset())
	tok, err := w.d.Token()
	if err != nil || tok == json.Delim('}') || tok == json.Delim(']') {
		return false
	}
	for bytes.IndexByte([]byte(" \t\r\n,:"), w.doc[start]) >= 0 {
		start++
	}
	switch tok {
	case json.Delim('{'), json.Delim('['):
		if w.Enter != nil {
			if !unseen {
				unseen = !w.Enter(at, Span{start, w.ends[0]})
			}
			w.ends = w.ends[1:]
		}
		for i := 0; ; i++ {
			var key any = i
			if tok == json.Delim('{') {
				start := int(w.d.InputOffset())
				if key, err = w.d.Token(); err != nil || key == json.Delim('}') {
					return true
				}
				if !unseen && w.Name != nil {
					start += bytes.IndexByte(w.doc[start:], '"')
					w.Name(key.(string), Span{start, int(w.d.InputOffset())})
				}
			}
			if !w.value(append(at, key), unseen) {
				return true
			}
		}
	}
	if !unseen && w.Scalar != nil {
		w.Scalar(Scalar{Span{start, int(w.d.InputOffset())}, at, tok})
	}
	return true
}
