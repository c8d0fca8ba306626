package proxy

import (
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

const getRequest = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"

// example returns a client's configuration with which it trusts us and asks for
// example.test.
func example() *tls.Config {
	config := trusting(authority().Certificate())
	config.ServerName = "example.test"
	return config
}

// dialBelow opens a client's connection on which TLS can begin.
func (r *rig) dialBelow() *endConn {
	r.t.Helper()
	c := r.dialProxy()
	if r.mode.tunnels() {
		c.connect(r.host())
	}
	return &endConn{TCPConn: c.Conn.(*net.TCPConn)}
}

// dialTLS opens a client's connection with a configuration of its own.
func (r *rig) dialTLS(config *tls.Config) *peer {
	r.t.Helper()
	below := r.dialBelow()
	return newPeer(r.t, "client", &secureConn{tls.Client(below, config), below})
}

// config returns the configuration of the origin.
func (r *rig) config() *tls.Config { return r.origin.(*secureListener).config }

func (p *peer) tls() *tls.Conn { return p.Conn.(*secureConn).Conn }

// eachTLS runs a test in both modes that intercept all TLS.
func eachTLS(t *testing.T, test func(t *testing.T, r *rig), set ...func(*Proxy)) {
	eachOf(t, []mode{inTLS, inTLSTunnel}, test, set...)
}

// eachTLSMode runs a test in all modes that intercept TLS.
func eachTLSMode(t *testing.T, test func(t *testing.T, r *rig), set ...func(*Proxy)) {
	eachOf(t, []mode{inTLS, inTLSTunnel, inTLSDirect}, test, set...)
}

func eachOf(t *testing.T, modes []mode, test func(t *testing.T, r *rig), set ...func(*Proxy)) {
	for _, m := range modes {
		t.Run(string(m), func(t *testing.T) { test(t, newRig(t, m, set...)) })
	}
}

// acceptAll has the server handle connections until it is closed.
func (r *rig) acceptAll(handle func(net.Conn)) {
	for {
		c, err := r.origin.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			handle(c)
		}()
	}
}

func swallow(c net.Conn) { io.Copy(io.Discard, c) }

// wantReason checks which reason was logged, once, if any was.
func (r *rig) wantReason(want Reason) {
	r.t.Helper()
	log, n := r.log.String(), 0
	if want != "" {
		n = 1
	}
	if strings.Count(log, ReasonKey+"=") != n || !strings.Contains(log, string(want)) {
		r.t.Errorf("got log\n%s\nwant one reason, %q", log, want)
	}
}

// TestServerNames has the names that our certificate, and our question to the
// server, are for.
func TestServerNames(t *testing.T) {
	tests := []struct {
		name   string
		mode   mode
		asked  string // what the client connects to
		origin string // host of the upstream, or of the tunnel
		sni    string // the name that the server is asked for
	}{
		{"tunnel", inTLSTunnel, "localhost", "localhost", "localhost"},
		{"tunnel to an address", inTLSTunnel, "127.0.0.1", "127.0.0.1", ""},
		{"tunnel to the address of a name", inTLSTunnel, "example.test", "127.0.0.1", "example.test"},
		{"reverse", inTLS, "localhost", "127.0.0.1", ""},
		{"reverse, any name", inTLS, "any.test", "localhost", "localhost"},
		{"reverse, by address", inTLS, "127.0.0.1", "localhost", "localhost"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			r := newRig(t, tt.mode, func(p *Proxy) {
				if p.Upstream != nil {
					p.Upstream.Host = net.JoinHostPort(tt.origin, p.Upstream.Port())
				}
			})
			var sni string
			r.config().GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) {
				sni = h.ServerName
				return authority().Leaf(cmp.Or(sni, "127.0.0.1"))
			}
			c := r.dialProxy()
			if tt.mode.tunnels() {
				_, port, _ := net.SplitHostPort(r.host())
				c.connect(net.JoinHostPort(tt.origin, port))
			}
			config := trusting(authority().Certificate())
			config.ServerName = tt.asked
			below := &endConn{TCPConn: c.Conn.(*net.TCPConn)}
			c.Conn = &secureConn{tls.Client(below, config), below}
			c.send(getRequest)
			r.accept().want("the request", getRequest)
			if sni != tt.sni {
				t.Errorf("got server name %q at the server, want %q", sni, tt.sni)
			}
			asked := tt.asked
			if net.ParseIP(asked) != nil {
				asked = "" // not in a ClientHello (RFC 6066 §3)
			}
			evs, _ := r.snapshot(1)
			client, server := decode.TLS{Version: "TLS1.3", SNI: asked}, decode.TLS{Version: "TLS1.3", SNI: tt.sni}
			for _, leg := range []struct{ got, want *decode.TLS }{{evs[0].Info.ClientTLS, &client}, {evs[0].Info.ServerTLS, &server}} {
				leg.want.Cipher = leg.got.Cipher // as the machine has it
				if *leg.got != *leg.want || !strings.HasPrefix(leg.got.Cipher, "TLS_") {
					t.Errorf("got %+v, want %+v", *leg.got, *leg.want)
				}
			}
		})
	}
}

