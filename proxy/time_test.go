package proxy

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// A memConn is one end of a connection in memory, a write to which lasts until
// it is read.
type memConn struct {
	*memconn.Conn
	ends  [2]int      // ports, ours first
	reset atomic.Bool // by the peer: what is called from now on fails
}

func memPipe(a, b int) (*memConn, *memConn) {
	c, s := memconn.SyncPipe()
	return &memConn{Conn: c, ends: [2]int{a, b}}, &memConn{Conn: s, ends: [2]int{b, a}}
}

func (c *memConn) LocalAddr() net.Addr  { return &net.TCPAddr{Port: c.ends[0]} }
func (c *memConn) RemoteAddr() net.Addr { return &net.TCPAddr{Port: c.ends[1]} }

func (c *memConn) Read(b []byte) (int, error) {
	if c.reset.Load() {
		return 0, syscall.ECONNRESET
	}
	return c.Conn.Read(b)
}

func (c *memConn) Write(b []byte) (int, error) {
	if c.reset.Load() {
		return 0, syscall.ECONNRESET
	}
	return c.Conn.Write(b)
}

// A clockRig is a link in memory, between a client and a server, whose time
// passes when nothing else happens.
type clockRig struct {
	*record
	t     *testing.T
	c, s  *peer
	ours  *memConn // the proxy's end of the client's connection
	fails func(*decode.Event) bool
	stop  func()
}

// Emit panics where it is to fail.
func (r *clockRig) Emit(ev *decode.Event) {
	r.record.Emit(ev)
	if r.fails != nil && r.fails(ev) {
		panic("a bug")
	}
}

// inBubble runs a test with a link whose connections are there already.
func inBubble(t *testing.T, test func(*testing.T, *clockRig)) {
	inBubbleWith(t, func(*Proxy) {}, test)
}

// inBubbleWith is inBubble with a proxy that set has set up.
func inBubbleWith(t *testing.T, set func(*Proxy), test func(*testing.T, *clockRig)) {
	synctest.Test(t, func(t *testing.T) {
		r := &clockRig{record: newRecord(), t: t}
		ctx, cancel := context.WithCancel(context.Background())
		client, ours := memPipe(1, 8080)
		theirs, server := memPipe(2, 80)
		p := &Proxy{Upstream: &url.URL{Scheme: "ws", Host: "origin:80"}, KeepHost: true, ours: map[ends]int{endsOf(theirs): 1}}
		p.sink, p.Look.Tap = &decode.Tee{Sinks: []decode.Sink{r}}, r
		set(p)
		k := p.newLink(ctx, nil, newLeg(ours))
		if err := k.use("origin:80", theirs, nil); err != nil {
			t.Fatal(err)
		}
		r.ours = ours
		r.c = &peer{t: t, name: "client", Conn: client, timeless: true}
		r.s = &peer{t: t, name: "server", Conn: server, timeless: true}
		served := make(chan struct{})
		go func() {
			defer close(served)
			defer context.AfterFunc(ctx, k.abort)()
			k.serve()
		}()
		r.stop = func() { cancel(); <-served }
		defer func() {
			r.stop()
			client.Close()
			server.Close()
			r.check(t)
		}()
		test(t, r)
	})
}

func (r *clockRig) upgrade() {
	r.t.Helper()
	r.c.send(upgradeRequest)
	r.s.want("the request", upgradeRequest)
	answer(r.c, r.s, switching)
}

// wantNow compares the last lines of a session, once nothing moves any more.
func (r *clockRig) wantNow(conn int64, lines ...string) {
	r.t.Helper()
	synctest.Wait()
	evs, _ := r.snapshot(conn)
	if len(evs) < len(lines) || transcript(evs[len(evs)-len(lines):]) != "\t"+strings.Join(lines, "\n\t") {
		r.t.Fatalf("got\n%s\nwant, at the end,\n\t%s", transcript(evs), strings.Join(lines, "\n\t"))
	}
}

// took runs f and checks how long that takes.
func took(t *testing.T, want time.Duration, f func()) {
	t.Helper()
	start := time.Now()
	f()
	if d := time.Since(start); d != want {
		t.Errorf("got it after %v, want %v", d, want)
	}
}

