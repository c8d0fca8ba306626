package proxy

import (
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// oldEnds are peers that have nothing but TLS of long ago.
var oldEnds = map[string]struct {
	set  func(*tls.Config)
	said string // what is no longer safe, or ""
}{
	"TLS 1.0":                   {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS10, tls.VersionTLS10 }, "TLS1.0"},
	"TLS 1.1":                   {func(c *tls.Config) { c.MinVersion, c.MaxVersion = tls.VersionTLS11, tls.VersionTLS11 }, "TLS1.1"},
	"RSA key exchange":          {suite(tls.TLS_RSA_WITH_AES_128_GCM_SHA256), "RSA key exchange"},
	"RSA key exchange and 3DES": {suite(tls.TLS_RSA_WITH_3DES_EDE_CBC_SHA), "RSA key exchange, 3DES"},
	"RC4":                       {suite(tls.TLS_ECDHE_RSA_WITH_RC4_128_SHA), "RC4"},
	"no ECDSA":                  {suite(tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256), ""},
}

func suite(id uint16) func(*tls.Config) {
	return func(c *tls.Config) { c.MaxVersion, c.CipherSuites = tls.VersionTLS12, []uint16{id} }
}

// wantOld checks that the log has said, once, and what can be done about it.
func (r *rig) wantOld(said string) {
	r.t.Helper()
	if log, n := r.log.String(), strings.Count(r.log.String(), "is no longer safe: "+said+"\""); said != "" && n != 1 || said == "" && strings.Contains(log, "no longer safe") {
		r.t.Errorf("got log\n%s\nwant %q once", log, said)
	}
	if said != "" {
		r.wantReason(ReasonOldTLS)
	}
}

func rsaLeaf(*tls.ClientHelloInfo) (*tls.Certificate, error) { return authority().RSALeaf("127.0.0.1") }

func TestOldServers(t *testing.T) {
	for name, old := range oldEnds {
		t.Run(name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				r.config().GetCertificate = rsaLeaf
				old.set(r.config())
				for range 2 {
					c, s := r.upgrade()
					c.send(masked("hello"))
					s.want("a frame", masked("hello"))
					s.send(text("hello"))
					c.want("a frame", text("hello"))
				}
				r.wantOld(old.said)
			})
		})
	}
}

func TestOldClients(t *testing.T) {
	for name, old := range oldEnds {
		t.Run(name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				for range 2 {
					config := example()
					old.set(config)
					c := r.dialTLS(config)
					c.send(getRequest)
					r.accept().want("the request", getRequest)
				}
				r.wantOld(old.said)
			}, trustAny)
		})
	}
}

// TestNothingOldWithoutNeed has peers that can do all of it, and better.
func TestNothingOldWithoutNeed(t *testing.T) {
	eachTLS(t, func(t *testing.T, r *rig) {
		config := example()
		for _, c := range []*tls.Config{config, r.config()} {
			c.MinVersion, c.MaxVersion, c.CipherSuites = tls.VersionTLS10, tls.VersionTLS12, allSuites
		}
		c := r.dialTLS(config)
		c.send(getRequest)
		s := r.accept()
		s.want("the request", getRequest)
		for _, p := range []*peer{c, s} {
			if got := tls.CipherSuiteName(p.tls().ConnectionState().CipherSuite); !strings.HasPrefix(got, "TLS_ECDHE_ECDSA_") {
				t.Errorf("got %s with the %s", got, p.name)
			}
		}
		r.wantOld("")
	}, trustAny)
}

