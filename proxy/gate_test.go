package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// A gateFunc is a Gate.
type gateFunc func(*decode.Event) Decision

func (f gateFunc) Decide(ev *decode.Event) Decision { return f(ev) }

// gated has every session go through gate.
func gated(gate gateFunc) func(*Proxy) {
	return func(p *Proxy) {
		p.NewGate = func(decode.Info, *Outlet) Gate { return gate }
	}
}

func fx(x decode.FX) decode.Fate { return decode.Fate{FX: x, Change: "a test"} }

// sent returns the bytes that went on in place of what d sent in a session,
// rebuilt from its events: those that have no fate, and those of what was sent.
func (r *record) sent(conn int64, d decode.Dir) []byte {
	return r.rebuild(conn, d, func(ev *decode.Event) bool { return ev.Out || ev.Fate.FX == decode.FXNone })
}

// wantRebuilt checks that the events of a session hold every byte that either
// side has sent, and every byte that it got.
func (r *record) wantRebuilt(t *testing.T, conn int64, c, s *peer) {
	t.Helper()
	r.wantWire(t, conn, c, s)
	r.wantTapped(t, conn, c, s)
	for d, got := range [2][]byte{s.got, c.got} {
		want := r.sent(conn, decode.Dir(d))
		if d == 0 { // the request may have been edited
			want = want[bytes.Index(want, []byte("\r\n")):]
			got = got[bytes.Index(got, []byte("\r\n")):]
		}
		if !bytes.Equal(got, want) {
			t.Errorf("session %d: from the %s: the other side got %s, the events say %s", conn, decode.Dir(d), short(string(got)), short(string(want)))
		}
	}
}

// A gate drops, changes, delays and adds frames, either way, in every mode.
func TestGate(t *testing.T) {
	const added, late = "added", 20 * time.Millisecond
	frame := map[decode.Dir]func(string) string{decode.FromClient: masked, decode.FromServer: text}
	gate := func(ev *decode.Event) Decision {
		if ev.Kind != decode.KindFrame {
			return Decision{}
		}
		switch word := string(ev.Frame.AppendPayload(nil, -1)); word {
		case "drop":
			return Decision{Fate: fx(decode.FXDrop)}
		case "change":
			return Decision{Fate: fx(decode.FXReplace), Bytes: []byte(frame[ev.Dir]("changed"))}
		case "delay":
			return Decision{Fate: fx(decode.FXDelay), Until: ev.Time.Add(late)}
		case "before":
			return Decision{Fate: decode.Fate{Change: "a test"}, Before: []byte(frame[ev.Dir](added))}
		case "after":
			return Decision{Fate: decode.Fate{Change: "a test"}, After: []byte(frame[ev.Dir](added))}
		}
		return Decision{}
	}
	for _, m := range []mode{inReverse, inForward, inTunnel, inTLS, inTLSTunnel, inDirect, inTLSDirect} {
		t.Run(string(m), func(t *testing.T) {
			r := newRig(t, m, gated(gate))
			c, s := r.upgrade()
			for d, ends := range map[decode.Dir][2]*peer{decode.FromClient: {c, s}, decode.FromServer: {s, c}} {
				for _, tt := range [][2]string{
					{"pass", "pass"}, {"drop", ""}, {"change", "changed"}, {"before", "added before"}, {"after", "after added"},
					{"delay behind", "delay behind"}, {"a drop b change c", "a b changed c"},
				} {
					var in, out string
					for _, w := range strings.Fields(tt[0]) {
						in += frame[d](w)
					}
					for _, w := range strings.Fields(tt[1]) {
						out += frame[d](w)
					}
					began := time.Now()
					ends[0].send(in)
					ends[1].want(tt[0], out)
					if took := time.Since(began); tt[0] == "delay behind" && took < late {
						t.Errorf("%s: it took %v, want %v", tt[0], took, late)
					}
				}
			}
			c.closeWrite()
			s.wantEnd("the client ends", decode.EndFIN)
			s.Close()
			c.wantEnd("the server ends", decode.EndFIN)
			r.wait(t, 1, "closed")
			r.wantRebuilt(t, 1, c, s)
			evs, _ := r.snapshot(1)
			told := map[string]int{}
			for _, ev := range evs {
				if ev.Out && ev.Fate.Change == "a test" {
					told["out"]++
				}
				if !ev.Out {
					told[ev.Fate.FX.String()]++
				}
			}
			if told["drop"] != 4 || told["replace"] != 4 || told["out"] != 12 {
				t.Errorf("got %v, want 2 drops and 2 changes each way, and 6 frames that it made or had wait", told)
			}
		})
	}
}

