package proxy

import (
	"io"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A testGate delays what has "late" in it by a minute, drops "drop", replaces
// "change" and panics at "panic"; out is its outlet.
type testGate struct {
	out  *Outlet
	seen []decode.Kind
}

func (g *testGate) Decide(ev *decode.Event) Decision {
	g.seen = append(g.seen, ev.Kind)
	if ev.Kind != decode.KindFrame {
		return Decision{}
	}
	switch word := string(ev.Frame.AppendPayload(nil, -1)); {
	case strings.HasPrefix(word, "late"):
		return Decision{Fate: fx(decode.FXDelay), Until: ev.Time.Add(time.Minute)}
	case strings.HasPrefix(word, "drop"):
		return Decision{Fate: fx(decode.FXDrop)}
	case strings.HasPrefix(word, "change"):
		return Decision{Fate: fx(decode.FXReplace), Bytes: []byte(masked("changed"))}
	case strings.HasPrefix(word, "panic"):
		panic("a bug in the gate")
	}
	return Decision{}
}

// behindGate runs a test with an upgraded session that has a testGate.
func behindGate(t *testing.T, test func(*testing.T, *clockRig, *testGate)) {
	g := new(testGate)
	inBubbleWith(t, func(p *Proxy) {
		p.NewGate = func(_ decode.Info, out *Outlet) Gate { g.out = out; return g }
	}, func(t *testing.T, r *clockRig) {
		r.upgrade()
		test(t, r, g)
	})
}

// wantNothing checks that nothing is on its way to p.
func (p *peer) wantNothing(what string) {
	p.t.Helper()
	synctest.Wait()
	p.SetReadDeadline(time.Now().Add(time.Millisecond))
	if n, err := p.Conn.Read(make([]byte, 1)); n > 0 || !isTimeout(err) {
		p.t.Fatalf("%s: %s: got %d bytes, %v, want nothing", p.name, what, n, err)
	}
	p.SetReadDeadline(time.Time{})
}

func maskedFrame(f ws.Frame) string {
	return string(ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{9, 8, 7, 6})))
}

var (
	ping  = maskedFrame(ws.NewPingFrame([]byte("p")))
	first = maskedFrame(ws.NewFrame(ws.OpText, false, []byte("be")))
	last  = maskedFrame(ws.NewFrame(ws.OpContinuation, true, []byte("gun")))
	bye   = maskedFrame(ws.NewCloseFrame(ws.NewCloseFrameBody(1000, "bye")))
)

// The queue keeps order: what comes behind a delayed frame waits too. Only pings
// and pongs overtake.
func TestGateKeepsOrder(t *testing.T) {
	behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
		took(t, time.Minute, func() {
			r.c.send(masked("late") + masked("behind") + ping)
			r.s.want("a ping that overtakes", ping)
			r.c.send(masked("behind too"))
			r.s.want("the rest", masked("late")+masked("behind")+masked("behind too"))
		})
		r.s.send(text("the other way is free"))
		r.c.want("the other way", text("the other way is free"))
		synctest.Wait()
		evs, _ := r.snapshot(1)
		var got []string
		for _, ev := range evs[3:] {
			if ev.Kind == decode.KindViolation {
				continue
			}
			line := lineOf(ev)
			if ev.Out {
				line += " out"
			}
			got = append(got, strings.TrimSpace(line+" "+ev.Fate.FX.String()))
		}
		want := "> text 4 delay\n> text 6 delay\n> ping 1\n> text 10 delay\n> text 4 out\n> text 6 out\n> text 10 out\n< text 21"
		if got := strings.Join(got, "\n"); got != want {
			t.Errorf("got events\n%s\nwant\n%s", got, want)
		}
		r.wantRebuilt(t, 1, r.c, r.s)
	})
}

