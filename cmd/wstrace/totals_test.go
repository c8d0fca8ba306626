package main

import (
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestTotalsTellWebSocketFromHTTP has a page, its scripts, a tunnel and one
// WebSocket connection.
func TestTotalsTellWebSocketFromHTTP(t *testing.T) {
	now := time.Unix(1e9, 0)
	const hello = "GET /ws HTTP/1.1\r\nHost: h\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\n\r\n"
	const welcome = "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n"
	for _, c := range []struct {
		name    string
		partial bool
		done    bool
		want    string
	}{
		{"live", false, true, "1 session: 1 frame, 8 B >; 2 frames, 6 B <; 2 HTTP requests, 20 B; 2 tunnels, 30 B\n"},
		{"a recording", true, true, "1 session: 1 frame, 8 B >; 2 frames, 6 B <; 2 HTTP requests, 20 B; 2 tunnels, 30 B\n"},
		{"a recording that is cut off", true, false, "2 sessions: 1 frame, 8 B >; 2 frames, 6 B <; 2 HTTP requests, 0 B; 1 tunnel, 0 B\n"},
	} {
		total := totals{partial: c.partial}
		var conn int64
		open := func() *decode.Session {
			s := &decode.Session{Sink: &total}
			conn++
			s.Open(decode.Info{Conn: conn, Time: now})
			return s
		}
		done := func(s *decode.Session) {
			if c.done {
				s.Done(now)
			}
		}
		for range 2 {
			s := open()
			s.Data(decode.FromClient, now, []byte("GET /x.js HTTP/1.1\r\nHost: h\r\n\r\n"))
			s.Data(decode.FromServer, now, []byte("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n0123456789"))
			done(s)
		}
		refused := open()
		refused.Answer(502)
		refused.End(decode.FromServer, now, decode.EndLocal, "dial: refused")
		done(refused)
		tunnel := open()
		tunnel.Opaque(decode.FromClient, now, "TLS, not intercepted")
		tunnel.Data(decode.FromClient, now, make([]byte, 10))
		tunnel.Data(decode.FromServer, now, make([]byte, 20))
		done(tunnel)
		s := open()
		s.Data(decode.FromClient, now, []byte(hello))
		s.Data(decode.FromServer, now, []byte(welcome+"\x81\x01a\x81\x01b"))
		s.Data(decode.FromClient, now, []byte("\x81\x82\x00\x00\x00\x00ab"))
		done(s)

		var out strings.Builder
		total.print(&console{w: &out})
		if got, _, _ := strings.Cut(out.String(), "\n"); got+"\n" != "wstrace: "+c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, c.want)
		}
	}
}
