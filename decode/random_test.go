package decode

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestSessionRandomCalls calls the methods of sessions in any order, with small
// inputs that fit together now and then. Nothing panics, and whatever comes out
// is a well-formed event.
func TestSessionRandomCalls(t *testing.T) {
	for seed := range uint64(500) {
		playRandomly(t, seed)
		if t.Failed() {
			return
		}
	}
}

// playRandomly plays the session of a seed and fails t, with the calls made,
// if something is wrong with it.
func playRandomly(t *testing.T, seed uint64) {
	rnd := rand.New(rand.NewPCG(seed, 0))
	var calls []string
	check := eventCheck{t: t}
	s := &Session{Sink: &Tee{Sinks: []Sink{&check}}}
	unjudged := rnd.IntN(4) == 0
	s.Look = Look{Messages: rnd.IntN(2) == 0, Keep: rnd.IntN(3) * 4, Advice: rnd.IntN(2) == 0, FactsOnly: unjudged}
	if rnd.IntN(2) == 0 {
		s.Seen = new(Seen)
	}
	if rnd.IntN(3) == 0 {
		s.Gate = func(*Event) Fate { return Fate{FX: FX(rnd.IntN(len(fxNames)))} }
	}
	defer func() {
		if p := recover(); p != nil {
			t.Errorf("seed %d: panic: %v", seed, p)
		}
		if t.Failed() {
			t.Errorf("seed %d: after\n\t%s", seed, strings.Join(calls, "\n\t"))
		}
	}()
	now := start
	call := func(name string, args ...any) { calls = append(calls, name+" "+fmt.Sprintf("%.60q", args)) }
	info := Info{Conn: 1, Time: now, Client: "a:1", URL: "ws://b/", Ext: pick(rnd, "", "permessage-deflate", "x")}
	if rnd.IntN(8) > 0 {
		call("Open")
		s.Open(info)
	}
	for range 3 + rnd.IntN(20) {
		now = now.Add(pick(rnd, 0, time.Millisecond, 700*time.Millisecond, 3*time.Second, 70*time.Second, -time.Second))
		d := Dir(rnd.IntN(2))
		switch rnd.IntN(26) {
		case 0:
			call("Open")
			s.Open(info)
		case 1, 2:
			call("Upgraded")
			s.Upgraded()
		case 3, 4:
			h := randomHead(rnd, d)
			var sent *Head
			if rnd.IntN(3) == 0 {
				sent = randomHead(rnd, d)
			}
			call("Head", d, *h)
			s.Head(d, now, h, sent)
		case 5:
			b := randomBytes(rnd, d)
			call("Body", d, b)
			s.Body(d, now, b, rnd.IntN(2) == 0)
		case 6:
			op := pick(rnd, ws.OpText, ws.OpBinary, ws.OpClose, ws.OpPing, ws.OpContinuation, ws.OpCode(11))
			b := randomBytes(rnd, d)
			call("Message", d, OpName(op), b)
			s.Message(d, now, op, b)
		case 7:
			b := randomBytes(rnd, d)
			call("Sent", d, b)
			s.Sent(d, now, b, "c")
		case 8:
			call("Skip", d)
			s.Skip(d, now, int64(rnd.IntN(9)))
		case 9:
			call("Flush", d)
			s.Flush(d, now)
		case 10:
			call("FlushAll", d)
			s.FlushAll(d, now)
		case 11:
			call("Gap", d)
			s.Gap(d, now, int64(rnd.IntN(9)))
		case 12:
			call("Opaque", d)
			s.Opaque(d, now, "why")
		case 13:
			call("Notice")
			s.Notice(now, "note")
		case 14:
			call("Answer")
			s.Answer(502)
		case 15:
			how := End(rnd.IntN(len(endNames)))
			call("End", d, how)
			s.End(d, now, how, "")
		case 16:
			call("EndBoth")
			s.EndBoth(now, EndFIN, "")
		case 17:
			call("Done")
			s.Done(now)
		case 18:
			since, ok := s.Pending(d)
			if ok && (since.IsZero() || since.After(s.now)) {
				t.Errorf("seed %d: pending since %v, it is %v", seed, since, s.now)
			}
			s.HeadFault(d)
			s.At(rnd.IntN(3), int64(rnd.IntN(3)))
		default:
			b := randomBytes(rnd, d)
			call("Data", d, b)
			s.Data(d, now, b)
		}
	}
	s.EndBoth(now, EndFIN, "")
	s.Done(now)
	if s.judge != nil && len(s.judge.found) > 0 {
		t.Errorf("seed %d: violations that no event has: %v", seed, s.judge.found)
	}
	if !check.closed {
		t.Errorf("seed %d: not closed", seed)
	}
}

// An eventCheck is a Sink that looks for events that are not as [Event] says.
type eventCheck struct {
	t      *testing.T
	last   time.Time
	closed bool
}

