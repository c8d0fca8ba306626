package main

import (
	"cmp"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
)

// Statistics are a sink that counts what a filter selects, and writes what it comes
// to when it is closed. It takes the same memory whatever it counts, but for what it
// keeps of each open session.
type statistics struct {
	w      io.Writer
	json   bool
	filter *filter.Filter // nil selects all
	state  filter.State
	open   decode.PerSession[running]

	first, last time.Time // of what was counted
	sessions    int64     // of which something was
	websocket   int64     // of these, connections of WebSocket
	sides       [2]sideStatistics
	exchanges   exchangeStatistics
	refused     map[int]int64 // upgrades, by status
	tunnels     plain
	bare        bool // there were messages of which no frames are known
	ends        map[ending]*endStatistics
}

// A running session is what statistics keep of one.
type running struct {
	counted   bool
	websocket bool
	pinged    bool
	frame     [2]time.Time // by Dir: when the latest came before the end, or the handshake was over
	ended     time.Time    // when the first Close came or, without one, the first end of a side
	message   [2]time.Time // by Dir: when the latest that was counted came
	waits     [2]bool      // by Dir: no message of the other side has followed that
}

// SideStatistics are about what one side sent.
type sideStatistics struct {
	frames   [16]int64 // by opcode
	bytes    int64     // of them, with their headers; of messages where no frames are known
	messages [2]int64  // text, binary
	unread   int64     // messages that can't be inflated
	sizes    histogram // of messages, in bytes
	gaps     histogram // between messages of a session, in nanoseconds
	answers  histogram // from a message of the other side to the next one of this
	rtts     histogram // from a ping to its pong
	missing  int64     // pings without a pong, of sessions that are closed
	deflate  [len(sizeSteps)]decode.Savings
	busy     peak
}

// sizeSteps are the sizes at which the rows of a table begin, in bytes.
var sizeSteps = [...]int64{0, 1, 4, 16, 64, 256, 1 << 10, 4 << 10, 16 << 10, 64 << 10, 256 << 10, 1 << 20, 4 << 20, 16 << 20, 64 << 20}

func sizeStep(n int64) int {
	i, _ := slices.BinarySearch(sizeSteps[:], n+1)
	return i - 1
}

// A peak is the most that came in a second, any that begins with a tenth of one.
type peak struct {
	tenth                   int64     // of the clock
	messages, bytes         [10]int64 // in the latest tenths
	sumMessages, sumBytes   int64     // of these
	mostMessages, mostBytes int64
}

func (p *peak) add(at time.Time, messages, bytes int64) {
	tenth := at.UnixMilli() / 100
	for n := min(max(tenth-p.tenth, 0), int64(len(p.messages))); n > 0; n-- {
		i := (tenth - n + 1) % int64(len(p.messages))
		p.sumMessages -= p.messages[i]
		p.sumBytes -= p.bytes[i]
		p.messages[i], p.bytes[i] = 0, 0
	}
	p.tenth = max(p.tenth, tenth)
	i := p.tenth % int64(len(p.messages))
	p.messages[i] += messages
	p.bytes[i] += bytes
	p.sumMessages += messages
	p.sumBytes += bytes
	p.mostMessages, p.mostBytes = max(p.mostMessages, p.sumMessages), max(p.mostBytes, p.sumBytes)
}

// rates returns how many messages and bytes came in a second, on average.
func (s *sideStatistics) rates(took time.Duration) (messages, bytes float64) {
	seconds := max(took.Seconds(), 1)
	return min(float64(s.messageCount())/seconds, float64(s.busy.mostMessages)), min(float64(s.bytes)/seconds, float64(s.busy.mostBytes))
}

// ExchangeStatistics are about HTTP that asks for no websocket.
type exchangeStatistics struct {
	plain
	statuses map[int]int64
	took     histogram
}

// An ending is how sessions ended.
type ending struct {
	code int
	by   string // "" if that is not known
}

// maxEndings is how many are told apart; the others are one, with otherCode.
const (
	maxEndings = 100
	otherCode  = -1
)

