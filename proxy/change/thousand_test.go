package change

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

const patience = 30 * time.Second

// shortened returns the lines of a fault with times a thousandth as long, and rates a
// thousand times as fast.
func shortened(lines []string) []string {
	s := strings.Join(lines, "\n")
	s = strings.ReplaceAll(s, "KB/s", "MB/s")
	s = strings.ReplaceAll(s, "ms", "us")
	s = regexp.MustCompile(`\b(\d+)s\b`).ReplaceAllString(s, "${1}ms")
	return strings.Split(s, "\n")
}

// A tape has what events tell of sessions.
type tape struct {
	mu       sync.Mutex
	sessions map[string]*taped // by URL
}

type taped struct {
	sent   [2][]byte // what each side's peer got, rebuilt
	closed bool
}

func (p *tape) Emit(ev *decode.Event) {
	p.mu.Lock()
	defer p.mu.Unlock()
	s := p.sessions[ev.Info.URL]
	if s == nil {
		s = new(taped)
		p.sessions[ev.Info.URL] = s
	}
	if ev.Out || ev.Fate.FX == decode.FXNone {
		switch ev.Kind {
		case decode.KindFrame:
			s.sent[ev.Dir] = ev.Frame.AppendWire(s.sent[ev.Dir])
		case decode.KindJunk: // such as the beginning of a header, at the end
			s.sent[ev.Dir] = append(s.sent[ev.Dir], ev.Data...)
		}
	}
	s.closed = s.closed || ev.Kind == decode.KindClosed
}

// Many sessions with faults, or with SOAK a thousand, a few at once, end and leave nothing behind, and what either
// end got is what the events tell.
func TestThousandFaults(t *testing.T) {
	before := runtime.NumGoroutine()
	var configs [][]string
	for _, f := range Faults {
		configs = append(configs, shortened(f.Lines))
	}
	var all []string
	for _, lines := range configs {
		all = append(all, lines...)
	}
	configs = append(configs, all,
		[]string{`do replace /message/note/ also`, `when text every 3 do drop`, `every 1ms do inject > ping, inject < text "more"`},
		[]string{`when op == text do stall 1ms also`, `when text contains 7 do split 5 also`, `after 20ms do close 1012 "why"`})

	server := newServer(t)
	tape := &tape{sessions: map[string]*taped{}}
	ctx, stop := context.WithCancel(context.Background())
	var proxies sync.WaitGroup
	var addrs []string
	for n, lines := range configs {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		addrs = append(addrs, l.Addr().String())
		changes := changesOf(t, uint64(n), lines...)
		p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: server.addr}, KeepHost: true, NewGate: changes.NewGate, Sink: tape}
		proxies.Go(func() { p.Serve(ctx, l) })
	}
	sessions := int(rounds(50))
	atOnce := make(chan struct{}, 12)
	var clients sync.WaitGroup
	got := make([][]byte, sessions) // by client
	for n := range sessions {
		atOnce <- struct{}{}
		clients.Go(func() {
			defer func() { <-atOnce }()
			got[n] = server.session(t, addrs[n%len(addrs)], n)
		})
	}
	clients.Wait()
	stop()
	proxies.Wait()
	server.stop()
	if len(tape.sessions) != sessions {
		t.Errorf("%d sessions, want %d", len(tape.sessions), sessions)
	}
	for target, s := range tape.sessions {
		var n int
		fmt.Sscanf(target[strings.LastIndexByte(target, '/')+1:], "%d", &n)
		if !s.closed {
			t.Errorf("session %d has no end", n)
		}
		// After a reset what was sent last does not arrive.
		for d, got := range [2][]byte{server.got[n], got[n]} {
			if !bytes.HasPrefix(s.sent[d], got) {
				t.Errorf("session %d, %q: from the %s: %d bytes arrived, others than the %d that the events tell", n, configs[n%len(configs)], decode.Dir(d), len(got), len(s.sent[d]))
			}
		}
	}
	for deadline := time.Now().Add(patience); runtime.NumGoroutine() > before; runtime.Gosched() {
		if time.Now().After(deadline) {
			b := make([]byte, 1<<20)
			t.Fatalf("%d goroutines are left, %d were there before:\n%s", runtime.NumGoroutine(), before, b[:runtime.Stack(b, true)])
		}
	}
}

// A server says what it has to, and takes what comes until the end.
type server struct {
	addr string
	l    net.Listener
	done sync.WaitGroup

	mu  sync.Mutex
	got map[int][]byte // by session
}

func newServer(t *testing.T) *server {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &server{addr: l.Addr().String(), l: l, got: map[int][]byte{}}
	s.done.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			s.done.Go(func() { s.serve(c) })
		}
	})
	return s
}

func (s *server) stop() {
	s.l.Close()
	s.done.Wait()
}

// said is what both sides say in session n, which is one of a few.
var said = sync.OnceValue(func() (all [12][2][]byte) {
	for n := range all {
		for _, t := range randomTraffic(rand.New(rand.NewPCG(uint64(n), 19)), extensions[n%3]) {
			all[n][t.d] = append(all[n][t.d], t.b...)
		}
	}
	return all
})

func says(d decode.Dir, n int) []byte { return said()[n%12][d] }

func (s *server) serve(c net.Conn) {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	r := bufio.NewReader(c)
	req, err := http.ReadRequest(r)
	if err != nil {
		return
	}
	var n int
	fmt.Sscanf(req.URL.Path, "/%d", &n)
	fmt.Fprintf(c, response, extensions[n%3])
	var writes sync.WaitGroup
	defer writes.Wait()
	writes.Go(func() { c.Write(says(decode.FromServer, n)) })
	got, _ := io.ReadAll(r)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.got[n] = got
}

// session has a client say what it has to, and returns what it got.
func (s *server) session(t *testing.T, addr string, n int) []byte {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Error(err)
		return nil
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, strings.Replace(request, "/chat", fmt.Sprint("/", n), 1), extensions[n%3])
	r := bufio.NewReader(c)
	resp, err := http.ReadResponse(r, nil)
	if errors.Is(err, syscall.ECONNRESET) { // a fault was as fast
		return nil
	}
	if err != nil || resp.StatusCode != 101 {
		t.Errorf("session %d: %v", n, err)
		return nil
	}
	var writes sync.WaitGroup
	defer writes.Wait()
	writes.Go(func() {
		c.Write(says(decode.FromClient, n))
		c.(*net.TCPConn).CloseWrite()
	})
	got, err := io.ReadAll(r)
	if nerr, ok := err.(net.Error); ok && nerr.Timeout() {
		t.Errorf("session %d does not end", n)
	}
	return got
}
