package proxy

import (
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// An upstream is the connection to a server. Its goroutine waits for what the
// server sends and relays it to the client: answers to the exchanges that the
// link hands it, one at a time, or everything after an upgrade.
type upstream struct {
	*leg
	link *link
	addr string // as dialled

	x       *exchange // not answered yet; used by serve only
	prev    *exchange // the one answered before; used by serve only
	passEnd bool      // the client is to learn of the server's end; used by serve only
	relayed *session  // whose bytes are relayed from here on, or nil; used by serve only

	keep atomic.Bool    // another takes the connection over, with what is unread
	next chan *exchange // holds at most one: the next is handed over after the last was answered
	left chan struct{}  // closed when the link no longer needs the connection
	gone chan struct{}  // closed when serve has returned

	mu          sync.Mutex
	ended       error  // why no exchange can be handed over, or nil; protected by mu
	toldClient  bool   // that has been passed on to the client; protected by mu
	serverEnded bool   // the server ended before the first exchange; protected by mu
	serverFirst string // that the server speaks or ends before the first exchange, or ""; protected by mu
}

// hand gives serve the next exchange, unless it is nil. It returns false if the
// server has ended. No byte of the request may have been sent before.
func (u *upstream) hand(x *exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil || x == nil {
		return u.ended == nil
	}
	if u.serverFirst != "" {
		u.serverFirst = ""
		u.link.client.SetReadDeadline(time.Time{})
	}
	if x.websocket && u.link.via != viaDirect {
		u.SetReadDeadline(time.Now().Add(u.link.p.handshakeTimeout()))
	}
	u.next <- x
	return true
}

// wentFirst says that the server has spoken or ended before the first exchange,
// or returns "".
func (u *upstream) wentFirst() string {
	if u == nil { // TLS did not come about
		return ""
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.serverFirst
}

func (u *upstream) hasToldClient() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.toldClient
}

// take makes the exchange that was handed over, if any, the current one.
func (u *upstream) take() *exchange {
	select {
	case u.x = <-u.next:
	default:
	}
	return u.x
}

func (u *upstream) serve() {
	defer close(u.gone)
	for u.answer() {
	}
	if u.relayed != nil { // from here, where the stack is small, for as long as it takes
		u.link.relay(decode.FromServer, u.leg, u.link.client, u.relayed)
	}
	if !u.keep.Load() {
		u.release()
	}
}

// answer waits for the server and relays what comes. It returns false when the
// server's direction has ended, or is relayed from here on.
func (u *upstream) answer() bool {
	var err error
	if len(u.unread()) == 0 {
		err = u.fill()
	}
	x := u.take()
	if x == nil && u.prev == nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
		switch {
		case isAlert(err) || wantsRenegotiation(err) || u.dismisses(err):
			x = u.wait() // the answer to the first request says so
		case err == io.EOF:
			x = u.endedFirst()
		default:
			x = u.interrupt(err)
		}
		if x == nil {
			return false
		}
	}
	switch {
	case isAlert(err) && u.prev == nil && x.outcome != outcomeUpgrade:
		x.failure = u.link.p.upstreamTLSFailure(u.addr, err, true)
		u.done(x, outcomeRefused)
		return false
	case wantsRenegotiation(err) && x != nil && x.outcome != outcomeUpgrade:
		u.link.p.warn(ReasonUnsupportedTLS, "a server wants TLS renegotiation")
		x.failure = failed(http.StatusBadGateway, "server %q asks for TLS renegotiation, which is not supported here", u.addr)
		u.done(x, outcomeRefused)
		return false
	case x != nil && x.outcome != outcomeUpgrade && u.dismisses(err):
		u.link.p.warn(ReasonClientCertificateWanted, "a server wants a client certificate")
		x.failure = failed(http.StatusBadGateway, "upstream %q asked for a client certificate, got none, and ended without an answer", u.addr)
		u.done(x, outcomeRefused)
		return false
	case err != nil:
		u.end(err)
		return false
	case x == nil:
		return u.unasked()
	case x.outcome == outcomeUpgrade: // a tunnel
		u.relayed = x.session
		return false
	case x.socks != nil:
		return u.negotiate(x)
	}
	return u.response(x)
}

// dismisses reports whether err is how a server ends the connection that asked for
// a certificate of ours, got none, and says no more: in TLS 1.3 it can do so after
// the handshake only (RFC 8446 §4.4.2.4), and some do it without an alert.
func (u *upstream) dismisses(err error) bool {
	return u.unidentified && u.prev == nil && err != nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err) && !isAlert(err)
}

