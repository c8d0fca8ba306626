package replay

import (
	"fmt"
	"slices"

	"github.com/wstrace/wstrace/decode/pick"
)

// A capture takes a value out of what the other side sends, which differs from
// the recorded one, to use it in place of the recorded one from then on.
type capture struct {
	from pick.Selector
	into []pick.Selector // where in later messages the value stands; nil: anywhere
}

// newCapture checks the selectors of a capture.
func newCapture(from string, into []string) (capture, error) {
	sel, err := pick.Parse(from)
	if err != nil {
		return capture{}, err
	}
	if sel.Credentials || sel.Untold {
		return capture{}, fmt.Errorf("%q names no value", from)
	}
	places, err := pick.ParseAll(into)
	if err != nil {
		return capture{}, err
	}
	for _, p := range places {
		if p.Path == nil && p.XML == nil && p.Bytes == nil {
			return capture{}, fmt.Errorf("%q can't say where a value goes, which $.path, xml:/path and @offset:length can", p)
		}
	}
	return capture{sel, places}, nil
}

// substitute returns that a live value takes the place of a recorded one.
func (c *capture) substitute(recorded, live any) substitution {
	sub := substitution{recorded: recorded, live: live, into: c.into}
	if b := c.from.Bytes; b != nil && c.into == nil && (b.MQTTID || b.Length < minAnywhere) { // too short to be found
		sub.into, sub.own = []pick.Selector{c.from}, true
	}
	return sub
}

// substitutions returns what the captures find in a message that came and in
// the recorded one.
func (e *equality) substitutions(want, got []byte) []substitution {
	var subs []substitution
	for i := range e.captures {
		c := &e.captures[i]
		ws, gs := c.values(want), c.values(got)
		for i := range min(len(ws), len(gs)) {
			subs = append(subs, c.substitute(ws[i], gs[i]))
		}
	}
	return subs
}

// values returns what a capture takes out of a message.
func (c *capture) values(message []byte) (list []any) {
	if c.from.Bytes == nil || !c.from.Bytes.MQTTID {
		return c.from.Values(message)
	}
	pick.MQTTIDs(message, func(kind byte, at pick.Span) {
		if madeMQTTID(kind) {
			list = append(list, string(message[at.Start:at.End]))
		}
	})
	return list
}

// Unfound returns the selectors of [Capture] that find nothing in the session, neither in
// messages nor in the handshake.
func (s *Script) Unfound() (selectors []string) {
	for i := range s.captures {
		if c := &s.captures[i]; !s.finds(c) {
			selectors = append(selectors, c.from.String())
		}
	}
	return selectors
}

func (s *Script) finds(c *capture) bool {
	for _, h := range append([]*head{s.request}, s.replies...) {
		if h == nil {
			continue
		}
		if body := s.contentBehind(h); len(c.inHead(h.Head, h.Head, body, body)) > 0 {
			return true
		}
	}
	return s.count(func(u *unit) bool { return len(c.values(u.data)) > 0 }) > 0
}

// Unfound returns the selectors of [Capture] that find nothing in any session.
func (p *Play) Unfound() (selectors []string) {
	captures := p.scripts[0].captures // those of all
	for i := range captures {
		if c := &captures[i]; !slices.ContainsFunc(p.scripts, func(s *Script) bool { return s.finds(c) }) {
			selectors = append(selectors, c.from.String())
		}
	}
	return selectors
}

// learn takes the values out of a message of the peer that came as recorded. It is called
// with mu locked.
func (p *player) learn(want, got *unit) {
	if got.long != nil {
		return
	}
	p.subs.add(p.s.substitutions(want.data, got.data))
	p.s.learnAuto(p.subs, p.how, want, got)
}

// live returns the content of one of our messages with the values that came. If one does
// not fit, the replay fails.
func (p *player) live(u *unit) []byte {
	data, wrong := p.subs.putIn(u, false)
	if wrong != nil {
		i := 0
		for units := p.s.sides[p.role].units; i < len(units)-1 && &units[i] != u; i++ {
		}
		p.fail(fmt.Errorf("%s has a value that is captured: %v", p.s.unitName(p.role, i, "our"), wrong))
	}
	return data
}
