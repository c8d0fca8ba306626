package proxy

import (
	"errors"
	"fmt"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// headOf returns a head of n bytes that begins with start.
func headOf(start string, n int) string {
	const line, end = "X-Filler: ", "\r\n\r\n"
	return start + line + strings.Repeat("x", n-len(start)-len(line)-len(end)) + end
}

func TestMaxHead(t *testing.T) {
	const limit = 1000
	limited := func(p *Proxy) { p.MaxHead = limit }
	request := func(n int) string { return headOf("GET / HTTP/1.1\r\nHost: a\r\n", n) }
	response := func(n int) string { return headOf("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n", n) }
	const tooLong = "request head is longer than 1000 bytes"
	const answerTooLong = "response head is longer than 1000 bytes"

	t.Run("at the limit", func(t *testing.T) {
		r := newRig(t, inReverse, limited)
		c, s := r.ask(request(limit))
		answer(c, s, response(limit)+"ok")
		c.send(request(limit))
		s.want("the next", request(limit))
		hints := headOf("HTTP/1.1 103 Early Hints\r\n", limit)
		answer(c, s, hints+hints+response(limit)+"ok") // each has the limit for itself
	})
	for name, tooMuch := range map[string]string{
		"request":             request(limit + 1),
		"request, unfinished": request(limit + 5)[:limit+1],
		"request with a body": strings.Replace(request(limit+22), "X-", "Content-Length: 1000\r\nX-", 1) + strings.Repeat("x", 1000),
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inReverse, limited)
			c := r.dial()
			c.send(tooMuch)
			c.wantAnswer(431, tooLong+"\n")
			r.wait(t, 1, "> end local: "+tooLong)

			c, s := r.ask(get) // in the middle of a connection
			answer(c, s, nothing)
			for b := range strings.SplitSeq(tooMuch[:limit+1], "") {
				c.send(b)
			}
			c.wantAnswer(431, tooLong+"\n")
			s.wantEnd("the server's connection ends", decode.EndFIN)
		})
	}
	for _, head := range []string{get, upgradeRequest} {
		for name, tooMuch := range map[string]string{
			"response":             response(limit + 1),
			"response, unfinished": response(limit + 5)[:limit+1],
			"response after 103":   "HTTP/1.1 103 Early Hints\r\n\r\n" + response(limit+1),
		} {
			t.Run(name, func(t *testing.T) {
				r := newRig(t, inReverse, limited)
				c, s := r.ask(head)
				s.send(tooMuch)
				if hints, _, ok := strings.Cut(tooMuch, "HTTP/1.1 200"); ok {
					c.want("interim answers", hints)
				}
				c.wantAnswer(502, answerTooLong+"\n")
				r.wait(t, 1, "< end local: "+answerTooLong)
				s.rest() // the connection is closed
			})
		}
	}
}

// The limit is never more than a session can gather.
func TestMaxHeadHasALimit(t *testing.T) {
	r := newRig(t, inReverse, func(p *Proxy) { p.MaxHead = 1 << 30 })
	c, s := r.ask(headOf("GET / HTTP/1.1\r\n", decode.MaxHead/2))
	answer(c, s, headOf("HTTP/1.1 204 No Content\r\n", decode.MaxHead/2))
	c.send(headOf("GET / HTTP/1.1\r\n", decode.MaxHead/2+1))
	c.wantAnswer(431, fmt.Sprintf("request head is longer than %d bytes\n", decode.MaxHead/2))
}

// A client gets the answer even if it reads only after it has sent everything.
func TestAnswerSurvivesUnreadBody(t *testing.T) {
	refused := fmt.Sprintf("127.0.0.1:%d", closedPort(t))
	for name, x := range map[string]struct {
		request, answer string
		status          int
	}{
		"dial":   {"POST http://" + refused + "/ HTTP/1.1\r\n", fmt.Sprintf("dial upstream %q: connection refused\n", refused), 502},
		"target": {"POST https://a.test/ HTTP/1.1\r\n", "target \"https://a.test/\": use CONNECT for https\n", 400},
		"head":   {"POST / HTTP/1.1\r\nX: " + strings.Repeat("x", DefaultMaxHead) + "\r\n", "request head is longer than 65536 bytes\n", 431},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t, inForward)
			c := r.dialProxy()
			c.send(x.request + "Content-Length: 33554432\r\n\r\n" + strings.Repeat("x", 32<<20))
			c.wantAnswer(x.status, x.answer)
		})
	}
}

func TestDialFailures(t *testing.T) {
	refused, silent := fmt.Sprintf("127.0.0.1:%d", closedPort(t)), deaf(t)
	r := newRig(t, inForward, func(p *Proxy) { p.DialTimeout = 300 * time.Millisecond })
	for _, x := range []struct {
		addr, why string
		status    int
		how       decode.End
	}{
		{refused, "connection refused", 502, decode.EndLocal},
		{silent, "timed out", 504, decode.EndTimeout},
	} {
		for _, head := range []string{get, upgradeRequest} {
			c := r.dialProxy()
			c.send(strings.Replace(head, "/", "http://"+x.addr+"/", 1))
			why := fmt.Sprintf("dial upstream %q: %s", x.addr, x.why)
			c.wantAnswer(x.status, why+"\n")
			r.wait(t, r.p.sessions.Load(), fmt.Sprintf("< end %s: %s", x.how, why))
			r.wantStatus(t, r.p.sessions.Load(), x.status)
		}
	}
	for text, err := range map[string]error{
		`502 dial upstream "a.test:80": no such host`: &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "a.test", IsNotFound: true}},
		`504 dial upstream "a.test:80": timed out`:    &net.OpError{Op: "dial", Err: &net.DNSError{Err: "i/o timeout", Name: "a.test", IsTimeout: true}},
		`502 dial upstream "a.test:80": network is unreachable`: &net.OpError{Op: "dial",
			Err: os.NewSyscallError("connect", syscall.ENETUNREACH)},
	} {
		f := dialFailure("a.test:80", err)
		if got := fmt.Sprint(f.status, " ", f.text); got != text {
			t.Errorf("%v: got %s, want %s", err, got, text)
		}
	}
}

