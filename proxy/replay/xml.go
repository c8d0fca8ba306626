package replay

import (
	"bytes"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// xmlDiffers compares two documents of XML. The order of attributes does not count, nor
// how the same is written: quotes, references, prefixes and where they are declared,
// comments, empty elements, white space in tags and between elements without text. It
// returns "" if they are equal.
func (e *equality) xmlDiffers(want, got *pick.XMLNode) string {
	at := want.Root()
	switch {
	case e.ignoresXML(at) && e.ignoresXML(got.Root()):
		return ""
	case want.Name != got.Name || want.Space != got.Space:
		return fmt.Sprintf("where the XML is %s, expected %s", tagOf(got, want), tagOf(want, got))
	}
	return e.elementsDiffer(at, want, got)
}

// ignoresXML reports whether what stands at a place is not compared, and may be missing.
func (e *equality) ignoresXML(at pick.XMLPlace) bool {
	return e.redacted.coversXML(at) || slices.ContainsFunc(e.ignore, func(s pick.Selector) bool { return s.XML != nil && s.XML.Matches(at) })
}

// capturesXML reports whether what stands at a place may be another text.
func (e *equality) capturesXML(at pick.XMLPlace) bool {
	return slices.ContainsFunc(e.captures, func(c capture) bool { return c.from.XML != nil && c.from.XML.Matches(at) })
}

// elementsDiffer compares what is in two elements with the same name.
func (e *equality) elementsDiffer(at pick.XMLPlace, want, got *pick.XMLNode) string {
	if why := e.attrsDiffer(at, want.Attrs, got.Attrs); why != "" {
		return why
	}
	if want.IsText() && got.IsText() && e.capturesXML(at) {
		return ""
	}
	ws, gs := e.inside(at, want), e.inside(at, got)
	for i := range max(len(ws), len(gs)) {
		if i == len(ws) {
			return e.surplus(at, &gs[i])
		}
		w := &ws[i]
		in := append(at, w.key)
		switch {
		case w.isText() && (i == len(gs) || !gs[i].isText()):
			return e.differXML(at, w.Text, "")
		case w.isText() && e.sameText(w.Text, gs[i].Text):
			continue
		case w.isText():
			return e.differXML(at, w.Text, gs[i].Text)
		case i == len(gs):
			return fmt.Sprintf("where %s is missing", in)
		case gs[i].isText():
			return e.surplus(at, &gs[i])
		case w.Name != gs[i].Name || w.Space != gs[i].Space:
			return fmt.Sprintf("where %s is %s, expected %s", in, tagOf(gs[i].XMLNode, w.XMLNode), tagOf(w.XMLNode, gs[i].XMLNode))
		}
		if why := e.elementsDiffer(in, w.XMLNode, gs[i].XMLNode); why != "" {
			return why
		}
	}
	return ""
}

// surplus says that what came in an element is more than was expected there.
func (e *equality) surplus(at pick.XMLPlace, in *insideXML) string {
	if in.isText() {
		return e.differXML(at, "", in.Text)
	}
	return fmt.Sprintf("where %s is not expected", append(at, in.key))
}

// differXML says how the text at a place differs.
func (e *equality) differXML(at pick.XMLPlace, want, got string) string {
	want, got = bothAround(want, string(e.hidden([]byte(got))), maxDiffLine)
	return fmt.Sprintf("where %s is %s, expected %s", at, decode.AppendText(nil, []byte(got)), decode.AppendText(nil, []byte(want)))
}

// attrsDiffer compares the attributes of two elements, which are in order.
func (e *equality) attrsDiffer(at pick.XMLPlace, ws, gs []pick.XMLAttr) string {
	for len(ws) > 0 || len(gs) > 0 {
		order := -1
		if len(ws) == 0 {
			order = 1
		} else if len(gs) > 0 {
			order = ws[0].Compare(&gs[0])
		}
		switch {
		case order < 0:
			if in := append(at, ws[0].Key()); !e.ignoresXML(in) {
				return fmt.Sprintf("where %s is missing, expected %s", in, quoted([]byte(ws[0].Value)))
			}
			ws = ws[1:]
		case order > 0:
			if in := append(at, gs[0].Key()); !e.ignoresXML(in) {
				return fmt.Sprintf("where %s is %s, which is not expected", in, quoted(e.hidden([]byte(gs[0].Value))))
			}
			gs = gs[1:]
		default:
			if in := append(at, ws[0].Key()); !e.sameText(ws[0].Value, gs[0].Value) && !e.ignoresXML(in) && !e.capturesXML(in) {
				return e.differXML(in, ws[0].Value, gs[0].Value)
			}
			ws, gs = ws[1:], gs[1:]
		}
	}
	return ""
}

// sameText compares two texts in documents, which may have JSON in them.
func (e *equality) sameText(want, got string) bool {
	return want == got || e.likes(want, got) || e.textDiffers([]byte(want), []byte(got)) == ""
}

// An insideXML is an element or a text that counts.
type insideXML struct {
	*pick.XMLNode
	key pick.XMLKey
}

func (in *insideXML) isText() bool { return in.Name == "" }

// inside returns what counts of what is in an element. Texts with nothing between them
// that counts are one.
func (e *equality) inside(at pick.XMLPlace, n *pick.XMLNode) []insideXML {
	list := make([]insideXML, 0, len(n.Nodes))
	keys := n.Keys()
	var joined []byte // the texts that the last one of the list is made of; nil for one
	seal := func() {
		if joined != nil {
			list[len(list)-1].XMLNode = &pick.XMLNode{Text: string(joined)}
			joined = nil
		}
	}
	for i := range n.Nodes {
		in := &n.Nodes[i]
		last := len(list) - 1
		switch {
		case in.Name != "" && e.ignoresXML(append(at, keys[i])):
		case in.Name == "" && last >= 0 && list[last].isText():
			if joined == nil {
				joined = []byte(list[last].Text)
			}
			joined = append(joined, in.Text...)
		default:
			seal()
			list = append(list, insideXML{in, keys[i]})
		}
	}
	seal()
	return list
}

// tagOf returns how an element is named, with its namespace if the name does not tell it
// from another.
func tagOf(n, other *pick.XMLNode) string {
	if n.Name == other.Name {
		return fmt.Sprintf("<%s xmlns=%s>", n.Name, quoted([]byte(n.Space)))
	}
	return "<" + n.Name + ">"
}

// comparedXML is compared for a document.
func (e *equality) comparedXML(b []byte, root *pick.XMLNode) []byte {
	var edits []pick.Edit
	hide := func(span pick.Span) {
		if span.Start < span.End {
			edits = append(edits, pick.Edit{Span: span, Text: []byte("…")})
		}
	}
	v := pick.XMLVisitor{Enter: func(at pick.XMLPlace, n *pick.XMLNode) bool {
		if e.ignoresXML(at) {
			hide(n.Span)
			return false
		}
		edits = append(edits, attrEdits(n, func(a *pick.XMLAttr) (string, bool) {
			in := append(at, a.Key())
			return "…", e.ignoresXML(in) || e.capturesXML(in)
		})...)
		if n.IsText() && e.capturesXML(at) {
			hide(n.Span)
			return false
		}
		return true
	}}
	v.Walk(root)
	return e.mapMatches(pick.Apply([]byte{}, b, edits), []byte("…"))
}

// attrEdits returns the edits of the attributes of an element, in the order in which
// they stand, for which text returns another value, as it is to be written.
func attrEdits(n *pick.XMLNode, text func(*pick.XMLAttr) (string, bool)) []pick.Edit {
	var edits []pick.Edit
	for i := range n.Attrs {
		a := &n.Attrs[i]
		if s, ok := text(a); ok {
			edits = append(edits, pick.Edit{Span: a.Span, Text: []byte(s)})
		}
	}
	slices.SortFunc(edits, func(a, b pick.Edit) int { return a.Start - b.Start })
	return edits
}

// xmlDocument returns the edits that put values into a document of XML. Only the texts
// and attributes that change are written anew.
func (p *putting) xmlDocument(root *pick.XMLNode) (edits []pick.Edit) {
	live := func(text string, at pick.XMLPlace) (string, bool) {
		in := putting{v: p.v, theirs: p.theirs, used: p.used, misfit: p.misfit, b: []byte(text), xml: at}
		inside := in.parts(in.b)
		p.misfit = in.misfit
		now := string(pick.Apply(nil, in.b, inside))
		return pick.EscapeXML(now), now != text
	}
	v := pick.XMLVisitor{Enter: func(at pick.XMLPlace, n *pick.XMLNode) bool {
		edits = append(edits, attrEdits(n, func(a *pick.XMLAttr) (string, bool) { return live(a.Value, append(at, a.Key())) })...)
		return true
	}, Text: func(in pick.XMLPlace, n *pick.XMLNode) {
		if text, ok := live(n.Text, in); ok {
			edits = append(edits, pick.Edit{Span: n.Span, Text: []byte(text)})
		}
	}}
	v.Walk(root)
	return edits
}

// eachXMLText calls each with the attributes and texts of a document, in order. all is
// set if a text is all that is in its element.
func eachXMLText(root *pick.XMLNode, each func(at pick.XMLPlace, text string, all bool)) {
	all := false
	v := pick.XMLVisitor{Enter: func(_ pick.XMLPlace, n *pick.XMLNode) bool {
		all = n.IsText()
		return true
	}, Attr: func(at pick.XMLPlace, a *pick.XMLAttr) {
		each(at, a.Value, true)
	}, Text: func(in pick.XMLPlace, n *pick.XMLNode) {
		each(in, n.Text, all)
	}}
	v.Walk(root)
}

// madeInXML is made for documents of XML.
func (e *equality) madeInXML(want, got *pick.XMLNode) (list []made) {
	came := map[string]string{}
	eachXMLText(got, func(at pick.XMLPlace, text string, all bool) {
		if all {
			came[at.String()] = text
		}
	})
	eachXMLText(want, func(at pick.XMLPlace, text string, all bool) {
		place := at.String()
		if live, ok := came[place]; ok && all && live != text && !e.ignoresXML(at) && !e.capturesXML(at) {
			list = append(list, madeInValue(text, live, place, `[>"']`, `<>&"'`)...)
		}
	})
	return list
}

// appendXMLKey appends a string that is the same for elements that count as equal. It
// may write behind what at has.
func (s *Script) appendXMLKey(dst []byte, n *pick.XMLNode, at pick.XMLPlace) []byte {
	if s.ignoresXML(at) {
		return append(dst, '*')
	}
	dst = fmt.Appendf(dst, "<%q %q", n.Space, n.Name)
	for i := range n.Attrs {
		a := &n.Attrs[i]
		switch in := append(at, a.Key()); {
		case s.ignoresXML(in):
		case s.capturesXML(in):
			dst = fmt.Appendf(dst, " %q %q=*", a.Space, a.Name)
		default:
			dst = fmt.Appendf(dst, " %q %q=%q", a.Space, a.Name, s.appendTextKey(nil, []byte(a.Value)))
		}
	}
	dst = append(dst, '>')
	if n.IsText() && s.capturesXML(at) {
		return append(dst, '*')
	}
	for _, in := range s.inside(at, n) {
		if in.isText() {
			dst = strconv.AppendQuote(dst, string(s.appendTextKey(nil, []byte(in.Text))))
		} else {
			dst = s.appendXMLKey(dst, in.XMLNode, append(at, in.key))
		}
	}
	return append(dst, "</"...)
}

// xmlLines gives the lines in which an element is shown in a diff: its attributes in
// order, and what is in it below. space is the namespace of what it is in.
func xmlLines(n *pick.XMLNode, space, indent string, add func(string)) {
	var b bytes.Buffer
	b.WriteString(indent + "<" + n.Name)
	if n.Space != space {
		fmt.Fprintf(&b, ` xmlns="%s"`, shownXML(n.Space))
	}
	for i := range n.Attrs {
		fmt.Fprintf(&b, ` %s="%s"`, n.Attrs[i].Name, shownXML(n.Attrs[i].Value))
	}
	end := "</" + n.Name + ">"
	switch {
	case len(n.Nodes) == 0:
		add(b.String() + "/>")
		return
	case n.IsText() && !strings.Contains(n.Content(), "\n"):
		add(b.String() + ">" + shownXML(n.Content()) + end)
		return
	}
	add(b.String() + ">")
	for i := range n.Nodes {
		if in := &n.Nodes[i]; in.Name != "" {
			xmlLines(in, n.Space, indent+"  ", add)
		} else {
			for line := range strings.Lines(in.Text) {
				add(indent + "  " + shownXML(strings.TrimSuffix(line, "\n")))
			}
		}
	}
	add(indent + end)
}

// shownXML returns a text as it is shown in a document.
func shownXML(s string) string {
	q := strconv.Quote(xmlShows.Replace(s))
	return q[1 : len(q)-1]
}

var xmlShows = strings.NewReplacer("&", "&amp;", "<", "&lt;", `"`, "&quot;")
