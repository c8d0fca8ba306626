package replay

import (
	"bytes"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// lines of a session that came and was sent on, that only came, and that only was sent.
const changedSession = `
both {"k":"frame","d":">","op":"text","mask":"01020304","text":"first"}
both {"k":"frame","d":"<","op":"text","rsv":4,"b64":"8kjNyckHAA=="}
came {"k":"frame","d":">","op":"text","mask":"11020304","text":"price 10","fx":"replace"}
sent {"k":"frame","d":">","op":"text","mask":"21020304","text":"price 11","leg":"out"}
came {"k":"frame","d":"<","op":"text","text":"gone","fx":"drop"}
both {"k":"frame","d":"<","op":"text","fin":false,"text":"in fr"}
sent {"k":"frame","d":"<","op":"ping","text":"ours","leg":"out"}
both {"k":"frame","d":"<","op":"cont","text":"agments"}
came {"k":"frame","d":">","op":"pong","mask":"31020304","text":"ours","fx":"drop"}
came {"k":"frame","d":">","op":"text","rsv":4,"mask":"41020304","b64":"8kjNyckHAA==","fx":"replace"}
sent {"k":"frame","d":">","op":"text","fin":false,"mask":"51020304","text":"Hel","leg":"out"}
sent {"k":"frame","d":">","op":"cont","mask":"61020304","text":"p!","leg":"out"}
came {"k":"frame","d":"<","op":"bin","len":4,"hex":"0001","fx":"delay"}
came {"k":"more","d":"<","hex":"0203","fx":"delay"}
sent {"k":"frame","d":"<","op":"bin","len":4,"hex":"0001","leg":"out"}
sent {"k":"more","d":"<","hex":"0203","leg":"out"}
both {"k":"frame","d":">","op":"text","mask":"71020304","text":"last"}
came {"k":"frame","d":">","op":"close","mask":"81020304","code":1000,"fx":"drop"}
sent {"k":"frame","d":">","op":"close","mask":"91020304","code":4000,"leg":"out"}
sent {"k":"frame","d":"<","op":"close","code":4000,"leg":"out"}
came {"k":"frame","d":"<","op":"close","code":4000,"fx":"drop"}
`

// changedTrace returns the trace of changedSession, or the plain one of a session in which
// each side sends what a leg of it has: "came" or "sent".
func changedTrace(legs ...string) string {
	const request = `{"k":"req","c":1,"m":"GET","target":"/%","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"],["Sec-WebSocket-Extensions","permessage-deflate; client_no_context_takeover; server_no_context_takeover"]]`
	const response = `{"k":"res","c":1,"v":"HTTP/1.1","code":101,"reason":"%","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="],["Sec-WebSocket-Extensions","permessage-deflate; client_no_context_takeover; server_no_context_takeover"]]`
	head := func(format, value, more string) string { return strings.Replace(format, "%", value, 1) + more + "}\n" }
	var b strings.Builder
	b.WriteString(open)
	if len(legs) == 0 {
		b.WriteString(head(request, "came", `,"fx":"replace","change":"x"`) + head(request, "sent", `,"leg":"out","change":"x"`))
		b.WriteString(head(response, "came", `,"fx":"replace","change":"x"`) + head(response, "sent", `,"leg":"out","change":"x"`))
	} else {
		b.WriteString(head(request, legs[decode.FromClient], "") + head(response, legs[decode.FromServer], ""))
	}
	for line := range strings.Lines(strings.TrimSpace(changedSession)) {
		leg, rec, _ := strings.Cut(line, " ")
		switch {
		case len(legs) == 0:
			b.WriteString(rec)
		case leg == "both" || strings.Contains(rec, `"d":">"`) && leg == legs[decode.FromClient] || strings.Contains(rec, `"d":"<"`) && leg == legs[decode.FromServer]:
			for _, fate := range []string{`,"fx":"drop"`, `,"fx":"replace"`, `,"fx":"delay"`, `,"leg":"out"`} {
				rec = strings.Replace(rec, fate, "", 1)
			}
			b.WriteString(rec)
		}
	}
	return b.String()
}

// TestChangedPlay plays either side of a session with changes against its peer, by what
// it sent itself and by what was sent in place of that.
func TestChangedPlay(t *testing.T) {
	changed := changedTrace()
	for _, c := range []struct {
		name   string
		opts   []LoadOption
		client string // what it sends
		server string
	}{
		{"as it came", nil, "came", "came"},
		{"client by what was sent", []LoadOption{AsSent(decode.FromClient)}, "sent", "came"},
		{"server by what was sent", []LoadOption{AsSent(decode.FromServer)}, "came", "sent"},
		{"both by what was sent", []LoadOption{AsSent()}, "sent", "sent"},
	} {
		plain := changedTrace(c.client, c.server)
		for _, how := range []LoadOption{Ignore(), Exact()} {
			opts := append([]LoadOption{how}, c.opts...)
			var diff bytes.Buffer
			if differ, err := Diff(&diff, loaded(t, changed, opts...), loaded(t, plain, how), 0); differ || err != nil {
				t.Errorf("%s: differs from the plain session: %v\n%s", c.name, err, diff.String())
			}
			for _, role := range []string{"client", "server"} {
				client, server := loaded(t, changed, opts...), loaded(t, plain, how)
				if role == "server" {
					client, server = server, client
				}
				serverErr, clientErr := both(t, server, client)
				if serverErr != nil || clientErr != nil {
					t.Errorf("%s, as the %s: got %v from the server, %v from the client", c.name, role, serverErr, clientErr)
				}
			}
		}
		for _, other := range []string{"came", "sent"} {
			if other != c.client {
				_, clientErr := both(t, loaded(t, changedTrace(other, c.server)), loaded(t, changed, c.opts...))
				if clientErr == nil {
					t.Errorf("%s: the client plays what %s too", c.name, other)
				}
			}
		}
	}
	if s := loaded(t, changed); !s.Changed() {
		t.Error("a session with changes has none")
	}
	if s := loaded(t, changedTrace("came", "came")); s.Changed() {
		t.Error("a session without changes has some")
	}
	if s := loaded(t, changedTrace("came", "sent"), AsSent()); s.Messages(decode.FromServer) != 3 {
		t.Errorf("got %d messages of the server in a session without changes, want 3", s.Messages(decode.FromServer))
	}
}

// TestChangedEdit plays what a client sent itself, when a change altered its head, and
// what the proxy made of it, when that had to.
func TestChangedEdit(t *testing.T) {
	const edited = open + `{"k":"req","c":1,"m":"GET","target":"http://h/came","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]],"fx":"replace"$}
{"k":"req","c":1,"m":"GET","target":"/sent","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="],["Sec-WebSocket-Version","13"]],"leg":"out"$}
{"k":"res","c":1,"v":"HTTP/1.1","code":101,"reason":"","h":[["Upgrade","websocket"],["Connection","Upgrade"],["Sec-WebSocket-Accept","C/0nmHhBztSRGR1CwL6Tf4ZjwpY="]]}
`
	for _, c := range []struct {
		change string
		opts   []LoadOption
		want   string
	}{
		{"", nil, "/sent"},
		{`,"change":"do header A: b"`, nil, "/came"},
		{`,"change":"do header A: b"`, []LoadOption{AsSent(decode.FromClient)}, "/sent"},
	} {
		s := loaded(t, strings.ReplaceAll(edited, "$", c.change), c.opts...)
		if s.Changed() != (c.change != "") {
			t.Errorf("%s: got changed %v", c.change, s.Changed())
		}
		lines := strings.Split(strings.NewReplacer("$", "", `,"leg":"out"`, "", `"/sent"`, `"`+c.want+`"`).Replace(edited), "\n")
		server := loaded(t, open+strings.Join(lines[3:], "\n"))
		if serverErr, clientErr := both(t, server, s); serverErr != nil || clientErr != nil {
			t.Errorf("%s: got %v from the server, %v from the client", c.change, serverErr, clientErr)
		}
	}
}

// TestChangedUpdate refuses to put a recording without changes in the place of one that
// has some.
func TestChangedUpdate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "changed.wst")
	if err := os.WriteFile(file, []byte(changedTrace()), 0o600); err != nil {
		t.Fatal(err)
	}
	check(t, keepsAll(file, []*Script{loaded(t, changedTrace())}), file+": the trace has changes, and an update would leave none")
	check(t, keepsAll(file, []*Script{loaded(t, changedTrace("came", "sent"))}), "")
}
