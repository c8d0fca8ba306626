package proxy

import (
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A pipe is bytes in memory on their way from who writes to who reads, with no
// connection below: a destination of one relay, and a source of the next.
type pipe struct {
	chunks chan []byte
	ended  chan struct{} // closed after the end
	once   sync.Once
	err    error // how it ended, valid after ended

	b        []byte // unread
	at       time.Time
	deadline time.Time
}

func newPipe() *pipe {
	return &pipe{chunks: make(chan []byte), ended: make(chan struct{})}
}

func (p *pipe) Write(b []byte) (int, error) {
	select {
	case p.chunks <- append([]byte(nil), b...):
		return len(b), nil
	case <-p.ended:
		return 0, syscall.EPIPE
	}
}

func (p *pipe) endLike(err error) {
	p.once.Do(func() { p.err = err; close(p.ended) })
}

func (p *pipe) unread() []byte    { return p.b }
func (p *pipe) use(n int)         { p.b = p.b[n:] }
func (p *pipe) readAt() time.Time { return p.at }

func (p *pipe) SetReadDeadline(t time.Time) error { p.deadline = t; return nil }

func (p *pipe) fill() error {
	var late <-chan time.Time
	if !p.deadline.IsZero() {
		late = time.After(time.Until(p.deadline))
	}
	defer func() { p.at = time.Now() }()
	select {
	case b := <-p.chunks:
		p.b = append(p.b, b...)
		return nil
	case <-p.ended:
		return p.err
	case <-late:
		return os.ErrDeadlineExceeded
	}
}

// want waits for s.
func (p *pipe) want(t *testing.T, what, s string) {
	t.Helper()
	for len(p.b) < len(s) {
		if err := p.fill(); err != nil {
			t.Fatalf("%s: got %s and %v, want %s", what, short(string(p.b)), err, short(s))
		}
	}
	if got := string(p.b[:len(s)]); got != s {
		t.Fatalf("%s: got %s, want %s", what, short(got), short(s))
	}
	p.use(len(s))
}

// newUpgraded returns a session, number 1, after its handshake.
func newUpgraded(sink decode.Sink) *session {
	s := new(session)
	s.Sink = decode.Shared(sink)
	s.Session.Open(decode.Info{Conn: 1, Time: time.Now()})
	s.Upgraded()
	return s
}

// What is relayed need not be a connection: pipes in memory are, bytes and ends
// alike, and so is a pipe to a connection.
func TestRelayOverPipes(t *testing.T) {
	for how, end := range map[decode.End]error{
		decode.EndFIN:    io.EOF,
		decode.EndRST:    syscall.ECONNRESET,
		decode.EndTLSEOF: io.ErrUnexpectedEOF,
		decode.EndLocal:  net.ErrClosed,
	} {
		t.Run(how.String(), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				rec := newRecord()
				s := newUpgraded(rec)
				up, down := [2]*pipe{newPipe(), newPipe()}, [2]*pipe{newPipe(), newPipe()}
				toServer := relay{dir: decode.FromClient, src: up[0], dst: up[1], session: s}
				toClient := relay{dir: decode.FromServer, src: down[0], dst: down[1], session: s}
				var both sync.WaitGroup
				var errs [2]error
				both.Go(func() { errs[0] = toServer.run() })
				both.Go(func() { errs[1] = toClient.run() })

				io.WriteString(up[0], masked("hello")[:8])
				up[1].want(t, "a part of a frame goes on at once", masked("hello")[:8])
				time.Sleep(2 * flushAfter)
				io.WriteString(up[0], masked("hello")[8:])
				up[1].want(t, "the rest of it", masked("hello")[8:])
				io.WriteString(down[0], text("hi")+text("there"))
				down[1].want(t, "two frames", text("hi")+text("there"))
				up[0].endLike(end)
				<-up[1].ended
				io.WriteString(down[0], text("still here"))
				down[1].want(t, "the other way is open", text("still here"))
				down[0].endLike(io.EOF)
				both.Wait()
				if up[1].err != end || down[1].err != io.EOF || errs != [2]error{end, io.EOF} {
					t.Errorf("got ends %v and %v, %v, want %v and EOF", up[1].err, down[1].err, errs, end)
				}
				toldEnd := "> end " + how.String()
				rec.wantLines(t, 1, "open", "> text 5 0-2", "> text 5 2-5", "< text 2", "< text 5", toldEnd, "< text 10", "< end fin")
			})
		})
	}
	t.Run("to a connection", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			in, s := newPipe(), newUpgraded(nil)
			ours, server := memPipe(1, 2)
			r := relay{dir: decode.FromClient, src: in, dst: newLeg(ours), session: s}
			done := make(chan error)
			go func() { done <- r.run() }()
			frame := string(ws.MustCompileFrame(ws.NewBinaryFrame([]byte(strings.Repeat("x", 1<<20)))))
			go func() { io.WriteString(in, frame); in.endLike(io.EOF) }()
			p := &peer{t: t, name: "server", Conn: server, timeless: true}
			p.wantRest("a frame and the end", frame, decode.EndFIN)
			if err := <-done; err != io.EOF {
				t.Errorf("got %v, want EOF", err)
			}
			ours.Close()
			server.Close()
		})
	})
	t.Run("nobody reads", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			rec := newRecord()
			in, out := newPipe(), newPipe()
			r := relay{dir: decode.FromClient, src: in, dst: out, session: newUpgraded(rec)}
			done := make(chan error)
			go func() { done <- r.run() }()
			out.endLike(io.EOF)
			io.WriteString(in, masked("lost"))
			if err := <-done; !errors.Is(err, errWrite) {
				t.Errorf("got %v, want that the write failed", err)
			}
			evs, _ := rec.snapshot(1)
			if got := lineOf(evs[len(evs)-1]); got != "> end drop" {
				t.Errorf("got %q, want that it was dropped", got)
			}
		})
	})
}
