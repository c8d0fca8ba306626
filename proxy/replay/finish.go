package replay

import (
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// finish is what remains when all that is recorded has been played. A trace
// need not tell how the session ends: then the client closes it, and the server
// leaves that to the client for as long as it has patience.
func (p *player) finish(now time.Time) action {
	items, units := p.s.sides[p.role].items, p.s.sides[p.peer].units
	ours := len(items) > 0 && items[len(items)-1].end
	theirs := len(units) > 0 && units[len(units)-1].kind == unitEnd
	patient := now.Before(p.patience()) && !p.wrappingUp
	switch {
	case ours || theirs || p.peerEnded || p.writeFailed:
		return action{stop: true}
	case !p.cast.turn(p.part, atEnd):
		return p.holdOn(now) // our end would be news in the other sessions
	case p.peerClosed && !p.noMoreFrames && !p.midFrame: // a Close frame that is not recorded
		p.noMoreFrames = true
		return action{bytes: p.ownFrame(ws.OpClose, p.closePayload)}
	case p.peerClosed && p.role == decode.FromServer:
		return action{stop: true} // it closes first (RFC 6455 §7.1.1)
	case p.role == decode.FromClient && !p.noMoreFrames && !p.midFrame, !patient && !p.closedUnasked && !p.noMoreFrames && !p.midFrame:
		p.noMoreFrames, p.closedUnasked = true, true
		p.progress = now
		return action{bytes: p.ownFrame(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))}
	case patient:
		return action{wait: p.patience().Sub(now)}
	case p.wrappingUp && !p.draining:
		p.draining = true
		p.conn.SetReadDeadline(now.Add(drainTime))
		return action{wait: p.how.stall}
	case p.wrappingUp && !p.drained:
		return action{wait: p.how.stall}
	}
	return action{stop: true}
}

// drainTime is how long a server reads on at the end of a test, to see what the
// client has sent that is not recorded.
const drainTime = 100 * time.Millisecond

// goOn gives up waiting, when the trace is to be made anew.
func (p *player) goOn() action {
	items := p.s.sides[p.role].items
	switch {
	case !p.ready:
		p.fail(p.stalled())
		return action{stop: true}
	case p.next < len(items):
		p.arrived = max(p.arrived, min(items[p.next].need, len(p.matched)))
	default:
		p.arrived = len(p.matched)
	}
	return action{}
}