func (c *eventCheck) Emit(ev *Event) {
	bad := func(what string, args ...any) {
		c.t.Helper()
		c.t.Errorf("event %d, %s: %s", ev.Kind, ev.Dir, fmt.Sprintf(what, args...))
	}
	if ev.Info == nil || ev.Time.Before(c.last) {
		bad("info %v, time %v after %v", ev.Info, ev.Time, c.last)
	}
	c.last = ev.Time
	if c.closed {
		bad("after the closed event")
	}
	has := map[string]bool{
		"frame":   ev.Frame != nil,
		"head":    ev.Head != nil,
		"message": ev.Message != nil && ev.Kind != KindFrame,
		"totals":  ev.Totals != nil,
		"data":    len(ev.Data) > 0 && ev.Kind != KindResponse && ev.Kind != KindBody,
		"lost":    ev.Lost != 0,
	}
	of := map[Kind]string{KindFrame: "frame", KindResponse: "head", KindMessage: "message", KindClosed: "totals", KindJunk: "data", KindGap: "lost"}
	for what, there := range has {
		if there != (of[ev.Kind] == what) && (!there || of[ev.Kind] != what) && what != "lost" {
			bad("has %s: %t", what, there)
		}
	}
	switch ev.Kind {
	case KindRequest:
		if ev.Handshake == nil || ev.Handshake.Request == nil {
			bad("no request")
		}
	case KindViolation:
		if len(ev.Violations) == 0 {
			bad("no violation")
		}
	case KindFrame:
		if f := ev.Frame; f.Dir != ev.Dir || f.Len() > MaxPiece || f.At+int64(f.Len()) > f.Length || f.Complete != (f.At+int64(f.Len()) == f.Length) || f.More != (f.At > 0) && f.At > 0 || len(f.Head) < 2 {
			bad("frame %+v with %d bytes", f, f.Len())
		}
		if ev.Message != nil && (!ev.Frame.Fin || !ev.Frame.Complete) {
			bad("a message before its end")
		}
	case KindBody:
		if len(ev.Data) > MaxPiece || ev.BodyLen < int64(len(ev.Data)) || ev.Part && ev.Body != nil {
			bad("%d bytes of %d of a body", len(ev.Data), ev.BodyLen)
		}
	case KindJunk, KindResponse:
		if len(ev.Data) > MaxPiece {
			bad("%d bytes of data", len(ev.Data))
		}
	case KindClosed:
		c.closed = true
		if ev.Totals.Closed.Before(ev.Totals.Opened) {
			bad("closed at %v, opened at %v", ev.Totals.Closed, ev.Totals.Opened)
		}
	}
	for _, v := range ev.Violations {
		if v.Rule == nil || v.Text == "" || strings.Contains(v.Text, "%!") || v.Where.From < 0 || v.Where.N < 0 {
			bad("violation %+v", v)
		}
		if ev.Kind == KindFrame && !ev.Out && v.Frame != noFrame && v.Frame != ev.Frame.N || ev.Out {
			bad("has the violation %s of frame %d", v.ID, v.Frame)
		}
	}
	ev.Clone()
}

func pick[T any](rnd *rand.Rand, vs ...T) T { return vs[rnd.IntN(len(vs))] }

// randomHead returns a head as [Session.Head] may get it, or as it should not.
func randomHead(rnd *rand.Rand, d Dir) *Head {
	switch rnd.IntN(4) {
	case 0:
		h, _ := ParseRequest(upgradeRequest)
		if d == FromServer {
			h, _ = ParseResponse(upgradeResponse)
		}
		return h
	case 1:
		return head2(map[Dir]string{FromClient: "CONNECT"}[d], "200")
	}
	return &Head{
		Raw:    pick(rnd, "", "", "x", "\n"),
		Method: pick(rnd, "", "GET", "CONNECT"),
		Target: pick(rnd, "", "/", "http://a@b/?token=x"),
		Proto:  pick(rnd, "", "HTTP/1.1", "HTTP/2"),
		Status: pick(rnd, 0, 100, 101, 200, 426, 99999, -1),
		Fields: slices.Clip(pick(rnd, nil, []Field{{}}, []Field{{"Upgrade", "websocket"}, {"Sec-WebSocket-Key", "x"}},
			[]Field{{"Content-Length", "3"}}, []Field{{"Sec-WebSocket-Version", "13"}, {"Sec-WebSocket-Extensions", ";"}})),
		Cut: rnd.IntN(6) == 0,
	}
}

// randomBytes returns what d may send: parts of heads, bodies and frames.
func randomBytes(rnd *rand.Rand, d Dir) []byte {
	head, frame := upgradeRequest, func(flags byte, payload string) string {
		return masked(flags, [4]byte{byte(rnd.IntN(3)), 2, 3, 4}, payload)
	}
	if d == FromServer {
		head, frame = upgradeResponse, unmasked
	}
	if rnd.IntN(16) == 0 {
		frame = unmasked
	}
	s := pick(rnd,
		"", "\r\n", "x", "\xff", head, head,
		"HTTP/1.1 403 No\r\nContent-Length: 3\r\n\r\nno", "GET / HTTP/1.1\r\n\r\n", "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
		frame(0x81, "hello"), frame(0x01, "h\xc3"), frame(0x80, "\xa9"), frame(0x00, ""), frame(0x89, "p"), frame(0x8a, "p"), frame(0x8a, ""),
		frame(0x88, "\x03\xe8bye"), frame(0x88, ""), frame(0x88, "x"), frame(0xc1, "\xf2\x48\xcd\xc9\xc9\x07\x00"), frame(0x41, "\xf2"), frame(0xc2, "\xff\xff"),
		frame(0xf3, "?"), frame(0x82, strings.Repeat("é", 300)), "\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", "\x81\x7f\x00\x00\x00\x00\x00\x01\x00\x01",
	)
	if rnd.IntN(32) == 0 {
		s = frame(0x81, strings.Repeat("é", 33<<10))
	}
	switch rnd.IntN(4) {
	case 0:
		return []byte(s[:rnd.IntN(len(s)+1)])
	case 1:
		return []byte(s + frame(0x82, "next"))
	}
	return []byte(s)
}
