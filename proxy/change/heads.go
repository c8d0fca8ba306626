package change

import (
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// Head is asked about the request, and about the final response to it.
func (g *gate) Head(ev *decode.Event) (dec proxy.HeadDecision) {
	g.mu.Lock()
	defer g.mu.Unlock()
	var edits []*action
	var acts []acting
	for i, l := range g.set.lines {
		st := &g.lines[i]
		if l.kind != onHeads || st.blind || l.cond != nil && !l.cond.Match(&st.state, ev) || !g.agrees(i, ev.Dir, ev.Time) {
			continue
		}
		acts = append(acts, acting{l, st, i})
		for n := range l.actions {
			if a := &l.actions[n]; a.verb == status {
				dec.Status, dec.Body = int(a.n), a.payload
			} else {
				edits = append(edits, a)
			}
		}
		if !l.also {
			break
		}
	}
	if len(acts) == 0 {
		return dec
	}
	dec.Change = names(acts)
	if dec.Status == 0 {
		dec.Edit = func(h *decode.Head) *decode.Head {
			for _, a := range edits {
				if a.remove {
					h = h.Without(a.name)
				} else {
					h = h.WithField(a.name, a.text)
				}
			}
			return h
		}
	}
	return dec
}
