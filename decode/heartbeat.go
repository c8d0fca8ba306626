package decode

import (
	"slices"
	"strconv"
	"time"
)

// How long an answer may take, and how long it may be missing.
const (
	answerSoon   = time.Second
	answerWithin = 10 * time.Second
)

// pings are the latest pings of one side and what became of them.
type pings struct {
	latest [8]ping // ring
	n      int64   // how many there were; the last one is latest[(n-1)%8]

	// The first ping that neither it nor a later one got an answer.
	waiting int64     // how many there are, from that one on
	since   time.Time // when it came
	frame   int64     // which frame it was
	missed  bool      // that was reported

	extra int64 // pings that were answered by the pong to one with the same payload
	lone  bool  // the other side sends pongs of its own accord

	rtts []time.Duration // the latest, up to 256; ring
	nrtt int64
}

type ping struct {
	sum  uint64 // of its payload
	time time.Time
	i    int64 // which ping it is
	n    int64 // which frame it is
	done bool  // it or a later one was answered
}

const maxRTTs = 256

// ping takes a ping.
func (s *Session) ping(f *Frame) {
	s.totals.Heartbeat[f.Dir].Pings++
	s.advisePing(f)
	if !f.Complete {
		return // what came of it is not enough to know its pong
	}
	sd := &s.sides[f.Dir]
	if sd.pings == nil {
		sd.pings = new(pings)
	}
	p := sd.pings
	if p.waiting == 0 {
		p.since, p.frame, p.missed = s.now, f.N, false
	}
	p.waiting++
	p.latest[p.n%int64(len(p.latest))] = ping{sum: s.payloadSum(f), time: s.now, i: p.n, n: f.N}
	p.n++
}

// pong takes a pong, which may answer a ping of the other side.
func (s *Session) pong(f *Frame) {
	d := f.Dir.Peer()
	p := s.sides[d].pings
	if p == nil {
		s.lonePong(f)
		return
	}
	if !f.Complete {
		p.answered(p.n - 1)
		return
	}
	known, first, last := p.find(s.payloadSum(f))
	switch {
	case first != nil:
		s.totals.Heartbeat[d].Pongs++
		s.checkAnswer(f, first)
		p.addRTT(s.now.Sub(first.time))
		if wait := s.now.Sub(last.time); wait > answerSoon && !p.missed {
			s.report("pong-slow", f.Dir, f.N, "pong %s after the ping of frame %d, %s is soon enough", seconds(wait), last.n, seconds(answerSoon))
		}
		p.answered(last.i)
	case known && p.extra > 0:
		s.totals.Heartbeat[d].Pongs++
		p.extra--
	case p.waiting == 0:
		s.lonePong(f)
	case known: // late
	case p.waiting > int64(len(p.latest)), p.lone, f.Length == 0: // it may answer an older one, or none
	default:
		s.report("pong-payload-mismatch", f.Dir, f.N, "pong does not repeat the payload of the ping of frame %d, nor of another ping that waits", p.frame)
	}
}

// find returns the first and the last of the pings with a payload that wait
// for an answer, and whether there is any such ping at all.
func (p *pings) find(sum uint64) (known bool, first, last *ping) {
	size := int64(len(p.latest))
	for i := max(0, p.n-size); i < p.n; i++ {
		q := &p.latest[i%size]
		if q.sum != sum {
			continue
		}
		known = true
		if q.done {
			continue
		}
		if first == nil {
			first, p.extra = q, -1
		}
		last = q
		p.extra++
	}
	return known, first, last
}

func (p *pings) addRTT(rtt time.Duration) {
	if len(p.rtts) < maxRTTs {
		p.rtts = append(p.rtts, rtt)
	} else {
		p.rtts[p.nrtt%maxRTTs] = rtt
	}
	p.nrtt++
}

// lonePong takes a pong that answers no ping.
func (s *Session) lonePong(f *Frame) {
	if p := s.sides[f.Dir.Peer()].pings; p != nil {
		p.lone = true
	}
	s.report("pong-unsolicited", f.Dir, f.N, "pong, and no ping waits for one")
}

// answered marks the pings up to the i-th as answered: only the latest needs
// an answer (RFC 6455 §5.5.3).
func (p *pings) answered(i int64) {
	size := int64(len(p.latest))
	p.waiting = min(p.waiting, p.n-1-i)
	for ; i >= 0 && i >= p.n-size; i-- {
		p.latest[i%size].done = true
	}
	p.missed = false
	if p.waiting > 0 {
		first := p.latest[(p.n-p.waiting)%size]
		p.since, p.frame = first.time, first.n
	}
}

// judgePing reports a ping of d that got no answer in time, or at the end of
// the connection.
func (s *Session) judgePing(d Dir, end bool) {
	p := s.sides[d].pings
	if p == nil || p.waiting == 0 || p.missed || s.ended > 0 || s.sides[FromClient].closed || s.sides[FromServer].closed {
		return
	}
	wait := s.now.Sub(p.since)
	peer := &s.sides[d.Peer()]
	switch {
	case wait >= answerWithin:
		p.missed = true
		s.report("pong-missing", d.Peer(), noFrame, "no pong to the ping of frame %d in %s, limit is %s", p.frame, seconds(wait), seconds(answerWithin))
	case end && peer.lastData.Sub(p.since) >= answerSoon:
		p.missed = true
		s.report("pong-missing", d.Peer(), noFrame, "no pong to the ping of frame %d, though data was sent %s after it", p.frame, seconds(peer.lastData.Sub(p.since)))
	}
}

// sumUpPings fills the totals of the pings of d.
func (s *Session) sumUpPings(d Dir) {
	p := s.sides[d].pings
	if p == nil {
		return
	}
	h := &s.totals.Heartbeat[d]
	h.Missing = p.waiting
	slices.Sort(p.rtts)
	h.RTTs = p.rtts
}

// payloadSum returns a hash of the payload of a control frame (FNV-1a).
func (s *Session) payloadSum(f *Frame) uint64 {
	sum := uint64(14695981039346656037) ^ uint64(f.Length)
	for _, c := range f.AppendPayload(s.scratch[:0], len(s.scratch)) {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return sum
}

// seconds formats a duration for the text of a violation: "0.3 ms", "10 s",
// "60.1 s".
func seconds(d time.Duration) string {
	unit, name := time.Second, " s"
	if d < 950*time.Millisecond {
		unit, name = time.Millisecond, " ms"
	}
	tenths := int64((d*10 + unit/2) / unit)
	if tenths%10 == 0 {
		return strconv.FormatInt(tenths/10, 10) + name
	}
	return strconv.FormatFloat(float64(tenths)/10, 'f', 1, 64) + name
}
