package proxy

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A play is what both peers of one connection do: some exchanges, an upgrade,
// and bytes both ways until one of them ends it all.
type play struct {
	id        int
	random    *rand.Rand
	requests  []string // the last asks for websocket
	answers   []string
	eager     []bool    // the answer comes before the body of the request
	after     [2][]byte // what each side sends after the upgrade
	end       [2]decode.End
	pipelines bool // the client does not wait for answers
}

func newPlay(id int, seed uint64) *play {
	p := &play{id: id, random: rand.New(rand.NewPCG(uint64(id), seed))}
	body := func() string {
		n := 1 + p.random.IntN(1<<p.random.IntN(18))
		if p.random.IntN(2) == 0 {
			return fmt.Sprintf("Content-Length: %d\r\n\r\n%s", n, strings.Repeat("b", n))
		}
		return fmt.Sprintf("Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\n\r\n", n, strings.Repeat("c", n))
	}
	for i := range p.random.IntN(4) {
		p.requests = append(p.requests, fmt.Sprintf("POST /%d/%d HTTP/1.1\r\n", id, i)+body())
		answer := "HTTP/1.1 200 OK\r\n" + body()
		if p.random.IntN(3) == 0 {
			answer = "HTTP/1.1 103 Early Hints\r\n\r\n" + answer
		}
		p.answers = append(p.answers, answer)
		p.eager = append(p.eager, p.random.IntN(4) == 0)
	}
	p.requests = append(p.requests, strings.Replace(upgradeRequest, "/chat", fmt.Sprintf("/%d", id), 1))
	p.answers = append(p.answers, switching)
	p.eager = append(p.eager, false)
	for d := range p.after {
		b := make([]byte, p.random.IntN(1<<p.random.IntN(19)))
		for i := range b {
			b[i] = byte(p.random.Uint32())
		}
		if d == int(decode.FromClient) { // so that it is no request
			b = append([]byte("\x82\x80"), b...)
		}
		p.after[d] = b
		if p.random.IntN(4) == 0 {
			p.end[d] = decode.EndRST
		}
	}
	p.pipelines = p.random.IntN(2) == 0
	return p
}

// reset reports whether bytes may be lost.
func (p *play) reset() bool { return p.end[0] == decode.EndRST || p.end[1] == decode.EndRST }

// A gate lets a writer wait until so many bytes were read.
type gate struct {
	mu   sync.Mutex
	cond sync.Cond
	got  []byte
	over bool
}

func newGate(got []byte) *gate {
	g := &gate{got: got}
	g.cond.L = &g.mu
	return g
}

// readFrom reads until the end.
func (g *gate) readFrom(c net.Conn) {
	b := make([]byte, 32<<10)
	for {
		n, err := c.Read(b)
		g.mu.Lock()
		g.got = append(g.got, b[:n]...)
		g.over = err != nil
		g.cond.Broadcast()
		g.mu.Unlock()
		if err != nil {
			return
		}
	}
}

// wait waits for n bytes and reports whether they came.
func (g *gate) wait(n int) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	for len(g.got) < n && !g.over {
		g.cond.Wait()
	}
	return len(g.got) >= n
}

// act plays one side, which has got some bytes before: steps are what it sends,
// and after how many bytes from the other side. It returns what it got.
func (p *play) act(d decode.Dir, c *peer, got []byte, steps []step) []byte {
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	g := newGate(got)
	read := make(chan struct{})
	go func() { defer close(read); g.readFrom(c.Conn) }()
	sizes := rand.New(rand.NewPCG(uint64(p.id), uint64(d)))
	for _, s := range steps {
		if !g.wait(s.after) {
			break
		}
		for b := []byte(s.send); len(b) > 0; {
			n := min(1+sizes.IntN(1<<sizes.IntN(17)), len(b))
			if _, err := c.Write(b[:n]); err != nil {
				break
			}
			b = b[n:]
		}
	}
	if p.end[d] == decode.EndRST {
		c.reset()
	} else {
		c.closeWrite()
	}
	<-read
	return g.got
}

type step struct {
	after int
	send  string
}

