package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"sync"
	"syscall"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// An engineServer stands between a client of Engine.IO, which polls, and a player that
// plays the server of the session as one of WebSocket.
type engineServer struct {
	*cast
	e      *engineIO
	player net.Conn // leads to the player
	in     *bufio.Reader
	pumped chan struct{} // closed when all that the player sends has been passed on

	writing sync.Mutex // held while packets are handed to the player

	mu       sync.Mutex
	numbers  []int64 // of exchanges to come
	queue    []packet
	changed  chan struct{} // closed when something below has changed, and made anew
	polls    int           // that have come
	probed   bool          // an upgrade is under way
	conn     net.Conn      // for that; nil for none
	upgraded net.Conn      // the WebSocket connection; nil while the client polls
	sess     *decode.Session
	closed   bool // by the client
	over     bool // the player sends no more
}

// serveEngine answers a request of a session of Engine.IO. ok is false if it is none of
// them.
func (c *cast) serveEngine(ctx context.Context, conn net.Conn, req *decode.Head, b []byte) (a answering, ok bool) {
	transport, sid, ok := engineQuery(req)
	if !ok {
		return a, false
	}
	c.mu.Lock()
	s := c.engines[sid]
	c.mu.Unlock()
	switch {
	case sid == "" && transport == "polling" && req.Method == "GET":
		if s = c.openEngine(req); s == nil {
			return a, false
		}
		return s.open(ctx, conn, req, b), true
	case s == nil:
		return a, false
	case decode.AsksForWebSocket(req):
		if s.e.refused {
			return a, false
		}
		return s.upgrade(conn, req, b), true
	case transport != "polling":
		return a, false
	case req.Method == "GET":
		return s.poll(ctx, conn, req, b), true
	case req.Method == "POST":
		return s.post(conn, req, b), true
	}
	return a, false
}

// openEngine takes a session that is opened by req; nil for none.
func (c *cast) openEngine(req *decode.Head) *engineServer {
	asked := asHandshake(req)
	c.mu.Lock()
	part := -1
	for i, s := range c.scripts {
		if s.engine != nil && !c.taken[i] && (c.how.update || s.checkRequest(asked, c.values) == nil) {
			part = i
			break
		}
	}
	if part < 0 {
		c.mu.Unlock()
		return nil
	}
	c.taken[part], c.requests[part] = true, asked
	c.progress = time.Now()
	c.mu.Unlock()
	ours, theirs := memconn.Pipe()
	script := c.scripts[part]
	s := &engineServer{cast: c, e: script.engine, player: ours, in: bufio.NewReader(ours), pumped: make(chan struct{}), changed: make(chan struct{}), numbers: script.engine.numbers}
	c.group.Go(func() {
		err := script.play(c.ctx, theirs, performance{how: c.how.quiet(), role: decode.FromServer, wrapUp: c.wrapUp, cast: c, part: part, seat: &part})
		<-s.pumped
		s.mu.Lock()
		if s.conn != nil {
			s.conn.SetReadDeadline(time.Now())
		}
		s.mu.Unlock()
		c.leave(part, err)
	})
	return s
}

// open answers the request that opens the session.
func (s *engineServer) open(ctx context.Context, conn net.Conn, req *decode.Head, b []byte) answering {
	content, rest, _, err := readBody(decode.RequestBody(req), b, maxSent, func() ([]byte, error) { return readSome(conn, s.how.stall) }, func(int) {})
	sess := s.record(conn, req)
	defer func() { sess.Done(s.how.clock.Now()) }()
	if err == nil {
		sess.Body(decode.FromClient, s.how.clock.Now(), content, true)
		_, err = s.player.Write(asHandshake(req).Append(nil))
	}
	var head []byte
	if err == nil {
		head, err = readHeadOf(s.in)
	}
	var res *decode.Head
	if err == nil {
		res, err = decode.ParseResponse(string(head))
	}
	if err == nil && res.Status != 101 { // what is wrong with the request
		body, _ := io.ReadAll(s.in)
		close(s.pumped)
		head = append(head, body...)
		sess.Data(decode.FromServer, s.how.clock.Now(), head)
		s.write(conn, head)
		return answering{answered: true}
	}
	if err != nil {
		s.player.Close()
		close(s.pumped)
		return answering{answered: true}
	}
	s.group.Go(s.pump)
	for {
		s.mu.Lock()
		changed, list, over := s.changed, s.queue, s.over
		if len(list) > 0 { // the client may ask for more before we have seen that it has this
			s.queue = list[1:]
		}
		s.mu.Unlock()
		if len(list) > 0 {
			s.cast.mu.Lock()
			if s.engines == nil {
				s.engines = map[string]*engineServer{}
			}
			s.engines[sidOf(list[0])] = s
			s.cast.mu.Unlock()
			goesOn := s.answer(conn, sess, req, s.e.opening, res, list[:1])
			return answering{rest: rest, answered: true, goesOn: goesOn}
		}
		if over || !s.wait(ctx, changed, nil) {
			return answering{answered: true}
		}
	}
}

