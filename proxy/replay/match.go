package replay

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// Emit takes the events of both sides. Those of the peer are compared.
func (p *player) Emit(ev *decode.Event) {
	if p.s.sink != nil {
		p.s.sink.Emit(ev)
	}
	if ev.Dir != p.peer {
		return
	}
	switch ev.Kind {
	case decode.KindRequest:
		p.tookRequest(ev.Handshake.Request)
	case decode.KindResponse:
		if ev.Head.Status >= 200 || ev.Head.Status == 101 || ev.Head.Cut {
			p.tookResponse(ev.Head)
		}
	case decode.KindFrame, decode.KindJunk, decode.KindEnd:
		if ev.Kind == decode.KindFrame && !ev.Frame.Control() {
			p.mu.Lock()
			p.progress = time.Now()
			p.mu.Unlock()
		}
		p.asm.take(ev)
	}
}

// tookRequest takes the request of a client and prepares the answer.
func (p *player) tookRequest(req *decode.Head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell()
	defer p.signal()
	if !p.s.update {
		if err := p.s.checkRequest(req); err != nil {
			p.fail(err)
			return
		}
	}
	b, extensions := p.s.answerTo(req)
	p.answer = b
	p.refused = !p.s.accepted()
	p.plain = !sameExtensions(extensions, p.s.extensions())
}

// tookResponse takes the final response of a server.
func (p *player) tookResponse(res *decode.Head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell()
	defer p.signal()
	if err := p.s.checkResponse(res, p.key); err != nil && (!p.s.update || p.s.accepted() && res.Status != 101) {
		p.fail(err) // a session that was refused is no update of one that was played
		return
	}
	p.refused = res.Status != 101
	p.handshaken(time.Now())
	p.plain = !sameExtensions(res.Values("Sec-WebSocket-Extensions"), p.s.extensions())
}

// take takes what the peer did.
func (p *player) take(u *unit) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.tell()
	if p.err != nil || p.over {
		return
	}
	defer p.signal()
	if u.kind == unitControl && (u.op == ws.OpPing || u.op == ws.OpPong) {
		if u.op == ws.OpPing {
			p.pongs = append(p.pongs, p.ownFrame(ws.OpPong, u.data)...)
		}
		return
	}
	p.progress = time.Now()
	switch {
	case u.kind == unitEnd:
		p.ended = true
	case u.op == ws.OpClose:
		p.asked, p.closing = true, u.data
	}
	if !p.ready && p.answer == nil && u.kind == unitEnd { // in the middle of the handshake
		p.fail(p.cutShort(u))
		return
	}
	if p.s.update {
		if u.kind == unitEnd && p.lost() {
			p.fail(&Difference{Text: fmt.Sprintf("the %s left before the session was played, without a close frame; got %v", p.peer, u)})
			return
		}
		p.arrived(p.got)
		return
	}
	if u.kind == unitJunk {
		p.junk = append(p.junk, u.data...)
		p.takeJunk()
		return
	}
	if len(p.junk) > 0 {
		p.fail(p.unexpected(&unit{kind: unitJunk, data: p.junk}, ""))
		return
	}
	p.match(u)
}

// match looks for u among the units that may come now.
func (p *player) match(u *unit) {
	units := p.s.sides[p.peer].units
	if p.got == len(units) {
		if p.cast != nil && p.nextOurs() == noLine && p.cast.turn(p.part, noLine) {
			return // all have been played; this is about how they end
		}
		// The trace need not say how the session ends.
		if u.kind != unitEnd && (u.op != ws.OpClose || p.asked && p.closesRecorded()) {
			p.fail(p.unexpected(u, ""))
		}
		return
	}
	group := units[p.got].group
	why := ""
	for i := p.got; i < len(units); i++ {
		if i > p.got && (group == "" || units[i].group != group) {
			break
		}
		if p.matched[i] {
			continue
		}
		ok, where := p.s.compare(&units[i], u, p.found)
		if ok {
			p.found = remember(p.found, p.s.capture(units[i].data, u.data))
			p.arrived(i)
			return
		}
		if i == p.got {
			why = where
		}
	}
	p.fail(p.unexpected(u, why))
}

