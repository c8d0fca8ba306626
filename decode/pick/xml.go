package pick

import (
	"bytes"
	"cmp"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An XMLNode is an element of a document, or the text between two tags. Comments and
// processing instructions are left out, and text that has space only, where it stands
// between elements and nothing else does.
type XMLNode struct {
	Space string // the namespace; what is no declared prefix stands for itself
	Name  string // without its prefix; "" for text
	Attrs []XMLAttr
	Nodes []XMLNode // inside, in order; no two texts follow each other
	Text  string    // that of a text, with its references resolved
	Span            // in the message: what stands between the tags, or the text
}

// An XMLAttr is an attribute. Declarations of namespaces are none.
type XMLAttr struct {
	Space, Name string
	Value       string // with its references resolved
	Span               // in the message: the value, without its quotes
}

// Limits of what is taken for XML. What has more is a text like any other.
const (
	maxXML      = 8 << 20 // bytes
	maxXMLDepth = 500     // elements inside each other
	maxXMLNodes = 1 << 18 // elements, attributes and texts
)

// ParseXML returns the root of a message that is a document of XML, with white space
// around it perhaps, or nil. A document with a DOCTYPE, which can define entities, is
// none here.
func ParseXML(message []byte) *XMLNode {
	if b := bytes.TrimRight(message, " \t\r\n"); len(b) == 0 || b[len(b)-1] != '>' {
		return nil
	}
	root, whole := ParseAnyXML(message)
	if !whole {
		return nil
	}
	return root
}

// ParseAnyXML is like [ParseXML] for a message that may be cut, or broken: it returns
// what there is of it up to there, in which an element that was not closed reaches to
// the end of the message. The root is nil if there is none.
func ParseAnyXML(message []byte) (root *XMLNode, whole bool) {
	b := bytes.TrimLeft(message, " \t\r\n")
	if len(b) < 2 || b[0] != '<' || len(message) > maxXML || !isNameStart(b[1]) && b[1] != '?' && b[1] != '!' {
		return nil, false
	}
	p := xmlParser{s: string(message), spaces: map[string][]string{"xml": {"http://www.w3.org/XML/1998/namespace"}}}
	whole = p.document() && p.root != nil && len(p.open) == 0 && utf8.ValidString(p.s)
	for len(p.open) > 0 {
		p.close(len(p.s))
	}
	return p.root, whole
}

// An xmlParser makes a tree of a document.
type xmlParser struct {
	s      string
	i      int // what is before it was read
	root   *XMLNode
	open   []openElement
	spaces map[string][]string // by prefix: the namespaces it was declared to be, the innermost last
	nodes  int
	text   []byte // at hand, of the element that is open
	from   int    // where that begins
	to     int    // and ends; 0 if there is none
}

// An openElement is one whose end tag is to come.
type openElement struct {
	XMLNode
	tag      string   // its name with the prefix
	declared []string // prefixes
	keep     bool     // all white space in it counts
	texts    bool     // it has text that is more than white space
}

// document reads all of the document. It reports whether it is well-formed.
func (p *xmlParser) document() bool {
	for p.i < len(p.s) {
		rest := p.s[p.i:]
		ok := false
		switch {
		case rest[0] != '<':
			ok = p.characters()
		case strings.HasPrefix(rest, "<?"):
			ok = p.pass("<?", "?>")
		case strings.HasPrefix(rest, "<!--"):
			ok = p.pass("<!--", "-->")
		case strings.HasPrefix(rest, "<![CDATA["):
			ok = p.cdata()
		case strings.HasPrefix(rest, "</"):
			ok = p.endTag()
		default:
			ok = p.startTag()
		}
		if !ok || p.nodes > maxXMLNodes {
			return false
		}
	}
	return true
}

// pass passes over what begins and ends so.
func (p *xmlParser) pass(begin, end string) bool {
	n := strings.Index(p.s[p.i+len(begin):], end)
	if n < 0 {
		return false
	}
	p.i += len(begin) + n + len(end)
	return true
}

// characters reads text up to the next tag.
func (p *xmlParser) characters() bool {
	n := strings.IndexByte(p.s[p.i:], '<')
	if n < 0 {
		n = len(p.s) - p.i
	}
	raw := p.s[p.i : p.i+n]
	if len(p.open) == 0 {
		p.i += n
		return strings.Trim(raw, xmlSpace) == ""
	}
	return p.addText(raw, p.i, p.i+n, false)
}

func (p *xmlParser) cdata() bool {
	from := p.i + len("<![CDATA[")
	n := strings.Index(p.s[from:], "]]>")
	if n < 0 || len(p.open) == 0 {
		return false
	}
	return p.addText(p.s[from:from+n], p.i, from+n+len("]]>"), true)
}

// addText adds raw, which stands at from to to with what is around it, to the text at
// hand.
func (p *xmlParser) addText(raw string, from, to int, literal bool) bool {
	if p.to == 0 {
		p.from = from
	}
	var ok bool
	if p.text, ok = appendCharacters(p.text, raw, literal, false); !ok {
		return false
	}
	p.i, p.to = to, to
	if o := &p.open[len(p.open)-1]; strings.Trim(raw, xmlSpace) != "" {
		o.texts = true
	}
	return true
}

// flush makes a node of the text at hand.
func (p *xmlParser) flush() {
	if p.to > 0 && len(p.text) > 0 {
		o := &p.open[len(p.open)-1]
		o.Nodes = append(o.Nodes, XMLNode{Text: string(p.text), Span: Span{p.from, p.to}})
		p.nodes++
	}
	p.text, p.to = p.text[:0], 0
}

func (p *xmlParser) startTag() bool {
	p.i++
	tag := p.name()
	if tag == "" || len(p.open) == 0 && p.root != nil || len(p.open) == maxXMLDepth {
		return false
	}
	if len(p.open) > 0 {
		p.flush()
	}
	p.nodes++
	o := openElement{tag: tag}
	if n := len(p.open); n > 0 {
		o.keep = p.open[n-1].keep
	}
	empty := false
	for {
		spaced := p.space()
		rest := p.s[p.i:]
		if empty = strings.HasPrefix(rest, "/>"); empty {
			p.i += 2
			break
		}
		if strings.HasPrefix(rest, ">") {
			p.i++
			break
		}
		if !spaced || !p.attribute(&o) {
			p.undeclare(&o)
			return false
		}
	}
	if !p.resolve(&o) {
		p.undeclare(&o)
		return false
	}
	o.Start = p.i
	p.open = append(p.open, o)
	if empty {
		p.close(p.i)
	}
	return true
}

// attribute reads an attribute, or the declaration of a namespace. The name of an
// attribute is not resolved yet.
func (p *xmlParser) attribute(o *openElement) bool {
	name := p.name()
	p.space()
	if name == "" || p.i == len(p.s) || p.s[p.i] != '=' {
		return false
	}
	p.i++
	p.space()
	if p.i == len(p.s) || p.s[p.i] != '"' && p.s[p.i] != '\'' {
		return false
	}
	from := p.i + 1
	n := strings.IndexByte(p.s[from:], p.s[p.i])
	if n < 0 || strings.IndexByte(p.s[from:from+n], '<') >= 0 {
		return false
	}
	raw := p.s[from : from+n]
	p.i = from + n + 1
	p.nodes++
	value := raw
	if strings.ContainsAny(raw, "&\t\r\n") || hasControl(raw) {
		b, ok := appendCharacters(nil, raw, false, true)
		if !ok {
			return false
		}
		value = string(b)
	}
	prefix, declares := strings.CutPrefix(name, "xmlns:")
	if name == "xmlns" {
		prefix, declares = "", true
	}
	switch {
	case declares && slices.Contains(o.declared, prefix), p.nodes > maxXMLNodes:
		return false
	case declares:
		o.declared = append(o.declared, prefix)
		p.spaces[prefix] = append(p.spaces[prefix], value)
		return len(o.declared) <= maxDeclared
	}
	if name == "xml:space" {
		o.keep = value == "preserve"
	}
	o.Attrs = append(o.Attrs, XMLAttr{Name: name, Value: value, Span: Span{from, from + n}})
	return true
}

// maxDeclared is how many namespaces an element may declare.
const maxDeclared = 100

// resolve finds the namespaces of an element and its attributes.
func (p *xmlParser) resolve(o *openElement) bool {
	var ok bool
	if o.Space, o.Name, ok = p.split(o.tag, p.innermost("")); !ok {
		return false
	}
	for i := range o.Attrs {
		a := &o.Attrs[i]
		if a.Space, a.Name, ok = p.split(a.Name, ""); !ok {
			return false
		}
	}
	slices.SortFunc(o.Attrs, func(a, b XMLAttr) int { return a.Compare(&b) })
	for i := 1; i < len(o.Attrs); i++ {
		if o.Attrs[i].Compare(&o.Attrs[i-1]) == 0 {
			return false
		}
	}
	return true
}

// Compare says which of two attributes comes first, by their names.
func (a *XMLAttr) Compare(b *XMLAttr) int {
	return cmp.Or(strings.Compare(a.Name, b.Name), strings.Compare(a.Space, b.Space))
}

// split returns the namespace of a name, which is space if it has no prefix, and the
// rest of it.
func (p *xmlParser) split(name, space string) (string, string, bool) {
	prefix, local, ok := strings.Cut(name, ":")
	if !ok {
		return space, name, true
	}
	if space = p.innermost(prefix); space == "" {
		space = prefix
	}
	return space, local, prefix != "" && local != "" && isNameStart(local[0]) && strings.IndexByte(local, ':') < 0
}

func (p *xmlParser) innermost(prefix string) string {
	if list := p.spaces[prefix]; len(list) > 0 {
		return list[len(list)-1]
	}
	return ""
}

func (p *xmlParser) undeclare(o *openElement) {
	for _, prefix := range o.declared {
		p.spaces[prefix] = p.spaces[prefix][:len(p.spaces[prefix])-1]
	}
}

func (p *xmlParser) endTag() bool {
	at := p.i
	p.i += 2
	name := p.name()
	p.space()
	if len(p.open) == 0 || name != p.open[len(p.open)-1].tag || p.i == len(p.s) || p.s[p.i] != '>' {
		return false
	}
	p.i++
	p.close(at)
	return true
}

// close closes the innermost element, the content of which ends at end.
func (p *xmlParser) close(end int) {
	p.flush()
	n := len(p.open) - 1
	o := p.open[n]
	p.open = p.open[:n]
	p.undeclare(&o)
	o.End = end
	if !o.texts && !o.keep && slices.ContainsFunc(o.Nodes, func(n XMLNode) bool { return n.Name != "" }) {
		o.Nodes = slices.DeleteFunc(o.Nodes, func(n XMLNode) bool { return n.Name == "" })
	}
	if n == 0 {
		p.root = &o.XMLNode
		return
	}
	p.open[n-1].Nodes = append(p.open[n-1].Nodes, o.XMLNode)
}

const xmlSpace = " \t\r\n"

// space passes over white space. It reports whether there was some.
func (p *xmlParser) space() bool {
	from := p.i
	for p.i < len(p.s) && strings.IndexByte(xmlSpace, p.s[p.i]) >= 0 {
		p.i++
	}
	return p.i > from
}

// name reads a name. It returns "" if there is none.
func (p *xmlParser) name() string {
	from := p.i
	if p.i == len(p.s) || !isNameStart(p.s[p.i]) {
		return ""
	}
	for p.i < len(p.s) && (isNameStart(p.s[p.i]) || p.s[p.i] == ':' || p.s[p.i] == '-' || p.s[p.i] == '.' || p.s[p.i] >= '0' && p.s[p.i] <= '9') {
		p.i++
	}
	return p.s[from:p.i]
}

// isNameStart reports whether a name may begin with a byte. Characters beyond ASCII
// are not told apart.
func isNameStart(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '_' || c >= 0x80
}

func hasControl(s string) bool {
	return strings.IndexFunc(s, func(r rune) bool { return r < ' ' }) >= 0
}

// appendCharacters appends what characters stand for: with references, unless they are
// literal, and with space for each kind of it in an attribute (XML 1.0 §2.11, §3.3.3).
func appendCharacters(dst []byte, raw string, literal, attr bool) ([]byte, bool) {
	for i := 0; i < len(raw); i++ {
		switch c := raw[i]; {
		case c == '&' && !literal:
			n := strings.IndexByte(raw[i:min(len(raw), i+12)], ';')
			if n < 0 {
				return dst, false
			}
			r, ok := reference(raw[i+1 : i+n])
			if !ok {
				return dst, false
			}
			dst = utf8.AppendRune(dst, r)
			i += n
		case c == '\r' && i+1 < len(raw) && raw[i+1] == '\n': // the line feed stands for both
		case attr && (c == '\t' || c == '\r' || c == '\n'):
			dst = append(dst, ' ')
		case c == '\r':
			dst = append(dst, '\n')
		case c < ' ' && c != '\t' && c != '\n':
			return dst, false
		default:
			dst = append(dst, c)
		}
	}
	return dst, true
}

// reference returns the character that a reference is to, without & and ;.
func reference(name string) (rune, bool) {
	switch name {
	case "lt":
		return '<', true
	case "gt":
		return '>', true
	case "amp":
		return '&', true
	case "apos":
		return '\'', true
	case "quot":
		return '"', true
	}
	digits, ok := strings.CutPrefix(name, "#")
	base := 10
	if hex, isHex := strings.CutPrefix(digits, "x"); isHex {
		digits, base = hex, 16
	}
	n, err := strconv.ParseUint(digits, base, 32)
	r := rune(n)
	return r, ok && err == nil && n <= utf8.MaxRune && utf8.ValidRune(r) && (r >= ' ' || r == '\t' || r == '\n' || r == '\r')
}

// EscapeXML returns a text as it can stand in an element and in an attribute.
func EscapeXML(text string) string { return xmlEscapes.Replace(text) }

var xmlEscapes = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;", "'", "&apos;", "\t", "&#9;", "\n", "&#10;", "\r", "&#13;")