func TestRequestTimeout(t *testing.T) {
	t.Run("silent", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *clockRig) {
			took(t, DefaultHandshakeTimeout, func() { r.c.wantEnd("a silent client is closed", decode.EndFIN) })
			if evs, _ := r.snapshot(0); len(evs) > 0 {
				t.Errorf("got events\n%s\nwant none", transcript(evs))
			}
		})
	})
	t.Run("slow", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *clockRig) {
			sent := make(chan struct{})
			go func() {
				defer close(sent)
				for b := range strings.SplitSeq("GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 100), "") {
					if _, err := io.WriteString(r.c.Conn, b); err != nil {
						return
					}
					time.Sleep(700 * time.Millisecond)
				}
			}()
			took(t, DefaultHandshakeTimeout, func() { r.c.wantAnswer(408, "request head is not complete after 30s\n") })
			r.c.Close()
			<-sent
			r.wantNow(1, fmt.Sprintf("> cut %q", "GET / HTTP/1.1\r\nX: "+strings.Repeat("x", 24)),
				"> end timeout: request head is not complete after 30s", "< end local", "closed")
		})
	})
	t.Run("not between requests", func(t *testing.T) {
		inBubble(t, func(t *testing.T, r *clockRig) {
			for range 3 {
				r.c.send(get)
				r.s.want("a request", get)
				answer(r.c, r.s, nothing)
				time.Sleep(time.Hour)
			}
			r.c.send(get[:10])
			took(t, DefaultHandshakeTimeout, func() { r.c.wantAnswer(408, "request head is not complete after 30s\n") })
		})
	})
}

func TestAnswerTimeout(t *testing.T) {
	const why = `server "origin:80" has not answered after 30s`
	for _, start := range []string{"", "HTTP/1.1 101 Swi", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 101"} {
		t.Run(start, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *clockRig) {
				r.c.send(upgradeRequest)
				r.s.want("the request", upgradeRequest)
				started := time.Now()
				r.s.send(start)
				if hints, _, ok := strings.Cut(start, "\r\n\r\n"); ok {
					r.c.want("an interim answer", hints+"\r\n\r\n")
				}
				r.c.wantAnswer(504, why+"\n")
				if d := time.Since(started); d != DefaultHandshakeTimeout {
					t.Errorf("got 504 after %v, want %v", d, DefaultHandshakeTimeout)
				}
				r.s.wantEnd("the server's connection is closed", decode.EndFIN)
				r.wait(t, 1, "< end timeout: "+why)
			})
		})
	}
	t.Run("plain", func(t *testing.T) { // may take as long as it likes
		inBubble(t, func(t *testing.T, r *clockRig) {
			for range 2 {
				r.c.send(get)
				r.s.want("the request", get)
				time.Sleep(time.Hour)
				r.s.send("HTTP/1.1 ")
				time.Sleep(time.Hour)
				r.s.send("200 OK\r\nContent-Length: 2\r\n\r\no")
				r.c.want("the head", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\no")
				time.Sleep(time.Hour)
				answer(r.c, r.s, "k")
			}
		})
	})
	t.Run("upgraded", func(t *testing.T) { // no limit any more
		inBubble(t, func(t *testing.T, r *clockRig) {
			r.upgrade()
			for range 3 {
				time.Sleep(time.Hour)
				answer(r.c, r.s, text("still here"))
				r.c.send(masked("so am I"))
				r.s.want("a frame", masked("so am I"))
			}
		})
	})
	t.Run("refused", func(t *testing.T) { // no limit any more
		inBubble(t, func(t *testing.T, r *clockRig) {
			r.c.send(upgradeRequest)
			r.s.want("the request", upgradeRequest)
			time.Sleep(29 * time.Second)
			answer(r.c, r.s, "HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\n")
			time.Sleep(time.Hour)
			answer(r.c, r.s, "no")
			time.Sleep(time.Hour)
			r.c.send(get)
			r.s.want("the next request", get)
			time.Sleep(time.Hour)
			answer(r.c, r.s, nothing)
		})
	})
}

// A frame that is slow to come is shown after a second, as far as it is there.
func TestSlowFramesAreFlushed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.upgrade()
		for _, x := range []struct {
			from, to *peer
			frame    string
			arrow    string
			head     int
		}{
			{r.c, r.s, masked("slowly but surely"), ">", 6},
			{r.s, r.c, text("slowly but surely"), "<", 2},
		} {
			send := func(s string) { x.from.send(s); x.to.want("part of a frame", s) }
			send(x.frame[:x.head+3])
			time.Sleep(time.Second - time.Millisecond)
			if r.has(1, x.arrow+" text 17 0-3") {
				t.Error("a frame is shown before a second is over")
			}
			time.Sleep(time.Millisecond)
			r.wantNow(1, x.arrow+" text 17 0-3")
			send(x.frame[x.head+3 : x.head+4])
			send(x.frame[x.head+4 : x.head+6])
			time.Sleep(time.Second)
			r.wantNow(1, x.arrow+" text 17 0-3", x.arrow+" text 17 3-6")
			time.Sleep(time.Hour)
			r.wantNow(1, x.arrow+" text 17 3-6")
			send(x.frame[x.head+6:])
			r.wantNow(1, x.arrow+" text 17 3-6", x.arrow+" text 17 6-17")
			send(x.frame) // one that comes at once is shown at once
			r.wantNow(1, x.arrow+" text 17")
			send(x.frame[:x.head]) // the header alone
			time.Sleep(time.Second)
			r.wantNow(1, x.arrow+" text 17 0-0")
			send(x.frame[x.head:])
		}
	})
}

