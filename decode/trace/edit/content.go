package edit

import (
	"bytes"
	"encoding/json"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A content is that of a message while placeholders are put into it.
type content struct {
	*rules
	b    []byte
	cuts []int // places in b that are to be found again: the ends of frames

	dropped int // bytes that were taken from the end of a body
}

// content returns the content of a message or body with placeholders.
func (r *rules) content(b []byte) []byte {
	c := content{rules: r, b: b}
	c.redact(0)
	return c.b
}

// apply makes edits, which are in order and don't overlap. A place inside of what
// is replaced moves to its end.
func (c *content) apply(edits []pick.Edit) {
	if len(edits) == 0 {
		return
	}
	k, moved := 0, 0
	for i, at := range c.cuts {
		for k < len(edits) && edits[k].End <= at {
			moved += len(edits[k].Text) - (edits[k].End - edits[k].Start)
			k++
		}
		if k < len(edits) && edits[k].Start < at {
			c.cuts[i] = edits[k].Start + len(edits[k].Text) + moved
		} else {
			c.cuts[i] = at + moved
		}
	}
	c.b = pick.Apply(nil, c.b, edits)
}

// maxNested is how deep documents in strings of documents are looked into.
const maxNested = 3

func (c *content) redact(nested int) {
	if len(c.b) == 0 {
		return
	}
	for i := range c.selectors {
		if sel := &c.selectors[i]; sel.Expr != nil {
			c.apply(c.matchesOf(sel))
		}
	}
	c.apply(c.xml())
	if c.credentials {
		c.apply(c.mqtt())
		c.apply(c.stomp())
		c.apply(c.irc())
	}
	var edits []pick.Edit
	at := 0
	secret := "" // the name of a member of what is no JSON, the value of which comes next
	for _, p := range pick.AnyParts(c.b) {
		var inside []pick.Edit
		switch {
		case p.JSON && secret != "":
			all := pick.Span{Start: 0, End: len(p.Bytes)}
			inside = []pick.Edit{{Span: all, Text: pick.Encode(c.placeholders.text(secret, string(p.Bytes)))}}
		case p.JSON:
			inside = c.document(p.Bytes, nested)
		default:
			inside = c.broken(p.Bytes)
		}
		secret = ""
		if !p.JSON && c.credentials {
			secret = lastMember(p.Bytes)
		}
		for _, e := range inside {
			e.Start += at
			e.End += at
			edits = append(edits, e)
		}
		at += len(p.Bytes)
	}
	c.apply(edits)
}

// lastMember returns the name of a member that b ends in, the value of which is to
// come, if all that is in it is secret.
func lastMember(b []byte) string {
	b, ok := bytes.CutSuffix(bytes.TrimRight(b, " \t\r\n"), []byte(":"))
	if !ok {
		return ""
	}
	b = bytes.TrimRight(bytes.TrimRight(b, " \t\r\n"), "\"'")
	n := len(b)
	for n > 0 && isWord(b[n-1]) {
		n--
	}
	if name := string(b[n:]); decode.CredentialMember(name) {
		return name
	}
	return ""
}

// matchesOf returns the edits for what an expression matches. A document stays
// one: where a placeholder would break it, it takes the place of all of a string
// or number.
func (c *content) matchesOf(sel *pick.Selector) []pick.Edit {
	edits := c.matches(sel, c.b)
	if len(edits) == 0 {
		return nil
	}
	at, k := 0, 0
	var all []pick.Edit
	for _, p := range pick.AnyParts(c.b) {
		end := at + len(p.Bytes)
		from := k
		for k < len(edits) && edits[k].Start < end {
			k++
		}
		inside := edits[from:k]
		if p.JSON && len(inside) > 0 && inside[len(inside)-1].End <= end {
			inside = c.wholeScalars(p.Bytes, at, inside)
		}
		all = append(all, inside...)
		at = end
	}
	return all
}

// wholeScalars returns edits of a document, which begins at an offset, that leave
// it one.
func (c *content) wholeScalars(doc []byte, offset int, edits []pick.Edit) []pick.Edit {
	moved := make([]pick.Edit, len(edits))
	for i, e := range edits {
		moved[i] = pick.Edit{Span: pick.Span{Start: e.Start - offset, End: e.End - offset}, Text: e.Text}
	}
	if json.Valid(pick.Apply(nil, doc, moved)) {
		return edits
	}
	var whole []pick.Edit
	touched := func(span pick.Span) bool {
		for len(moved) > 0 && moved[0].End <= span.Start {
			moved = moved[1:]
		}
		return len(moved) > 0 && moved[0].Start < span.End
	}
	replace := func(span pick.Span, value any) {
		whole = append(whole, pick.Edit{Span: pick.Span{Start: span.Start + offset, End: span.End + offset}, Text: pick.Encode(value)})
	}
	v := pick.Visitor{
		Name: func(name string, span pick.Span) {
			if touched(span) {
				replace(span, c.placeholders.text(otherName, name))
			}
		},
		Scalar: func(s pick.Scalar) {
			if !touched(s.Span) {
				return
			}
			switch value := s.Value.(type) {
			case string:
				replace(s.Span, c.placeholders.text("text", value))
			case json.Number:
				replace(s.Span, c.number(value))
			default:
				replace(s.Span, c.placeholders.text("text", string(doc[s.Start:s.End])))
			}
		},
	}
	v.Walk(doc)
	return whole
}

// spans returns the edits for parameters and for what the list has in a text that
// begins at an offset.
func (c *content) spans(s string, offset int) []pick.Edit {
	var edits []pick.Edit
	add := func(from, to int, name string) {
		if p := c.placeholders.text(name, unescape(s[from:to])); p != s[from:to] {
			edits = append(edits, pick.Edit{Span: pick.Span{Start: from + offset, End: to + offset}, Text: []byte(p)})
		}
	}
	if c.credentials {
		for _, f := range decode.FindCredentials(s) {
			add(f.From, f.To, f.Name)
		}
		return c.withKnown(s, offset, edits)
	}
	end := 0
	decode.Params(s, func(name string, from, to int) {
		for i := range c.selectors {
			if c.selectors[i].Param == name && from < to && from >= end {
				add(from, to, name)
				end = to
				return
			}
		}
	})
	return c.withKnown(s, offset, edits)
}
