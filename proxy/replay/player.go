package replay

import (
	"context"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"sync"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/memconn"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// PlayServer plays the server of the session on conn, and closes conn. It
// returns nil when the client did what the recorded client did. The error is
// the cause of ctx, or a [*Difference], or it wraps [ErrStalled].
func (s *Script) PlayServer(ctx context.Context, conn net.Conn, opts ...PlayOption) error {
	how, err := newPlaying(opts)
	if err != nil {
		conn.Close()
		return err
	}
	return s.serve(ctx, conn, performance{how: how, role: decode.FromServer})
}

// serve plays the server on conn, which the client has just opened.
func (s *Script) serve(ctx context.Context, conn net.Conn, perf performance) error {
	conn, early, err := perf.how.accept(ctx, conn)
	if err != nil {
		return err
	}
	perf.early = early
	return s.play(ctx, conn, perf)
}

// PlayClient plays the client of the session on conn, which leads to the server
// at u, and closes conn. Its error is like that of [Script.PlayServer].
func (s *Script) PlayClient(ctx context.Context, conn net.Conn, u *url.URL, opts ...PlayOption) error {
	how, err := newPlaying(opts)
	if err != nil {
		conn.Close()
		return err
	}
	return s.play(ctx, conn, performance{how: how, role: decode.FromClient, url: u})
}

// A performance is one time that a session is played.
type performance struct {
	how    *playing
	role   decode.Dir
	url    *url.URL        // of the server, for a client
	wrapUp <-chan struct{} // closed: what the trace leaves open need not be waited for
	early  []byte          // what was read of the connection before
	cast   *cast           // the sessions that are played together; nil for one alone
	part   int             // which of them this is; for a server it may change as long as the client has said nothing
	seat   *int            // gets the last part; may be nil
	via    net.Conn        // a connection to the server, on which requests were performed before; nil for a new one
}

// A player plays one side of a session on one connection. One goroutine reads
// and one writes, so that neither waits for the other unless the recording
// does.
type player struct {
	performance
	s         *Script
	peer      decode.Dir
	conn      net.Conn
	sess      decode.Session           // takes the bytes of both sides
	records   records                  // of the peer; used while sess is locked
	assembler assembler                // of the peer; used while sess is locked
	optional  func(*decode.Event) bool // likewise; nil for nothing
	chosen    bool                     // likewise: the event at hand may come or not
	wake      chan struct{}            // holds a value when something has changed for the writer

	// The writer's own.
	writeFailed   bool // how the peer's side goes on will tell why
	noMoreFrames  bool // can follow: a Close frame was sent, or junk
	closedUnasked bool // we have closed what the recording leaves open
	wrappingUp    bool // we need not wait for what the recording leaves open
	draining      bool // but for what the peer has sent by now

	mu           sync.Mutex // protects the rest
	err          error
	over         bool         // the connection is being closed
	key          string       // that we sent
	handshake    []byte       // our part of it, to be written
	refusal      []byte       // likewise, of a client that is not the recorded one
	ready        bool         // the handshake is done
	ahead        map[int]bool // items of ours that were sent before their turn
	settled      bool         // which session the client plays
	notUpgraded  bool         // and it led to no WebSocket connection
	uncompressed bool         // compressed messages of ours are sent uncompressed
	pings        int          // of the peer
	toldPings    bool         // that one did not come
	pingsBy      time.Time    // until when our end waits for one; zero if it does not
	idle         bool         // what the writer sends is no progress: pongs and heartbeats
	next         int          // our next item
	written      int          // how many of ours were written
	sentOurPart  bool         // of the handshake
	midFrame     bool         // the last frame that we sent is not complete
	replaced     int          // number of our unit that goes in another form; -1 for none
	matched      []bool       // by number of the peer's units: it has come
	arrived      int          // how many have come, up to the first that has not
	last         int          // number of the one that came last; -1 for none
	stream       []byte       // of the peer, not compared yet, with Stream
	streamOp     ws.OpCode
	junk         []byte             // of the peer, not compared yet
	beats        []owed             // answers to heartbeats
	question     *unit              // of ours, which is asked when the one under way is answered; nil for none
	pause        time.Duration      // how long after that
	underWay     string             // the id of the last question; "" if it is answered
	answeredAt   time.Time          // when it was
	liveIDs      map[idPlace]string // ids of the peer's that are not the recorded ones
	midMessage   bool               // a message of ours goes on in another frame
	passedOver   int                // 1 + number of the unit of ours that was passed over last; 0 for none
	pongs        []byte             // frames to be written: answers to pings
	drained      bool               // nothing more comes of the peer for now, and nobody reads
	peerEnded    bool               // its side of the connection
	peerClosed   bool               // it has sent a Close frame
	closePayload []byte             // of that frame
	subs         *values
	asked        time.Time // when the request of a client came
	start        time.Time // when the handshake was done
	came         []event   // by number of the peer's units, if there is a speed
	sentLast     event     // the latest of ours, or the handshake
	latest       event     // of either side, by its position
	progress     time.Time // when the replay last got on
	sent         time.Time // when we wrote what waits for an answer; zero if nothing does
}

var errForDiff = errors.New("the session was loaded with Select, for Diff alone")

// play plays a session on conn.
func (s *Script) play(ctx context.Context, conn net.Conn, perf performance) error {
	if s.forDiff {
		conn.Close()
		return errForDiff
	}
	s = s.playedBy(perf.role)
	now := time.Now()
	p := &player{performance: perf, s: s, peer: perf.role.Peer(), conn: conn, wake: make(chan struct{}, 1),
		matched: make([]bool, len(s.sides[perf.role.Peer()].units)), replaced: -1, last: -1, progress: now, subs: perf.cast.valuesFor(s)}
	p.subs.plays(s, p.peer)
	if p.how.speed > 0 {
		p.came = make([]event, len(p.matched))
	}
	p.optional = s.chooses()
	p.pass()
	p.records = records{split: s.splitter(), emit: p.take}
	p.assembler = assembler{exact: s.exact, emit: func(u *unit, _ []int) { p.records.take(u) }}
	p.sess.Sink = decode.LockedWith(p.how.events.sink(), p.Emit)
	p.sess.Look = decode.Look{Messages: true, Keep: MaxMessage, Sums: true}
	number := p.how.numberOf(p.cast, s)
	info := decode.Info{Conn: number, Time: p.how.clock.Now(), Client: conn.RemoteAddr().String(), Server: conn.LocalAddr().String()}
	if p.role == decode.FromClient {
		info.Client, info.Server = info.Server, info.Client
		info.URL = p.url.String()
	}
	if t := tlsOf(conn); t != nil {
		of := [...]**decode.TLS{decode.FromClient: &info.ServerTLS, decode.FromServer: &info.ClientTLS} // by our role
		*of[p.role] = tlswire.Info(t.ConnectionState())
	}
	p.sess.Open(info)

	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	var reading sync.WaitGroup
	if p.role == decode.FromClient {
		p.hello()
	}
	p.cast.plays(p.part, p) // from here on it may get another session
	reading.Go(p.read)
	p.write(ctx)
	p.mu.Lock()
	p.over = true
	p.report()
	refusal := p.refusal
	p.mu.Unlock()
	if len(refusal) > 0 {
		p.send(refusal, false)
	}
	conn.Close()
	reading.Wait()
	if p.seat != nil {
		*p.seat = p.part
	}
	p.sess.End(p.role, p.how.clock.Now(), decode.EndLocal, "") // of those that have not ended
	p.sess.End(p.peer, p.how.clock.Now(), decode.EndLocal, "")
	p.sess.Done(p.how.clock.Now())
	if err := context.Cause(ctx); err != nil && p.err == nil && !p.completed() {
		return err
	}
	return p.err
}

// hello makes the request ready to be written.
func (p *player) hello() {
	p.handshake = p.s.requestFor(p.url, p.how.headers, p.subs)
	n := decode.HeadLen(p.handshake, 0)
	if req, err := decode.ParseRequest(string(p.handshake[:n])); err == nil {
		p.key = req.Get("Sec-WebSocket-Key")
	}
}

// completed reports whether all that was recorded has been played.
func (p *player) completed() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.err == nil && p.ready && (p.notUpgraded || p.arrived == len(p.matched) && p.next == len(p.s.sides[p.role].items))
}

