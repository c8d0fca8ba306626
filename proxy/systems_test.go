package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// An end is one end of a WebSocket connection, client or server. It keeps what
// it sends and gets, a line a frame.
type end struct {
	net.Conn
	in        *bufio.Reader
	masks     bool // it is a client
	mu        sync.Mutex
	sent, got []string
	over      chan struct{} // of a server: closed when it is done with the connection
}

func lineOfFrame(op ws.OpCode, fin bool, payload []byte) string {
	line := fmt.Sprintf("%s %q", decode.OpName(op), payload)
	if !fin {
		line += " …"
	}
	return line
}

// send sends one frame. Several goroutines may call it.
func (e *end) send(op ws.OpCode, fin bool, payload string) error {
	e.mu.Lock()
	defer e.mu.Unlock()
	f := ws.NewFrame(op, fin, []byte(payload))
	if e.masks {
		f = ws.MaskFrame(f)
	}
	e.sent = append(e.sent, lineOfFrame(op, fin, []byte(payload)))
	return ws.WriteFrame(e.Conn, f)
}

func (e *end) text(s string) error { return e.send(ws.OpText, true, s) }

// next returns the next frame.
func (e *end) next() (op ws.OpCode, payload string, err error) {
	h, err := ws.ReadHeader(e.in)
	if err != nil {
		return 0, "", err
	}
	b := make([]byte, h.Length)
	if _, err := io.ReadFull(e.in, b); err != nil {
		return 0, "", err
	}
	if h.Masked {
		ws.Cipher(b, h.Mask, 0)
	}
	e.got = append(e.got, lineOfFrame(h.OpCode, h.Fin, b))
	return h.OpCode, string(b), nil
}

// want reads frames and compares them with the lines.
func (e *end) want(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		_, _, err := e.next()
		if err != nil {
			t.Fatalf("got %v, want %s", err, line)
		}
		if got := e.got[len(e.got)-1]; got != line {
			t.Fatalf("got %s, want %s", got, line)
		}
	}
}

func closing(code ws.StatusCode, reason string) string {
	return string(ws.NewCloseFrameBody(code, reason))
}

// leave closes the connection as a client does.
func (e *end) leave(t *testing.T, reason string) {
	t.Helper()
	if err := e.send(ws.OpClose, true, closing(1000, reason)); err != nil {
		t.Fatal(err)
	}
	for {
		op, _, err := e.next()
		if err != nil {
			t.Fatalf("got %v, want a close frame", err)
		}
		if op == ws.OpClose {
			break
		}
	}
	if _, err := e.in.ReadByte(); err != io.EOF {
		t.Errorf("after the close frame: got %v, want the end", err)
	}
	e.Close()
}

// A system is a server of the kind that people write.
type system struct {
	t    *testing.T
	mu   sync.Mutex
	ends []*end // in the order in which they were accepted
}

// serve handles upgraded connections by handle, and answers 400 to requests
// that do not ask for websocket.
func (sys *system) serve(l net.Listener, protocol string, handle func(e *end, path string)) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			in := bufio.NewReader(c)
			r, err := http.ReadRequest(in)
			if err != nil {
				return
			}
			if r.Header.Get("Upgrade") != "websocket" {
				io.WriteString(c, "HTTP/1.1 400 Bad Request\r\nContent-Length: 10\r\nConnection: close\r\n\r\nwebsocket\n")
				return
			}
			fmt.Fprintf(c, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n%s\r\n",
				decode.AcceptKey(r.Header.Get("Sec-WebSocket-Key")), protocol)
			e := &end{Conn: c, in: in, over: make(chan struct{})}
			defer close(e.over)
			sys.mu.Lock()
			sys.ends = append(sys.ends, e)
			sys.mu.Unlock()
			handle(e, r.URL.RequestURI())
		}()
	}
}

// join opens a client's connection through the proxy.
func (r *rig) join(path, more string) *end {
	r.t.Helper()
	p := r.dial()
	p.Write([]byte(r.request("GET " + path + " HTTP/1.1\r\nHost: " + r.host() + "\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n" + more + "\r\n")))
	in := bufio.NewReader(p.Conn)
	res, err := http.ReadResponse(in, nil)
	if err != nil || res.StatusCode != 101 || res.Header.Get("Sec-WebSocket-Accept") != "C/0nmHhBztSRGR1CwL6Tf4ZjwpY=" {
		r.t.Fatalf("got %v, %v, want a 101", res, err)
	}
	return &end{Conn: p.Conn, in: in, masks: true}
}

