package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/ca"
)

// A trust is an authority that all trust: it vouches for servers, and for the
// proxy in place of them.
type trust struct {
	authority *ca.Authority
	file      string // with the authority in PEM
	pair      string // file with a certificate for localhost and its key in PEM
	client    *tls.Config
	server    *tls.Config
}

func newTrust(t *testing.T) *trust {
	dir := t.TempDir()
	a, err := ca.Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Leaf("localhost")
	if err != nil {
		t.Fatal(err)
	}
	key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	pair := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
		pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
	tr := &trust{authority: a, file: filepath.Join(dir, ca.CertFile), pair: filepath.Join(dir, "localhost.pem")}
	if err := os.WriteFile(tr.pair, pair, 0o600); err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	tr.client = &tls.Config{RootCAs: roots}
	tr.server = &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"http/1.1"}}
	return tr
}

// tap returns how the tap in front of a server speaks TLS, or nil if the server
// itself does.
func (tr *trust) tap(s *server) *tls.Config {
	if s.secure {
		return nil
	}
	return tr.server
}

// localhost returns addr by name.
func localhost(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return net.JoinHostPort("localhost", port)
}

// nginx and haproxy start servers that speak TLS.

func (tr *trust) nginx(t *testing.T, b *board) string {
	return nginxWith(t, b, "ssl", fmt.Sprintf("ssl_certificate %[1]s; ssl_certificate_key %[1]s;", tr.pair))
}

func (tr *trust) haproxy(t *testing.T, b *board) string {
	return haproxyWith(t, b, "ssl crt "+tr.pair)
}

// secured compares what was recorded of a connection over TLS with what the
// server got, where that is known, and looks at what is said about its TLS.
func (k talk) secured(t *testing.T, rec *recording, after *flow) {
	for _, leg := range []struct {
		name string
		*decode.TLS
	}{{"client", rec.info.ClientTLS}, {"server", rec.info.ServerTLS}} {
		if leg.TLS == nil || leg.SNI != "localhost" || !strings.HasPrefix(leg.Version, "TLS1.") || leg.Cipher == "" {
			t.Errorf("got %+v for the TLS of the %s, want version, cipher, and localhost", leg.TLS, leg.name)
		}
	}
	if k.server.secure {
		return
	}
	_, up := cutHead(after.up.Bytes())
	_, down := cutHead(after.down.Bytes())
	if !bytes.Equal(up, rec.sides[decode.FromClient].wire) {
		t.Errorf("the client's frames are not the octets that the server got: %d, %d", len(rec.sides[decode.FromClient].wire), len(up))
	}
	if !bytes.Equal(down, rec.sides[decode.FromServer].wire) {
		t.Errorf("the server's frames are not the octets that it sent: %d, %d", len(rec.sides[decode.FromServer].wire), len(down))
	}
}

// secureClients returns the clients that can speak TLS, some of them only here.
func secureClients() []*client {
	all := append(slices.Clone(clients), tlsClients...)
	return slices.DeleteFunc(all, func(c *client) bool { return c.name == "xnet" })
}

var tlsClients = []*client{
	{name: "java.net.http", tells: "sent ping, got pong, sent close, got close",
		needs: tool{"javac", "--version"}, start: clientProcess("java", "java/HttpClientPeer.java")},
	{name: "chromium", deflate: true, always: true, slow: true, tells: "sent close, got close",
		needs: tool{"sh", "-c", "node -e 'require(\"./node/node_modules/playwright-core\")' && test -x /usr/bin/chromium && command -v certutil"},
		start: clientProcess("node", "node/chromium-client.mjs")},
}

// TestSecureConversations has clients talk to servers over wss.
func TestSecureConversations(t *testing.T) {
	tr := newTrust(t)
	servers := []*server{
		{name: "gorilla", deflate: true, tells: "got ping, sent pong, got close", start: gorillaServer},
		{name: "nginx", deflate: true, secure: true, tells: "got ping, sent pong, got close",
			needs: tool{"/usr/sbin/nginx", "-v"}, start: tr.nginx},
		{name: "haproxy", deflate: true, secure: true, tells: "got ping, sent pong, got close",
			needs: tool{"/usr/sbin/haproxy", "-v"}, start: tr.haproxy},
	}
	missing := make(map[string]error) // by server
	for _, s := range servers {
		if missing[s.name] = s.needs.missing(); missing[s.name] == nil {
			s.addr = s.start(t, &s.board)
		}
	}
	for _, c := range secureClients() {
		t.Run(c.name, func(t *testing.T) {
			var told board
			c := c.ready(t, &told)
			for i, s := range servers {
				if c.slow && i > 0 {
					break
				}
				for _, mode := range []string{reverse, tunnel} {
					for _, deflate := range []bool{false, true} {
						if !c.agrees(s, deflate) || deflate && !c.always && i > 0 {
							continue
						}
						name := s.name + " " + mode
						if deflate {
							name += " deflate"
						}
						t.Run(name, func(t *testing.T) {
							need(t, missing[s.name])
							t.Parallel()
							talk{c, s, &told, mode, deflate, rounds, tr}.run(t)
						})
					}
				}
			}
		})
	}
}

