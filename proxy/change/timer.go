package change

import (
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// schedule sets the timer to when a line is to act next.
func (g *gate) schedule() {
	if g.dry {
		return
	}
	i, at := g.next()
	switch {
	case i < 0 || g.over:
		if g.timer != nil {
			g.timer.Stop()
		}
	case g.timer == nil:
		g.timer = time.AfterFunc(time.Until(at), func() { g.tick(time.Now()) })
	default:
		g.timer.Reset(time.Until(at))
	}
}

// tick has the lines act whose time has come. It is called by the timer, which ends with
// the session.
func (g *gate) tick(now time.Time) {
	dec := g.due(now)
	for _, i := range dec.Inject {
		if !g.out.Inject(i.Dir, i.Bytes, i.Change) {
			g.out.Note(i.Dir, i.Change, proxy.NotInjected)
		}
	}
	for _, n := range dec.Notes {
		g.out.Note(n.Dir, n.Change, n.Text)
	}
	if dec.Reset != "" {
		g.out.Reset(dec.Reset)
	}
}

func (g *gate) due(now time.Time) (dec proxy.Decision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	for !g.over && g.closed == "" {
		i, at := g.next()
		if i < 0 || at.After(now) {
			break
		}
		if l := g.set.lines[i]; g.fires(i, now) {
			g.perform(l, decode.FromClient, &dec)
			if l.does(rate) { // it is of no direction
				g.dirs[decode.FromServer].rate = g.dirs[decode.FromClient].rate
			}
		}
	}
	g.schedule()
	return dec
}
