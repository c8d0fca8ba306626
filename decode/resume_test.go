package decode

import (
	"strings"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestResume loses bytes with the header of a frame, and goes on with another frame:
// nobody is blamed for what was in them.
func TestResume(t *testing.T) {
	text := func(s string) string { return string(append([]byte{0x81, byte(len(s))}, s...)) }
	for _, c := range []struct {
		name   string
		before string
		lost   int64
		junk   string
		after  string
		frames string
		offset int64 // of the last frame
	}{
		{"between frames", text("one"), 10, "", text("two"), "one two", 15},
		{"inside of a header", text("one") + "\x81", 10, "", text("two"), "one two", 16},
		{"inside of a frame", text("one") + "\x81\x05ab", 10, "cd", text("two"), "one ab two", 21},
		{"inside of a message", "\x01\x03one", 10, "", "\x80\x03two" + text("six"), "one two six", 20},
		{"twice", text("one"), 10, "junk", text("two"), "one two", 19},
	} {
		var frames []string
		last := int64(0)
		var found []string
		s := &Session{Look: Look{Messages: true}}
		s.Sink = SinkFunc(func(ev *Event) {
			for _, v := range ev.Violations {
				found = append(found, string(v.ID))
			}
			if ev.Kind == KindFrame {
				frames = append(frames, string(ev.Frame.AppendPayload(nil, -1)))
			}
			if ev.Kind == KindFrame && ev.Dir == FromServer {
				last = ev.Frame.Offset
			}
		})
		s.Open(Info{Conn: 1, Time: start})
		s.Upgraded()
		s.Data(FromServer, start, []byte(c.before))
		if s.Resume(FromServer, start); s.Lost(FromServer) {
			t.Errorf("%s: lost without a gap", c.name)
		}
		s.Gap(FromServer, start, c.lost)
		if !s.Lost(FromServer) || s.Lost(FromClient) {
			t.Errorf("%s: got lost %t, %t", c.name, s.Lost(FromServer), s.Lost(FromClient))
		}
		s.Data(FromServer, start, []byte(c.junk))
		s.Resume(FromServer, start)
		s.Data(FromServer, start, []byte(c.after))
		s.Data(FromClient, start, ws.MustCompileFrame(ws.MaskFrameWith(ws.NewPongFrame([]byte("to a ping that was lost")), [4]byte{1, 2, 3, 4})))
		s.EndBoth(start.Add(time.Second), EndFIN, "")
		if got := strings.Join(frames[:len(frames)-1], " "); got != c.frames {
			t.Errorf("%s: got frames %q, want %q", c.name, got, c.frames)
		}
		if last != c.offset {
			t.Errorf("%s: got offset %d of the last frame, want %d", c.name, last, c.offset)
		}
		if found != nil {
			t.Errorf("%s: found %q", c.name, found)
		}
	}
}
