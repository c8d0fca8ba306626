package demo

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"sync"

	"github.com/gobwas/ws"
)

// A Server is a chat room at /chat?name=NAME. It says `NAME joined.` to all and
// `Welcome NAME.` to the newcomer, `NAME says: TEXT` to all for every text, and
// `NAME left.` to those who stay. The zero value is an empty room.
type Server struct {
	mu      sync.Mutex // held over writes, so that all see one order
	members []*member  // in the order in which they came; protected by mu
	pings   int        // sent so far; protected by mu
}

// A member is somebody in the room.
type member struct {
	conn
	name  string
	pongs map[string]chan struct{} // by payload of the ping; protected by Server.mu
}

// Serve lets in those who connect to l until ctx ends, then closes l and all
// connections, and returns when the last is gone.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		nc, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return fmt.Errorf("chat: %w", err)
		}
		wg.Go(func() {
			defer nc.Close()
			defer context.AfterFunc(ctx, func() { nc.Close() })()
			s.serve(nc)
		})
	}
}

// Ping sends a ping to the member with the given name. The channel is closed
// when the pong has come.
func (s *Server) Ping(name string) (pong <-chan struct{}, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i := slices.IndexFunc(s.members, func(m *member) bool { return m.name == name })
	if i < 0 {
		return nil, fmt.Errorf("ping %q: not in the room", name)
	}
	s.pings++
	payload := strconv.Itoa(s.pings)
	answered := make(chan struct{})
	s.members[i].pongs[payload] = answered
	return answered, s.tell(s.members[i], Message{ws.OpPing, payload})
}

// serve is the life of one connection.
func (s *Server) serve(nc net.Conn) {
	m := &member{conn: conn{Conn: nc, r: bufio.NewReader(nc)}, pongs: map[string]chan struct{}{}}
	up := ws.Upgrader{OnRequest: func(uri []byte) (err error) {
		m.name, err = nameFrom(string(uri))
		return err
	}}
	if _, err := up.Upgrade(nc); err != nil {
		return // answered by Upgrade
	}
	s.join(m)
	defer s.leave(m)
	for {
		msg, err := m.next()
		if err != nil {
			return
		}
		switch msg.Op {
		case ws.OpText:
			s.say(m, msg.Text)
		case ws.OpPing:
			m.send(Message{ws.OpPong, msg.Text})
		case ws.OpPong:
			s.pong(m, msg.Text)
		case ws.OpClose:
			m.send(msg)
			return
		}
	}
}

// nameFrom returns who asks to join with a request for target.
func nameFrom(target string) (string, error) {
	u, err := url.ParseRequestURI(target)
	if err != nil || u.Path != "/chat" {
		return "", ws.RejectConnectionError(ws.RejectionStatus(http.StatusNotFound),
			ws.RejectionReason("the chat is at /chat?name=NAME"))
	}
	name := u.Query().Get("name")
	if name == "" {
		return "", ws.RejectConnectionError(ws.RejectionStatus(http.StatusBadRequest),
			ws.RejectionReason("who are you? /chat?name=NAME"))
	}
	return name, nil
}

func (s *Server) join(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	joined := text(m.name + " joined.")
	s.tellAll(joined)
	s.tell(m, joined, text("Welcome "+m.name+"."))
	s.members = append(s.members, m)
}

func (s *Server) say(m *member, what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.tellAll(text(m.name + " says: " + what))
}

func (s *Server) pong(m *member, payload string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if answered := m.pongs[payload]; answered != nil {
		close(answered)
		delete(m.pongs, payload)
	}
}

func (s *Server) leave(m *member) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.members = slices.DeleteFunc(s.members, func(o *member) bool { return o == m })
	s.tellAll(text(m.name + " left."))
}

// tellAll sends msg to the members. s.mu is held.
func (s *Server) tellAll(msg Message) {
	for _, m := range s.members {
		s.tell(m, msg)
	}
}

// tell sends messages to one member, together. Who doesn't take them is cut
// off, and leaves when its reader notices. s.mu is held.
func (s *Server) tell(m *member, messages ...Message) error {
	err := m.send(messages...)
	if err != nil {
		m.Close()
	}
	return err
}
