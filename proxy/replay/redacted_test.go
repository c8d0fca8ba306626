package replay

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode/trace/edit"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// A trace that was redacted is played without a word about its selectors, and
// what they cover is in no sentence.
func TestRedacted(t *testing.T) {
	const recorded = `{"wstrace":1}
{"k":"open","c":1}
{"k":"req","m":"GET","target":"/room/s3cretRoom?token=s3cretToken&x=1","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"],["Sec-WebSocket-Protocol","bearer, s3cretProtocol"]]}
{"k":"res","v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="],["Sec-WebSocket-Protocol","s3cretProtocol"]]}
{"k":"frame","d":">","op":"text","mask":"01020304","text":"{\"accessToken\":\"s3cretAccess\",\"n\":1}"}
{"k":"frame","d":">","op":"text","mask":"01020304","text":"hello s3cretText, you"}
{"k":"frame","d":">","op":"close","mask":"01020304","code":1000,"reason":"bye s3cretText"}
{"k":"frame","d":"<","op":"close","code":1000}
`
	selectors := []string{"credentials", `/room.(\w+)/`, `/hello (\w+)/`, `/bye (\w+)/`}
	script := func(selectors []string) *Script {
		var b bytes.Buffer
		if err := edit.Redact(&b, strings.NewReader(recorded), selectors...); err != nil {
			t.Fatal(err)
		}
		if strings.Contains(b.String(), "s3cret") {
			t.Fatalf("not redacted: %s", b.Bytes())
		}
		s, err := Load(Trace(&b))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	request := "GET /room/liveRoom?x=1&token=liveToken HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: bearer, liveProtocol\r\n\r\n"
	first := `{"accessToken":"liveAccess","n":1}`
	for _, c := range []struct{ name, request, first, second, reason, want string }{
		{"as recorded", request, first, "hello liveText, you", "bye liveText", ""},
		{"another path", strings.Replace(request, "/room/", "/hall/", 1), "", "", "", "expected path"},
		{"another query", strings.Replace(request, "x=1", "x=2", 1), "", "", "", "expected query"},
		{"other subprotocols", strings.Replace(request, ": bearer", ": chat, bearer", 1), "", "", "", "expected offered subprotocol"},
		{"another number", request, `{"accessToken":"liveAccess","n":2}`, "", "", "where $.n is"},
		{"more", request, `{"accessToken":"liveAccess","n":1,"more":{"accessToken":"liveAccess"}}`, "", "", "where $.more is"},
		{"broken", request, `{"accessToken":"liveAccess","n":1`, "", "", "expected client frame 0"},
		{"another text", request, first, "hello liveText, me", "", "expected client frame 1"},
		{"another reason", request, first, "hello liveText, you", "tschau liveText", "expected client frame 2"},
	} {
		for _, sel := range [][]string{selectors, append(selectors, "/hello (s3cretText)/")} {
			conn, server := memconn.Pipe()
			done := make(chan error, 1)
			go func() { done <- script(sel).PlayServer(t.Context(), server) }()
			io.WriteString(conn, c.request)
			if c.first != "" {
				expect(t, conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
					"Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\nSec-WebSocket-Protocol: liveProtocol\r\n\r\n")
				io.WriteString(conn, frame(ws.OpText, c.first)+frame(ws.OpText, c.second)+frame(ws.OpClose, "\x03\xe8"+c.reason))
			}
			if c.want == "" {
				readFrame(conn)
			}
			conn.Close()
			err := <-done
			switch {
			case c.want == "" && err != nil:
				t.Errorf("%s: %v", c.name, err)
			case c.want == "":
			case err == nil || !strings.Contains(err.Error(), c.want) && len(sel) == len(selectors):
				t.Errorf("%s: got %v, want %s", c.name, err, c.want)
			}
			if err == nil {
				continue
			}
			text := err.Error()
			if d, ok := err.(*Difference); ok {
				text += d.Diff(0)
			}
			for _, secret := range []string{"liveToken", "liveProtocol", "liveAccess"} {
				if strings.Contains(text, secret) {
					t.Errorf("%s: %s is in %q", c.name, secret, text)
				}
			}
			if strings.Contains(text, "live") && len(sel) > len(selectors) {
				t.Errorf("%s: %q", c.name, text)
			}
		}
	}
}
