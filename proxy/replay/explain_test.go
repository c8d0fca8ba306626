package replay

import (
	"bytes"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// A session that is played alone may wait for the answer to what another one did.
func TestStallOfAnotherSession(t *testing.T) {
	text := `{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","c":1,"d":">","op":"text","mask":"00000000","text":"a"}
{"k":"open","c":2}
{"k":"frame","c":2,"d":">","op":"text","mask":"00000000","text":"x"}
{"k":"frame","c":2,"d":"<","op":"text","text":"y"}
{"k":"frame","c":1,"d":">","op":"text","mask":"00000000","text":"b"}
{"k":"frame","c":1,"d":">","op":"text","mask":"00000000","text":"c"}
`
	for _, c := range []struct {
		sent, want string
		other      bool
	}{
		{frame(ws.OpText, "a"), "server waits for client frame 1 (line 7); session 2 of the trace came before that (line 6): nothing for 50ms", true},
		{frame(ws.OpText, "a") + frame(ws.OpText, "b"), "server waits for client frame 2 (line 8): nothing for 50ms", false},
	} {
		conn, wait := served(t, loaded(t, text, Session(1)), Stall(50*time.Millisecond))
		io.WriteString(conn, c.sent)
		err := wait()
		check(t, err, c.want)
		if errors.Is(err, ErrOtherSession) != c.other || !errors.Is(err, ErrStalled) {
			t.Errorf("%v is of another session: %t", err, !c.other)
		}
	}
}

// A trace stays as it is where the other side said less than a session needs.
func TestUpdateOfTooLittle(t *testing.T) {
	const handshake = "GET / HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	for name, c := range map[string]struct{ sent, want string }{
		"nothing":    {"", ": nothing came to be recorded"},
		"a page":     {"GET / HTTP/1.1\r\nHost: h\r\n\r\n", ": nothing came to be recorded"},
		"no message": {handshake, " stays as it is: the client sent no message"},
	} {
		file := fixture(t, open+`{"k":"frame","d":">","op":"text","mask":"00000000","text":"a"}`+"\n")
		before, _ := os.ReadFile(file)
		told := watch(t, func(t *witness) {
			srv := Serve(t, file, Update(true), Stall(time.Second))
			conn, err := srv.DialContext(t.Context(), "tcp", "")
			if err != nil {
				t.Fatalf("%v", err)
			}
			io.WriteString(conn, c.sent)
			if c.sent != "" {
				conn.Read(make([]byte, 1))
			}
			conn.Close()
		})
		if want := "replay: " + file + c.want; len(told) == 0 || told[len(told)-1] != want {
			t.Errorf("%s: got %q, want %q", name, told, want)
		}
		if after, _ := os.ReadFile(file); !bytes.Equal(before, after) {
			t.Errorf("%s: the trace is now %s", name, after)
		}
	}
}

// What differs inside of a message is shown below it, as far as it is not plain to see.
func TestDiffInside(t *testing.T) {
	text := func(op, content string) string {
		return open + `{"k":"frame","d":"<","op":"` + op + `",` + content + "}\n"
	}
	long := strings.Repeat("a", 1000)
	for _, c := range []struct {
		a, b, want string
		width      int
	}{
		{text("bin", `"hex":"00010203"`), text("bin", `"hex":"00010303"`), `- < binary [00 01 02 03]  line 3
+ < binary [00 01 03 03]  line 3
  - 00000000  00 01 02 03
  + 00000000  00 01 03 03
  ?                 ^^
`, 0},
		{text("bin", `"text":"hello"`), text("bin", `"text":"hullo"`), `- < binary "hello"  line 3
+ < binary "hullo"  line 3
`, 0},
		{text("text", `"text":"`+long+`1`+long+`"`), text("text", `"text":"`+long+`2`+long+`"`), `- < text "` + long[:120] + `"… (2001 bytes)  line 3
+ < text "` + long[:120] + `"… (2001 bytes)  line 3: which differs at byte 1000
  - … aaaa1aaaaaaa …
  + … aaaa2aaaaaaa …
`, 20},
		{text("bin", `"hex":"00010203"`), text("bin", `"hex":"00010303"`), `- < binary [00 01 02 03]  line 3
+ < binary [00 01 03 03]  line 3
`, -1},
	} {
		var out bytes.Buffer
		if differ, err := Diff(&out, loaded(t, c.a), loaded(t, c.b), c.width); !differ || err != nil || out.String() != c.want {
			t.Errorf("got %t, %v\n%swant\n%s", differ, err, out.String(), c.want)
		}
	}
}

// Of long values what is around the difference is shown.
func TestLongValues(t *testing.T) {
	long := strings.Repeat("a", 1000)
	for _, c := range []struct{ format, at string }{{`{"k":"%"}`, "$.k"}, {`<x k="%"/>`, "xml:/x/@k"}} {
		want, got := strings.ReplaceAll(c.format, "%", long+"1"+long), strings.ReplaceAll(c.format, "%", long+"2"+long)
		why := new(equality).differs([]byte(want), []byte(got), true)
		if !strings.HasPrefix(why, "where "+c.at) || !strings.Contains(why, "aaa1aaa") || !strings.Contains(why, "aaa2aaa") || len(why) > 400 {
			t.Errorf("got %s", why)
		}
	}
}

// A session that was loaded for a diff alone is not played.
func TestPlayForDiff(t *testing.T) {
	_, server := memconn.Pipe()
	check(t, loaded(t, talk, Select(nil)).PlayServer(t.Context(), server), errForDiff.Error())
}
