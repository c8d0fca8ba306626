package pick

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
)

// shape returns a tree in a form that a test can spell.
func shape(n *XMLNode) string {
	if n == nil {
		return "none"
	}
	if n.Name == "" {
		return fmt.Sprintf("%q", n.Text)
	}
	name := n.Name
	if n.Space != "" {
		name = "{" + n.Space + "}" + name
	}
	for _, a := range n.Attrs {
		if a.Space != "" {
			a.Name = "{" + a.Space + "}" + a.Name
		}
		name += fmt.Sprintf(" %s=%q", a.Name, a.Value)
	}
	var inside []string
	for i := range n.Nodes {
		inside = append(inside, shape(&n.Nodes[i]))
	}
	return "<" + name + ">(" + strings.Join(inside, " ") + ")"
}

var xmlMessages = map[string]string{
	`<a/>`:             `<a>()`,
	` <a></a >` + "\n": `<a>()`,
	`<?xml version="1.0"?><!-- c --><a><!-- c --></a><!-- c -->`:  `<a>()`,
	`<open xmlns="urn:x" to='b' a = "1"/>`:                        `<{urn:x}open a="1" to="b">()`,
	`<s:E xmlns:s="urn:s" xmlns="urn:d"><b s:q="1" q="2"/></s:E>`: `<{urn:s}E>(<{urn:d}b q="2" {urn:s}q="1">())`,
	`<a xmlns="u"><b xmlns=""/><c/></a>`:                          `<{u}a>(<b>() <{u}c>())`,
	`<stream:features><p:x xmlns:p="u"/><p:x/></stream:features>`: `<{stream}features>(<{u}x>() <{p}x>())`,
	`<a>&lt;&#65;&#x42;&amp;<![CDATA[<&]]>z</a>`:                  `<a>("<AB&<&z")`,
	"<a x='1&#10;2\n3&apos;\"'>\r\n</a>":                          `<a x="1\n2 3'\"">("\n")`,
	"<a> <b/>\n <c> </c> </a>":                                    `<a>(<b>() <c>(" "))`,
	`<a>t <b/> </a>`:                                              `<a>("t " <b>() " ")`,
	`<a xml:space="preserve"> <b> <c/></b></a>`:                   `<a {http://www.w3.org/XML/1998/namespace}space="preserve">(" " <b>(" " <c>()))`,
	`<a>1<!-- c -->2<?p?>3</a>`:                                   `<a>("123")`,
	`<é ü="ö"/>`:                                                  `<é ü="ö">()`,
	``:                                                            `none`,
	`<`:                                                           `none`,
	`<3 you>`:                                                     `none`,
	`<a>`:                                                         `none`,
	`<a></b>`:                                                     `none`,
	`<a/><b/>`:                                                    `none`,
	`<a/>x`:                                                       `none`,
	`x<a/>`:                                                       `none`,
	`<a b/>`:                                                      `none`,
	`<a b=c/>`:                                                    `none`,
	`<a b="1"c="2"/>`:                                             `none`,
	`<a b="1" b="2"/>`:                                            `none`,
	`<a xmlns:p="u" xmlns:q="u" p:b="1" q:b="2"/>`: `none`,
	`<a b="<"/>`:      `none`,
	`<a>&nbsp;</a>`:   `none`,
	`<a>&</a>`:        `none`,
	`<a>&#0;</a>`:     `none`,
	`<a>&#xd800;</a>`: `none`,
	"<a>\x00</a>":     `none`,
	"<a>\xff</a>":     `none`,
	`<!DOCTYPE a [<!ENTITY e "x">]><a>&e;</a>`: `none`,
	`<div><br><p>x</div>`:                      `none`,
	`<input @click="x"/>`:                      `none`,
	`<:a/>`:                                    `none`,
	`<a:/>`:                                    `none`,
	`<![CDATA[x]]><a/>`:                        `none`,
	`<a><![CDATA[x]></a>`:                      `none`,
	strings.Repeat("<a>", 501) + strings.Repeat("</a>", 501): `none`,
	strings.Repeat("<a>", 400) + strings.Repeat("</a>", 400): strings.Repeat("<a>(", 400) + strings.Repeat(")", 400),
}

