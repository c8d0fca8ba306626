package filter

import (
	"strings"
)

const (
	maxLen   = 64 << 10 // of an expression, in bytes
	maxDepth = 200      // of parentheses and negations
)

// A node is a part of an expression.
type node struct {
	op    string // "and", "or", "not"; "" is a field alone; else what compares
	left  *node
	right *node // of and, or

	field  *Field // of a clause
	name   string // as it was written
	get    Get
	search bool // the clause is a string alone
	values []literal
}

type parser struct {
	lexer
	tok   token
	depth int
}

func (p *parser) advance() (err error) {
	p.tok, err = p.lexer.next()
	return err
}

func (p *parser) is(words ...string) bool {
	for _, w := range words {
		if p.tok.text == w && p.tok.kind != tokenString {
			return true
		}
	}
	return false
}

func parse(text string) (*node, error) {
	p := &parser{lexer: lexer{s: text}}
	n, err := p.expression()
	if err == nil && p.tok.kind != tokenEnd {
		err = p.errorf(p.tok.at, "%v follows the expression; and, or are missing between", p.tok)
	}
	return n, err
}

// expression takes an expression, up to the first token that does not belong to it.
func (p *parser) expression() (*node, error) {
	if len(p.s) > maxLen {
		return nil, p.errorf(maxLen, "the expression is longer than 64 KiB")
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return p.or()
}

func (p *parser) or() (*node, error)  { return p.chain("or", "||", p.and) }
func (p *parser) and() (*node, error) { return p.chain("and", "&&", p.unary) }

func (p *parser) chain(word, sign string, inner func() (*node, error)) (*node, error) {
	left, err := inner()
	for err == nil && p.is(word, sign) {
		var right *node
		if err = p.advance(); err != nil {
			break
		}
		if right, err = inner(); err != nil {
			break
		}
		left = &node{op: word, left: left, right: right}
	}
	return left, err
}

func (p *parser) unary() (*node, error) {
	if p.depth++; p.depth > maxDepth {
		return nil, p.errorf(p.tok.at, "more than %d parentheses and negations are open", maxDepth)
	}
	defer func() { p.depth-- }()
	switch {
	case p.is("not", "!"):
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.unary()
		return &node{op: "not", left: n}, err
	case p.is("("):
		at := p.tok.at
		if err := p.advance(); err != nil {
			return nil, err
		}
		n, err := p.or()
		if err != nil {
			return nil, err
		}
		if !p.is(")") {
			return nil, p.errorf(at, "( has no ): found %v", p.tok)
		}
		return n, p.advance()
	}
	return p.clause()
}

func (p *parser) clause() (*node, error) {
	t := p.tok
	if t.kind == tokenString {
		f := byName["text"]
		if t.text == "" {
			return nil, p.errorf(t.at, "an empty string is in every text")
		}
		return &node{op: "contains", field: f, name: f.Name, get: f.Get, search: true, values: []literal{{token: t, s: t.text}}}, p.advance()
	}
	if t.kind != tokenWord || p.is("and", "or", "in", "contains", "matches") {
		return nil, p.errorf(t.at, "want a field or a string, found %v", t)
	}
	f, arg := lookup(t.text)
	if f == nil {
		if near := nearestField(t.text); near != "" {
			return nil, p.errorf(t.at, "no field %q; the nearest is %s", t.text, near)
		}
		return nil, p.errorf(t.at, "no field %q; text to search for stands in quotes", t.text)
	}
	n := &node{field: f, name: t.text, get: f.Get}
	if f.Make != nil {
		var err error
		if n.get, err = f.Make(arg); err != nil {
			return nil, p.errorf(t.at, "%v", err)
		}
	}
	if err := p.advance(); err != nil {
		return nil, err
	}
	return n, p.test(n)
}

// test takes what a field is compared with.
func (p *parser) test(n *node) error {
	at := p.tok.at
	switch {
	case p.is("==", "!=", "<", "<=", ">", ">=", "contains", "matches"):
		n.op = p.tok.text
		p.raw = n.op == "matches"
		err := p.advance()
		if p.raw = false; err != nil {
			return err
		}
		return p.value(n, at)
	case p.is("not"):
		if err := p.advance(); err != nil {
			return err
		}
		if !p.is("in") {
			return p.errorf(p.tok.at, "want in behind not, found %v", p.tok)
		}
		n.op = "not in"
	case p.is("in"):
		n.op = "in"
	default:
		return nil
	}
	if err := p.advance(); err != nil {
		return err
	}
	for first := true; first || p.is(","); first = false {
		if first && !p.is("{") {
			return p.errorf(p.tok.at, "want { behind in, found %v", p.tok)
		}
		if err := p.advance(); err != nil {
			return err
		}
		if err := p.value(n, at); err != nil {
			return err
		}
	}
	if !p.is("}") {
		return p.errorf(p.tok.at, "want , or }, found %v", p.tok)
	}
	return p.advance()
}

func (p *parser) value(n *node, at int) error {
	if p.tok.kind != tokenWord && p.tok.kind != tokenString {
		return p.errorf(p.tok.at, "want a value, found %v", p.tok)
	}
	v, where, why := n.field.literal(n.op, p.tok)
	if why != "" {
		if where {
			at = p.tok.at
		}
		return p.errorf(at, "%s: %s", n.name, why)
	}
	n.values = append(n.values, v)
	return p.advance()
}

func (n *node) append(b *strings.Builder, within string) {
	switch n.op {
	case "and", "or":
		open := within == "not" || within == "and" && n.op == "or" || within == "right"
		if open {
			b.WriteByte('(')
		}
		n.left.append(b, n.op)
		b.WriteString(" " + n.op + " ")
		if n.right.op == n.op {
			n.right.append(b, "right")
		} else {
			n.right.append(b, n.op)
		}
		if open {
			b.WriteByte(')')
		}
		return
	case "not":
		b.WriteString("not ")
		n.left.append(b, "not")
		return
	}
	if n.search {
		b.WriteString(quote(n.values[0].text, false))
		return
	}
	b.WriteString(n.name)
	if n.op == "" {
		return
	}
	b.WriteString(" " + n.op + " ")
	list := n.op == "in" || n.op == "not in"
	if list {
		b.WriteByte('{')
	}
	for i, v := range n.values {
		if i > 0 {
			b.WriteString(", ")
		}
		if v.kind == tokenWord {
			b.WriteString(v.text)
		} else {
			b.WriteString(quote(v.text, n.op == "matches"))
		}
	}
	if list {
		b.WriteByte('}')
	}
}