// interrupt ends the wait for the first request of a tunnel, because the server
// did not wait for it but spoke, or ended with err. It returns what the link
// then hands over, or nil if it leaves.
func (u *upstream) interrupt(err error) *exchange {
	u.mu.Lock()
	if u.take() == nil {
		if u.serverFirst = "server speaks first"; err != nil {
			u.serverFirst = "server ends first"
		}
		u.link.client.SetReadDeadline(longAgo)
	}
	u.mu.Unlock()
	if u.x == nil {
		u.wait()
	}
	return u.x
}

// endedFirst takes the end of a server that has said nothing. The client learns of
// it, and what it sends is still read as a request if it is one: an end alone makes
// no tunnel. It returns what the link hands over then, or nil if it leaves.
func (u *upstream) endedFirst() *exchange {
	u.link.greeting.Lock()
	u.mu.Lock()
	u.serverEnded = true
	u.mu.Unlock()
	u.link.client.endLike(io.EOF)
	u.link.greeting.Unlock()
	return u.wait()
}

// hasEndedFirst reports whether the server ended before it or the client said
// anything.
func (u *upstream) hasEndedFirst() bool {
	if u == nil {
		return false
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.serverEnded
}

// wait returns the exchange that the link hands over, or nil if it leaves.
func (u *upstream) wait() *exchange {
	select {
	case u.x = <-u.next:
	case <-u.left:
	}
	return u.x
}

var longAgo = time.Unix(1, 0)

// unasked relays bytes that answer no request: some servers send a 408 before
// they close an idle connection, and some do not stop at the end of an answer.
func (u *upstream) unasked() bool {
	u.passEnd = true
	u.prev.Data(decode.FromServer, u.when, u.unread())
	_, err := u.link.client.Write(u.unread())
	u.drop()
	if err != nil {
		u.link.mustReset.Store(true)
		u.end(errWrite)
	}
	return err == nil
}

// response relays the answer to x, whose first bytes have come.
func (u *upstream) response(x *exchange) bool {
	limit := u.link.p.maxHead()
	for seen := 0; ; {
		b := u.unread()
		if !decode.MayBeResponse(b) {
			u.wantsTLS(b)
			return u.upgrade(x, nil)
		}
		n := decode.HeadLen(b, seen)
		seen = len(b)
		if n > limit || n == 0 && len(b) > limit {
			if u.link.via == viaDirect {
				return u.upgrade(x, nil)
			}
			x.Data(decode.FromServer, u.when, b)
			x.failure = failed(http.StatusBadGateway, "response head is longer than %d bytes", limit)
			u.done(x, outcomeRefused)
			return false
		}
		if n == 0 {
			if err := u.fill(); err != nil {
				u.cut(x, err)
				return false
			}
			continue
		}
		h, err := decode.ParseResponse(string(b[:n]))
		if err != nil {
			return u.upgrade(x, nil)
		}
		if h.Status == http.StatusSwitchingProtocols || h.Status >= 200 {
			var answer *failure
			if x.head, answer = x.outlet.head(decode.FromServer, u.when, h, nil); answer != nil {
				return u.replace(x, h, answer)
			}
			x.headLen = n
		}
		x.Head(decode.FromServer, u.when, h, x.head)
		if h.Status >= 300 {
			u.tunnelRefused(x)
		}
		switch {
		case h.Status/100 == 2 && x.tunnel != "":
			return u.tunnel(x, n)
		case h.Status == http.StatusSwitchingProtocols, h.Status/100 == 2 && x.method == http.MethodConnect:
			return u.upgrade(x, h)
		case h.Status >= 200:
			return u.body(x, h)
		}
		if seen = 0; !u.write(x, n) { // an interim response
			return false
		}
	}
}

// replace has the client get an answer of ours in place of the server's, whose head is
// h. It returns false.
func (u *upstream) replace(x *exchange, h *decode.Head, answer *failure) bool {
	x.Head(decode.FromServer, u.when, h, decode.NotSent)
	if h.Status == http.StatusSwitchingProtocols { // frames may follow, which are dropped
		x.outlet.boxes[decode.FromServer].abandon(answer.change)
		x.Data(decode.FromServer, u.when, u.unread()[len(h.Raw):])
	}
	x.failure = answer
	u.done(x, outcomeRefused)
	return false
}

// wantsTLS warns if b, which a server says that was asked without TLS, shows that it
// speaks TLS.
func (u *upstream) wantsTLS(b []byte) {
	if u.link.serverTLS == nil && u.prev == nil && tlswire.IsRefusal(b) {
		u.link.p.warn(ReasonServerWantsTLS, fmt.Sprintf("server %q speaks TLS, and was asked without", u.addr))
	}
}

// tunnelRefused warns if x, which the server does not grant, is a CONNECT of a
// client that takes a reverse proxy for a forward one. A server that grants it is
// an HTTP proxy itself.
func (u *upstream) tunnelRefused(x *exchange) {
	if x.method == http.MethodConnect && u.link.via == viaReverse {
		u.link.p.warn(ReasonConnectToReverse, "a client asks for a tunnel, and this is no HTTP proxy but stands for one server")
	}
}

// cut takes the end of the server's direction inside a response head. A client
// that waited in vain gets an answer of ours, without the bytes in front of it.
func (u *upstream) cut(x *exchange, err error) {
	x.Data(decode.FromServer, u.when, u.unread())
	if isTimeout(err) || u.write(x, len(u.unread())) {
		u.end(err)
	}
}

// write relays the first n unread bytes, which the session has, but x.head in place
// of the final head, with which they begin then.
func (u *upstream) write(x *exchange, n int) bool {
	b := u.unread()[:n]
	if x.head != nil {
		b = slices.Concat([]byte(x.head.Raw), b[x.headLen:])
		x.head = nil
	}
	_, err := u.link.client.Write(b)
	u.use(n)
	if err == nil {
		return true
	}
	u.link.mustReset.Store(true)
	x.End(decode.FromServer, x.now(), cutShort(u.link.ctx.Done()), "")
	u.done(x, outcomeLast)
	return false
}

// upgrade has everything relayed from here on: the answer whose head is h, or nil
// if it has none, and what follows. It returns false.
func (u *upstream) upgrade(x *exchange, h *decode.Head) bool {
	u.SetReadDeadline(time.Time{})
	n := len(u.unread())
	if h != nil { // what follows is the relay's
		n = len(h.Raw)
	} else {
		x.Data(decode.FromServer, u.when, u.unread())
	}
	if fault := x.HeadFault(decode.FromServer); x.websocket && u.link.p.Strict && fault != "" {
		x.Data(decode.FromServer, u.when, u.unread()[n:])
		x.failure = refusal(http.StatusBadGateway, fault)
		u.done(x, outcomeRefused)
		return false
	}
	x.gated = x.outlet != nil && x.websocket && h != nil && h.Status == http.StatusSwitchingProtocols
	if u.write(x, n) {
		u.done(x, outcomeUpgrade)
		u.relayed = x.session
	}
	return false
}

// body relays the final response to x: its head h, which the session has, and
// what follows by its framing.
func (u *upstream) body(x *exchange, h *decode.Head) bool {
	u.SetReadDeadline(time.Time{})
	body := decode.ResponseBody(h, x.method)
	u.passEnd = !x.keepAlive || !h.KeepAlive()
	r := relay{dir: decode.FromServer, src: u.leg, session: x.session}
	for head := len(h.Raw); ; head = 0 {
		b := u.unread()[head:]
		b = b[:body.Next(b)]
		if h.Status == http.StatusBadRequest {
			u.wantsTLS(b)
		}
		x.Data(decode.FromServer, u.when, b)
		if n := head + len(b); n > 0 && !u.write(x, n) {
			return false
		}
		if body.Done() {
			r.stopTicking()
			u.done(x, outcomeKeep)
			return true
		}
		if err := r.fill(); err != nil {
			u.end(err)
			return false
		}
	}
}

// done tells the link what became of x, and interrupts its reading.
func (u *upstream) done(x *exchange, o outcome) {
	u.x, u.prev = nil, x
	x.outcome = o
	u.link.client.SetReadDeadline(longAgo)
	close(x.answered)
}

// end takes the end of the server's direction, outside of a relay.
func (u *upstream) end(err error) {
	k := u.link
	u.mu.Lock()
	x := u.take()
	u.ended, u.toldClient = err, x == nil && (u.passEnd || k.server != "")
	u.mu.Unlock()
	switch {
	case x == nil:
		if u.prev != nil {
			u.prev.End(decode.FromServer, u.when, howEnded(err), "")
		}
		if k.ctx.Err() != nil || u.isLeft() || err == errWrite {
			return
		}
		k.p.log().Debug(fmt.Sprintf("upstream %q has ended an idle connection", u.addr))
		if u.toldClient {
			k.client.endLike(err)
		}
	case x.outcome == outcomeUpgrade: // a tunnel
		recordEnd(decode.FromServer, u.leg, x.session, err)
		k.client.endLike(err)
	case isTimeout(err):
		x.failure = failed(http.StatusGatewayTimeout, "server %q has not answered after %v", u.addr, k.p.handshakeTimeout())
		u.done(x, outcomeRefused)
	default:
		u.tunnelRefused(x)
		recordEnd(decode.FromServer, u.leg, x.session, err)
		k.client.endLike(err)
		u.done(x, outcomeLast)
	}
}

// isLeft reports whether the link has closed the connection.
func (u *upstream) isLeft() bool {
	select {
	case <-u.left:
		return true
	default:
		return false
	}
}