func TestStrictRefusesOldTLS(t *testing.T) {
	strict := func(p *Proxy) { p.Strict = true }
	for name, want := range map[string]string{
		"TLS 1.1":          "TLS with upstream UPSTREAM: protocol version not supported",
		"RSA key exchange": "TLS with upstream UPSTREAM: handshake failure",
	} {
		t.Run(name, func(t *testing.T) {
			eachTLS(t, func(t *testing.T, r *rig) {
				r.config().GetCertificate = rsaLeaf
				oldEnds[name].set(r.config())
				go r.acceptAll(swallow)
				c := r.dialTLS(example())
				c.send(getRequest)
				text := strings.Replace(want, "UPSTREAM", fmt.Sprintf("%q", r.host()), 1)
				c.wantRest("the refusal", string(reply(502, "text/plain", text+"\n")), decode.EndFIN)
				r.wantReason(ReasonStrictTLS)
			}, strict)
			eachTLS(t, func(t *testing.T, r *rig) {
				config := example()
				oldEnds[name].set(config)
				if err := r.dialTLS(config).tls().Handshake(); err == nil {
					t.Error("the client is let in")
				}
				r.wait(t, 1, "closed")
				r.wantReason(ReasonUnsupportedTLS)
			}, strict)
		})
	}
}

// A dotted connection has its client ask for a name that ends in a dot, which
// package tls won't.
type dotted struct{ net.Conn }

func (c dotted) Write(b []byte) (int, error) {
	return c.Conn.Write([]byte(strings.Replace(string(b), "a.testX", "a.test.", 1)))
}

// TestNameThatEndsInADot says why a client does not get in.
func TestNameThatEndsInADot(t *testing.T) {
	eachTLS(t, func(t *testing.T, r *rig) {
		config := example()
		config.ServerName = "a.testX"
		tls.Client(dotted{r.dialBelow()}, config).Handshake()
		r.wantLines(t, 1, "open", `> end local: TLS with the client: it asks for "a.test.", and a server name ends without a dot (RFC 6066 §3)`, "< end local")
		r.wantReason(ReasonServerName)
	})
}

// TestServerWithADot has the host of the server end in one.
func TestServerWithADot(t *testing.T) {
	r := newRig(t, inTLSTunnel)
	r.config().GetCertificate = func(h *tls.ClientHelloInfo) (*tls.Certificate, error) { return authority().Leaf(h.ServerName) }
	c := r.dialProxy()
	_, port, _ := net.SplitHostPort(r.host())
	c.connect("localhost.:" + port)
	config := trusting(authority().Certificate())
	config.ServerName = "localhost"
	below := &endConn{TCPConn: c.Conn.(*net.TCPConn)}
	c.Conn = &secureConn{tls.Client(below, config), below}
	c.send(getRequest)
	r.accept().want("the request", getRequest)
}

// TestRenegotiation has a server that wants another handshake before it answers.
// No Go program does that.
func TestRenegotiation(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Skip("openssl is not installed")
	}
	dir := t.TempDir()
	key, cert := filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")
	if out, err := exec.Command(openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", cert, "-subj", "/CN=a test").CombinedOutput(); err != nil {
		t.Fatalf("openssl req: %v\n%s", err, out)
	}
	eachTLS(t, func(t *testing.T, r *rig) {
		r.origin.Close()
		server := exec.Command(openssl, "s_server", "-accept", r.host(), "-key", key, "-cert", cert, "-tls1_2")
		in, err := server.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		out := newLines()
		server.Stdout, server.Stderr = out, out
		if err := server.Start(); err != nil {
			t.Fatal(err)
		}
		defer func() { server.Process.Kill(); server.Wait() }()
		out.wait(t, "ACCEPT", 1)
		c := r.dial()
		c.send(getRequest)
		out.wait(t, "GET / HTTP/1.1", 1)
		io.WriteString(in, "R\n")
		want := fmt.Sprintf("server %q asks for TLS renegotiation, which is not supported here", r.host())
		c.wantRest("the refusal", string(reply(502, "text/plain", want+"\n")), decode.EndFIN)
		c.Close()
		r.wantLines(t, 1, "open", "> GET /", "< end local: "+want, "> end local")
		r.wantReason(ReasonUnsupportedTLS)
	}, trustAny, unhurried)
}
