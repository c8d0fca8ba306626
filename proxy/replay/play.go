package replay

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// PlayServer plays the server of the session on conn, and closes conn. It
// returns nil when the client did what the recorded client did. The error is
// the cause of ctx, or a [*Difference], or it wraps [ErrStalled].
func (s *Script) PlayServer(ctx context.Context, conn net.Conn) error {
	return s.play(ctx, conn, performance{role: decode.FromServer})
}

// PlayClient plays the client of the session on conn, which leads to the server
// at u, and closes conn. Its error is like that of [Script.PlayServer].
func (s *Script) PlayClient(ctx context.Context, conn net.Conn, u *url.URL) error {
	return s.play(ctx, conn, performance{role: decode.FromClient, url: u})
}

// A performance is how a session is to be played.
type performance struct {
	role  decode.Dir
	url   *url.URL        // of the server, for a client
	leave <-chan struct{} // closed: what the trace leaves open need not be waited for
	early []byte          // what was read of the connection
	cast  *cast           // the sessions that are played together; nil for one alone
	part  int             // which of them this is
}

// A player plays one side of a session on one connection. One goroutine reads
// and one writes, so that neither waits for the other unless the recording
// does.
type player struct {
	performance
	s    *Script
	peer decode.Dir
	conn net.Conn
	sess decode.Session // takes the bytes of both sides
	asm  assembler      // of the peer; used while sess is locked
	wake chan struct{}  // holds a value when something has changed for the writer

	// The writer's own.
	broken bool // writing has failed; how the peer's side goes on will tell why
	closed bool // no more frames can follow: a Close frame was sent, or junk
	bye    bool // we have closed what the recording leaves open

	leaving  bool // we need not wait for what the recording leaves open
	draining bool // but for what the peer has sent by now

	mu       sync.Mutex // protects the rest
	err      error
	over     bool      // the connection is being closed
	key      string    // that we sent
	answer   []byte    // of our handshake, to be written
	ready    bool      // the handshake is done
	refused  bool      // and it led to no WebSocket connection
	plain    bool      // compressed messages of ours are sent uncompressed
	next     int       // our next item
	written  int       // how many of ours were written
	greeted  bool      // our part of the handshake was
	inside   bool      // the last frame we sent is not complete
	replaced int       // number of our unit that goes in another form; -1 for none
	matched  []bool    // by number of the peer's units: it has come
	got      int       // how many have come, up to the first that has not
	last     int       // number of the one that came last; -1 for none
	junk     []byte    // of the peer, not compared yet
	pongs    []byte    // frames to be written: answers to pings
	drained  bool      // nothing more comes of the peer for now, and nobody reads
	ended    bool      // the peer has ended
	asked    bool      // the peer has sent a Close frame
	closing  []byte    // its payload
	found    []found   // values captured
	start    time.Time // when the handshake was done
	progress time.Time // when the replay last got on
	sent     time.Time // when we wrote what waits for an answer; zero if nothing does
}

// play plays a session on conn.
func (s *Script) play(ctx context.Context, conn net.Conn, how performance) error {
	now := time.Now()
	p := &player{performance: how, s: s, peer: how.role.Peer(), conn: conn, wake: make(chan struct{}, 1),
		matched: make([]bool, len(s.sides[how.role.Peer()].units)), replaced: -1, last: -1, progress: now}
	p.asm = assembler{exact: s.exact, emit: p.take}
	p.sess.Sink = decode.LockedWith(s.sink, p.Emit)
	p.sess.Look = decode.Look{Messages: true, Keep: maxMessage}
	number := s.number
	if p.cast == nil {
		number = s.played.Add(1)
	} else {
		p.wake = p.cast.wake[p.part]
	}
	info := decode.Info{Conn: number, Time: now, Client: conn.RemoteAddr().String(), Server: conn.LocalAddr().String()}
	if p.role == decode.FromClient {
		info.Client, info.Server = info.Server, info.Client
		info.URL = p.url.String()
	}
	p.sess.Open(info)

	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var reading sync.WaitGroup
	if p.role == decode.FromClient {
		p.hello()
	}
	reading.Go(p.read)
	p.write(ctx)
	p.mu.Lock()
	p.over = true
	p.tell()
	p.mu.Unlock()
	conn.Close()
	reading.Wait()
	p.sess.End(p.role, time.Now(), decode.EndLocal, "") // of those that have not ended
	p.sess.End(p.peer, time.Now(), decode.EndLocal, "")
	p.sess.Done(time.Now())
	if err := context.Cause(ctx); err != nil && p.err == nil && !p.completed() {
		return err
	}
	return p.err
}

