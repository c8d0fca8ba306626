package proxy

import (
	"context"
	"net"

	"github.com/wstrace/wstrace/decode"
)

// A Target is where a client wanted to connect whose connection was led to the
// proxy.
type Target struct {
	Addr    string   // "host:port" that the client wanted
	Conn    net.Conn // a connection to there, which the proxy closes
	PID     int      // of the client's process; 0 if it is not known
	Process string   // its name; "" if it is not known
}

// ServeConn relays c, a client's connection, to where the client wanted to go,
// until both have ended or ctx ends. Both are closed when it returns. It looks
// into what it relays as into a tunnel, and edits nothing. It may be called at
// any time, from any number of goroutines.
func (p *Proxy) ServeConn(ctx context.Context, c net.Conn, to Target) {
	p.begin()
	k := p.newLink(ctx, nil, p.newLeg(c))
	k.via, k.server, k.serverName, k.target = viaDirect, to.Addr, "", to
	p.remember(to.Conn)
	k.use(to.Addr, to.Conn, nil) // it fails for TLS alone
	defer context.AfterFunc(ctx, k.abort)()
	k.phase = k.enter()
	k.serve()
}

// isTunnel reports whether the client speaks to one server, for which it does not
// take us.
func (k *link) isTunnel() bool { return k.via == viaConnect || k.via == viaDirect }

// routeDirect routes a request of a client that was led here: to where it wanted
// to go, as it is.
func (k *link) routeDirect(h *decode.Head) route {
	scheme, authority := "http", k.server
	if k.clientTLS != nil {
		scheme = "https"
		if k.clientTLS.SNI != "" {
			_, port, _ := net.SplitHostPort(k.server)
			authority = net.JoinHostPort(k.clientTLS.SNI, port)
		}
	} else if hosts := h.Values("Host"); len(hosts) == 1 && isAuthority(hosts[0]) {
		return route{addr: k.server, url: requestURL(scheme, hosts[0], h)}
	}
	r := tunneled(scheme, authority, h)
	r.addr = k.server
	return r
}