// ready returns a client that runs, and skips the test if it can't.
func (c client) ready(t *testing.T, told *board) *client {
	need(t, c.needs.missing())
	if c.start != nil {
		run := c.start(t, told)
		c.run = func(ctx context.Context, j job, _ diary) error { return run(ctx, j) }
	}
	return &c
}

// TestDistrust has clients that do not trust the proxy. Some say so, some just
// leave; what happened is named either way.
func TestDistrust(t *testing.T) {
	tr, other := newTrust(t), newTrust(t)
	for _, c := range secureClients() {
		t.Run(c.name, func(t *testing.T) {
			var told board
			c := c.ready(t, &told)
			t.Parallel()
			said := make(chan string, 10)
			p := &proxy.Proxy{
				Authority: tr.authority,
				Upstream:  &url.URL{Scheme: "ws", Host: listen(t).Addr().String()},
				Sink: decode.SinkFunc(func(ev *decode.Event) {
					if ev.Kind == decode.KindEnd && ev.Text != "" {
						said <- ev.Text
					}
				}),
			}
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			j := job{ID: fmt.Sprint(jobs.Add(1)), URL: "wss://" + localhost(servedBy(t, p)) + "/", CA: other.file, Rounds: rounds[:1]}
			if err := c.run(ctx, j, diary{&told, j.ID}); err == nil {
				t.Error("got no error, want one of an unknown authority")
			}
			select {
			case got := <-said:
				if !strings.HasPrefix(got, `client refuses our certificate for "localhost": `) && !strings.HasPrefix(got, "client closes the connection ") {
					t.Errorf("got %q, want that the client does not trust us", got)
				}
				t.Log(got)
			case <-ctx.Done():
				t.Error("got nothing, want that the client does not trust us")
			}
		})
	}
}

// TestCurl has curl get a page over HTTPS, and refuse our certificate.
func TestCurl(t *testing.T) {
	need(t, tool{"curl", "--version"}.missing())
	need(t, tool{"/usr/sbin/nginx", "-v"}.missing())
	tr := newTrust(t)
	origin := localhost(tr.nginx(t, new(board)))
	for _, mode := range []string{reverse, tunnel} {
		t.Run(mode, func(t *testing.T) {
			said := make(chan string, 10)
			p := &proxy.Proxy{Authority: tr.authority, UpstreamTLS: tr.client, Sink: decode.SinkFunc(func(ev *decode.Event) {
				switch {
				case ev.Kind == decode.KindResponse:
					said <- fmt.Sprintf("%s %d", ev.Info.URL, ev.Head.Status)
				case ev.Text != "":
					said <- ev.Text
				}
			})}
			page := "https://" + origin + "/page"
			args := []string{"--silent", "--show-error", "--max-time", "20"}
			if mode == reverse {
				p.Upstream = &url.URL{Scheme: "https", Host: origin}
				args = append(args, "https://"+localhost(servedBy(t, p))+"/page")
			} else {
				args = append(args, "--proxy", "http://"+servedBy(t, p), page)
			}
			want := func(line string) {
				t.Helper()
				select {
				case got := <-said:
					if got != line {
						t.Errorf("got %s, want %s", got, line)
					}
				case <-time.After(20 * time.Second):
					t.Errorf("got nothing, want %s", line)
				}
			}
			out, err := exec.Command("curl", append(args, "--cacert", tr.file)...).CombinedOutput()
			if string(out) != "a page\n" || err != nil {
				t.Errorf("got %q, %v, want the page", out, err)
			}
			want(page + " 200")
			if out, err := exec.Command("curl", args...).CombinedOutput(); err == nil {
				t.Errorf("got %q, want an error", out)
			}
			want(`client refuses our certificate for "localhost": unknown certificate authority`)
		})
	}
}