// TestALPN asks the server for the protocol that the client has got, or for
// none.
func TestALPN(t *testing.T) {
	for _, tt := range []struct {
		offer []string
		want  string
	}{
		{nil, ""},
		{[]string{"http/1.1"}, "http/1.1"},
		{[]string{"h2", "http/1.1"}, "http/1.1"},
	} {
		eachTLSMode(t, func(t *testing.T, r *rig) {
			r.config().NextProtos = []string{"h2", "http/1.1"}
			config := example()
			config.NextProtos = tt.offer
			c := r.dialTLS(config)
			c.send(getRequest)
			s := r.accept()
			s.want("the request", getRequest)
			for _, p := range []*peer{c, s} {
				if got := p.tls().ConnectionState().NegotiatedProtocol; got != tt.want {
					t.Errorf("the client offers %q: got %q at the %s, want %q", tt.offer, got, p.name, tt.want)
				}
			}
		}, trustAny)
	}
}

// trustAny has the proxy trust whatever name the test's server has.
func trustAny(p *Proxy) { p.UpstreamTLS.InsecureSkipVerify = true }

func TestClientOfOtherProtocols(t *testing.T) {
	eachTLS(t, func(t *testing.T, r *rig) {
		config := example()
		config.NextProtos = []string{"h2", "h3"}
		if err := r.dialTLS(config).tls().Handshake(); err == nil || !strings.Contains(err.Error(), "no application protocol") {
			t.Errorf("got %v, want no application protocol", err)
		}
		r.wantLines(t, 1, "open", `> end local: TLS with the client for "example.test": it speaks only h2, h3, not http/1.1`, "< end local")
		r.wantReason(ReasonClientProtocol)
	})
}

