package proxy

import (
	"errors"
	"net"
	"time"
)

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
		if up.hasToldClient() {
			return errGone
		}
		k.leave()
	}
	if k.upstreamErr != nil {
		return k.upstreamErr
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
	l := k.p.newLeg(c)
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

// leave closes the upstream connection, if there is one, and waits for its
// goroutine.
func (k *link) leave() {
	if k.up == nil {
		return
	}
	if k.mustReset.Load() {
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
	if u.serverFirst != "" || !isTimeout(u.ended) {
		k.p.forget(u.Conn)
		return nil
	}
	return u.Conn
}
