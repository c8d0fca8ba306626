package edit

import (
	"slices"

	"github.com/wstrace/wstrace/decode/pick"
)

// xml returns the edits for what is selected in a document of XML: values of attributes,
// and all that is in an element. Of one that is cut or broken they are those for what
// stands before that.
func (c *content) xml() []pick.Edit {
	if !c.credentials && !slices.ContainsFunc(c.selectors, func(s pick.Selector) bool { return s.XML != nil }) {
		return nil
	}
	root, _ := pick.ParseAnyXML(c.b)
	var edits []pick.Edit
	replace := func(span pick.Span, name, value string) {
		if p := c.placeholders.text(name, value); p != value {
			edits = append(edits, pick.Edit{Span: span, Text: []byte(p)})
		}
	}
	v := pick.XMLVisitor{Enter: func(at pick.XMLPlace, n *pick.XMLNode) bool {
		from := len(edits)
		for i := range n.Attrs {
			if a := &n.Attrs[i]; c.selectsXML(append(at, a.Key())) {
				replace(a.Span, a.Name, a.Value)
			}
		}
		slices.SortFunc(edits[from:], func(a, b pick.Edit) int { return a.Start - b.Start })
		switch {
		case !c.selectsXML(at) && !(c.credentials && isSASL(n)):
			return true
		case n.IsText():
			replace(n.Span, n.Name, n.Content())
		default:
			replace(n.Span, n.Name, string(c.b[n.Start:n.End]))
		}
		return false
	}}
	v.Walk(root)
	return edits
}

// selectsXML reports whether a path is selected that leads to a place.
func (c *content) selectsXML(at pick.XMLPlace) bool {
	return slices.ContainsFunc(c.selectors, func(s pick.Selector) bool { return s.XML != nil && s.XML.Matches(at) })
}

// isSASL reports whether an element of XMPP has in it what a client authenticates itself
// with, in base64 (RFC 6120 §6.4, XEP-0388, XEP-0078).
func isSASL(n *pick.XMLNode) bool {
	switch n.Space {
	case "urn:ietf:params:xml:ns:xmpp-sasl", "urn:xmpp:sasl:2":
		return n.Name == "auth" || n.Name == "response" || n.Name == "initial-response"
	case "jabber:iq:auth":
		return n.Name == "password" || n.Name == "digest"
	}
	return false
}
