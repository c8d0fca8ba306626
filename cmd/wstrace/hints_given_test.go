package main

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestHints checks what is hinted at, and that it is said once.
func TestHints(t *testing.T) {
	const upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
	const accept = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"
	const page = "HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 0\r\n\r\n"
	const noOrigin = "the client sent no Origin"
	get := func(lines string) string { return "GET / HTTP/1.1\r\nHost: wstrace:8080\r\n" + lines + "\r\n" }
	for _, c := range []struct{ name, req, host, res, want string }{
		{"origin and host differ on the way", get("Origin: http://wstrace:8080\r\n"), "server:80", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", "--keep-host"},
		{"of a POST too", strings.Replace(get("Origin: http://wstrace:8080\r\n"), "GET", "POST", 1), "server:80", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "--keep-host"},
		{"an origin that never fitted", get("Origin: http://example.com\r\n" + upgrade), "server:80", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ""},
		{"the client's own Host", get("Origin: http://wstrace:8080\r\n" + upgrade), "wstrace:8080", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ""},
		{"no origin", get(upgrade), "server:80", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", noOrigin},
		{"no origin, and no key either", get(strings.Replace(upgrade, "dGhlIHNhbXBsZSBub25jZQ==", "abc", 1)), "server:80", "HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n", ""},
		{"no origin, no answer", get(upgrade), "server:80", "", noOrigin},
		{"no answer in plain", get("Origin: http://a\r\n" + upgrade), "server:80", "", "wss://"},
		{"no answer to what is no WebSocket", get(""), "server:80", "", ""},
		{"no origin, and not found", get(upgrade), "server:80", "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", ""},
		{"no origin and no WebSocket", get(""), "server:80", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", ""},
		{"its own address", get(""), "server:80", "HTTP/1.1 302 Found\r\nLocation: http://server:80/a\r\nContent-Length: 0\r\n\r\n", "names itself http://server:80/a"},
		{"an extension", get(upgrade + "Sec-WebSocket-Extensions: x-a, permessage-deflate\r\n"), "server:80", accept + "Sec-WebSocket-Extensions: x-a, permessage-deflate\r\n\r\n", `the extension "x-a" is in force`},
		{"a page", get(""), "server:80", page, "no WebSocket came"},
		{"a healthy session", get(upgrade), "server:80", accept + "\r\n", ""},
	} {
		var out bytes.Buffer
		h := &hints{con: &console{w: &out}}
		for conn := range int64(2) {
			playHead(t, h, conn+1, c.req, c.host, c.res)
		}
		origin, err := parseOrigin("ws://server:80")
		if err != nil {
			t.Fatal(err)
		}
		h.atEnd(origin, nil, 2)
		got := out.String()
		if lines := strings.Count(got, "\n"); c.want == "" && lines > 0 || c.want != "" && (lines != 1 || !strings.Contains(got, c.want)) {
			t.Errorf("%s: got %q, want %q in one line", c.name, got, c.want)
		}
	}
}

// playHead gives h a session with these heads. The server is told host and, if it
// gives no answer, ends the connection.
func playHead(t *testing.T, h decode.Sink, conn int64, req, host, res string) {
	at := time.Unix(1e9, 0)
	s := &decode.Session{Sink: h}
	s.Open(decode.Info{Conn: conn, Time: at})
	head, err := decode.ParseRequest(req)
	if err != nil {
		t.Fatal(err)
	}
	sent, err := decode.ParseRequest(strings.Replace(req, "Host: wstrace:8080", "Host: "+host, 1))
	if err != nil {
		t.Fatal(err)
	}
	s.Head(decode.FromClient, at, head, sent)
	if res == "" {
		s.End(decode.FromServer, at, decode.EndFIN, "")
		s.End(decode.FromClient, at, decode.EndLocal, "")
	}
	s.Data(decode.FromServer, at, []byte(res))
	s.Done(at)
}