// hello makes the request ready to be written.
func (p *player) hello() {
	head, body := p.s.requestFor(p.url)
	if req, err := decode.ParseRequest(string(head)); err == nil {
		p.key = req.Get("Sec-WebSocket-Key")
	}
	p.answer = append(head, body...)
}

// completed reports whether all that was recorded has been played.
func (p *player) completed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err == nil && p.ready && (p.refused || p.got == len(p.matched) && p.next == len(p.s.sides[p.role].items))
}

// fail ends the replay. It is called with mu locked.
func (p *player) fail(err error) {
	if p.err == nil {
		p.err = err
		p.cast.fail(p.part, err) // before the others see that this session ends
	}
	p.signal()
}

// signal tells the writer to look again.
func (p *player) signal() {
	select {
	case p.wake <- struct{}{}:
	default:
	}
}

// read takes what the peer sends until it ends or we close the connection.
func (p *player) read() {
	if len(p.early) > 0 {
		p.sess.Data(p.peer, time.Now(), p.early)
	}
	buf := make([]byte, 16<<10)
	for {
		n, err := p.conn.Read(buf)
		if n > 0 {
			p.sess.Data(p.peer, time.Now(), buf[:n])
		}
		_, pending := p.sess.Pending(p.peer)
		p.mu.Lock()
		if pending { // more of a frame has come, though it is not complete
			p.progress = time.Now()
		}
		if p.drained = errors.Is(err, os.ErrDeadlineExceeded); p.drained {
			p.signal()
		}
		over := p.over || p.err != nil || p.drained
		p.mu.Unlock()
		if over {
			return
		}
		if err == nil {
			continue
		}
		if !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.ErrClosedPipe) {
			p.sess.End(p.peer, time.Now(), endOf(err), "")
		}
		return
	}
}

// endOf says how a connection ended whose Read returned err.
func endOf(err error) decode.End {
	switch {
	case err == io.EOF:
		return decode.EndFIN
	case errors.Is(err, io.ErrUnexpectedEOF):
		return decode.EndTLSEOF
	}
	return decode.EndRST
}

// An action is what the writer does next: write, end our side, wait or stop.
type action struct {
	bytes []byte
	pongs bool // they are pongs only, which is no progress
	end   *item
	wait  time.Duration
	stop  bool
}

// write sends what is ours, each when its turn has come.
func (p *player) write(ctx context.Context) {
	leave := p.leave
	timer := time.NewTimer(0)
	defer timer.Stop()
	for ctx.Err() == nil {
		switch a := p.step(time.Now()); {
		case a.stop:
			return
		case len(a.bytes) > 0:
			p.send(a.bytes, a.pongs)
			p.wrote()
		case a.end != nil:
			if p.end(a.end.how) {
				return
			}
			p.wrote()
		default:
			p.wrote() // items that are passed over are done with
			timer.Reset(a.wait)
			select {
			case <-p.wake:
			case <-timer.C:
			case <-leave:
				p.leaving, leave = true, nil
			case <-ctx.Done():
			}
		}
	}
}

// wrote notes that what step has returned was written.
func (p *player) wrote() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written = p.next
	p.greeted = p.greeted || p.answer == nil && (p.role == decode.FromClient || p.ready)
	p.tell()
}

// maxBatch is how many bytes are written at once.
const maxBatch = 64 << 10

// send writes b. If that fails because the peer has gone, reading shows it.
func (p *player) send(b []byte, pongs bool) {
	for len(b) > 0 && !p.broken {
		n := min(len(b), maxBatch)
		now := time.Now()
		p.sess.Data(p.role, now, b[:n])
		p.conn.SetWriteDeadline(now.Add(p.s.stall))
		_, err := p.conn.Write(b[:n])
		p.mu.Lock()
		if !pongs {
			p.progress = time.Now()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.fail(p.unread())
		}
		p.mu.Unlock()
		p.broken = err != nil
		b = b[n:]
	}
}

// end ends our side of the connection. It reports whether that was the end of
// both.
func (p *player) end(how decode.End) (over bool) {
	p.sess.End(p.role, time.Now(), how, "")
	conn := p.conn
	if how != decode.EndFIN {
		if t, ok := conn.(*tls.Conn); ok {
			conn = t.NetConn()
		}
	}
	if how == decode.EndRST {
		switch c := conn.(type) {
		case *net.TCPConn:
			c.SetLinger(0)
		case *memconn.Conn:
			c.Reset()
		}
		return true
	}
	if c, ok := conn.(interface{ CloseWrite() error }); ok {
		c.CloseWrite()
		return false
	}
	return true
}