// With a gate that changes nothing everything is as without it: there is no
// fate and nothing is told twice.
func TestGateThatPasses(t *testing.T) {
	r := newRig(t, inReverse, gated(func(*decode.Event) Decision { return Decision{} }))
	c, s := r.upgrade()
	payload := make([]byte, 3<<20)
	rand.NewChaCha8([32]byte{2}).Read(payload)
	var up, down []byte
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, len(payload), 7} {
		f := ws.NewBinaryFrame(payload[:n])
		down = append(down, ws.MustCompileFrame(f)...)
		up = append(up, ws.MustCompileFrame(ws.MaskFrameWith(f, [4]byte{byte(n), 2, 3, 4}))...)
	}
	var writes sync.WaitGroup
	writes.Go(func() { c.write(up, 0); c.closeWrite() })
	writes.Go(func() { s.write(down, 1); s.closeWrite() })
	writes.Go(func() { s.rest() })
	c.rest()
	writes.Wait()
	r.wait(t, 1, "closed")
	wantSame(t, c, s)
	r.wantRebuilt(t, 1, c, s)
	evs, _ := r.snapshot(1)
	for _, ev := range evs {
		if ev.Out || ev.Fate != (decode.Fate{}) {
			t.Fatalf("got %s with fate %v, out %t, want none", lineOf(ev), ev.Fate, ev.Out)
		}
	}
}

// A randomGate does anything, by chance, to the frames of a session.
type randomGate struct {
	random *rand.Rand
	out    *Outlet
	fate   [2]decode.FX // of the frame in flight
}

func newRandomGate(seed uint64) func(decode.Info, *Outlet) Gate {
	return func(info decode.Info, out *Outlet) Gate {
		return &randomGate{random: rand.New(rand.NewPCG(seed, uint64(info.Conn))), out: out}
	}
}

// make returns a frame as d sends it.
func (g *randomGate) make(d decode.Dir, op ws.OpCode, fin bool) []byte {
	payload := make([]byte, g.random.IntN(120))
	f := ws.NewFrame(op, fin, payload)
	if d == decode.FromClient {
		f = ws.MaskFrameWith(f, [4]byte{1, 2, 3, byte(g.random.Uint32())})
	}
	return ws.MustCompileFrame(f)
}

func (g *randomGate) Decide(ev *decode.Event) (it Decision) {
	f := ev.Frame
	if ev.Kind != decode.KindFrame {
		return it
	}
	if f.More {
		if g.fate[ev.Dir] == decode.FXReplace && g.random.IntN(2) == 0 {
			it.Bytes = g.make(ev.Dir, ws.OpPong, true)
		}
		return it
	}
	it.Change = "by chance"
	switch g.random.IntN(14) {
	case 8:
		it.FX, it.Stall, it.Notes = decode.FXDelay, time.Millisecond, []Note{{ev.Dir, "by chance", "it stops"}}
	case 9:
		it.FX, it.Kept, it.Stall = decode.FXReplace, true, time.Millisecond
		it.Bytes = append(g.make(ev.Dir, f.OpCode, f.Fin), g.make(ev.Dir, ws.OpPing, true)...)
	case 0:
		it.FX = decode.FXDrop
	case 1, 2:
		it.FX = decode.FXReplace
		it.Bytes = g.make(ev.Dir, f.OpCode, f.Fin)
	case 3:
		it.FX, it.Until = decode.FXDelay, ev.Time.Add(time.Duration(g.random.IntN(3))*time.Millisecond)
	case 4:
		it.Before = g.make(ev.Dir, ws.OpBinary, true)
	case 5:
		it.After = g.make(ev.Dir, ws.OpText, true)
	case 6:
		g.out.Inject(ev.Dir.Peer(), g.make(ev.Dir.Peer(), ws.OpPing, true), "by chance")
	case 7:
		g.out.Inject(decode.Dir(g.random.IntN(2)), g.make(ev.Dir.Peer(), ws.OpText, true), "by chance")
	}
	g.fate[ev.Dir] = it.FX
	return it
}

// noise is random bytes.
var noise = sync.OnceValue(func() []byte {
	b := make([]byte, 5*decode.MaxPiece+1000)
	rand.NewChaCha8([32]byte{3}).Read(b)
	return b
})

// randomFrames returns what a side may send: frames, fragments among them, some
// longer than a piece, with pings in between.
func randomFrames(d decode.Dir, random *rand.Rand, n int) (b []byte) {
	open := false
	for range n {
		size := random.IntN(200)
		if random.IntN(20) == 0 {
			size = random.IntN(5 * decode.MaxPiece)
		}
		payload := noise()[random.IntN(1000):][:size]
		var f ws.Frame
		switch {
		case random.IntN(5) == 0:
			f = ws.NewPingFrame(payload[:min(size, 125)])
		case open:
			open = random.IntN(2) == 0
			f = ws.NewFrame(ws.OpContinuation, !open, payload)
		default:
			open = random.IntN(3) == 0
			f = ws.NewFrame(ws.OpBinary, !open, payload)
		}
		if d == decode.FromClient {
			f = ws.MaskFrameWith(f, [4]byte{byte(random.Uint32()), 2, 3, 4})
		}
		b = append(b, ws.MustCompileFrame(f)...)
	}
	return b
}