// An injection waits for the end of a frame, and of a message if it is data.
func TestInject(t *testing.T) {
	behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
		inject := func(b string) {
			if !g.out.Inject(decode.FromClient, []byte(b), "a test") {
				t.Errorf("%q was not taken", b)
			}
		}
		inject(masked("now"))
		r.s.want("at once between messages", masked("now"))

		r.c.send(first)
		r.s.want("a fragment", first)
		inject(masked("data"))
		r.s.wantNothing("data in the middle of a message")
		inject(ping)
		r.s.want("a control frame in the middle of a message", ping)
		r.c.send(last)
		r.s.want("the last fragment and the data", last+masked("data"))

		long := maskedFrame(ws.NewBinaryFrame(noise()[:2*decode.MaxPiece]))
		cut := len(long) - 10
		sent := r.c.sendMeanwhile(long[:cut])
		r.s.want("a piece of a frame", long[:len(long)-decode.MaxPiece])
		<-sent
		inject(ping)
		r.s.wantNothing("anything in the middle of a frame")
		r.c.send(long[cut:])
		r.s.want("the rest of it and the ping", long[len(long)-decode.MaxPiece:]+ping)

		r.c.send(masked("late"))
		synctest.Wait()
		inject(ping)
		r.s.want("a ping overtakes", ping)
		inject(masked("behind"))
		r.s.wantNothing("data does not")
		inject(bye)
		took(t, 0, func() { r.s.want("a Close releases what is held", masked("late")+masked("behind")+bye) })
		if got := string(r.sent(1, decode.FromClient)); got != string(r.s.got) {
			t.Errorf("the server got %s, the events say %s", short(string(r.s.got)), short(got))
		}
		r.c.Close()
		r.s.wantEnd("the client ends", decode.EndFIN)
		if g.out.Inject(decode.FromClient, []byte(ping), "") {
			t.Error("an injection after the end was taken")
		}
	})
}

// A Close, an end and a reset release what is held, and then go on.
func TestGateReleases(t *testing.T) {
	held := masked("late") + masked("behind")
	t.Run("close", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			r.c.send(held)
			time.Sleep(time.Second)
			took(t, 0, func() {
				r.c.send(bye)
				r.s.want("all", held+bye)
			})
		})
	})
	t.Run("fin", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			cut := masked("a frame cut off")[:9]
			r.c.send(held + cut)
			r.c.closeWrite()
			took(t, 0, func() { r.s.wantRest("all and the end", held+cut, decode.EndFIN) })
			r.s.send(text("still here"))
			r.c.want("the other way", text("still here"))
			r.s.Close()
			r.c.wantEnd("the server ends", decode.EndFIN)
			r.wantNow(1, "> text 4", "> text 6", "> text 15 0-3", "> end fin", "< text 10", "< end fin", "closed")
			r.wantRebuilt(t, 1, r.c, r.s)
		})
	})
	t.Run("cut header", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			r.c.send(held + "\x81")
			r.c.closeWrite()
			took(t, 0, func() { r.s.wantRest("all and the end", held+"\x81", decode.EndFIN) })
			synctest.Wait()
			r.wantRebuilt(t, 1, r.c, r.s)
		})
	})
	t.Run("rst", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			s := newUpgraded(nil)
			s.outlet = newOutlet(func(_ decode.Info, out *Outlet) Gate { return &testGate{out: out} }, decode.Info{}, new(decode.Look), s.log)
			s.Gate, s.gated = s.outlet.decide, true
			in, out := newPipe(), newPipe()
			r := relay{dir: decode.FromClient, src: in, dst: out, session: s, out: &s.outlet.boxes[decode.FromClient]}
			done := make(chan error)
			go func() { done <- r.runGated() }()
			io.WriteString(in, held)
			in.endLike(syscall.ECONNRESET)
			took(t, 0, func() { out.want(t, "all", held) })
			if err := <-done; err != syscall.ECONNRESET || out.err != err {
				t.Errorf("got %v and %v, want a reset", err, out.err)
			}
		})
	})
	t.Run("stop", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			r.c.send(held)
			synctest.Wait()
			took(t, 0, r.stop)
		})
	})
}