// wait waits for a change. It reports false if the play is over.
func (s *engineServer) wait(ctx context.Context, changed <-chan struct{}, limit <-chan time.Time) bool {
	select {
	case <-changed:
	case <-limit:
	case <-ctx.Done():
		return false
	case <-s.ctx.Done():
		return false
	}
	return true
}

// change tells those who wait to look again. It is called with mu locked.
func (s *engineServer) change() {
	close(s.changed)
	s.changed = make(chan struct{})
}

// noopPause is how often a poll is answered while the client wants to upgrade, so that it
// can.
const noopPause = 50 * time.Millisecond

// poll answers a request for packets, when there are some.
func (s *engineServer) poll(ctx context.Context, conn net.Conn, req *decode.Head, b []byte) answering {
	content, rest, _, err := readBody(decode.RequestBody(req), b, maxSent, func() ([]byte, error) { return readSome(conn, s.how.stall) }, func(int) {})
	if err != nil {
		return answering{answered: true}
	}
	sess := s.record(conn, req)
	defer func() { sess.Done(s.how.clock.Now()) }()
	sess.Body(decode.FromClient, s.how.clock.Now(), content, true)
	s.mu.Lock()
	s.polls++
	mine := s.polls
	s.change() // a poll before this one is given up
	s.mu.Unlock()
	template := s.e.opening
	if len(s.e.polls) > 0 && s.e.polls[0].answered() {
		template = s.e.polls[0]
	}
	head := s.cast.values.putHead(template.final().Head)
	var due time.Time // when a client that upgrades gets an empty answer
	timer := time.NewTimer(time.Hour)
	defer timer.Stop()
	for {
		var list []packet
		s.mu.Lock()
		switch {
		case mine < s.polls, s.upgraded != nil, s.closed && len(s.queue) == 0, s.probed && !due.IsZero() && !time.Now().Before(due) && len(s.queue) == 0:
			list = []packet{{ws.OpText, []byte(packetNoop)}}
		case len(s.queue) > 0:
			list, s.queue = s.queue, nil
		case s.over:
			list = []packet{{ws.OpText, []byte(packetClose)}}
		case s.probed && due.IsZero():
			due = time.Now().Add(noopPause)
			timer.Reset(noopPause)
		}
		changed := s.changed
		s.mu.Unlock()
		switch {
		case len(list) == 0 && s.wait(ctx, changed, timer.C):
			continue
		case len(list) == 0:
			return answering{answered: true}
		case s.answer(conn, sess, req, template, head, list):
			return answering{rest: rest, answered: true, goesOn: true}
		}
		s.mu.Lock()
		if !list[0].is(packetNoop) { // it gets them by another
			s.queue = append(list, s.queue...)
			s.change()
		}
		s.mu.Unlock()
		return answering{answered: true}
	}
}

