package proxy

import (
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// A route says where a request goes and as what.
type route struct {
	addr string       // "host:port" to dial
	url  string       // what the client asks for, for people
	sent *decode.Head // the head to send, if it is not the one that came
}

var defaultPorts = map[string]string{"http": "80", "ws": "80", "https": "443", "wss": "443"}

func isSecure(scheme string) bool { return scheme == "https" || scheme == "wss" }

// dialAddr returns the "host:port" of an authority in a URL with the given
// scheme.
func dialAddr(scheme, authority string) string {
	if _, port, err := net.SplitHostPort(authority); err == nil && port != "" {
		return authority
	}
	authority = strings.TrimSuffix(authority, ":") // an empty port is no port (RFC 3986 §3.2.3)
	return net.JoinHostPort(strings.Trim(authority, "[]"), defaultPorts[scheme])
}

// reverse routes a request to the origin. The value of each Host line is changed,
// to the origin's authority; a missing one stays missing.
func (p *Proxy) reverse(h *decode.Head) route {
	r := route{addr: dialAddr(p.Upstream.Scheme, p.Upstream.Host)}
	sent := withoutH2C(h)
	if !p.KeepHost {
		sent = sent.WithValue("Host", p.Upstream.Host)
	}
	if sent != h {
		r.sent = sent
	}
	r.url = requestURL(p.Upstream.Scheme, p.Upstream.Host, h)
	return r
}

// withoutH2C returns h without the wish to go on in HTTP/2, which is for the next
// hop alone and which RFC 9113 §3.1 has given up.
func withoutH2C(h *decode.Head) *decode.Head {
	sent := h.WithoutToken("Upgrade", "h2c")
	if _, more := sent.Lookup("Upgrade"); sent != h && !more {
		sent = sent.WithoutToken("Connection", "Upgrade")
	}
	return sent.WithoutToken("Connection", "HTTP2-Settings").Without("HTTP2-Settings")
}

// tunneled routes a request inside a CONNECT tunnel: to where the tunnel goes,
// as it is.
func tunneled(scheme, authority string, h *decode.Head) route {
	return route{addr: authority, url: requestURL(scheme, strings.TrimSuffix(authority, ":"+defaultPorts[scheme]), h)}
}

// requestURL returns the URL of a request in origin-form: ws for one that asks
// for websocket.
func requestURL(scheme, authority string, h *decode.Head) string {
	scheme = strings.Replace(scheme, "http", "ws", 1)
	if !decode.AsksForWebSocket(h) {
		scheme = strings.Replace(scheme, "ws", "http", 1)
	}
	if !strings.HasPrefix(h.Target, "/") {
		return h.Target
	}
	return scheme + "://" + authority + h.Target
}

// isAuthority reports whether s is a host, with a port or without, as a Host header
// has it.
func isAuthority(s string) bool {
	if s == "" || strings.ContainsFunc(s, func(c rune) bool { return c <= ' ' || c >= 0x7f || strings.ContainsRune(`/?#@\"<>`, c) }) {
		return false
	}
	u, err := url.Parse("//" + s)
	return err == nil && u.Hostname() != "" && (u.Port() == "" || validPort(u.Port()))
}

// errSelf says that a request is for the proxy itself.
var errSelf = errors.New("request for the proxy itself")

// isSelf reports whether addr, "host:port", is where the proxy listens.
func isSelf(addr string, self net.Addr) bool {
	tcp, ok := self.(*net.TCPAddr)
	if !ok {
		return false
	}
	host, port, err := net.SplitHostPort(addr)
	if err != nil || port != strconv.Itoa(tcp.Port) {
		return false
	}
	ip := net.ParseIP(host)
	return strings.EqualFold(host, "localhost") && (tcp.IP.IsLoopback() || tcp.IP.IsUnspecified()) ||
		ip != nil && (ip.Equal(tcp.IP) || tcp.IP.IsUnspecified() && ip.IsLoopback())
}

// forward routes a request with its target in absolute-form (RFC 9112 §3.2.2):
// it is sent on in origin-form, with the Host that the target names, without the
// headers that were for the proxy.
func (p *Proxy) forward(h *decode.Head) (route, error) {
	scheme, rest, ok := strings.Cut(h.Target, "://")
	if !ok {
		if strings.HasPrefix(h.Target, "/") {
			return route{}, errSelf
		}
		return route{}, fmt.Errorf("target %.80q is not an absolute URL", h.Target)
	}
	scheme = strings.ToLower(scheme)
	switch scheme {
	case "http", "ws":
	case "https", "wss":
		return route{}, fmt.Errorf("target %.80q: use CONNECT for %s", h.Target, scheme)
	default:
		return route{}, fmt.Errorf("target %.80q: scheme %q is not http or ws", h.Target, scheme)
	}
	authority, origin := rest, "/"
	if i := strings.IndexAny(rest, "/?#"); i >= 0 {
		if authority, origin = rest[:i], rest[i:]; origin[0] != '/' {
			origin = "/" + origin
		}
	} else if h.Method == "OPTIONS" {
		origin = "*" // RFC 9112 §3.2.4
	}
	if i := strings.LastIndexByte(authority, '@'); i >= 0 {
		authority = authority[i+1:] // user information is not for the server (RFC 9110 §4.2.4)
	}
	u, err := url.Parse("//" + authority)
	if err != nil || u.Hostname() == "" {
		return route{}, fmt.Errorf("target %.80q has no valid host", h.Target)
	}
	if u.Port() != "" && !validPort(u.Port()) {
		return route{}, fmt.Errorf("target %.80q has no valid port", h.Target)
	}
	sent := withoutH2C(h.WithTarget(origin).Without("Proxy-Connection", "Proxy-Authorization"))
	if !p.KeepHost {
		sent = withHost(sent, scheme, authority)
	}
	return route{addr: dialAddr(scheme, authority), url: h.Target, sent: sent}, nil
}

// withHost returns h with one Host line, for the authority of a URL with the given
// scheme. One that means the same stays as it is.
func withHost(h *decode.Head, scheme, authority string) *decode.Head {
	hosts := h.Values("Host")
	if len(hosts) == 1 && strings.EqualFold(dialAddr(scheme, hosts[0]), dialAddr(scheme, authority)) {
		return h
	}
	if len(hosts) > 1 {
		h = h.Without("Host")
	}
	return h.WithField("Host", authority)
}

func validPort(port string) bool {
	n, err := strconv.ParseUint(port, 10, 16)
	return err == nil && n > 0
}

// connect routes a CONNECT (RFC 9110 §9.3.6).
func connect(h *decode.Head) (route, error) {
	host, port, err := net.SplitHostPort(h.Target)
	if err != nil || host == "" || !validPort(port) {
		return route{}, fmt.Errorf("CONNECT target %.80q is not host:port", h.Target)
	}
	return route{addr: h.Target, url: h.Target}, nil
}