// EndStatistics are about the sessions that ended in one way.
type endStatistics struct {
	n        int64
	idle     histogram // between the last frame and the end
	suspects []suspect
}

// A suspect is a limit that some of the sessions have met.
type suspect struct {
	decode.Limit
	n      int64
	pinged int64 // of them, sessions with pings
}

func newStatistics(w io.Writer, json bool, f *filter.Filter) *statistics {
	return &statistics{w: w, json: json, filter: f, refused: map[int]int64{}, ends: map[ending]*endStatistics{},
		exchanges: exchangeStatistics{statuses: map[int]int64{}}}
}

// Emit counts ev if it is selected.
func (s *statistics) Emit(ev *decode.Event) {
	selected := s.filter == nil || s.filter.Match(&s.state, ev)
	if ev.Conn == 0 || ev.Out {
		return
	}
	at := s.open.Of(ev)
	s.follow(at, ev)
	if selected {
		s.count(at, ev)
	}
	if at.counted && !at.websocket && connected(ev) {
		at.websocket = true
		s.websocket++
	}
}

// connected reports whether ev tells that its session is a connection of WebSocket.
func connected(ev *decode.Event) bool {
	hs := ev.Handshake
	if hs != nil && hs.Accepted {
		return true
	}
	unasked := hs == nil || hs.Request == nil
	return ev.Info.NoFrames && (ev.Message != nil || unasked && ev.Kind == decode.KindClosed)
}

// follow notes what is needed of events that may not be selected.
func (s *statistics) follow(at *running, ev *decode.Event) {
	switch kind := ev.Kind; {
	case !at.ended.IsZero():
	case kind == decode.KindOpen, kind == decode.KindResponse:
		at.frame = [2]time.Time{ev.Time, ev.Time}
	case kind == decode.KindEnd, kind == decode.KindFrame && ev.Frame.OpCode == ws.OpClose:
		at.ended = ev.Time
	case kind == decode.KindFrame:
		at.frame[ev.Dir] = ev.Time
		at.pinged = at.pinged || ev.Frame.OpCode == ws.OpPing
	case !isBare(ev):
	case ev.Message.Op == ws.OpClose:
		at.ended = ev.Time
	default:
		at.frame[ev.Dir] = ev.Time
		at.pinged = at.pinged || ev.Message.Op == ws.OpPing
	}
	if _, ok := wholeMessage(ev); !ok {
		return
	}
	if peer := ev.Dir.Peer(); at.waits[peer] {
		at.waits[peer] = false
		s.sides[ev.Dir].answers.add(int64(ev.Time.Sub(at.message[peer])))
	}
}

// isBare reports whether ev is a message, data or control, of which no frames are known.
func isBare(ev *decode.Event) bool { return ev.Kind == decode.KindMessage && ev.Info.NoFrames }

// wholeMessage returns the data message that ev completes.
func wholeMessage(ev *decode.Event) (*decode.Message, bool) {
	m := ev.Message
	return m, m != nil && m.Op <= ws.OpBinary && !m.Unfinished && !repeats(ev)
}

// count counts ev.
func (s *statistics) count(at *running, ev *decode.Event) {
	if !at.counted {
		at.counted = true
		s.sessions++
	}
	if s.first.IsZero() || ev.Time.Before(s.first) {
		s.first = ev.Time
	}
	if ev.Time.After(s.last) {
		s.last = ev.Time
	}
	side := &s.sides[ev.Dir]
	switch ev.Kind {
	case decode.KindFrame:
		n := int64(ev.Frame.Len())
		if !ev.Frame.More {
			n += int64(len(ev.Frame.Head))
			side.frames[ev.Frame.OpCode]++
		}
		side.bytes += n
		side.busy.add(ev.Time, 0, n)
		if ev.RTT > 0 {
			s.sides[ev.Dir.Peer()].rtts.add(int64(ev.RTT))
		}
	case decode.KindMessage:
		if isBare(ev) {
			s.bare = true
			side.bytes += ev.Message.Len
			side.busy.add(ev.Time, 0, ev.Message.Len)
		}
	case decode.KindClosed:
		s.closed(at, ev)
	}
	if m, ok := wholeMessage(ev); ok {
		side.message(m, ev.Time)
		if last := at.message[ev.Dir]; !last.IsZero() {
			side.gaps.add(int64(ev.Time.Sub(last)))
		}
		at.message[ev.Dir], at.waits[ev.Dir] = ev.Time, true
	}
}

