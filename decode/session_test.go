package decode

import (
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

const (
	upgradeRequest = "GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: 8YmBPf+ktDVCLmdeQNEzYw==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	upgradeResponse = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: MI1lMsmrUIbQWSgqGnAZfQ/D3u4=\r\n\r\n"
)

// The life of a session.

func TestSessionFromOpenToClosed(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest)
	s.want("> request GET /chat")
	s.server(upgradeResponse + unmasked(0x81, "Hello"))
	s.want("< response 101", `< text 10000001 5 "Hello"`)
	s.client(masked(0x88, testKey, "\x03\xe8bye"))
	s.want(`> close 10001000 5 "\x03\xe8bye"`)
	s.server(unmasked(0x88, "\x03\xe9"))
	s.want(`< close 10001000 2 "\x03\xe9"`)
	s.End(FromServer, s.tick(), EndFIN, "")
	s.want("< end fin")
	s.End(FromClient, s.tick(), EndRST, "reset by peer")
	s.want("> end rst: reset by peer", "closed 1000 by client, fin: frames 1 2, bytes 11 11")
}

func TestSessionEventContents(t *testing.T) {
	s := newScript(t)
	info := Info{Conn: 7, Time: start, Client: "192.0.2.1:5000", Server: "a:80", URL: "ws://a/chat", Via: "reverse"}
	s.Open(info)
	s.client(upgradeRequest)
	s.server(strings.Replace(upgradeResponse, "\r\n\r\n", "\r\nSec-WebSocket-Protocol: echo\r\n"+
		"Sec-WebSocket-Extensions: a\r\nSec-WebSocket-Extensions: b; c=1\r\n\r\n", 1))
	s.server(unmasked(0x81, "Hello"))
	for i, ev := range s.record[1:] {
		if ev.Conn != 7 || *ev.Info != info {
			t.Errorf("event %d: got session %d, %+v, want 7, %+v", i, ev.Conn, *ev.Info, info)
		}
		if want := start.Add(time.Duration(i) * time.Second); !ev.Time.Equal(want) {
			t.Errorf("event %d: got time %v, want %v", i, ev.Time, want)
		}
	}
	h := s.record[len(s.record)-1].Handshake
	got := Handshake{WebSocket: h.WebSocket, Accepted: h.Accepted, Key: h.Key, Accept: h.Accept, Subprotocol: h.Subprotocol, Extensions: h.Extensions}
	want := Handshake{WebSocket: true, Accepted: true, Key: "8YmBPf+ktDVCLmdeQNEzYw==",
		Accept: "MI1lMsmrUIbQWSgqGnAZfQ/D3u4=", Subprotocol: "echo", Extensions: "a, b; c=1"}
	if got != want {
		t.Errorf("got handshake %+v, want %+v", got, want)
	}
	if h.Request.Raw != upgradeRequest || h.Response.Status != 101 {
		t.Errorf("got heads %q and %d", h.Request.Raw, h.Response.Status)
	}
}

// The close verdict (RFC 6455 §7.1.5).
func TestSessionVerdict(t *testing.T) {
	for _, c := range []struct {
		name string
		run  func(*script)
		want string
	}{
		{"no close frame", func(s *script) {
			s.End(FromServer, s.tick(), EndRST, "")
			s.End(FromClient, s.tick(), EndLocal, "")
		}, "closed 1006 by server, rst: frames 0 0, bytes 0 0"},
		{"close without a code", func(s *script) {
			s.server("\x88\x00")
			s.client(masked(0x88, testKey, "\x03\xe8"))
			s.ends()
		}, "closed 1005 by server, fin: frames 1 1, bytes 8 2"},
		{"the first close counts", func(s *script) {
			s.client(masked(0x88, testKey, "\x0f\xa0"))
			s.server("\x88\x02\x03\xe8")
			s.ends()
		}, "closed 4000 by client, fin: frames 1 1, bytes 8 4"},
		{"close cut off in its reason", func(s *script) {
			s.server("\x88\x07\x03\xf3br")
			s.ends()
		}, "closed 1006 by client, fin: frames 0 1, bytes 0 6"},
		{"close just after the end of the other side", func(s *script) {
			s.End(FromClient, s.tick(), EndFIN, "")
			s.server("\x88\x02\x03\xe8")
			s.End(FromServer, s.tick(), EndFIN, "")
		}, "closed 1006 by client, fin: frames 0 1, bytes 0 4"},
		{"end of ours, then of the server", func(s *script) {
			s.End(FromClient, s.tick(), EndLocal, "")
			s.End(FromServer, s.tick(), EndFIN, "")
		}, "closed 1006 by client, local: frames 0 0, bytes 0 0"},
		{"close cut off in its code", func(s *script) {
			s.server("\x88\x07\x03")
			s.ends()
		}, "closed 1006 by client, fin: frames 0 1, bytes 0 3"},
		{"close with code 0", func(s *script) {
			s.server("\x88\x02\x00\x00")
			s.client(masked(0x88, testKey, "\x03\xe8"))
			s.ends()
		}, "closed 0 by server, fin: frames 1 1, bytes 8 4"},
		{"done without ends", func(s *script) {
			s.Done(s.tick())
		}, "closed 1006 by client, fin: frames 0 0, bytes 0 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := upgraded(t)
			c.run(s)
			if got := s.record.lines(); got[len(got)-1] != c.want {
				t.Errorf("got %s, want %s", got[len(got)-1], c.want)
			}
		})
	}
}

func TestSessionIsClosedOnce(t *testing.T) {
	s := upgraded(t)
	s.End(FromClient, s.tick(), EndFIN, "")
	s.End(FromClient, s.tick(), EndRST, "")
	s.ends()
	s.Done(s.tick())
	s.ends()
	s.want("> end fin !close-missing", "< end fin", "closed 1006 by client, fin: frames 0 0, bytes 0 0")
}

