package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// serveDirect hands p each connection to l as one that wanted to go to the origin.
func (r *rig) serveDirect(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return nil
		}
		wg.Go(func() {
			to, err := net.Dial("tcp", r.host())
			if err != nil {
				c.Close()
				return
			}
			r.p.ServeConn(ctx, c, Target{Addr: r.host(), Conn: to, PID: 1234, Process: "client"})
		})
	}
}

// A session says whose it is.
func TestDirectInfo(t *testing.T) {
	r := newRig(t, inDirect)
	r.upgrade()
	evs, _ := r.snapshot(1)
	info := *evs[0].Info
	want := decode.Info{Conn: 1, Time: info.Time, Client: info.Client, Server: r.host(), URL: "ws://example.test/chat", Via: "direct", PID: 1234, Process: "client"}
	if info != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
	r.stop()
	if len(r.p.ours) > 0 {
		t.Errorf("got %v, want all upstream connections forgotten", r.p.ours)
	}
}

// relayed checks that both ends of a connection have got what the other sent.
func (r *rig) relayed(c, s *peer) {
	r.t.Helper()
	c.closeWrite()
	s.wantEnd("the client ends", decode.EndFIN)
	s.closeWrite()
	c.wantEnd("the server ends", decode.EndFIN)
	wantSame(r.t, c, s)
}

