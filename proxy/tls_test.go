package proxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/ca"
)

// echoTLS starts an HTTPS server with a WebSocket echo at /ws.
func echoTLS(t *testing.T) *httptest.Server {
	srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/ws" {
			io.WriteString(w, "plain")
			return
		}
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			m, op, err := wsutil.ReadClientData(c)
			if err != nil || wsutil.WriteServerMessage(c, op, m) != nil {
				return
			}
		}
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestInterceptsTLS(t *testing.T) {
	srv := echoTLS(t)
	authority, err := ca.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	trustServer, trustUs := x509.NewCertPool(), x509.NewCertPool()
	trustServer.AddCert(srv.Certificate())
	trustUs.AddCert(authority.Certificate())
	origin := strings.TrimPrefix(srv.URL, "https://")

	for _, mode := range []string{"connect", "reverse"} {
		t.Run(mode, func(t *testing.T) {
			var got []string
			p := &Proxy{
				Authority:   authority,
				UpstreamTLS: &tls.Config{RootCAs: trustServer},
				Sink: decode.SinkFunc(func(ev *decode.Event) {
					switch ev.Kind {
					case decode.KindOpen:
						got = append(got, ev.Info.URL, ev.Info.ServerTLS.Version+" "+ev.Info.ClientTLS.ALPN)
					case decode.KindFrame:
						got = append(got, ev.Dir.Arrow()+string(ev.Frame.AppendPayload(nil, -1)))
					}
				}),
			}
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			dial := func(ctx context.Context, network, addr string) (net.Conn, error) {
				c, err := net.Dial("tcp", l.Addr().String())
				if err != nil || mode == "reverse" {
					return c, err
				}
				io.WriteString(c, "CONNECT "+origin+" HTTP/1.1\r\nHost: "+origin+"\r\n\r\n")
				b := make([]byte, len("HTTP/1.1 200 Connection established\r\n\r\n"))
				_, err = io.ReadFull(c, b)
				return c, err
			}
			if mode == "reverse" {
				p.Upstream, _ = url.Parse("wss://" + origin)
			}
			ctx, cancel := context.WithCancel(t.Context())
			served := make(chan error)
			go func() { served <- p.Serve(ctx, l) }()

			d := ws.Dialer{NetDial: dial, TLSConfig: &tls.Config{RootCAs: trustUs, NextProtos: []string{"h2", "http/1.1"}}}
			c, _, _, err := d.Dial(t.Context(), "wss://"+origin+"/ws")
			if err != nil {
				t.Fatal(err)
			}
			if err := wsutil.WriteClientText(c, []byte("hello")); err != nil {
				t.Fatal(err)
			}
			if m, err := wsutil.ReadServerText(c); string(m) != "hello" || err != nil {
				t.Fatalf("got %q, %v, want the echo", m, err)
			}
			c.Close()
			cancel()
			if err := <-served; err != nil {
				t.Error(err)
			}
			want := "wss://" + origin + "/ws|TLS1.3 http/1.1|>hello|<hello"
			if s := strings.Join(got, "|"); s != want {
				t.Errorf("got  %s\nwant %s", s, want)
			}
		})
	}
}
