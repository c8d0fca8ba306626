package replay

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// An engineClient stands between a server of Engine.IO and a player that plays the client
// of the session as one of WebSocket. It polls, and upgrades when the packets have gone
// that went before in the recording.
type engineClient struct {
	*troupe
	s       *Script
	part    int
	e       *engineIO
	u       *url.URL // of the server, without a path
	player  *memconn.Conn
	in      *bufio.Reader // of what the player sends
	numbers []int64
	sid     string

	writing sync.Mutex // held while packets are handed to the player
	polling sync.WaitGroup

	mu       sync.Mutex
	err      error // the first
	upgrades bool  // no more polls
	closed   bool  // by us: how the last poll is answered says nothing
}

// performEngine plays the client of a session of Engine.IO.
func (t *troupe) performEngine(ctx context.Context, part int) error {
	s := t.scripts[part]
	u, err := url.Parse(t.rawURL)
	if err != nil {
		return err
	}
	ours, theirs := memconn.Pipe()
	c := &engineClient{troupe: t, s: s, part: part, e: s.engine, u: &url.URL{Scheme: u.Scheme, Host: u.Host}, player: ours, in: bufio.NewReader(ours), numbers: s.engine.numbers}
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := c.run(inner); err != nil && inner.Err() == nil {
			c.fail(err)
		}
	}()
	err = s.play(ctx, theirs, performance{how: t.how.playing.quiet(), role: decode.FromClient, url: c.u, cast: t.cast, part: part})
	select {
	case <-sent: // to the last byte
	case <-time.After(t.how.stall):
	case <-ctx.Done():
	}
	cancel()
	ours.Close()
	<-sent
	c.polling.Wait()
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err != nil && ctx.Err() == nil {
		return c.err
	}
	return err
}

// fail ends the session.
func (c *engineClient) fail(err error) {
	c.mu.Lock()
	if c.err == nil {
		c.err = err
	}
	c.mu.Unlock()
	c.cast.fail(c.part, err) // before the player sees that it ends
	c.player.Close()
}

// run opens the session and passes on what the player sends, until that has ended.
func (c *engineClient) run(ctx context.Context) error {
	b, err := readHeadOf(c.in)
	if err != nil {
		return nil // it ended before its turn
	}
	req, err := decode.ParseRequest(string(b))
	if err != nil {
		return err
	}
	via := &road{c: c, ctx: ctx}
	defer via.close()
	opening := parsed(req, "Upgrade", "Connection", "Sec-WebSocket-Key", "Sec-WebSocket-Version").WithField("Connection", "keep-alive")
	res, list, err := c.packets(via, c.e.opening, opening, nil)
	if err != nil {
		return err
	}
	c.sid = c.e.sid
	if len(list) > 0 && sidOf(list[0]) != "" {
		c.sid = sidOf(list[0])
	}
	c.player.Write(asUpgraded(res, decode.AcceptKey(req.Get("Sec-WebSocket-Key"))).Append(nil))
	c.take(list)
	c.polling.Go(func() {
		if err := c.poll(ctx); err != nil && ctx.Err() == nil {
			c.fail(err)
		}
	})
	return c.pass(ctx, via)
}

// take hands packets to the player.
func (c *engineClient) take(list []packet) {
	c.writing.Lock()
	defer c.writing.Unlock()
	for _, p := range list {
		if p.is(packetNoop) {
			continue
		}
		c.player.Write(appendFrame(nil, 0x80|byte(p.op), p.data, false, [4]byte{}))
	}
}

// packets performs a request and returns the packets in the answer.
func (c *engineClient) packets(via *road, recorded *Script, req *decode.Head, body []byte) (*decode.Head, []packet, error) {
	res, content, err := via.perform(req, body)
	if err != nil {
		return nil, nil, err
	}
	if res.Status != 200 {
		d := recorded.differAt(recorded.final(), "expected status 200 for %s, got %d %s", recorded.title(), res.Status, recorded.hiddenText("", res.Reason))
		if text := strings.TrimSpace(string(recorded.hidden(content))); text != "" && len(text) < maxShown {
			d.Text += fmt.Sprintf(": %q", text)
		}
		return nil, nil, d
	}
	if req.Method == "POST" {
		return res, nil, nil
	}
	plain, known := contentOf(res, content)
	list, ok := splitPayload(plain)
	if !known || !ok {
		return nil, nil, recorded.differAt(recorded.final(), "expected packets of Engine.IO in the answer to %s, got %s", recorded.title(), quoted(recorded.hidden(plain)))
	}
	return res, list, nil
}

