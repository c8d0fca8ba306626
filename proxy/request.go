package proxy

import (
	"bytes"
	"cmp"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// errNotRequest says that the client's bytes are no HTTP request.
var errNotRequest = errors.New("not an HTTP request")

// readHead gathers the head at the start of the client's unread bytes and
// returns its length.
func (k *link) readHead(deadline time.Time) (int, error) {
	c := k.client
	k.setDeadline(deadline)
	defer k.setDeadline(time.Time{})
	for seen, wait := 0, k.p.handshakeTimeout(); ; {
		b := c.unread()
		n := decode.HeadLen(b, seen)
		seen = len(b)
		if !decode.MayBeRequest(b, !k.isTunnel()) {
			return 0, errNotRequest
		}
		if n > k.p.maxHead() || n == 0 && len(b) > k.p.maxHead() {
			return 0, failed(http.StatusRequestHeaderFieldsTooLarge, "request head is longer than %d bytes", k.p.maxHead())
		}
		if n > 0 {
			return n, nil
		}
		if k.via == viaDirect && bytes.IndexByte(b, '\n') < 0 { // it may be anything
			wait = hesitation
			k.setDeadline(time.Now().Add(wait))
		} else if wait == hesitation {
			wait = k.p.handshakeTimeout()
			k.setDeadline(deadline)
		}
		if err := c.fill(); isTimeout(err) {
			return 0, failed(http.StatusRequestTimeout, "request head is not complete after %v", wait)
		} else if err != nil {
			return 0, err
		}
	}
}

// hesitation is how long the first bytes of a client that was led here are held back
// that may begin something to look into. It may speak another protocol, and waits for
// the answer then.
const hesitation = 500 * time.Millisecond

// setDeadline limits the wait for the client. A server that does not wait for
// the first request of a tunnel may have ended it already; then it stays so.
func (k *link) setDeadline(t time.Time) {
	if k.up != nil {
		k.up.mu.Lock()
		defer k.up.mu.Unlock()
		if k.up.serverFirst != "" {
			return
		}
	}
	k.client.SetReadDeadline(t)
}

// describe says what the client's bytes are, if not a request.
func (k *link) describe() string {
	switch b := k.client.unread(); {
	case len(b) == 0:
		return "client ends first"
	case tlswire.IsHandshake(b):
		return cmp.Or(k.unreadTLS, notIntercepted)
	case looksLikeHTTP2(b):
		return "HTTP/2"
	case looksLikeSOCKS(b):
		return "SOCKS"
	}
	return "not HTTP"
}

// notRequest says what a client's bytes are, for a forward proxy, that are no
// request.
func notRequest(b []byte) *failure {
	const itself = " to the proxy itself, which is named by http://, not "
	switch {
	case tlswire.IsHandshake(b):
		return failed(http.StatusBadRequest, "TLS"+itself+"https://")
	case looksLikeSOCKS(b):
		return failed(http.StatusBadRequest, "SOCKS"+itself+"socks://")
	case looksLikeHTTP2(b):
		return failed(http.StatusBadRequest, "HTTP/2 without TLS to the proxy itself, which speaks HTTP/1.1")
	}
	return failed(http.StatusBadRequest, "not an HTTP request: %.40q", b)
}

// looksLikeHTTP2 reports whether b begins like an HTTP/2 connection (RFC 9113
// §3.4).
func looksLikeHTTP2(b []byte) bool { return bytes.HasPrefix(b, []byte("PRI * HTTP/2.0\r\n")) }

// looksLikeSOCKS reports whether b is what a client of SOCKS says first: of version
// 5 a list of methods (RFC 1928 §3), of version 4 a command, a port, an address and
// a name that ends with NUL.
func looksLikeSOCKS(b []byte) bool {
	if len(b) < 3 {
		return false
	}
	return b[0] == 5 && b[1] > 0 && len(b) <= 2+int(b[1]) ||
		b[0] == 4 && (b[1] == 1 || b[1] == 2) && len(b) >= 9 && b[len(b)-1] == 0
}

// request relays a request whose head is the first n unread bytes.
func (k *link) request(h *decode.Head, n int) phase {
	k.method = h.Method
	r, err := k.route(h)
	if err == errSelf && decode.AsksForWebSocket(h) {
		k.p.warn(ReasonUpgradeToSelf, "a client asks the proxy itself for a WebSocket")
		return k.refuse(decode.Info{URL: h.Target}, k.client.unread()[:n],
			failed(http.StatusBadRequest, "this is an HTTP proxy, not the server of a WebSocket"))
	}
	if err == errSelf {
		return k.answer(http.StatusOK, "text/html", k.p.page(k.self))
	}
	if err != nil {
		return k.refuse(decode.Info{URL: h.Target}, k.client.unread()[:n], err)
	}
	if k.serverName != "" { // the session tells of the TLS with the server
		err = k.reach(r.addr, nil)
	}
	newGate := k.p.NewGate
	if !decode.AsksForWebSocket(h) {
		newGate = nil
	}
	s := k.open(decode.Info{Server: r.addr, URL: r.url}, newGate)
	sent, answer := s.outlet.head(decode.FromClient, k.client.when, h, r.sent)
	s.Head(decode.FromClient, k.client.when, h, sent)
	if !decode.AsksForWebSocket(h) {
		s.watchLasting()
	}
	k.client.use(n)
	if answer != nil {
		return k.fail(s, answer)
	}
	x := &exchange{
		session: s, method: h.Method, websocket: decode.AsksForWebSocket(h), keepAlive: h.KeepAlive(),
		answered: make(chan struct{}),
	}
	if k.via == viaDirect && h.Method == http.MethodConnect {
		if to, err := connect(h); err == nil {
			x.tunnel = to.addr
		}
	}
	if fault := s.HeadFault(decode.FromClient); x.websocket && k.p.Strict && fault != "" {
		err = refusal(http.StatusBadRequest, fault)
	}
	if err == nil {
		err = k.reach(r.addr, x)
	}
	if _, reset := s.outlet.wasReset(); reset {
		err = net.ErrClosed // by us
	}
	if err != nil {
		return k.fail(s, err)
	}
	return k.finish(x, k.send(x, []byte(cmp.Or(sent, h).Raw), decode.RequestBody(h)))
}

// opaque relays what is no HTTP to addr without looking into it.
func (k *link) opaque(d decode.Dir, addr, why string) phase {
	if k.p.isOurs(k.client) {
		return k.refuse(decode.Info{Server: addr, URL: addr}, k.client.unread(), errLoop)
	}
	if k.clientTLS == nil && tlswire.IsHandshake(k.client.unread()) {
		k.serverName = "" // it is for the server, as it is
	}
	s := k.open(decode.Info{Server: addr, URL: k.named(addr)}, nil)
	s.Opaque(d, k.client.when, why)
	return k.unreadTo(addr, s)
}

// unreadTo relays all that comes from here on to addr, as bytes of s.
func (k *link) unreadTo(addr string, s *session) phase {
	x := &exchange{session: s, answered: make(chan struct{}), outcome: outcomeUpgrade}
	close(x.answered)
	if err := k.reach(addr, x); err != nil {
		return k.fail(s, err)
	}
	if k.up.hasEndedFirst() {
		<-k.up.gone // so that its end is recorded before what the client does
	}
	return k.finish(x, nil)
}

// connect answers a CONNECT whose head is the first n unread bytes. HTTP inside
// the tunnel is relayed like any other; anything else is opaque.
func (k *link) connect(h *decode.Head, n int) phase {
	r, err := connect(h)
	switch {
	case err != nil:
		err = failed(http.StatusBadRequest, "%v", err)
	case k.p.isOurs(k.client):
		err = errLoop
	case isSelf(r.addr, k.self):
		err = failed(http.StatusBadRequest, "CONNECT to the proxy itself")
		k.p.warn(ReasonConnectToSelf, "a client asks for a tunnel to the proxy itself")
	}
	k.client.use(n)
	k.leave()
	k.phase, k.via, k.server = phaseFirst, viaConnect, r.addr
	if err == nil {
		err = k.greet(r.addr)
	}
	switch {
	case err == errWrite:
		return phaseClose
	case err != nil:
		return k.refuse(decode.Info{URL: h.Target, Server: r.addr}, nil, err)
	}
	return k.enter()
}

// greet opens a tunnel to addr.
func (k *link) greet(addr string) error {
	k.greeting.Lock()
	defer k.greeting.Unlock()
	if err := k.reach(addr, nil); err != nil {
		return err
	}
	if _, err := k.client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		return errWrite
	}
	return nil
}

