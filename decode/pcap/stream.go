package pcap

import (
	"bytes"
	"cmp"
	"net/netip"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A stream is what the two ends of a conversation say to each other: that over TCP, or
// what is inside its TLS, or inside a tunnel through a proxy.
type stream struct {
	player *player
	flow   *flow
	client int // which end is the client; -1 if that is not known
	tls    [legs]*decode.TLS
	told   told
	server string // where a tunnel through a proxy leads to, or ""
	mode   mode

	heads [2][]byte // by end: what is incomplete
	seen  [2]int    // how much of it was searched for its end

	queue   []*exchange // requests that wait for their answers, in order
	relayed *exchange   // all that comes belongs to it
	lacks   [2]bool     // by end: where frames begin is not known yet
	guesses [2]guess    // by end: for modeSeek, or with lacks
	waiting []chunk     // for what is held in one of guesses, in order
	ended   [2]bool
	showed  bool // something was shown of it

	inner *tlsConn // with modeTLS
}

// A mode is how a stream is read.
type mode uint8

const (
	modeFresh mode = iota // nothing was said so far
	modeSeek              // something is missing: look for where to begin
	modeHTTP
	modeTLS
	modePassed // it is nothing that matters
)

// An exchange is a request and its answer. It is the sink of its own events.
type exchange struct {
	decode.Session
	player    *player
	method    string
	target    string
	websocket bool
	asked     bool // the request is complete
	answered  bool // the head of the final answer came
	done      bool // the answer is complete
	early     bool // bytes followed the request before its answer
	request   decode.Body
	response  decode.Body
}

// Emit passes an event on.
func (x *exchange) Emit(ev *decode.Event) {
	ev.Start = x.player.start
	x.player.sink.Emit(ev)
}

// maxQueue is how many requests may wait for their answers.
const maxQueue = 256

// maxHeld is how much of a client's bytes is kept until a proxy has opened a tunnel.
const maxHeld = 64 << 10

// dir returns the direction of what an end says.
func (s *stream) dir(side int) decode.Dir {
	if side == s.client {
		return decode.FromClient
	}
	return decode.FromServer
}

// begun reports whether anything was said.
func (s *stream) begun() bool {
	return s.mode != modeFresh || len(s.heads[0]) > 0 || len(s.heads[1]) > 0
}

// startMissing says that what an end said first is missing.
func (s *stream) startMissing() {
	if !s.begun() {
		s.mode = modeSeek
	}
}

// data takes what an end says. start says that a segment begins with it.
func (s *stream) data(side int, at place, b []byte, start bool) {
	switch s.mode {
	case modeFresh:
		s.first(side, at, b)
	case modeSeek:
		s.seek(side, at, b, start)
	case modeHTTP:
		s.http(side, at, b, start)
	case modeTLS:
		s.inner.data(side, at, b)
	}
}

// first takes what is said at the beginning.
func (s *stream) first(side int, at place, b []byte) {
	if side != s.client && s.flow.halves[1-side].behind() {
		s.mode = modeSeek // what it answers is missing
		s.seek(side, at, b, true)
		return
	}
	if side != s.client { // neither HTTP nor TLS begins like that
		s.pass(PassedOther)
		return
	}
	b = s.gather(side, b)
	switch {
	case len(b) < len(tlsStart) && b[0] == tlsStart[0]:
		s.keep(side, b)
	case isHello(b):
		s.keep(side, nil)
		s.beginTLS(side, at, b)
	case decode.MayBeRequest(b, s.tls[clientLeg] != nil || s.server != ""):
		s.keep(side, nil)
		s.mode = modeHTTP
		s.http(side, at, b, true)
	case beginsHTTP2(b):
		s.pass(PassedHTTP2)
	default:
		s.pass(PassedOther)
	}
}

// beginsHTTP2 reports whether b begins like an HTTP/2 connection (RFC 9113 §3.4).
func beginsHTTP2(b []byte) bool { return bytes.HasPrefix(b, []byte("PRI * HTTP/2.0\r\n")) }

// pass passes over the rest.
func (s *stream) pass(what string) {
	if s.mode != modePassed {
		s.player.pass(what)
	}
	s.mode = modePassed
	s.release()
}

// release lets go of what was kept.
func (s *stream) release() {
	s.dropHeads()
	s.resetGuesses()
	if s.inner != nil {
		s.inner.release()
	}
}

// gather returns b behind what was kept of side.
func (s *stream) gather(side int, b []byte) []byte {
	if len(s.heads[side]) == 0 {
		return b
	}
	return append(s.heads[side], b...)
}

// keep keeps b, which begins with what was kept of side before, until more comes. An
// empty b lets go of that.
func (s *stream) keep(side int, b []byte) {
	s.player.cost += len(b) - len(s.heads[side])
	if len(s.heads[side]) == 0 {
		b = bytes.Clone(b)
	}
	if s.heads[side] = b; len(b) == 0 {
		s.heads[side], s.seen[side] = nil, 0
	}
}

// dropHeads lets go of incomplete heads.
func (s *stream) dropHeads() {
	for side := range s.heads {
		s.keep(side, nil)
	}
}

// tooLong reports whether side, which has said b so far, is not to be waited for until
// its head is complete.
func (s *stream) tooLong(side int, b []byte) bool {
	return len(b) > decode.MaxHead || s.player.full(len(b)-len(s.heads[side]))
}

// http takes what is said in HTTP/1.1, or after an upgrade.
func (s *stream) http(side int, at place, b []byte, start bool) {
	if s.relayed == nil && len(b) > 0 && s.dir(side) == decode.FromClient {
		b = s.requests(side, at, b)
	} else if s.relayed == nil {
		b = s.answers(side, at, b)
	}
	switch x := s.relayed; {
	case len(b) == 0:
	case s.mode != modeHTTP || x == nil:
		s.data(side, at, b, start)
	case s.lacks[side]:
		s.seek(side, at, b, start)
	case !s.follows(side, at, b):
		x.place(at)
		x.Data(s.dir(side), at.time, b)
	}
}

// place says where what follows came, and flushes what was held back for a second by
// then, as a relay does.
func (x *exchange) place(at place) {
	x.At(0, at.offset)
	for d := range decode.Dir(2) {
		if due, ok := x.FlushAt(d, time.Second); ok && due.Before(at.time) {
			x.Flush(d, due)
		}
	}
}

// last returns the request that came last, of which the answer is not complete, or nil.
func (s *stream) last() *exchange {
	if len(s.queue) == 0 {
		return nil
	}
	return s.queue[len(s.queue)-1]
}

// requests takes what a client says. It returns what does not belong to requests.
func (s *stream) requests(side int, at place, b []byte) []byte {
	for len(b) > 0 && s.relayed == nil && s.mode == modeHTTP {
		x := s.last()
		switch {
		case x != nil && !x.asked:
			n := x.request.Next(b)
			x.place(at)
			x.Data(decode.FromClient, at.time, b[:n])
			b = b[n:]
			if x.asked = x.request.Done(); x.asked && x.done {
				s.finish(x, at)
			}
			continue
		case x != nil && !x.answered && x.websocket && !s.holds(x) && len(s.heads[side]) == 0 && !isNextRequest(b):
			x.early = true
			x.place(at)
			x.Data(decode.FromClient, at.time, b)
			return nil
		case x != nil && s.holds(x):
			if b = s.gather(side, b); len(b) > maxHeld || s.tooLong(side, b) {
				s.lost(at)
				return nil
			}
			s.keep(side, b)
			return nil
		}
		had := len(s.heads[side])
		all := s.gather(side, b)
		n := decode.HeadLen(all, s.seen[side])
		if !decode.MayBeRequest(all, true) || n == 0 && s.tooLong(side, all) || len(s.queue) == maxQueue {
			s.lost(at)
			return nil
		}
		if n == 0 {
			s.keep(side, all)
			s.seen[side] = len(all)
			return nil
		}
		h, err := decode.ParseRequest(string(all[:n]))
		if err != nil {
			s.lost(at)
			return nil
		}
		b = b[n-had:]
		s.keep(side, nil)
		s.request(h, at)
	}
	return b
}

// holds reports whether what follows the request x waits for its answer: a tunnel may
// begin, or an answer is late that may accept an upgrade.
func (s *stream) holds(x *exchange) bool {
	return !x.answered && (x.method == "CONNECT" || x.websocket && s.flow.halves[1-s.client].behind())
}

// isNextRequest reports whether b, which follows a request that asks for websocket,
// begins like another request or can still do so.
func isNextRequest(b []byte) bool {
	for _, c := range b[:min(len(b), 2)] {
		if c < 'A' || c > 'Z' {
			return false
		}
	}
	return true
}

// request begins an exchange.
func (s *stream) request(h *decode.Head, at place) {
	x := &exchange{method: h.Method, target: h.Target, websocket: decode.AsksForWebSocket(h), request: decode.RequestBody(h)}
	x.asked = x.request.Done()
	s.open(x, s.url(h), false, at)
	x.Head(decode.FromClient, at.time, h, nil)
	s.queue = append(s.queue, x)
}

// open begins the session of x.
func (s *stream) open(x *exchange, url string, cont bool, at place) {
	info := decode.Info{URL: url, Cont: cont, ClientTLS: s.tls[clientLeg], ServerTLS: s.tls[serverLeg], Client: s.addr(s.client).String(), Server: s.authority()}
	p := s.player
	p.source.last++
	info.Conn, info.Time, info.Via = p.source.last, at.time, "pcap"
	s.told.add(&info)
	x.player, x.Sink, x.Look = p, x, p.look
	x.At(0, at.offset)
	x.Open(info)
	s.showed = true
}

// url returns the URL that a request asks for.
func (s *stream) url(h *decode.Head) string {
	if !strings.HasPrefix(h.Target, "/") {
		if rest, ok := strings.CutPrefix(h.Target, "http"); ok && decode.AsksForWebSocket(h) {
			return "ws" + rest // as the proxy that is asked calls it
		}
		return h.Target
	}
	scheme, port := "http", ":80"
	if decode.AsksForWebSocket(h) {
		scheme = "ws"
	}
	if s.tls[clientLeg] != nil {
		scheme, port = scheme+"s", ":443"
	}
	host := h.Get("Host")
	if host == "" || strings.ContainsAny(host, " \t/?#@\"\\<>") {
		host = strings.TrimSuffix(s.authority(), port)
	}
	return scheme + "://" + host + h.Target
}

// authority returns where the client wants to go, without a request.
func (s *stream) authority() string { return cmp.Or(s.server, s.player.addr(s.addr(1-s.client))) }

// addr returns the address of an end.
func (s *stream) addr(side int) netip.AddrPort {
	if side == 0 {
		return s.flow.key.a
	}
	return s.flow.key.b
}

// finish closes the exchange x, which is complete.
func (s *stream) finish(x *exchange, at place) {
	for i, y := range s.queue {
		if x == y {
			s.queue = append(s.queue[:i], s.queue[i+1:]...)
			break
		}
	}
	x.At(0, at.offset)
	x.Done(at.time)
}

// answers takes what a server says. It returns what does not belong to answers.
func (s *stream) answers(side int, at place, b []byte) []byte {
	for len(b) > 0 && s.relayed == nil && s.mode == modeHTTP {
		if len(s.queue) == 0 {
			return nil // nobody asked
		}
		x := s.queue[0]
		x.place(at)
		switch {
		case x.done:
			return nil
		case x.answered:
			n := x.response.Next(b)
			x.Data(decode.FromServer, at.time, b[:n])
			b = b[n:]
			s.answeredPart(x, at)
			continue
		}
		had := len(s.heads[side])
		all := s.gather(side, b)
		n := decode.HeadLen(all, s.seen[side])
		if !decode.MayBeResponse(all) || n == 0 && s.tooLong(side, all) {
			s.relay(x, at)
			s.keep(side, nil)
			return all
		}
		if n == 0 {
			s.keep(side, all)
			s.seen[side] = len(all)
			return nil
		}
		s.keep(side, nil)
		h, err := decode.ParseResponse(string(all[:n]))
		if err != nil {
			s.relay(x, at)
			return all
		}
		b = b[n-had:]
		x.Head(decode.FromServer, at.time, h, nil)
		switch {
		case h.Status == 101:
			s.relay(x, at)
		case h.Status/100 == 2 && x.method == "CONNECT":
			s.tunnel(x, at)
		case h.Status >= 200:
			x.answered, x.response = true, decode.ResponseBody(h, x.method)
			s.answeredPart(x, at)
		}
	}
	return b
}

// answeredPart ends the answer to x, the first in the queue, if it is complete.
func (s *stream) answeredPart(x *exchange, at place) {
	if !x.response.Done() {
		return
	}
	x.done = true
	switch {
	case x.early: // the client goes on until it notices
		s.relay(x, at)
	case x.asked:
		s.finish(x, at)
	}
}

// relay gives all that comes from here on to x.
func (s *stream) relay(x *exchange, at place) {
	s.relayed, s.lacks = x, [2]bool{}
	for _, y := range s.queue {
		if x != y {
			y.At(0, at.offset)
			y.Done(at.time)
		}
	}
	s.queue = nil
	if b := s.heads[s.client]; len(b) > 0 {
		s.keep(s.client, nil)
		x.Data(decode.FromClient, at.time, b)
	}
}

// tunnel begins anew inside of the tunnel that a proxy has opened for x.
func (s *stream) tunnel(x *exchange, at place) {
	held := s.heads[s.client]
	queue := s.queue
	s.queue = nil
	s.dropHeads()
	for _, x := range queue {
		x.At(0, at.offset)
		x.Done(at.time)
	}
	s.mode, s.server = modeFresh, queue[0].target
	if len(held) > 0 {
		s.data(s.client, at, held, true)
	}
}

// lost says that it is not known any more where heads begin.
func (s *stream) lost(at place) {
	s.abandon(at)
	s.mode = modeSeek
}

// abandon closes the exchanges, of which no more can be seen.
func (s *stream) abandon(at place) {
	if s.relayed != nil {
		s.resetGuesses()
	}
	queue := s.queue
	if s.relayed != nil {
		queue = append(queue, s.relayed)
	}
	s.queue, s.relayed = nil, nil
	s.dropHeads()
	for _, x := range queue {
		x.At(0, at.offset)
		x.Done(at.time)
	}
}

// gap takes that n bytes of an end are missing.
func (s *stream) gap(side int, at place, n int64) {
	d := s.dir(side)
	switch {
	case s.mode == modePassed:
	case s.mode == modeTLS:
		s.inner.gap(side, at, n)
	case s.mode == modeFresh:
		s.dropHeads()
		s.mode = modeSeek
	case s.mode == modeSeek:
		s.guesses[side].reset(s.player)
	case s.relayed != nil:
		lacks := s.lacks[side]
		s.guesses[side].reset(s.player)
		s.playWaiting()
		if lacks && !s.relayed.Lost(d) {
			return // it has not begun yet
		}
		s.relayed.place(at)
		if s.relayed.Gap(d, at.time, n); !lacks && s.relayed.Lost(d) {
			s.unframed(side)
		}
	case d == decode.FromClient:
		x := s.last()
		if x == nil || x.asked {
			s.missHead(side, at, n)
			return
		}
		x.place(at)
		x.Gap(d, at.time, n)
		if x.request.Lose(n); x.request.UntilClose() {
			s.lost(at)
		} else if x.asked = x.request.Done(); x.asked && x.done {
			s.finish(x, at)
		}
	default:
		if len(s.queue) == 0 {
			return // nobody asked
		}
		x := s.queue[0]
		until := x.response.UntilClose()
		if x.done {
			return
		}
		if !x.answered {
			s.missHead(side, at, n)
			return
		}
		x.place(at)
		x.Gap(d, at.time, n)
		if x.response.Lose(n); x.response.UntilClose() && !until {
			s.lost(at)
			return
		}
		s.answeredPart(x, at)
	}
}

// missHead takes that n bytes are missing where a head should be.
func (s *stream) missHead(side int, at place, n int64) {
	d := s.dir(side)
	x := s.last()
	if d == decode.FromServer {
		x = s.queue[0]
	}
	if x != nil {
		x.place(at)
		x.Data(d, at.time, s.heads[side])
		x.Gap(d, at.time, n)
	}
	held := s.heads[s.client]
	s.lost(at)
	if d == decode.FromServer && len(held) > 0 {
		s.data(s.client, at, held, true)
	}
}

// end takes the end of what an end says.
func (s *stream) end(side int, at place, how decode.End) {
	if s.ended[side] {
		return
	}
	s.ended[side] = true
	d := s.dir(side)
	switch {
	case s.mode == modeTLS:
		s.inner.end(side, at, how)
	case s.mode != modeHTTP:
	case s.relayed != nil:
		s.guesses[side].reset(s.player)
		s.playWaiting()
		s.relayed.place(at)
		s.relayed.End(d, at.time, how, "")
	case d == decode.FromClient:
		if x := s.last(); x != nil {
			x.place(at)
			if !s.holds(x) {
				x.Data(d, at.time, s.heads[side])
			}
			x.End(d, at.time, how, "")
		} else {
			s.cutHead(side, at, how)
		}
	default:
		for _, x := range append([]*exchange(nil), s.queue...) {
			x.place(at)
			x.Data(d, at.time, s.heads[side])
			s.keep(side, nil)
			x.End(d, at.time, how, "")
			if x.answered {
				s.finish(x, at)
			}
		}
	}
}

// cutHead shows a request whose head is incomplete.
func (s *stream) cutHead(side int, at place, how decode.End) {
	b := s.heads[side]
	s.keep(side, nil)
	if !bytes.Contains(b, []byte(" ")) {
		return
	}
	x := &exchange{}
	s.open(x, "", false, at)
	s.queue = append(s.queue, x)
	x.Data(decode.FromClient, at.time, b)
	x.End(decode.FromClient, at.time, how, "")
}

// over says that both directions have ended.
func (s *stream) over(at place) {
	if c := s.inner; c != nil {
		if c.keep(0, func() { s.over(at) }); c.waits() {
			return
		}
		c.plain.over(at)
		c.release()
	}
	s.abandon(at)
	s.unknown()
}

// leave says that nothing more is known: the capture ends here, or of too many
// conversations this one was silent for longest. What was held back comes out.
func (s *stream) leave() {
	if c := s.inner; c != nil {
		if c.waits() {
			s.pass(PassedNoKey)
		}
		c.plain.leave()
		c.release()
	}
	s.resetGuesses()
	queue := s.queue
	if s.relayed != nil {
		queue = append(queue, s.relayed)
	}
	for _, x := range queue {
		for d := range decode.Dir(2) {
			x.FlushAll(d, time.Time{})
		}
	}
	s.unknown()
}

// unknown counts a conversation of which nothing was understood to its end.
func (s *stream) unknown() {
	if s.mode == modeSeek && !s.showed {
		s.pass(PassedOther)
	}
	s.mode = modePassed
	s.release()
}