// Requests go through as they are, whatever they ask for.
func TestDirectEditsNothing(t *testing.T) {
	for _, x := range []struct{ request, url string }{
		{"GET /a HTTP/1.1\r\nHost: b.test:81\r\n\r\n", "http://b.test:81/a"},
		{"GET /a HTTP/1.1\r\nHost: [::1]:81\r\n\r\n", "http://[::1]:81/a"},
		{"GET /a HTTP/1.1\r\nhost:b.test\r\nProxy-Connection: x\r\n\r\n", "http://b.test/a"},
		{"GET /a HTTP/1.1\r\nHost: b.test\r\nHost: c.test\r\n\r\n", "http://ORIGIN/a"},
		{"GET /a HTTP/1.1\r\nHost: b/c\r\n\r\n", "http://ORIGIN/a"},
		{"GET /a HTTP/1.1\r\nHost: u@b\r\n\r\n", "http://ORIGIN/a"},
		{"GET /a HTTP/1.1\r\nHost: b:c\r\n\r\n", "http://ORIGIN/a"},
		{"GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "http://ORIGIN/a"},
		{"GET http://b.test/a HTTP/1.1\r\nHost: c.test\r\nProxy-Authorization: x\r\n\r\n", "http://b.test/a"},
		{"GET /a HTTP/1.1\r\nHost: b.test\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: x\r\n\r\n", "http://b.test/a"},
		{upgradeRequest, "ws://example.test/chat"},
	} {
		r := newRig(t, inDirect)
		c, s := r.ask(x.request)
		answer(c, s, nothing)
		want := strings.Replace(x.url, "ORIGIN", r.host(), 1)
		if evs, _ := r.snapshot(1); evs[0].Info.URL != want {
			t.Errorf("%q: got URL %q, want %q", x.request, evs[0].Info.URL, want)
		}
		r.relayed(c, s)
	}
}

// What follows an upgrade to HTTP/2 is relayed unread.
func TestDirectH2C(t *testing.T) {
	r := newRig(t, inDirect)
	c, s := r.ask("GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	answer(c, s, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	c.send("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	s.want("the preface", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	s.send("\x00\x00\x00\x04")
	c.want("a frame", "\x00\x00\x00\x04")
	r.relayed(c, s)
	r.wait(t, 1, "< opaque: upgraded to h2c")
}

// A head that is too long for us is not for us to judge.
func TestDirectLongHeads(t *testing.T) {
	long := "X: " + strings.Repeat("x", 300) + "\r\n\r\n"
	limit := func(p *Proxy) { p.MaxHead = 200 }
	r := newRig(t, inDirect, limit)
	c := r.dial()
	s := r.accept()
	c.send("GET / HTTP/1.1\r\n" + long)
	s.want("the request", "GET / HTTP/1.1\r\n"+long)
	r.relayed(c, s)
	r.wait(t, 1, "> opaque: request head is longer than 200 bytes")

	r = newRig(t, inDirect, limit)
	c, s = r.ask(getRequest)
	answer(c, s, "HTTP/1.1 200 OK\r\n"+long)
	r.relayed(c, s)
}

// A server that has ended is not dialled again.
func TestDirectServerGone(t *testing.T) {
	r := newRig(t, inDirect)
	c, s := r.ask(getRequest)
	answer(c, s, nothing)
	s.Close()
	c.wantEnd("the server ends", decode.EndFIN)
	c.Close()
	r.stop()
}

// proxied plays a proxy of the client's own, up to its answer to a CONNECT.
func (r *rig) proxied(early, answer string) (c, s *peer) {
	r.t.Helper()
	connect := "CONNECT b.test:443 HTTP/1.1\r\nHost: b.test:443\r\nProxy-Authorization: Basic x\r\n\r\n"
	c = r.dialProxy()
	s = r.accept()
	c.send(connect + early)
	s.want("the CONNECT", connect)
	s.send(answer)
	c.want("the answer", answer)
	return c, s
}

// The tunnel that a client opens through a proxy of its own is looked into.
func TestDirectConnect(t *testing.T) {
	const opened = "HTTP/1.1 201 Fine\r\nContent-Length: 10\r\nX: y\r\n\r\n"
	wantTunnel := func(r *rig, conn int64, url string) {
		r.t.Helper()
		r.wait(r.t, conn, "open")
		evs, _ := r.snapshot(conn)
		if i := evs[0].Info; i.Server != "b.test:443" || i.URL != url || i.Via != "direct" || i.PID != 1234 {
			r.t.Errorf("got %+v, want the tunnel's %q", i, url)
		}
	}
	t.Run("HTTP", func(t *testing.T) {
		r := newRig(t, inDirect)
		c, s := r.proxied("", opened)
		for range 2 {
			c.send(getRequest)
			s.want("the request", getRequest)
			answer(c, s, nothing)
		}
		r.relayed(c, s)
		r.wantLines(t, 1, "open", "> CONNECT b.test:443", "< 201")
		wantTunnel(r, 2, "http://a/")
		wantTunnel(r, 3, "http://a/")
	})
	t.Run("early request", func(t *testing.T) {
		r := newRig(t, inDirect)
		c, s := r.proxied(upgradeRequest, opened)
		s.want("the request", upgradeRequest)
		answer(c, s, switching)
		r.relayed(c, s)
		r.wait(t, 2, "< 101")
	})
	t.Run("server first", func(t *testing.T) {
		r := newRig(t, inDirect)
		c, s := r.proxied("", opened+"220 ready\r\n")
		c.send("QUIT\r\n")
		s.want("the client's", "QUIT\r\n")
		r.relayed(c, s)
		wantTunnel(r, 2, "b.test:443")
		r.wait(t, 2, "< opaque: server speaks first")
	})
	t.Run("client ends", func(t *testing.T) {
		r := newRig(t, inDirect)
		connect := "CONNECT b.test:443 HTTP/1.1\r\n\r\n"
		c := r.dialProxy()
		s := r.accept()
		c.send(connect)
		c.closeWrite()
		s.wantRest("the CONNECT", connect, decode.EndFIN)
		s.send(opened + "bye")
		s.Close()
		c.wantRest("the rest", opened+"bye", decode.EndFIN)
	})
	t.Run("407", func(t *testing.T) {
		r := newRig(t, inDirect)
		c, s := r.proxied("", "HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM\r\nContent-Length: 2\r\n\r\nno")
		for _, answer := range []string{"HTTP/1.1 407 Who\r\nProxy-Authenticate: NTLM x\r\nContent-Length: 0\r\n\r\n", opened} {
			c.send("CONNECT b.test:443 HTTP/1.1\r\nProxy-Authorization: NTLM y\r\n\r\n")
			s.want("the CONNECT", "CONNECT b.test:443 HTTP/1.1\r\nProxy-Authorization: NTLM y\r\n\r\n")
			s.send(answer)
			c.want("the answer", answer)
		}
		c.send(getRequest)
		s.want("the request", getRequest)
		answer(c, s, nothing)
		r.relayed(c, s)
		wantTunnel(r, 4, "http://a/")
	})
	t.Run("to nowhere", func(t *testing.T) {
		r := newRig(t, inDirect)
		c := r.dialProxy()
		s := r.accept()
		c.send("CONNECT b.test HTTP/1.1\r\n\r\n")
		s.want("the CONNECT", "CONNECT b.test HTTP/1.1\r\n\r\n")
		answer(c, s, opened)
		c.send("\x00")
		s.want("a byte", "\x00")
		r.relayed(c, s)
	})
	t.Run("TLS", func(t *testing.T) {
		r := newRig(t, inDirect, intercepts)
		c, s := r.proxied("", opened)
		r.begun(c, s)
		wantTunnel(r, 2, "https://example.test/")
	})
	t.Run("TLS in TLS", func(t *testing.T) {
		r := newRig(t, inTLSDirect, trustAny)
		connect := "CONNECT b.test:443 HTTP/1.1\r\n\r\n"
		c := r.dial()
		c.send(connect)
		s := r.accept()
		s.want("the CONNECT", connect)
		answer(c, s, opened)
		inner := tls.Client(c.Conn, example())
		asked := make(chan error, 1)
		go func() { _, err := inner.Write([]byte(getRequest)); asked <- err }()
		server := tls.Server(s.Conn, r.config())
		b := make([]byte, len(getRequest))
		if _, err := io.ReadFull(server, b); err != nil || string(b) != getRequest {
			t.Fatalf("got %q, %v, want the request", b, err)
		}
		if err := <-asked; err != nil {
			t.Fatal(err)
		}
		server.Write([]byte(nothing))
		b = make([]byte, len(nothing))
		if _, err := io.ReadFull(inner, b); err != nil || string(b) != nothing {
			t.Errorf("got %q, %v, want the answer", b, err)
		}
		inner.Close()
		wantTunnel(r, 2, "https://example.test/")
	})
}

// A client that leaves a tunnel in plain, right after TLS with its own proxy, refuses
// no certificate.
func TestDirectConnectInTLS(t *testing.T) {
	r := newRig(t, inTLSDirect)
	connect, opened := "CONNECT b.test:80 HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\n\r\n"
	c := r.dial()
	c.send(connect)
	s := r.accept()
	s.want("the CONNECT", connect)
	answer(c, s, opened)
	c.closeWrite()
	s.wantEnd("the client ends", decode.EndFIN)
	s.Close()
	r.wait(t, 2, "closed")
	r.wantReason("")
}

// The name that a client asks for in a tunnel may be one to pass, too.
func TestPassByName(t *testing.T) {
	r := newRig(t, inTLSTunnel, func(p *Proxy) { p.Pass = func(host string) bool { return host == "example.test" } })
	config := example()
	config.InsecureSkipVerify = true
	c := r.dialTLS(config)
	go c.tls().Handshake()
	r.accept().send("hello")
	c.want("the server's bytes", "hello")
	r.wait(t, 1, "> opaque: TLS, not intercepted")
}

// intercepts has the proxy look into TLS, with any server.
func intercepts(p *Proxy) {
	p.Authority = authority()
	p.UpstreamTLS = trusting(authority().Certificate())
	p.UpstreamTLS.InsecureSkipVerify = true
}

// begun has c and s speak TLS, and asks and answers.
func (r *rig) begun(c, s *peer) {
	r.t.Helper()
	client := tls.Client(c.Conn, example())
	done := make(chan error, 1)
	go func() { _, err := client.Write([]byte(getRequest)); done <- err }()
	server := tls.Server(s.Conn, &tls.Config{GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return authority().Leaf("example.test") }})
	b := make([]byte, len(getRequest))
	if _, err := io.ReadFull(server, b); err != nil || string(b) != getRequest {
		r.t.Fatalf("got %q, %v, want the request", b, err)
	}
	if err := <-done; err != nil {
		r.t.Fatal(err)
	}
	client.Close()
}

// What a client and its SOCKS proxy agree on opens a tunnel, however it is cut.
func TestDirectSOCKS(t *testing.T) {
	const (
		named  = "\x05\x01\x00\x03\x06b.test\x01\xbb"
		reply  = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
		asked4 = "\x04\x01\x01\xbb\x00\x00\x00\x01me\x00b.test\x00"
	)
	for name, turns := range map[string][]string{
		"5":         {"\x05\x01\x00", "\x05\x00", named, reply},
		"5, secret": {"\x05\x02\x00\x02", "\x05\x02", "\x01\x01u\x01p", "\x01\x00", named, reply},
		"4a":        {asked4, "\x00\x5a\x00\x00\x00\x00\x00\x00"},
	} {
		for how, size := range map[string]int{"whole": 1000, "bytes": 1} {
			t.Run(name+", "+how, func(t *testing.T) {
				r := newRig(t, inDirect)
				c := r.dialProxy()
				s := r.accept()
				for i, turn := range turns {
					from, to := c, s
					if i%2 == 1 {
						from, to = s, c
					}
					for part := range slices.Chunk([]byte(turn), size) {
						from.send(string(part))
					}
					to.want("a turn", turn)
				}
				c.send(getRequest)
				s.want("the request", getRequest)
				answer(c, s, nothing)
				r.relayed(c, s)
				r.wait(t, 1, "> opaque: SOCKS "+name[:1])
				evs, _ := r.snapshot(2)
				if i := evs[0].Info; i.Server != "b.test:443" || i.URL != "http://a/" {
					t.Errorf("got %+v, want the tunnel's", i)
				}
			})
		}
	}
	t.Run("pipelined", func(t *testing.T) {
		r := newRig(t, inDirect)
		c := r.dialProxy()
		s := r.accept()
		c.send("\x05\x01\x00" + named + getRequest)
		s.want("the methods", "\x05\x01\x00")
		s.send("\x05\x00")
		s.want("the request", named)
		s.send(reply)
		s.want("the request in the tunnel", getRequest)
		s.send(nothing)
		c.want("all", "\x05\x00"+reply+nothing)
		r.relayed(c, s)
	})
}

// What is not SOCKS to its end is relayed unread.
func TestDirectNoSOCKS(t *testing.T) {
	for name, turns := range map[string][]string{
		"refused":       {"\x05\x01\x00", "\x05\xff"},
		"other reply":   {"\x05\x01\x00", "hello"},
		"BIND":          {"\x05\x01\x00", "\x05\x00", "\x05\x02\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00"},
		"UDP":           {"\x05\x01\x00", "\x05\x00", "\x05\x03\x00\x01\x00\x00\x00\x00\x00\x00", "\x05\x00"},
		"other request": {"\x05\x01\x00", "\x05\x00", "GET", "x"},
		"no route":      {"\x05\x01\x00", "\x05\x00", "\x05\x01\x00\x03\x01a\x00\x50", "\x05\x04\x00\x01"},
		"Cassandra":     {"\x05\x00\x00\x00\x05\x00\x00\x00\x00", "\x85"},
		"BIND 4":        {"\x04\x02\x00\x50\x00\x00\x00\x00\x00", "\x00"},
		"cut off":       {"\x05\x02\x00", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inDirect)
			c := r.dialProxy()
			s := r.accept()
			for i, turn := range turns {
				from, to := c, s
				if i%2 == 1 {
					from, to = s, c
				}
				from.send(turn)
				if name != "cut off" {
					to.want("a turn", turn)
				}
			}
			c.send("\x00\xff")
			c.closeWrite()
			rest := "\x00\xff"
			if name == "cut off" {
				rest = turns[0] + rest
			}
			s.wantRest("the rest", rest, decode.EndFIN)
			s.send("\x01")
			s.Close()
			c.wantRest("the server's rest", "\x01", decode.EndFIN)
			r.wait(t, 1, "closed")
			if n := r.p.sessions.Load(); n != 1 {
				t.Errorf("got %d sessions, want 1", n)
			}
			wantSame(t, c, s)
		})
	}
}

