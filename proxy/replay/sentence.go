package replay

import (
	"fmt"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// nameTheirs returns "client frame 2 (line 14)" for a unit of the peer.
func (p *player) nameTheirs(i int) string { return p.s.unitName(p.peer, i, "") }

// unitName names unit i of a side.
func (s *Script) unitName(d decode.Dir, i int, who string) string {
	if who == "" {
		who = d.String()
	}
	u := &s.sides[d].units[i]
	if u.kind == unitEnd {
		if who == "our" {
			return "our end" + s.inLine(u.at)
		}
		return fmt.Sprintf("the end of the connection by the %s%s", who, s.inLine(u.at))
	}
	return fmt.Sprintf("%s %s %d%s", who, u.noun(), i, s.inLine(u.at))
}

// after says what came last from the peer.
func (p *player) after() string {
	if p.last < 0 || p.last >= len(p.matched) {
		return "after the handshake"
	}
	return "after " + p.nameTheirs(p.last)
}

// unexpected says that u came and something else was expected, or nothing.
func (p *player) unexpected(u *unit, why string) error {
	units := p.s.sides[p.peer].units
	p.s.hide(u)
	d := &Difference{Got: shown(u)}
	if p.arrived == len(units) {
		if len(units) > 0 {
			d.Line = p.s.line(units[len(units)-1].at)
		}
		d.Text = fmt.Sprintf("expected nothing more from the %s %s; got %v", p.peer, p.after(), u)
		return d
	}
	want := &units[p.arrived]
	d.Line = p.s.line(want.at)
	expected := want.String()
	d.Want = shown(want)
	if text := *want; want.re() == nil && want.long == nil {
		live, subs := p.expected(p.arrived, u)
		text.data, _ = subs.putIn(live, true)
		expected = text.String()
		d.Want = text.data
		if want.op == ws.OpText && u.op == ws.OpText && !p.s.exact {
			d.Want, d.Got = p.s.compared(text.data), p.s.compared(shown(u))
		}
	}
	switch {
	case want.kind == unitEnd:
		d.Text = fmt.Sprintf("expected the %s to end the connection (%v) %s", p.peer, want.how, p.after())
	default:
		d.Text = fmt.Sprintf("expected %s %s %d, %s, %s", p.peer, want.noun(), p.arrived, expected, p.after())
	}
	d.Text += fmt.Sprintf("; got %v", u)
	if (want.op <= ws.OpBinary) != (u.op <= ws.OpBinary) {
		d.Want, d.Got = nil, nil // a message and the body of a Close frame have nothing in common
	}
	for i := p.arrived + 1; i < len(units) && u.kind != unitEnd; i++ {
		if ok, _ := p.compare(i, u); ok && !p.matched[i] {
			why = "which is expected later, as " + p.nameTheirs(i)
			break
		}
	}
	if why != "" {
		d.Text += ", " + why
		d.Anew, d.Unused = p.s.remedies(p.cast.played(p.s), p.subs, want, u)
	}
	return d
}

// cutShort says that got came, the end of the peer or TLS, before the handshake was
// done.
func (p *player) cutShort(got string) error {
	d := &Difference{}
	what := "a request"
	switch {
	case p.role == decode.FromServer:
		if p.s.request != nil {
			d.Line = p.s.line(p.s.request.at)
		}
	case len(p.s.replies) > 0:
		what = "a response"
		d.Line = p.s.line(p.s.final().at)
	default:
		what = "a response"
	}
	d.Text = fmt.Sprintf("expected %s from the %s; got %s", what, p.peer, got)
	return d
}

// stalled says who waits for what.
func (p *player) stalled() error {
	at := 0
	what := "the request of the client"
	var before elsewhere
	switch {
	case p.ready && p.arrived < len(p.matched):
		what = p.nameTheirs(p.arrived)
		before = p.s.before[p.s.sides[p.peer].units[p.arrived].at]
	case p.ready:
		what = "the end of the connection by the " + p.peer.String()
	case p.role == decode.FromClient:
		what = "the response of the server"
		if len(p.s.replies) > 0 {
			at = p.s.final().at
		}
	case p.s.request != nil:
		at = p.s.request.at
	}
	if at > 0 {
		what += p.s.inLine(at)
	}
	text := fmt.Sprintf("%s waits for %s", p.role, what)
	if it := p.required(p.next); it != nil && p.ready && !it.isClose && !it.end { // nobody waits for those
		text += fmt.Sprintf("; %s may be waiting for %s", p.peer, p.nameOurs(it))
	}
	if before.session != 0 {
		text += fmt.Sprintf("; session %d of the trace came before that%s", before.session, p.s.inLine(before.at))
	}
	return &stallError{text, p.how.stall, before.session != 0}
}

// unasked says that a server waits for the request of a client.
func (s *Script) unasked(stall time.Duration) error {
	text := "server waits for the request of the client"
	if s.request != nil {
		text += s.inLine(s.request.at)
	}
	return &stallError{text: text, stall: stall}
}

// unread says that the peer does not read what we write.
func (p *player) unread() error {
	items := p.s.sides[p.role].items
	what := "the handshake"
	if p.next > 0 {
		what = p.nameOurs(&items[p.next-1])
	}
	return &stallError{text: fmt.Sprintf("%s does not read %s", p.peer, what), stall: p.how.stall}
}

// nameOurs names an item of ours.
func (p *player) nameOurs(it *item) string {
	switch {
	case it.end:
		return "our end" + p.s.inLine(it.at)
	case it.unit < 0:
		return "our frame" + p.s.inLine(it.at)
	}
	return p.s.unitName(p.role, it.unit, "our")
}

type stallError struct {
	text  string
	stall time.Duration
	other bool // another session came before
}

func (e *stallError) Error() string { return fmt.Sprintf("%s: nothing for %v", e.text, e.stall) }
func (e *stallError) Unwrap() []error {
	if e.other {
		return []error{ErrStalled, ErrOtherSession}
	}
	return []error{ErrStalled}
}

// shown returns what of u a diff can show.
func shown(u *unit) []byte {
	if u.kind == unitEnd {
		return nil
	}
	if u.rare != nil && u.rare.show != nil {
		return u.rare.show
	}
	return u.data
}

// hide hides what is secret in a unit that came.
func (e *equality) hide(u *unit) {
	if e.redacted == nil || u.kind == unitEnd || u.rare != nil && u.rare.show != nil || len(u.data) == 0 {
		return
	}
	keep := 0
	if u.op == ws.OpClose && u.kind != unitJunk {
		keep = min(2, len(u.data))
	}
	seen := rare{show: append(u.data[:keep:keep], e.hidden(u.data[keep:])...), withheld: e.redacted.untold}
	if u.rare != nil {
		seen.re, seen.group = u.rare.re, u.rare.group
	}
	u.rare = &seen
}
