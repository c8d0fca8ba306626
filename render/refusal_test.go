package render

import (
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// TestRefusal has what an answer that refuses to upgrade says of the reason.
func TestRefusal(t *testing.T) {
	for _, c := range []struct{ name, head, body, want string }{
		{"forbidden", head("HTTP/1.1 403 Forbidden", "Content-Length: 18"), "Origin not allowed", `403 Forbidden  not upgraded  "Origin not allowed"`},
		{"redirect", head("HTTP/1.1 307 Temporary Redirect", "Location: /new", "Content-Length: 0"), "", "307 Temporary Redirect  not upgraded  location /new"},
		{"login", head("HTTP/1.1 401 Unauthorized", `WWW-Authenticate: Basic realm="x"`, "WWW-Authenticate: Bearer", "Content-Length: 0"), "", `401 Unauthorized  not upgraded  www-authenticate Basic realm="x", Bearer`},
		{"chunked", head("HTTP/1.1 400 Bad Request", "Transfer-Encoding: chunked"), "4\r\nWiki\r\n5;x=y\r\npedia\r\n0\r\n\r\n", `400 Bad Request  not upgraded  "Wikipedia"`},
		{"chunked, cut off", head("HTTP/1.1 400 Bad Request", "Transfer-Encoding: chunked"), "4\r\nWiki\r\n5\r\npe", `400 Bad Request  not upgraded  "Wikipe"…`},
		{"chunked, empty", head("HTTP/1.1 400 Bad Request", "Transfer-Encoding: chunked"), "0\r\n\r\n", "400 Bad Request  not upgraded"},
		{"long", head("HTTP/1.1 400 Bad Request", "Content-Length: 30"), strings.Repeat("é", 15), `400 Bad Request  not upgraded  "ééééééééé"…`},
		{"binary", head("HTTP/1.1 400 Bad Request", "Content-Length: 2"), "\x1f\x8b", "400 Bad Request  not upgraded  [1f 8b]"},
		{"terminal codes", head("HTTP/1.1 302 Found", "Location: /\x1b[31m", "Content-Length: 0"), "", `302 Found  not upgraded  location /\x1b[31m`},
	} {
		var out strings.Builder
		s := open(NewCompact(&out, Options{Preview: 19}), decode.Info{Conn: 3})
		s.client(head("GET / HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA=="))
		out.Reset()
		s.server(c.head + c.body)
		s.FlushAll(decode.FromServer, s.now)
		if got, _, _ := strings.Cut(out.String(), "\n"); got != "00:00:00.0000 #3 < "+c.want {
			t.Errorf("%s: got\n%s\nwant\n%s", c.name, got, "00:00:00.0000 #3 < "+c.want)
		}
	}
}

// TestRefusalBodyAsInFiles has a body without the chunks in which it came.
func TestRefusalBodyAsInFiles(t *testing.T) {
	var out strings.Builder
	s := open(NewCompact(&out, Options{Preview: 80}), decode.Info{Conn: 1})
	s.client(head("GET / HTTP/1.1", "Host: h", "Connection: Upgrade", "Upgrade: websocket"))
	s.server(head("HTTP/1.1 403 Forbidden", "Transfer-Encoding: chunked"))
	s.Body(decode.FromServer, s.now, []byte(`{"error":1}`), true)
	if got, want := out.String(), `not upgraded  '{"error":1}'`; !strings.Contains(got, want) {
		t.Errorf("got\n%swant %s", got, want)
	}
}