// request returns a recorded request for the server, with the id of the session.
func (c *engineClient) request(recorded *Script) *decode.Head {
	h := recorded.request
	if recorded.edited != nil {
		h = recorded.edited
	}
	target := c.e.withSid(c.cast.values.putTarget(originForm(h.Target)), c.sid)
	return withFields(recorded.addressed(h, c.cast.values.putHead(h.Head), c.u, target), c.how.headers)
}

// template returns the first of requests, or one like that which opened the session.
func (c *engineClient) template(list []*Script, method string) (*Script, *decode.Head) {
	if len(list) > 0 {
		return list[0], parsed(c.request(list[0]), "Content-Length", "Transfer-Encoding", "Content-Encoding")
	}
	o := c.e.opening
	h := parsed(c.request(o)).WithTarget(c.cast.values.putTarget(originForm(o.request.Target)) + "&sid=" + url.QueryEscape(c.sid))
	h.Method = method
	return o, h
}

// poll fetches packets until the session is upgraded or over.
func (c *engineClient) poll(ctx context.Context) error {
	via := &road{c: c, ctx: ctx}
	defer via.close()
	recorded, req := c.template(c.e.polls, "GET")
	for {
		c.mu.Lock()
		over := c.upgrades || c.closed
		c.mu.Unlock()
		if over {
			return nil
		}
		_, list, err := c.packets(via, recorded, req, nil)
		c.mu.Lock()
		over = c.closed
		c.mu.Unlock()
		switch {
		case err != nil && over:
			return nil
		case err != nil:
			return err
		}
		c.take(list)
		if len(list) > 0 && list[len(list)-1].is(packetClose) {
			c.player.CloseWrite()
			return nil
		}
	}
}

// pass passes on the packets of the player.
func (c *engineClient) pass(ctx context.Context, via *road) error {
	recorded, req := c.template(c.e.posts, "POST")
	if _, ok := req.Lookup("Content-Type"); !ok {
		req = req.WithField("Content-Type", "text/plain;charset=UTF-8")
	}
	sent := 0
	for {
		if c.e.upgrade != nil && sent >= c.e.before {
			return c.upgrade(ctx)
		}
		var list []packet
		for len(list) == 0 || c.in.Buffered() > 0 && (c.e.upgrade == nil || sent < c.e.before) {
			op, data, err := readMessage(c.in)
			if err != nil || op == ws.OpClose {
				if op == ws.OpClose { // the player closes what the recording leaves open
					c.writing.Lock()
					c.player.Write(appendFrame(nil, 0x80|byte(ws.OpClose), data, false, [4]byte{}))
					c.player.CloseWrite()
					c.writing.Unlock()
				}
				if len(list) > 0 {
					c.packets(via, recorded, req, appendPayload(nil, list))
				}
				return nil
			}
			p := packet{op, data}
			if list = append(list, p); !p.isBeat() {
				sent++
			}
			if p.is(packetClose) {
				c.mu.Lock()
				c.closed = true
				c.mu.Unlock()
			}
		}
		if _, _, err := c.packets(via, recorded, req, appendPayload(nil, list)); err != nil {
			return err
		}
	}
}

// upgrade goes on with the session on a WebSocket connection.
func (c *engineClient) upgrade(ctx context.Context) error {
	conn, err := c.how.reach(ctx, c.u)
	if err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	defer conn.Close()
	up := c.e.upgrade
	key := newKey()
	req := parsed(c.request(up), "Sec-WebSocket-Extensions").WithValue("Sec-WebSocket-Key", key) // messages go as they are
	sess := c.record(conn, req.Target, true)
	defer func() { sess.Done(c.how.clock.Now()) }()
	send := func(b []byte) error {
		sess.Data(decode.FromClient, c.how.clock.Now(), b)
		conn.SetWriteDeadline(time.Now().Add(c.how.stall))
		_, err := conn.Write(b)
		return err
	}
	in := bufio.NewReader(&tapped{conn, func(b []byte) { sess.Data(decode.FromServer, c.how.clock.Now(), b) }})
	conn.SetReadDeadline(time.Now().Add(c.how.stall))
	var b []byte
	if err = send(req.Append(nil)); err == nil {
		b, err = readHeadOf(in)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", up.title(), err)
	}
	res, err := decode.ParseResponse(string(b))
	if err == nil && res.Status != 101 {
		return up.differAt(up.final(), "expected status 101 for %s, got %d %s", up.title(), res.Status, up.hiddenText("", res.Reason))
	}
	own := func(text string) error {
		return send(appendFrame(nil, 0x81, []byte(text), true, [4]byte{}))
	}
	if err == nil {
		err = own(packetProbe)
	}
	for p := (packet{}); err == nil && !p.is(packetProbed); {
		p.op, p.data, err = readMessage(in)
	}
	if err != nil {
		return fmt.Errorf("client waits for %q of the server: %w", packetProbed, err)
	}
	conn.SetReadDeadline(time.Time{})
	c.mu.Lock()
	c.upgrades = true
	c.mu.Unlock()
	c.polling.Wait() // the server answers the last poll
	if err := own(packetUpgrade); err != nil {
		return err
	}
	read := make(chan struct{})
	go func() {
		defer close(read)
		if _, err := io.Copy(c.player, onlyReader{in}); err == nil {
			c.player.CloseWrite()
			sess.End(decode.FromServer, c.how.clock.Now(), decode.EndFIN, "")
		} else if endOf(err) == decode.EndRST && !errors.Is(err, net.ErrClosed) {
			c.player.Reset()
			sess.End(decode.FromServer, c.how.clock.Now(), decode.EndRST, "")
		}
	}()
	for {
		h, payload, err := nextFrame(c.in)
		if err == nil {
			err = send(appendFrame(nil, flagsOf(h), payload, true, h.Mask))
		}
		if err != nil {
			break
		}
	}
	sess.End(decode.FromClient, c.how.clock.Now(), decode.EndFIN, "")
	closeWrite(conn)
	select {
	case <-read:
	case <-time.After(c.how.stall):
	}
	return nil
}

