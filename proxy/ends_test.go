package proxy

import (
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// ends are ways in which a peer may end its connection.
var endings = map[decode.End]func(*peer){
	decode.EndFIN: func(p *peer) { p.Close() },
	decode.EndRST: (*peer).reset,
}

// wantEnds waits for the end of a session and checks how its directions ended.
func (r *record) wantEnds(t *testing.T, conn int64, client, server decode.End) {
	t.Helper()
	got, evs := r.ends(t, conn)
	if want := [2]string{client.String(), server.String()}; got != want {
		t.Errorf("session %d: got ends %q of client and server, want %q:\n%s", conn, got, want, transcript(evs))
	}
}

// ends waits until a session is closed, and returns how each direction ended, by
// Dir, and the events.
func (r *record) ends(t *testing.T, conn int64) (how [2]string, evs []*decode.Event) {
	t.Helper()
	r.wait(t, conn, "closed")
	evs, _ = r.snapshot(conn)
	for _, ev := range evs {
		if ev.Kind == decode.KindEnd {
			how[ev.Dir] += ev.How.String()
		}
	}
	return how, evs
}

// wantReset wants that d was reset, and that the other direction ended with that:
// where it was written to, or where it was read.
func (r *record) wantReset(t *testing.T, conn int64, d decode.Dir) {
	t.Helper()
	got, evs := r.ends(t, conn)
	if other := got[d.Peer()]; got[d] != "rst" || other != "local" && other != "drop" {
		t.Errorf("session %d: got ends %q of client and server, want that the %s reset it:\n%s", conn, got, d, transcript(evs))
	}
}

// After the upgrade one side may end and the other go on.
func TestHalfClose(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.upgrade()
		c.send(masked("last"))
		c.closeWrite()
		s.wantRest("the client ends", masked("last"), decode.EndFIN)
		for range 3 {
			s.send(text("still here"))
			c.want("a frame after the client's end", text("still here"))
		}
		s.Close()
		c.wantEnd("the server ends", decode.EndFIN)
		r.wantEnds(t, 1, decode.EndFIN, decode.EndFIN)

		c, s = r.upgrade()
		s.send(text("last"))
		s.closeWrite()
		c.wantRest("the server ends", text("last"), decode.EndFIN)
		for range 3 {
			c.send(masked("still here"))
			s.want("a frame after the server's end", masked("still here"))
		}
		c.Close()
		s.wantEnd("the client ends", decode.EndFIN)
		r.wantEnds(t, 2, decode.EndFIN, decode.EndFIN)
	})
}

// A client may end its side with the request; the answer still comes.
func TestHalfCloseBeforeTheAnswer(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.ask(upgradeRequest)
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		s.send(switching + text("hello"))
		c.want("the 101 and a frame", switching+text("hello"))
		s.Close()
		c.wantEnd("the server ends", decode.EndFIN)
		r.wantEnds(t, 1, decode.EndFIN, decode.EndFIN)

		c, s = r.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
		c.closeWrite()
		s.wantEnd("the client ends", decode.EndFIN)
		s.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n")
		s.send("ok")
		c.wantRest("the answer", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok", decode.EndFIN)
		s.wantEnd("the client has ended", decode.EndFIN)
	})
}

func TestReset(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.upgrade()
		c.send(masked("hello"))
		s.want("a frame", masked("hello"))
		c.reset()
		s.wantEnd("the client resets", decode.EndRST)
		r.wantEnds(t, 1, decode.EndRST, decode.EndLocal)

		c, s = r.upgrade()
		s.send(text("hello"))
		c.want("a frame", text("hello"))
		s.reset()
		c.wantEnd("the server resets", decode.EndRST)
		r.wantEnds(t, 2, decode.EndLocal, decode.EndRST)
	})
}

// A reset is one too for a peer that is being written to: the write may be told
// of it in place of the read.
func TestResetWhileDataFlows(t *testing.T) {
	r := newRig(t, inReverse)
	for conn := range int64(20) {
		c, s := r.upgrade()
		a, b, d := c, s, decode.FromClient
		if conn%2 == 1 {
			a, b, d = s, c, decode.FromServer
		}
		stopped := make(chan error)
		go func() {
			f := text(strings.Repeat("x", 1000))
			for {
				if _, err := io.WriteString(b, f); err != nil {
					stopped <- err
					return
				}
			}
		}()
		a.read(100 << 10)
		a.reset()
		if err := <-stopped; !isReset(err) {
			t.Errorf("got %v where the other peer writes, want a reset", err)
		}
		r.wantReset(t, conn+1, d)
		c.Close()
		s.Close()
	}
}

