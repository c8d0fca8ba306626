package decode

import (
	"slices"
	"time"
)

// maxRTTs is how many round-trip times are kept for each side.
const maxRTTs = 256

// A heartbeat is the latest pings of one side and what became of them
// (RFC 6455 §5.5.2, §5.5.3).
type heartbeat struct {
	latest [8]ping // ring
	n      int64   // pings so far; the last one is latest[(n-1)%8]

	// The pings that wait for an answer: none of them and none after them got one.
	waiting int64     // how many they are
	since   time.Time // when the first of them came
	frame   int64     // which frame that was, as in a ping

	extra int64 // pings that share their payload, and its pong, with the one answered last
	other int64 // pings after which, and before the next, a pong had another payload
	after int64 // how many pings had come when that was counted last
	lone  bool  // the other side also sends pongs that answer no ping

	rtts []time.Duration // the latest, up to maxRTTs; ring
	nrtt int64
}

type ping struct {
	sum  uint64    // hash of its payload
	time time.Time // when it came
	i    int64     // which ping of its side it is, from 0
	n    int64     // which frame of its side it is; of one that was sent in place of what came, what outFrame says
	ours bool      // nothing came that it stands for: it was injected
	done bool      // it or a later one was answered
}

// A pongFact is what a pong means.
type pongFact struct {
	kind        pongKind
	first, last ping  // of the pings with its payload that waited; valid iff pongAnswers
	waited      int64 // frame of the first ping that waited when it came; -1 if none did
}

type pongKind uint8

const (
	pongUnclear     pongKind = iota // it may answer a ping that is old or already answered
	pongAnswers                     // it answers a ping
	pongUnsolicited                 // no ping waits
	pongMismatch                    // pings wait, and none of them has its payload
)

// ping takes p, a whole ping that is passed on or sent now.
func (h *heartbeat) ping(p ping, sum uint64, now time.Time) {
	if h.waiting == 0 {
		h.since, h.frame = now, p.n
	}
	h.waiting++
	p.sum, p.time, p.i = sum, now, h.n
	h.latest[h.n%int64(len(h.latest))] = p
	h.n++
}

// pong takes a pong to the pings of h; a nil h has none. It reports whether the
// pong counts as the answer to a ping.
func (h *heartbeat) pong(f *Frame, sum uint64, now time.Time) (p pongFact, counts bool) {
	if h == nil {
		return pongFact{kind: pongUnsolicited, waited: -1}, false
	}
	p.waited = -1
	if h.waiting > 0 {
		p.waited = h.frame
	}
	if !f.Complete { // its ping can't be recognized by a part of the payload
		h.answered(h.n - 1)
		return p, false
	}
	known, first, last := h.find(sum)
	switch {
	case first != nil:
		p.kind, p.first, p.last = pongAnswers, *first, *last
		if !first.ours {
			h.addRTT(now.Sub(first.time))
		}
		h.answered(last.i)
		return p, !last.ours
	case known && h.extra > 0:
		h.extra--
		return p, true
	case h.waiting == 0:
		h.lone = true
		p.kind = pongUnsolicited
	case known: // late
	case h.allOther(): // which is no coincidence
		p.kind = pongMismatch
	case h.waiting > int64(len(h.latest)), h.lone, f.Length == 0: // it may answer an older one, or none
	default:
		p.kind = pongMismatch
	}
	return p, false
}

// allOther takes a pong with another payload than the pings that wait. It reports
// whether there were three pings and each was followed by such a pong.
func (h *heartbeat) allOther() bool {
	if h.after != h.n {
		h.after = h.n
		h.other++
	}
	return h.n >= 3 && h.other == h.n
}

// find returns the first and the last of the pings with a payload that wait
// for an answer, and whether there is any such ping at all.
func (h *heartbeat) find(sum uint64) (known bool, first, last *ping) {
	size := int64(len(h.latest))
	for i := max(0, h.n-size); i < h.n; i++ {
		q := &h.latest[i%size]
		if q.sum != sum {
			continue
		}
		known = true
		if q.done {
			continue
		}
		if first == nil {
			first, h.extra = q, -1
		}
		last = q
		h.extra++
	}
	return known, first, last
}

// answered marks the pings up to the i-th as answered: only the latest needs
// an answer (RFC 6455 §5.5.3).
func (h *heartbeat) answered(i int64) {
	size := int64(len(h.latest))
	h.waiting = min(h.waiting, h.n-1-i)
	for ; i >= 0 && i >= h.n-size; i-- {
		h.latest[i%size].done = true
	}
	if h.waiting > 0 {
		first := h.latest[(h.n-h.waiting)%size]
		h.since, h.frame = first.time, first.n
	}
}

func (h *heartbeat) addRTT(rtt time.Duration) {
	if len(h.rtts) < maxRTTs {
		h.rtts = append(h.rtts, rtt)
	} else {
		h.rtts[h.nrtt%maxRTTs] = rtt
	}
	h.nrtt++
}

// sumUp fills t; h may be nil.
func (h *heartbeat) sumUp(t *Heartbeat) {
	if h == nil {
		return
	}
	t.Missing = h.waiting - h.injected()
	slices.Sort(h.rtts)
	t.RTTs = h.rtts
}

// injected returns how many of the pings that wait were injected.
func (h *heartbeat) injected() (n int64) {
	for i := h.n - min(h.waiting, int64(len(h.latest))); i < h.n; i++ {
		if h.latest[i%int64(len(h.latest))].ours {
			n++
		}
	}
	return n
}

// payloadSum returns a hash of the payload of a control frame (FNV-1a).
func payloadSum(f *Frame, scratch []byte) uint64 {
	sum := uint64(14695981039346656037) ^ uint64(f.Length)
	for _, c := range f.AppendPayload(scratch[:0], len(scratch)) {
		sum = (sum ^ uint64(c)) * 1099511628211
	}
	return sum
}
