package filter

import (
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// lasting are the fields that have the same value from the first frame of a message to
// its last, and before its content is known.
var lasting = []string{"session", "websocket", "from", "op", "url", "host", "path", "query.NAME", "header.NAME", "method", "subprotocol", "via", "pid", "process"}

// May reports whether f may select the message that begins with the frame of ev: false
// is certain, from what does not depend on the rest of the message. Match must have seen
// ev.
func (f *Filter) May(st *State, ev *decode.Event) bool {
	s := &st.subject
	s.Event, s.Finding, s.messages = ev, nil, st.Messages
	ok := f.may(s)
	s.Event = nil
	return ok
}

// compileMay returns what tells whether n may hold or, if negated, may not.
func (f *Filter) compileMay(n *node, negated bool) test {
	switch n.op {
	case "and", "or":
		a, b := f.compileMay(n.left, negated), f.compileMay(n.right, negated)
		if (n.op == "and") != negated {
			return func(s *Subject) bool { return a(s) && b(s) }
		}
		return func(s *Subject) bool { return a(s) || b(s) }
	case "not":
		return f.compileMay(n.left, !negated)
	}
	name := n.field.Name
	if family, _, ok := strings.Cut(name, "."); ok {
		name = family + ".NAME"
	}
	if !slices.Contains(lasting, name) {
		return func(*Subject) bool { return true }
	}
	holds := new(Filter).compile(n, false)
	return func(s *Subject) bool { return holds(s) != negated }
}