// TestClientDoesNotTrustUs has clients that say so in the handshake, and
// clients that go away without a word.
func TestClientDoesNotTrustUs(t *testing.T) {
	anyway := func(end func(c *secureConn)) func(*testing.T, *endConn) {
		return func(t *testing.T, below *endConn) {
			c := &secureConn{tls.Client(below, example()), below}
			if err := c.Handshake(); err != nil {
				t.Fatal(err)
			}
			end(c)
		}
	}
	refuse := func(version uint16) func(*testing.T, *endConn) {
		return func(t *testing.T, below *endConn) {
			c := tls.Client(below, &tls.Config{ServerName: "example.test", RootCAs: x509.NewCertPool(), MaxVersion: version})
			if err := c.Handshake(); err == nil {
				t.Fatal("got no error, want one of an unknown authority")
			}
		}
	}
	const (
		flees  = `client closes the connection when it sees our certificate for "example.test"`
		leaves = `client closes the connection after the TLS handshake, without a request; our certificate is for "example.test"`
	)
	tests := []struct {
		name   string
		client func(*testing.T, *endConn)
		want   string
	}{
		{"TLS 1.3", refuse(tls.VersionTLS13), `> end local: client refuses our certificate for "example.test": bad certificate`},
		{"TLS 1.2", refuse(tls.VersionTLS12), `> end local: client refuses our certificate for "example.test": bad certificate`},
		{"TLS 1.3, in plain, as OpenSSL does", func(t *testing.T, below *endConn) {
			config := example()
			config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error {
				below.Write([]byte{21, 3, 3, 0, 2, 2, 48})
				return below.Close()
			}
			tls.Client(below, config).Handshake()
		}, `> end local: client refuses our certificate for "example.test": unknown certificate authority`},
		{"closes in the handshake", func(_ *testing.T, below *endConn) {
			config := example()
			config.VerifyPeerCertificate = func([][]byte, [][]*x509.Certificate) error { return below.Close() }
			tls.Client(below, config).Handshake()
		}, "> end fin: " + flees},
		{"closes after the handshake", anyway(func(c *secureConn) { c.Close() }), "> end fin: " + leaves},
		{"cuts after the handshake", anyway(func(c *secureConn) { c.below.Close() }), "> end tls-eof: " + leaves},
		{"resets after the handshake", anyway(func(c *secureConn) { c.below.SetLinger(0); c.below.Close() }), "> end rst: " + leaves},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				go r.acceptAll(swallow)
				for conn := range int64(2) {
					tt.client(t, r.dialBelow())
					r.wantLines(t, conn+1, "open", tt.want, "< end local")
				}
				r.wantReason(ReasonUntrustedAuthority)
			}, trustAny)
		})
	}
}

// Browsers connect ahead of need, and close what they did not need.
func TestClientWithoutNeed(t *testing.T) {
	k := &link{secure: true, clientTLS: new(decode.TLS), hello: &clientHello{answered: true, done: time.Now().Add(-2 * soon)}}
	if k.gone(io.EOF) {
		t.Error("a client that goes away after a while is taken for one that does not trust us")
	}
}

// TestClientHello has a handshake that comes in many segments, slowly or never
// to its end, and bytes that are none.
func TestClientHello(t *testing.T) {
	t.Run("many segments", func(t *testing.T) {
		eachTLSMode(t, func(t *testing.T, r *rig) {
			below := r.dialBelow()
			below.SetNoDelay(true)
			c := newPeer(t, "client", &secureConn{tls.Client(&byteByByte{below}, example()), below})
			c.send(getRequest)
			r.accept().want("the request", getRequest)
		}, trustAny)
	})
	for what, bytes := range map[string]string{
		"nothing but the first byte": "\x16",
		"the beginning":              "\x16\x03\x01\x02\x00\x01\x00",
	} {
		t.Run(what, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				c := newPeer(t, "client", r.dialBelow())
				c.Conn.Write([]byte(bytes))
				r.wantLines(t, 1, "open", "> end timeout: TLS with the client: handshake is not complete after 50ms", "< end local")
				c.wantEnd("the proxy gives up", decode.EndFIN)
			}, func(p *Proxy) { p.HandshakeTimeout = 50 * time.Millisecond })
			eachTLS(t, func(t *testing.T, r *rig) {
				c := newPeer(t, "client", r.dialBelow())
				c.Conn.Write([]byte(bytes))
				c.Close()
				r.wantLines(t, 1, "open", `> end fin: TLS with the client for "127.0.0.1": connection closed in the handshake`, "< end local")
				r.wantReason("")
			})
		})
	}
	for what, tt := range map[string]struct{ bytes, want string }{
		"garbage":                   {"\x16\x03\x01\x00\x04\x63\x00\x00\x00", "unexpected message"},
		"a record that is too long": {"\x16\x03\x01\xff\xffhello", "not TLS"},
		"no TLS after all":          {"\x16\x03\x01\x00\x01\x01GET / HTTP/1.1\r\n\r\n", "not TLS"},
	} {
		t.Run(what, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				c := newPeer(t, "client", r.dialBelow())
				c.Conn.Write([]byte(tt.bytes))
				r.wait(t, 1, "closed")
				evs, _ := r.snapshot(1)
				if got := lineOf(evs[1]); !strings.HasPrefix(got, `> end local: TLS with the client for "127.0.0.1": `) || !strings.Contains(got, tt.want) {
					t.Errorf("got %s, want %s", got, tt.want)
				}
				r.wantReason("")
			})
		})
	}
	t.Run("only its first byte", func(t *testing.T) {
		r := newRig(t, inTunnel, func(p *Proxy) { p.Authority = authority() })
		c := r.dial()
		c.send("\x16hello")
		r.accept().want("bytes that are not TLS", "\x16hello")
		r.wait(t, 1, "> opaque: not HTTP")
	})
}

