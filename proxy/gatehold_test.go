package proxy

import (
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A holdingGate holds frames of more than a piece, and panics when the first of them is
// complete.
type holdingGate struct {
	out *Outlet

	mu     sync.Mutex // protects what follows
	held   []byte
	closed bool
}

func (g *holdingGate) Decide(ev *decode.Event) (dec Decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case ev.Kind == decode.KindClosed:
		g.closed = true
	case ev.Kind == decode.KindFrame && ev.Frame.Length > decode.MaxPiece:
		if ev.Frame.Complete {
			panic("a bug in the gate")
		}
		g.held = ev.Frame.AppendWire(g.held)
		dec.FX, dec.Kept = decode.FXReplace, true
	}
	return dec
}

func (g *holdingGate) Release(decode.Dir) []byte {
	g.mu.Lock()
	defer g.mu.Unlock()
	b := g.held
	g.held = nil
	return b
}

func behindHolding(t *testing.T, test func(*testing.T, *clockRig, *holdingGate)) {
	g := new(holdingGate)
	inBubbleWith(t, func(p *Proxy) {
		p.NewGate = func(_ decode.Info, out *Outlet) Gate { g.out = out; return g }
	}, func(t *testing.T, r *clockRig) {
		r.upgrade()
		test(t, r, g)
	})
}

var longFrame = maskedFrame(ws.NewBinaryFrame(noise()[:2*decode.MaxPiece+1000]))

// When a gate panics that holds the beginning of a frame, the rest follows as it comes.
func TestPanicInHeldFrame(t *testing.T) {
	behindHolding(t, func(t *testing.T, r *clockRig, _ *holdingGate) {
		r.c.sendMeanwhile(longFrame + masked("next"))
		r.s.want("the whole frame, and the next", longFrame+masked("next"))
		synctest.Wait()
		r.wantRebuilt(t, 1, r.c, r.s)
	})
}

// What is injected does not wait for the end of a frame of which nothing is sent yet.
func TestInjectBeforeHeldFrame(t *testing.T) {
	closing := maskedFrame(ws.NewCloseFrame(nil))
	behindHolding(t, func(t *testing.T, r *clockRig, g *holdingGate) {
		sent := r.c.sendMeanwhile(longFrame[:decode.MaxPiece+100])
		<-sent
		synctest.Wait()
		g.out.Inject(decode.FromClient, []byte(masked("data")), "a test")
		g.out.Inject(decode.FromClient, []byte(closing), "a test")
		took(t, 0, func() { r.s.want("what was injected", masked("data")+closing) })
	})
}

// A gate learns of the end of its session, also when it is asked about nothing else any
// more.
func TestGateIsTold(t *testing.T) {
	const lost = "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01"
	behindHolding(t, func(t *testing.T, r *clockRig, g *holdingGate) {
		r.c.send(lost)
		r.s.want("no frame", lost)
		r.s.send(lost)
		r.c.want("no frame", lost)
		r.c.Close()
		r.s.Close()
		time.Sleep(time.Second) // of the bubble
		synctest.Wait()
		g.mu.Lock()
		defer g.mu.Unlock()
		if !g.closed {
			t.Error("the gate does not know that the session is over")
		}
	})
}
