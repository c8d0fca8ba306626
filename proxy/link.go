package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// A link is a client's connection and the upstream connection that it is
// relayed to. Two goroutines serve it: the link's own reads the client, the
// upstream's reads the server. Each writes what it reads to the other side.
type link struct {
	p      *Proxy
	ctx    context.Context
	self   net.Addr // where the proxy listens
	client *leg

	phase  phase
	via    string // how the client reaches servers: viaForward, viaReverse, viaConnect or viaDirect
	target Target // of viaDirect
	server string // "host:port" of the one server that all is for; "" if each request names its own
	method string // of the latest request

	asked     *tlswire.ClientHello // what the client has asked for in TLS, if it was looked at
	secure    bool                 // TLS was begun, in the innermost tunnel
	unreadTLS string               // why TLS is not looked into; valid iff weighed
	weighed   bool

	hello       *clientHello // iff the client has begun TLS
	clientTLS   *decode.TLS  // of the client's leg; nil if it is in plain
	serverTLS   *decode.TLS  // of the server's leg
	serverName  string       // whom TLS with the server is with; "" for none
	upstreamErr error        // why there can be no upstream

	mu sync.Mutex
	up *upstream // changed by the link's goroutine, under mu

	greeting sync.Mutex // held until the answer to a CONNECT is written

	relayed     *session // by phaseRelay
	clientEnded bool     // before phaseRelay

	mustReset atomic.Bool // bytes were lost, or the client has reset: both sides learn of it by a reset
}

// A phase is what a link does next.
type phase uint8

const (
	phaseFirst phase = iota // wait for the first request, in the tunnel if there is one; TLS may begin
	phaseNext               // wait for a request after others
	phaseRelay              // relay both directions until they end
	phaseClose              // close both connections
)

// How a client reaches servers, as [decode.Info] has it.
const (
	viaForward = "forward" // its requests name them
	viaReverse = "reverse" // there is one, and the client takes us for it
	viaConnect = "connect" // through a tunnel that a CONNECT has opened
	viaDirect  = "direct"  // its connection to one was led to us
)

func (p *Proxy) newLink(ctx context.Context, self net.Addr, client *leg) *link {
	k := &link{p: p, ctx: ctx, self: self, client: client, via: viaForward}
	if o := p.Upstream; o != nil {
		k.via, k.server = viaReverse, dialAddr(o.Scheme, o.Host)
		if isSecure(o.Scheme) {
			k.serverName = o.Hostname()
		}
	}
	return k
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

// reset resets both connections, whereupon the goroutines that read them end.
func (k *link) reset() {
	k.mustReset.Store(true)
	k.mu.Lock()
	defer k.mu.Unlock()
	k.client.reset()
	if k.up != nil {
		k.up.reset()
	}
}

// serve handles the client's connection to its end. When it returns both
// connections are closed and no goroutine of the link is left.
func (k *link) serve() {
	for {
		switch k.phase {
		case phaseFirst, phaseNext:
			k.phase = k.exchange()
		case phaseRelay: // from here, where the stack is small, for as long as it takes
			k.phase = k.relayBoth()
		case phaseClose:
			k.close()
			return
		}
	}
}

// exchange waits for a request and relays it and what comes of it.
func (k *link) exchange() phase {
	if !k.awaitRequest() {
		return phaseClose
	}
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
	case k.server != "" && errors.Is(err, errNotRequest):
		return k.opaque(decode.FromClient, k.server, k.describe())
	case k.via == viaDirect && isFailure(err):
		return k.opaque(decode.FromClient, k.server, err.Error())
	case errors.Is(err, errNotRequest):
		raw := k.client.unread()
		err = notRequest(raw)
		if tlswire.IsHandshake(raw) {
			raw = nil
		}
		return k.refuse(decode.Info{}, raw, err)
	default:
		return k.refuse(decode.Info{}, k.client.unread(), err)
	}
	if h.Method == http.MethodConnect && k.via == viaForward {
		return k.connect(h, n)
	}
	return k.request(h, n)
}

// awaitRequest waits for the first byte of a request: the first one for as long
// as the handshake may take, later ones for as long as both sides like. It
// returns false if there will be none.
func (k *link) awaitRequest() bool {
	if len(k.client.unread()) > 0 {
		return true
	}
	if k.phase == phaseFirst {
		k.client.SetReadDeadline(time.Now().Add(k.p.handshakeTimeout()))
		defer k.client.SetReadDeadline(time.Time{})
	}
	err := k.client.fill()
	if err != nil {
		k.gone(err)
	}
	if isTimeout(err) && k.phase == phaseFirst && k.ctx.Err() == nil {
		k.p.log().Debug(fmt.Sprintf("client %q has sent nothing for %v", k.client.RemoteAddr(), k.p.handshakeTimeout()))
	}
	if howEnded(err) == decode.EndRST {
		k.mustReset.Store(true)
	}
	return err == nil
}

// relayBoth relays the client's direction, and waits for the server's, which
// the upstream's goroutine relays.
func (k *link) relayBoth() phase {
	if !k.clientEnded {
		k.relay(decode.FromClient, k.client, k.up.leg, k.relayed)
	}
	<-k.up.gone
	k.relayed.Done(k.relayed.now())
	return phaseClose
}

// relay relays one direction to its end.
func (k *link) relay(d decode.Dir, src, dst *leg, s *session) {
	r := relay{dir: d, src: src, dst: dst, session: s, stop: k.ctx.Done()}
	err := errUngated
	if s.gated {
		r.out = &s.outlet.boxes[d]
		err = r.runGated()
	}
	if err == errUngated {
		err = r.run()
	}
	k.relayEnded(d, s, err)
}

// relayEnded takes the end of a direction that was relayed.
func (k *link) relayEnded(d decode.Dir, s *session, err error) {
	if err == errWrite {
		k.mustReset.Store(true)
	}
	if err != io.EOF && s.gated { // the other direction will end too, and must not wait
		s.outlet.boxes[d.Peer()].release()
	}
}

// close closes both connections.
func (k *link) close() {
	if k.mustReset.Load() {
		k.client.reset()
	}
	k.client.release()
	k.client.Close()
	k.leave()
}

// open begins a session on this link, with a gate if newGate makes one.
func (k *link) open(info decode.Info, newGate func(decode.Info, *Outlet) Gate) *session {
	s := &session{log: k.p.log(), clock: &k.p.clock}
	s.Sink, s.Look = k.p.sink, k.p.Look
	info.Conn = k.p.sessions.Add(1)
	info.Time = k.client.when
	info.Client = k.client.RemoteAddr().String()
	info.Via = k.via
	info.PID, info.Process = k.target.PID, k.target.Process
	info.ClientTLS, info.ServerTLS = k.clientTLS, k.serverTLS
	if s.outlet = newOutlet(newGate, info, s.log); s.outlet != nil {
		s.Gate = s.outlet.decide
		s.outlet.link, s.outlet.session = k, s
		defer close(s.outlet.begun)
		if s.Sink == nil { // an event that nobody wants is not made
			s.Sink = decode.SinkFunc(func(*decode.Event) {})
		}
	}
	s.Open(info)
	return s
}