// A byteByByte connection writes in segments of one byte.
type byteByByte struct{ net.Conn }

func (c *byteByByte) Write(b []byte) (int, error) {
	for i := range b {
		if _, err := c.Conn.Write(b[i : i+1]); err != nil {
			return i, err
		}
	}
	return len(b), nil
}

// TestCutTLS passes on an end without close_notify as such.
func TestCutTLS(t *testing.T) {
	eachTLS(t, func(t *testing.T, r *rig) {
		c, s := r.upgrade()
		c.send(masked("hello"))
		c.tcp().CloseWrite()
		s.wantRest("the client cuts", masked("hello"), decode.EndTLSEOF)
		s.send(text("still here"))
		c.want("a frame after the cut", text("still here"))
		s.tcp().Close()
		c.wantEnd("the server cuts", decode.EndTLSEOF)
		r.wantLines(t, 1, "open", "> GET /chat", "< 101", "> text 5", "> end tls-eof", "< text 10", "< end tls-eof")

		c, s = r.upgrade()
		s.send(text("hello"))
		s.tcp().CloseWrite()
		c.wantRest("the server cuts", text("hello"), decode.EndTLSEOF)
		c.Close()
		s.wantEnd("the client ends", decode.EndFIN)
		r.wantLines(t, 2, "open", "> GET /chat", "< 101", "< text 5", "< end tls-eof", "> end fin")
	})
}

// TestStopInTLS ends the proxy while handshakes are under way.
func TestStopInTLS(t *testing.T) {
	eachTLS(t, func(t *testing.T, r *rig) {
		c := newPeer(t, "client", r.dialBelow())
		c.Conn.Write([]byte("\x16\x03\x01\x02\x00"))
		if r.mode.tunnels() {
			r.accept()
		}
		r.stop()
		c.rest()
	})
	eachTLS(t, func(t *testing.T, r *rig) {
		c := r.dial()
		c.send(getRequest)
		s := newPeer(t, "server", r.accept().tcp())
		s.read(1)
		r.stop()
		s.rest()
	})
}

// An issuer makes certificates that are not as they should be.
type issuer struct {
	t    *testing.T
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// issue returns a certificate for 127.0.0.1, signed by i, or by itself if i has
// none, after change has changed it.
func (i issuer) issue(change func(*x509.Certificate)) *tls.Certificate {
	i.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		i.t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1),
		Subject:      pkix.Name{CommonName: "a test"},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(time.Hour),
		IPAddresses:  []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	change(template)
	parent, signer := i.cert, i.key
	if parent == nil {
		parent, signer = template, key
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, &key.PublicKey, signer)
	if err != nil {
		i.t.Fatal(err)
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		i.t.Fatal(err)
	}
	return &tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf}
}

// newIssuer returns an authority.
func newIssuer(t *testing.T) issuer {
	c := issuer{t: t}.issue(func(c *x509.Certificate) {
		c.Subject.CommonName, c.IsCA, c.BasicConstraintsValid = "Test Authority", true, true
		c.IPAddresses = nil
	})
	return issuer{t, c.Leaf, c.PrivateKey.(*ecdsa.PrivateKey)}
}