func TestSessionTimesNeverRunBackwards(t *testing.T) {
	s := upgraded(t)
	s.Data(FromClient, start.Add(2*time.Second), []byte(masked(0x81, testKey, "a")))
	s.Data(FromServer, start.Add(time.Second), []byte(unmasked(0x81, "b")))
	s.End(FromServer, start.Add(-time.Hour), EndFIN, "")
	s.End(FromClient, start.Add(3*time.Second), EndFIN, "")
	for i := 1; i < len(s.record); i++ {
		if s.record[i].Time.Before(s.record[i-1].Time) {
			t.Errorf("event %d is at %v, before the one at %v", i, s.record[i].Time, s.record[i-1].Time)
		}
	}
	totals := s.record[len(s.record)-1].Totals
	if got := totals.Closed.Sub(totals.Opened); got != 3*time.Second {
		t.Errorf("got a session of %v, want 3s", got)
	}
}

func TestSessionDoesNotChangeBytes(t *testing.T) {
	s := upgraded(t)
	wire := masked(0x81, testKey, strings.Repeat("é", MaxPiece)) + masked(0x88, testKey, "\x03\xe8bye")
	b := []byte(wire)
	s.Data(FromClient, start, b[:100])
	s.Data(FromClient, start, b[100:])
	if string(b) != wire {
		t.Error("the bytes given to Data were changed")
	}
}

func TestSessionTimesAreOfTheWallClock(t *testing.T) {
	s := newScript(t)
	now := time.Now().Add(time.Hour)
	s.Data(FromClient, now, []byte(upgradeRequest))
	if ev := s.record[len(s.record)-1]; ev.Time != now.Round(0) {
		t.Errorf("got time %v, want %v, without a monotonic reading", ev.Time, now.Round(0))
	}
}

func TestSessionCountsViolations(t *testing.T) {
	s := upgraded(t)
	s.client("\x81\x00\xc1\x00")
	s.ends()
	totals := s.record[len(s.record)-1].Totals
	if totals.Errors != 3 || totals.Warnings != 1 || totals.Violations() != 4 {
		t.Errorf("got %d errors, %d warnings, %d violations, want 3, 1 and 4", totals.Errors, totals.Warnings, totals.Violations())
	}
	counts := []string{}
	for _, c := range totals.Rules {
		counts = append(counts, fmt.Sprintf("%s %s %d", c.From, c.ID, c.N))
	}
	if want := []string{"client frame-client-unmasked 2", "client frame-rsv-set 1", "client close-missing 1"}; !slices.Equal(counts, want) {
		t.Errorf("got counts %q, want %q", counts, want)
	}
	v := s.record[1].Violations[0]
	want := "client frame-client-unmasked: frame without a masking key (RFC 6455 §5.1)"
	if got := v.String(); got != want || v.Frame != 0 {
		t.Errorf("got %s of frame %d, want %s of frame 0", got, v.Frame, want)
	}
}

// TestSessionReportsEachSeverity checks that a rule which a side broke in a
// lesser way before is reported again, and counted apart.
func TestSessionReportsEachSeverity(t *testing.T) {
	s := upgraded(t)
	for range 3 {
		s.client(masked(0x81, [4]byte{}, "a") + masked(0x81, testKey, "b"))
	}
	var got []string
	for _, ev := range s.record {
		for _, v := range ev.Violations {
			got = append(got, fmt.Sprintf("frame %d %s", v.Frame, v.Severity))
		}
	}
	if want := []string{"frame 0 warning", "frame 2 error"}; !slices.Equal(got, want) {
		t.Errorf("got violations %q, want %q", got, want)
	}
	s.ends()
	var counts []string
	totals := s.record[len(s.record)-1].Totals
	for _, c := range totals.Rules {
		if c.ID == "mask-key-zero" {
			counts = append(counts, fmt.Sprintf("%s %d", c.Severity, c.N))
		}
	}
	if want := []string{"warning 1", "error 2"}; !slices.Equal(counts, want) || totals.Errors != 2 {
		t.Errorf("got counts %q and %d errors, want %q and 2", counts, totals.Errors, want)
	}
}

func TestSessionWithoutSink(t *testing.T) {
	var s Session
	s.Open(Info{Conn: 1, Time: start})
	s.Data(FromClient, start, []byte(upgradeRequest))
	s.Data(FromServer, start, []byte(upgradeResponse+"\x81\x80"))
	s.Done(start)
}

// Frames in pieces.

// pieceLines returns the lines that a frame makes with pieces that end at ends.
func pieceLines(mark string, flags byte, payload string, ends ...int) []string {
	var lines []string
	at := 0
	op := OpName(0)
	switch flags & 15 {
	case 1:
		op = "text"
	case 2:
		op = "bin"
	}
	for i, end := range ends {
		l := fmt.Sprintf("%s %s %08b %d", mark, op, flags, len(payload))
		if len(ends) > 1 {
			l += fmt.Sprintf(" %d-%d", at, end)
		}
		if i > 0 {
			l += " more"
		}
		lines = append(lines, l+" "+short(payload[at:end]))
		at = end
	}
	return lines
}