// closesRecorded reports whether the recorded peer sends a Close frame.
func (p *player) closesRecorded() bool {
	for i := range p.s.sides[p.peer].units {
		if p.s.sides[p.peer].units[i].op == ws.OpClose {
			return true
		}
	}
	return false
}

// lost reports whether a server that ends the connection has died: it did not
// say so though the recorded one did, or does not wait for all of our messages.
func (p *player) lost() bool {
	if p.role == decode.FromServer || p.refused || p.asked {
		return false
	}
	return p.closesRecorded() || slices.ContainsFunc(p.s.sides[p.role].items[p.next:], func(it item) bool {
		return !it.end && !it.close && !it.skip
	})
}

// takeJunk compares the junk at hand with the junk expected.
func (p *player) takeJunk() {
	units := p.s.sides[p.peer].units
	for len(p.junk) > 0 {
		if p.got == len(units) || units[p.got].kind != unitJunk {
			p.fail(p.unexpected(&unit{kind: unitJunk, data: p.junk}, ""))
			return
		}
		want := units[p.got].data
		n := min(len(want), len(p.junk))
		if !bytes.Equal(want[:n], p.junk[:n]) {
			p.fail(p.unexpected(&unit{kind: unitJunk, data: p.junk}, differAt(common(want, p.junk))))
			return
		}
		if n < len(want) {
			return
		}
		p.junk = p.junk[n:]
		p.arrived(p.got)
	}
}

// arrived notes that the peer's unit i has come.
func (p *player) arrived(i int) {
	if i < len(p.matched) {
		p.matched[i] = true
	}
	p.last = i
	for p.got < len(p.matched) && p.matched[p.got] {
		p.got++
	}
	items := p.s.sides[p.role].items
	waited := p.next == len(items) && p.got == len(p.matched) || p.next < len(items) && items[p.next].need == p.got
	if waited && !p.sent.IsZero() {
		if p.s.observe != nil {
			p.s.observe(p.progress.Sub(p.sent))
		}
		p.sent = time.Time{}
	}
}

// compare reports whether what came is what was recorded, or says in what they
// differ, if that is not plain to see.
func (s *Script) compare(want, got *unit, found []found) (ok bool, why string) {
	if want.kind != got.kind {
		return false, ""
	}
	switch {
	case want.kind == unitEnd:
		return !s.exact || want.how == got.how, ""
	case want.op != got.op || want.cut != got.cut:
		return false, ""
	case s.exact && (want.flags != got.flags || want.masked != got.masked || want.lenBits != got.lenBits):
		return false, ""
	case want.re != nil:
		return want.re.Match(got.data), ""
	case want.kind == unitClose, want.kind == unitControl:
		return bytes.Equal(want.data, got.data), ""
	case s.exact && len(s.ignore) == 0 && len(s.captures) == 0 && len(found) == 0:
		why := bytesDiffer(want.data, got.data)
		return why == "", why
	}
	text := want.op == ws.OpText && (want.kind == unitMessage || want.flags&0x40 == 0)
	data := want.data
	if text {
		data = put(data, found)
	}
	why = s.differs(data, got.data, text)
	return why == "", why
}

// name returns "client frame 2 (line 14)" for a unit of the peer.
func (p *player) name(i int) string { return p.s.unitName(p.peer, i, "") }

// unitName names unit i of a side.
func (s *Script) unitName(d decode.Dir, i int, who string) string {
	if who == "" {
		who = d.String()
	}
	u := &s.sides[d].units[i]
	if u.kind == unitEnd {
		if who == "our" {
			return fmt.Sprintf("our end (line %d)", u.line)
		}
		return fmt.Sprintf("the end of the %s (line %d)", who, u.line)
	}
	return fmt.Sprintf("%s %s %d (line %d)", who, u.noun(), i+1, u.line)
}

// after says what came last from the peer.
func (p *player) after() string {
	if p.last < 0 || p.last >= len(p.matched) {
		return "after the handshake"
	}
	return "after " + p.name(p.last)
}