// step finds out what to do next.
func (p *player) step(now time.Time) action {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.err != nil:
		return action{stop: true}
	case p.answer != nil && p.s.speed == 0 && !p.cast.turn(p.part, p.nextOurs()):
		return p.holdOn(now)
	case p.answer != nil:
		b := p.answer
		p.answer = nil
		if p.role == decode.FromServer {
			p.handshaken(now)
		}
		return action{bytes: b}
	case p.ready && p.refused:
		return action{stop: true}
	}
	first := p.next
	b, end, due := p.batch(now)
	switch {
	case len(b) > 0 || end != nil:
		return action{bytes: b, pongs: p.next == first, end: end}
	case p.ready && p.next == len(p.s.sides[p.role].items) && p.got == len(p.matched):
		return p.finish(now)
	case !due.IsZero():
		return action{wait: due.Sub(now)}
	}
	return p.holdOn(now)
}

// holdOn waits for the peer, or for other sessions, if there is patience left.
func (p *player) holdOn(now time.Time) action {
	if now.Before(p.patience()) {
		return action{wait: p.patience().Sub(now)}
	}
	if p.cast != nil {
		part, begun := p.cast.blame()
		if part != p.part && begun {
			return action{wait: p.s.stall} // it will say what it waits for
		}
		if !begun {
			s := p.cast.scripts[part]
			p.fail(&stallError{fmt.Sprintf("server waits for the client of session %d (line %d)", s.number, s.line), p.s.stall})
			return action{stop: true}
		}
	}
	if p.s.update {
		return p.goOn()
	}
	p.fail(p.stalled())
	return action{stop: true}
}

// handshaken is called with mu locked.
func (p *player) handshaken(now time.Time) {
	p.ready = true
	p.start, p.progress = now, now
	if p.cast != nil && p.s.speed > 0 { // one clock for all
		p.start = p.cast.due(p.s.start)
	}
}

// patience returns until when the peer may be silent.
func (p *player) patience() time.Time {
	t := p.progress
	if units := p.s.sides[p.peer].units; p.s.speed > 0 && p.ready && p.got < len(units) {
		if due := p.due(units[p.got].t); due.After(t) {
			t = due
		}
	}
	return p.cast.latest(t).Add(p.s.stall)
}

// Lines beyond all that a trace can have: nothing remains.
const noLine = math.MaxInt

// nextOurs returns the line of what we send next. It is called with mu locked,
// like those below.
func (p *player) nextOurs() int {
	items := p.s.sides[p.role].items
	switch {
	case p.over || p.err != nil:
		return noLine
	case p.role == decode.FromClient && !p.greeted:
		return p.s.line
	case p.role == decode.FromServer && !p.greeted:
		return p.s.replyLine()
	case p.written < len(items):
		return items[p.written].line
	}
	return noLine
}

// nextTheirs returns the line of what we wait for next.
func (p *player) nextTheirs() int {
	units := p.s.sides[p.peer].units
	switch {
	case p.over || p.err != nil:
		return noLine
	case p.role == decode.FromServer && !p.ready && p.answer == nil:
		return p.s.line
	case p.role == decode.FromClient && !p.ready:
		return p.s.replyLine()
	case p.got < len(units):
		return units[p.got].line
	}
	return noLine
}

// tell tells the sessions that are played together how far this one is.
func (p *player) tell() {
	if p.cast != nil {
		p.cast.set(p.part, p.nextOurs(), p.nextTheirs(), p.progress)
	}
}

// due returns when something recorded at t comes by the clock.
func (p *player) due(t time.Duration) time.Time {
	return p.start.Add(time.Duration(float64(t-p.s.start) / float64(p.s.speed)))
}

// batch returns what can be sent now: bytes, or our end. Otherwise due is when
// there will be something by the clock, or zero.
func (p *player) batch(now time.Time) (b []byte, end *item, due time.Time) {
	items := p.s.sides[p.role].items
	first := p.next
	for len(b) < maxBatch {
		if !p.inside && !p.closed {
			b = append(b, p.pongs...)
		}
		if !p.inside {
			p.pongs = nil
		}
		if p.next == len(items) {
			break
		}
		it := &items[p.next]
		if it.skip {
			p.next++
			continue
		}
		if !p.ready && !it.early {
			break
		}
		inTurn := p.s.speed > 0 && !it.end && !it.close
		if !inTurn && (it.need > p.got || !it.alone && !p.cast.turn(p.part, it.line)) || it.takes > p.got {
			break
		}
		if p.s.speed > 0 && p.ready {
			if due = p.due(it.t); due.After(now) {
				break
			}
			due = time.Time{}
		}
		if it.end {
			if len(b) == 0 {
				end = it
				p.next++
			}
			break
		}
		b = append(b, p.bytesOf(it)...)
		p.inside = !it.last
		p.closed = p.closed || it.close || p.isJunk(it)
		p.next++
	}
	if p.next > first && p.ready {
		p.sent = now
	}
	return b, end, due
}

