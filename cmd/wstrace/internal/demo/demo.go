// Package demo is a chat that people can watch: a server, three clients and the
// proxy between them, in one process and over real sockets.
package demo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

const (
	limit = 30 * time.Second      // on the whole chat, which takes about one second
	pause = 60 * time.Millisecond // between two acts, for whoever watches
)

// Run plays the chat through a proxy whose sessions look into what look says,
// hands their events to sink, and returns when everybody has left. The sink
// takes one event at a time; if others use it meanwhile, let it be a
// [decode.Tee]. Run returns early with the error of ctx
// when that ends. Nothing of it runs on when Run has returned.
func Run(ctx context.Context, sink decode.Sink, look decode.Look, log *slog.Logger) error {
	origin, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		origin.Close()
		return err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the chat takes longer than %v", limit))
	defer cancel()

	w := &watcher{sink: sink, closed: make(chan struct{}, 1)}
	p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: origin.Addr().String()}, Sink: decode.LockedWith(sink, w.Emit), Look: look, Log: log}
	var room Server
	var wg sync.WaitGroup
	var served, relayed error
	wg.Go(func() { served = room.Serve(ctx, origin) })
	wg.Go(func() { relayed = p.Serve(ctx, front) })

	s := &stage{ctx: ctx, base: "ws://" + front.Addr().String(), room: &room, closed: w.closed}
	s.play()
	early := context.Cause(ctx)
	cancel()
	wg.Wait()
	if early != nil {
		return early
	}
	return errors.Join(s.err, served, relayed)
}

// A stage has the clients on it. The first step that fails sets err, and the
// rest are skipped.
type stage struct {
	ctx    context.Context
	base   string          // where the clients connect to
	room   *Server         // that they reach; nil if it pings without being told
	closed <-chan struct{} // receives when a session is over
	cast   []*Client       // in the room, in the order in which they came
	err    error
}

// play is the script.
func (s *stage) play() {
	defer func() {
		for _, c := range s.cast {
			c.Close()
		}
	}()
	s.join("Ronald")
	s.join("John")
	s.say("John", "Good morning, Ronald!")
	s.say("Ronald", "Morning. Is Adam coming?")
	s.ping("John")
	s.join("Adam")
	s.say("Adam", "Here I am. Café at nine?")
	s.keepAlive("Adam")
	s.say("Ronald", "At nine.")
	s.leave("Ronald", "Closing")
	s.say("John", "I have to run. Bye, Adam!")
	s.leave("John", "Closing")
	s.keepAlive("Adam")
	s.leave("Adam", "Closing")
}

// join lets somebody in. The newcomer gets two frames in one segment.
func (s *stage) join(name string) {
	s.wait(pause)
	if s.err != nil {
		return
	}
	c, err := Dial(s.ctx, s.base, name)
	if err != nil {
		s.err = err
		return
	}
	s.cast = append(s.cast, c)
	s.allHear(text(name + " joined."))
	s.hears(c, text("Welcome "+name+"."))
}

func (s *stage) say(name, what string) {
	s.wait(pause)
	s.act(name, func(c *Client) error { return c.Say(what) })
	s.allHear(text(name + " says: " + what))
}

func (s *stage) keepAlive(name string) {
	s.wait(pause)
	s.act(name, (*Client).KeepAlive)
}

// ping makes the server ping somebody.
func (s *stage) ping(name string) {
	s.wait(pause)
	s.act(name, func(c *Client) error {
		if s.room == nil {
			_, err := c.Next()
			return err
		}
		pong, err := s.room.Ping(name)
		if err != nil {
			return err
		}
		if _, err := c.Next(); err != nil { // the ping, which Next answers
			return err
		}
		return s.until(pong)
	})
}

// leave sends somebody away, and waits until the proxy has seen the end of it.
func (s *stage) leave(name, reason string) {
	s.wait(pause)
	s.act(name, func(c *Client) error {
		s.cast = slices.DeleteFunc(s.cast, func(o *Client) bool { return o == c })
		if err := c.Leave(reason); err != nil {
			return err
		}
		return s.until(s.closed)
	})
	s.allHear(text(name + " left."))
}

// act has a client do something, unless a step has failed before.
func (s *stage) act(name string, do func(*Client) error) {
	i := slices.IndexFunc(s.cast, func(c *Client) bool { return c.Name == name })
	switch {
	case s.err != nil:
	case i < 0:
		s.err = fmt.Errorf("%s is not in the room", name)
	default:
		s.err = do(s.cast[i])
	}
}

func (s *stage) allHear(want Message) {
	for _, c := range s.cast {
		s.hears(c, want)
	}
}

// hears reads the next message to c.
func (s *stage) hears(c *Client, want Message) {
	if s.err != nil {
		return
	}
	got, err := c.Next()
	if err == nil && got != want {
		err = fmt.Errorf("%s: got %v, want %v", c.Name, got, want)
	}
	s.err = err
}

func (s *stage) until(done <-chan struct{}) error {
	select {
	case <-done:
		return nil
	case <-s.ctx.Done():
		return s.ctx.Err()
	}
}

func (s *stage) wait(d time.Duration) {
	select {
	case <-time.After(d):
	case <-s.ctx.Done():
	}
}

// A watcher tells when a session is closed, and passes everything on to a sink,
// which may be nil.
type watcher struct {
	sink   decode.Sink
	closed chan struct{}
}

func (w *watcher) Emit(ev *decode.Event) {
	if w.sink != nil {
		w.sink.Emit(ev)
	}
	if ev.Kind == decode.KindClosed {
		select {
		case w.closed <- struct{}{}:
		default: // somebody else came and went
		}
	}
}
