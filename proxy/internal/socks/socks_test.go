package socks

import (
	"strings"
	"testing"
)

// A turn is a message, of the client or of the proxy.
type turn struct {
	server bool
	bytes  string
}

func (n *Negotiation) take(t turn, b string) int {
	if t.server {
		return n.Server([]byte(b))
	}
	return n.Client([]byte(b))
}

// talk makes turns of messages, the first of the client.
func talk(messages ...string) (turns []turn) {
	for i, m := range messages {
		turns = append(turns, turn{i%2 == 1, m})
	}
	return turns
}

const (
	reply5 = "\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00"
	named  = "\x05\x01\x00\x03\x0cexample.test\x01\xbb"
)

// tunnels are negotiations that end well.
var tunnels = []struct {
	name, addr string
	turns      []turn
}{
	{"name", "example.test:443", talk("\x05\x01\x00", "\x05\x00", named, reply5)},
	{"IPv4", "192.0.2.7:80", talk("\x05\x02\x00\x02", "\x05\x00", "\x05\x01\x00\x01\xc0\x00\x02\x07\x00\x50", reply5)},
	{"IPv6", "[2001:db8::1]:65535", talk("\x05\x02\x00\x01", "\x05\x00",
		"\x05\x01\x00\x04\x20\x01\x0d\xb8"+strings.Repeat("\x00", 11)+"\x01\xff\xff", "\x05\x00\x00\x04"+strings.Repeat("\x00", 18))},
	{"password", "example.test:443", talk("\x05\x02\x00\x02", "\x05\x02", "\x01\x01u\x03p\x00w", "\x01\x00", named, reply5)},
	{"empty password", "example.test:443", talk("\x05\x01\x02", "\x05\x02", "\x01\x00\x00", "\x05\x00", named, "\x05\x00\x00\x03\x01a\x00\x00")},
	{"4", "192.0.2.7:80", talk("\x04\x01\x00\x50\xc0\x00\x02\x07me\x00", "\x00\x5a\x00\x00\x00\x00\x00\x00")},
	{"4a", "example.test:8080", talk("\x04\x01\x1f\x90\x00\x00\x00\x01\x00example.test\x00", "\x04\x5a\x00\x00\x00\x00\x00\x00")},
}

func TestTunnels(t *testing.T) {
	for _, tt := range tunnels {
		t.Run(tt.name, func(t *testing.T) {
			var n Negotiation
			for _, turn := range tt.turns {
				if n.Done() {
					t.Fatalf("there is a tunnel before %q", turn.bytes)
				}
				for i := range turn.bytes {
					if got := n.take(turn, turn.bytes[:i]); got != 0 {
						t.Fatalf("%q: got %d, want 0", turn.bytes[:i], got)
					}
				}
				if got := n.take(turn, turn.bytes+"\x16\x03"); got != len(turn.bytes) {
					t.Fatalf("%q: got %d, want %d", turn.bytes, got, len(turn.bytes))
				}
			}
			if !n.Done() || n.Addr != tt.addr {
				t.Errorf("got tunnel %t to %q, want one to %q", n.Done(), n.Addr, tt.addr)
			}
		})
	}
}

// TestNoTunnels has messages that do not lead to a tunnel, the last of each.
func TestNoTunnels(t *testing.T) {
	hello := []string{"\x05\x01\x00", "\x05\x00"}
	for name, turns := range map[string][]turn{
		"HTTP":               talk("GET"),
		"no methods":         talk("\x05\x00"),
		"a method twice":     talk("\x05\x02\x00\x00"),
		"no method offered":  talk("\x05\x01\xff"),
		"Cassandra":          talk("\x05\x10\x00\x00\x05\x00\x00\x00\x00"),
		"method refused":     talk("\x05\x01\x00", "\x05\xff"),
		"method not offered": talk("\x05\x01\x00", "\x05\x02"),
		"GSSAPI":             talk("\x05\x01\x01", "\x05\x01"),
		"another version":    talk("\x05\x01\x00", "\x04\x00"),
		"password refused":   talk("\x05\x01\x02", "\x05\x02", "\x01\x01u\x01p", "\x01\x01"),
		"BIND":               talk(append(hello, "\x05\x02")...),
		"UDP ASSOCIATE":      talk(append(hello, "\x05\x03")...),
		"a type of address":  talk(append(hello, "\x05\x01\x00\x02")...),
		"port 0":             talk(append(hello, "\x05\x01\x00\x03\x01a\x00\x00")...),
		"no name":            talk(append(hello, "\x05\x01\x00\x03\x00\x00\x50")...),
		"bad name":           talk(append(hello, "\x05\x01\x00\x03\x03a b\x00\x50")...),
		"request refused":    talk(append(hello, named, "\x05\x05")...),
		"BIND 4":             talk("\x04\x02"),
		"refused 4":          talk("\x04\x01\x00\x50\xc0\x00\x02\x07\x00", "\x00\x5b"),
		"user of 4":          talk("\x04\x01\x00\x50\xc0\x00\x02\x07\x01\x00"),
		"endless user":       talk("\x04\x01\x00\x50\xc0\x00\x02\x07" + strings.Repeat("u", 256)),
		"endless name":       talk("\x04\x01\x00\x50\x00\x00\x00\x07\x00" + strings.Repeat("u", 256)),
	} {
		var n Negotiation
		for i, turn := range turns {
			got, want := n.take(turn, turn.bytes), len(turn.bytes)
			if i == len(turns)-1 {
				want = -1
			}
			if got != want {
				t.Errorf("%s: %q: got %d, want %d", name, turn.bytes, got, want)
			}
		}
		if n.Done() {
			t.Errorf("%s: got a tunnel", name)
		}
	}
}

// FuzzNegotiation has both sides say anything, whole and cut off.
func FuzzNegotiation(f *testing.F) {
	for _, tt := range tunnels {
		var sides [2]string
		for i, turn := range tt.turns {
			sides[i%2] += turn.bytes
		}
		f.Add([]byte(sides[0]), []byte(sides[1]), uint16(3))
	}
	f.Fuzz(func(t *testing.T, client, server []byte, cut uint16) {
		var n Negotiation
		for turns := 0; !n.Done(); turns++ {
			if turns > 6 {
				t.Fatal("there is no end")
			}
			b, take := &client, (*Negotiation).Client
			if turns%2 == 1 {
				b, take = &server, (*Negotiation).Server
			}
			short := n
			at := min(int(cut), len(*b))
			m := take(&short, (*b)[:at])
			got := take(&n, *b)
			if got > len(*b) || m > at {
				t.Fatalf("got lengths %d of %d, %d of %d", got, len(*b), m, at)
			}
			if m < 0 && got >= 0 || m > 0 && m != got {
				t.Errorf("got %d for the first %d bytes, %d for all", m, at, got)
			}
			if got <= 0 {
				return
			}
			*b = (*b)[got:]
		}
		if n.Addr == "" {
			t.Error("got a tunnel to nowhere")
		}
	})
}