// TestSessionLongFrames checks where long frames are cut, and that it does not
// depend on how their bytes come.
func TestSessionLongFrames(t *testing.T) {
	const x = "x"
	rep := strings.Repeat
	for _, c := range []struct {
		name    string
		flags   byte
		payload string
		ends    []int // of the pieces
	}{
		{"one less than a piece", 0x82, rep(x, 65535), []int{65535}},
		{"one piece", 0x82, rep(x, 65536), []int{65536}},
		{"one more than a piece", 0x82, rep(x, 65537), []int{65536, 65537}},
		{"two pieces and a bit", 0x82, rep(x, 131072+3), []int{65536, 131072, 131075}},
		{"text that fits", 0x81, rep(x, 65534) + "é", []int{65536}},
		{"2-byte character across", 0x81, rep(x, 65535) + "é", []int{65535, 65537}},
		{"3-byte character, 1 before", 0x81, rep(x, 65535) + "€", []int{65535, 65538}},
		{"3-byte character, 2 before", 0x81, rep(x, 65534) + "€", []int{65534, 65537}},
		{"4-byte character, 1 before", 0x81, rep(x, 65535) + "😀", []int{65535, 65539}},
		{"4-byte character, 2 before", 0x81, rep(x, 65534) + "😀", []int{65534, 65538}},
		{"4-byte character, 3 before", 0x81, rep(x, 65533) + "😀", []int{65533, 65537}},
		{"4-byte character up to the end", 0x81, rep(x, 65532) + "😀" + x, []int{65536, 65537}},
		{"nothing but 3-byte characters", 0x81, rep("€", 43691), []int{65535, 131070, 131073}},
		{"not UTF-8 across", 0x81, rep(x, 65534) + "\x80\x80\x80", []int{65536, 65537}},
		{"lead byte without its character", 0x81, rep(x, 65535) + "\xe2x", []int{65535, 65537}},
		{"characters in binary", 0x82, rep(x, 65535) + "é", []int{65536, 65537}},
		{"characters in compressed text", 0xc1, rep(x, 65535) + "é", []int{65536, 65537}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			for _, side := range []struct {
				d    Dir
				wire string
			}{
				{FromClient, masked(c.flags, testKey, c.payload)},
				{FromServer, unmasked(c.flags, c.payload)},
			} {
				want := pieceLines(side.d.Arrow(), c.flags, c.payload, c.ends...)
				for _, sizes := range [][]int{
					{1 << 20}, {65536}, {65535}, {65537}, {4096}, {1000}, {7}, {10, 65536}, {14, 65535, 1}, {15, 65536}, {60000, 7},
				} {
					r := playFrames(side.d, side.wire, sizes)
					if got := r.lines(); !slices.Equal(got, want) {
						t.Fatalf("chunks of %v: got\n\t%s\nwant\n\t%s", sizes, strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
					}
					if got := r.wire(side.d); string(got) != side.wire {
						t.Fatalf("chunks of %v: %d bytes can be rebuilt and differ from the %d sent", sizes, len(got), len(side.wire))
					}
				}
			}
		})
	}
}

// playFrames gives wire to a Session in chunks of the given sizes, the last of
// which goes on, and returns the events of frames.
func playFrames(d Dir, wire string, sizes []int) record {
	var r record
	s := &Session{Sink: &r}
	s.Open(Info{Time: start, Ext: "permessage-deflate"})
	s.Upgraded()
	r = nil
	for i := 0; wire != ""; i++ {
		n := min(sizes[min(i, len(sizes)-1)], len(wire))
		s.Data(d, start, []byte(wire[:n]))
		wire = wire[n:]
	}
	return r
}

// TestSessionLongTextContinuation checks that a continuation of text is cut
// between characters too, and one of binary is not.
func TestSessionLongTextContinuation(t *testing.T) {
	payload := strings.Repeat("x", 65535) + "é"
	s := upgraded(t)
	s.server(unmasked(0x01, "") + unmasked(0x89, "") + unmasked(0x80, payload) + unmasked(0x02, "") + unmasked(0x80, payload))
	want := slices.Concat(
		[]string{`< text 00000001 0 ""`, `< ping 10001001 0 ""`}, pieceLines("<", 0x80, payload, 65535, 65537),
		[]string{`< bin 00000010 0 ""`}, pieceLines("<", 0x80, payload, 65536, 65537))
	s.want(want...)
}

// A frame whose length is not known to end must not be emitted twice or late.
func TestSessionEmitsLongFrameWhenPieceIsAtHand(t *testing.T) {
	s := upgraded(t)
	s.server(unmasked(0x82, strings.Repeat("x", 65537))[:10+65535])
	s.want()
	s.server("x")
	s.want(`< bin 10000010 65537 0-65536 "xxxx"…"xxxx"(65536)`)
	s.server("x")
	s.want(`< bin 10000010 65537 65536-65537 more "x"`)
}

// Flush and Pending.

func TestSessionFlush(t *testing.T) {
	s := upgraded(t)
	wire := masked(0x81, testKey, "Hello €!")
	s.client(wire[:5])
	s.Flush(FromClient, s.tick())
	s.want() // not even a header
	s.client(wire[5:6])
	s.Flush(FromClient, s.tick())
	s.want(`> text 10000001 10 0-0 ""`)
	s.client(wire[6:8])
	s.Flush(FromServer, s.tick())
	s.want() // the other side
	s.Flush(FromClient, s.tick())
	s.want(`> text 10000001 10 0-2 more "He"`)
	s.Flush(FromClient, s.tick())
	s.want() // nothing new
	s.client(wire[8:14])
	s.Flush(FromClient, s.tick())
	s.want(`> text 10000001 10 2-6 more "llo "`)
	s.client(wire[14:])
	s.want(`> text 10000001 10 6-10 more "€!"`)
}

// TestSessionFlushAll checks that nothing is held back where Flush would wait
// for the rest of a character.
func TestSessionFlushAll(t *testing.T) {
	s := upgraded(t)
	s.server("\x81\x04a\xe2")
	s.Flush(FromServer, s.tick())
	s.want(`< text 10000001 4 0-1 "a"`)
	s.FlushAll(FromServer, s.tick())
	s.want(`< text 10000001 4 1-2 more "\xe2"`)
	s.server("\x82\xac")
	s.want(`< text 10000001 4 2-4 more "\x82\xac"`)
}