// While the queue is full the direction is not read.
func TestGateQueueIsBounded(t *testing.T) {
	behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
		r.c.send(masked("late"))
		frame := maskedFrame(ws.NewBinaryFrame(make([]byte, 1000)))
		sent := 0
		go func() {
			for {
				if _, err := io.WriteString(r.c.Conn, frame); err != nil {
					return
				}
				sent += len(frame)
			}
		}()
		synctest.Wait()
		box := &g.out.boxes[decode.FromClient]
		if box.size > maxQueue || box.size < maxQueue-2*len(frame) {
			t.Errorf("got %d bytes in the queue, want almost %d", box.size, maxQueue)
		}
		if more := sent - box.size; more > 128<<10 {
			t.Errorf("got %d bytes read beyond the queue, want what a buffer holds", more)
		}
		took(t, 0, func() {
			r.s.send(text("the other way is free"))
			r.c.want("the other way", text("the other way is free"))
		})
		took(t, time.Minute, func() { r.s.want("what was late", masked("late")) })
		for range 3000 {
			r.s.want("a frame", frame)
		}
	})
}

// A frame whose payload is slow is decided on by its first piece.
func TestGateDecidesOnFirstPiece(t *testing.T) {
	for word, want := range map[string]string{"pass": "", "drop": "", "change": masked("changed")} {
		t.Run(word, func(t *testing.T) {
			behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
				f := masked(word + " and the rest")
				r.c.send(f[:6+len(word)])
				r.s.wantNothing("a part of a frame")
				time.Sleep(2 * flushAfter)
				switch word {
				case "pass":
					r.s.want("what has come after a second", f[:6+len(word)])
					r.c.send(f[6+len(word):])
					r.s.want("the rest", f[6+len(word):])
				default:
					r.s.want("what is sent in its place", want)
					r.c.send(f[6+len(word):])
				}
				r.c.send(masked("next"))
				r.s.want("the next frame", masked("next"))
				r.wantRebuilt(t, 1, r.c, r.s)
			})
		})
	}
}

// A panic in the gate ends what it does to that direction.
func TestGatePanics(t *testing.T) {
	behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
		took(t, 0, func() {
			r.c.send(masked("late") + masked("panic") + masked("drop"))
			r.s.want("what was held, and the rest", masked("late")+masked("panic")+masked("drop"))
			r.c.send(masked("drop")[:8])
			r.s.want("a part of a frame, at once", masked("drop")[:8])
			r.c.send(masked("drop")[8:])
			r.s.want("the rest of it", masked("drop")[8:])
		})
		r.s.send(text("drop") + text("pass"))
		r.c.want("the other direction has its gate", text("pass"))
		synctest.Wait()
		evs, _ := r.snapshot(1)
		notices := 0
		for _, ev := range evs {
			if ev.Kind == decode.KindNotice {
				notices++
				if want := "panic in the gate: a bug in the gate; what the client sends is changed no more"; ev.Text != want {
					t.Errorf("got notice %q, want %q", ev.Text, want)
				}
			}
		}
		if notices != 1 {
			t.Errorf("got %d notices, want 1", notices)
		}
		r.wantRebuilt(t, 1, r.c, r.s)
	})
}