// Whatever a gate does, what each side sent and what the other got can be
// rebuilt from the events, and from the trace, byte by byte.
func TestGateByChance(t *testing.T) {
	for m, seeds := range map[mode]uint64{inReverse: 6, inForward: 3, inTLS: 3, inTLSTunnel: 2} {
		for seed := range seeds {
			t.Run(fmt.Sprintf("%s %d", m, seed), func(t *testing.T) {
				var recording bytes.Buffer
				r := newRig(t, m, func(p *Proxy) {
					p.NewGate = newRandomGate(seed)
					p.Sink = &decode.Tee{Sinks: []decode.Sink{trace.NewWriter(&recording, trace.Options{}), p.Sink}}
				})
				c, s := r.upgrade()
				random := rand.New(rand.NewPCG(seed, 3))
				up := randomFrames(decode.FromClient, random, 100)
				down := randomFrames(decode.FromServer, random, 100)
				if seed%3 == 1 { // cut off
					up, down = up[:len(up)-random.IntN(300)], down[:len(down)-random.IntN(300)]
				}
				if seed%5 == 2 { // framing is lost
					up = append(up, "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01"+strings.Repeat("junk", 50000)...)
				}
				var all sync.WaitGroup
				all.Go(func() { c.write(up, seed); c.closeWrite() })
				all.Go(func() { s.write(down, seed+1); s.closeWrite() })
				all.Go(func() { s.rest() })
				c.rest()
				all.Wait()
				r.wait(t, 1, "closed")
				r.wantRebuilt(t, 1, c, s)
				r.stop()
				for d, ends := range [2][2]*peer{{c, s}, {s, c}} {
					for what, rebuilt := range map[string]struct {
						bytes func(*trace.Reader, int64, decode.Dir) ([]byte, error)
						want  []byte
					}{"sent": {trace.Bytes, ends[0].sent}, "got": {trace.SentBytes, ends[1].got}} {
						got, err := rebuilt.bytes(trace.NewReader(bytes.NewReader(recording.Bytes())), 1, decode.Dir(d))
						if err != nil || !bytes.Equal(got, rebuilt.want) {
							t.Errorf("from the %s: the trace has %s, %v, %s was %s", decode.Dir(d), short(string(got)), err, what, short(string(rebuilt.want)))
						}
					}
				}
			})
		}
	}
}

// Sessions with gates end, however they end: nothing is stuck, and no goroutine
// is left (TestMain looks).
func TestManyGatedSessions(t *testing.T) {
	const n, atOnce = 1000, 50
	closed := make(chan bool, n)
	r := newRig(t, inReverse, func(p *Proxy) {
		p.NewGate = newRandomGate(99)
		p.Sink = decode.SinkFunc(func(ev *decode.Event) {
			if ev.Kind == decode.KindClosed {
				closed <- true
			}
		})
	})
	go func() {
		for {
			c, err := r.origin.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				if _, err := ws.Upgrade(c); err != nil {
					return
				}
				random := rand.New(rand.NewPCG(uint64(c.RemoteAddr().(*net.TCPAddr).Port), 1))
				go c.Write(randomFrames(decode.FromServer, random, 10))
				switch random.IntN(4) {
				case 0:
					c.(*net.TCPConn).SetLinger(0)
				case 1:
					io.CopyN(io.Discard, c, 1000)
				default:
					io.Copy(io.Discard, c)
				}
			}()
		}
	}()
	slots := make(chan struct{}, atOnce)
	var clients sync.WaitGroup
	for i := range n {
		slots <- struct{}{}
		clients.Go(func() {
			defer func() { <-slots }()
			c, _, _, err := ws.Dial(t.Context(), "ws://"+r.addr+"/")
			if err != nil {
				t.Error(err)
				return
			}
			defer c.Close()
			random := rand.New(rand.NewPCG(uint64(i), 2))
			ended := make(chan struct{})
			go func() { defer close(ended); io.Copy(io.Discard, c) }()
			c.Write(randomFrames(decode.FromClient, random, 10))
			switch random.IntN(3) {
			case 0:
				c.(*net.TCPConn).SetLinger(0)
			case 1:
				c.(*net.TCPConn).CloseWrite()
				<-ended
			}
		})
	}
	clients.Wait()
	for i := range n {
		select {
		case <-closed:
		case <-time.After(patience):
			t.Fatalf("%d sessions have not ended; goroutines:\n%s", n-i, goroutines())
		}
	}
	r.origin.Close()
}