func TestSessionPending(t *testing.T) {
	s := newScript(t)
	pending := func(what string, want bool, since time.Time) {
		t.Helper()
		if got, ok := s.Pending(FromServer); ok != want || ok && !got.Equal(since) {
			t.Errorf("%s: got pending %t since %v, want %t since %v", what, ok, got, want, since)
		}
		if _, ok := s.Pending(FromClient); ok {
			t.Errorf("%s: the client's side is pending", what)
		}
	}
	s.client(upgradeRequest)
	s.server(upgradeResponse)
	pending("after the heads", false, start)
	s.server("\x81")
	pending("inside a header", false, start)
	s.server("\x05")
	since := s.now
	pending("after a header", true, since)
	s.server("He")
	pending("inside a payload", true, since)
	s.Flush(FromServer, s.tick())
	pending("after a flush", false, start)
	s.server("l")
	since = s.now
	pending("with more payload", true, since)
	s.server("lo")
	pending("after the frame", false, start)
	s.server(unmasked(0x82, strings.Repeat("x", 70000))[:66000])
	since = s.now
	s.server("x")
	pending("inside the second piece", true, since)
	s.End(FromServer, s.tick(), EndFIN, "")
	pending("after the end", false, start)
}

// TestSessionPendingAfterPiece checks that half a character that was left over
// from a piece waits since it came, not since the piece began.
func TestSessionPendingAfterPiece(t *testing.T) {
	s := upgraded(t)
	wire := unmasked(0x81, "x"+strings.Repeat("é", 40000))
	s.server(wire[:MaxPiece])
	s.want()
	s.server(wire[MaxPiece : 10+MaxPiece])
	s.want(`< text 10000001 80001 0-65535 "xé\xc3"…"éé"(65535)`)
	if since, ok := s.Pending(FromServer); !ok || !since.Equal(s.now) {
		t.Errorf("got pending %t since %v, want true since %v", ok, since, s.now)
	}
}

// The ends of a direction.

func TestSessionEndInEveryState(t *testing.T) {
	const refused = "HTTP/1.1 403 Forbidden\r\nContent-Length: 10\r\n\r\n"
	for _, c := range []struct {
		name           string
		client, server string
		want           []string
	}{
		{"before the first byte", "", "", []string{
			"> end fin", "< end fin"}},
		{"inside the request", "GET / HT", "", []string{
			`> request cut "GET / HT"`, "> end fin", "< end fin"}},
		{"before the response", upgradeRequest, "", []string{
			"> request GET /chat", "> end fin", "< end fin",
			"closed 0 by client, fin: frames 0 0, bytes 0 0"}},
		{"inside the response", upgradeRequest, "HTTP/1.1 101 Sw", []string{
			"> request GET /chat", "> end fin", `< response cut "HTTP/1.1 101 Sw"`, "< end fin",
			"closed 0 by client, fin: frames 0 0, bytes 0 0"}},
		{"inside a refusal", upgradeRequest, refused + "sorry", []string{
			"> request GET /chat", "> end fin", `< response 403 "sorry" of 0`, `< body "sorry" of 5 cut off`, "< end fin",
			"closed 0 by client, fin: frames 0 0, bytes 0 5"}},
		{"inside headers", upgradeRequest + "\x81", upgradeResponse + "\x81\x7e\x00", []string{
			"> request GET /chat", "< response 101",
			`> junk "\x81": ends inside a frame header`, "> end fin !frame-truncated !close-missing",
			`< junk "\x81~\x00": ends inside a frame header`, "< end fin",
			"closed 1006 by client, fin: frames 0 0, bytes 1 3"}},
		{"inside payloads", upgradeRequest + masked(0x81, testKey, "Hello")[:8], upgradeResponse + "\x81\x05", []string{
			"> request GET /chat", "< response 101",
			`> text 10000001 5 0-2 "He"`, "> end fin !frame-truncated !close-missing",
			`< text 10000001 5 0-0 ""`, "< end fin",
			"closed 1006 by client, fin: frames 1 1, bytes 8 2"}},
		{"inside a character", upgradeRequest, upgradeResponse + "\x81\x05a\xe2\x82", []string{
			"> request GET /chat", "< response 101", "> end fin !close-missing",
			`< text 10000001 5 0-3 "a\xe2\x82"`, "< end fin",
			"closed 1006 by client, fin: frames 0 1, bytes 0 5"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newScript(t)
			s.client(c.client)
			s.server(c.server)
			s.ends()
			s.want(c.want...)
		})
	}
}

func TestSessionDoneAfterEndSaysNothingTwice(t *testing.T) {
	s := upgraded(t)
	s.server("\x81")
	s.client(masked(0x81, testKey, "Hello")[:8])
	s.End(FromServer, s.tick(), EndFIN, "")
	s.want(`< junk "\x81": ends inside a frame header`, "< end fin !frame-truncated !close-missing")
	s.Done(s.tick())
	s.want(`> text 10000001 5 0-2 "He"`, "closed 1006 by server, fin: frames 1 0, bytes 8 1")
}

func TestSessionDoneEmitsWhatWaits(t *testing.T) {
	s := upgraded(t)
	s.server("\x81\x05He")
	s.client("\x81\x85")
	s.Done(s.tick())
	s.want(`> junk "\x81\x85": ends inside a frame header`, `< text 10000001 5 0-2 "He"`,
		"closed 1006 by client, fin: frames 0 1, bytes 2 4")
}

