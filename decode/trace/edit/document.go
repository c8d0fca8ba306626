package edit

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// document returns the edits of a JSON document.
func (c *content) document(doc []byte, nested int) []pick.Edit {
	var edits []pick.Edit
	replace := func(span pick.Span, value any) {
		edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(value)})
	}
	var pair headerPair
	v := pick.Visitor{
		Name: func(name string, span pick.Span) {
			if clean := c.text(name); clean != name && c.worthAName() {
				replace(span, clean)
			}
		},
		Enter: func(at pick.Place, span pick.Span) bool {
			if !c.pathTo(at) {
				return true
			}
			replace(span, c.placeholders.text(nameOf(at), string(doc[span.Start:span.End])))
			return false
		},
		Scalar: func(s pick.Scalar) {
			selected := c.pathTo(s.At)
			switch value := s.Value.(type) {
			case nil:
			case string:
				clean := value
				if name := pair.next(s.At, value); name != "" && c.credentials {
					clean = c.placeholders.text(name, value)
				} else if selected || c.credentials && CredentialAt(s.At, value) {
					clean = c.placeholders.text(nameOf(s.At), value)
				} else {
					clean = c.inString(value, nested)
				}
				if clean != value {
					replace(s.Span, clean)
				}
			case json.Number:
				if selected || c.credentials && CredentialAt(s.At, string(value)) {
					replace(s.Span, c.number(value))
				}
			default:
				if selected {
					replace(s.Span, c.placeholders.text(nameOf(s.At), fmt.Sprint(value)))
				}
			}
		},
	}
	v.Walk(doc)
	return edits
}

// worthAName reports whether names of members are looked into: by the list and by
// expressions, but not for parameters.
func (c *content) worthAName() bool {
	return c.credentials || slices.ContainsFunc(c.selectors, func(s pick.Selector) bool { return s.Expr != nil })
}

// inString returns a string of a document with placeholders. It may be a document
// itself.
func (c *content) inString(s string, nested int) string {
	if t := strings.TrimLeft(s, " \t\r\n"); nested < maxNested && t != "" && (t[0] == '{' || t[0] == '[') {
		inner := content{rules: c.rules, b: []byte(s)}
		inner.redact(nested + 1)
		return string(inner.b)
	}
	return c.text(s)
}

// pathTo reports whether a path is selected that leads to a place.
func (c *content) pathTo(at pick.Place) bool {
	for i := range c.selectors {
		if p := c.selectors[i].Path; p != nil && p.Matches(at) {
			return true
		}
	}
	return false
}

// CredentialAt reports whether the value at a place is a credential: by the name
// of the member that it is, or that the list it is in is, or by one further out.
func CredentialAt(at pick.Place, value string) bool {
	nearest := true
	for _, step := range slices.Backward(at) {
		name, ok := step.(string)
		if !ok {
			continue
		}
		if nearest && decode.CredentialKey(name, value) || decode.CredentialMember(name) && !decode.IsPlaceholder(value) {
			return true
		}
		nearest = false
	}
	return false
}

// A headerPair finds headers that stand in JSON as strings: a name and a value in
// a list, or an object with both.
type headerPair struct {
	header string // the credential whose name came last
	parent pick.Place
	step   any // of the name
}

// next takes the string at a place, and returns the name of the header whose value
// it is if that is a credential, or "".
func (p *headerPair) next(at pick.Place, value string) (header string) {
	if len(at) == 0 {
		return ""
	}
	parent, step := at[:len(at)-1], at[len(at)-1]
	if p.header != "" && slices.Equal(parent, p.parent) {
		switch step := step.(type) {
		case int:
			if prev, ok := p.step.(int); ok && step == prev+1 {
				header = p.header
			}
		case string:
			if _, ok := p.step.(string); ok && strings.EqualFold(step, "value") {
				header = p.header
			}
		}
		if header != "" {
			p.header = ""
			return header
		}
	}
	switch step := step.(type) {
	case int:
		if step%2 != 0 {
			return ""
		}
	case string:
		if name := strings.ToLower(step); name != "name" && name != "key" && name != "header" {
			return ""
		}
	}
	p.header = ""
	if isHeaderName(value) && decode.CredentialHeader(value) {
		p.header, p.parent, p.step = value, append(p.parent[:0], parent...), step
	}
	return ""
}

// isHeaderName reports whether a string is more likely the name of a header than
// another word that names a credential.
func isHeaderName(s string) bool {
	lower := strings.ToLower(s)
	return strings.IndexByte(s, '-') > 0 || lower == "authorization" || lower == "cookie"
}

// nameOf returns what a secret at a place is called.
func nameOf(at pick.Place) string {
	if name := at.Name(); name != "" {
		return name
	}
	return otherName
}
