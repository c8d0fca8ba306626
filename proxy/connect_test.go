package proxy

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// The server is dialled before the client is told that there is a tunnel.
func TestConnectDialsFirst(t *testing.T) {
	r := newRig(t, inTunnel, func(p *Proxy) { p.DialTimeout = 300 * time.Millisecond })
	refused, silent := fmt.Sprintf("127.0.0.1:%d", closedPort(t)), deaf(t)
	for _, x := range []struct {
		addr, why string
		status    int
		how       decode.End
	}{
		{refused, "connection refused", 502, decode.EndLocal},
		{silent, "timed out", 504, decode.EndTimeout},
	} {
		c := r.dialProxy()
		c.send("CONNECT " + x.addr + " HTTP/1.1\r\n\r\n" + get)
		why := fmt.Sprintf("dial upstream %q: %s", x.addr, x.why)
		c.wantAnswer(x.status, why+"\n")
		conn := r.p.sessions.Load()
		r.wantLines(t, conn, "open", fmt.Sprintf("< end %s: %s", x.how, why), "> end local")
		evs, _ := r.snapshot(conn)
		if info := evs[0].Info; info.Server != x.addr || info.Via != "connect" {
			t.Errorf("got %+v, want where the tunnel should go", info)
		}
	}
}

// The CONNECT and what follows may come in any segments.
func TestConnectSegments(t *testing.T) {
	r := newRig(t, inTunnel)
	connect := "CONNECT " + r.host() + " HTTP/1.1\r\nHost: " + r.host() + "\r\nProxy-Connection: x\r\n\r\n"
	for name, size := range map[string]int{"one": 1 << 20, "bytes": 1, "pieces": len(connect) + 3} {
		t.Run(name, func(t *testing.T) {
			c := r.dialProxy()
			for all := connect + upgradeRequest + masked("early"); all != ""; {
				n := min(size, len(all))
				c.send(all[:n])
				all = all[n:]
			}
			c.want("the answer to CONNECT", connected)
			s := r.accept()
			s.want("the request and a frame", upgradeRequest+masked("early"))
			answer(c, s, switching)
		})
	}
}

// What is no HTTP is relayed unread, at once.
func TestOpaqueTunnels(t *testing.T) {
	for name, x := range map[string]struct{ first, why string }{
		"IRC":         {"NICK x\r\n", "not HTTP"},
		"SSH":         {"SSH-", "not HTTP"},
		"binary":      {"\x00", "not HTTP"},
		"lower case":  {"get / HTTP/1.1\r\n", "not HTTP"},
		"HTTP/2":      {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "HTTP/2"},
		"long method": {"ABCDEFGHIJKLMNOPQRSTU", "not HTTP"},
		"TLS":         {"\x16", "TLS, not intercepted"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inTunnel)
			c := r.dial()
			s := r.accept()
			for b := range strings.SplitSeq(x.first, "") {
				c.send(b)
			}
			s.want("the client's first bytes", x.first)
			s.send("\x00\xff")
			c.want("the server's", "\x00\xff")
			c.closeWrite()
			s.wantEnd("the client ends", decode.EndFIN)
			s.send("still here")
			s.Close()
			c.wantRest("the other direction", "still here", decode.EndFIN)
			r.wantLines(t, 1, "open", "> opaque: "+x.why, "> end fin", "< end fin")
			evs, _ := r.snapshot(1)
			if n := evs[len(evs)-1].Totals.Bytes; n != [2]int64{int64(len(x.first)), 12} {
				t.Errorf("got %v bytes, want %d and 12", n, len(x.first))
			}
		})
	}
}

// A server that does not wait for the client makes the tunnel opaque.
func TestServerSpeaksFirst(t *testing.T) {
	for _, held := range []string{"", "GE", "\r\n", "GET / HTTP/1.1\r\nHost"} {
		t.Run(held, func(t *testing.T) {
			r := newRig(t, inTunnel)
			c := r.dial()
			c.send(held)
			s := r.accept()
			s.send("220 ready\r\n")
			c.want("the greeting", "220 ready\r\n")
			s.want("what was held", held)
			c.send("HELO a\r\n")
			s.want("the client's answer", "HELO a\r\n")
			s.send("250 hello\r\n")
			c.want("the server's", "250 hello\r\n")
			c.Close()
			s.wantEnd("the client ends", decode.EndFIN)
			s.Close()
			r.wantLines(t, 1, "open", "< opaque: server speaks first", "> end fin", "< end fin")
		})
	}
}

// Whichever of the greeting and the request comes first, both are relayed.
func TestServerSpeaksWithTheRequest(t *testing.T) {
	r := newRig(t, inTunnel)
	for i := range 200 {
		c := r.dial()
		s := r.accept()
		greeting, request := "220 ready\r\n", "POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\n"
		if i%2 == 1 {
			greeting = "HTTP/1.1 100 Continue\r\n\r\n"
		}
		sent := s.sendMeanwhile(greeting)
		c.send(request)
		<-sent
		c.want("the greeting", greeting)
		c.send("abcdef")
		s.want("the request and its body", request+"abcdef")
		s.send(nothing)
		c.want("the answer", nothing)
		c.Close()
		s.Close()
		r.wait(t, int64(i+1), "closed")
	}
}