func TestSessionEndWithText(t *testing.T) {
	s := newScript(t)
	s.client("GET / HTTP/1.1\r\n\r\n")
	s.End(FromServer, s.tick(), EndLocal, `dial upstream "127.0.0.1:1902": connection refused`)
	s.Done(s.tick())
	s.want("> request GET /", `< end local: dial upstream "127.0.0.1:1902": connection refused`,
		"closed 0 by server, local: frames 0 0, bytes 0 0")
}

// An end of which nobody knows whose it is blames nobody. What a side has left
// unfinished is still its own.
func TestSessionEndBoth(t *testing.T) {
	for how, more := range map[End]string{EndFIN: " !frame-truncated", EndRST: "", EndTLSEOF: " !frame-truncated"} {
		s := upgraded(t)
		s.server("\x01\x05Hello\x80\x05He")
		s.EndBoth(s.tick(), how, "")
		s.want("< text 00000001 5 \"Hello\"", "< cont 10000000 5 0-2 \"He\"", "end "+how.String()+more,
			fmt.Sprintf("closed 1006 by nobody, %s: frames 0 2, bytes 0 11", how))
	}
	s := upgraded(t)
	s.server("\x88\x00")
	s.EndBoth(s.tick(), EndFIN, "")
	s.want("< close 10001000 0 \"\"", "end fin", "closed 1005 by server, fin: frames 0 1, bytes 0 2")
}

// Captures with holes.

func TestSessionGapInsidePayload(t *testing.T) {
	s := upgraded(t)
	wire := masked(0x81, testKey, "Hello, you") + masked(0x8a, testKey, "")
	s.client(wire[:8])
	s.Gap(FromClient, s.tick(), 3)
	s.client(wire[11:])
	s.want(`> text 10000001 10 0-2 "He"`, "> gap 3", `> text 10000001 10 5-10 more ", you"`, `> pong 10001010 0 "" !mask-key-repeated`)
	s.ends()
	s.want("> end fin !close-missing", "< end fin", "closed 1006 by client, fin: frames 2 0, bytes 22 0")
}

func TestSessionGapUpToTheEndOfAFrame(t *testing.T) {
	s := upgraded(t)
	wire := unmasked(0x81, "Hello") + unmasked(0x8a, "x")
	s.server(wire[:4])
	s.Gap(FromServer, s.tick(), 3)
	s.server(wire[7:])
	s.want(`< text 10000001 5 0-2 "He"`, "< gap 3", `< pong 10001010 1 "x"`)
}

func TestSessionGapBeyondAFrame(t *testing.T) {
	for _, before := range []string{"", "\x81", "\x81\x05He"} {
		s := upgraded(t)
		s.server(before)
		s.Gap(FromServer, s.tick(), 4)
		s.seen = len(s.record)
		s.server("\x8a\x00")
		s.client(masked(0x8a, testKey, ""))
		s.want(`< junk "\x8a\x00": cannot be framed`, `> pong 10001010 0 ""`)
		s.ends()
		if got, want := string(s.record.wire(FromServer)), before+"\x8a\x00"; got != want {
			t.Errorf("gap after %q: rebuilt %q, want %q", before, got, want)
		}
	}
}

func TestSessionGapInHead(t *testing.T) {
	s := newScript(t)
	s.client("GET / HTTP/1.1\r\nA")
	s.Gap(FromClient, s.tick(), 100)
	s.client("b: c\r\n\r\n")
	s.want(`> request cut "GET / HTTP/1.1\r\nA"`, "> gap 100")
}

func TestSessionGapInBody(t *testing.T) {
	request := strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nContent-Length: 10\r\n\r\n", 1)
	s := newScript(t)
	s.client(request + "012")
	s.Gap(FromClient, s.tick(), 4)
	s.client("789\x8a\x80\x01\x02\x03\x04")
	s.want("> request GET /chat !req-body-present", `> junk "012": body of the request`, "> gap 4",
		`> junk "789": body of the request`, `> pong 10001010 0 "" !req-early-data`)

	// Nobody knows where a body ends of which a chunk size is lost.
	request = strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nTransfer-Encoding: chunked\r\n\r\n", 1)
	s = newScript(t)
	s.client(request + "3\r\n")
	s.Gap(FromClient, s.tick(), 4)
	s.client("x\x8a\x80\x01\x02\x03\x04")
	s.want("> request GET /chat !req-body-present", `> junk "3\r\n": body of the request`, "> gap 4",
		`> junk "x\x8a\x80\x01\x02\x03\x04": body of the request`)
}

// Lengths instead of bytes.

func TestSessionSkip(t *testing.T) {
	s := newScript(t)
	s.client("POST / HTTP/1.1\r\nContent-Length: 10\r\n\r\n")
	s.Skip(FromClient, s.tick(), 10)
	s.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	s.Skip(FromServer, s.tick(), 1000)
	s.Done(s.tick())
	s.want("> request POST /", "< response 200", "closed 0 by client, fin: frames 0 0, bytes 10 1000")
}

func TestSessionSkipInRefusal(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest)
	s.server("HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry")
	s.Skip(FromServer, s.tick(), 1000)
	s.want("> request GET /chat", `< response 403 "sorry" of 5`, `< body "sorry" of 5`)
}

func TestSessionSkipInTunnel(t *testing.T) {
	s := newScript(t)
	s.Opaque(FromClient, s.tick(), "TLS")
	s.Skip(FromClient, s.tick(), 5100)
	s.server("abc")
	s.Done(s.tick())
	s.want("> opaque: TLS", "closed 0 by client, fin: frames 0 0, bytes 5100 3")
}

// Bytes that are not decoded.

