package replay

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// TestMain fails if the tests leave goroutines behind.
func TestMain(m *testing.M) {
	before := runtime.NumGoroutine()
	code := m.Run()
	fuzzing := flag.Lookup("test.fuzz").Value.String() != "" // which leaves one of its own
	for deadline := time.Now().Add(5 * time.Second); !fuzzing && runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			stacks := make([]byte, 1<<20)
			fmt.Printf("goroutines left behind:\n%s\n", stacks[:runtime.Stack(stacks, true)])
			os.Exit(1)
		}
	}
	os.Exit(code)
}

// A witness is a T that remembers what it was told.
type witness struct {
	*testing.T
	cleanups []func()
	mu       sync.Mutex
	told     []string
}

var errFatal = errors.New("the test is over")

func (w *witness) Cleanup(f func()) { w.cleanups = append(w.cleanups, f) }

func (w *witness) Errorf(format string, args ...any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.told = append(w.told, fmt.Sprintf(format, args...))
}

func (w *witness) Fatalf(format string, args ...any) {
	w.Errorf(format, args...)
	panic(errFatal)
}

// watch runs f as a test, and returns what it is told.
func watch(t *testing.T, f func(t *witness)) []string {
	t.Helper()
	w := &witness{T: t}
	func() {
		defer func() {
			if err := recover(); err != nil && err != errFatal {
				panic(err)
			}
		}()
		f(w)
	}()
	for _, f := range slices.Backward(w.cleanups) {
		f()
	}
	return w.told
}

// fixture writes a trace file.
func fixture(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "a.wst")
	if err := os.WriteFile(file, []byte(text), 0o666); err != nil {
		t.Fatal(err)
	}
	return file
}

// In memory and in a bubble, a stall takes no time.
func TestBubble(t *testing.T) {
	file := fixture(t, talk)
	synctest.Test(t, func(t *testing.T) {
		srv := Serve(t, file, Timing(Original))
		time.Sleep(time.Minute) // nothing waits for a real connection
		Dial(t, "ws://anywhere", file, Dialer(srv.DialContext))
	})
	told := watch(t, func(t *witness) {
		synctest.Test(t.T, func(bubble *testing.T) {
			t.T = bubble
			srv := Serve(t, file)
			conn, err := srv.DialContext(t.Context(), "tcp", "anywhere:80")
			if err != nil {
				bubble.Fatal(err)
			}
			defer conn.Close()
			began := time.Now()
			if _, err := io.Copy(io.Discard, conn); err != nil || time.Since(began) != DefaultStall {
				bubble.Errorf("%v after %v", err, time.Since(began))
			}
			for _, f := range t.cleanups {
				f()
			}
			t.cleanups = nil
		})
	})
	want := "replay " + file + ": server waits for the request of the client (line 3): nothing for 5s"
	if len(told) != 1 || told[0] != want {
		t.Errorf("got %q, want %q", told, want)
	}
}

func TestServe(t *testing.T) {
	file := fixture(t, talk)
	for _, c := range []struct {
		name string
		do   func(t *witness)
		want []string
	}{
		{"as recorded", func(t *witness) { Dial(t, Serve(t, file).URL, file) }, nil},
		{"nobody comes", func(t *witness) { Serve(t, file) }, []string{"replay " + file + ": no client has connected"}},
		{"too seldom", func(t *witness) { Dial(t, Serve(t, file, Times(2)).URL, file) }, []string{"replay " + file + ": client has connected 1 of 2 times"}},
		{"often enough", func(t *witness) {
			srv := Serve(t, file, Times(2))
			Dial(t, srv.URL, file)
			Dial(t, srv.URL, file)
		}, nil},
		{"no file", func(t *witness) { Serve(t, "no/file") }, []string{"replay: open no/file: no such file or directory"}},
		{"bad option", func(t *witness) { Dial(t, "ws://x", file, Ignore("x")) }, []string{`replay: "x" is not "$.path", "xml:/path", "?parameter", "Header:", "/expression/", "@offset:length" or "credentials"`}},
		{"bad address", func(t *witness) { Dial(t, "ftp://x", file) }, []string{"replay " + file + `: "ftp://x" is not a ws:// or wss:// address`}},
		{"too often", func(t *witness) {
			srv := Serve(t, file)
			Dial(t, srv.URL, file)
			for range 2 { // told once
				if conn, err := net.Dial("tcp", strings.TrimPrefix(srv.URL, "ws://")); err == nil {
					io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n")
					io.Copy(io.Discard, conn)
					conn.Close()
				}
			}
		}, []string{"replay " + file + ": client connects again after 1 of 1 times"}},
		{"probes before", func(t *witness) {
			srv := Serve(t, file)
			probe(t.T, srv.URL)
			Dial(t, srv.URL, file)
		}, nil},
		{"probes alone", func(t *witness) { probe(t.T, Serve(t, file).URL) },
			[]string{"replay " + file + ": no client has connected; not in the recording is GET /health, HEAD /, OPTIONS /hub"}},
	} {
		if told := watch(t, c.do); !slices.Equal(told, c.want) {
			t.Errorf("%s: got %q, want %q", c.name, told, c.want)
		}
	}
}

