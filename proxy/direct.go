package proxy

import (
	"context"
	"errors"
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
// until both have ended or ctx ends. Both are closed when it returns. It may be
// called at any time, from any number of goroutines.
//
// It looks into what it relays as into a tunnel, edits nothing and adds no answer of
// its own but for TLS with the server that does not come about. A tunnel that the
// client opens through a proxy of its own, by CONNECT or SOCKS, is looked into as
// well. TLS is relayed unread if the client can't be read with [Proxy.Authority]: if
// it offers protocols by ALPN and HTTP/1.1 is not among them, or if its process has
// refused our certificate for the host before.
func (p *Proxy) ServeConn(ctx context.Context, c net.Conn, to Target) {
	p.begin()
	k := p.newLink(ctx, nil, p.newLeg(c))
	k.via, k.server, k.serverName, k.target = viaDirect, to.Addr, "", to
	p.remember(to.Conn)
	k.begin(to.Addr, p.newLeg(to.Conn), nil)
	defer context.AfterFunc(ctx, k.abort)()
	k.phase = k.enter()
	k.serve()
}

// isTunnel reports whether the client speaks to one server, for which it does not
// take us.
func (k *link) isTunnel() bool { return k.via == viaConnect || k.via == viaDirect }

// host returns what the server is called: by the name that the client asks for in
// TLS or, without one, by where the connection goes.
func (k *link) host() string {
	if k.asked != nil && k.asked.ServerName != "" {
		return k.asked.ServerName
	}
	host, _, _ := net.SplitHostPort(k.server)
	return host
}

// named returns the "host:port" that the client asks for, for people: addr, with the
// host of a server that is known by its address alone.
func (k *link) named(addr string) string {
	if k.via != viaDirect || k.asked == nil || k.asked.ServerName == "" {
		return addr
	}
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort(k.asked.ServerName, port)
}

// routeDirect routes a request of a client that was led here: to where it wanted to
// go, as it is.
func (k *link) routeDirect(h *decode.Head) route {
	scheme, authority := "http", k.server
	if k.secure {
		scheme, authority = "https", k.named(k.server)
	} else if hosts := h.Values("Host"); len(hosts) == 1 && isAuthority(hosts[0]) {
		authority = hosts[0]
	}
	r := tunneled(scheme, authority, h)
	r.addr = k.server
	return r
}

// isFailure reports whether err is a reason for an answer of ours.
func isFailure(err error) bool {
	var f *failure
	return errors.As(err, &f)
}
