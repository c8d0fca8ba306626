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
	if sink := p.how.events.sink(); sink != nil {
		sink.Emit(ev)
	}
	p.chosen = p.optional != nil && p.optional(ev)
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
		p.assembler.take(ev)
	}
}

// tookRequest takes the request of a client and prepares the answer.
func (p *player) tookRequest(req *decode.Head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.report()
	defer p.signal()
	if !p.how.update {
		if err := p.s.checkRequest(req, p.subs); err != nil {
			p.refusal = refusal(err)
			p.fail(err)
			return
		}
	}
	if p.s.request != nil {
		p.s.learnHead(p.subs, p.how, p.s.request.at, p.s.request.Head, req, nil, nil)
	}
	answer, extensions := p.s.answerTo(req, p.how.headers, p.subs)
	p.handshake, p.asked = answer, time.Now()
	p.notUpgraded = !p.s.accepted()
	p.uncompressed = !sameExtensions(extensions, p.s.extensions())
}

// refusal returns the answer to a request that is not the recorded one, which says why.
func refusal(err error) []byte { return plainAnswer("400 Bad Request", err.Error()) }

// plainAnswer returns an answer of ours in place of a recorded one, a line of text, after
// which the connection ends.
func plainAnswer(status, text string) []byte {
	text += "\n"
	return fmt.Appendf(nil, "HTTP/1.1 %s\r\nContent-Type: text/plain; charset=utf-8\r\nX-Content-Type-Options: nosniff\r\n"+
		"Content-Length: %d\r\nConnection: close\r\n\r\n%s", status, len(text), text)
}

// tookResponse takes the final response of a server.
func (p *player) tookResponse(res *decode.Head) {
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.report()
	defer p.signal()
	if err := p.s.checkResponse(res, p.key); err != nil && (!p.how.update || p.s.accepted() && res.Status != 101) {
		p.fail(p.cast.withAnew(err)) // a session that was refused is no update of one that was played
		return
	}
	if len(p.s.replies) > 0 {
		p.s.learnHead(p.subs, p.how, p.s.replyAt(), p.s.final().Head, res, nil, nil)
	}
	p.notUpgraded = res.Status != 101
	p.handshaken(time.Now())
	p.uncompressed = !sameExtensions(res.Values("Sec-WebSocket-Extensions"), p.s.extensions())
}