// wantRecorded compares the frames of each session with what both ends say.
func (sys *system) wantRecorded(r *rig, clients ...*end) {
	r.t.Helper()
	for i, c := range clients {
		sys.mu.Lock()
		s := sys.ends[i]
		sys.mu.Unlock()
		<-s.over
		conn := int64(i + 1)
		r.wait(r.t, conn, "closed")
		evs, _ := r.snapshot(conn)
		var frames [2][]string
		for _, ev := range evs {
			if f := ev.Frame; f != nil {
				frames[ev.Dir] = append(frames[ev.Dir], lineOfFrame(f.OpCode, f.Fin, f.AppendPayload(nil, -1)))
			}
		}
		for _, cmp := range []struct {
			what      string
			got, want []string
		}{
			{"recorded of the client, and what it sent", frames[decode.FromClient], c.sent},
			{"recorded of the client, and what the server got", frames[decode.FromClient], s.got},
			{"recorded of the server, and what it sent", frames[decode.FromServer], s.sent},
			{"recorded of the server, and what the client got", frames[decode.FromServer], c.got},
		} {
			if !slices.Equal(cmp.got, cmp.want) {
				r.t.Errorf("session %d: %s:\n%q\n%q", conn, cmp.what, cmp.got, cmp.want)
			}
		}
	}
}

// violations returns the ids of the rules broken in a session, by side.
func (r *rig) violations(conn int64) []string {
	var ids []string
	evs, _ := r.snapshot(conn)
	for _, ev := range evs {
		for _, v := range ev.Violations {
			if v.Severity == decode.SeverityError {
				ids = append(ids, v.From.String()+" "+string(v.ID))
			}
		}
	}
	return ids
}

// A room is a chat that tells everybody of everybody.
type room struct {
	mu      sync.Mutex
	members []*end
}

func (rm *room) tell(s string) {
	rm.mu.Lock()
	defer rm.mu.Unlock()
	for _, e := range rm.members {
		e.text(s)
	}
}

// visit lets e in until it leaves.
func (rm *room) visit(e *end, joined, welcome, said, left string) {
	rm.mu.Lock()
	rm.members = append(rm.members, e)
	rm.mu.Unlock()
	rm.tell(joined)
	if welcome != "" {
		e.text(welcome)
	}
	for {
		op, payload, err := e.next()
		switch {
		case err != nil:
			return
		case op == ws.OpText:
			rm.tell(said + payload)
		case op == ws.OpClose:
			rm.mu.Lock()
			rm.members = slices.DeleteFunc(rm.members, func(m *end) bool { return m == e })
			rm.mu.Unlock()
			e.send(ws.OpClose, true, payload)
			rm.tell(left)
			return
		}
	}
}

func TestChats(t *testing.T) {
	for _, chat := range []struct {
		name                        string
		joined, welcome, said, left string // NAME stands for the name
	}{
		{"a welcome", "NAME joined.", "Welcome NAME.", "NAME says: ", "NAME left."},
		{"no welcome", "NAME has connected.", "", "NAME said: ", "NAME has gone away."},
	} {
		t.Run(chat.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, r *rig) {
				var rm room
				sys := &system{t: t}
				go sys.serve(r.origin, "", func(e *end, path string) {
					as := strings.NewReplacer("NAME", strings.TrimPrefix(path, "/chat?name="))
					rm.visit(e, as.Replace(chat.joined), as.Replace(chat.welcome), as.Replace(chat.said), as.Replace(chat.left))
				})
				line := func(phrase, name, more string) string {
					return fmt.Sprintf("text %q", strings.ReplaceAll(phrase, "NAME", name)+more)
				}
				arrive := func(name string) []string {
					lines := []string{line(chat.joined, name, "")}
					if chat.welcome != "" {
						lines = append(lines, line(chat.welcome, name, ""))
					}
					return lines
				}
				ronald := r.join("/chat?name=Ronald", "")
				ronald.want(t, arrive("Ronald")...)
				john := r.join("/chat?name=John", "")
				john.want(t, arrive("John")...)
				ronald.want(t, line(chat.joined, "John", ""))
				john.text("Grüße")
				john.want(t, line(chat.said, "John", "Grüße"))
				ronald.want(t, line(chat.said, "John", "Grüße"))
				ronald.send(ws.OpPong, true, "")
				john.leave(t, "Closing")
				ronald.want(t, line(chat.left, "John", ""))
				ronald.leave(t, "")
				sys.wantRecorded(r, ronald, john)
				for conn := int64(1); conn <= 2; conn++ {
					if v := r.violations(conn); v != nil {
						t.Errorf("session %d: got violations %q, want none", conn, v)
					}
				}
			})
		})
	}
}