// So it is before an upgrade.
func TestResetInBodies(t *testing.T) {
	const length = "Content-Length: 1000000000\r\n\r\n"
	eachMode(t, func(t *testing.T, r *rig) {
		for conn := range int64(6) {
			c, s := r.ask("POST / HTTP/1.1\r\n" + length)
			s.send("HTTP/1.1 200 OK\r\n" + length)
			c.want("the head", "HTTP/1.1 200 OK\r\n"+length)
			a, b, d := c, s, decode.FromClient
			if conn%2 == 1 {
				a, b, d = s, c, decode.FromServer
			}
			stopped := make(chan error)
			go func() { _, err := io.Copy(b.Conn, endless{}); stopped <- err }()
			a.read(100 << 10)
			a.reset()
			if err := <-stopped; !isReset(err) {
				t.Errorf("got %v where the other peer writes, want a reset", err)
			}
			r.wantReset(t, conn+1, d)
		}
	})
}

// A server may end anywhere in its answer, and the client gets what came.
func TestServerEndsInAnswer(t *testing.T) {
	for name, answer := range map[string]string{
		"nothing":    "",
		"in head":    "HTTP/1.1 200 OK\r\nContent-Le",
		"behind 1xx": "HTTP/1.1 100 Continue\r\n\r\n",
		"in body":    "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345",
		"in chunk":   "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123",
		"in trailer": "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\nX: y\r\n",
	} {
		for how, end := range endings {
			for _, head := range []string{"GET / HTTP/1.1\r\nHost: a\r\n\r\n", upgradeRequest} {
				t.Run(name+" "+how.String(), func(t *testing.T) {
					eachMode(t, func(t *testing.T, r *rig) {
						c, s := r.ask(head)
						s.send(answer)
						c.want("what came of the answer", answerSoFar(answer))
						end(s)
						if how == decode.EndFIN { // bytes of a head wait for the rest
							c.wantRest("the server ends", strings.TrimPrefix(answer, answerSoFar(answer)), how)
						} else if _, err := c.rest(); howEnded(err) != how {
							t.Errorf("got %v, want a reset", err)
						}
						r.wantEnds(t, 1, decode.EndLocal, how)
					})
				})
			}
		}
	}
}

// answerSoFar returns the part of an answer that is relayed as it comes: a head
// waits until it is complete.
func answerSoFar(answer string) string {
	if n := strings.LastIndex(answer, "\r\n\r\n"); n >= 0 {
		if strings.HasPrefix(answer[n+4:], "HTTP/") {
			return answer[:n+4]
		}
		return answer
	}
	return ""
}

// A client may end anywhere in its request, and the server learns how.
func TestClientEndsInRequest(t *testing.T) {
	for name, request := range map[string]string{
		"waiting":  "GET / HTTP/1.1\r\nHost: a\r\n\r\n",
		"in body":  "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n12345",
		"in chunk": "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n123",
	} {
		for how, end := range endings {
			t.Run(name+" "+how.String(), func(t *testing.T) {
				eachMode(t, func(t *testing.T, r *rig) {
					c, s := r.ask(request)
					end(c)
					s.wantEnd("the client ends", how)
					server := decode.EndLocal
					if how == decode.EndFIN {
						s.Close()
						server = decode.EndFIN
					}
					r.wantEnds(t, 1, how, server)
				})
			})
		}
	}
}

// A client that has sent the next request already is not forgotten.
func TestClientResetsWhilePipelining(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		head := "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
		c := r.dial()
		c.send(r.request(head) + r.request(head))
		s := r.accept()
		s.want("the first request", head)
		c.reset()
		s.wantEnd("the client resets", decode.EndRST)
	})
}

// A head that is cut off goes nowhere.
func TestClientEndsInHead(t *testing.T) {
	for how, end := range endings {
		t.Run(how.String(), func(t *testing.T) {
			r := newRig(t, inReverse)
			c := r.dial()
			c.send("GET / HTTP/1.1\r\nHos")
			end(c)
			r.wait(t, 1, `> cut "GET / HTTP/1.1\r\nHos"`)
			r.wantEnds(t, 1, how, decode.EndLocal)
		})
	}
}

// Between requests, what ends one connection ends the other.
func TestEndBetweenRequests(t *testing.T) {
	const head, answer = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	for _, m := range []mode{inReverse, inTunnel, inDirect} {
		for how, end := range endings {
			t.Run(string(m)+" "+how.String(), func(t *testing.T) {
				r := newRig(t, m)
				c, s := r.ask(head)
				s.send(answer)
				c.want("the answer", answer)
				end(s)
				c.wantEnd("the server ends", how)

				c, s = r.ask(head)
				s.send(answer)
				c.want("the answer", answer)
				end(c)
				s.wantEnd("the client ends", how)
				r.wait(t, 1, "closed")
				r.wait(t, 2, "closed")
			})
		}
	}
}