// TestUntrustedServers tells client and user what is wrong with a server.
func TestUntrustedServers(t *testing.T) {
	known, unknown := newIssuer(t), newIssuer(t)
	other := newIssuer(t).issue(func(*x509.Certificate) {})
	tests := []struct {
		name   string
		server func(*tls.Config)
		proxy  func(*tls.Config)
		want   string // UPSTREAM stands for "host:port", in quotes
		reason Reason
	}{
		{"expired", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{*known.issue(func(c *x509.Certificate) { c.NotAfter = time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) })}
		}, nil, "certificate of upstream UPSTREAM: expired on 2026-01-02 03:04:05", ReasonInvalidCertificate},
		{"not valid yet", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{*known.issue(func(c *x509.Certificate) { c.NotBefore = time.Date(2126, 1, 2, 3, 4, 5, 0, time.UTC) })}
		}, nil, "certificate of upstream UPSTREAM: not valid before 2126-01-02 03:04:05", ReasonInvalidCertificate},
		{"self-signed", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{*issuer{t: t}.issue(func(c *x509.Certificate) {})}
		}, nil, "certificate of upstream UPSTREAM: self-signed", ReasonUntrustedServer},
		{"unknown authority", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{*unknown.issue(func(c *x509.Certificate) {})}
		}, nil, `certificate of upstream UPSTREAM: signed by an unknown authority, "CN=Test Authority"`, ReasonUntrustedServer},
		{"wrong name", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{*known.issue(func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"example.test"} })}
		}, nil, "certificate of upstream UPSTREAM: cannot validate certificate for 127.0.0.1 because it doesn't contain any IP SANs", ReasonInvalidCertificate},
		{"wrong address", func(c *tls.Config) {
			c.Certificates = []tls.Certificate{*known.issue(func(c *x509.Certificate) { c.IPAddresses[0][3+12] = 2 })}
		}, nil, "certificate of upstream UPSTREAM: certificate is valid for 127.0.0.2, not 127.0.0.1", ReasonInvalidCertificate},
		{"wants a certificate", func(c *tls.Config) {
			c.ClientAuth = tls.RequireAndVerifyClientCert
		}, nil, "upstream UPSTREAM demands a client certificate that it accepts: certificate required", ReasonClientCertificateWanted},
		{"wants a certificate, TLS 1.2", func(c *tls.Config) {
			c.ClientAuth, c.MaxVersion = tls.RequireAndVerifyClientCert, tls.VersionTLS12
		}, nil, "upstream UPSTREAM demands a client certificate that it accepts: handshake failure", ReasonClientCertificateWanted},
		{"wants a certificate, and says nothing", func(c *tls.Config) {
			c.ClientAuth = tls.RequestClientCert
		}, nil, "upstream UPSTREAM asked for a client certificate, got none, and ended without an answer", ReasonClientCertificateWanted},
		{"wants another certificate", func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, trusting(known.cert).RootCAs
		}, func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return other, nil }
		}, "upstream UPSTREAM demands a client certificate that it accepts: unknown certificate authority", ReasonClientCertificateWanted},
		{"wants another certificate, TLS 1.2", func(c *tls.Config) {
			c.ClientAuth, c.ClientCAs, c.MaxVersion = tls.RequireAndVerifyClientCert, trusting(known.cert).RootCAs, tls.VersionTLS12
		}, func(c *tls.Config) {
			c.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return other, nil }
		}, "upstream UPSTREAM demands a client certificate that it accepts: unknown certificate authority", ReasonClientCertificateWanted},
		{"other protocols", func(c *tls.Config) { c.NextProtos = []string{"h3"} },
			nil, "TLS with upstream UPSTREAM: it speaks no HTTP/1.1: no application protocol", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				config := &tls.Config{Certificates: []tls.Certificate{*known.issue(func(*x509.Certificate) {})}}
				tt.server(config)
				r.origin.(*secureListener).config = config
				serve := swallow
				if config.ClientAuth == tls.RequestClientCert {
					serve = func(c net.Conn) { c.(*secureConn).Handshake() }
				}
				go r.acceptAll(serve)
				r.wantRefusal(tt.want, 502)
				r.wantReason(tt.reason)
			}, func(p *Proxy) {
				if p.UpstreamTLS = trusting(known.cert); tt.proxy != nil {
					tt.proxy(p.UpstreamTLS)
				}
			})
		})
	}
}