func TestCountingEcho(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		sys := &system{t: t}
		go sys.serve(r.origin, "", func(e *end, _ string) {
			for count := 1; ; count++ {
				op, payload, err := e.next()
				if err != nil {
					return
				}
				if op == ws.OpClose {
					e.send(op, true, payload)
					return
				}
				e.text(fmt.Sprintf("%d %s", count, payload))
			}
		})
		c := r.join("/", "")
		for i, s := range []string{"one", "", "three"} {
			c.text(s)
			c.want(t, fmt.Sprintf("text %q", fmt.Sprintf("%d %s", i+1, s)))
		}
		c.leave(t, "")
		sys.wantRecorded(r, c)
	})
}

// TestPiecewiseEcho has a server that reads six bytes at a time and sends each
// piece as a frame: as one fragmented message, or as a text frame each with FIN
// as it was received, which is wrong.
func TestPiecewiseEcho(t *testing.T) {
	tests := []struct {
		name  string
		op    func(piece int) ws.OpCode
		frame string // its name from the second piece on
		rules []string
	}{
		{"right", func(i int) ws.OpCode {
			if i > 0 {
				return ws.OpContinuation
			}
			return ws.OpText
		}, "cont", nil},
		{"wrong", func(int) ws.OpCode { return ws.OpText }, "text", []string{"server frag-interleaved"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			eachMode(t, func(t *testing.T, r *rig) {
				sys := &system{t: t}
				go sys.serve(r.origin, "Sec-WebSocket-Protocol: echo\r\n", func(e *end, _ string) {
					for {
						op, payload, err := e.next()
						if err != nil {
							return
						}
						if op == ws.OpClose {
							e.send(op, true, closing(1000, "Closing"))
							return
						}
						for i := 0; payload != ""; i++ {
							piece := payload[:min(6, len(payload))]
							payload = payload[len(piece):]
							e.send(tt.op(i), payload == "", piece)
						}
					}
				})
				c := r.join("/echo", "Sec-WebSocket-Protocol: echo, chat\r\n")
				c.text("WebSocket rocks")
				c.want(t, `text "WebSoc" …`, tt.frame+` "ket ro" …`, tt.frame+` "cks"`)
				c.leave(t, "Closing")
				sys.wantRecorded(r, c)
				if got := slices.Compact(r.violations(1)); !slices.Equal(got, tt.rules) {
					t.Errorf("got violations %q, want %q", got, tt.rules)
				}
				evs, _ := r.snapshot(1)
				if h := evs[len(evs)-1].Handshake; h.Subprotocol != "echo" {
					t.Errorf("got subprotocol %q, want echo", h.Subprotocol)
				}
			})
		})
	}
}

// TestHandlers has a server that answers 400 to a request that is none for
// websocket, and greets those that are.
func TestHandlers(t *testing.T) {
	eachMode(t, func(t *testing.T, r *rig) {
		sys := &system{t: t}
		go sys.serve(r.origin, "", func(e *end, _ string) {
			e.text("This is for all connected clients...")
			e.text("Hello from: " + e.LocalAddr().String())
			if op, payload, err := e.next(); err == nil {
				e.send(op, true, payload)
			}
		})
		c := r.join("/", "")
		c.want(t, `text "This is for all connected clients..."`, fmt.Sprintf("text %q", "Hello from: "+r.host()))
		c.leave(t, "")
		sys.wantRecorded(r, c)

		p := r.dial()
		p.send(r.request("GET /plain HTTP/1.1\r\nHost: " + r.host() + "\r\n\r\n"))
		p.wantRest("the refusal", "HTTP/1.1 400 Bad Request\r\nContent-Length: 10\r\nConnection: close\r\n\r\nwebsocket\n", decode.EndFIN)
		p.Close()
		r.wait(t, 2, "closed")
		evs, _ := r.snapshot(2)
		if h := evs[len(evs)-1].Handshake; h.WebSocket || h.Response.Status != 400 {
			t.Errorf("got %v, %v, want a plain exchange with status 400", h.WebSocket, h.Response)
		}
	})
}
