package edit

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode/pick"
)

// mark begins every placeholder that is not a number. What begins with it is no
// secret any more.
const mark = "redacted-"

// placeholders are those of all secrets so far.
type placeholders struct {
	bySecret map[string]string
	count    map[string]int // by name; "" for numbers
}

// text returns the placeholder of a secret that is called name.
func (ps *placeholders) text(name, secret string) string {
	if secret == "" || strings.HasPrefix(secret, mark) {
		return secret
	}
	p, ok := ps.bySecret[secret]
	if !ok {
		name = strings.ToLower(name)
		ps.count[name]++
		p = mark + name + "-" + strconv.Itoa(ps.count[name])
		ps.bySecret[secret] = p
	}
	return p
}

// number returns the placeholder of a secret number.
func (ps *placeholders) number(n json.Number) json.Number {
	key := "number " + string(n)
	p, ok := ps.bySecret[key]
	if !ok {
		ps.count[""]++
		p = strconv.Itoa(ps.count[""])
		ps.bySecret[key] = p
	}
	return json.Number(p)
}

// content returns the content of a message, or a body, with placeholders. Only
// in a text there can be JSON.
func (r *redactor) content(b []byte, text bool) []byte {
	for _, sel := range r.selectors {
		switch {
		case sel.Expr != nil:
			var edits []pick.Edit
			for _, span := range sel.Spans(b) {
				if secret := b[span.Start:span.End]; !bytes.HasPrefix(b[span.Start:], []byte(mark)) {
					edits = append(edits, pick.Edit{Span: span, Text: []byte(r.text("text", string(secret)))})
				}
			}
			b = pick.Apply(nil, b, edits)
		case sel.Path != nil && text:
			b = r.json(b, sel.Path)
		}
	}
	return b
}

// json puts placeholders where path leads in the documents of a message.
func (r *redactor) json(b []byte, path pick.Path) []byte {
	var out []byte
	for _, p := range pick.Parts(b) {
		if !p.JSON {
			out = append(out, p.Bytes...)
			continue
		}
		var edits []pick.Edit
		replace := func(span pick.Span, value any) {
			edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(value)})
		}
		v := pick.Visitor{
			Enter: func(at pick.Place, span pick.Span) bool {
				if !path.Matches(at) {
					return true
				}
				replace(span, r.text(nameOf(at), string(p.Bytes[span.Start:span.End])))
				return false
			},
			Scalar: func(s pick.Scalar) {
				if !path.Matches(s.At) {
					return
				}
				switch value := s.Value.(type) {
				case nil:
				case string:
					replace(s.Span, r.text(nameOf(s.At), value))
				case json.Number:
					replace(s.Span, r.number(value))
				default:
					replace(s.Span, r.text(nameOf(s.At), fmt.Sprint(value)))
				}
			},
		}
		v.Walk(p.Bytes)
		out = pick.Apply(out, p.Bytes, edits)
	}
	return out
}

// nameOf returns what a secret at a place is called.
func nameOf(at pick.Place) string {
	if name := at.Name(); name != "" {
		return name
	}
	return "value"
}
