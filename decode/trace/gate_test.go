package trace

import (
	"bytes"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A gatekeeper changes the frames of a session by what they say: it has a gate,
// and sends what that decides to the peer, as a relay does.
type gatekeeper struct {
	decode.Session
	now  time.Time
	came [2]bytes.Buffer
	sent [2]bytes.Buffer // what reached the peer of each side
}

// decide is the gate. A frame in pieces meets one fate.
func (g *gatekeeper) decide(ev *decode.Event) decode.Fate {
	if ev.Kind == decode.KindJunk {
		return decode.Fate{FX: decode.FXDrop, Change: "drop junk"}
	}
	f := ev.Frame
	if ev.Kind != decode.KindFrame {
		return decode.Fate{}
	}
	switch f.OpCode {
	case ws.OpPing:
		return decode.Fate{FX: decode.FXDrop, Change: `when op == ping do drop`}
	case ws.OpBinary:
		if !f.More {
			g.AlsoChanged(ev.Dir, "when op == bin do delay 1s", "it is long")
		}
		return decode.Fate{FX: decode.FXDelay, Change: "when op == bin do delay 1s"}
	case ws.OpText:
		if strings.HasPrefix(string(f.AppendPayload(nil, 4)), "swap") {
			return decode.Fate{FX: decode.FXReplace, Change: "when text contains \"swap\" do text \"é\""}
		}
	case ws.OpPong:
		g.AlsoChanged(ev.Dir, "hold", "until somebody looks")
		g.AlsoChanged(ev.Dir, "", "a notice")
		return decode.Fate{FX: decode.FXHold}
	}
	return decode.Fate{}
}

// relay takes bytes of d and sends on what the gate lets pass.
func (g *gatekeeper) relay(d decode.Dir, b string) {
	g.came[d].WriteString(b)
	g.now = g.now.Add(time.Millisecond)
	g.Data(d, g.now, []byte(b))
}

// write sends in place of what came.
func (g *gatekeeper) write(d decode.Dir, b, change string) {
	g.now = g.now.Add(time.Millisecond)
	g.Sent(d, g.now, []byte(b), change)
	g.sent[d].WriteString(b)
}

// TestGate records a session whose frames were dropped, delayed, replaced and
// added to, rebuilds what came and what was sent from the trace, and plays it.
func TestGate(t *testing.T) {
	long := strings.Repeat("0123456789abcdé", 10_000) // 160 kB
	rec := newTeller()
	g := &gatekeeper{Session: decode.Session{Look: thorough()}, now: start}
	g.Gate = g.decide
	g.Sink = decode.SinkFunc(func(ev *decode.Event) {
		if f := ev.Frame; f != nil && !ev.Out && ev.Fate.FX == decode.FXNone {
			g.sent[ev.Dir].Write(f.AppendWire(nil))
		}
		rec.Emit(ev)
	})
	g.Open(decode.Info{Conn: 1, Time: start})
	g.relay(client, upgrade())
	g.relay(server, accept())
	g.sent[client].WriteString(upgrade())
	g.sent[server].WriteString(accept())

	g.relay(client, frame(0x81, 1, "as it came"))
	g.relay(server, frame(0x89, 0, "dropped")+frame(0x81, 0, "passes"))
	g.relay(client, frame(0x82, 2, "delayed"))
	g.relay(client, frame(0x81, 3, "swap me"))
	g.write(client, frame(0x82, 2, "delayed"), "when op == bin do delay 1s")
	g.write(client, frame(0x01, 4, "é")+frame(0x80, 5, ""), "when text …")
	g.write(server, frame(0x89, 0, ""), `every 1s do inject < ping`)
	g.relay(client, frame(0x8a, 6, ""))            // held
	g.relay(server, frame(0x82, 0, long)[:70_000]) // in pieces, late
	g.relay(server, frame(0x82, 0, long)[70_000:])
	g.relay(client, frame(0x81, 7, long)) // in pieces, as it came
	g.Changed(server, g.now, "drop pongs", "both sides have ended")
	g.Changed(client, g.now, "", "a notice")
	for b := frame(0x82, 0, long); len(b) > 0; {
		n := min(50_000, len(b))
		g.write(server, b[:n], "delay")
		b = b[n:]
	}
	g.relay(server, frame(0x88, 0, "\x03\xe8bye"))
	g.write(client, frame(0x83, 8, "odd")+"\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xff and", "truncate")
	g.write(client, "junk", "truncate")
	g.write(server, "\x81", "stall") // it is cut off there
	g.relay(client, "\x88")          // a header cut off is junk
	g.End(client, g.now, decode.EndFIN, "")
	g.End(server, g.now, decode.EndFIN, "")

	if !replay(t, rec) {
		t.Fatalf("trace\n%.6000s", rec.trace.Bytes())
	}
	for d := range decode.Dir(2) {
		for name, rebuilt := range map[string]struct {
			bytes func(*Reader, int64, decode.Dir) ([]byte, error)
			want  []byte
		}{"came": {Bytes, g.came[d].Bytes()}, "was sent": {SentBytes, g.sent[d].Bytes()}} {
			got, err := rebuilt.bytes(NewReader(bytes.NewReader(rec.trace.Bytes())), 1, d)
			if err != nil || !bytes.Equal(got, rebuilt.want) {
				t.Errorf("what %s from the %s: got %d bytes %.200q, %v, want %d bytes %.200q", name, d, len(got), got, err, len(rebuilt.want), rebuilt.want)
			}
		}
	}
	fates := map[string]int{}
	for line := range strings.Lines(rec.trace.String()) {
		if r, err := Parse([]byte(line)); err == nil && r.Leg+r.FX != "" {
			fates[r.Kind+" "+r.Leg+r.FX]++
		} else if err == nil && r.Kind == KindNote && r.HasDir {
			fates["note "+r.Dir.Arrow()+" "+r.Change]++
		}
	}
	for _, want := range []string{"frame drop", "frame delay", "frame replace", "frame hold", "frame out", "more out", "more delay", "junk drop", "junk out", "note < drop pongs", "note > hold", "note < when op == bin do delay 1s"} {
		if fates[want] == 0 {
			t.Errorf("got lines %v, want %q among them", fates, want)
		}
	}
}

// TestGateHeads plays heads that were edited by the proxy itself, and by a
// change.
func TestGateHeads(t *testing.T) {
	for _, fate := range []decode.Fate{{}, {FX: decode.FXReplace, Change: "header X: y"}, {FX: decode.FXDelay, Change: "delay 1s"}} {
		rec := newTeller()
		s := decode.Session{Sink: rec, Look: thorough(), Gate: func(ev *decode.Event) decode.Fate {
			if ev.Kind == decode.KindRequest || ev.Kind == decode.KindResponse {
				return fate
			}
			return decode.Fate{}
		}}
		s.Open(decode.Info{Conn: 1, Time: start})
		edited{upgrade(), upgrade("X: y")}.take(&s, start)
		s.Data(server, start, []byte(accept()+frame(0x81, 0, "hi")))
		s.End(server, start, decode.EndFIN, "")
		s.End(client, start, decode.EndFIN, "")
		if !replay(t, rec) {
			t.Fatalf("%+v: trace\n%s", fate, rec.trace.Bytes())
		}
		got, err := SentBytes(NewReader(bytes.NewReader(rec.trace.Bytes())), 1, client)
		if want := upgrade("X: y"); err != nil || string(got) != want {
			t.Errorf("%+v: got %q, %v, want %q", fate, got, err, want)
		}
	}
}

// TestPlayCutOut plays what a preview left of the payloads that were sent.
func TestPlayCutOut(t *testing.T) {
	var b bytes.Buffer
	s := decode.Session{Sink: NewWriter(&b, Options{Derived: true, Preview: 2})}
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Upgraded()
	s.Sent(server, start, []byte(frame(0x81, 0, strings.Repeat("x", 70_000))+frame(0x81, 0, "Hello")+frame(0x81, 0, "hi")), "c")
	var said []string
	if err := playAll(&b, decode.SinkFunc(func(ev *decode.Event) {
		if f := ev.Frame; f != nil {
			said = append(said, string(f.AppendPayload(nil, -1)))
		}
	}), decode.Look{}); err != nil {
		t.Error(err)
	}
	same(t, "payload", said, []string{"xx", "He", "hi"})
}

// TestSentBytes has lines that are, or are not, part of what was sent.
func TestSentBytes(t *testing.T) {
	const header = `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n"
	for _, test := range []struct{ lines, want string }{
		{`{"k":"frame","d":"<","op":"text","text":"a"}`, "\x81\x01a"},
		{`{"k":"frame","d":"<","op":"text","text":"a","fx":"drop"}`, ""},
		{`{"k":"frame","d":"<","op":"text","text":"a","fx":"later version"}`, ""},
		{`{"k":"frame","d":"<","op":"text","text":"a","fx":"inject"}`, ""},
		{`{"k":"frame","d":"<","op":"text","text":"a","leg":"out","fx":"inject"}`, "\x81\x01a"},
		{`{"k":"frame","d":"<","op":"text","text":"a","change":"noted"}`, "\x81\x01a"},
		{`{"k":"frame","d":">","op":"text","text":"a"}`, ""},
		{`{"k":"frame","d":"<","op":"text","len":9,"cut":true,"fx":"drop"}`, ""},
		{`{"k":"frame","d":"<","op":"text","len":2,"text":"a","fx":"delay"}` + "\n" + `{"k":"frame","d":"<","op":"text","len":2,"text":"a","leg":"out"}` + "\n" +
			`{"k":"more","d":"<","text":"b","fx":"delay"}` + "\n" + `{"k":"more","d":"<","text":"b","leg":"out"}`, "\x81\x02ab"},
		{`{"k":"junk","d":"<","b64":"AAE=","fx":"drop"}` + "\n" + `{"k":"junk","d":"<","b64":"AA==","leg":"out"}`, "\x00"},
	} {
		got, err := SentBytes(NewReader(strings.NewReader(header+test.lines+"\n")), 1, server)
		if err != nil || string(got) != test.want {
			t.Errorf("%s: got %q, %v, want %q", test.lines, got, err, test.want)
		}
	}
	for _, test := range []struct{ line, want string }{
		{`{"k":"frame","d":"<","op":"text","len":9,"cut":true,"leg":"out"}`, "line 3: the payload was cut when it was written"},
		{`{"k":"more","d":"<","text":"b","leg":"out"}`, "line 3: 1 more bytes from the server for a frame that needs 0"},
		{`{"k":"gap","d":"<","n":3}`, "line 3: 3 bytes are lost"},
	} {
		_, err := SentBytes(NewReader(strings.NewReader(header+test.line+"\n")), 1, server)
		if err == nil || err.Error() != test.want {
			t.Errorf("%s: got %v, want %s", test.line, err, test.want)
		}
	}
}