// Bytes that can't be framed end the gating, and so does a panic of a sink.
func TestGateLosesFrames(t *testing.T) {
	const lost = "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01"
	t.Run("junk", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			took(t, 0, func() {
				r.c.send(masked("late") + lost + "junk")
				r.s.want("what was held, and the rest", masked("late")+lost+"junk")
				r.c.send("more")
				r.s.want("more", "more")
			})
			r.wantRebuilt(t, 1, r.c, r.s)
		})
	})
	t.Run("panic", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			r.fails = func(ev *decode.Event) bool { return ev.Kind == decode.KindFrame && ev.Frame.Len() == 5 }
			took(t, 0, func() {
				r.c.send(masked("late") + masked("hello") + masked("drop"))
				r.s.want("what was held, and the rest", masked("late")+masked("hello")+masked("drop"))
				r.c.send("more")
				r.s.want("more", "more")
			})
		})
	})
	long := maskedFrame(ws.NewBinaryFrame(noise()[:2*decode.MaxPiece+1000]))
	cut := decode.MaxPiece + 5000
	for what, injected := range map[string]string{"": "", " and a ping waits": ping, " and a message waits": masked("data")} {
		// In the middle of a chunk, which has bytes that no event tells of.
		t.Run("panic in a long frame"+what, func(t *testing.T) {
			behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
				r.fails = func(ev *decode.Event) bool {
					if ev.Kind != decode.KindFrame || ev.Frame.Length < decode.MaxPiece {
						return false
					}
					if injected != "" {
						g.out.Inject(decode.FromClient, []byte(injected), "a test")
					}
					return true
				}
				took(t, 0, func() {
					sent := r.c.sendMeanwhile(long[:cut])
					r.s.want("the beginning", long[:cut])
					<-sent
					r.c.sendMeanwhile(long[cut:] + masked("drop"))
					r.s.want("the rest as it comes, and nothing else", long[cut:]+masked("drop"))
				})
			})
		})
		t.Run("panic in a held frame"+what, func(t *testing.T) {
			behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
				r.fails = func(ev *decode.Event) bool {
					return ev.Kind == decode.KindFrame && ev.Frame.Length > decode.MaxPiece && ev.Frame.More
				}
				r.c.send(masked("late"))
				sent := r.c.sendMeanwhile(ping + long[:cut])
				r.s.want("a ping overtakes", ping)
				<-sent
				synctest.Wait()
				if injected != "" {
					g.out.Inject(decode.FromClient, []byte(injected), "a test")
				}
				want := masked("late") + long
				if injected == ping {
					r.s.want("and so does another", ping)
				}
				took(t, 0, func() {
					sent := r.c.sendMeanwhile(long[cut:])
					go func() { <-sent; r.c.closeWrite() }()
					r.s.wantRest("what was held, and the rest", want, decode.EndFIN)
				})
			})
		})
	}
	t.Run("panic of what is sent", func(t *testing.T) {
		behindGate(t, func(t *testing.T, r *clockRig, g *testGate) {
			r.fails = func(ev *decode.Event) bool { return ev.Out }
			r.c.send(masked("late") + long[:1])
			took(t, time.Minute, func() { r.s.want("what was held", masked("late")) })
			r.c.sendMeanwhile(long[1:] + "more")
			r.s.want("the rest", long+"more")
		})
	})
}

// Frames that a client sends before the answer wait for it, and for the gate.
func TestGateEarlyFrames(t *testing.T) {
	run := func(t *testing.T, test func(*testing.T, *clockRig)) {
		inBubbleWith(t, func(p *Proxy) {
			p.NewGate = func(_ decode.Info, out *Outlet) Gate { return &testGate{out: out} }
		}, test)
	}
	t.Run("upgraded", func(t *testing.T) {
		run(t, func(t *testing.T, r *clockRig) {
			r.c.send(upgradeRequest + masked("drop") + masked("early"))
			r.s.want("the request", upgradeRequest)
			r.s.wantNothing("a frame before the answer")
			r.s.send(switching + text("drop") + text("hi"))
			r.c.want("the 101 and a frame", switching+text("hi"))
			r.s.want("the frame that waited", masked("early"))
			r.wantNow(1, "> GET /chat", "< 101", "< text 4", "< text 2", "> text 4", "> text 5")
		})
	})
	t.Run("refused", func(t *testing.T) { // it is relayed until it notices
		run(t, func(t *testing.T, r *clockRig) {
			r.c.send(upgradeRequest + masked("drop"))
			r.s.want("the request", upgradeRequest)
			answer(r.c, r.s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n")
			r.s.want("the frame that waited, no gate in front of it", masked("drop"))
		})
	})
}