// probe does what runners of tests and browsers do before the client comes.
func probe(t *testing.T, addr string) {
	addr = strings.TrimPrefix(addr, "ws://")
	silent, err := net.Dial("tcp", addr) // which stays
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { silent.Close() })
	if conn, err := net.Dial("tcp", addr); err != nil {
		t.Error(err)
	} else {
		conn.Close()
	}
	for _, c := range []struct{ method, path, want string }{
		{"GET", "/health", "404 GET /health is not in the recording\n"},
		{"HEAD", "/", "404 "},
		{"OPTIONS", "/hub", "204 "},
	} {
		req, err := http.NewRequest(c.method, "http://"+addr+c.path, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.Header.Set("Origin", "http://page")
		req.Header.Set("Access-Control-Request-Headers", "x-requested-with")
		res, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Errorf("%s: %v", c.method, err)
			continue
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if got := fmt.Sprintf("%d %s", res.StatusCode, body); got != c.want || err != nil {
			t.Errorf("%s: got %q, %v", c.method, got, err)
		}
		if res.Header.Get("Access-Control-Allow-Origin") != "http://page" || c.method == "OPTIONS" && res.Header.Get("Access-Control-Allow-Headers") != "x-requested-with" {
			t.Errorf("%s: %v", c.method, res.Header)
		}
	}
}

// A test of half a fixture would pass.
func TestDamaged(t *testing.T) {
	var z bytes.Buffer
	w := gzip.NewWriter(&z)
	io.WriteString(w, talk)
	w.Close()
	for _, c := range []struct{ name, text, want string }{
		{"whole", strings.TrimSpace(talk), ""},
		{"compressed", z.String(), ""},
		{"cut in a line", talk[:len(talk)-10], "line 17: not a JSON object"},
		{"cut and compressed", z.String()[:z.Len()-8], "line 18: the file is cut off here"},
		{"zstd", "\x28\xb5\x2f\xfd\x04\x00", "is compressed by zstd, which is not read here; gzip is"},
		{"mistyped", strings.Replace(talk, `"k":"end"`, `"k":"ende"`, 1), `line 16: kind "ende" is not known`},
		{"of others", strings.Replace(talk, `"k":"end"`, `"k":"x-end"`, 1), ""},
	} {
		file := fixture(t, c.text)
		_, err := LoadFile(file)
		if c.want != "" {
			c.want = file + ": " + c.want
		}
		check(t, err, c.want)
	}
}

// A server that says nothing is a stall, also before the handshake.
func TestSilentTLS(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, server := memconn.Pipe()
		defer server.Close()
		dial := Dialer(func(context.Context, string, string) (net.Conn, error) { return client, nil })
		err := loaded(t, talk).Connect(t.Context(), "wss://anywhere", dial)
		check(t, err, "client waits for the TLS handshake of the server: nothing for 5s")
		if !errors.Is(err, ErrStalled) {
			t.Errorf("%v is no stall", err)
		}
	})
}

// What the client has sent before the end of a test counts, also if the trace
// does not say how the session ends.
func TestTooMuch(t *testing.T) {
	file := fixture(t, open+`{"k":"frame","d":"<","op":"text","text":"a"}`+"\n")
	want := []string{"replay " + file + `: expected nothing more from the client after the handshake; got text "b"`}
	for range 100 {
		told := watch(t, func(w *witness) {
			synctest.Test(t, func(t *testing.T) {
				w.T = t
				srv := Serve(w, file)
				conn, err := srv.DialContext(t.Context(), "tcp", "anywhere:80")
				if err != nil {
					t.Fatal(err)
				}
				io.WriteString(conn, "GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"+
					"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n")
				io.ReadFull(conn, make([]byte, 129+3))
				io.WriteString(conn, frame(ws.OpText, "b"))
				w.cleanups[0]()
				w.cleanups = nil
			})
		})
		if !slices.Equal(told, want) {
			t.Fatalf("got %q, want %q", told, want)
		}
	}
}

