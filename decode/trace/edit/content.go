package edit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// A content is that of a message while placeholders are put into it.
type content struct {
	*rules
	b    []byte
	cuts []int // places in b that are to be found again: the ends of frames
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
			c.apply(c.matches(sel, c.b))
		}
	}
	if c.credentials {
		c.apply(c.mqtt())
		c.apply(c.stomp())
	}
	var edits []pick.Edit
	at := 0
	for _, p := range pick.AnyParts(c.b) {
		var inside []pick.Edit
		if p.JSON {
			inside = c.document(p.Bytes, nested)
		} else {
			inside = c.broken(p.Bytes)
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

// document returns the edits of a JSON document.
func (c *content) document(doc []byte, nested int) []pick.Edit {
	var edits []pick.Edit
	replace := func(span pick.Span, value any) {
		edits = append(edits, pick.Edit{Span: span, Text: pick.Encode(value)})
	}
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
				if selected || c.credentials && decode.CredentialKey(keyOf(s.At), value) {
					clean = c.placeholders.text(nameOf(s.At), value)
				} else {
					clean = c.inString(value, nested)
				}
				if clean != value {
					replace(s.Span, clean)
				}
			case json.Number:
				if selected || c.credentials && decode.CredentialKey(keyOf(s.At), string(value)) {
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

// keyOf returns the name of the member that is the place, or "".
func keyOf(at pick.Place) string {
	if len(at) > 0 {
		if name, ok := at[len(at)-1].(string); ok {
			return name
		}
	}
	return ""
}

// nameOf returns what a secret at a place is called.
func nameOf(at pick.Place) string {
	if name := at.Name(); name != "" {
		return name
	}
	return otherName
}

// broken returns the edits of what is no JSON, though it may have been meant to
// be: what looks like a member with a secret name loses its value.
func (c *content) broken(b []byte) []pick.Edit {
	var edits []pick.Edit
	add := func(from, to int, name string) {
		text := string(b[from:to])
		if n := len(edits); from < to && (n == 0 || edits[n-1].End <= from) {
			if p := c.placeholders.text(name, text); p != text {
				edits = append(edits, pick.Edit{Span: pick.Span{Start: from, End: to}, Text: []byte(p)})
			}
		}
	}
	for i := range c.selectors {
		if p := c.selectors[i].Path; p != nil && p.Last() == "" { // any value may be meant
			if at := bytes.IndexAny(b, "{["); at >= 0 {
				add(at, len(b), otherName)
				return edits
			}
		}
	}
	for i := 0; i < len(b); {
		if b[i] != '"' {
			i++
			continue
		}
		name, after := stringAt(b, i)
		j := skipSpace(b, after)
		if j == len(b) || b[j] != ':' {
			i = max(after-1, i+1) // the end of this string may be the beginning of one
			continue
		}
		j = skipSpace(b, j+1)
		selected := false
		for k := range c.selectors {
			selected = selected || c.selectors[k].Path != nil && c.selectors[k].Path.Last() == name
		}
		if !selected && (!c.credentials || j == len(b) || b[j] == '{' || b[j] == '[') {
			i = j
			continue
		}
		from, to := valueAt(b, j)
		if selected || decode.CredentialKey(name, string(b[from:to])) {
			add(from, to, name)
			i = max(to, j)
			continue
		}
		i = j
	}
	// What is known by its form is looked for between those.
	s, at := string(b), 0
	var all []pick.Edit
	for _, e := range append(edits, pick.Edit{Span: pick.Span{Start: len(b), End: len(b)}}) {
		if old := s[at:e.Start]; old != "" {
			if clean := c.textOnly(old); clean != old {
				all = append(all, c.spans(old, at)...)
			}
		}
		if e.Start < e.End {
			all = append(all, e)
		}
		at = e.End
	}
	return all
}

// textOnly is text without the expressions, which have seen all of the message.
func (c *content) textOnly(s string) string {
	return string(pick.Apply(nil, []byte(s), c.spans(s, 0)))
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
		return edits
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
	return edits
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// stringAt returns the string at b[i], a quote, and where it ends.
func stringAt(b []byte, i int) (s string, end int) {
	j := i + 1
	for j < len(b) && b[j] != '"' {
		if b[j] == '\\' {
			j++
		}
		j++
	}
	j = min(j, len(b))
	end = min(j+1, len(b))
	if json.Unmarshal(b[i:end], &s) != nil {
		s = string(b[i+1 : j])
	}
	return s, end
}

// valueAt returns where the value at b[i] stands, without the quotes of a string.
func valueAt(b []byte, i int) (from, to int) {
	if i >= len(b) {
		return len(b), len(b)
	}
	switch b[i] {
	case '"':
		_, end := stringAt(b, i)
		if end > i+1 && b[end-1] == '"' {
			end--
		}
		return i + 1, max(end, i+1)
	case '{', '[':
		depth := 0
		for j := i; j < len(b); j++ {
			switch b[j] {
			case '"':
				_, end := stringAt(b, j)
				j = end - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i, j + 1
				}
			}
		}
		return i, len(b)
	}
	j := i
	for j < len(b) && bytes.IndexByte([]byte(",}] \t\r\n"), b[j]) < 0 {
		j++
	}
	return i, j
}

// stomp returns the edit for the passcode of a CONNECT of STOMP.
func (c *content) stomp() []pick.Edit {
	if !bytes.HasPrefix(c.b, []byte("CONNECT\n")) && !bytes.HasPrefix(c.b, []byte("STOMP\n")) && !bytes.HasPrefix(c.b, []byte("CONNECT\r\n")) {
		return nil
	}
	i := bytes.Index(c.b, []byte("\npasscode:"))
	if i < 0 {
		return nil
	}
	from := i + len("\npasscode:")
	to := from + bytes.IndexAny(c.b[from:], "\r\n\x00")
	if to < from {
		to = len(c.b)
	}
	return []pick.Edit{{Span: pick.Span{Start: from, End: to}, Text: []byte(c.placeholders.text("passcode", string(c.b[from:to])))}}
}

// mqtt returns the edits for the password of a CONNECT of MQTT (MQTT 5.0 §3.1).
func (c *content) mqtt() []pick.Edit {
	b := c.b
	if len(b) < 12 || b[0] != 0x10 {
		return nil
	}
	n, width := binary.Uvarint(b[1:min(5, len(b))])
	if width <= 0 {
		return nil
	}
	body := 1 + width
	end := min(body+int(n), len(b))
	at := body
	field := func() (from, to int, ok bool) { // a length and that many bytes
		if at+2 > end {
			return 0, 0, false
		}
		from = at + 2
		to = from + int(binary.BigEndian.Uint16(b[at:]))
		at = to
		return from, to, to <= end
	}
	from, to, ok := field()
	if !ok || string(b[from:to]) != "MQTT" && string(b[from:to]) != "MQIsdp" || at+4 > end {
		return nil
	}
	level, flags := b[at], b[at+1]
	at += 4 // the keep alive too
	if flags&0x40 == 0 {
		return nil
	}
	properties := func() bool {
		if level < 5 {
			return true
		}
		n, width := binary.Uvarint(b[min(at, end):min(at+4, end)])
		at += width + int(n)
		return width > 0 && at <= end
	}
	rest := []pick.Edit{{Span: pick.Span{Start: min(at, end), End: end}}} // if it can't be told where the password is
	if !properties() {
		return rest
	}
	if _, _, ok := field(); !ok { // the client's name
		return rest
	}
	if flags&0x04 != 0 {
		if !properties() {
			return rest
		}
		for range 2 { // the topic and the content of the will
			if _, _, ok := field(); !ok {
				return rest
			}
		}
	}
	if flags&0x80 != 0 {
		if _, _, ok := field(); !ok {
			return rest
		}
	}
	start := at
	if from, to, ok = field(); !ok {
		return []pick.Edit{{Span: pick.Span{Start: min(start, end), End: end}}}
	}
	p := c.placeholders.text("password", string(b[from:to]))
	grown := int(n) + len(p) - (to - from)
	return []pick.Edit{
		{Span: pick.Span{Start: 1, End: body}, Text: binary.AppendUvarint(nil, uint64(grown))},
		{Span: pick.Span{Start: from - 2, End: to}, Text: append(binary.BigEndian.AppendUint16(nil, uint16(len(p))), p...)},
	}
}