// post takes packets of the client.
func (s *engineServer) post(conn net.Conn, req *decode.Head, b []byte) answering {
	content, rest, _, err := readBody(decode.RequestBody(req), b, maxSent, func() ([]byte, error) { return readSome(conn, s.how.stall) }, func(int) { s.gotOn() })
	if err != nil {
		return answering{answered: true}
	}
	sess := s.record(conn, req)
	defer func() { sess.Done(s.how.clock.Now()) }()
	sess.Body(decode.FromClient, s.how.clock.Now(), content, true)
	plain, known := contentOf(req, content)
	list, ok := splitPayload(plain)
	if !known || !ok {
		text := "no packets of Engine.IO\n"
		s.write(conn, fmt.Appendf(nil, "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%s", len(text), text))
		return answering{answered: true}
	}
	head := &decode.Head{Proto: "HTTP/1.1", Status: 200, Reason: "OK", Fields: []decode.Field{{Name: "Content-Type", Value: "text/html"}}}
	body := []byte("ok")
	template := s.e.opening
	if len(s.e.posts) > 0 && s.e.posts[0].answered() {
		template = s.e.posts[0]
		head = s.cast.values.putHead(template.final().Head)
		if content, known := contentOf(template.final().Head, template.plain.bodies[decode.FromServer].bytes()); known {
			body = content
		}
	}
	s.writing.Lock() // the packets keep their order, and the play may end with them
	goesOn := s.send(conn, sess, req, template, head, body)
	for _, p := range list {
		s.player.Write(appendFrame(nil, 0x80|byte(p.op), p.data, true, [4]byte{}))
		if p.is(packetClose) {
			s.mu.Lock()
			s.closed = true
			s.change()
			s.mu.Unlock()
			s.player.(*memconn.Conn).CloseWrite()
		}
	}
	s.writing.Unlock()
	return answering{rest: rest, answered: true, goesOn: goesOn}
}

// answer answers a request with packets.
func (s *engineServer) answer(conn net.Conn, sess *decode.Session, req *decode.Head, template *Script, head *decode.Head, list []packet) bool {
	return s.send(conn, sess, req, template, head, appendPayload(nil, list))
}

// send answers a request, as one of the recording was answered. It reports whether that
// has gone.
func (s *engineServer) send(conn net.Conn, sess *decode.Session, req *decode.Head, template *Script, head *decode.Head, body []byte) bool {
	recorded := template.final()
	h := parsed(head, "Connection", "Upgrade", "Keep-Alive", "Sec-WebSocket-Accept", "Content-Length", "Content-Encoding", "Transfer-Encoding", "Etag")
	h.Status, h.Reason = 200, "OK"
	for _, name := range []string{"Content-Type", "Vary", "Date"} { // which the handshake does without
		if v, ok := recorded.Lookup(name); ok {
			h = h.WithField(name, v)
		}
	}
	h = h.WithField("Content-Length", strconv.Itoa(len(body)))
	if v := h.Get("Access-Control-Allow-Origin"); v != "" {
		own := (&attendance{s: template, req: req}).ownAddress()
		h = h.WithValue("Access-Control-Allow-Origin", string(put([]byte(v), own)))
	}
	if !req.KeepAlive() {
		h = h.WithField("Connection", "close")
	}
	out := append(h.Append(nil), body...)
	sess.Data(decode.FromServer, s.how.clock.Now(), out)
	return s.write(conn, out)
}

// record begins a session for events of a request.
func (s *engineServer) record(conn net.Conn, req *decode.Head) *decode.Session {
	s.mu.Lock()
	number := s.nextNumber(&s.numbers)
	s.mu.Unlock()
	now := s.how.clock.Now()
	sess := &decode.Session{Sink: s.how.events.sink(), Look: decode.Look{Bodies: maxSent}}
	info := decode.Info{Conn: number, Time: now, Client: conn.RemoteAddr().String(), Server: conn.LocalAddr().String(),
		URL: urlOf(conn, req.Get("Host"), originForm(req.Target), decode.AsksForWebSocket(req))}
	if t := tlsOf(conn); t != nil {
		info.ClientTLS = tlswire.Info(t.ConnectionState())
	}
	sess.Open(info)
	sess.Head(decode.FromClient, now, req, nil)
	return sess
}

// write writes to the client, and reports whether that takes it.
func (s *engineServer) write(conn net.Conn, b []byte) bool {
	conn.SetWriteDeadline(time.Now().Add(s.how.stall))
	_, err := conn.Write(b)
	return err == nil
}

// upgrade goes on with the session on a WebSocket connection.
func (s *engineServer) upgrade(conn net.Conn, req *decode.Head, b []byte) answering {
	s.mu.Lock()
	taken := s.upgraded != nil || s.probed
	if !taken {
		s.probed, s.conn = true, conn
	}
	s.change()
	s.mu.Unlock()
	if taken {
		return answering{answered: true}
	}
	s.group.Go(func() {
		stop := context.AfterFunc(s.ctx, func() { conn.Close() })
		defer stop()
		defer linger(conn)
		s.talk(conn, req, b)
	})
	return answering{takenOver: true, answered: true}
}

