package proxy

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// A headGate has heads changed, and frames pass.
type headGate func(*decode.Event) HeadDecision

func (headGate) Decide(*decode.Event) Decision { return Decision{} }

func (g headGate) Head(ev *decode.Event) HeadDecision { return g(ev) }

// withHeads has every session go through gate, and writes a trace to recording.
func withHeads(gate headGate, recording *bytes.Buffer) func(*Proxy) {
	return func(p *Proxy) {
		p.NewGate = func(decode.Info, *Outlet) Gate { return gate }
		p.Sink = &decode.Tee{Sinks: []decode.Sink{trace.NewWriter(recording, trace.Options{}), p.Sink}}
	}
}

// wantTraced checks that a trace has, of the first session, what each side sent and
// what the other got. The client also got answer, which is ours.
func wantTraced(t *testing.T, recording []byte, c, s *peer, answer string) {
	t.Helper()
	var got []byte
	if s != nil {
		got = s.got
	}
	for what, x := range map[string]struct {
		bytes func(*trace.Reader, int64, decode.Dir) ([]byte, error)
		d     decode.Dir
		want  []byte
	}{
		"the client sent": {trace.Bytes, decode.FromClient, c.sent},
		"the server got":  {trace.SentBytes, decode.FromClient, got},
		"the client got":  {trace.SentBytes, decode.FromServer, bytes.TrimSuffix(c.got, []byte(answer))},
	} {
		b, err := x.bytes(trace.NewReader(bytes.NewReader(recording)), 1, x.d)
		if err != nil || !bytes.Equal(b, x.want) {
			t.Errorf("%s: the trace has %q, %v, want %q", what, b, err, x.want)
		}
	}
	if s == nil {
		return
	}
	if b, err := trace.Bytes(trace.NewReader(bytes.NewReader(recording)), 1, decode.FromServer); err != nil || !bytes.Equal(b, s.sent) {
		t.Errorf("the server sent: the trace has %q, %v, want %q", b, err, s.sent)
	}
	var again bytes.Buffer
	if err := (&trace.Source{R: bytes.NewReader(recording)}).Play(t.Context(), trace.NewWriter(&again, trace.Options{}), decode.Look{}); err != nil || !bytes.Equal(again.Bytes(), recording) {
		t.Errorf("played, the trace is, with %v,\n%s\nwant\n%s", err, again.Bytes(), recording)
	}
}

var handshakeModes = []mode{inReverse, inForward, inTunnel, inTLS, inTLSTunnel, inDirect, inTLSDirect}

func with(head, line string) string { return strings.TrimSuffix(head, "\r\n") + line + "\r\n\r\n" }

// Both heads of the handshake are edited, and frames that come with them follow.
func TestHeadsEdited(t *testing.T) {
	gate := func(ev *decode.Event) HeadDecision {
		if ev.Dir == decode.FromServer && (!ev.Handshake.Accepted || ev.Handshake.Request == nil || ev.Handshake.Response != ev.Head || ev.Info.Conn != 1) {
			t.Errorf("the gate is given %+v", ev)
		}
		return HeadDecision{Change: "add", Edit: func(h *decode.Head) *decode.Head { return h.WithField("X-Added", ev.Dir.String()) }}
	}
	for _, m := range handshakeModes {
		t.Run(string(m), func(t *testing.T) {
			var recording bytes.Buffer
			r := newRig(t, m, withHeads(gate, &recording))
			c := r.dial()
			c.sent = nil // what a tunnel takes
			c.got = nil
			c.send(r.request(upgradeRequest))
			s := r.accept()
			s.want("the request", with(upgradeRequest, "X-Added: client"))
			s.send(switching + text("at once"))
			c.want("the 101 and a frame", with(switching, "X-Added: server")+text("at once"))
			c.send(masked("hello"))
			s.want("a frame", masked("hello"))
			c.closeWrite()
			s.wantEnd("the client ends", decode.EndFIN)
			s.Close()
			c.wantEnd("the server ends", decode.EndFIN)
			r.wait(t, 1, "closed")
			r.wantWire(t, 1, c, s)
			r.wantTapped(t, 1, c, s)
			r.stop()
			wantTraced(t, recording.Bytes(), c, s, "")
			for _, kind := range []string{"req", "res"} {
				if n := strings.Count(recording.String(), `{"k":"`+kind+`"`); n != 2 {
					t.Errorf("got %d lines of %s, want 2:\n%s", n, kind, recording.String())
				}
			}
			if n := strings.Count(recording.String(), `"fx":"replace","change":"add"`); n != 2 {
				t.Errorf("got %d heads that were replaced by a change, want 2:\n%s", n, recording.String())
			}
		})
	}
}

