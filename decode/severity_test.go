package decode

import (
	"strings"
	"testing"
	"time"
)

// TestHarmlessHeads checks how bad it is what costs nobody anything.
func TestHarmlessHeads(t *testing.T) {
	const ask = "GET / HTTP/1.1\r\nHost: a.example.\r\nOrigin: https://a.example\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n"
	const answer = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n"
	const deflate = "Sec-WebSocket-Extensions: permessage-deflate"
	for _, test := range []struct{ request, response, want string }{
		{"", "", ""}, // the name in a TLS hello has no trailing dot
		{"", "Content-Length: 0\r\n", "warning res-101-content-length"},
		{"", "Content-Length: 5\r\n", "error res-101-content-length"},
		{deflate + "; server_max_window_bits=15\r\n", deflate + "\r\n", "info pmd-res-server-bits-missing"},
		{deflate + "; server_max_window_bits=14\r\n", deflate + "\r\n", "error pmd-res-server-bits-missing"},
	} {
		var got []string
		s := &Session{Look: Look{Advice: true}, Sink: SinkFunc(func(ev *Event) {
			for _, v := range ev.Violations {
				got = append(got, v.Severity.String()+" "+string(v.ID))
			}
		})}
		s.Open(Info{Conn: 1, URL: "wss://a.example./", ClientTLS: &TLS{SNI: "a.example"}})
		s.Data(FromClient, time.Time{}, []byte(ask+test.request+"\r\n"))
		s.Data(FromServer, time.Time{}, []byte(answer+test.response+"\r\n"))
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%q, %q: got %q, want %q", test.request, test.response, got, test.want)
		}
	}
}
