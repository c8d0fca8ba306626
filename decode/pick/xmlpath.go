package pick

import (
	"fmt"
	"strconv"
	"strings"
)

// An XMLPath leads from a document of XML to elements or attributes in it.
type XMLPath []xmlStep

// An xmlStep leads from an element to one inside it, or to an attribute.
type xmlStep struct {
	name string // without its prefix
	any  bool   // whatever its name
	n    int    // which of those with the name, from 1; 0 for each
	attr bool   // to an attribute
	deep bool   // at any depth
}

// ParseXMLPath parses a path such as xml:/iq/query//item[2]/@id. Names are those without
// namespace and prefix, and * is any.
func ParseXMLPath(text string) (XMLPath, error) {
	path, err := parseXMLPath(text)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", text, err)
	}
	return path, nil
}

const xmlLead = "xml:"

func parseXMLPath(text string) (XMLPath, error) {
	rest, ok := strings.CutPrefix(text, xmlLead)
	if !ok || !strings.HasPrefix(rest, "/") {
		return nil, fmt.Errorf("does not begin with %s/", xmlLead)
	}
	var path XMLPath
	for rest != "" {
		var st xmlStep
		rest = rest[1:]
		if after, ok := strings.CutPrefix(rest, "/"); ok {
			st.deep, rest = true, after
		}
		end := strings.IndexByte(rest, '/')
		if end < 0 {
			end = len(rest)
		}
		name := rest[:end]
		rest = rest[end:]
		if name, st.attr = strings.CutPrefix(name, "@"); st.attr && rest != "" {
			return nil, fmt.Errorf("nothing is inside the attribute @%s", name)
		}
		if bare, index, ok := strings.Cut(name, "["); ok {
			index, ok = strings.CutSuffix(index, "]")
			n, err := strconv.ParseUint(index, 10, 31)
			if !ok || err != nil || n == 0 || st.attr {
				return nil, fmt.Errorf("%q is not a name with [number], counted from 1", name)
			}
			name, st.n = bare, int(n)
		}
		p := xmlParser{s: name}
		switch {
		case name == "*":
			st.any = true
		case name == "":
			return nil, fmt.Errorf("a name is missing before %q", rest)
		case strings.Contains(name, ":"):
			return nil, fmt.Errorf("%q has a prefix, and names stand without one here", name)
		case p.name() != name:
			return nil, fmt.Errorf("%q is no name", name)
		}
		st.name = name
		path = append(path, st)
	}
	return path, nil
}

// Matches reports whether p leads to the place at.
func (p XMLPath) Matches(at XMLPlace) bool {
	// As in Path.Matches.
	deep, from := -1, 0
	i := 0
	for k := 0; k < len(at); {
		if i < len(p) {
			if p[i].deep && i > deep {
				deep, from = i, k
			}
			if p[i].matches(&at[k]) {
				i, k = i+1, k+1
				continue
			}
		}
		if deep < 0 {
			return false
		}
		from++
		i, k = deep, from
	}
	return i == len(p)
}

func (st *xmlStep) matches(key *XMLKey) bool {
	return st.attr == key.Attr && (st.any || st.name == key.Name) && (st.n == 0 || st.n == key.N)
}

// An XMLPlace is where an element or attribute stands in a document: the elements on the
// way to it, and itself.
type XMLPlace []XMLKey

// An XMLKey is an element of those that one has, or an attribute.
type XMLKey struct {
	Name string // without its prefix
	N    int    // which of the elements with that name, from 1
	More bool   // there are others with that name
	Attr bool
}

// String returns the path that leads to the place.
func (at XMLPlace) String() string {
	b := []byte(xmlLead)
	for _, key := range at {
		b = append(b, '/')
		if key.Attr {
			b = append(b, '@')
		}
		b = append(b, key.Name...)
		if key.More {
			b = fmt.Appendf(b, "[%d]", key.N)
		}
	}
	return string(b)
}

// Keys returns the steps to what is inside an element; that to a text is empty.
func (n *XMLNode) Keys() []XMLKey {
	keys := make([]XMLKey, len(n.Nodes))
	if len(keys) == 1 {
		if name := n.Nodes[0].Name; name != "" {
			keys[0] = XMLKey{Name: name, N: 1}
		}
		return keys
	}
	count := map[string]int{}
	for i := range n.Nodes {
		if name := n.Nodes[i].Name; name != "" {
			count[name]++
			keys[i] = XMLKey{Name: name, N: count[name]}
		}
	}
	for i := range keys {
		keys[i].More = count[keys[i].Name] > 1
	}
	return keys
}

// Key returns the step from an element to its attribute.
func (a *XMLAttr) Key() XMLKey { return XMLKey{Name: a.Name, Attr: true} }

// Root returns the place of the root.
func (n *XMLNode) Root() XMLPlace { return XMLPlace{{Name: n.Name, N: 1}} }

// IsText reports whether an element has text in it and no elements, or nothing.
func (n *XMLNode) IsText() bool {
	return len(n.Nodes) == 0 || len(n.Nodes) == 1 && n.Nodes[0].Name == ""
}

// Content returns the text in an element that has nothing else in it.
func (n *XMLNode) Content() string {
	if len(n.Nodes) == 0 {
		return ""
	}
	return n.Nodes[0].Text
}

// An XMLVisitor sees what is in a document, in order. The places are valid during the
// call.
type XMLVisitor struct {
	// Enter sees each element before what is in it; if it returns false, that is
	// passed over.
	Enter func(at XMLPlace, n *XMLNode) bool
	Attr  func(at XMLPlace, a *XMLAttr) // nil for none
	Text  func(in XMLPlace, n *XMLNode) // nil for none
}

// Walk leads v through a document.
func (v *XMLVisitor) Walk(root *XMLNode) {
	if root != nil {
		v.element(root.Root(), root)
	}
}

func (v *XMLVisitor) element(at XMLPlace, n *XMLNode) {
	if !v.Enter(at, n) {
		return
	}
	if v.Attr != nil {
		for i := range n.Attrs {
			v.Attr(append(at, n.Attrs[i].Key()), &n.Attrs[i])
		}
	}
	keys := n.Keys()
	for i := range n.Nodes {
		switch in := &n.Nodes[i]; {
		case in.Name != "":
			v.element(append(at, keys[i]), in)
		case v.Text != nil:
			v.Text(at, in)
		}
	}
}