func TestParseXML(t *testing.T) {
	for text, want := range xmlMessages {
		if got := shape(ParseXML([]byte(text))); got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
	}
}

// What is cut is read as far as it goes, and what is open reaches to its end.
func TestParseAnyXML(t *testing.T) {
	const text = `<a b="1"><c>secr`
	root, whole := ParseAnyXML([]byte(text))
	if got := shape(root); whole || got != `<a b="1">(<c>("secr"))` {
		t.Errorf("got %s, %t", got, whole)
	}
	if c := root.Nodes[0]; text[c.Start:c.End] != "secr" {
		t.Errorf("the open element is at %v", c.Span)
	}
}

// No message takes long: each of these would take minutes if the time grew with the
// square of the length.
func TestHostileXML(t *testing.T) {
	const n = 1 << 20
	for name, text := range map[string]string{
		"elements":     "<a>" + strings.Repeat("<b/>", n) + "</a>",
		"attributes":   "<a" + strings.Repeat(" b='1'", n) + "/>",
		"comments":     "<a>" + strings.Repeat("x<!---->", n-8) + "</a>",
		"references":   "<a>" + strings.Repeat("&amp;", n) + "</a>",
		"declarations": "<a" + strings.Repeat(" xmlns:b='1'", n/2) + "/>",
		"tags":         strings.Repeat("<", n),
		"open":         strings.Repeat("<a>", n),
		"namespaces":   strings.Repeat("<a xmlns:b='1' xmlns:c='2'>", 400) + strings.Repeat("<b:c/>", n/8) + strings.Repeat("</a>", 400),
		"long":         "<a>" + strings.Repeat(" ", maxXML) + "</a>",
	} {
		t.Run(name, func(*testing.T) { ParseXML([]byte(text)) })
	}
}

func TestXMLPath(t *testing.T) {
	const message = `<iq id="1" xmlns="u"><query><item jid="a"/><item jid="b">x</item></query><error/></iq>`
	for path, want := range map[string]string{
		"xml:/iq/@id":              `[xml:/iq/@id]`,
		"xml:/iq":                  `[xml:/iq]`,
		"xml:/iq/*":                `[xml:/iq/query xml:/iq/error]`,
		"xml://@jid":               `[xml:/iq/query/item[1]/@jid xml:/iq/query/item[2]/@jid]`,
		"xml://item[2]/@*":         `[xml:/iq/query/item[2]/@jid]`,
		"xml:/*/query[1]//item[1]": `[xml:/iq/query/item[1]]`,
		"xml:/query":               `[]`,
		"xml:/iq//item/item":       `[]`,
		"xml:/":                    `path "xml:/": a name is missing before ""`,
		"xml:/a//":                 `path "xml:/a//": a name is missing before ""`,
		"xml:/@a/b":                `path "xml:/@a/b": nothing is inside the attribute @a`,
		"xml:/s:a":                 `path "xml:/s:a": "s:a" has a prefix, and names stand without one here`,
		"xml:/a[0]":                `path "xml:/a[0]": "a[0]" is not a name with [number], counted from 1`,
		"xml:/@a[1]":               `path "xml:/@a[1]": "a[1]" is not a name with [number], counted from 1`,
		"xml:/a b":                 `path "xml:/a b": "a b" is no name`,
		"xml:/a:":                  `path "xml:/a:": "a:" has a prefix, and names stand without one here`,
	} {
		sel, err := Parse(path)
		if err != nil {
			if err.Error() != want {
				t.Errorf("%s: got %v, want %s", path, err, want)
			}
			continue
		}
		got := []string{}
		find := func(at XMLPlace) {
			if !sel.XML.Matches(at) {
				return
			}
			got = append(got, at.String())
			if back, err := ParseXMLPath(at.String()); err != nil || !back.Matches(at) {
				t.Errorf("%s does not lead back: %v", at, err)
			}
		}
		v := XMLVisitor{Enter: func(at XMLPlace, n *XMLNode) bool { find(at); return true }, Attr: func(at XMLPlace, a *XMLAttr) { find(at) }}
		v.Walk(ParseXML([]byte(message)))
		if fmt.Sprint(got) != want {
			t.Errorf("%s: got %v, want %s", path, got, want)
		}
		if sel.Finds([]byte(message)) != (len(got) > 0) {
			t.Errorf("%s: Finds says %t", path, len(got) == 0)
		}
	}
	sel, _ := Parse("xml://*")
	if got := sel.Values([]byte(message)); !slices.Equal(got, []any{"x"}) {
		t.Errorf("values of elements are %v", got)
	}
}

