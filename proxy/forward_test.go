package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// wantAnswer checks that an answer of the proxy comes and the connection ends.
func (p *peer) wantAnswer(status int, body string) {
	p.t.Helper()
	p.SetReadDeadline(p.deadline())
	r := bufio.NewReader(p.Conn)
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		p.t.Fatalf("got %v, want an answer %d", err, status)
	}
	b, err := io.ReadAll(res.Body)
	if res.StatusCode != status || string(b) != body || err != nil || !res.Close {
		p.t.Errorf("got %s %q, %v, close %t, want %d %q", res.Status, b, err, res.Close, status, body)
	}
	if b, err := r.ReadByte(); err != io.EOF {
		p.t.Errorf("got %q and %v behind the answer, want the end", b, err)
	}
}

// A target in absolute-form goes on in origin-form, whatever it looks like.
func TestAbsoluteForm(t *testing.T) {
	r := newRig(t, inForward)
	_, port, _ := net.SplitHostPort(r.host())
	for _, x := range [][2]string{
		{"GET http://HOST/a/b?c=d HTTP/1.1\r\n", "GET /a/b?c=d HTTP/1.1\r\n"},
		{"GET ws://HOST/a HTTP/1.1\r\n", "GET /a HTTP/1.1\r\n"},
		{"GET HTTP://HOST/ HTTP/1.1\n", "GET / HTTP/1.1\n"},
		{"GET Ws://HOST HTTP/1.0\r\n", "GET / HTTP/1.0\r\n"},
		{"GET http://HOST?q=/x HTTP/1.1\r\n", "GET /?q=/x HTTP/1.1\r\n"},
		{"GET http://HOST/?q=http://b/ HTTP/1.1\r\n", "GET /?q=http://b/ HTTP/1.1\r\n"},
		{"GET http://HOST//a HTTP/1.1\r\n", "GET //a HTTP/1.1\r\n"},
		{"GET http://user:pa%40ss@HOST/ HTTP/1.1\r\n", "GET / HTTP/1.1\r\n"},
		{"GET http://a@b@HOST/@ HTTP/1.1\r\n", "GET /@ HTTP/1.1\r\n"},
		{"GET http://localhost:PORT/ HTTP/1.1\r\n", "GET / HTTP/1.1\r\n"},
		{"GET http://[::ffff:127.0.0.1]:PORT/ HTTP/1.1\r\n", "GET / HTTP/1.1\r\n"},
		{"OPTIONS http://HOST HTTP/1.1\r\n", "OPTIONS * HTTP/1.1\r\n"},
		{"OPTIONS http://HOST/ HTTP/1.1\r\n", "OPTIONS / HTTP/1.1\r\n"},
		{"GET http://HOST/a b HTTP/1.1\r\n", "GET /a b HTTP/1.1\r\n"},
		{"\r\nGET http://HOST/ HTTP/1.1\r\n", "\r\nGET / HTTP/1.1\r\n"},
		{"GET http://HOST/ HTTP/1.1\r\nX: http://HOST/\r\n", "GET / HTTP/1.1\r\nX: http://" + r.host() + "/\r\n"},
	} {
		start := strings.NewReplacer("HOST", r.host(), "PORT", port).Replace(x[0])
		c := r.dial()
		c.send(start + "Host: whatever\r\n\r\n")
		s := r.accept()
		s.want(fmt.Sprintf("the request for %q", start), x[1]+"Host: whatever\r\n\r\n")
		answer(c, s, nothing)
		c.Close()
	}
	t.Run("IPv6", func(t *testing.T) {
		l, err := net.Listen("tcp", "[::1]:0")
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { l.Close() })
		c := r.dialProxy()
		c.send("GET http://" + l.Addr().String() + "/x HTTP/1.1\r\n\r\n")
		s := acceptFrom(t, l)
		s.want("the request", "GET /x HTTP/1.1\r\n\r\n")
		c = r.dialProxy()
		c.connect(l.Addr().String())
		acceptFrom(t, l)
	})
}

