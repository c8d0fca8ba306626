package replay

import (
	"context"
	"crypto/tls"
	"net"
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
				readHead(context.Background(), server, DefaultStall)
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
