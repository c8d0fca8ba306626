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
		if up.hasToldClient() || k.via == viaDirect {
			return errGone
		}
		k.leave()
	}
	if k.upstreamErr != nil {
		return k.upstreamErr
	}
	if k.via == viaDirect { // there is no other connection
		return net.ErrClosed
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
func (k *link) use(addr string, c net.Conn, x *exchange) error {
	return k.useLeg(addr, k.p.newLeg(c), x)
}

// useLeg is like use, for the leg of a connection.
func (k *link) useLeg(addr string, l *leg, x *exchange) (err error) {
	k.serverTLS = nil
	if k.serverName != "" {
		protos := alpn
		if k.clientTLS != nil && k.clientTLS.ALPN == "" {
			protos = nil
		}
		if l, k.serverTLS, err = k.p.dialTLS(k.ctx, l, addr, k.serverName, protos); err != nil {
			return err
		}
	}
	k.begin(addr, l, x)
	return nil
}

// begin has the server at addr read from l, and hands it x, unless that is nil.
func (k *link) begin(addr string, l *leg, x *exchange) {
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
	k.up.release()
	k.mu.Lock()
	k.up = nil
	k.mu.Unlock()
}

// detach takes the leg of the server from its goroutine, and reports whether the
// server has neither spoken nor ended.
func (k *link) detach() (l *leg, silent bool) {
	u := k.up
	u.keep.Store(true)
	close(u.left)
	u.SetReadDeadline(longAgo)
	<-u.gone
	u.SetReadDeadline(time.Time{})
	k.mu.Lock()
	k.up = nil
	k.mu.Unlock()
	k.client.SetReadDeadline(time.Time{}) // the server may have ended the wait for it
	return u.leg, u.serverFirst == "" && isTimeout(u.ended)
}