// enter waits for the first bytes in a tunnel, or in the TLS inside it, and
// relays them if they are no request.
func (k *link) enter() phase {
	var err error
	if len(k.client.unread()) == 0 {
		if err = k.client.fill(); err != nil && k.gone(err) { // neither side has to speak
			return phaseClose
		}
	}
	if err == nil {
		k.trusted()
		if n, size := k.beginsSOCKS(); size > 0 {
			return k.negotiate(n, size)
		}
		if k.startsTLS() {
			return phaseFirst
		}
		_, err = k.readHead(time.Now().Add(k.p.handshakeTimeout()))
	}
	f, _ := err.(*failure)
	switch why := k.up.wentFirst(); {
	case err == nil:
		return phaseFirst
	case why != "":
		return k.opaque(decode.FromServer, k.server, why)
	case f == nil && len(k.client.unread()) == 0 && k.up.hasEndedFirst():
		return k.opaque(decode.FromServer, k.server, "server ends first")
	case f == nil: // no request, or the client has ended
		return k.opaque(decode.FromClient, k.server, k.describe())
	case k.via == viaDirect:
		return k.opaque(decode.FromClient, k.server, f.text)
	case f.status == http.StatusRequestTimeout:
		return k.opaque(decode.FromClient, k.server, "no HTTP request within "+k.p.handshakeTimeout().String())
	}
	return phaseFirst // refused where requests are
}

var errLoop = failed(http.StatusLoopDetected, "loop: the request came from this proxy")

// route decides where a request goes.
func (k *link) route(h *decode.Head) (r route, err error) {
	switch {
	case k.p.isOurs(k.client):
		return r, errLoop
	case k.via == viaReverse:
		return k.p.reverse(h), nil
	case k.via == viaDirect:
		return k.routeDirect(h), nil
	case k.via == viaConnect && k.clientTLS != nil:
		return tunneled("https", k.server, h), nil
	case k.via == viaConnect:
		return tunneled("http", k.server, h), nil
	}
	switch r, err = k.p.forward(h); {
	case err == errSelf, err == nil && isSelf(r.addr, k.self):
		return r, errSelf
	case err != nil:
		return r, failed(http.StatusBadRequest, "%v", err)
	}
	return r, nil
}