// fail ends the replay. It is called with mu locked.
func (p *player) fail(err error) {
	if p.err == nil {
		p.err = err
		if p.refusal == nil { // which is sent first
			p.cast.fail(p.part, err) // before the others see that this session ends
		}
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
	if p.foundTLS(p.early) {
		return
	}
	if len(p.early) > 0 {
		p.sess.Data(p.peer, p.how.clock.Now(), p.early)
	}
	buf := make([]byte, 16<<10)
	for first := len(p.early) == 0; ; first = false {
		n, err := p.conn.Read(buf)
		if first && p.foundTLS(buf[:n]) {
			return
		}
		if n > 0 {
			p.sess.Data(p.peer, p.how.clock.Now(), buf[:n])
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
			p.sess.End(p.peer, p.how.clock.Now(), endOf(err), "")
		}
		return
	}
}

// foundTLS fails the replay if b, which the peer has sent first, is TLS or comes of
// it, where there is none.
func (p *player) foundTLS(b []byte) bool {
	if p.overTLS() || !tlswire.IsHandshake(b) && (p.role == decode.FromServer || !tlswire.IsRefusal(b)) {
		return false
	}
	got := "TLS, which goes with wss://, not ws://"
	if p.role == decode.FromClient {
		got = "the word that it speaks TLS, which goes with wss://, not ws://"
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fail(p.cutShort(got))
	return true
}

// overTLS reports whether the connection is one of TLS.
func (p *player) overTLS() bool { return tlsOf(p.conn) != nil }

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
	wrapUp := p.wrapUp
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
			case <-wrapUp:
				p.wrappingUp, wrapUp = true, nil
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
	p.sentOurPart = p.sentOurPart || p.handshake == nil && (p.role == decode.FromClient || p.ready)
	p.report()
}

// maxBatch is how many bytes are written at once.
const maxBatch = 64 << 10

// atOnce returns how many of n bytes are written at once.
func (p *playing) atOnce(n int) int {
	if n = min(n, maxBatch); p.chunk > 0 {
		n = min(n, p.chunk)
	}
	return n
}

// send writes b. If that fails because the peer has gone, reading shows it.
func (p *player) send(b []byte, pongs bool) {
	for len(b) > 0 && !p.writeFailed {
		n := p.how.atOnce(len(b))
		p.sess.Data(p.role, p.how.clock.Now(), b[:n])
		p.conn.SetWriteDeadline(time.Now().Add(p.how.stall))
		_, err := p.conn.Write(b[:n])
		p.mu.Lock()
		if !pongs {
			p.progress = time.Now()
		}
		if errors.Is(err, os.ErrDeadlineExceeded) {
			p.fail(p.unread())
		}
		p.mu.Unlock()
		p.writeFailed = err != nil
		b = b[n:]
	}
}

// end ends our side of the connection. It reports whether that was the end of
// both.
func (p *player) end(how decode.End) (over bool) {
	p.sess.End(p.role, p.how.clock.Now(), how, "")
	conn := p.conn
	if how != decode.EndFIN {
		conn = underTLS(conn)
	}
	if how == decode.EndRST {
		switch c := conn.(type) {
		case *net.TCPConn:
			c.SetLinger(0)
		case *memconn.Conn:
			c.Reset()
		}
		conn.Close() // TLS would say goodbye
		return true
	}
	c, ok := conn.(interface{ CloseWrite() error })
	return !ok || errors.Is(c.CloseWrite(), errors.ErrUnsupported)
}