func TestSessionOpaqueAfterHandshake(t *testing.T) {
	s := upgraded(t)
	s.server("\x81\x05He")
	s.Opaque(FromServer, s.tick(), "decoder failed")
	s.server("llo")
	s.client(masked(0x81, testKey, "hi"))
	s.want(`< text 10000001 5 0-2 "He"`, "< opaque: decoder failed", `< junk "llo": cannot be framed`, `> text 10000001 2 "hi"`)
}

func TestSessionOpaqueBeforeHandshake(t *testing.T) {
	s := newScript(t)
	s.client("GET / HT")
	s.server("HTTP/1.1 1")
	s.Opaque(FromClient, s.tick(), "not HTTP")
	s.client("TP/1.1\r\n\r\n")
	s.server("01 Sw")
	s.Done(s.tick())
	s.want(`> request cut "GET / HT"`, `< response cut "HTTP/1.1 1"`, "> opaque: not HTTP",
		"closed 0 by client, fin: frames 0 0, bytes 10 5")
}

func TestSessionOpaqueAfterEarlyFrames(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest + masked(0x81, testKey, "Hello")[:8])
	s.server("SSH-2.0-x\r\n\r\n")
	s.client("abc")
	s.ends()
	s.want("> request GET /chat", `> text 10000001 5 0-2 "He" !req-early-data`, `< response cut "SSH-2.0-x\r\n" !res-not-http`,
		"< opaque: not an HTTP response", `< junk "\r\n": cannot be framed`, "> end fin", "< end fin", "closed 0 by client, fin: frames 1 0, bytes 11 2")
}

func TestSessionNotHTTP(t *testing.T) {
	s := newScript(t)
	s.client("hello there\n\nmore")
	s.server("bytes")
	s.Done(s.tick())
	s.want("> request  ", "> opaque: start line is not HTTP/1.x", "closed 0 by client, fin: frames 0 0, bytes 4 5")
}

func TestSessionMSBLengthIsJunk(t *testing.T) {
	s := upgraded(t)
	long := strings.Repeat("x", 2*MaxPiece)
	s.client(masked(0x81, testKey, "hi") + "\x82\xff\x80\x00\x00\x00\x00\x00\x00\x00abcd" + long)
	s.client("more")
	for _, ev := range s.record {
		if len(ev.Data) > MaxPiece {
			t.Errorf("got %d bytes of junk in an event, want at most %d", len(ev.Data), MaxPiece)
		}
	}
	if v := s.record[2].Violations; len(v) != 1 || v[0].Frame != 1 {
		t.Errorf("got violations %v, want one of frame 1", v)
	}
	s.want(`> text 10000001 2 "hi"`,
		`> junk "\x82\xff\x80\x00"…"more"(131090): length with its top bit set !frame-length-msb`)
}

func TestSessionNotice(t *testing.T) {
	s := newScript(t)
	s.Notice(s.tick(), "bookmark")
	s.want("notice: bookmark")
}

// The heads.

func TestSessionEdited(t *testing.T) {
	s := newScript(t)
	b := []byte("GET /chat HTTP/1.1\r\nHost: origin\r\n\r\n")
	h, _ := ParseRequest("GET http://a/chat HTTP/1.1\r\nHost: a\r\n\r\n")
	sent, _ := ParseRequest(string(b))
	s.Head(FromClient, s.tick(), h, sent)
	s.want("> request GET http://a/chat as GET /chat")
	if got := s.record[1].Handshake.Forwarded.Get("Host"); got != "origin" {
		t.Errorf("got forwarded Host %q, want %q", got, "origin")
	}
}

func TestSessionEarlyFrames(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest + masked(0x81, testKey, "early"))
	s.client(masked(0x81, testKey, "too"))
	s.want("> request GET /chat", `> text 10000001 5 "early" !req-early-data`, `> text 10000001 3 "too" !mask-key-repeated`)
	s.server(upgradeResponse)
	s.client(masked(0x81, testKey, "late"))
	s.want("< response 101", `> text 10000001 4 "late" !mask-key-constant`)
}

func TestSessionInterimResponses(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest)
	s.server("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + upgradeResponse + "\x8a\x00")
	s.want("> request GET /chat", "< response 100", "< response 103", "< response 101", `< pong 10001010 0 ""`)
}

func TestSessionRefused(t *testing.T) {
	long := strings.Repeat("x", MaxPiece+10)
	size := strconv.FormatInt(int64(len(long)), 16)
	for _, c := range []struct {
		name, response string
		want           string // when it is complete; nothing before the end if empty
	}{
		{"without body", "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", `< response 403`},
		{"204", "HTTP/1.1 204 No Content\r\n\r\n", `< response 204`},
		{"with body", "HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nsorry", `< response 403 "sorry" of 5 | < body "sorry" of 5`},
		{"chunked", "HTTP/1.1 400 Bad Request\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n",
			`< response 400 "sorry" of 5 | < body "sorry" of 5`},
		{"longer than is kept", "HTTP/1.1 200 OK\r\nContent-Length: 65546\r\n\r\n" + long,
			`< response 200 "xxxx"…"xxxx"(65536) of 65546 | < body "xxxx"…"xxxx"(65536) of 65546`},
		{"chunked, longer than is kept", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + size + "\r\n" + long + "\r\n0\r\n\r\n",
			`< response 200 "xxxx"…"xxxx"(65536) of 65546 | < body "xxxx"…"xxxx"(65536) of 65546`},
		{"until close", "HTTP/1.0 426 Upgrade Required\r\n\r\nsorry", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, size := range []int{1, 7, 1 << 20} {
				s := newScript(t)
				s.client(upgradeRequest)
				s.want("> request GET /chat")
				for b := range slices.Chunk([]byte(c.response), size) {
					s.Data(FromServer, s.tick(), b)
				}
				if c.want == "" {
					s.want()
					s.End(FromServer, s.tick(), EndFIN, "")
					s.want(`< response 426 "sorry" of 5 !res-426-no-upgrade`, `< body "sorry" of 5`, "< end fin")
					continue
				}
				s.want(strings.Split(c.want, " | ")...)
			}
		})
	}
}