// wantRefusal sends requests, each on a connection of its own, and checks the
// answer and the session.
func (r *rig) wantRefusal(text string, status int) {
	r.t.Helper()
	text = strings.ReplaceAll(text, "UPSTREAM", fmt.Sprintf("%q", r.host()))
	for i, request := range []string{getRequest, upgradeRequest} {
		config := trusting(authority().Certificate())
		config.ServerName, config.NextProtos = "127.0.0.1", alpn
		c := r.dialTLS(config)
		c.send(request)
		c.wantRest("the refusal", string(reply(status, "text/plain", text+"\n")), decode.EndFIN)
		c.Close()
		how := decode.EndLocal
		if status == http.StatusGatewayTimeout {
			how = decode.EndTimeout
		}
		path, _, _ := strings.Cut(request, " HTTP")
		r.wantLines(r.t, int64(i+1), "open", "> "+path, fmt.Sprintf("< end %s: %s", how, text), "> end local")
	}
}

// TestServersWithoutTLS has servers that do not speak TLS at all.
func TestServersWithoutTLS(t *testing.T) {
	for _, tt := range []struct {
		name   string
		serve  func(net.Conn)
		want   string
		status int
	}{
		{"HTTP", func(c net.Conn) { io.WriteString(c, "HTTP/1.1 400 Bad Request\r\n\r\n") },
			"TLS with upstream UPSTREAM: it speaks HTTP without TLS", 502},
		{"another protocol", func(c net.Conn) { io.WriteString(c, "220 mail.example.test ESMTP\r\n") },
			"TLS with upstream UPSTREAM: the first bytes are not TLS", 502},
		{"closes", func(net.Conn) {}, "TLS with upstream UPSTREAM: connection closed in the handshake", 502},
		{"resets", func(c net.Conn) { c.(*net.TCPConn).SetLinger(0) }, "TLS with upstream UPSTREAM: connection reset by peer", 502},
		{"is silent", swallow, "TLS with upstream UPSTREAM: timed out", 504},
	} {
		t.Run(tt.name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				r.origin = r.origin.(*secureListener).TCPListener
				go r.acceptAll(func(c net.Conn) {
					b := make([]byte, 5)
					io.ReadFull(c, b)
					io.CopyN(io.Discard, c, int64(b[3])<<8|int64(b[4])) // the ClientHello
					tt.serve(c)
				})
				r.wantRefusal(tt.want, tt.status)
			}, func(p *Proxy) {
				if tt.status == 504 {
					p.DialTimeout = 50 * time.Millisecond
				}
			})
		})
	}
}

// TestClientCertificate shows the server who we are.
func TestClientCertificate(t *testing.T) {
	known := newIssuer(t)
	cert := known.issue(func(c *x509.Certificate) { c.Subject.CommonName = "us" })
	eachTLS(t, func(t *testing.T, r *rig) {
		r.config().ClientAuth, r.config().ClientCAs = tls.RequireAndVerifyClientCert, trusting(known.cert).RootCAs
		_, s := r.upgrade()
		if certs := s.tls().ConnectionState().PeerCertificates; len(certs) != 1 || certs[0].Subject.CommonName != "us" {
			t.Errorf("got certificates %v, want ours", certs)
		}
	}, func(p *Proxy) { p.UpstreamTLS.Certificates = []tls.Certificate{*cert} })
}

// TestOtherProtocolsInTLS relays what is no HTTP.
func TestOtherProtocolsInTLS(t *testing.T) {
	t.Run("client first", func(t *testing.T) {
		eachTLSMode(t, func(t *testing.T, r *rig) {
			c := r.dial()
			c.send("\x10\x0cMQTT")
			s := r.accept()
			s.want("the client's bytes", "\x10\x0cMQTT")
			s.send("\x20\x02\x00\x00")
			c.want("the server's bytes", "\x20\x02\x00\x00")
			c.closeWrite()
			s.wantEnd("the client ends", decode.EndFIN)
			s.Close()
			c.wantEnd("the server ends", decode.EndFIN)
			r.wantLines(t, 1, "open", "> opaque: not HTTP", "> end fin", "< end fin")
		})
	})
	t.Run("server first", func(t *testing.T) {
		r := newRig(t, inTLSTunnel)
		c := r.dial()
		go c.tls().Handshake()
		s := r.accept()
		s.send("* OK IMAP4rev1\r\n")
		c.want("the server's bytes", "* OK IMAP4rev1\r\n")
		c.send("a1 LOGOUT\r\n")
		s.want("the client's bytes", "a1 LOGOUT\r\n")
		s.Close()
		c.wantEnd("the server ends", decode.EndFIN)
		c.Close()
		r.wantLines(t, 1, "open", "< opaque: server speaks first", "< end fin", "> end fin")
	})
}