// TLS passes unread where the client could not be served, and has its name.
func TestDirectTLSUnread(t *testing.T) {
	named := func(protos ...string) *tls.Config {
		return &tls.Config{ServerName: "example.test", NextProtos: protos, InsecureSkipVerify: true}
	}
	for _, tt := range []struct {
		name   string
		config *tls.Config
		set    func(*Proxy)
		why    string
	}{
		{"no authority", named(), func(p *Proxy) { p.Authority = nil }, "TLS, not intercepted"},
		{"pass", named(), func(p *Proxy) { p.Pass = func(host string) bool { return host == "example.test" } }, "TLS, not intercepted"},
		{"only", named(), func(p *Proxy) { p.Only = func(host string) bool { return host != "example.test" } }, "TLS, not intercepted"},
		{"h2", named("h2"), intercepts, "TLS, which offers only h2"},
		{"other protocols", named("imap", "xmpp-client"), intercepts, "TLS, which offers only imap, xmpp-client"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, inDirect, intercepts, tt.set)
			c := r.dialProxy()
			s := r.accept()
			own := newIssuer(t).issue(func(c *x509.Certificate) { c.Subject.CommonName = "the server itself" })
			client := tls.Client(c.Conn, tt.config)
			go tls.Server(s.Conn, &tls.Config{Certificates: []tls.Certificate{*own}, NextProtos: tt.config.NextProtos}).Handshake()
			if err := client.Handshake(); err != nil {
				t.Fatal(err)
			}
			if got := client.ConnectionState().PeerCertificates[0].Subject.CommonName; got != "the server itself" {
				t.Errorf("got a certificate of %q, want the server's own", got)
			}
			r.wait(t, 1, "> opaque: "+tt.why)
			_, port, _ := net.SplitHostPort(r.host())
			if evs, _ := r.snapshot(1); evs[0].Info.URL != "example.test:"+port || evs[0].Info.Server != r.host() {
				t.Errorf("got %+v, want the name", evs[0].Info)
			}
		})
	}
	for name, first := range map[string]string{"no hello": "\x16\x03\x01\x00\x01\x02", "old": "\x16\x03\x00\x00\x04\x01\x00\x00\x00"} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inDirect, intercepts)
			c := r.dialProxy()
			s := r.accept()
			c.send(first)
			s.want("the client's", first)
			r.relayed(c, s)
			r.wait(t, 1, "> opaque: TLS, not intercepted")
		})
	}
}

