package decode

import (
	"testing"
	"time"
)

// TestMissing checks that nothing is held against a side that only the beginning
// of a session, or something in the middle, could tell.
func TestMissing(t *testing.T) {
	now := time.Unix(0, 0)
	const key = "\x01\x02\x03\x04"
	for _, test := range []struct {
		name   string
		server bool
		bytes  string
		whole  RuleID // broken if nothing is missing
		cont   bool   // broken with Cont too
		piece  bool   // and with Piece
	}{
		{"continuation", true, "\x80\x01a", "frag-orphan-continuation", false, false},
		{"continuation of what has ended", true, "\x80\x01a\x80\x01a", "frag-orphan-continuation", true, false},
		{"RSV1", true, "\xc1\x01a", "frame-rsv-set", false, false},
		{"pong", true, "\x8a\x01a", "pong-unsolicited", false, false},
		{"two starts", true, "\x01\x01a\x81\x01a", "frag-interleaved", true, false},
		{"the end of a frame", true, "\x82\x05a", "frame-truncated", true, false},
		{"masking keys", false, "\x82\x80" + key + "\x82\x80" + key, "mask-key-repeated", true, false},
		{"no Close", true, "\x82\x00", "close-missing", false, false},
		{"opcode", true, "\x83\x00", "frame-opcode-reserved", true, true},
		{"mask", false, "\x82\x00", "frame-client-unmasked", true, true},
		{"text", true, "\x81\x01\xff", "text-invalid-utf8", true, true},
		{"text in two frames", true, "\x01\x01\xc3\x80\x01\xff", "text-invalid-utf8", true, false},
		{"code", true, "\x88\x02\x00\x01", "close-code-out-of-range", true, true},
		{"after Close", true, "\x88\x00\x82\x00", "data-after-close", true, true},
	} {
		for _, c := range []struct {
			info Info
			want bool
		}{{Info{}, true}, {Info{Cont: true}, test.cont}, {Info{Cont: true, Piece: true}, test.piece}} {
			got := false
			s := Session{Look: Look{Messages: true, Advice: true, Seen: new(Seen)}, Sink: SinkFunc(func(ev *Event) {
				for _, v := range ev.Violations {
					got = got || v.ID == test.whole
				}
			})}
			s.Open(c.info)
			s.Upgraded()
			d := FromClient
			if test.server {
				d = FromServer
			}
			s.Data(d, now, []byte(test.bytes))
			s.End(d, now, EndFIN, "")
			if got != c.want {
				t.Errorf("%s, beginning missing %t, piece %t: %s is broken: %t", test.name, c.info.Cont, c.info.Piece, test.whole, got)
			}
		}
	}
}

// TestMissingWindow reads compressed messages after others that are missing.
func TestMissingWindow(t *testing.T) {
	hello, again := "\xc1\x07\xf2\x48\xcd\xc9\xc9\x07\x00", "\xc1\x05\xf2\x00\x11\x00\x00" // the second refers to the first
	for _, test := range []struct {
		name   string
		info   Info
		bytes  string
		unread string // of each message, y or n
	}{
		{"nothing missing", Info{}, hello + again, "nn"},
		{"the message itself is there", Info{Cont: true}, hello + again, "nn"},
		{"it is not", Info{Cont: true}, again + hello, "yy"},
		{"any may be missing", Info{Piece: true}, hello + again + hello, "nyn"},
	} {
		got := ""
		s := Session{Look: Look{Messages: true}, Sink: SinkFunc(func(ev *Event) {
			if len(ev.Violations) > 0 {
				t.Errorf("%s: %v", test.name, ev.Violations)
			}
			if ev.Kind == KindMessage {
				got += map[bool]string{true: "y", false: "n"}[ev.Message.Unread]
			}
		})}
		test.info.Ext = "permessage-deflate"
		s.Open(test.info)
		s.Upgraded()
		s.Data(FromServer, time.Unix(0, 0), []byte(test.bytes))
		if got != test.unread {
			t.Errorf("%s: got unread %s, want %s", test.name, got, test.unread)
		}
	}
}