func (p *play) client(request func(string) string) (steps []step) {
	got := 0
	for i, r := range p.requests {
		steps = append(steps, step{got, request(r)})
		if !p.pipelines || p.eager[i] {
			got += len(p.answers[i])
		}
	}
	after := string(p.after[decode.FromClient])
	if p.random.IntN(2) == 0 { // else they are early
		got = len(strings.Join(p.answers, ""))
	}
	return append(steps, step{got, after})
}

func (p *play) server() (steps []step) {
	got := 0
	for i, a := range p.answers {
		n := got + len(p.requests[i])
		if p.eager[i] {
			n = got + strings.Index(p.requests[i], "\r\n\r\n") + 4
		}
		got += len(p.requests[i])
		steps = append(steps, step{n, a})
	}
	return append(steps, step{got, string(p.after[decode.FromServer])})
}

// runPlays plays n of them at once, on connections of their own, and returns
// what each side got. It calls halfway when they have begun.
func (r *rig) runPlays(plays []*play, halfway func()) (got [][2][]byte) {
	got = make([][2][]byte, len(plays))
	var wg, servers sync.WaitGroup
	clients := make([]*peer, len(plays))
	for i := range plays {
		clients[i] = r.dial()
	}
	servers.Go(func() {
		for {
			c, err := r.origin.Accept()
			if err != nil {
				return
			}
			servers.Go(func() {
				var head []byte // up to the number of the play
				for b := make([]byte, 1); bytes.Count(head, []byte(" ")) < 2; head = append(head, b...) {
					if _, err := io.ReadFull(c, b); err != nil {
						c.Close()
						return
					}
				}
				var i int
				fmt.Sscanf(string(head[bytes.IndexByte(head, '/'):]), "/%d", &i)
				got[i][decode.FromClient] = plays[i].act(decode.FromServer, &peer{Conn: c}, head, plays[i].server())
			})
		}
	})
	for i, p := range plays {
		steps := p.client(r.request)
		wg.Go(func() { got[i][decode.FromServer] = p.act(decode.FromClient, clients[i], nil, steps) })
	}
	halfway()
	wg.Wait()
	r.origin.Close()
	servers.Wait()
	r.stop()
	return got
}

// Many connections at once, whose peers are as quick as they can.
func TestPlays(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		plays := make([]*play, 30)
		for i := range plays {
			plays[i] = newPlay(i, 7)
		}
		got := r.runPlays(plays, func() {})
		for i, p := range plays {
			for d, sent := range [2]string{
				strings.Join(p.requests, "") + string(p.after[decode.FromClient]),
				strings.Join(p.answers, "") + string(p.after[decode.FromServer]),
			} {
				if g := string(got[i][d]); g != sent && !(p.reset() && strings.HasPrefix(sent, g)) {
					t.Errorf("play %d: from the %s: got %s, want %s (reset %t)", i, decode.Dir(d), short(g), short(sent), p.reset())
				}
			}
			if p.reset() {
				continue
			}
			last := len(p.requests) - 1
			conn := r.find(r.target(fmt.Sprintf("/%d", i)))
			if conn == 0 {
				t.Errorf("play %d: no upgrade was recorded", i)
				continue
			}
			r.wantWire(t, conn,
				&peer{sent: []byte(r.request(p.requests[last]) + string(p.after[decode.FromClient]))},
				&peer{sent: []byte(p.answers[last] + string(p.after[decode.FromServer]))})
			r.wantEnds(t, conn, decode.EndFIN, decode.EndFIN)
		}
	})
}

// The proxy may be stopped in the middle of it.
func TestStopInPlays(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		plays := make([]*play, 30)
		for i := range plays {
			plays[i] = newPlay(i, 8)
		}
		r.runPlays(plays, func() {
			for timeout := time.After(patience); ; {
				evs, changed := r.snapshot(0)
				if len(evs) > 100 {
					r.stop()
					return
				}
				select {
				case <-changed:
				case <-timeout:
					t.Error("nothing happens")
					return
				}
			}
		})
	})
}

// find returns the session whose request has the given target.
func (r *record) find(target string) int64 {
	evs, _ := r.snapshot(0)
	for _, ev := range evs {
		if ev.Kind == decode.KindRequest && ev.Handshake.Request.Target == target {
			return ev.Conn
		}
	}
	return 0
}