func (p *player) isJunk(it *item) bool {
	return it.unit >= 0 && p.s.sides[p.role].units[it.unit].kind == unitJunk
}

// bytesOf returns what is sent for an item: the recorded bytes, unless the
// message that they belong to has to be another one.
func (p *player) bytesOf(it *item) []byte {
	if it.unit < 0 {
		return it.bytes
	}
	u := &p.s.sides[p.role].units[it.unit]
	switch {
	case p.replaced == it.unit:
		return nil // the whole message went with its first item
	case u.kind != unitMessage && u.kind != unitFrame || u.cut || &p.s.sides[p.role].items[u.items[0]] != it:
		return it.bytes
	}
	data := u.data
	if u.op == ws.OpText && (u.kind == unitMessage || u.flags&0x40 == 0) {
		data = put(data, p.found)
	}
	changed := !same(data, u.data)
	if !changed && !(u.compressed && p.plain) {
		return it.bytes
	}
	// The peer's window lacks this message from here on, so what is recorded
	// of later ones can't be inflated any more.
	p.plain = p.plain || u.compressed
	p.replaced = it.unit
	flags := u.flags
	if u.kind == unitMessage {
		flags = 0x80 | u.flags&0x3f
	}
	return appendFrame(nil, flags, data, u.masked, it.mask)
}

// same reports whether a and b are the same memory.
func same(a, b []byte) bool { return len(a) == len(b) && (len(a) == 0 || &a[0] == &b[0]) }

// appendFrame appends a frame with the given first byte.
func appendFrame(dst []byte, flags byte, payload []byte, masked bool, mask [4]byte) []byte {
	h := ws.Header{Fin: flags&0x80 != 0, Rsv: flags >> 4 & 7, OpCode: ws.OpCode(flags & 15), Masked: masked, Mask: mask, Length: int64(len(payload))}
	var buf sliceWriter = dst
	ws.WriteHeader(&buf, h)
	n := len(buf)
	buf = append(buf, payload...)
	if masked {
		ws.Cipher(buf[n:], mask, 0)
	}
	return buf
}

type sliceWriter []byte

func (w *sliceWriter) Write(p []byte) (int, error) {
	*w = append(*w, p...)
	return len(p), nil
}

// ownFrame returns a control frame that is not recorded.
func (p *player) ownFrame(op ws.OpCode, payload []byte) []byte {
	var mask [4]byte
	rand.Read(mask[:])
	return appendFrame(nil, 0x80|byte(op), payload, p.role == decode.FromClient, mask)
}

// finish is what remains when all that is recorded has been played. A trace
// need not tell how the session ends: then the client closes it, and the server
// leaves that to the client for as long as it has patience.
func (p *player) finish(now time.Time) action {
	items, units := p.s.sides[p.role].items, p.s.sides[p.peer].units
	ours := len(items) > 0 && items[len(items)-1].end
	theirs := len(units) > 0 && units[len(units)-1].kind == unitEnd
	patient := now.Before(p.patience()) && !p.leaving
	switch {
	case ours || theirs || p.ended || p.broken:
		return action{stop: true}
	case !p.cast.turn(p.part, noLine):
		return p.holdOn(now) // our end would be news in the other sessions
	case p.asked && !p.closed && !p.inside: // a Close frame that is not recorded
		p.closed = true
		return action{bytes: p.ownFrame(ws.OpClose, p.closing)}
	case p.asked && p.role == decode.FromServer:
		return action{stop: true} // it closes first (RFC 6455 §7.1.1)
	case p.role == decode.FromClient && !p.closed && !p.inside, !patient && !p.bye && !p.closed && !p.inside:
		p.closed, p.bye = true, true
		p.progress = now
		return action{bytes: p.ownFrame(ws.OpClose, ws.NewCloseFrameBody(ws.StatusNormalClosure, ""))}
	case patient:
		return action{wait: p.patience().Sub(now)}
	case p.leaving && !p.draining:
		p.draining = true
		p.conn.SetReadDeadline(now.Add(drainTime))
		return action{wait: p.s.stall}
	case p.leaving && !p.drained:
		return action{wait: p.s.stall}
	}
	return action{stop: true}
}

// drainTime is how long a server reads on at the end of a test, to see what the
// client has sent that is not recorded.
const drainTime = 100 * time.Millisecond

// goOn gives up waiting, when the trace is to be made anew.
func (p *player) goOn() action {
	items := p.s.sides[p.role].items
	switch {
	case !p.ready:
		p.fail(p.stalled())
		return action{stop: true}
	case p.next < len(items):
		p.got = max(p.got, min(items[p.next].need, len(p.matched)))
	default:
		p.got = len(p.matched)
	}
	return action{}
}