// record begins a session for events of a request for a target.
func (c *engineClient) record(conn net.Conn, target string, websocket bool) *decode.Session {
	sess := &decode.Session{Sink: c.how.events.sink(), Look: decode.Look{Bodies: maxSent}}
	c.mu.Lock()
	number := c.nextNumber(&c.numbers)
	c.mu.Unlock()
	info := decode.Info{Conn: number, Time: c.how.clock.Now(), Client: conn.LocalAddr().String(), Server: conn.RemoteAddr().String(), URL: urlOf(conn, c.u.Host, target, websocket)}
	if t := tlsOf(conn); t != nil {
		info.ServerTLS = tlswire.Info(t.ConnectionState())
	}
	sess.Open(info)
	return sess
}

// A road is a connection to the server on which requests are performed, one after the
// other.
type road struct {
	c    *engineClient
	ctx  context.Context
	conn net.Conn // nil for none
}

func (r *road) close() {
	if r.conn != nil {
		r.conn.Close()
	}
}

// perform performs a request.
func (r *road) perform(req *decode.Head, body []byte) (*decode.Head, []byte, error) {
	if req.Method == "POST" {
		req = req.WithField("Content-Length", strconv.Itoa(len(body)))
	}
	out := append(req.Append(nil), body...)
	for {
		kept := r.conn != nil
		if !kept {
			var err error
			if r.conn, err = r.c.how.reach(r.ctx, r.c.u); err != nil {
				return nil, nil, err
			}
		}
		res, content, goesOn, err := r.once(req, out)
		if err != nil || !goesOn {
			r.conn.Close()
			r.conn = nil
		}
		if kept && errors.Is(err, errClosedIdle) {
			continue
		}
		return res, content, err
	}
}

func (r *road) once(req *decode.Head, out []byte) (res *decode.Head, content []byte, goesOn bool, err error) {
	conn := r.conn // which another may replace when this is over
	stop := context.AfterFunc(r.ctx, func() { conn.Close() })
	defer stop()
	how := r.c.how
	sess := r.c.record(conn, req.Target, false)
	defer func() { sess.Done(how.clock.Now()) }()
	sess.Data(decode.FromClient, how.clock.Now(), out)
	conn.SetWriteDeadline(time.Now().Add(how.stall))
	conn.Write(out) // how the server goes on tells why not
	buf := make([]byte, 16<<10)
	read := func() ([]byte, error) {
		n, err := conn.Read(buf)
		if n > 0 {
			sess.Data(decode.FromServer, how.clock.Now(), buf[:n])
			err = nil
		}
		return buf[:n], err
	}
	var b []byte
	for decode.HeadLen(b, 0) == 0 {
		more, err := read()
		b = append(b, more...)
		switch {
		case err != nil && len(b) == 0:
			return nil, nil, false, errClosedIdle
		case err != nil:
			return nil, nil, false, err
		case len(b) > decode.MaxHead || !decode.MayBeResponse(b):
			return nil, nil, false, fmt.Errorf("expected an answer of HTTP, got %s", quoted(b))
		}
	}
	if res, err = decode.ParseResponse(string(b[:decode.HeadLen(b, 0)])); err != nil {
		return nil, nil, false, err
	}
	form := decode.ResponseBody(res, req.Method)
	untilClose := form.UntilClose()
	content, rest, cut, err := readBody(form, b[len(res.Raw):], maxSent, read, func(int) {})
	if err == io.EOF && !cut {
		err = nil
	}
	return res, content, !untilClose && !cut && len(rest) == 0 && res.KeepAlive(), err
}
