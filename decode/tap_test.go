package decode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// tapped is a Tap that writes down what it is given.
type tapped struct{ lines []string }

func (p *tapped) Tap(c Chunk) {
	leg := [...]string{"", " came", " sent"}[c.Leg]
	what := fmt.Sprintf("%q", c.Data)
	if c.Lost > 0 {
		what = fmt.Sprintf("%d lost", c.Lost)
	}
	if c.Offset >= 0 {
		what += fmt.Sprintf(" at %d", c.Offset)
	}
	p.lines = append(p.lines, fmt.Sprintf("%d %s%s %s", c.Conn, c.Dir, leg, what))
}

func (p *tapped) check(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(p.lines, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(p.lines, "\n"), strings.Join(want, "\n"))
	}
	p.lines = nil
}

func TestTap(t *testing.T) {
	var p tapped
	s := &Session{Look: Look{Tap: &p}}
	s.Open(Info{Conn: 7, Time: start})
	s.Data(FromClient, start, []byte("GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"))
	s.Data(FromClient, start, []byte("\r\n\x81"))
	p.check(t, `7 client "GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n"`, `7 client "\r\n"`, `7 client "\x81" at 0`)
	s.Data(FromServer, start, []byte("HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n\x81\x02h"))
	s.Data(FromServer, start, []byte("i\x81"))
	p.check(t, `7 server "HTTP/1.1 101 Yes\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\n"`, `7 server "\x81\x02h" at 0`, `7 server "i\x81" at 3`)
	s.Data(FromServer, start, []byte("\x05a"))
	s.Gap(FromServer, start, 2)
	s.Data(FromServer, start, []byte("bc"))
	p.check(t, `7 server "\x05a" at 5`, `7 server 2 lost`, `7 server "bc" at 9`)
	s.Opaque(FromServer, start, "why")
	s.Data(FromServer, start, []byte("x"))
	s.Message(FromClient, start, ws.OpText, []byte("no bytes"))
	p.check(t, `7 server "x"`)
}

// TestTapGate checks what a tap is given of both sides of a gate: what came first.
func TestTapGate(t *testing.T) {
	var p tapped
	s := &Session{Look: Look{Tap: &p}}
	s.Gate = func(ev *Event) Fate {
		if ev.Kind == KindFrame && ev.Frame.OpCode == ws.OpPing {
			return Fate{FX: FXDrop}
		}
		return Fate{}
	}
	s.Open(Info{Conn: 1, Time: start})
	s.Upgraded()
	s.Data(FromServer, start, []byte("\x81\x01a\x89\x00\x81\x01b\x81\x02c"))
	p.check(t, `1 server came "\x81\x01a\x89\x00\x81\x01b\x81\x02c" at 0`, `1 server sent "\x81\x01a\x81\x01b"`)
	s.Sent(FromServer, start, []byte("\x8a\x00"), "a change")
	p.check(t, `1 server sent "\x8a\x00"`)
	s.Flush(FromServer, start.Add(2*time.Second))
	p.check(t, `1 server sent "\x81\x02c"`)
	s.Gap(FromServer, start, 1)
	s.Data(FromServer, start, []byte("\x89\x01"))
	s.FlushAll(FromServer, start)
	s.Gap(FromServer, start, 1)
	p.check(t, `1 server 1 lost`, `1 server came "\x89\x01" at 12`, `1 server came 1 lost`)
	s.Data(FromServer, start, []byte("\x81"))
	s.End(FromServer, start, EndFIN, "")
	p.check(t, `1 server came "\x81" at 15`, `1 server sent "\x81"`)
}

// TestTapHead checks the heads and bodies that a file has.
func TestTapHead(t *testing.T) {
	var p tapped
	s := &Session{Look: Look{Tap: &p}}
	s.Open(Info{Conn: 1, Time: start})
	h, _ := ParseRequest("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n")
	sent, _ := ParseRequest("GET / HTTP/1.1\r\nHost: h\r\n\r\n")
	s.Head(FromClient, start, h, sent)
	p.check(t, `1 client came "GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n"`, `1 client sent "GET / HTTP/1.1\r\nHost: h\r\n\r\n"`)
	h, _ = ParseResponse("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	s.Head(FromServer, start, h, nil)
	s.Body(FromServer, start, []byte("0123456789abcdefg"), false)
	s.SkipBody(FromServer, start, 16)
	s.Skip(FromServer, start, 12) // the transfer coding
	p.check(t, `1 server "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"`,
		`1 server "11\r\n"`, `1 server "0123456789abcdefg"`, `1 server "\r\n"`,
		`1 server "10\r\n"`, `1 server 16 lost`, `1 server "\r\n0\r\n\r\n"`)
}

// TestTapPanic checks that a tap is given the bytes at which a sink panics.
func TestTapPanic(t *testing.T) {
	var p tapped
	s := &Session{Look: Look{Tap: &p}, Sink: SinkFunc(func(ev *Event) {
		if ev.Kind == KindFrame {
			panic("no")
		}
	})}
	s.Open(Info{Conn: 1, Time: start})
	s.Upgraded()
	func() {
		defer func() { recover() }()
		s.Data(FromClient, start, []byte("\x81\x00"))
	}()
	p.check(t, `1 client "\x81\x00" at 0`)
}

// lastChunk is a Tap that allocates nothing.
type lastChunk struct{ c Chunk }

func (l *lastChunk) Tap(c Chunk) { l.c = c }

func TestTapAllocatesNothing(t *testing.T) {
	for _, gate := range []func(*Event) Fate{nil, func(*Event) Fate { return Fate{} }} {
		for _, st := range speedStreams {
			if (st.cuts || gate != nil) && raceEnabled() {
				continue // buffers are from a sync.Pool
			}
			s := &Session{Look: Look{Tap: new(lastChunk)}, Gate: gate}
			s.Open(Info{Conn: 1, Time: start})
			s.Upgraded()
			allocs := testing.AllocsPerRun(20, func() {
				for _, b := range st.chunks {
					s.Data(FromClient, start, b)
				}
			})
			if allocs != 0 {
				t.Errorf("frames of %s, gate %t: got %v allocations, want none", st.name, gate != nil, allocs)
			}
		}
	}
}