// FuzzXML checks that whatever is taken for XML is XML to another parser, that values
// are where the tree says, and that paths do not panic.
func FuzzXML(f *testing.F) {
	for text := range xmlMessages {
		f.Add("xml://a/@b", []byte(text))
		f.Add("xml:/*//c[2]", []byte(text))
	}
	f.Fuzz(func(t *testing.T, text string, message []byte) {
		sel, err := Parse(text)
		ParseAnyXML(message)
		root := ParseXML(message)
		if root == nil {
			return
		}
		if err == nil {
			sel.Values(message)
			sel.Finds(message)
		}
		if bytes.Contains(message, []byte("<?")) { // the other one looks into these, at the encoding
			return
		}
		var edits []Edit
		v := XMLVisitor{Enter: func(at XMLPlace, n *XMLNode) bool {
			if n.Start < 0 || n.End < n.Start || n.End > len(message) {
				t.Fatalf("%s is at %v", at, n.Span)
			}
			from := len(edits)
			for i := range n.Attrs {
				a := &n.Attrs[i]
				if b, ok := appendCharacters(nil, string(message[a.Start:a.End]), false, true); !ok || string(b) != a.Value {
					t.Errorf("%q stands for %q", message[a.Start:a.End], a.Value)
				}
				edits = append(edits, Edit{a.Span, []byte(EscapeXML(a.Value))})
			}
			slices.SortFunc(edits[from:], func(a, b Edit) int { return a.Start - b.Start })
			return true
		}, Text: func(in XMLPlace, n *XMLNode) {
			edits = append(edits, Edit{n.Span, []byte(EscapeXML(n.Text))})
		}}
		v.Walk(root)
		again := Apply(nil, message, edits)
		if got, want := shape(ParseXML(again)), shape(root); got != want {
			t.Errorf("%q written anew is %q: %s, was %s", message, again, got, want)
		}
		d := xml.NewDecoder(bytes.NewReader(message))
		for depth := 0; ; {
			tok, err := d.Token()
			if err == io.EOF {
				break
			}
			if err != nil {
				if strings.Contains(err.Error(), "invalid XML name") || strings.Contains(err.Error(), "illegal character code") ||
					strings.Contains(err.Error(), "]]>") || strings.Contains(err.Error(), "in comment") || strings.Contains(err.Error(), "expected attribute name") ||
					strings.Contains(err.Error(), "expected element name") || strings.Contains(err.Error(), "attribute name without") {
					return // characters that are told apart there only
				}
				t.Fatalf("%v in %q", err, message)
			}
			switch tok := tok.(type) {
			case xml.StartElement:
				if depth++; depth == 1 && (tok.Name.Local != root.Name || tok.Name.Space != root.Space) {
					t.Errorf("the root is %v, not {%s}%s", tok.Name, root.Space, root.Name)
				}
			case xml.EndElement:
				depth--
			}
		}
	})
}