func (s *sideStatistics) message(m *decode.Message, at time.Time) {
	s.messages[m.Op-ws.OpText]++
	s.busy.add(at, 1, 0)
	if m.Unread {
		s.unread++
		return
	}
	s.sizes.add(m.Len)
	if m.Compressed {
		z := &s.deflate[sizeStep(m.Len)]
		z.Messages++
		z.Wire += m.Wire
		z.Len += m.Len
	}
}

// closed counts a session that is over.
func (s *statistics) closed(at *running, ev *decode.Event) {
	t, hs := ev.Totals, ev.Handshake
	for d := range t.Heartbeat {
		s.sides[d].missing += t.Heartbeat[d].Missing
	}
	switch {
	case at.websocket || connected(ev):
		s.ended(at, ev)
	case hs == nil || hs.Request == nil || hs.Request.Method == "":
		if t.Bytes != [2]int64{} {
			s.tunnels.n++
			s.tunnels.add(t.Bytes)
		}
	case hs.WebSocket:
		s.refused[statusOf(ev)]++
	default:
		s.exchanges.n++
		s.exchanges.add(t.Bytes)
		s.exchanges.statuses[statusOf(ev)]++
		s.exchanges.took.add(int64(t.Closed.Sub(t.Opened)))
	}
}

// statusOf returns the status of the answer in a session that is over; 0 if there
// was none.
func statusOf(ev *decode.Event) int {
	if ev.Totals.Status == 0 && ev.Handshake.Response != nil {
		return ev.Handshake.Response.Status
	}
	return ev.Totals.Status
}

// ended counts how a connection of WebSocket ended.
func (s *statistics) ended(at *running, ev *decode.Event) {
	t := ev.Totals
	key := ending{t.Code, t.Closer()}
	end := s.ends[key]
	if end == nil && len(s.ends) >= maxEndings {
		key = ending{code: otherCode}
		end = s.ends[key]
	}
	if end == nil {
		end = new(endStatistics)
		s.ends[key] = end
	}
	end.n++
	end.idle.add(int64(t.Idle))
	if !t.Abnormal() && t.By == decode.FromClient || key.by == "wstrace" || t.Changed || t.Cause != "" {
		return // no timeout of a server, or of what is in front of one
	}
	before := [4]time.Duration{
		decode.SinceAny:    t.Idle,
		decode.SinceServer: at.ended.Sub(at.frame[decode.FromServer]),
		decode.SinceClient: at.ended.Sub(at.frame[decode.FromClient]),
		decode.SinceOpened: at.ended.Sub(t.Opened),
	}
	if ev.Info.Cont {
		before[decode.SinceOpened] = 0 // nobody knows
	}
	for _, l := range t.Suspects(nil, before) {
		end.suspect(l, at.pinged)
	}
}

func (e *endStatistics) suspect(l decode.Limit, pinged bool) {
	i := slices.IndexFunc(e.suspects, func(s suspect) bool { return s.Limit == l })
	if i < 0 {
		i = len(e.suspects)
		e.suspects = append(e.suspects, suspect{Limit: l})
	}
	e.suspects[i].n++
	if pinged {
		e.suspects[i].pinged++
	}
}

// endings returns the ways in which sessions ended, the most frequent first.
func (s *statistics) endings() []ending {
	return slices.SortedFunc(maps.Keys(s.ends), func(a, b ending) int {
		return cmp.Or(cmp.Compare(s.ends[b].n, s.ends[a].n), cmp.Compare(a.code, b.code), cmp.Compare(a.by, b.by))
	})
}

// Close writes what was counted.
func (s *statistics) Close() error {
	if s.json {
		return s.writeJSON()
	}
	return s.writeText()
}