func TestSessionRefusalFlushed(t *testing.T) {
	s := newScript(t)
	s.client(upgradeRequest)
	s.server("HTTP/1.1 503 Later\r\nContent-Length: 10\r\n\r\nsor")
	if _, ok := s.Pending(FromServer); !ok {
		t.Error("the answer is not pending though its body is not complete")
	}
	s.Flush(FromServer, s.tick())
	s.want("> request GET /chat", `< response 503 "sor" of 0`, `< body "sor" of 3 goes on`)
	if _, ok := s.Pending(FromServer); ok {
		t.Error("the answer is still pending")
	}
	s.server("ry, ...")
	s.ends()
	s.want(`< body "ry, ..." of 7`, "> end fin", "< end fin", "closed 0 by client, fin: frames 0 0, bytes 0 10")
}

func TestSessionPlainExchange(t *testing.T) {
	s := newScript(t)
	s.client("POST /a HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc")
	s.server("HTTP/1.1 100 Continue\r\n\r\n")
	s.server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHello")
	s.want("> request POST /a", "< response 100", "< response 200")
	s.Done(s.tick())
	s.want("closed 0 by client, fin: frames 0 0, bytes 3 5")
}

func TestSessionHEAD(t *testing.T) {
	s := newScript(t)
	s.client("HEAD / HTTP/1.1\r\n\r\n")
	s.server("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
	s.Done(s.tick())
	s.want("> request HEAD /", "< response 200", "closed 0 by client, fin: frames 0 0, bytes 0 0")

	// A refused upgrade by HEAD has no body to wait for.
	s = newScript(t)
	s.client(strings.Replace(upgradeRequest, "GET", "HEAD", 1))
	s.server("HTTP/1.1 405 Method Not Allowed\r\nContent-Length: 5\r\n\r\n")
	s.want("> request HEAD /chat !req-method-not-get", "< response 405")
}

func TestSession101WithoutAsking(t *testing.T) {
	s := newScript(t)
	s.client("GET / HTTP/1.1\r\n\r\n")
	s.server(upgradeResponse + "\x81\x05Hello")
	s.client("abc")
	s.Done(s.tick())
	s.want("> request GET /", "< response 101 !res-101-unsolicited", "< opaque: upgraded to websocket",
		"closed 0 by client, fin: frames 0 0, bytes 3 7")
}

func TestSessionOtherUpgrade(t *testing.T) {
	s := newScript(t)
	s.client("GET / HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	s.server("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\nabc")
	s.Done(s.tick())
	s.want("> request GET /", "< response 101", "< opaque: upgraded to h2c", "closed 0 by client, fin: frames 0 0, bytes 0 3")

	for request, want := range map[string]string{
		"Upgrade: TLS/1.0\r\nUpgrade: IRC/6.9\r\n": "upgraded to TLS/1.0, IRC/6.9",
		"": "upgraded, and neither side says to what",
	} {
		s = newScript(t)
		s.client("GET / HTTP/1.1\r\nConnection: Upgrade\r\n" + request + "\r\n")
		s.server("HTTP/1.1 101 Switching Protocols\r\nUpgrade:\r\n\r\n")
		res := "< response 101"
		if request == "" {
			res += " !res-101-unsolicited"
		}
		s.want("> request GET /", res, "< opaque: "+want)
	}
}

func TestSessionUpgradeWithBody(t *testing.T) {
	s := newScript(t)
	s.client(strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nContent-Length: 4\r\n\r\n", 1) + "body\x81")
	s.server(upgradeResponse)
	s.client("\x82a")
	s.want("> request GET /chat !req-body-present", `> junk "body": body of the request`, "< response 101")
	s.ends()
	s.want(`> junk "\x81\x82a": ends inside a frame header`, "> end fin !frame-truncated !close-missing", "< end fin", "closed 1006 by client, fin: frames 0 0, bytes 7 0")
}

func TestSessionHeadOverTheLimit(t *testing.T) {
	for _, size := range []int{1 << 20, 4096, 65535} {
		s := newScript(t)
		head := "GET / HTTP/1.1\r\nA: " + strings.Repeat("x", MaxHead)
		for b := range slices.Chunk([]byte(head), size) {
			s.Data(FromClient, s.now, b)
		}
		s.Done(s.tick())
		s.want(`> request cut "GET "…"xxxx"(1048576)`, "> opaque: head is longer than 1048576 bytes",
			"closed 0 by client, fin: frames 0 0, bytes 19 0")
	}
}

func TestSessionHeadAtTheLimit(t *testing.T) {
	head := "GET / HTTP/1.1\r\nA: "
	head += strings.Repeat("x", MaxHead-len(head)-4) + "\r\n\r\n"
	s := newScript(t)
	s.client(head[:MaxHead-1])
	s.want()
	s.client(head[MaxHead-1:])
	s.want("> request GET /")
}

func TestSessionResponseBeforeRequest(t *testing.T) {
	s := newScript(t)
	s.server("HTTP/1.1 408 Request Timeout\r\nContent-Length: 2\r\n\r\nno")
	s.want("< response 408")
	s.Done(s.tick())
	s.want("closed 0 by client, fin: frames 0 0, bytes 0 2")
}

func TestSessionUpgradedWithExtension(t *testing.T) {
	for ext, want := range map[string]string{
		"":                                      `< text 11000001 1 "x" !frame-rsv-set`,
		"permessage-deflate; client_max_window": `< text 11000001 1 "x"`,
	} {
		s := newScript(t)
		s.Open(Info{Conn: 1, Time: start, Ext: ext})
		s.Upgraded()
		s.seen = len(s.record)
		s.server("\xc1\x01x")
		s.want(want)
		if h := s.record[len(s.record)-1].Handshake; !h.Accepted || h.Extensions != ext {
			t.Errorf("got handshake %+v, want an accepted one with %q", h, ext)
		}
	}
}

// Events and sinks.

// TestEventClone checks that events that were kept stay as they were, whatever
// becomes of the session and of the bytes that it was given.
func TestEventClone(t *testing.T) {
	var kept, copies []*Event
	s := &Session{Sink: SinkFunc(func(ev *Event) {
		c := ev.Clone()
		if line(c) != line(ev) || c.Conn != ev.Conn || !c.Time.Equal(ev.Time) {
			t.Errorf("got a clone %+v of %+v", c, ev)
		}
		kept, copies = append(kept, c), append(copies, deepCopy(c))
	})}
	b := make([]byte, 4096)
	data := func(d Dir, text string) {
		n := copy(b, text)
		s.Data(d, start, b[:n])
		clear(b)
	}
	s.Open(Info{Conn: 1, Time: start, URL: "ws://a"})
	data(FromClient, upgradeRequest)
	data(FromServer, "HTTP/1.1 100 Continue\r\n\r\n")
	data(FromServer, upgradeResponse)
	data(FromServer, unmasked(0x81, "Hello"))
	data(FromServer, unmasked(0x81, "Hello")[:4])
	s.Flush(FromServer, start)
	data(FromServer, "Hello"[2:])
	data(FromClient, "\x01\x01a\xc1\x00")
	data(FromClient, "\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffjunk")
	data(FromClient, "more")
	s.Open(Info{Conn: 2})
	s.End(FromServer, start, EndFIN, "")
	s.End(FromClient, start, EndFIN, "")
	data(FromServer, "\x8a\x00")
	for i := range kept {
		if !reflect.DeepEqual(kept[i], copies[i]) {
			t.Errorf("event %d became %+v, was %+v", i, kept[i], copies[i])
		}
	}
}

// deepCopy copies all of ev that is not constant by definition.
func deepCopy(ev *Event) *Event {
	c := *ev
	for _, p := range []any{&c.Info, &c.Handshake, &c.Head, &c.Totals} {
		v := reflect.ValueOf(p).Elem()
		if !v.IsNil() {
			n := reflect.New(v.Type().Elem())
			n.Elem().Set(v.Elem())
			v.Set(n)
		}
	}
	if c.Frame != nil {
		f := *c.Frame
		f.Head, f.payload = slices.Clone(f.Head), slices.Clone(f.payload)
		c.Frame = &f
	}
	c.Data, c.Violations = slices.Clone(c.Data), slices.Clone(c.Violations)
	return &c
}

// TestTeeKeepsOneOrder checks that all sinks of a Tee see the events of many
// sessions in the same order, and those of a chunk together.
func TestTeeKeepsOneOrder(t *testing.T) {
	type seen struct {
		conn int64
		n    int64
	}
	var a, b []seen
	note := func(to *[]seen) Sink {
		return SinkFunc(func(ev *Event) {
			if ev.Kind == KindFrame {
				*to = append(*to, seen{ev.Conn, ev.Frame.N})
			}
		})
	}
	tee := &Tee{Sinks: []Sink{note(&a), note(&b)}}
	const sessions, chunks = 4, 200
	var wg sync.WaitGroup
	for i := range sessions {
		s := &Session{Sink: tee}
		s.Open(Info{Conn: int64(i)})
		s.Upgraded()
		wg.Go(func() {
			for range chunks {
				s.Data(FromServer, start, []byte("\x81\x00\x82\x00\x8a\x00"))
			}
		})
		wg.Go(func() {
			for range chunks {
				s.Flush(FromServer, start)
				s.Pending(FromServer)
			}
		})
	}
	wg.Wait()
	if len(a) != 3*sessions*chunks || !slices.Equal(a, b) {
		t.Fatalf("got %d and %d frames, equal %t; want %d in the same order", len(a), len(b), slices.Equal(a, b), 3*sessions*chunks)
	}
	next := map[int64]int64{}
	for i, f := range a {
		if f.n != next[f.conn] {
			t.Fatalf("got frame %d of session %d, want %d", f.n, f.conn, next[f.conn])
		}
		next[f.conn]++
		if i%3 != 0 && f.conn != a[i-1].conn {
			t.Fatalf("frame %d of session %d stands between those of one chunk of session %d", f.n, f.conn, a[i-1].conn)
		}
	}
}

// TestSessionReleasesSinkAfterPanic checks that a sink that panics leaves
// nothing locked.
func TestSessionReleasesSinkAfterPanic(t *testing.T) {
	tee := &Tee{Sinks: []Sink{SinkFunc(func(ev *Event) { panic("sink") })}}
	s := &Session{Sink: tee}
	func() {
		defer func() { recover() }()
		s.Open(Info{Conn: 1})
	}()
	tee.Sinks = nil
	s.Open(Info{Conn: 1})
	if !tee.mu.TryLock() {
		t.Error("the Tee stays locked after a panic in a sink")
	}
}

func TestEnds(t *testing.T) {
	for e, name := range []string{"fin", "rst", "tls-eof", "timeout", "local", "drop"} {
		got, ok := ParseEnd(name)
		if !ok || got != End(e) || got.String() != name {
			t.Errorf("%s: got %d, %t, %q, want %d", name, got, ok, got, e)
		}
	}
	if _, ok := ParseEnd("eof"); ok {
		t.Error("eof is taken for a way to end")
	}
}
