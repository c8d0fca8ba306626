package decode

import (
	"fmt"
	"strings"
	"testing"
)

func TestOwnURL(t *testing.T) {
	const given = "localhost:9222"
	page := func(media, body string) string {
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", media, len(body), body)
	}
	for _, c := range []struct{ host, res, want string }{
		{given, page("application/json", `{"webSocketDebuggerUrl":"ws://localhost:9222/devtools/1"}`), "ws://localhost:9222/devtools/1"},
		{given, page("application/problem+json; charset=utf-8", `{"url":"https:\/\/localhost:9222\/a\/b"}`), "https://localhost:9222/a/b"},
		{given, page("application/json", `{"a":"x://localhost:9222/","url":"http://localhost:9222"}`), "http://localhost:9222"},
		{given, "HTTP/1.1 307 Temporary Redirect\r\nLocation: http://localhost:9222/new?a=1\r\nContent-Length: 0\r\n\r\n", "http://localhost:9222/new?a=1"},
		{given, "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n[\"ws://localhost:9222/until-the-end\"]", "ws://localhost:9222/until-the-end"},
		{given, page("application/json", strings.Repeat(" ", MaxPiece)+`"ws://localhost:9222/too-far"`), ""},
		{given, page("application/json", `{"url":"ws://localhost:92220/","host":"localhost:9222"}`), ""},
		{given, page("application/json", `{"url":"ws://example.com/"}`), ""},
		{given, page("text/html", `<a href="http://localhost:9222/">`), ""},
		{given, "HTTP/1.1 302 Found\r\nLocation: /new\r\nContent-Length: 0\r\n\r\n", ""},
		{"wstrace:8080", page("application/json", `{"url":"ws://wstrace:8080/"}`), ""}, // nothing was rewritten
	} {
		for _, step := range []int{1, 7, len(c.res)} {
			var got *Totals
			s := &Session{Sink: SinkFunc(func(ev *Event) {
				if ev.Kind == KindClosed {
					totals := *ev.Totals
					got = &totals
				}
			})}
			s.Open(Info{Conn: 1, Time: start})
			h, err := ParseRequest("GET /json HTTP/1.1\r\nHost: wstrace:8080\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			sent, err := ParseRequest("GET /json HTTP/1.1\r\nHost: " + c.host + "\r\n\r\n")
			if err != nil {
				t.Fatal(err)
			}
			s.Head(FromClient, start, h, sent)
			for b := []byte(c.res); len(b) > 0; b = b[min(step, len(b)):] {
				s.Data(FromServer, start, b[:min(step, len(b))])
			}
			s.Done(start)
			if got == nil || got.OwnURL != c.want {
				t.Errorf("%.60q, %d bytes at a time: got %+v, want %q", c.res, step, got, c.want)
			}
		}
	}
}