// What a client says to the proxy is not for the server; all else is.
func TestProxyHeadersAreDropped(t *testing.T) {
	r := newRig(t, inForward)
	c := r.dial()
	c.send("GET " + r.target("/") + " HTTP/1.1\r\nProxy-Connection: keep-alive\r\nHost: a\r\nPROXY-AUTHORIZATION:Basic\r\n  eDp5\r\n" +
		"Connection: keep-alive, Proxy-Connection\r\nProxy-Other: x\r\nTE: trailers\r\nKeep-Alive: 5\r\nproxy-connection : close\r\nVia: b\r\n\r\n")
	s := r.accept()
	s.want("the rest of the head", "GET / HTTP/1.1\r\nHost: a\r\n"+
		"Connection: keep-alive, Proxy-Connection\r\nProxy-Other: x\r\nTE: trailers\r\nKeep-Alive: 5\r\nVia: b\r\n\r\n")
	evs, _ := r.snapshot(1)
	if hs := evs[1].Handshake; hs.Request.Get("Proxy-Connection") == "" || hs.Forwarded == nil || hs.Forwarded.Get("Proxy-Connection") != "" {
		t.Errorf("got %+v, want the request as it came and as it was forwarded", hs)
	}
	answer(c, s, "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n")

	r = newRig(t, inTunnel) // there they are between the client and the server
	c, s = r.ask("GET / HTTP/1.1\r\nProxy-Connection: keep-alive\r\n\r\n")
	answer(c, s, nothing)
}

