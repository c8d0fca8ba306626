package decode

import (
	"strings"
	"testing"
	"time"
)

// TestTokenInURL checks how bad a credential in a query is: a ticket is good for a
// short time only.
func TestTokenInURL(t *testing.T) {
	const jwt = "eyJhbGciOjF9.eyJzdWIiOjF9.c2ln"
	for _, test := range []struct{ query, want string }{
		{"token=tJWTlK3-yL5d", "info token-in-url"}, // Vite
		{"key=peerjs&id=ab&token=k2mvq8z1", "info token-in-url"},
		{"session=0123456789abcdef", "info token-in-url"},
		{"ticket=4711", "info token-in-url"},
		{"token=" + strings.Repeat("a", 31), "info token-in-url"},
		{"token=" + strings.Repeat("a", 32), "warning token-in-url"},
		{"token=" + jwt, "warning token-in-url"},
		{"token=Bearer%20" + jwt, "warning token-in-url"},
		{"access_token=abc", "warning token-in-url"},
		{"password=abc", "warning token-in-url"},
		{"token=tJWTlK3-yL5d&api_key=abc", "info token-in-url, warning token-in-url"},
	} {
		got := severities(headWith("GET /?"+test.query+" HTTP/1.1", ""), answerHead)
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.query, got, test.want)
		}
	}
}

// TestUnregisteredExtension checks how bad an offer is that no registry has: a
// compression that is not taken costs its bytes only.
func TestUnregisteredExtension(t *testing.T) {
	for _, test := range []struct{ offer, want string }{
		{"permessage-deflate, deflate-frame, x-webkit-deflate-frame", "warning"}, // Netty
		{"x-webkit-deflate-frame", "warning"},                                    // Safari
		{"perframe-deflate; x=1", "warning"},
		{"permessage-bzip2", "warning"},
		{"Permessage-Compress; method=deflate", "warning"},
		{"permessage-zstd", "warning"},
		{"foo", "error"},
		{"x-vendor-mux", "error"},
		{"deflate-frame, foo", "warning error"},
	} {
		got := severities(headWith("GET / HTTP/1.1", "Sec-WebSocket-Extensions: "+test.offer+"\r\n"), answerHead)
		got = strings.ReplaceAll(strings.ReplaceAll(got, " req-extension-unregistered", ""), ",", "")
		if got != test.want {
			t.Errorf("%q: got %q, want %q", test.offer, got, test.want)
		}
	}
}

const answerHead = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n"

// headWith returns a right request, up to its empty line, with a start line and
// more lines.
func headWith(start, more string) string {
	return start + "\r\nHost: a.example.\r\nOrigin: https://a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n" + more
}

// severities plays a handshake and returns what it breaks, and how badly.
func severities(request, response string) string {
	var got []string
	s := &Session{Look: Look{Advice: true}, Sink: SinkFunc(func(ev *Event) {
		for _, v := range ev.Violations {
			got = append(got, v.Severity.String()+" "+string(v.ID))
		}
	})}
	s.Open(Info{Conn: 1, URL: "wss://a.example./", ClientTLS: &TLS{SNI: "a.example"}})
	s.Data(FromClient, time.Time{}, []byte(request+"\r\n"))
	s.Data(FromServer, time.Time{}, []byte(response+"\r\n"))
	return strings.Join(got, ", ")
}

// TestHarmlessHeads checks how bad it is what costs nobody anything.
func TestHarmlessHeads(t *testing.T) {
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	for _, test := range []struct{ request, response, want string }{
		{"", "", ""}, // the name in a TLS hello has no trailing dot
		{"", "Content-Length: 0\r\n", "warning res-101-content-length"},
		{"", "Content-Length: 5\r\n", "error res-101-content-length"},
		{deflate + "; server_max_window_bits=15\r\n", deflate + "\r\n", "info pmd-res-server-bits-missing"},
		{deflate + "; server_max_window_bits=14\r\n", deflate + "\r\n", "error pmd-res-server-bits-missing"},
	} {
		if got := severities(headWith("GET / HTTP/1.1", test.request), answerHead+test.response); got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.request, test.response, got, test.want)
		}
	}
}