// So is the answer to a refused upgrade. The connection goes on after it.
func TestSlowRefusalIsFlushed(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		const start, end = "HTTP/1.1 403 Forbidden\r\nContent-Length: 6\r\n\r\nno", " way"
		r.c.send(upgradeRequest)
		r.s.want("the request", upgradeRequest)
		answer(r.c, r.s, start)
		time.Sleep(time.Second)
		r.wantNow(1, `< 403 "no" of 0`, `< body "no" of 2`)
		answer(r.c, r.s, end)
		r.wantNow(1, `< 403 "no" of 0`, `< body "no" of 2`, `< body " way" of 4`, "closed")

		r.c.send(upgradeRequest)
		r.s.want("the next request", upgradeRequest)
		answer(r.c, r.s, start)
		time.Sleep(time.Second / 2) // nothing is flushed, but a timer runs
		answer(r.c, r.s, end)
		r.wantNow(2, `< 403 "no way" of 6`, `< body "no way" of 6`, "closed")
		time.Sleep(time.Hour)
		r.c.send(get)
		r.s.want("the next request", get)
		answer(r.c, r.s, nothing)
	})
}

// A head at hand when the proxy is stopped is shown.
func TestStopInHead(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.c.send("GET / HTTP/1.1\r\n")
		synctest.Wait()
		r.stop()
		r.wantLines(t, 1, "open", `> cut "GET / HTTP/1.1\r\n"`, "> end local", "< end local")
	})
}

// An answer of the proxy waits for a client that still sends, but not forever.
func TestLinger(t *testing.T) {
	for name, x := range map[string]struct {
		pause time.Duration
		times int
	}{
		"sends on":  {lingerIdle - time.Millisecond, int(lingerTime / (lingerIdle - time.Millisecond))},
		"is silent": {lingerIdle + time.Millisecond, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, r *clockRig) {
				r.c.send("NOPE / HTTP/1.1\r\n" + strings.Repeat("x", DefaultMaxHead))
				r.c.wantAnswer(431, fmt.Sprintf("request head is longer than %d bytes\n", DefaultMaxHead))
				times := -1
				for err := error(nil); err == nil; times++ {
					time.Sleep(x.pause)
					_, err = io.WriteString(r.c.Conn, "x")
				}
				if times != x.times {
					t.Errorf("got %d writes before the connection was closed, want %d", times, x.times)
				}
			})
		})
	}
}

// What is not yet read at the other end has been recorded: a write in memory
// lasts until it is read.
func TestRecordedBeforeWritten(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		relayed := func(conn int64, from, to *peer, s, line string) {
			t.Helper()
			from.send(s)
			r.wantNow(conn, line)
			to.want("what was recorded", s)
		}
		relayed(1, r.c, r.s, "POST / HTTP/1.1\r\nContent-Length: 2\r\n\r\n", "> POST /")
		relayed(1, r.s, r.c, "HTTP/1.1 100 Continue\r\n\r\n", "< 100")
		r.c.send("ok")
		r.s.want("the body", "ok")
		relayed(1, r.s, r.c, "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "< 200")
		relayed(2, r.c, r.s, upgradeRequest, "> GET /chat")
		relayed(2, r.c, r.s, masked("early"), "> text 5")
		relayed(2, r.s, r.c, switching, "< 101")
		relayed(2, r.c, r.s, masked("hello!"), "> text 6")
		relayed(2, r.s, r.c, text("hello you"), "< text 9")
		relayed(2, r.s, r.c, "\x82\x7f\xff\x00\x00\x00\x00\x00\x00\x01", "< junk 10")
	})
}

