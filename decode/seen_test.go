package decode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
)

// A run is sessions that share a Seen. Each step is one: when it begins, in
// milliseconds, the client, its key, its first masking key, and how it ends.
type runStep struct {
	at     int
	client string
	key    string
	mask   byte
	close  bool
}

// play plays the sessions one after the other and returns the violations that
// compare sessions, with the numbers of the sessions.
func playRun(steps []runStep) []string {
	var got []string
	seen := new(Seen)
	for i, st := range steps {
		now := start.Add(time.Duration(st.at) * time.Millisecond)
		s := &Session{Look: Look{Advice: true, Seen: seen}, Sink: SinkFunc(func(ev *Event) {
			for _, v := range ev.Violations {
				if acrossSessions[v.ID] {
					got = append(got, fmt.Sprintf("%d %s", ev.Conn, v.ID))
				}
			}
		})}
		s.Open(Info{Conn: int64(i + 1), Time: now, Client: st.client, Server: "192.0.2.9:80"})
		s.Data(FromClient, now, []byte(strings.Replace(upgradeRequest, "8YmBPf+ktDVCLmdeQNEzYw==", st.key, 1)))
		res := strings.Replace(upgradeResponse, AcceptKey("8YmBPf+ktDVCLmdeQNEzYw=="), AcceptKey(st.key), 1)
		s.Data(FromServer, now, []byte(res))
		s.Data(FromClient, now, []byte(masked(0x81, [4]byte{1, 2, 3, st.mask}, "a")))
		if st.close {
			s.Data(FromServer, now, []byte(unmasked(0x88, "")))
		}
		s.End(FromServer, now, EndFIN, "")
		s.End(FromClient, now, EndFIN, "")
	}
	return got
}