// The requests of one connection may be for many servers.
func TestServersChange(t *testing.T) {
	r := newRig(t, inForward)
	other := listen(t)
	c := r.dial()
	for i := range 3 {
		for _, l := range []net.Listener{r.origin, other} {
			var s *peer
			for range 2 {
				request := fmt.Sprintf("POST / HTTP/1.1\r\nHost: %d\r\nContent-Length: 2\r\n\r\nhi", i)
				c.send(strings.Replace(request, "/", "http://"+l.Addr().String()+"/", 1))
				if s == nil {
					s = acceptFrom(t, l)
				}
				s.want("the request", request)
				answer(c, s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
			}
		}
	}
	c.send("GET " + r.target("/") + " HTTP/1.1\r\n\r\nCONNECT " + other.Addr().String() + " HTTP/1.1\r\n\r\n")
	s := acceptFrom(t, r.origin)
	s.want("the request", "GET / HTTP/1.1\r\n\r\n")
	answer(c, s, nothing)
	s = acceptFrom(t, other) // and now a tunnel
	c.want("the answer to CONNECT", connected)
	c.send(get)
	s.want("the request", get)
	answer(c, s, nothing)
}

func TestBadTargets(t *testing.T) {
	r := newRig(t, inForward)
	for target, why := range map[string]string{
		"https://a.test/": `target "https://a.test/": use CONNECT for https`,
		"wss://a.test/":   `target "wss://a.test/": use CONNECT for wss`,
		"ftp://a.test/":   `target "ftp://a.test/": scheme "ftp" is not http or ws`,
		"://a.test/":      `target "://a.test/": scheme "" is not http or ws`,
		"http://":         `target "http://" has no valid host`,
		"http:///x":       `target "http:///x" has no valid host`,
		"http://?x":       `target "http://?x" has no valid host`,
		"http://:80/":     `target "http://:80/" has no valid host`,
		"http://[::1/":    `target "http://[::1/" has no valid host`,
		"http://a:b/":     `target "http://a:b/" has no valid host`,
		"http://a\x00b/":  `target "http://a\x00b/" has no valid host`,
		"http:/x":         `target "http:/x" is not an absolute URL`,
		"a.test:80":       `target "a.test:80" is not an absolute URL`,
		"*":               `target "*" is not an absolute URL`,
		"":                `target "" is not an absolute URL`,
	} {
		t.Run(target, func(t *testing.T) {
			c := r.dialProxy()
			c.t = t
			c.send("GET " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
			c.wantAnswer(400, why+"\n")
		})
	}
	for target, why := range map[string]string{
		"a.test":   `CONNECT target "a.test" is not host:port`,
		":80":      `CONNECT target ":80" is not host:port`,
		"a:":       `CONNECT target "a:" is not host:port`,
		"::1:80":   `CONNECT target "::1:80" is not host:port`,
		"http://a": `CONNECT target "http://a" is not host:port`,
	} {
		t.Run("CONNECT "+target, func(t *testing.T) {
			c := r.dialProxy()
			c.t = t
			c.send("CONNECT " + target + " HTTP/1.1\r\nHost: a\r\n\r\n")
			c.wantAnswer(400, why+"\n")
		})
	}
	const socks = "SOCKS to the proxy itself, which is named by http://, not socks://"
	for first, why := range map[string]string{
		"NICK x\r\n":                            `not an HTTP request: "NICK x\r\n"`,
		"\x00":                                  `not an HTTP request: "\x00"`,
		"GET /\r\n":                             `not an HTTP request: "GET /\r\n"`,
		"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n":      "HTTP/2 without TLS to the proxy itself, which speaks HTTP/1.1",
		"\x05\x01\x00":                          socks,
		"\x04\x01\x00\x50\x7f\x00\x00\x01a\x00": socks,
		"\x05\x00":                              `not an HTTP request: "\x05\x00"`,
		"\x05\x01\x00x":                         `not an HTTP request: "\x05\x01\x00x"`,
		"\x04MQTT":                              `not an HTTP request: "\x04MQTT"`,
	} {
		t.Run(first, func(t *testing.T) {
			c := r.dialProxy()
			c.t = t
			c.send(first)
			c.wantAnswer(400, why+"\n")
		})
	}
	r.stop()
	evs, _ := r.snapshot(0)
	for _, ev := range evs {
		if ev.Kind == decode.KindEnd && ev.Dir == decode.FromClient && (ev.How != decode.EndLocal || ev.Text == "") {
			t.Errorf("session %d: got end %v %q, want the reason", ev.Conn, ev.How, ev.Text)
		}
	}
}

// A browser that opens the proxy learns what it is.
func TestPage(t *testing.T) {
	r := newRig(t, inForward)
	for _, target := range []string{"/", "/favicon.ico", "http://" + r.addr + "/", "http://" + strings.Replace(r.addr, "127.0.0.1", "localhost", 1)} {
		c := r.dialProxy()
		c.send("GET " + target + " HTTP/1.1\r\nHost: " + r.addr + "\r\n\r\n")
		page, err := c.rest()
		if !strings.HasPrefix(page, "HTTP/1.1 200 OK\r\nContent-Type: text/html") || !strings.Contains(page, "http://"+r.addr+" is an HTTP proxy") || err != io.EOF {
			t.Errorf("%s: got %q, %v, want the page", target, page, err)
		}
	}
	if evs, _ := r.snapshot(0); len(evs) > 0 {
		t.Errorf("got events\n%s\nwant none", transcript(evs))
	}
}

// A client that takes the proxy for the server of a WebSocket is told, and so is
// its user.
func TestUpgradeToSelf(t *testing.T) {
	for _, target := range []string{"/chat", "ws://HOST/chat"} {
		r := newRig(t, inForward)
		c := r.dial()
		c.send(strings.Replace(upgradeRequest, "/chat", strings.Replace(target, "HOST", r.addr, 1), 1))
		c.wantAnswer(400, "this is an HTTP proxy, not the server of a WebSocket\n")
		r.wantStatus(t, 1, 400)
		r.wantReason(ReasonUpgradeToSelf)
	}
}

// also has the proxy serve another listener.
func (r *rig) also(l net.Listener) {
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- r.p.Serve(ctx, l) }()
	r.t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			r.t.Errorf("Serve: got %v, want nil", err)
		}
	})
}