// A request on a connection that the server has ended is shown, and not sent
// anywhere else.
func TestRequestAfterServersEnd(t *testing.T) {
	const head, answer = "GET / HTTP/1.1\r\nHost: a\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"
	r := newRig(t, inReverse)
	c, s := r.ask(head)
	s.send(answer)
	c.want("the answer", answer)
	s.Close()
	c.wantEnd("the server ends", decode.EndFIN)
	c.send(head)
	r.wantLines(t, 2, "open", "> GET /", "< end fin", "> end local")
}

// deaf returns an address where connections neither come about nor fail.
func deaf(t *testing.T) (addr string) {
	t.Helper()
	fd, err := syscall.Socket(syscall.AF_INET, syscall.SOCK_STREAM, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := syscall.Bind(fd, &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		t.Fatal(err)
	}
	if err := syscall.Listen(fd, 0); err != nil {
		t.Fatal(err)
	}
	name, err := syscall.Getsockname(fd)
	if err != nil {
		t.Fatal(err)
	}
	a := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: name.(*syscall.SockaddrInet4).Port}
	for range 100 { // nobody accepts, and soon the queue is full
		c, err := net.DialTimeout("tcp", a.String(), 200*time.Millisecond)
		if err != nil {
			return a.String()
		}
		t.Cleanup(func() { c.Close() })
	}
	t.Skip("this system accepts connections without end")
	return ""
}

// When the proxy is stopped it closes everything as it is, adds nothing, and
// all sessions end.
func TestStop(t *testing.T) {
	stopped := func(t *testing.T, r *rig, peers ...*peer) {
		t.Helper()
		r.stop()
		for _, p := range peers {
			if got, err := p.rest(); got != "" {
				t.Errorf("%s: got %s and %v, want nothing", p.name, short(got), err)
			}
		}
	}
	local := func(t *testing.T, r *rig) {
		t.Helper()
		r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
	}
	t.Run("nothing", func(t *testing.T) { newRig(t, inReverse).stop() })
	t.Run("no request", func(t *testing.T) {
		r := newRig(t, inReverse)
		c := r.dial()
		stopped(t, r, c)
	})
	t.Run("dialling", func(t *testing.T) {
		addr := deaf(t)
		r := newRig(t, inForward)
		c := r.dial()
		c.send("GET http://" + addr + "/ HTTP/1.1\r\nHost: a\r\n\r\n")
		r.wait(t, 1, "> GET http://"+addr+"/")
		stopped(t, r, c)
		r.wait(t, 1, "closed")
	})
	eachMode(t, func(t *testing.T, r *rig) {
		c, s := r.ask(upgradeRequest)
		stopped(t, r, c, s)
		local(t, r)
	})
	t.Run("idle", func(t *testing.T) {
		eachMode(t, func(t *testing.T, r *rig) {
			c, s := r.upgrade()
			stopped(t, r, c, s)
			local(t, r)
		})
	})
	t.Run("in frames", func(t *testing.T) {
		eachMode(t, func(t *testing.T, r *rig) {
			c, s := r.upgrade()
			c.send(masked("hello")[:8])
			s.want("part of a frame", masked("hello")[:8])
			s.send(text("hello")[:3])
			c.want("part of a frame", text("hello")[:3])
			stopped(t, r, c, s)
			local(t, r)
			r.wantWire(t, 1, &peer{sent: []byte(r.request(upgradeRequest) + masked("hello")[:8])}, s)
		})
	})
	t.Run("in bodies", func(t *testing.T) {
		eachMode(t, func(t *testing.T, r *rig) {
			c, s := r.ask("POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n123")
			s.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
			c.want("part of the answer", "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n123")
			stopped(t, r, c, s)
			local(t, r)
		})
	})
	t.Run("between requests", func(t *testing.T) {
		eachMode(t, func(t *testing.T, r *rig) {
			c, s := r.ask("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
			s.send("HTTP/1.1 204 No Content\r\n\r\n")
			c.want("the answer", "HTTP/1.1 204 No Content\r\n\r\n")
			stopped(t, r, c, s)
			r.wait(t, 1, "closed")
		})
	})
	t.Run("silent tunnel", func(t *testing.T) {
		r := newRig(t, inTunnel)
		c := r.dial()
		s := r.accept()
		stopped(t, r, c, s)
		local(t, r)
	})
	t.Run("nobody reads", func(t *testing.T) {
		r := newRig(t, inReverse)
		c, s := r.upgrade()
		for _, p := range []*peer{c, s} {
			p.send("\x82\x7f\x00\x00\x00\x10\x00\x00\x00\x00") // a frame of 64 GiB
			p.SetWriteDeadline(time.Now().Add(100 * time.Millisecond))
			io.Copy(p.Conn, endless{})
		}
		r.stop()
		r.wantEnds(t, 1, decode.EndLocal, decode.EndLocal)
	})
}

// endless is a reader of zeros.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}