// A client that connects and is silent until the end is worth a line of the log.
func TestSilentClientIsLogged(t *testing.T) {
	r := newRig(t, inReverse, func(p *Proxy) { p.HandshakeTimeout = 100 * time.Millisecond })
	c := r.dial()
	c.wantEnd("the proxy gives up", decode.EndFIN)
	r.log.wait(t, "has sent nothing for 100ms", 1)
}

// What could still become a request is not held forever.
func TestTunnelTimeout(t *testing.T) {
	r := newRig(t, inTunnel, func(p *Proxy) { p.HandshakeTimeout = 500 * time.Millisecond })
	c := r.dial()
	s := r.accept()
	c.send("GET / HT")
	s.want("what could be a request", "GET / HT")
	s.send("hello")
	c.want("the server's first bytes", "hello")
	c.Close()
	s.wantEnd("the client ends", decode.EndFIN)
	s.Close()
	r.wantLines(t, 1, "open", "> opaque: no HTTP request within 500ms", "> end fin", "< end fin")
}

// A fullListener fails a few times before it accepts a connection.
type fullListener struct {
	net.Listener
	failures atomic.Int32
	err      error
}

func (l *fullListener) Accept() (net.Conn, error) {
	if l.failures.Add(-1) >= 0 {
		return nil, l.err
	}
	return l.Listener.Accept()
}

// Serve outlives a lack of file descriptors, but not its listener.
func TestAcceptErrors(t *testing.T) {
	r := newRig(t, inReverse)
	full := &fullListener{Listener: listen(t), err: &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", syscall.EMFILE)}}
	full.failures.Store(3)
	r.also(full)
	r.addr = full.Addr().String()
	r.upgrade()
	r.log.wait(t, "accept: accept: accept4: too many open files", 3)

	broken := &fullListener{Listener: listen(t), err: errors.New("broken")}
	broken.failures.Store(1)
	if err := r.p.Serve(t.Context(), broken); err != broken.err {
		t.Errorf("got %v, want the listener's error", err)
	}
}

// A panic while an event is handled stops neither the traffic nor others.
func TestPanic(t *testing.T) {
	for name, fails := range map[string]func(*decode.Event) bool{
		"frame":     func(ev *decode.Event) bool { return ev.Kind == decode.KindFrame && ev.Dir == decode.FromClient },
		"request":   func(ev *decode.Event) bool { return ev.Kind == decode.KindRequest },
		"response":  func(ev *decode.Event) bool { return ev.Kind == decode.KindResponse },
		"opaque":    func(ev *decode.Event) bool { return ev.Kind == decode.KindFrame || ev.Kind == decode.KindOpaque },
		"end":       func(ev *decode.Event) bool { return ev.Kind == decode.KindEnd },
		"open":      func(ev *decode.Event) bool { return ev.Kind == decode.KindOpen },
		"closed":    func(ev *decode.Event) bool { return ev.Kind == decode.KindClosed },
		"every one": func(ev *decode.Event) bool { return true },
	} {
		t.Run(name, func(t *testing.T) {
			seen := newRecord()
			r := newRig(t, inReverse, func(p *Proxy) {
				p.Sink = decode.SinkFunc(func(ev *decode.Event) {
					seen.Emit(ev)
					if ev.Conn == 1 && fails(ev) {
						panic("a bug")
					}
				})
			})
			c, s := r.upgrade()
			c2, s2 := r.upgrade()
			large := masked(strings.Repeat("x", 100<<10))
			for range 3 {
				c.send(masked("hello"))
				s.want("a frame of the client", masked("hello"))
				s.send(text("hello"))
				c.want("a frame of the server", text("hello"))
				c.send(large[:50<<10])
				s.want("half a frame", large[:50<<10])
				c.send(large[50<<10:])
				s.want("the rest", large[50<<10:])
			}
			c.closeWrite()
			s.wantEnd("the client ends", decode.EndFIN)
			s.send(text("bye"))
			s.Close()
			c.wantRest("the server's last", text("bye"), decode.EndFIN)
			wantSame(t, c, s)

			c2.send(masked("hello"))
			s2.want("a frame in another session", masked("hello"))
			c2.Close()
			s2.wantEnd("the client ends", decode.EndFIN)
			s2.Close()
			seen.wantLines(t, 2, "open", "> GET /chat", "< 101", "> text 5", "> end fin", "< end fin")
			r.stop()
			if n := strings.Count(r.log.String(), "panic while decoding"); n != 1 {
				t.Errorf("got %d reports, want 1:\n%s", n, r.log)
			}
			if name == "frame" {
				seen.wantWire(t, 1, c, s)
				seen.wait(t, 1, "> opaque: panic: a bug")
				seen.wantEnds(t, 1, decode.EndFIN, decode.EndFIN)
			}
		})
	}
}
