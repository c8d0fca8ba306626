package proxy

import (
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// inGate runs a test with an upgraded session that goes through gate, in the memory
// and time of a bubble.
func inGate(t *testing.T, gate gateFunc, test func(*testing.T, *clockRig, *Outlet)) {
	t.Helper()
	var outlet *Outlet
	inBubbleWith(t, func(p *Proxy) {
		p.NewGate = func(_ decode.Info, out *Outlet) Gate { outlet = out; return gate }
	}, func(t *testing.T, r *clockRig) {
		r.upgrade()
		test(t, r, outlet)
	})
}

// ofClient is a gate for the client's frames alone.
func ofClient(gate func(f *decode.Frame, word string) Decision) gateFunc {
	return func(ev *decode.Event) Decision {
		if ev.Kind != decode.KindFrame || ev.Dir != decode.FromClient {
			return Decision{}
		}
		return gate(ev.Frame, string(ev.Frame.AppendPayload(nil, -1)))
	}
}

// fates returns how the frames of the client are told, one a line.
func (r *record) fates() string {
	evs, _ := r.snapshot(1)
	var b strings.Builder
	for _, ev := range evs {
		if ev.Dir != decode.FromClient || ev.Kind != decode.KindFrame && ev.Kind != decode.KindJunk && ev.Kind != decode.KindNotice {
			continue
		}
		b.WriteString(lineOf(ev))
		if ev.Out {
			b.WriteString(" out")
		}
		if fx := ev.Fate.FX.String(); fx != "" {
			b.WriteString(" " + fx)
		}
		if ev.Fate.Change != "" {
			b.WriteString(" by " + ev.Fate.Change)
		}
		b.WriteString("\n")
	}
	return b.String()
}

func (r *clockRig) wantFates(lines ...string) {
	r.t.Helper()
	synctest.Wait()
	if got, want := r.fates(), strings.Join(lines, "\n")+"\n"; got != want {
		r.t.Errorf("got events\n%s\nwant\n%s", got, want)
	}
}

// What is sent for a frame stops in the middle, and nothing overtakes inside of it.
func TestStall(t *testing.T) {
	hello, empty, two := masked("hello"), maskedFrame(ws.NewPingFrame(nil)), masked("1")+masked("2")
	long := maskedFrame(ws.NewBinaryFrame(noise()[:3*decode.MaxPiece]))
	late := Decision{Fate: fx(decode.FXDelay), Stall: time.Minute}
	replaced := func(b string) Decision {
		return Decision{Fate: fx(decode.FXReplace), Stall: time.Minute, Bytes: []byte(b)}
	}
	for _, tt := range []struct {
		name, came  string
		decision    Decision
		first, rest string
	}{
		{"a frame", hello, late, hello[:5], hello[5:]},
		{"an empty ping", empty, late, empty[:3], empty[3:]},
		{"another in its place", hello, replaced("\x80\x00"), "\x80", "\x00"},
		{"two in its place", hello, replaced(two), two[:6], two[6:]},
		{"a part of one in its place", hello, replaced(hello[:8]), hello[:8], ""},
		{"a frame in pieces", long, late, long[:14+decode.MaxPiece], long[14+decode.MaxPiece:]},
	} {
		t.Run(tt.name, func(t *testing.T) {
			begun := false
			inGate(t, ofClient(func(f *decode.Frame, _ string) Decision {
				if begun {
					return Decision{}
				}
				begun = true
				return tt.decision
			}), func(t *testing.T, r *clockRig, _ *Outlet) {
				took(t, time.Minute, func() {
					sent := r.c.sendMeanwhile(tt.came)
					r.s.want("the first half", tt.first)
					<-sent
					synctest.Wait()
					r.c.send(masked("behind") + ping)
					if tt.rest == "" {
						r.s.want("what is behind it", masked("behind"))
					} else {
						r.s.want("the rest, and what is behind it", tt.rest+ping+masked("behind"))
					}
				})
			})
		})
	}
}

// What is held back in the middle of a frame goes on before a Close and at the end,
// and what went of a header before a reset is told.
func TestStallEnds(t *testing.T) {
	gate := ofClient(func(f *decode.Frame, word string) Decision {
		if word == "stall" {
			return Decision{Fate: fx(decode.FXDelay), Stall: time.Hour}
		}
		return Decision{}
	})
	inGate(t, gate, func(t *testing.T, r *clockRig, _ *Outlet) {
		took(t, 0, func() {
			r.c.send(masked("stall"))
			r.s.want("the first half", masked("stall")[:5])
			synctest.Wait()
			r.c.send(bye)
			r.s.want("the rest", masked("stall")[5:]+bye)
		})
	})
	inGate(t, gate, func(t *testing.T, r *clockRig, _ *Outlet) {
		took(t, 0, func() {
			r.c.send(masked("stall"))
			r.c.closeWrite()
			r.s.wantRest("all of it", masked("stall"), decode.EndFIN)
		})
		r.wantRebuilt(t, 1, r.c, r.s)
	})
	inGate(t, gate, func(t *testing.T, r *clockRig, out *Outlet) {
		r.c.send(masked("stall"))
		r.s.want("the first half", masked("stall")[:5])
		synctest.Wait()
		out.Reset("a timer")
		synctest.Wait()
		r.wantFates("> text 5 delay by a test", "> junk 5 out by a test")
		r.wantRebuilt(t, 1, r.c, r.s)
	})
}

// A gate holds a message until it is complete: its frames are told as delayed, or in
// the end as replaced.
func TestKept(t *testing.T) {
	var held string
	gate := ofClient(func(f *decode.Frame, word string) Decision {
		switch {
		case f.Control():
			return Decision{}
		case !f.Fin:
			held = string(f.AppendWire(nil))
			return Decision{Fate: decode.Fate{FX: decode.FXReplace}, Kept: true}
		case word == "gun":
			return Decision{Fate: decode.Fate{FX: decode.FXReplace}, Kept: true, Bytes: []byte(held + string(f.AppendWire(nil)))}
		}
		return Decision{Fate: fx(decode.FXReplace), Bytes: []byte(masked("new"))}
	})
	inGate(t, gate, func(t *testing.T, r *clockRig, out *Outlet) {
		r.c.send(first + ping)
		r.s.want("the ping", ping)
		out.Inject(decode.FromClient, []byte(masked("added")), "a test")
		r.s.want("a message, as none is in flight", masked("added"))
		r.c.send(last)
		r.s.want("the message", first+last)
		r.c.send(first + maskedFrame(ws.NewFrame(ws.OpContinuation, true, []byte("x"))))
		r.s.want("another", masked("new"))
		r.wantFates("> text 2 delay", "> ping 1", "> text 5 out by a test", "> cont 3 delay", "> text 2 out", "> cont 3 out",
			"> text 2 delay", "> cont 1 replace by a test", "> text 3 out by a test")
		r.wantRebuilt(t, 1, r.c, r.s)
	})
}

// What a gate notes stands behind its event, and what it notes later where that
// happens.
func TestNotes(t *testing.T) {
	gate := ofClient(func(f *decode.Frame, word string) Decision {
		if word == "note" {
			return Decision{Fate: decode.Fate{Change: "a test"}, Notes: []Note{{f.Dir, "a test", "one"}, {f.Dir, "a test", "two"}}}
		}
		return Decision{}
	})
	inGate(t, gate, func(t *testing.T, r *clockRig, out *Outlet) {
		r.c.send(masked("note") + masked("behind"))
		r.s.want("both", masked("note")+masked("behind"))
		synctest.Wait()
		out.Note(decode.FromClient, "a timer", "three")
		r.wantFates("> text 4", "notice one by a test", "notice two by a test", "> text 6", "notice three by a timer")
		r.wantRebuilt(t, 1, r.c, r.s)
	})
}

// A reset lets go what was decided before it, and drops what is held and what comes
// behind it.
func TestGateResets(t *testing.T) {
	gate := ofClient(func(f *decode.Frame, word string) Decision {
		switch word {
		case "late":
			return Decision{Fate: fx(decode.FXDelay), Until: time.Now().Add(time.Hour)}
		case "reset":
			return Decision{Fate: fx(decode.FXDrop), Reset: "a test"}
		case "last":
			return Decision{Reset: "a test"}
		}
		return Decision{}
	})
	for _, tt := range []struct {
		in, out string
		fates   []string
	}{
		{masked("a") + masked("reset") + masked("b") + first[:4], masked("a"),
			[]string{"> text 1", "> text 5 drop by a test", "> text 1 drop by a test", "> junk 4 drop by a test"}},
		{masked("a") + masked("last") + masked("b"), masked("a") + masked("last"), []string{"> text 1", "> text 4", "> text 1 drop by a test"}},
		{masked("a") + masked("late") + masked("b") + ping + masked("reset"), masked("a") + ping,
			[]string{"> text 1", "> text 4 delay by a test", "> text 1 delay", "> ping 1", "> text 5 drop by a test"}},
	} {
		inGate(t, gate, func(t *testing.T, r *clockRig, out *Outlet) {
			r.c.send(tt.in)
			if got, _ := r.s.rest(); got != tt.out {
				t.Errorf("the server got %q, want %q", got, tt.out)
			}
			r.c.rest()
			r.wantFates(tt.fates...)
			r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
			r.wantWire(t, 1, r.c, r.s)
			if out.Inject(decode.FromServer, []byte(text("x")), "") {
				t.Error("an injection was taken after the reset")
			}
			out.Reset("too late")
			out.Note(decode.FromClient, "too late", "nothing")
		})
	}
}

// Both sides learn of a reset by a reset, in whatever way they are connected.
func TestGateResetsConnections(t *testing.T) {
	for _, m := range []mode{inReverse, inForward, inTLS, inTLSTunnel, inDirect} {
		for _, by := range []string{"a frame", "a timer", "the 101"} {
			t.Run(string(m)+" by "+by, func(t *testing.T) {
				outlets := make(chan *Outlet, 1)
				r := newRig(t, m, func(p *Proxy) {
					p.NewGate = func(_ decode.Info, out *Outlet) Gate {
						outlets <- out
						return gateFunc(func(ev *decode.Event) Decision {
							frame := ev.Kind == decode.KindFrame && by == "a frame"
							if frame || ev.Kind == decode.KindResponse && by == "the 101" {
								return Decision{Reset: "a test"}
							}
							return Decision{}
						})
					}
				})
				c, s := r.ask(upgradeRequest)
				switch by {
				case "a frame":
					answer(c, s, switching)
					s.send(text("reset"))
					c.rest() // systems differ in whether the frame can be read
				case "a timer":
					(<-outlets).Reset("a test")
					c.wantEnd("a reset", decode.EndRST)
				case "the 101":
					s.send(switching)
					c.wantEnd("a reset", decode.EndRST)
				}
				s.wantEnd("a reset", decode.EndRST)
				r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
				evs, _ := r.snapshot(1)
				for _, ev := range evs {
					if ev.Kind == decode.KindEnd && ev.Text != "reset by change a test" {
						t.Errorf("the %s ends with %q, want the change", ev.Dir, ev.Text)
					}
				}
				r.wantWire(t, 1, c, s)
			})
		}
	}
}

// A reset while the server is still dialled is one, too.
func TestGateResetsEarly(t *testing.T) {
	r := newRig(t, inReverse, func(p *Proxy) {
		p.NewGate = func(decode.Info, *Outlet) Gate {
			return gateFunc(func(ev *decode.Event) Decision {
				if ev.Kind == decode.KindRequest {
					return Decision{Reset: "a test"}
				}
				return Decision{}
			})
		}
	})
	c := r.dial()
	c.send(upgradeRequest)
	c.wantEnd("a reset", decode.EndRST)
	r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
}

// After its session an outlet does nothing, though the connections go on.
func TestOutletAfterItsSession(t *testing.T) {
	outlets := make(chan *Outlet, 2)
	r := newRig(t, inReverse, func(p *Proxy) {
		p.NewGate = func(_ decode.Info, out *Outlet) Gate {
			outlets <- out
			return gateFunc(func(*decode.Event) Decision { return Decision{} })
		}
	})
	c, s := r.ask(upgradeRequest)
	answer(c, s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
	r.wait(t, 1, "closed")
	out := <-outlets
	out.Reset("too late")
	out.Note(decode.FromClient, "too late", "nothing")
	r.then(c, s)
	if evs, _ := r.snapshot(1); evs[len(evs)-1].Kind != decode.KindClosed {
		t.Errorf("got %s after the end", lineOf(evs[len(evs)-1]))
	}
}