// A request that comes after the client could not be written to is not waited
// for: the upstream's goroutine is gone.
func TestRequestAfterUnasked(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.c.send(get)
		r.s.want("a request", get)
		answer(r.c, r.s, nothing)
		r.c.send(get[:10])
		r.c.Conn.(*memConn).CloseRead() // it does not read any more
		r.s.send("unasked")
		synctest.Wait()
		io.WriteString(r.c.Conn, get[10:])
		r.wantNow(2, "closed")
	})
}

// A reset that the writer notices is the client's, even if the reader is told
// to stop before it can notice.
func TestWriterNoticesReset(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.c.send(get)
		r.s.want("a request", get)
		answer(r.c, r.s, "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
		synctest.Wait() // until the reader waits: it is not to notice
		r.ours.reset.Store(true)
		r.s.send("456")
		r.wantNow(1, "< end drop", "> end rst", "closed")
	})
}

// A connection that the client has closed and left, and that the server keeps, is
// told of after 2 s, once, and goes on.
func TestKeptOpen(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.upgrade()
		const done = "\x88\x82\x01\x00\x00\x00\x02\xe8" // 1000
		r.c.send(done)
		r.s.want("a close frame", done)
		r.c.closeWrite()
		time.Sleep(keptOpenAfter - time.Nanosecond)
		r.wantNow(1, "> close 2", "> end fin")
		time.Sleep(1 * time.Nanosecond)
		r.wantNow(1, "> close 2", "> end fin", "notice client has closed and ended, server keeps the connection open")
		time.Sleep(time.Hour)
		r.s.send("\x81\x00")
		r.c.want("a late frame", "\x81\x00")
		r.s.closeWrite()
		r.wantNow(1, "notice client has closed and ended, server keeps the connection open", "< text 0", "< end fin", "closed")
	})
}

// keptOpenAfter is when that is told.
const keptOpenAfter = 2 * time.Second

// A panic at a frame that is slow to come does not keep the relay busy.
func TestPanicInFlush(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.fails = func(ev *decode.Event) bool { return ev.Kind == decode.KindFrame }
		r.upgrade()
		r.c.send(masked("hello")[:8])
		r.s.want("part of a frame", masked("hello")[:8])
		time.Sleep(time.Hour)
		r.wantNow(1, "> text 5 0-2", "> opaque: panic: a bug")
		r.c.send(masked("hello")[8:])
		r.s.want("the rest", masked("hello")[8:])
		r.wantNow(1, "> junk 3")
	})
}

// A server that speaks before the first exchange ends the wait for it, and
// nothing prolongs that wait, until there is an exchange.
func TestInterrupt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, ours := memPipe(1, 8080)
		_, theirs := memPipe(80, 2)
		k := &link{p: new(Proxy), client: newLeg(ours)}
		k.up = &upstream{leg: newLeg(theirs), link: k, next: make(chan *exchange, 1), left: make(chan struct{})}
		x := new(exchange)
		if !k.up.hand(x) {
			t.Fatal("got false, want the exchange taken")
		}
		if got := k.up.interrupt(nil); got != x || k.up.wentFirst() != "" {
			t.Errorf("got %v and %q, want the exchange that was handed over, and patience", got, k.up.wentFirst())
		}

		k.up.x = nil
		got := make(chan *exchange)
		go func() { got <- k.up.interrupt(syscall.ECONNRESET) }()
		synctest.Wait()
		if why := k.up.wentFirst(); why != "server ends first" {
			t.Errorf("got %q, want that the server ends first", why)
		}
		for _, d := range []time.Time{time.Now().Add(time.Hour), {}} {
			k.setDeadline(d)
			took(t, 0, func() {
				if err := k.client.fill(); !isTimeout(err) {
					t.Errorf("got %v, want the wait interrupted", err)
				}
			})
		}
		k.up.hand(x)
		if <-got != x {
			t.Error("got another exchange than was handed over")
		}
		go client.Write([]byte("hello"))
		if err := k.client.fill(); err != nil || string(k.client.unread()) != "hello" {
			t.Errorf("got %q, %v, want what the client sends", k.client.unread(), err)
		}
		k.client.drop()
	})
}

// An exchange that takes more than a second is told of once, and says what it
// waits for.
func TestLasting(t *testing.T) {
	inBubble(t, func(t *testing.T, r *clockRig) {
		r.c.send(get)
		r.s.want("a request", get)
		time.Sleep(lastingAfter - 1)
		r.wantNow(1, "> GET /")
		time.Sleep(1 * time.Nanosecond)
		r.wantNow(1, "notice waits for an answer")
		time.Sleep(time.Hour)
		answer(r.c, r.s, nothing)
		r.wantNow(1, "closed")
	})
}
