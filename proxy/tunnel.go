package proxy

import (
	"fmt"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/socks"
)

// tunnel relays the first n unread bytes, with which the server, a proxy, opens the
// tunnel that x asks for. What follows is of the tunnel. It returns false.
func (u *upstream) tunnel(x *exchange, n int) bool {
	if u.write(x, n) {
		u.keep.Store(true)
		u.done(x, outcomeTunnel)
	}
	return false
}

// within goes on in the tunnel to addr that the client has opened through the server:
// as if it had just come, to go there.
func (k *link) within(addr string) phase {
	<-k.up.gone
	k.server, k.asked, k.secure, k.weighed, k.unreadTLS = addr, nil, false, false, ""
	k.phase = phaseFirst
	k.begin(addr, k.up.leg, nil)
	return k.enter()
}

// beginsSOCKS waits for the first message of a client that may speak to a SOCKS proxy,
// and returns its length, or 0 if it does not.
func (k *link) beginsSOCKS() (n *socks.Negotiation, size int) {
	if k.via != viaDirect || k.secure || !socks.MayBegin(k.client.unread()) {
		return nil, 0
	}
	n = new(socks.Negotiation)
	return n, k.readSOCKS(n, hesitation)
}

// readSOCKS waits for the next message of the client, for a limited time, and returns
// its length, or less than 0 if there is none.
func (k *link) readSOCKS(n *socks.Negotiation, wait time.Duration) int {
	k.setDeadline(time.Now().Add(wait))
	defer k.setDeadline(time.Time{})
	for {
		if size := n.Client(k.client.unread()); size != 0 {
			return size
		}
		if k.client.fill() != nil {
			return -1
		}
	}
}

// negotiate relays what client and SOCKS proxy say to each other, in turns, the first
// of which has size bytes, until there is a tunnel. If they do not get there, the
// rest is relayed unread.
func (k *link) negotiate(n *socks.Negotiation, size int) phase {
	s := k.open(decode.Info{Server: k.server, URL: k.server}, nil)
	s.Opaque(decode.FromClient, k.client.when, fmt.Sprintf("SOCKS %d", socks.Version(k.client.unread())))
	for size > 0 {
		x := &exchange{session: s, socks: n, tunnel: n.Addr, answered: make(chan struct{})}
		if err := k.reach(k.server, x); err != nil {
			return k.fail(s, err)
		}
		x.Data(decode.FromClient, k.client.when, k.client.unread()[:size])
		_, err := k.up.Write(k.client.unread()[:size])
		if k.client.use(size); err != nil {
			err = errWrite
		}
		if next := k.finish(x, err); next != phaseNext {
			return next
		}
		size = k.readSOCKS(n, k.p.handshakeTimeout())
	}
	return k.unreadTo(k.server, s)
}

// negotiate relays the turn of a SOCKS proxy.
func (u *upstream) negotiate(x *exchange) bool {
	for {
		n := x.socks.Server(u.unread())
		switch {
		case n == 0:
			if err := u.fill(); err != nil {
				u.cut(x, err)
				return false
			}
			continue
		case n < 0:
			return u.upgrade(x, nil)
		}
		x.Data(decode.FromServer, u.when, u.unread()[:n])
		if x.socks.Done() {
			return u.tunnel(x, n)
		}
		if !u.write(x, n) {
			return false
		}
		u.done(x, outcomeKeep)
		return true
	}
}