// The answer to a refused upgrade is edited, and its body follows.
func TestRefusalEdited(t *testing.T) {
	gate := func(ev *decode.Event) HeadDecision {
		if ev.Dir == decode.FromClient {
			return HeadDecision{}
		}
		return HeadDecision{Change: "add", Edit: func(h *decode.Head) *decode.Head { return h.WithField("X-Added", "1") }}
	}
	const head = "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\n"
	for _, body := range []string{"0123456789", "01234"} {
		var recording bytes.Buffer
		r := newRig(t, inReverse, withHeads(gate, &recording))
		c, s := r.ask(upgradeRequest)
		s.send("HTTP/1.1 103 Early Hints\r\n\r\n" + head + body)
		c.want("the refusal", "HTTP/1.1 103 Early Hints\r\n\r\n"+with(head, "X-Added: 1")+body)
		s.send("0123456789"[len(body):])
		c.want("the rest", "0123456789"[len(body):])
		c.Close()
		r.wait(t, 1, "closed")
		r.wantTapped(t, 1, c, s)
		r.stop()
		wantTraced(t, recording.Bytes(), c, s, "")
	}
}

// An edit that changes nothing is none, and one that panics ends the changes.
func TestHeadEditOfNothing(t *testing.T) {
	for name, edit := range map[string]func(*decode.Head) *decode.Head{
		"nothing": func(h *decode.Head) *decode.Head { return h.WithValue("X-Missing", "1") },
		"nil":     func(*decode.Head) *decode.Head { return nil },
		"panic":   func(*decode.Head) *decode.Head { panic("a bug in the gate") },
	} {
		for _, m := range []mode{inReverse, inForward} {
			t.Run(name+" "+string(m), func(t *testing.T) {
				var recording bytes.Buffer
				r := newRig(t, m, withHeads(func(*decode.Event) HeadDecision { return HeadDecision{Change: "x", Edit: edit} }, &recording))
				c, s := r.upgrade()
				c.Close()
				s.wantEnd("the client ends", decode.EndFIN)
				s.Close()
				r.wait(t, 1, "closed")
				r.stop()
				wantTraced(t, recording.Bytes(), c, s, "")
				if strings.Contains(recording.String(), `"change"`) {
					t.Errorf("got a change:\n%s", recording.String())
				}
			})
		}
	}
}

// A request is answered in place of the server, which does not learn of it.
func TestRequestAnswered(t *testing.T) {
	for _, status := range []int{503, 408, 504, 502} {
		for _, m := range handshakeModes {
			if status != 503 && m != inReverse {
				continue
			}
			t.Run(fmt.Sprint(status, m), func(t *testing.T) {
				var recording bytes.Buffer
				r := newRig(t, m, withHeads(func(ev *decode.Event) HeadDecision {
					return HeadDecision{Change: "status", Status: status, Body: "maintenance"}
				}, &recording))
				c := r.dial()
				c.sent, c.got = nil, nil
				c.send(r.request(upgradeRequest))
				if m.secure() { // the server is there before the request
					if got, _ := r.accept().rest(); got != "" {
						t.Errorf("the server got %q", got)
					}
				}
				c.wantAnswer(status, "maintenance\n")
				r.wait(t, 1, "closed")
				r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
				r.wantStatus(t, 1, status)
				r.stop()
				wantTraced(t, recording.Bytes(), c, nil, string(c.got))
				if !strings.Contains(recording.String(), `"fx":"drop","change":"status"`) {
					t.Errorf("the request is not dropped:\n%s", recording.String())
				}
			})
		}
	}
}

// An answer of the server is dropped, with what follows it, and the client gets ours.
func TestResponseReplaced(t *testing.T) {
	for _, m := range handshakeModes {
		for _, answer := range []string{switching, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"} {
			t.Run(string(m)+answer[8:12], func(t *testing.T) {
				var recording bytes.Buffer
				r := newRig(t, m, withHeads(func(ev *decode.Event) HeadDecision {
					if ev.Dir == decode.FromClient {
						return HeadDecision{}
					}
					return HeadDecision{Change: "status", Status: 503}
				}, &recording))
				c := r.dial()
				c.sent, c.got = nil, nil
				c.send(r.request(upgradeRequest))
				s := r.accept()
				s.want("the request", upgradeRequest)
				if answer == switching {
					answer += text("early")
				}
				s.send(answer)
				c.wantAnswer(503, "a change answers with 503 Service Unavailable\n")
				s.rest()
				r.wait(t, 1, "closed")
				r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
				r.wantStatus(t, 1, 503)
				r.stop()
				wantTraced(t, recording.Bytes(), c, s, string(c.got))
			})
		}
	}
}
