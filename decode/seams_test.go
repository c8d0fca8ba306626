package decode

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// Sources that have no wire bytes, and gates.

func head2(method, status string, fields ...Field) *Head {
	h := &Head{Proto: "HTTP/2", Method: method, Target: "/chat"}
	if method != "" {
		h.Fields = []Field{{":method", method}, {":protocol", "websocket"}, {":scheme", "https"}, {":path", "/chat"}, {":authority", "a"}}
	} else {
		h.Target = ""
		fmt.Sscan(status, &h.Status)
		h.Fields = []Field{{":status", status}}
	}
	h.Fields = append(h.Fields, fields...)
	return h
}

// TestSessionHTTP2 opens a WebSocket connection by heads that have no raw form
// (RFC 8441 §5.1).
func TestSessionHTTP2(t *testing.T) {
	s := newScript(t)
	s.Advice = true
	s.Head(FromClient, s.tick(), head2("CONNECT", "", Field{"sec-websocket-protocol", "chat, echo"},
		Field{"sec-websocket-extensions", "permessage-deflate"}, Field{"origin", "https://a"}), nil)
	s.client(masked(0x81, testKey, "early"))
	s.Head(FromServer, s.tick(), head2("", "200", Field{"sec-websocket-protocol", "chat"},
		Field{"sec-websocket-extensions", "permessage-deflate"}), nil)
	s.server(unmasked(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00"))
	var got []string
	for _, ev := range s.record {
		for _, v := range ev.Violations {
			got = append(got, string(v.ID))
		}
	}
	if want := []string{"req-early-data"}; !slices.Equal(got, want) {
		t.Errorf("got violations %v, want %v", got, want)
	}
	last := s.record[len(s.record)-1]
	if hs := last.Handshake; !hs.Accepted || hs.Subprotocol != "chat" || !hs.Deflate.On {
		t.Errorf("got handshake %+v, want an accepted one with chat and permessage-deflate", hs)
	}
	if last.Frame == nil || last.Frame.Rsv != 4 {
		t.Errorf("got %s, want the frame", line(last))
	}
}

// TestSessionHTTP2Refused has a server that refuses.
func TestSessionHTTP2Refused(t *testing.T) {
	s := newScript(t)
	s.Head(FromClient, s.tick(), head2("CONNECT", ""), nil)
	s.Head(FromServer, s.tick(), head2("", "403"), nil)
	s.Body(FromServer, s.tick(), []byte("not you"), true)
	s.want("> request CONNECT /chat", `< response 403 "not you" of 7`, `< body "not you" of 7`)
}

// TestSessionEditedResponse has a response of which another head is sent on.
func TestSessionEditedResponse(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest)
	res, _ := ParseResponse(upgradeResponse)
	s.Head(FromServer, s.tick(), res, res.WithField("X-Added", "1"))
	hs := s.record[len(s.record)-1].Handshake
	if hs.Relayed.Get("X-Added") != "1" || hs.Response.Get("X-Added") != "" || !hs.Accepted {
		t.Errorf("got %q sent in place of %q", hs.Relayed.Raw, hs.Response.Raw)
	}
}

// TestSessionBody gives bodies as files have them, without transfer coding.
func TestSessionBody(t *testing.T) {
	s := newScript(t)
	req, _ := ParseRequest("POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
	s.Head(FromClient, s.tick(), req, nil)
	s.Body(FromClient, s.tick(), []byte("hello "), false)
	s.Body(FromClient, s.tick(), []byte("there"), true)
	res, _ := ParseResponse("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n")
	s.Head(FromServer, s.tick(), res, nil)
	s.Body(FromServer, s.tick(), []byte("what came of it"), true)
	s.Done(s.tick())
	if got := s.record[len(s.record)-1].Totals.Bytes; got != [2]int64{11, 15} {
		t.Errorf("got bytes %v, want 11 and 15", got)
	}
}

// TestSessionMessage gives messages of a source that knows no frames.
func TestSessionMessage(t *testing.T) {
	var got []string
	var totals *Totals
	s := &Session{Sink: SinkFunc(func(ev *Event) {
		if m := ev.Message; m != nil {
			text := fmt.Sprintf("%s %s %d %q frames %d", m.Dir, OpName(m.Op), m.N, m.Data, m.Frames)
			for _, v := range ev.Violations {
				text += " !" + string(v.ID)
			}
			got = append(got, text)
		}
		if ev.Kind == KindClosed {
			totals = ev.Clone().Totals
		}
	})}
	s.Open(Info{Conn: 1, Time: start, NoFrames: true})
	s.Upgraded()
	s.Message(FromClient, start, ws.OpText, []byte("hi"))
	s.Message(FromServer, start, ws.OpBinary, []byte{0, 1})
	s.Message(FromServer, start, ws.OpText, []byte("a\xff"))
	s.Message(FromServer, start, ws.OpClose, []byte("\x03\xe9bye"))
	s.End(FromServer, start, EndFIN, "")
	s.End(FromClient, start, EndFIN, "")
	want := []string{`client text 0 "hi" frames 0`, `server bin 0 "\x00\x01" frames 0`, `server text 1 "a\xff" frames 0 !text-invalid-utf8`, `server close 2 "\x03\xe9bye" frames 0`}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if totals.Messages != [2]int64{1, 2} || totals.Frames != [2]int64{} || totals.Code != 1001 || totals.Closer() != "server" || totals.Errors != 1 {
		t.Errorf("got totals %+v", totals)
	}
}

// TestSessionGate asks what becomes of each frame, and tells what is sent.
func TestSessionGate(t *testing.T) {
	s := newScript(t)
	s.Gate = func(ev *Event) Fate {
		if ev.Frame == nil {
			return Fate{}
		}
		switch string(ev.Frame.AppendPayload(nil, -1)) {
		case "drop me":
			return Fate{FX: FXDrop, Change: "when text do drop"}
		case "change me":
			return Fate{FX: FXReplace, Change: "c"}
		}
		return Fate{}
	}
	s.client(upgradeRequest)
	s.server(upgradeResponse)
	s.client(masked(0x81, [4]byte{1}, "drop me") + masked(0x81, [4]byte{2}, "change me") + masked(0x81, [4]byte{3}, "keep me"))
	sent := masked(0x81, [4]byte{4}, "changed")
	s.Sent(FromClient, s.tick(), []byte(sent[:4]), "c")
	s.Sent(FromClient, s.tick(), []byte(sent[4:]), "c")
	var got []string
	for _, ev := range s.record {
		if ev.Frame != nil {
			got = append(got, fmt.Sprintf("%s %s out %t more %t %q", ev.Fate.FX, ev.Fate.Change, ev.Out, ev.Frame.More, ev.Frame.AppendPayload(nil, -1)))
		}
	}
	want := []string{`drop when text do drop out false more false "drop me"`, `replace c out false more false "change me"`,
		`  out false more false "keep me"`, ` c out true more false "changed"`}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}