// The end of the context ends a replay at once.
func TestContext(t *testing.T) {
	s := loaded(t, talk)
	client, server := memconn.Pipe()
	defer client.Close()
	ctx, cancel := context.WithCancelCause(t.Context())
	why := errors.New("enough")
	done := make(chan error)
	go func() { done <- s.PlayServer(ctx, server) }()
	cancel(why)
	if err := <-done; err != why {
		t.Errorf("got %v, want %v", err, why)
	}
}

// A fixture is made anew from what the server answers, from what the client
// sends, and from both when the client talks to another server.
func TestUpdate(t *testing.T) {
	other := strings.ReplaceAll(strings.Replace(talk, "good ", "bad ", 1), "John says: good", "John says: bad")
	old, now := fixture(t, talk), fixture(t, other)
	verdict := func(name, file string) {
		t.Helper()
		s, err := LoadFile(file)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			return
		}
		serr, cerr := both(t, s, loaded(t, other))
		if serr != nil || cerr != nil {
			t.Errorf("%s: %v, %v", name, serr, cerr)
		}
		if serr, cerr = both(t, loaded(t, other), s); serr != nil || cerr != nil {
			t.Errorf("%s: %v, %v", name, serr, cerr)
		}
	}

	// Only the words of the other side are new, so each is updated in turn.
	Dial(t, Serve(t, now, Update(true)).URL, now)
	verdict("server", now)

	mixed := fixture(t, strings.Replace(talk, "good ", "bad ", 1))
	if told := watch(t, func(t *witness) { Dial(t, Serve(t, now).URL, mixed, Update(true)) }); told != nil {
		t.Error(told)
	}
	verdict("client", mixed)

	if told := watch(t, func(t *witness) {
		real := Serve(t, now)
		front := Serve(t, old, UpdateFrom(true, real.URL))
		Dial(t, front.URL, now)
	}); told != nil {
		t.Error(told)
	}
	verdict("relay", old)
}

// What was a secret stays one, and no session is lost.
func TestUpdateKeeps(t *testing.T) {
	file := fixture(t, strings.Replace(talk, `"wstrace":1`, `"wstrace":1,"redact":["$.name"]`, 1))
	Dial(t, Serve(t, fixture(t, talk)).URL, file, Update(true))
	b, err := os.ReadFile(file)
	if err != nil || !strings.Contains(string(b), `"redact":["$.name"]`) {
		t.Errorf("%v\n%s", err, b)
	}
	if s := loaded(t, string(b)); !strings.Contains(s.sides[decode.FromClient].units[1].String(), "redacted-name-1") {
		t.Errorf("got %v", &s.sides[decode.FromClient].units[1])
	}
	file = fixture(t, talk+`{"k":"open","c":2}`+"\n")
	for _, do := range []func(t *witness){
		func(t *witness) { Serve(t, file, Update(true)) },
		func(t *witness) { Dial(t, "ws://x", file, Update(true)) },
	} {
		want := []string{"replay: " + file + ": the trace has 2 sessions, and an update would leave 1"}
		if told := watch(t, do); !slices.Equal(told, want) {
			t.Errorf("got %q, want %q", told, want)
		}
	}
}

// A frame that is longer than a Session holds, and an interim response, go
// through a real client and server.
func TestLongFrame(t *testing.T) {
	long := strings.Repeat("0123456789", 50_000)
	text := open + `{"k":"frame","d":">","op":"text","mask":"00000000","len":500000,"text":"` + long[:60_000] + `"}
{"k":"more","d":">","text":"` + long[60_000:] + `"}
{"k":"frame","d":"<","op":"text","text":"ok"}
`
	s := loaded(t, text)
	if u := s.sides[decode.FromClient].units; len(u) != 1 || string(u[0].data) != long {
		t.Fatalf("got %d units", len(u))
	}
	serr, cerr := both(t, s, s)
	check(t, serr, "")
	check(t, cerr, "")
	conn, wait := served(t, s)
	io.WriteString(conn, frame(ws.OpText, long[:499_999]+"x"))
	if err := wait(); err == nil || !strings.HasSuffix(err.Error(), "(500000 bytes), which differs at byte 499999") {
		t.Error(err)
	}
}
