package trace

import (
	"bytes"
	"strings"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// TestMessagesWithoutFrames writes and plays a session whose source knew no
// frames.
func TestMessagesWithoutFrames(t *testing.T) {
	rec := newTeller()
	s := decode.Session{Sink: rec}
	s.Open(decode.Info{Conn: 1, Time: start, URL: "ws://a", Via: "har", NoFrames: true})
	s.Upgraded()
	s.Message(client, start, ws.OpText, []byte("hi"))
	s.Message(server, start, ws.OpBinary, []byte{0, 0xff})
	s.Message(server, start, ws.OpClose, []byte("\x03\xe8bye"))
	s.End(server, start, decode.EndFIN, "")
	s.End(client, start, decode.EndFIN, "")
	text := rec.trace.String()
	want := lines(`{"k":"open","t":0,"c":1,"url":"ws://a","via":"har","messages":true}`,
		`{"k":"message","t":0,"c":1,"d":">","op":"text","len":2,"text":"hi"}`,
		`{"k":"message","t":0,"c":1,"d":"<","op":"bin","len":2,"b64":"AP8="}`,
		`{"k":"message","t":0,"c":1,"d":"<","op":"close","len":5,"code":1000,"reason":"bye"}`,
		`{"k":"end","t":0,"c":1,"d":"<","how":"fin"}`,
		`{"k":"end","t":0,"c":1,"d":">","how":"fin"}`)
	if _, got, _ := strings.Cut(text, "\n"); got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	again := newTeller()
	src := Source{R: strings.NewReader(text)}
	if err := src.Play(t.Context(), again, decode.Look{}); err != nil {
		t.Fatal(err)
	}
	same(t, "event", again.said, rec.said)
	if _, err := Bytes(NewReader(strings.NewReader(text)), 1, client); err == nil {
		t.Error("bytes: got no error, and there are no frames")
	}
	var out bytes.Buffer
	if err := Format(&out, strings.NewReader(text)); err != nil || out.String() != text {
		t.Errorf("format: got %v\n%s", err, out.String())
	}
}