// unexpected says that u came and something else was expected, or nothing.
func (p *player) unexpected(u *unit, why string) error {
	units := p.s.sides[p.peer].units
	d := &Difference{Got: shown(u)}
	if p.got == len(units) {
		if len(units) > 0 {
			d.Line = units[len(units)-1].line
		}
		d.Text = fmt.Sprintf("expected nothing more from the %s %s; got %v", p.peer, p.after(), u)
		return d
	}
	want := &units[p.got]
	d.Line = want.line
	expected := want.String()
	d.Want = shown(want)
	if text := *want; want.op == ws.OpText && want.re == nil {
		text.data = put(want.data, p.found)
		expected = text.String()
		if u.op == ws.OpText && !p.s.exact {
			d.Want, d.Got = p.s.compared(text.data), p.s.compared(u.data)
		}
	}
	switch {
	case want.kind == unitEnd:
		d.Text = fmt.Sprintf("expected the end of the %s (%v) %s", p.peer, want.how, p.after())
	default:
		d.Text = fmt.Sprintf("expected %s %s %d, %s, %s", p.peer, want.noun(), p.got+1, expected, p.after())
	}
	d.Text += fmt.Sprintf("; got %v", u)
	if (want.op <= ws.OpBinary) != (u.op <= ws.OpBinary) {
		d.Want, d.Got = nil, nil // a message and the body of a Close frame have nothing in common
	}
	for i := p.got + 1; i < len(units) && u.kind != unitEnd; i++ {
		if ok, _ := p.s.compare(&units[i], u, p.found); ok && !p.matched[i] {
			why = "which is expected later, as " + p.name(i)
			break
		}
	}
	if why != "" {
		d.Text += ", " + why
	}
	return d
}

// cutShort says that the peer ended before the handshake was done.
func (p *player) cutShort(u *unit) error {
	d := &Difference{}
	what := "a request"
	switch {
	case p.role == decode.FromServer:
		if p.s.request != nil {
			d.Line = p.s.request.Line
		}
	case len(p.s.replies) > 0:
		what = "a response"
		d.Line = p.s.final().Line
	default:
		what = "a response"
	}
	d.Text = fmt.Sprintf("expected %s from the %s; got %v", what, p.peer, u)
	return d
}

// stalled says who waits for what.
func (p *player) stalled() error {
	var line int
	what := "the request of the client"
	switch {
	case p.ready && p.got < len(p.matched):
		what = p.name(p.got)
	case p.ready:
		what = "the end of the " + p.peer.String()
	case p.role == decode.FromClient:
		what = "the response of the server"
		if len(p.s.replies) > 0 {
			line = p.s.final().Line
		}
	case p.s.request != nil:
		line = p.s.request.Line
	}
	if line > 0 {
		what += fmt.Sprintf(" (line %d)", line)
	}
	text := fmt.Sprintf("%s waits for %s", p.role, what)
	items := p.s.sides[p.role].items
	next := p.next
	for next < len(items) && items[next].skip {
		next++
	}
	if next < len(items) && p.ready {
		text += fmt.Sprintf("; %s may be waiting for %s", p.peer, p.ours(&items[next]))
	}
	return &stallError{text, p.s.stall}
}

// unread says that the peer does not read what we write.
func (p *player) unread() error {
	items := p.s.sides[p.role].items
	what := "the handshake"
	if p.next > 0 {
		what = p.ours(&items[p.next-1])
	}
	return &stallError{fmt.Sprintf("%s does not read %s", p.peer, what), p.s.stall}
}

// ours names an item of ours.
func (p *player) ours(it *item) string {
	switch {
	case it.end:
		return fmt.Sprintf("our end (line %d)", it.line)
	case it.unit < 0:
		return fmt.Sprintf("our frame (line %d)", it.line)
	}
	return p.s.unitName(p.role, it.unit, "our")
}

type stallError struct {
	text  string
	stall time.Duration
}

func (e *stallError) Error() string { return fmt.Sprintf("%s: nothing for %v", e.text, e.stall) }
func (e *stallError) Unwrap() error { return ErrStalled }

// shown returns what of u a diff can show.
func shown(u *unit) []byte {
	if u.kind == unitEnd {
		return nil
	}
	return u.data
}
