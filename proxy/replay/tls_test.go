package replay

import (
	"context"
	"crypto/tls"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// A client that speaks TLS, or a server that does, is told from one that does what
// the recording does not.
func TestPeerSpeaksTLS(t *testing.T) {
	client, server := memconn.Pipe()
	go tls.Client(client, &tls.Config{ServerName: "example.com"}).Handshake()
	err := loaded(t, talk).PlayServer(t.Context(), server)
	if want := "expected a request from the client; got TLS, which goes with wss://, not ws://"; err == nil || !strings.Contains(err.Error(), want) {
		t.Errorf("got %v, want %s", err, want)
	}
	for answer, want := range map[string]string{
		"\x15\x03\x03\x00\x02\x02\x46": "got the word that it speaks TLS, which goes with wss://, not ws://",
		"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n": "got the word that it speaks TLS",
		"": "; if it speaks TLS, it is wss://, not ws://",
	} {
		dial := func(context.Context, string, string) (net.Conn, error) {
			client, server := memconn.Pipe()
			go func() {
				readHead(context.Background(), server, nil, DefaultStall)
				server.Write([]byte(answer))
				server.Close()
			}()
			return client, nil
		}
		err := loaded(t, talk).Connect(t.Context(), "ws://example.com", Dialer(dial))
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "expected a response from the "+decode.FromServer.String()) {
			t.Errorf("%q: got %v, want %s", answer, err, want)
		}
	}
}

// A server with TLS serves clients that begin with it, and others without; one that
// refuses its certificate is told of.
func TestServerTLS(t *testing.T) {
	file := filepath.Join(t.TempDir(), "talk.wst")
	if err := os.WriteFile(file, []byte(talk), 0o600); err != nil {
		t.Fatal(err)
	}
	var events []decode.Info
	srv := Serve(t, file, ServerTLS(nil), Times(2), Events(decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindOpen {
			events = append(events, *ev.Info)
		}
	})))
	if !strings.HasPrefix(srv.URL, "wss://127.0.0.1:") {
		t.Errorf("URL is %s", srv.URL)
	}
	Dial(t, srv.URL, file, TLS(&tls.Config{RootCAs: srv.Roots}))
	Dial(t, "ws"+strings.TrimPrefix(srv.URL, "wss"), file)
	if len(events) != 2 || events[0].ClientTLS == nil || events[0].ClientTLS.Version != "TLS1.3" || events[1].ClientTLS != nil {
		t.Errorf("got %+v", events)
	}

	client, server := memconn.Pipe()
	go tls.Client(client, &tls.Config{ServerName: "localhost"}).Handshake()
	err := loaded(t, talk).PlayServer(t.Context(), server, ServerTLS(nil))
	var refused *HandshakeError
	if !errors.As(err, &refused) || !strings.Contains(err.Error(), "TLS handshake of the client: ") {
		t.Errorf("got %v", err)
	}
	// A reset goes below TLS.
	const reset = open + `{"k":"frame","d":"<","op":"text","text":"a"}
{"k":"end","d":"<","how":"rst"}
`
	all := loadAll(t, reset)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	conf, roots, err := ownCertificate()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() { done <- all.Serve(t.Context(), l, ServerTLS(conf)) }()
	if err := loadAll(t, reset, Exact()).Connect(t.Context(), "wss://"+l.Addr().String(), TLS(&tls.Config{RootCAs: roots})); err != nil {
		t.Error(err)
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
}
