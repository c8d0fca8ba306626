package proxy

import (
	"bytes"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// An upstream is the connection to a server. Its goroutine waits for what the
// server sends and relays it to the client: answers to the exchanges that the
// link hands it, one at a time, or everything after an upgrade.
type upstream struct {
	*leg
	link *link
	addr string // as dialled

	x    *exchange // not answered yet; used by serve only
	prev *exchange // the one answered before; used by serve only
	tied bool      // the client is to be told when the server ends; used by serve only

	next chan *exchange // holds at most one: the next is handed over after the last was answered
	left chan struct{}  // closed when the link no longer needs the connection
	gone chan struct{}  // closed when serve has returned

	mu        sync.Mutex
	ended     error  // why no exchange can be handed over, or nil; protected by mu
	told      bool   // the client has been told of that; protected by mu
	impatient string // what the server does before the first exchange, or ""; protected by mu
}

// hand gives serve the next exchange, unless it is nil. It returns false if the
// server has ended. No byte of the request may have been sent before.
func (u *upstream) hand(x *exchange) bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	if u.ended != nil || x == nil {
		return u.ended == nil
	}
	if u.impatient != "" {
		u.impatient = ""
		u.link.client.SetReadDeadline(time.Time{})
	}
	if x.websocket {
		u.SetReadDeadline(time.Now().Add(u.link.p.handshakeTimeout()))
	}
	u.next <- x
	return true
}

func (u *upstream) impatience() string {
	if u == nil { // TLS did not come about
		return ""
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.impatient
}

func (u *upstream) hasTold() bool {
	u.mu.Lock()
	defer u.mu.Unlock()
	return u.told
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
	u.release()
}

// answer waits for the server and relays what comes. It returns false when the
// server's direction has ended.
func (u *upstream) answer() bool {
	var err error
	if len(u.unread()) == 0 {
		err = u.fill()
	}
	x := u.take()
	if x == nil && u.prev == nil && !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
		if isAlert(err) {
			x = u.wait() // the answer to the first request says so
		} else {
			x = u.interrupt(err)
		}
		if x == nil {
			return false
		}
	}
	switch {
	case isAlert(err) && u.prev == nil && x.outcome != upgrade:
		x.failure = u.link.p.upstreamTLSFailure(u.addr, err, true)
		u.done(x, refused)
		return false
	case err != nil:
		u.end(err)
		return false
	case x == nil:
		return u.unasked()
	case x.outcome == upgrade: // a tunnel
		u.link.relay(decode.FromServer, u.leg, u.link.client, x.session)
		return false
	}
	return u.response(x)
}

// interrupt ends the wait for the first request of a tunnel, because the server
// did not wait for it but spoke, or ended with err. It returns what the link
// then hands over, or nil if it leaves.
func (u *upstream) interrupt(err error) *exchange {
	u.mu.Lock()
	if u.take() == nil {
		if u.impatient = "server speaks first"; err != nil {
			u.impatient = "server ends first"
		}
		u.link.client.SetReadDeadline(longAgo)
	}
	u.mu.Unlock()
	if u.x == nil {
		u.wait()
	}
	return u.x
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
	u.tied = true
	u.prev.Data(decode.FromServer, u.when, u.unread())
	_, err := u.link.client.Write(u.unread())
	u.drop()
	if err != nil {
		u.link.torn.Store(true)
		u.end(errWrite)
	}
	return err == nil
}

// response relays the answer to x, whose first bytes have come.
func (u *upstream) response(x *exchange) bool {
	limit := u.link.p.maxHead()
	for seen := 0; ; {
		b := u.unread()
		if !mayBeResponse(b) {
			x.Opaque(decode.FromServer, u.when, "not an HTTP response")
			return u.upgrade(x)
		}
		n := decode.HeadLen(b, seen)
		seen = len(b)
		if n > limit || n == 0 && len(b) > limit {
			x.Data(decode.FromServer, u.when, b)
			x.failure = failed(http.StatusBadGateway, "response head is longer than %d bytes", limit)
			u.done(x, refused)
			return false
		}
		if n == 0 {
			if err := u.fill(); err != nil {
				u.cut(x, err)
				return false
			}
			continue
		}
		switch h, err := decode.ParseResponse(string(b[:n])); {
		case err != nil, h.Status == http.StatusSwitchingProtocols, h.Status/100 == 2 && x.method == http.MethodConnect:
			return u.upgrade(x)
		case h.Status >= 200:
			return u.body(x, h, n)
		}
		if seen = 0; !u.pass(x, n) { // an interim response
			return false
		}
	}
}

// cut takes the end of the server's direction inside a response head. A client
// that waited in vain gets an answer of ours, without the bytes in front of it.
func (u *upstream) cut(x *exchange, err error) {
	if isTimeout(err) {
		x.Data(decode.FromServer, u.when, u.unread())
	} else if !u.pass(x, len(u.unread())) {
		return
	}
	u.end(err)
}

func mayBeResponse(b []byte) bool {
	const start = "HTTP/"
	b = bytes.TrimLeft(b, "\r\n")
	return len(b) < len(start) && start[:len(b)] == string(b) || bytes.HasPrefix(b, []byte(start))
}

// pass relays the first n unread bytes. It returns false if the client can't be
// written to.
func (u *upstream) pass(x *exchange, n int) bool {
	x.Data(decode.FromServer, u.when, u.unread()[:n])
	return u.write(x, n)
}

// write relays the first n unread bytes, which the session has.
func (u *upstream) write(x *exchange, n int) bool {
	_, err := u.link.client.Write(u.unread()[:n])
	u.use(n)
	if err == nil {
		return true
	}
	u.link.torn.Store(true)
	x.End(decode.FromServer, time.Now(), decode.EndLocal, "")
	u.done(x, last)
	return false
}

// upgrade relays everything from here on.
func (u *upstream) upgrade(x *exchange) bool {
	u.SetReadDeadline(time.Time{})
	x.Data(decode.FromServer, u.when, u.unread())
	if fault := x.HeadFault(decode.FromServer); x.websocket && u.link.p.Strict && fault != "" {
		x.failure = refusal(http.StatusBadGateway, fault)
		u.done(x, refused)
		return false
	}
	if u.write(x, len(u.unread())) {
		u.done(x, upgrade)
		u.link.relay(decode.FromServer, u.leg, u.link.client, x.session)
	}
	return false
}

// body relays the final response to x: its head, the first n unread bytes, and
// what follows by its framing.
func (u *upstream) body(x *exchange, h *decode.Head, n int) bool {
	u.SetReadDeadline(time.Time{})
	body := decode.ResponseBody(h, x.method)
	u.tied = !x.keepAlive || !h.KeepAlive()
	n += body.Next(u.unread()[n:])
	r := relay{dir: decode.FromServer, src: u.leg, session: x.session}
	for {
		if n > 0 && !u.pass(x, n) {
			return false
		}
		if body.Done() {
			r.stopTicking()
			u.done(x, keep)
			return true
		}
		if err := r.fill(); err != nil {
			u.end(err)
			return false
		}
		n = body.Next(u.unread())
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
	u.ended, u.told = err, x == nil && (u.tied || k.bound())
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
		if u.told {
			k.client.endLike(err)
		}
	case x.outcome == upgrade: // a tunnel
		endDirection(decode.FromServer, u.leg, k.client, x.session, err)
	case isTimeout(err):
		x.failure = failed(http.StatusGatewayTimeout, "server %q has not answered after %v", u.addr, k.p.handshakeTimeout())
		u.done(x, refused)
	default:
		endDirection(decode.FromServer, u.leg, k.client, x.session, err)
		u.done(x, last)
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