// talk plays the session on a WebSocket connection, once the client has said that it
// comes there.
func (s *engineServer) talk(conn net.Conn, req *decode.Head, b []byte) {
	sess := s.record(conn, req)
	defer func() { sess.Done(s.how.clock.Now()) }()
	up := s.e.upgrade
	res := &decode.Head{Proto: "HTTP/1.1", Status: 101, Reason: "Switching Protocols", Fields: []decode.Field{{Name: "Upgrade", Value: "websocket"}, {Name: "Connection", Value: "Upgrade"},
		{Name: "Sec-WebSocket-Accept", Value: ""}}}
	if up != nil && len(up.replies) > 0 {
		res = parsed(s.cast.values.putHead(up.final().Head), "Sec-WebSocket-Extensions") // messages go as they are
	}
	out := res.WithField("Sec-WebSocket-Accept", decode.AcceptKey(req.Get("Sec-WebSocket-Key"))).Append(nil)
	sess.Data(decode.FromServer, s.how.clock.Now(), out)
	if !s.write(conn, out) {
		return
	}
	in := bufio.NewReader(&tapped{Conn: &begun{conn, b}, told: func(b []byte) { sess.Data(decode.FromClient, s.how.clock.Now(), b) }})
	for {
		op, data, err := readMessage(in)
		p := packet{op, data}
		switch {
		case err != nil || op == ws.OpClose: // it polls on
			s.mu.Lock()
			s.probed = false
			s.mu.Unlock()
			return
		case p.is(packetProbe):
			frame := appendFrame(nil, 0x81, []byte(packetProbed), false, [4]byte{})
			sess.Data(decode.FromServer, s.how.clock.Now(), frame)
			s.write(conn, frame)
			continue
		case !p.is(packetUpgrade):
			continue
		}
		break
	}
	s.mu.Lock()
	var frames []byte
	for _, p := range s.queue {
		frames = appendFrame(frames, 0x80|byte(p.op), p.data, false, [4]byte{})
	}
	if len(frames) > 0 {
		sess.Data(decode.FromServer, s.how.clock.Now(), frames)
		s.write(conn, frames)
	}
	s.queue, s.upgraded, s.sess = nil, conn, sess
	if s.over {
		closeWrite(conn)
	}
	s.change()
	s.mu.Unlock()
	s.writing.Lock()
	_, err := io.Copy(s.player, onlyReader{in})
	if err == nil {
		s.player.(*memconn.Conn).CloseWrite()
		sess.End(decode.FromClient, s.how.clock.Now(), decode.EndFIN, "")
	} else if errors.Is(err, syscall.ECONNRESET) {
		s.player.(*memconn.Conn).Reset()
		sess.End(decode.FromClient, s.how.clock.Now(), decode.EndRST, "")
	}
	s.writing.Unlock()
	<-s.pumped
}

// pump passes on what the player sends.
func (s *engineServer) pump() {
	defer close(s.pumped)
	var message []byte
	var op ws.OpCode
	for {
		h, payload, err := nextFrame(s.in)
		if err != nil {
			s.ended(err)
			return
		}
		s.mu.Lock()
		conn, sess := s.upgraded, s.sess
		if conn == nil {
			switch {
			case h.OpCode == ws.OpClose:
				s.over = true
			case h.OpCode.IsControl():
			default:
				if h.OpCode != ws.OpContinuation {
					op, message = h.OpCode, nil
				}
				if message = append(message, payload...); h.Fin {
					s.queue = append(s.queue, packet{op, message})
				}
			}
			s.change()
			s.mu.Unlock()
			continue
		}
		s.mu.Unlock()
		frame := appendFrame(nil, flagsOf(h), payload, false, [4]byte{})
		sess.Data(decode.FromServer, s.how.clock.Now(), frame)
		s.write(conn, frame)
	}
}

// ended notes that the player sends no more.
func (s *engineServer) ended(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over = true
	if s.upgraded != nil {
		if errors.Is(err, syscall.ECONNRESET) {
			if c, ok := underTLS(s.upgraded).(*net.TCPConn); ok {
				c.SetLinger(0)
			}
			s.sess.End(decode.FromServer, s.how.clock.Now(), decode.EndRST, "")
			underTLS(s.upgraded).Close()
		} else {
			s.sess.End(decode.FromServer, s.how.clock.Now(), decode.EndFIN, "")
			closeWrite(s.upgraded)
		}
	}
	s.change()
}