// TestPass leaves the TLS of some hosts alone.
func TestPass(t *testing.T) {
	var asked string
	eachTLS(t, func(t *testing.T, r *rig) {
		own := newIssuer(t).issue(func(c *x509.Certificate) { c.Subject.CommonName = "the server itself" })
		r.origin.(*secureListener).config = &tls.Config{Certificates: []tls.Certificate{*own}}
		c := r.dialTLS(&tls.Config{InsecureSkipVerify: true})
		go c.tls().Handshake()
		s := r.accept()
		s.send("hello")
		c.want("the server's bytes", "hello")
		if got := c.tls().ConnectionState().PeerCertificates[0].Subject.CommonName; got != "the server itself" {
			t.Errorf("got a certificate of %q, want the server's own", got)
		}
		if asked != "127.0.0.1" {
			t.Errorf("got question for %q, want 127.0.0.1", asked)
		}
		s.Close()
		c.Close()
		r.wait(t, 1, "> opaque: TLS, not intercepted")
	}, func(p *Proxy) {
		p.Pass = func(host string) bool { asked = host; return true }
	})
}

// TestManyTLSSessionsAtOnce has them all begin at the same time, too.
func TestManyTLSSessionsAtOnce(t *testing.T) {
	eachTLSMode(t, func(t *testing.T, r *rig) {
		go r.acceptAll(func(c net.Conn) {
			if _, err := ws.Upgrade(c); err == nil {
				io.Copy(struct{ io.Writer }{c}, c) // an echo as it came, masked
			}
		})
		n := 60
		if os.Getenv("SOAK") == "true" {
			n = 500
		}
		var begun sync.WaitGroup
		begun.Add(n)
		errs := make(chan error, n)
		for i := range n {
			go func() { errs <- r.chat(fmt.Sprintf("session %d", i), &begun) }()
		}
		for range n {
			if err := <-errs; err != nil {
				t.Error(err)
			}
		}
		for conn := range int64(n) {
			r.wait(t, conn+1, "closed")
		}
	}, unhurried)
}

// unhurried gives the peers as much time as a machine may need that has more to do.
func unhurried(p *Proxy) { p.DialTimeout, p.HandshakeTimeout = patience, patience }

// chat opens a connection, waits for all the others, and has s echoed.
func (r *rig) chat(s string, begun *sync.WaitGroup) error {
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		begun.Done()
		return err
	}
	defer c.Close()
	if r.mode.tunnels() {
		fmt.Fprintf(c, "CONNECT %[1]s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", r.host())
		_, err = io.ReadFull(c, make([]byte, len(connected)))
	}
	begun.Done()
	if err != nil {
		return err
	}
	begun.Wait()
	sc := secureClient(c)
	if _, _, err := (ws.Dialer{}).Upgrade(sc, &url.URL{Scheme: "wss", Host: r.host(), Path: "/"}); err != nil {
		return err
	}
	frame := []byte(masked(s))
	for range 5 {
		sc.Write(frame)
		got := make([]byte, len(frame))
		if _, err := io.ReadFull(sc, got); err != nil || !bytes.Equal(got, frame) {
			return fmt.Errorf("got %q and %v, want %q", got, err, frame)
		}
	}
	return sc.Close()
}

// TestTLSToAForwardProxy answers a client that takes an HTTP proxy for one
// that speaks TLS.
func TestTLSToAForwardProxy(t *testing.T) {
	r := newRig(t, inForward, func(p *Proxy) { p.Authority = authority() })
	c := r.dialProxy()
	go secureClient(c.Conn).Handshake()
	r.wait(t, 1, "> end local: TLS to the proxy itself, which is named by http://, not https://")
}