// One side may end before a byte was sent, and the other go on.
func TestTunnelEndsFirst(t *testing.T) {
	t.Run("client", func(t *testing.T) {
		r := newRig(t, inTunnel)
		c := r.dial()
		s := r.accept()
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		s.send("the time is 7\r\n")
		s.Close()
		c.wantRest("the server's only word", "the time is 7\r\n", decode.EndFIN)
		r.wantLines(t, 1, "open", "> opaque: client ends first", "> end fin", "< end fin")
	})
	t.Run("client, in a head", func(t *testing.T) {
		r := newRig(t, inTunnel)
		c := r.dial()
		s := r.accept()
		c.send("GET / HT")
		c.closeWrite()
		s.wantRest("what there is of it", "GET / HT", decode.EndFIN)
		s.Close()
		c.wantEnd("the server ends", decode.EndFIN)
		r.wantLines(t, 1, "open", "> opaque: not HTTP", "> end fin", "< end fin")
	})
	t.Run("server", func(t *testing.T) {
		r := newRig(t, inTunnel)
		c := r.dial()
		s := r.accept()
		s.closeWrite()
		c.wantEnd("the server ends", decode.EndFIN)
		c.send(get)
		s.want("what the client says to it", get)
		r.wantLines(t, 1, "open", "> GET /", "< end fin", "> end local")
		c.Close()
		s.wantEnd("the client ends", decode.EndFIN)
	})
	t.Run("server, then client", func(t *testing.T) {
		r := newRig(t, inTunnel)
		c := r.dial()
		s := r.accept()
		s.closeWrite()
		c.wantEnd("the server ends", decode.EndFIN)
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		r.wantLines(t, 1, "open", "< opaque: server ends first", "< end fin", "> end fin")
	})
	t.Run("server, client is no HTTP", func(t *testing.T) {
		r := newRig(t, inTunnel)
		c := r.dial()
		s := r.accept()
		s.closeWrite()
		c.wantEnd("the server ends", decode.EndFIN)
		c.send("QUIT\r\n")
		s.want("what the client says to it", "QUIT\r\n")
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		r.wantLines(t, 1, "open", "> opaque: not HTTP", "< end fin", "> end fin")
	})
	for _, who := range []string{"client", "server"} {
		t.Run(who+" resets", func(t *testing.T) {
			r := newRig(t, inTunnel)
			c := r.dial()
			s := r.accept()
			if who == "client" {
				c.reset()
				s.wantEnd("the client resets", decode.EndRST)
				r.wantEnds(t, 1, decode.EndRST, decode.EndLocal)
			} else {
				s.reset()
				c.wantEnd("the server resets", decode.EndRST)
				r.wantEnds(t, 1, decode.EndLocal, decode.EndRST)
			}
		})
	}
}

// TLS that is not looked into is relayed from end to end.
func TestTLSInTunnel(t *testing.T) {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.NewResponseController(w).EnableFullDuplex()
		io.Copy(w, req.Body)
	}))
	t.Cleanup(srv.Close)
	r := newRig(t, inForward)
	client := srv.Client()
	client.Transport.(*http.Transport).Proxy = func(*http.Request) (*url.URL, error) { return &url.URL{Scheme: "http", Host: r.addr}, nil }
	body := strings.Repeat("hello ", 100000)
	for range 3 {
		res, err := client.Post(srv.URL, "text/plain", strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := io.ReadAll(res.Body); string(b) != body || err != nil || res.TLS.PeerCertificates[0] == nil || !res.TLS.PeerCertificates[0].Equal(srv.Certificate()) {
			t.Errorf("got %d bytes, %v, want the echo and the server's own certificate", len(b), err)
		}
		res.Body.Close()
	}
	client.CloseIdleConnections()
	r.wait(t, 1, "> opaque: TLS, not intercepted")
	r.wait(t, 1, "closed")
	r.stop()
	if n := r.p.sessions.Load(); n != 1 {
		t.Errorf("got %d sessions, want 1", n)
	}
}

// A request in a tunnel that can't be relayed is answered inside of it.
func TestRefusalInTunnel(t *testing.T) {
	r := newRig(t, inTunnel, func(p *Proxy) { p.MaxHead = 200 })
	c := r.dial()
	s := r.accept()
	c.send("GET / HTTP/1.1\r\nX: " + strings.Repeat("x", 200))
	c.wantAnswer(431, "request head is longer than 200 bytes\n")
	s.wantEnd("the tunnel ends", decode.EndFIN)
	c.Close()

	other, err := net.Dial("tcp", r.addr) // the proxy is well
	if err != nil {
		t.Fatal(err)
	}
	c = newPeer(t, "client", other)
	c.connect(r.host())
}

// A client of a server's own may spell GET as it likes.
func TestGetInAnyCase(t *testing.T) {
	r := newRig(t, inReverse)
	c := r.dial()
	request := strings.Replace(upgradeRequest, "GET", "Get", 1)
	c.send(request)
	s := r.accept()
	s.want("the request", request)
	answer(c, s, switching)
	c.send(masked("hello"))
	s.want("a frame", masked("hello"))
	r.wait(t, 1, "> text 5")
}
