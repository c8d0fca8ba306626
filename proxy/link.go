package proxy

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A link is a client's connection and the upstream connection that it is
// relayed to. Two goroutines serve it: the link's own reads the client, the
// upstream's reads the server. Each writes what it reads to the other side.
type link struct {
	p      *Proxy
	ctx    context.Context
	self   net.Addr // where the proxy listens
	client *leg
	tunnel string // "host:port" of the CONNECT that the client sent, or ""
	asked  bool   // there was a request, in the tunnel if there is one
	head   bool   // the latest is a HEAD, whose answer has no body

	hello      *clientHello // iff the client has begun TLS
	clientTLS  *decode.TLS  // of the client's leg; nil if it is in plain
	serverTLS  *decode.TLS  // of the server's leg
	serverName string       // whom TLS with the server is with; "" for none
	upErr      error        // why there can be no upstream

	mu sync.Mutex
	up *upstream // changed by the link's goroutine, under mu

	upgraded *session // what is relayed both ways, once requests are over
	silent   bool     // the client had ended before

	torn atomic.Bool // a write failed: bytes were lost, and the ends should know
}

// abort closes both connections, whereupon the goroutines that read them end.
func (k *link) abort() {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client.base().Close()
	if k.up != nil {
		k.up.base().Close()
	}
}

// serve handles the requests of the client, one after the other. When it
// returns both connections are closed and no goroutine of the link is left.
func (k *link) serve() {
	for k.awaitRequest() && k.exchange() {
	}
	if s := k.upgraded; s != nil { // from here, where the stack is small, for as long as it takes
		if !k.silent {
			k.relay(decode.FromClient, k.client, k.up.leg, s)
		}
		<-k.up.gone
		s.Done(time.Now())
	}
	if k.torn.Load() {
		k.client.reset()
	}
	k.client.release()
	k.client.Close()
	k.leave()
}

// awaitRequest waits for the first byte of a request: the first one for as long
// as the handshake may take, later ones for as long as both sides like. It
// returns false if there will be none.
func (k *link) awaitRequest() bool {
	if len(k.client.unread()) > 0 {
		return true
	}
	if !k.asked {
		k.client.SetReadDeadline(time.Now().Add(k.p.handshakeTimeout()))
		defer k.client.SetReadDeadline(time.Time{})
	}
	err := k.client.fill()
	if err != nil {
		k.gone(err)
	}
	if isTimeout(err) && !k.asked && k.ctx.Err() == nil {
		k.p.log().Debug(fmt.Sprintf("client %q has sent nothing for %v", k.client.RemoteAddr(), k.p.handshakeTimeout()))
	}
	if howEnded(err) == decode.EndRST {
		k.torn.Store(true)
	}
	return err == nil
}

// exchange relays one request and what comes of it. It reports whether the
// client's connection can carry another.
func (k *link) exchange() (again bool) {
	if k.startsTLS() {
		return k.interceptTLS()
	}
	n, err := k.readHead(time.Now().Add(k.p.handshakeTimeout()))
	var h *decode.Head
	if err == nil {
		if h, err = decode.ParseRequest(string(k.client.unread()[:n])); err != nil {
			err = errNotRequest
		}
	}
	switch {
	case err == nil:
	case k.bound() && errors.Is(err, errNotRequest):
		return k.opaque(decode.FromClient, k.boundTo(), k.describe())
	case errors.Is(err, errNotRequest) && looksLikeTLS(k.client.unread()):
		k.refuse(decode.Info{}, nil, failed(http.StatusBadRequest, "TLS to the proxy itself, which is named by http://, not https://"))
		return false
	case errors.Is(err, errNotRequest):
		err = failed(http.StatusBadRequest, "not an HTTP request: %.40q", k.client.unread())
		fallthrough
	default:
		k.refuse(decode.Info{}, k.client.unread(), err)
		return false
	}
	if h.Method == http.MethodConnect && k.p.Upstream == nil && k.tunnel == "" {
		return k.connect(h, n)
	}
	return k.request(h, n)
}