// A request that comes back to the proxy is refused, however it got there.
func TestLoop(t *testing.T) {
	const why = "loop: the request came from this proxy\n"
	t.Run("reverse", func(t *testing.T) {
		l := listen(t)
		r := newRig(t, inReverse, func(p *Proxy) { p.Upstream = &url.URL{Scheme: "http", Host: l.Addr().String()} })
		r.also(l)
		for i, first := range []string{get, upgradeRequest, "\x00\x01", "NICK x\r\n"} {
			c := r.dial()
			c.send(first)
			c.wantAnswer(508, why)
			c.Close()
			r.wait(t, int64(2*i+1), "closed")
			r.wait(t, int64(2*i+2), "closed")
		}
		r.stop()
		if n := r.p.sessions.Load(); n != 8 {
			t.Errorf("got %d sessions, want two for each loop", n)
		}
	})
	t.Run("forward", func(t *testing.T) {
		r := newRig(t, inForward)
		_, port, _ := net.SplitHostPort(r.addr)
		c := r.dial()
		c.send("GET http://0.0.0.0:" + port + "/ HTTP/1.1\r\nHost: a\r\n\r\n") // not known to be the proxy
		c.wantAnswer(508, why)
	})
	t.Run("connect", func(t *testing.T) {
		r := newRig(t, inForward)
		_, port, _ := net.SplitHostPort(r.addr)
		self := "0.0.0.0:" + port // not known to be the proxy
		for _, first := range []string{get, "GET http://a.test/ HTTP/1.1\r\n\r\n", "CONNECT " + self + " HTTP/1.1\r\n\r\n"} {
			c := r.dial()
			c.connect(self)
			c.send(first)
			c.wantAnswer(508, why)
		}
	})
}

// A CONNECT to the proxy itself is refused.
func TestConnectToSelf(t *testing.T) {
	r := newRig(t, inForward)
	c := r.dial()
	c.send("CONNECT " + r.addr + " HTTP/1.1\r\nHost: a\r\n\r\n")
	c.wantAnswer(400, "CONNECT to the proxy itself\n")
	r.wantStatus(t, 1, 400)
}

// A client may name a server whose port is not to be had.
func TestServerPorts(t *testing.T) {
	r := newRig(t, inForward)
	for _, x := range []struct {
		target string
		status int
		why    string
	}{
		{"http://127.0.0.1:99999/", 400, `target "http://127.0.0.1:99999/" has no valid port`},
		{"http://127.0.0.1:0/", 400, `target "http://127.0.0.1:0/" has no valid port`},
		{"http://127.0.0.1:" + strconv.Itoa(closedPort(t)) + "/", 502, `connection refused`},
	} {
		c := r.dialProxy()
		c.send("GET " + x.target + " HTTP/1.1\r\nHost: a\r\n\r\n")
		got, _ := c.rest()
		if !strings.HasPrefix(got, fmt.Sprintf("HTTP/1.1 %d ", x.status)) || !strings.HasSuffix(got, x.why+"\n") {
			t.Errorf("%s: got %q, want %d %s", x.target, got, x.status, x.why)
		}
	}
	for target, want := range map[string]string{
		"http://a.test/": "a.test:80", "http://a.test:/": "a.test:80", "ws://[::1]/": "[::1]:80", "ws://[::1]:/": "[::1]:80", "ws://a.test:81": "a.test:81",
	} {
		h, err := decode.ParseRequest("GET " + target + " HTTP/1.1\r\n\r\n")
		if err != nil {
			t.Fatal(err)
		}
		if got, err := new(Proxy).forward(h); got.addr != want || err != nil {
			t.Errorf("%s: got %q, %v, want %q", target, got.addr, err, want)
		}
	}
}

// closedPort returns a port where nobody listens.
func closedPort(t *testing.T) int {
	l := listen(t)
	l.Close()
	return l.Addr().(*net.TCPAddr).Port
}
