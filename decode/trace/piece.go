package trace

import (
	"math"

	"github.com/wstrace/wstrace/decode"
)

// header takes a header. The sessions before it go on if this is the next part of
// the same recording, and no further otherwise.
func (p *player) header() {
	switch b := p.before; {
	case !p.r.again:
		p.sessions.Clear()
	case b != nil:
		forgotten := p.sessions.Forgotten
		p.sessions = b.sessions
		p.sessions.Forgotten = forgotten
		for _, c := range p.sessions.Open() {
			p.sessions.Lookup(c).player = p
		}
	}
	p.before = nil
}

// mend makes up for what may be missing before rec, which has bytes of leg. It
// reports whether they are still to be played.
func (s *session) mend(rec *Record, leg *inFlight) bool {
	d := rec.Dir
	switch rec.Kind {
	case KindMore:
		return uint64(len(rec.Payload)) <= leg.left // otherwise its frame is missing
	case KindFrame:
		if d == decode.FromServer && !s.accepted && rec.Leg != LegOut {
			s.begun = true
			s.Upgraded() // whether or not there is a request
		}
		if leg.left == 0 || leg.left > math.MaxInt64 {
			break
		}
		if rec.Leg == LegOut {
			s.SentGap(d, int64(leg.left))
			leg.skip(leg.left)
		} else {
			s.gap(d, rec.Time, int64(leg.left))
		}
	case KindJunk:
		if rec.Leg == LegOut || rec.Why != decode.WhyUnframed && !s.piece {
			break
		}
		if !s.begun {
			s.begun = true
			s.Upgraded()
		}
		leg.skip(uint64(len(rec.Payload)))
		s.counted[d] += int64(len(rec.Payload))
		s.Junk(d, rec.Time, rec.Payload, rec.Why)
		return false
	}
	return true
}