// errNotRequest says that the client's bytes are no HTTP request.
var errNotRequest = errors.New("not an HTTP request")

// readHead gathers the head at the start of the client's unread bytes and
// returns its length.
func (k *link) readHead(deadline time.Time) (int, error) {
	c := k.client
	k.setDeadline(deadline)
	defer k.setDeadline(time.Time{})
	for seen := 0; ; {
		b := c.unread()
		n := decode.HeadLen(b, seen)
		seen = len(b)
		if !decode.MayBeRequest(b) {
			return 0, errNotRequest
		}
		if n > k.p.maxHead() || n == 0 && len(b) > k.p.maxHead() {
			return 0, failed(http.StatusRequestHeaderFieldsTooLarge, "request head is longer than %d bytes", k.p.maxHead())
		}
		if n > 0 {
			return n, nil
		}
		if err := c.fill(); isTimeout(err) {
			return 0, failed(http.StatusRequestTimeout, "request head is not complete after %v", k.p.handshakeTimeout())
		} else if err != nil {
			return 0, err
		}
	}
}

// setDeadline limits the wait for the client. A server that does not wait for
// the first request of a tunnel may have ended it already; then it stays so.
func (k *link) setDeadline(t time.Time) {
	if k.up != nil {
		k.up.mu.Lock()
		defer k.up.mu.Unlock()
		if k.up.impatient != "" {
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
	case looksLikeTLS(b):
		return "TLS, not intercepted"
	}
	return "not HTTP"
}

// request relays a request whose head is the first n unread bytes.
func (k *link) request(h *decode.Head, n int) (again bool) {
	k.asked, k.head = true, h.Method == http.MethodHead
	r, err := k.route(h)
	if err == errSelf {
		k.answer(http.StatusOK, "text/html", k.p.page(k.self))
		return false
	}
	if err != nil {
		k.refuse(decode.Info{URL: h.Target}, k.client.unread()[:n], err)
		return false
	}
	if k.serverName != "" { // the session tells of the TLS with the server
		err = k.reach(r.addr, nil)
	}
	s := k.open(decode.Info{Server: r.addr, URL: r.url})
	var sent *decode.Head
	if r.head == "" {
		r.head = h.Raw
	} else {
		sent, _ = decode.ParseRequest(r.head)
	}
	s.Head(decode.FromClient, k.client.when, h, sent)
	k.client.use(n)
	x := &exchange{
		session: s, method: h.Method, websocket: decode.AsksForWebSocket(h), keepAlive: h.KeepAlive(),
		answered: make(chan struct{}),
	}
	if fault := s.HeadFault(decode.FromClient); x.websocket && k.p.Strict && fault != "" {
		err = refusal(http.StatusBadRequest, fault)
	}
	if err == nil {
		err = k.reach(r.addr, x)
	}
	if err != nil {
		k.fail(s, err)
		return false
	}
	return k.finish(x, k.send(x, []byte(r.head), decode.RequestBody(h)))
}

// opaque relays what is no HTTP to addr without looking into it.
func (k *link) opaque(d decode.Dir, addr, why string) (again bool) {
	if k.p.isOurs(k.client) {
		k.refuse(decode.Info{Server: addr, URL: addr}, k.client.unread(), errLoop)
		return false
	}
	if k.clientTLS == nil && looksLikeTLS(k.client.unread()) {
		k.serverName = "" // it is for the server, as it is
	}
	s := k.open(decode.Info{Server: addr, URL: addr})
	s.Opaque(d, k.client.when, why)
	x := &exchange{session: s, answered: make(chan struct{}), outcome: upgrade}
	close(x.answered)
	if err := k.reach(addr, x); err != nil {
		k.fail(s, err)
		return false
	}
	return k.finish(x, nil)
}

// connect answers a CONNECT whose head is the first n unread bytes. HTTP inside
// the tunnel is relayed like any other; anything else is opaque.
func (k *link) connect(h *decode.Head, n int) (again bool) {
	r, err := connect(h)
	switch {
	case err != nil:
		err = failed(http.StatusBadRequest, "%v", err)
	case k.p.isOurs(k.client):
		err = errLoop
	case isSelf(r.addr, k.self):
		err = failed(http.StatusBadRequest, "CONNECT to the proxy itself; for a server on this machine start wstrace URL and point the client at it")
	}
	k.client.use(n)
	k.leave()
	k.tunnel, k.asked = r.addr, false
	if err == nil {
		err = k.reach(r.addr, nil)
	}
	if err != nil {
		k.refuse(decode.Info{URL: h.Target, Server: r.addr}, nil, err)
		return false
	}
	if _, err := k.client.Write([]byte("HTTP/1.1 200 Connection established\r\n\r\n")); err != nil {
		return false
	}
	return k.enter()
}

// enter waits for the first bytes in a tunnel, or in the TLS inside it, and
// relays them if they are no request. It reports whether requests can follow.
func (k *link) enter() (again bool) {
	var err error
	if len(k.client.unread()) == 0 {
		if err = k.client.fill(); err != nil && k.gone(err) { // neither side has to speak
			return false
		}
	}
	if err == nil {
		if k.startsTLS() {
			return true
		}
		_, err = k.readHead(time.Now().Add(k.p.handshakeTimeout()))
	}
	f, _ := err.(*failure)
	switch why := k.up.impatience(); {
	case err == nil:
		return true
	case why != "":
		return k.opaque(decode.FromServer, k.tunnel, why)
	case f == nil: // no request, or the client has ended
		return k.opaque(decode.FromClient, k.tunnel, k.describe())
	case f.status == http.StatusRequestTimeout:
		return k.opaque(decode.FromClient, k.tunnel, "no HTTP request within "+k.p.handshakeTimeout().String())
	}
	return true // refused where requests are
}

var errLoop = failed(http.StatusLoopDetected, "loop: the request came from this proxy")

// route decides where a request goes.
func (k *link) route(h *decode.Head) (r route, err error) {
	switch {
	case k.p.isOurs(k.client):
		return r, errLoop
	case k.p.Upstream != nil:
		return k.p.reverse(h), nil
	case k.tunnel != "":
		if k.clientTLS != nil {
			return tunneled("https", k.tunnel, h), nil
		}
		return tunneled("http", k.tunnel, h), nil
	}
	switch r, err = forward(h); {
	case err == errSelf, err == nil && isSelf(r.addr, k.self):
		return r, errSelf
	case err != nil:
		return r, failed(http.StatusBadRequest, "%v", err)
	}
	return r, nil
}

// open begins a session on this link.
func (k *link) open(info decode.Info) *session {
	s := &session{log: k.p.log()}
	s.Sink, s.Look = k.p.sink, k.p.Look
	info.Conn = k.p.sessions.Add(1)
	info.Time = k.client.when
	info.Client = k.client.RemoteAddr().String()
	info.ClientTLS, info.ServerTLS = k.clientTLS, k.serverTLS
	switch {
	case k.p.Upstream != nil:
		info.Via = "reverse"
	case k.tunnel != "":
		info.Via = "connect"
	default:
		info.Via = "forward"
	}
	s.Open(info)
	return s
}

// errGone says that the server has ended the connection and the client has
// been told, so that nothing can be answered.
var errGone = errors.New("server has closed the connection")

// reach makes sure that the upstream is the server at addr, and hands it x,
// unless that is nil.
func (k *link) reach(addr string, x *exchange) error {
	if up := k.up; up != nil {
		if up.addr == addr && up.hand(x) {
			return nil
		}
		if up.hasTold() {
			return errGone
		}
		k.leave()
	}
	if k.upErr != nil {
		return k.upErr
	}
	c, err := k.p.dial(k.ctx, addr)
	if k.ctx.Err() != nil && err != nil {
		return net.ErrClosed // by us
	}
	if err != nil {
		return dialFailure(addr, err)
	}
	return k.use(addr, c, x)
}

// use makes c the connection to the server at addr, with TLS if that is called
// for, and hands it x, unless that is nil.
func (k *link) use(addr string, c net.Conn, x *exchange) (err error) {
	k.serverTLS = nil
	l := newLeg(c)
	if k.serverName != "" {
		protos := alpn
		if k.clientTLS != nil && k.clientTLS.ALPN == "" {
			protos = nil
		}
		if l, k.serverTLS, err = k.p.dialTLS(k.ctx, l, addr, k.serverName, protos); err != nil {
			return err
		}
	}
	up := &upstream{
		leg: l, link: k, addr: addr,
		next: make(chan *exchange, 1), left: make(chan struct{}), gone: make(chan struct{}),
	}
	k.mu.Lock()
	k.up = up
	k.mu.Unlock()
	if k.ctx.Err() != nil { // abort may have come too early for up
		up.base().Close()
	}
	if x != nil {
		up.hand(x)
	}
	go up.serve()
	return nil
}

// bound reports whether the client's connection and the upstream's are one
// path, so that what ends the one ends the other. A client that names the
// server in each request has many paths.
func (k *link) bound() bool { return k.boundTo() != "" }

// boundTo returns the "host:port" of that server, or "".
func (k *link) boundTo() string {
	if k.p.Upstream != nil {
		return dialAddr(k.p.Upstream.Scheme, k.p.Upstream.Host)
	}
	return k.tunnel
}

// leave closes the upstream connection, if there is one, and waits for its
// goroutine.
func (k *link) leave() {
	if k.up == nil {
		return
	}
	if k.torn.Load() {
		k.up.reset()
	}
	close(k.up.left)
	k.p.forget(k.up.Conn)
	<-k.up.gone
	k.mu.Lock()
	k.up = nil
	k.mu.Unlock()
}

// detach takes the upstream connection from its goroutine. It returns nil if
// the server has spoken or ended already.
func (k *link) detach() net.Conn {
	u := k.up
	close(u.left)
	u.SetReadDeadline(longAgo)
	<-u.gone
	u.SetReadDeadline(time.Time{})
	k.mu.Lock()
	k.up = nil
	k.mu.Unlock()
	k.client.SetReadDeadline(time.Time{}) // the server may have ended the wait for it
	if u.impatient != "" || !isTimeout(u.ended) {
		k.p.forget(u.Conn)
		return nil
	}
	return u.Conn
}

// refuse fails a request that is not relayed: raw is what there is of it.
func (k *link) refuse(info decode.Info, raw []byte, err error) {
	s := k.open(info)
	s.Data(decode.FromClient, k.client.when, raw)
	k.fail(s, err)
}

// fail ends a session whose request is not relayed, and tells the client why
// if it is there to listen.
func (k *link) fail(s *session, err error) {
	now := time.Now()
	f, ok := err.(*failure)
	if ok {
		s.Answer(f.status)
	}
	switch {
	case err == errGone:
		s.End(decode.FromServer, now, howEnded(k.up.ended), "")
	case !ok:
		s.End(decode.FromClient, now, howEnded(err), "")
	case f.status == http.StatusRequestTimeout:
		s.End(decode.FromClient, now, decode.EndTimeout, f.text)
	case f.status == http.StatusGatewayTimeout:
		s.End(decode.FromServer, now, decode.EndTimeout, f.text)
	case f.status == http.StatusBadGateway:
		s.End(decode.FromServer, now, decode.EndLocal, f.text)
	default:
		s.End(decode.FromClient, now, decode.EndLocal, f.text)
	}
	s.End(decode.FromClient, now, decode.EndLocal, "")
	s.End(decode.FromServer, now, decode.EndLocal, "")
	s.Done(now)
	if ok {
		k.answer(f.status, "text/plain", cmp.Or(f.body, f.text)+"\n")
	}
}

// answer sends the client an answer of ours and closes its connection. The
// server has nothing more to say.
func (k *link) answer(status int, contentType, body string) {
	k.leave()
	b := reply(status, contentType, body)
	if k.head {
		b = b[:len(b)-len(body)] // RFC 9110 §9.3.2
	}
	k.client.Write(b)
	k.client.lingerClose()
}
