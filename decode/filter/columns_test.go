package filter

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

func TestColumns(t *testing.T) {
	c, err := ParseColumns(`session, from, fin,op,len,since,json['a,b'],json.s,rule,key,time`)
	if err != nil {
		t.Fatal(err)
	}
	at := time.Unix(0, 1500)
	ev := &decode.Event{Kind: decode.KindFrame, Conn: 3, Dir: decode.FromClient, Time: at, Info: &decode.Info{Time: time.Unix(0, 500)},
		Frame:      &decode.Frame{Header: ws.Header{Fin: true, OpCode: ws.OpText, Length: 9, Masked: true, Mask: [4]byte{1, 2, 3, 4}}, Dir: decode.FromClient},
		Message:    &decode.Message{Data: []byte(`{"a,b":[1,2],"s":"x\"y"}`)},
		Violations: []decode.Violation{{Rule: &decode.Rule{ID: "one"}}, {Rule: &decode.Rule{ID: "two"}}}}
	var st State
	c.See(&st, ev)
	want := []string{"3", "client", "true", "text", "9", "0.000001", "[1,2]", `x"y`, "one two", "01020304", at.Format(time.RFC3339Nano)}
	if got := c.Append(nil, &st); !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
	if !c.Needs().Messages {
		t.Error("messages are not needed for json")
	}
	for text, want := range map[string]string{"sesion": `there is no field "sesion", the nearest is session`, "op,": `there is no field ""`, "json..": "json..: "} {
		if _, err := ParseColumns(text); err == nil || len(err.Error()) < len(want) || err.Error()[:len(want)] != want {
			t.Errorf("%q: got %v, want %s", text, err, want)
		}
	}
}

// A document that holds itself again and again is not written out as often.
func TestColumnsAreBounded(t *testing.T) {
	c, err := ParseColumns("json..a")
	if err != nil {
		t.Fatal(err)
	}
	doc := strings.Repeat(`{"a":`, 3000) + "1" + strings.Repeat("}", 3000)
	var st State
	c.See(&st, &decode.Event{Kind: decode.KindFrame, Info: &decode.Info{}, Frame: &decode.Frame{}, Message: &decode.Message{Data: []byte(doc)}})
	got := c.Append(nil, &st)[0]
	if n := len(got); n > len(doc)+maxText || !strings.HasSuffix(got, " …") {
		t.Errorf("%d bytes that end in %q", n, got[max(n-9, 0):])
	}
}