// TestReconnects checks when a client that comes back at once should have waited.
func TestReconnects(t *testing.T) {
	answer := func(status string) string { return "HTTP/1.1 " + status + "\r\nContent-Length: 0\r\n\r\n" }
	const client, server = FromClient, FromServer
	const warned = "#4 reconnect-no-backoff, #5 reconnect-no-backoff, #6 reconnect-no-backoff"
	for _, test := range []struct {
		name   string
		lines  func(i int) string // of the ith request
		answer string             // or ""
		ends   Dir                // who ends first
		how    End
		want   string
	}{
		{"server ends", nil, upgradeResponse, server, EndFIN, warned},
		{"server resets", nil, upgradeResponse, server, EndRST, warned},
		{"refused", nil, answer("503 Service Unavailable"), server, EndFIN, warned},
		{"refused, client ends", nil, answer("403 Forbidden"), client, EndFIN, warned},
		{"authentication", nil, answer("401 Unauthorized"), server, EndFIN, ""},
		{"authentication at a proxy", nil, answer("407 Proxy Authentication Required"), server, EndFIN, ""},
		{"another version", nil, answer("426 Upgrade Required"), server, EndFIN, ""},
		{"redirect", nil, answer("307 Temporary Redirect"), server, EndFIN, ""},
		{"no answer", nil, "", server, EndFIN, ""},
		{"client ends", nil, upgradeResponse, client, EndFIN, ""},
		{"client resets", nil, upgradeResponse, client, EndRST, ""},
		{"wstrace ends", nil, upgradeResponse, server, EndLocal, ""},
		{"several programs", func(i int) string { return fmt.Sprintf("User-Agent: user %d\r\n", i) }, upgradeResponse, server, EndFIN, ""},
		{"one program, always the same", func(int) string { return "User-Agent: user\r\n" }, upgradeResponse, server, EndFIN, warned},
		{"behind a load balancer", func(int) string { return "X-Forwarded-For: 192.0.2.1\r\n" }, upgradeResponse, server, EndFIN, ""},
		{"behind a proxy that names itself", func(int) string { return "Via: 1.1 proxy\r\n" }, upgradeResponse, server, EndFIN, ""},
		{"behind a proxy of RFC 7239", func(int) string { return "forwarded: for=192.0.2.1\r\n" }, upgradeResponse, server, EndFIN, ""},
	} {
		var got []string
		seen := new(Seen)
		now := start
		for i := range 6 {
			s := &Session{Look: Look{Seen: seen}}
			s.Sink = SinkFunc(func(ev *Event) {
				for _, v := range ev.Violations {
					if v.ID == "reconnect-no-backoff" {
						got = append(got, fmt.Sprintf("#%d %s", ev.Conn, v.ID))
					}
				}
			})
			lines := fmt.Sprintf("Sec-WebSocket-Key: 8YmBPf+ktDVCLmdeQNEz%dw==\r\n", i)
			if test.lines != nil {
				lines += test.lines(i)
			}
			s.Open(Info{Conn: int64(i + 1), Time: now, Client: fmt.Sprintf("192.0.2.7:%d", 5000+i), Server: "192.0.2.9:80"})
			s.Data(client, now, []byte(strings.Replace(upgradeRequest, "Sec-WebSocket-Key: 8YmBPf+ktDVCLmdeQNEzYw==\r\n", lines, 1)))
			s.Data(server, now, []byte(test.answer))
			s.End(test.ends, now, test.how, "")
			s.End(test.ends.Peer(), now, EndFIN, "")
			now = now.Add(100 * time.Millisecond)
		}
		if got := strings.Join(got, ", "); got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestKeyIsUsedUpBy101 checks what a client may send its key for again.
func TestKeyIsUsedUpBy101(t *testing.T) {
	const refused = "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: NTLM\r\nContent-Length: 0\r\n\r\n"
	const moved = "HTTP/1.1 307 Temporary Redirect\r\nLocation: /b\r\nContent-Length: 0\r\n\r\n"
	for _, test := range []struct {
		name    string
		answers []string // to the requests with one key; "" for none
		want    string
	}{
		{"NTLM", []string{refused, refused, upgradeResponse}, ""},
		{"redirect", []string{moved, upgradeResponse}, ""},
		{"retry", []string{"", upgradeResponse}, ""},
		{"after a 101", []string{upgradeResponse, refused, ""}, ""},
		{"twice", []string{refused, upgradeResponse, "", upgradeResponse}, "#4 client req-key-reused in the answer, no fault of the server's head"},
	} {
		got := ""
		seen := new(Seen)
		for i, answer := range test.answers {
			s := &Session{Look: Look{Seen: seen}}
			s.Sink = SinkFunc(func(ev *Event) {
				for _, v := range ev.Violations {
					if v.ID == "req-key-reused" && ev.Kind == KindResponse {
						got += fmt.Sprintf("#%d %s %s in the answer", ev.Conn, v.From, v.ID)
					}
				}
			})
			s.Open(Info{Conn: int64(i + 1), Time: start})
			s.Data(FromClient, start, []byte(upgradeRequest))
			s.Data(FromServer, start, []byte(answer))
			if got != "" && s.HeadFault(FromServer) == "" {
				got += ", no fault of the server's head"
			}
			s.End(FromServer, start, EndFIN, "")
			s.End(FromClient, start, EndFIN, "")
		}
		if got != test.want {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
	}
}

// TestLegs checks that a session which a capture has on both sides of proxies is not
// taken for several with the same keys.
func TestLegs(t *testing.T) {
	for _, test := range []struct {
		via             string
		asked, answered [3]int // of each leg, in milliseconds
		want            string
	}{
		{"pcap", [3]int{0, 1, 2}, [3]int{9, 8, 7}, ""},
		{"pcap", [3]int{0, 0, 0}, [3]int{9, 9, 9}, ""},
		{"pcap", [3]int{0, 10, 20}, [3]int{9, 19, 29}, "#2 req-key-reused #3 req-key-reused #3 mask-key-seed-fixed "},
		{"pcap", [3]int{0, 1, 2}, [3]int{7, 8, 9}, "#2 req-key-reused #3 req-key-reused #3 mask-key-seed-fixed "},
		{"forward", [3]int{0, 1, 2}, [3]int{9, 8, 7}, "#2 req-key-reused #1 req-key-reused #1 mask-key-seed-fixed "},
	} {
		got := ""
		seen := new(Seen)
		legs := make([]Session, 3)
		for i := range legs {
			s := &legs[i]
			s.Look = Look{Seen: seen}
			s.Sink = SinkFunc(func(ev *Event) {
				for _, v := range ev.Violations {
					if acrossSessions[v.ID] {
						got += fmt.Sprintf("#%d %s ", ev.Conn, v.ID)
					}
				}
			})
			at := start.Add(time.Duration(test.asked[i]) * time.Millisecond)
			s.Open(Info{Conn: int64(i + 1), Time: at, Via: test.via})
			s.Data(FromClient, at, []byte(upgradeRequest))
		}
		order := []int{0, 1, 2}
		slices.SortStableFunc(order, func(a, b int) int { return test.answered[a] - test.answered[b] })
		for _, i := range order {
			legs[i].Data(FromServer, start.Add(time.Duration(test.answered[i])*time.Millisecond), []byte(upgradeResponse))
		}
		for _, i := range order {
			legs[i].Data(FromClient, start.Add(time.Second), []byte{0x89, 0x80, 1, 2, 3, 4})
		}
		if got != test.want {
			t.Errorf("%s %v %v: got %q, want %q", test.via, test.asked, test.answered, got, test.want)
		}
	}
}

func TestSeen(t *testing.T) {
	const (
		k1 = "8YmBPf+ktDVCLmdeQNEzYw=="
		k2 = "O4pzVJzFi9RwbVAyTCbQNg=="
		k3 = "3k9lMXoxhhSrQ9rwR3Q2wA=="
		k4 = "kqZbMqJ0H7k4cB8T0tqXfQ=="
	)
	broken := map[string]bool{}
	for _, test := range []struct {
		name  string
		steps []runStep
		want  []string
	}{
		{"all different", []runStep{{0, "a:1", k1, 1, false}, {5000, "a:2", k2, 2, false}}, nil},
		{"the key again", []runStep{{0, "a:1", k1, 1, true}, {5000, "b:1", k1, 2, true}}, []string{"2 req-key-reused"}},
		{"the masking key again", []runStep{{0, "a:1", k1, 7, true}, {5000, "b:1", k2, 7, true}}, nil},
		{"the masking key in three sessions", []runStep{{0, "a:1", k1, 7, true}, {5000, "b:1", k2, 7, true}, {9000, "b:1", k3, 7, true}}, []string{"3 mask-key-seed-fixed"}},
		{"back at once three times",
			[]runStep{{0, "a:1", k1, 1, false}, {900, "a:2", k2, 2, false}, {1800, "a:3", k3, 3, false}, {2700, "a:4", k4, 4, false}},
			[]string{"4 reconnect-no-backoff"}},
		{"back after a second", []runStep{{0, "a:1", k1, 1, false}, {1000, "a:2", k2, 2, false}, {2000, "a:3", k3, 3, false}, {3000, "a:4", k4, 4, false}}, nil},
		{"back after a close", []runStep{{0, "a:1", k1, 1, true}, {900, "a:2", k2, 2, true}, {1800, "a:3", k3, 3, true}, {2700, "a:4", k4, 4, true}}, nil},
		{"others at once", []runStep{{0, "a:1", k1, 1, false}, {900, "b:2", k2, 2, false}, {1800, "a:3", k3, 3, false}, {2700, "b:4", k4, 4, false}}, nil},
	} {
		got := playRun(test.steps)
		if !slices.Equal(got, test.want) {
			t.Errorf("%s: got %q, want %q", test.name, got, test.want)
		}
		for _, g := range got {
			broken[strings.Fields(g)[1]] = true
		}
	}
	for id := range acrossSessions {
		if !broken[string(id)] {
			t.Errorf("no case breaks %s", id)
		}
	}
}

// What a run remembers is bounded: the oldest is forgotten.
func TestSeenForgets(t *testing.T) {
	seen := new(Seen)
	for i := range 3 * memorySize {
		if _, n := seen.mask(uint32(i), 1); n > 1 {
			t.Fatalf("key %d was seen before", i)
		}
	}
	if n := len(seen.masks.m); n != memorySize {
		t.Errorf("got %d keys remembered, want %d", n, memorySize)
	}
	if _, n := seen.mask(3*memorySize-1, 2); n != 2 {
		t.Error("the latest key is forgotten")
	}
	if _, n := seen.mask(0, 2); n != 1 {
		t.Error("the oldest key is remembered")
	}
	var none *Seen
	if _, ok := none.key("a", usedKey{conn: 1}); ok || none.connected("a", start) != 0 {
		t.Error("a nil Seen remembers")
	}
}