// take takes what the peer did.
func (p *player) take(u *unit) {
	if p.settle(u) {
		p.records.take(u)
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	defer p.report()
	if p.err != nil || p.over {
		return
	}
	defer p.signal()
	if u.kind == unitControl && (u.op == ws.OpPing || u.op == ws.OpPong) {
		if u.op == ws.OpPing {
			p.pings++
			p.pongs = append(p.pongs, p.ownFrame(ws.OpPong, u.data)...)
		}
		return
	}
	u.ids = p.s.idsOf(p.peer, u)
	p.noteAnswered(u)
	if kind := p.s.beatOf(p.peer, u, p.chosen); kind != noBeat && !p.counts(u) {
		p.takeBeat(u, kind)
		return
	}
	p.progress = time.Now()
	switch {
	case u.kind == unitEnd:
		p.peerEnded = true
	case u.op == ws.OpClose:
		p.peerClosed, p.closePayload = true, u.data
	}
	if !p.ready && p.handshake == nil && u.kind == unitEnd { // in the middle of the handshake
		got := u.String()
		if p.role == decode.FromClient && !p.overTLS() {
			got += "; if it speaks TLS, it is wss://, not ws://"
		}
		p.fail(p.cutShort(got))
		return
	}
	if p.how.update {
		if u.kind == unitEnd && p.lost() {
			p.fail(&Difference{Text: fmt.Sprintf("the %s left before the session was played, without a close frame; got %v", p.peer, u)})
			return
		}
		if p.arrived < len(p.matched) {
			p.bind(p.arrived, u)
		}
		if units := p.s.sides[p.peer].units; p.arrived < len(units) && units[p.arrived].kind == u.kind && units[p.arrived].op == u.op {
			p.learn(&units[p.arrived], u) // what is captured goes into what we send
		}
		p.mark(p.arrived)
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
	if p.s.stream && !p.s.exact && u.kind == unitMessage && u.long == nil {
		p.takeStream(u)
		return
	}
	if len(p.stream) > 0 { // a message that goes on no more
		p.fail(p.unexpected(&unit{kind: unitMessage, op: p.streamOp, data: p.stream}, ""))
		return
	}
	p.match(u)
}

// match looks for u among the units that may come now.
func (p *player) match(u *unit) {
	units := p.s.sides[p.peer].units
	if p.arrived == len(units) {
		if p.cast != nil && p.nextOurs() == atEnd && p.cast.turn(p.part, atEnd) {
			return // all have been played; this is about how they end
		}
		// The trace need not say how the session ends.
		if u.kind != unitEnd && (u.op != ws.OpClose || p.peerClosed && p.s.closes(p.peer)) {
			p.fail(p.unexpected(u, ""))
		}
		return
	}
	why := ""
	for i := p.arrived; i < len(units); i++ {
		if i > p.arrived && !units[i].inGroupOf(&units[p.arrived]) {
			break
		}
		if p.matched[i] || units[i].beat != noBeat {
			continue
		}
		ok, where := p.compare(i, u)
		if ok {
			p.took(i, u)
			return
		}
		if i == p.arrived {
			why = where
		}
	}
	if i := p.later(u); i >= 0 {
		p.took(i, u)
		return
	}
	p.fail(p.unexpected(u, why))
}

// took notes that u is unit i of the peer.
func (p *player) took(i int, u *unit) {
	p.learn(&p.s.sides[p.peer].units[i], u)
	p.bind(i, u)
	if p.s.sides[p.peer].units[i].first {
		p.owe(i, u)
	}
	p.mark(i)
}

// later returns a message of the peer that is expected later and equals u, if they may
// come in any order, as those with ids may; else -1.
func (p *player) later(u *unit) int {
	if !p.mayCross() || u.kind != unitMessage || u.long != nil || !p.s.anyOrder && len(u.ids) == 0 {
		return -1
	}
	units := p.s.sides[p.peer].units
	for i := p.arrived; i < len(units); i++ {
		if p.matched[i] || units[i].beat != noBeat || !p.s.anyOrder && !units[i].crosses {
			continue
		}
		if ok, _ := p.compare(i, u); ok {
			return i
		}
	}
	return -1
}

// closes reports whether a side sends a Close frame.
func (s *Script) closes(d decode.Dir) bool {
	for i := range s.sides[d].units {
		if u := &s.sides[d].units[i]; u.op == ws.OpClose && u.kind != unitJunk && u.kind != unitEnd {
			return true
		}
	}
	return false
}

// lost reports whether a server that ends the connection has died: it did not
// say so though the recorded one did, or does not wait for all of our messages.
func (p *player) lost() bool {
	if p.role == decode.FromServer || p.notUpgraded || p.peerClosed {
		return false
	}
	return p.s.closes(p.peer) || slices.ContainsFunc(p.s.sides[p.role].items[p.next:], func(it item) bool {
		return !it.end && !it.isClose && !it.reply
	})
}

// takeStream compares the bytes at hand, which end in u, with the messages expected.
func (p *player) takeStream(u *unit) {
	units := p.s.sides[p.peer].units
	p.stream, p.streamOp = append(p.stream, u.data...), u.op
	for len(p.stream) > 0 {
		if p.arrived == len(units) || units[p.arrived].kind != unitMessage || units[p.arrived].op != u.op {
			u.data = p.stream
			p.fail(p.unexpected(u, ""))
			return
		}
		want := &units[p.arrived]
		n := min(len(want.data), len(p.stream))
		if !bytes.Equal(want.data[:n], p.stream[:n]) {
			u.data = p.stream
			p.fail(p.unexpected(u, differAt(common(want.data, p.stream))))
			return
		}
		if n < len(want.data) {
			return
		}
		p.stream = p.stream[n:]
		p.mark(p.arrived)
	}
}

// takeJunk compares the junk at hand with the junk expected.
func (p *player) takeJunk() {
	units := p.s.sides[p.peer].units
	for len(p.junk) > 0 {
		if p.arrived == len(units) || units[p.arrived].kind != unitJunk {
			p.fail(p.unexpected(&unit{kind: unitJunk, data: p.junk}, ""))
			return
		}
		want := units[p.arrived].data
		n := min(len(want), len(p.junk))
		if !bytes.Equal(want[:n], p.junk[:n]) {
			p.fail(p.unexpected(&unit{kind: unitJunk, data: p.junk}, differAt(common(want, p.junk))))
			return
		}
		if n < len(want) {
			return
		}
		p.junk = p.junk[n:]
		p.mark(p.arrived)
	}
}

// mark notes that the peer's unit i has come.
func (p *player) mark(i int) {
	if i < len(p.matched) {
		p.matched[i] = true
		u := &p.s.sides[p.peer].units[i]
		e := event{u.at, u.t, p.progress}
		if p.came != nil {
			p.came[i] = e
		}
		p.happened(e)
	}
	p.last = i
	p.pass()
	items := p.s.sides[p.role].items
	waited := p.next == len(items) && p.arrived == len(p.matched) || p.next < len(items) && items[p.next].need <= p.arrived
	if waited && !p.sent.IsZero() {
		if p.how.latency != nil && i < len(p.matched) {
			p.how.latency(Answer{p.s.number, i, "", p.s.line(p.s.sides[p.peer].units[i].at), p.progress.Sub(p.sent)})
		}
		p.sent = time.Time{}
	}
}