// A server that does not wait for TLS gets it as it is.
func TestDirectServerBeforeTLS(t *testing.T) {
	r := newRig(t, inDirect, intercepts)
	c := r.dialProxy()
	s := r.accept()
	c.send("\x16\x03\x01")
	s.send("220 ready\r\n")
	c.want("the greeting", "220 ready\r\n")
	s.want("the client's", "\x16\x03\x01")
	r.relayed(c, s)
	r.wait(t, 1, "< opaque: server speaks first")
}

// A process that refuses our certificate is asked no second time.
func TestDirectRefusal(t *testing.T) {
	r := newRig(t, inTLSDirect, trustAny)
	go r.acceptAll(swallow)
	refuse := func() error {
		return r.dialTLS(&tls.Config{ServerName: "example.test", RootCAs: x509.NewCertPool()}).tls().Handshake()
	}
	refuse()
	r.wait(t, 1, "closed")
	for conn := range int64(2) { // now it is the server's
		refuse()
		r.wait(t, conn+2, "> opaque: TLS, not intercepted, as the client does not trust us")
	}
	const line = "client[1234] does not trust our certificate authority: its further connections with example.test pass unread"
	if log := r.log.String(); strings.Count(log, line) != 1 || !strings.Contains(log, "pid=1234 process=client host=example.test") {
		t.Errorf("got log\n%s\nwant once: %s", log, line)
	}
	r.wantReason(ReasonUntrustedAuthority)

	config := example()
	config.ServerName = "other.test"
	c := r.dialTLS(config) // another host
	if err := c.tls().Handshake(); err != nil {
		t.Error(err)
	}
	c.send(getRequest)
	r.wait(t, 4, "> GET /")
}

func TestTrust(t *testing.T) {
	var known trust
	at := func(pid int) clientAt { return clientAt{pid: pid, host: "a"} }
	known.took(at(1))
	if known.refused(at(1), false) || known.isRefused(at(1)) {
		t.Error("a client that has taken the certificate is taken for one that may not")
	}
	if !known.refused(at(1), true) || known.refused(at(1), true) || !known.isRefused(at(1)) {
		t.Error("a refusal is not new once")
	}
	for pid := range maxTrust { // a probe may have ended the first time
		if known.refused(at(2+pid), false) || !known.refused(at(2+pid), false) {
			t.Errorf("client %d seems to refuse the certificate when it has ended without a word once, or not twice", 2+pid)
		}
	}
	if n := len(known.known); n != maxTrust || known.isRefused(at(1)) || !known.isRefused(at(2)) {
		t.Errorf("got %d clients, want the latest %d", n, maxTrust)
	}
}
