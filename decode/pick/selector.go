package pick

import (
	"encoding/json"
	"fmt"
	"regexp"
	"regexp/syntax"
	"strings"
	"unicode/utf8"
)

// A Selector names a part of a session. One of its fields is set.
//
//	$.user.id  $[1].*  $..token   Path: values in the JSON of messages
//	xml:/iq/@id  xml://body       XML: attributes and elements of messages that are XML
//	?token                        Param: a parameter of the query
//	Authorization:                Header: the value of a header
//	/[0-9]+ ms/                   Expr: what an expression matches
//	@2:4  @-4:4  @mqtt.id         Bytes: bytes of messages, by offset and length
//	credentials                   Credentials: what package decode has in its list
//	/…/                           Untold: what an expression matched that is not told
type Selector struct {
	Path        Path           // nil for none
	XML         XMLPath        // nil for none
	Param       string         // the name of a parameter
	Header      string         // the name of a header
	Expr        *regexp.Regexp // nil for none
	Bytes       *Bytes         // nil for none
	Credentials bool
	Untold      bool

	text string
}

// Parse returns the selector that text is.
func Parse(text string) (Selector, error) {
	s := Selector{text: text}
	switch {
	case text == Credentials:
		s.Credentials = true
		return s, nil
	case text == Untold:
		s.Untold = true
		return s, nil
	case !utf8.ValidString(text):
		return s, fmt.Errorf("%q is not UTF-8", text)
	case strings.HasPrefix(text, "$"):
		path, err := ParsePath(text)
		s.Path = path
		return s, err
	case strings.HasPrefix(text, xmlLead+"/"):
		path, err := ParseXMLPath(text)
		s.XML = path
		return s, err
	case strings.HasPrefix(text, "@"):
		b, err := parseBytes(text)
		s.Bytes = b
		return s, err
	case len(text) > 1 && text[0] == '?':
		s.Param = text[1:]
		return s, nil
	case len(text) > 2 && text[0] == '/' && text[len(text)-1] == '/':
		expr, err := regexp.Compile(text[1 : len(text)-1])
		s.Expr = expr
		return s, err
	case len(text) > 1 && text[len(text)-1] == ':':
		s.Header = text[:len(text)-1]
		return s, nil
	}
	return s, fmt.Errorf(`%q is not "$.path", "xml:/path", "?parameter", "Header:", "/expression/", "@offset:length" or "credentials"`, text)
}

// The selectors that are words.
const (
	Credentials = "credentials"
	Untold      = "/…/"
)

// ParseAll returns the selectors that texts are, or the error of the first that
// is none.
func ParseAll(texts []string) ([]Selector, error) {
	var list []Selector
	for _, text := range texts {
		s, err := Parse(text)
		if err != nil {
			return nil, err
		}
		list = append(list, s)
	}
	return list, nil
}

// String returns the selector as it was given to [Parse].
func (s Selector) String() string { return s.text }

// Told returns the selector as it may be told to others: as it was given, or
// [Untold] for an expression that spells out what it selects.
func (s Selector) Told() string {
	if s.Expr != nil && spells(s.Expr.String()) {
		return Untold
	}
	return s.text
}

// spells reports whether an expression has, in what it selects, four characters
// that stand for themselves, or nothing else.
func spells(expr string) bool {
	re, err := syntax.Parse(expr, syntax.Perl)
	if err != nil {
		return true
	}
	if group := firstGroup(re); group != nil {
		re = group
	}
	letters, others := literals(re)
	return letters >= 4 || letters > 0 && others == 0
}

func firstGroup(re *syntax.Regexp) *syntax.Regexp {
	if re.Op == syntax.OpCapture {
		return re
	}
	for _, sub := range re.Sub {
		if g := firstGroup(sub); g != nil {
			return g
		}
	}
	return nil
}

// literals counts the characters of an expression that stand for themselves, and
// the parts that stand for more.
func literals(re *syntax.Regexp) (letters, others int) {
	switch re.Op {
	case syntax.OpLiteral:
		return len(re.Rune), 0
	case syntax.OpCharClass:
		n := 0
		for i := 0; i+1 < len(re.Rune); i += 2 {
			n += int(re.Rune[i+1]-re.Rune[i]) + 1
		}
		if n <= 2 {
			return 1, 0
		}
		return 0, 1
	case syntax.OpAnyChar, syntax.OpAnyCharNotNL:
		return 0, 1
	}
	for _, sub := range re.Sub {
		l, o := literals(sub)
		letters, others = letters+l, others+o
	}
	return letters, others
}

// InMessages reports whether s names something in messages too, and not in heads
// alone.
func (s Selector) InMessages() bool {
	return s.Path != nil || s.XML != nil || s.Expr != nil || s.Bytes != nil || s.Credentials
}

// Values returns the strings and numbers that s selects in a message, in order:
// each a string or a json.Number. Those of an element are its text, if it has no elements
// in it.
func (s Selector) Values(message []byte) []any {
	var values []any
	switch {
	case s.Path != nil:
		v := Visitor{Scalar: func(x Scalar) {
			switch x.Value.(type) {
			case string, json.Number:
				if s.Path.Matches(x.At) {
					values = append(values, x.Value)
				}
			}
		}}
		for _, p := range Parts(message) {
			if p.JSON {
				v.Walk(p.Bytes)
			}
		}
	case s.XML != nil:
		v := XMLVisitor{Enter: func(at XMLPlace, n *XMLNode) bool {
			if n.IsText() && n.Content() != "" && s.XML.Matches(at) {
				values = append(values, n.Content())
			}
			return true
		}, Attr: func(at XMLPlace, a *XMLAttr) {
			if s.XML.Matches(at) {
				values = append(values, a.Value)
			}
		}}
		v.Walk(ParseXML(message))
	case s.Expr != nil, s.Bytes != nil:
		for _, m := range s.Spans(message) {
			values = append(values, string(message[m.Start:m.End]))
		}
	}
	return values
}

// Finds reports whether s selects anything in a message: a string, a number, or an
// element of XML, which may be empty.
func (s Selector) Finds(message []byte) bool {
	if s.XML == nil {
		return len(s.Values(message)) > 0
	}
	found := false
	v := XMLVisitor{Enter: func(at XMLPlace, n *XMLNode) bool {
		found = found || s.XML.Matches(at)
		return !found
	}, Attr: func(at XMLPlace, a *XMLAttr) {
		found = found || s.XML.Matches(at)
	}}
	v.Walk(ParseXML(message))
	return found
}

// A Span is a stretch of bytes.
type Span struct{ Start, End int }

// Spans returns where the expression of s matches in a message, in order: where
// its first group is, if it has one that takes part, or else all of the match. Of bytes
// it returns where they stand.
func (s Selector) Spans(message []byte) []Span {
	if s.Bytes != nil {
		return s.Bytes.spans(message)
	}
	if s.Expr == nil {
		return nil
	}
	var spans []Span
	for _, m := range s.Expr.FindAllSubmatchIndex(message, -1) {
		if len(m) > 2 && m[2] >= 0 {
			m = m[2:]
		}
		spans = append(spans, Span{m[0], m[1]})
	}
	return spans
}
