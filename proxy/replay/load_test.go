package replay

import (
	"bytes"
	"context"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// onlySource hides that a Source is a trace.
type onlySource struct{ decode.Source }

// What a Source tells is as good as the records of a trace, but for what is
// only in those.
func TestLoadSource(t *testing.T) {
	var frozen bytes.Buffer
	if err := edit.Freeze(&frozen, strings.NewReader(talk)); err != nil {
		t.Fatal(err)
	}
	bad := open + `{"k":"junk","d":">","hex":"82 ff ff ff ff ff ff ff ff ff 01 02 03 04 aa"}
{"k":"frame","d":"<","op":"bin","len":9,"hex":"01"}
{"k":"end","how":"fin"}
`
	for name, text := range map[string]string{"talk": frozen.String(), "bad": bad} {
		for _, opts := range [][]LoadOption{nil, {Exact()}} {
			s, err := Load(onlySource{Trace(strings.NewReader(text))}, opts...)
			if err != nil {
				t.Fatal(name, err)
			}
			recorded := loaded(t, text, opts...)
			for d := range s.sides {
				if got, want := describe(&s.sides[d]), describe(&recorded.sides[d]); got != want {
					t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
				}
			}
			for _, pair := range [][2]*Script{{s, recorded}, {recorded, s}} {
				serr, cerr := both(t, pair[0], pair[1])
				check(t, serr, "")
				check(t, cerr, "")
			}
		}
	}

	// Where nothing is known of lines, none is named.
	s, err := Load(onlySource{Trace(strings.NewReader(strings.Replace(frozen.String(), `"text":"morning"`, `"text":"evening"`, 1)))})
	if err != nil {
		t.Fatal(err)
	}
	if !s.lines {
		serr, _ := both(t, s, loaded(t, talk))
		check(t, serr, `expected client message 0, text "good evening", after the handshake; got text "good morning", which differs at byte 5`)
	}

	for text, want := range map[string]string{
		open: "the trace has no WebSocket session",
		line(handshake, 1) + line(handshake, 2) + line(handshake, 3): "session 1 has a request and no answer",
		handshake + `{"k":"gap","d":"<","n":3}`:                      "3 bytes are lost here, so the session can't be played",
	} {
		_, err := Load(onlySource{Trace(strings.NewReader(text + "\n"))})
		if err == nil || !strings.HasSuffix(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	s, err = Load(onlySource{Trace(strings.NewReader(frozen.String() + `{"k":"en`))})
	if err != nil || s.Warning() == nil {
		t.Errorf("cut off: %v, %v", err, s.Warning())
	}
}

// describe returns what a side does, in short.
func describe(sd *side) string {
	var b []byte
	for i := range sd.items {
		it := &sd.items[i]
		b = fmt.Appendf(b, "%x %t %v %t %t %t %d %t %d\n", sd.wireOf(it), it.end, it.how, it.isClose, it.ends, it.early, it.need, it.reply, it.unit)
	}
	for i := range sd.units {
		b = fmt.Appendf(b, "%v %v\n", &sd.units[i], []int32{sd.units[i].firstItem, sd.units[i].lastItem})
	}
	return string(b)
}

// messages is a file that knows no frames.
type messages []*decode.Message

func (ms messages) Play(_ context.Context, sink decode.Sink, _ decode.Look) error {
	info := &decode.Info{Conn: 7, URL: "ws://h/chat"}
	now := time.Unix(1, 0)
	sink.Emit(&decode.Event{Kind: decode.KindOpen, Conn: 7, Info: info, Time: now})
	for _, m := range ms {
		now = now.Add(time.Second)
		sink.Emit(&decode.Event{Kind: decode.KindMessage, Conn: 7, Info: info, Time: now, Dir: m.Dir, Message: m})
	}
	return nil
}

func TestLoadMessages(t *testing.T) {
	src := messages{
		{Dir: decode.FromServer, Op: ws.OpText, Data: []byte(`{"id":"abc"}`), Len: 12},
		{Dir: decode.FromClient, Op: ws.OpText, Data: []byte(`got abc`), Len: 7},
		{Dir: decode.FromServer, Op: ws.OpBinary, Data: make([]byte, 70_000), Len: 70_000},
	}
	for _, opts := range [][]LoadOption{nil, {Exact()}, {Capture("$.id")}} {
		s, err := Load(src, opts...)
		if err != nil {
			t.Fatal(err)
		}
		serr, cerr := both(t, s, s)
		check(t, serr, "")
		check(t, cerr, "")
		if s.Number() != 7 || s.Messages(decode.FromServer) != 2 || s.Sessions() != 1 {
			t.Errorf("got session %d of %d with %d messages", s.Number(), s.Sessions(), s.Messages(decode.FromServer))
		}
	}
	synctest.Test(t, func(t *testing.T) {
		s, err := Load(src, Capture("$.id"))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		serr, cerr := both(t, s, s, Timing(Original))
		check(t, serr, "")
		check(t, cerr, "")
		if took := time.Since(began); took < 3*time.Second {
			t.Errorf("it took %v", took)
		}
	})
	src[2].Cut, src[2].Data = true, nil
	_, err := Load(src)
	check(t, err, "70000 bytes are lost here, so the session can't be played")
}

// A file that has messages and no frames is played, and compared, by what it knows: it
// may have one Close of two, and no fragments, masks and compression.
func TestNoFrames(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const handshake = `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/","messages":true}
`
		const (
			hi     = `{"k":"message","t":1,"c":1,"d":">","op":"text","text":"hi"}` + "\n"
			hello  = `{"k":"message","t":2,"c":1,"d":"<","op":"text","text":"hello"}` + "\n"
			client = `{"k":"message","t":3,"c":1,"d":">","op":"close","b64":"A+g="}` + "\n"
			server = `{"k":"message","t":3,"c":1,"d":"<","op":"close","b64":"A+g="}` + "\n"
			end    = `{"k":"end","t":4,"c":1,"how":"fin"}` + "\n"
			frames = `{"wstrace":1}
{"k":"open","c":1,"url":"ws://h/"}
{"k":"frame","t":1,"c":1,"d":">","op":"text","mask":"01020304","fin":false,"text":"h"}
{"k":"frame","t":1,"c":1,"d":">","op":"cont","mask":"01020304","text":"i"}
{"k":"frame","t":2,"c":1,"d":"<","op":"text","text":"hello"}
`
			clients = `{"k":"frame","t":3,"c":1,"d":">","op":"close","mask":"01020304","code":1000}` + "\n"
			servers = `{"k":"frame","t":3,"c":1,"d":"<","op":"close","code":1000}` + "\n"
		)
		byClient := loaded(t, handshake+hi+hello+client+end)
		byServer := loaded(t, handshake+hi+hello+server+end)
		for _, c := range []struct {
			messages *Script
			frames   string
		}{
			{byClient, frames + clients + servers + end},
			{byClient, frames + clients + end},
			{byServer, frames + servers + clients + end},
			{byServer, frames + servers + end},
		} {
			wire := loaded(t, c.frames)
			serr, _ := both(t, c.messages, wire)
			check(t, serr, "")
			_, cerr := both(t, wire, c.messages)
			check(t, cerr, "")
			for _, sides := range [][2]*Script{{c.messages, wire}, {wire, c.messages}} {
				var out bytes.Buffer
				if differ, err := Diff(&out, sides[0], sides[1], 0); differ || err != nil {
					t.Errorf("got %v, and a diff\n%s", err, &out)
				}
			}
		}
		var out bytes.Buffer
		Diff(&out, byClient, loaded(t, frames+strings.Replace(clients, "1000", "1001", 1)), 0)
		if want := "- > close 1000  line 5\n"; !strings.Contains(out.String(), want) {
			t.Errorf("got a diff\n%swant\n%sin it", &out, want)
		}
		exact, err := Load(Trace(strings.NewReader(frames)), Exact())
		if err != nil {
			t.Fatal(err)
		}
		if _, err := Diff(&out, exact, byClient, 0); err != errNoFrames {
			t.Errorf("got %v for frames and none", err)
		}
	})
}

// An option that something would ignore can't be given to it.
func TestOptionsForTheirVerb(t *testing.T) {
	const compare, load, play, connect, serve, dial = 1, 2, 4, 8, 16, 32
	for name, c := range map[string]struct {
		option any
		verbs  int
	}{
		"Ignore":     {Ignore(), compare | load | serve | dial},
		"Capture":    {Capture("$"), compare | load | serve | dial},
		"AnyOrder":   {AnyOrder(), compare | load | serve | dial},
		"Exact":      {Exact(), compare | load | serve | dial},
		"Headers":    {Headers(), compare | load | serve | dial},
		"Session":    {Session(1), load | serve | dial},
		"Timing":     {Timing(1), play | connect | serve | dial},
		"Notes":      {Notes(nil), play | connect | serve | dial},
		"Chunks":     {Chunks(1), play | connect | serve | dial},
		"Clock":      {Clock(1), play | connect | serve | dial},
		"ServerTLS":  {ServerTLS(nil), play | connect | serve | dial},
		"Stall":      {Stall(1), play | connect | serve | dial},
		"Header":     {Header("", ""), play | connect | serve | dial},
		"Events":     {Events(nil), play | connect | serve | dial},
		"Latency":    {Latency(nil), play | connect | serve | dial},
		"Update":     {Update(true), play | connect | serve | dial},
		"TLS":        {TLS(nil), connect | dial},
		"Dialer":     {Dialer(nil), connect | dial},
		"All":        {All(), serve | dial},
		"Times":      {Times(1), serve},
		"UpdateFrom": {UpdateFrom(true, ""), serve},
	} {
		got := 0
		for verb, is := range map[int]bool{
			compare: implements[CompareOption](c.option), load: implements[LoadOption](c.option),
			play: implements[PlayOption](c.option), connect: implements[ConnectOption](c.option),
			serve: implements[ServeOption](c.option), dial: implements[DialOption](c.option),
		} {
			if is {
				got |= verb
			}
		}
		if got != c.verbs {
			t.Errorf("%s is for %06b, want %06b", name, got, c.verbs)
		}
	}
	s := loaded(t, talk)
	check(t, s.Connect(t.Context(), "ws://x", Stall(-1)), "a stall of -1ns")
	told := watch(t, func(t *witness) { Dial(t, "ws://x", fixture(t.T, talk), All(), Session(2)) })
	if len(told) != 1 || told[0] != "replay: both session 2 and all" {
		t.Errorf("got %q", told)
	}
}

func implements[I any](v any) bool { _, ok := v.(I); return ok }
