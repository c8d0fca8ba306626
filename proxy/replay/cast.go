package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// A Play is all WebSocket sessions of a trace, to be played together: what is
// sent in one of them waits for what came before it in any. So a chat can be
// replayed, in which a message to one client is the answer to another.
type Play struct{ scripts []*Script }

// Scripts returns the sessions, in the order in which they begin.
func (p *Play) Scripts() []*Script { return p.scripts }

// Connect connects to the server at rawURL, once for each session, and plays the
// clients.
func (p *Play) Connect(ctx context.Context, rawURL string, opts ...ConnectOption) error {
	how, err := newConnecting(opts)
	if err != nil {
		return err
	}
	return p.connect(ctx, rawURL, how)
}

func (p *Play) connect(ctx context.Context, rawURL string, how *connecting) error {
	c, ctx := newCast(ctx, p.scripts, decode.FromClient, &how.playing)
	for i, s := range p.scripts {
		c.group.Go(func() {
			err := c.awaitTurn(ctx, i)
			if err == nil {
				err = s.connect(ctx, rawURL, how, performance{cast: c, part: i})
			}
			c.leave(i, err)
		})
	}
	return c.wait()
}

// Serve plays the servers to the clients that connect to l. Each gets the first
// session that nobody has and that its request fits. Serve returns when all
// sessions have been played or one has failed, and closes l.
func (p *Play) Serve(ctx context.Context, l net.Listener, opts ...PlayOption) error {
	how, err := newPlaying(opts)
	if err != nil {
		l.Close()
		return err
	}
	c, ctx := newCast(ctx, p.scripts, decode.FromServer, how)
	clients := newListener(l, how)
	stop := context.AfterFunc(ctx, func() { clients.Close() })
	defer stop()
	for range p.scripts {
		conn, err := clients.Accept()
		if err != nil {
			if ctx.Err() != nil {
				err = context.Cause(ctx)
			}
			c.fail(-1, err) // unless something else was before
			break
		}
		c.group.Go(func() { c.admit(ctx, conn, nil) })
	}
	clients.Close()
	return c.wait()
}

// A cast is the sessions of a [Play] while it goes on. Its methods may be called
// on a nil cast, that of a session played alone.
type cast struct {
	scripts []*Script
	how     *playing
	began   time.Time
	group   sync.WaitGroup
	cancel  context.CancelCauseFunc
	values  *values    // that were captured in all sessions
	swaps   sync.Mutex // held while clients change their sessions; locked first of all

	mu       sync.Mutex
	wake     []chan struct{} // by session: something has changed
	players  []*player       // by session, once it is played
	seats    []chan struct{} // by session: closed when it is
	requests []*decode.Head  // by session: of its client
	err      error           // the first
	taken    []bool
	ours     []int // by session: position of what we send next
	theirs   []int // by session: position of what we wait for next
	progress time.Time
	events   []event // by session: the one of the highest position
}

func newCast(ctx context.Context, scripts []*Script, role decode.Dir, how *playing) (*cast, context.Context) {
	played := make([]*Script, len(scripts))
	for i, s := range scripts {
		played[i] = s.playedBy(role)
	}
	scripts = played
	c := &cast{values: newValues(), scripts: scripts, how: how, began: time.Now(), progress: time.Now(), taken: make([]bool, len(scripts))}
	for _, s := range scripts {
		asks, answers := s.at, s.replyAt()
		if role == decode.FromServer {
			asks, answers = answers, asks
		}
		c.ours = append(c.ours, asks)
		c.theirs = append(c.theirs, answers)
		c.wake = append(c.wake, make(chan struct{}, 1))
		c.players = append(c.players, nil)
		c.seats = append(c.seats, make(chan struct{}))
		c.requests = append(c.requests, nil)
		c.events = append(c.events, event{at: -1})
	}
	c.values.knows(scripts...)
	ctx, c.cancel = context.WithCancelCause(ctx)
	return c, ctx
}

// valuesFor returns what is captured in one session: of those in c, or of one alone.
func (c *cast) valuesFor(s *Script) *values {
	if c == nil {
		v := newValues()
		v.knows(s)
		return v
	}
	return c.values.ofSession()
}

// wait waits for the end of all sessions.
func (c *cast) wait() error {
	c.group.Wait()
	c.cancel(nil)
	return c.err
}

var errElsewhere = errors.New("another session has failed")

// fail ends all sessions because one has failed, or -1 for none of them.
func (c *cast) fail(part int, err error) {
	if c == nil || err == errElsewhere {
		return
	}
	if part >= 0 {
		err = fmt.Errorf("session %d: %w", c.scripts[part].number, err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
	c.cancel(errElsewhere)
}

// plays says that p, which is ready, plays a session.
func (c *cast) plays(part int, p *player) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.players[part], p.wake = p, c.wake[part]
	close(c.seats[part])
}

// leave says that a session is over. It returns err with its number, or nil if
// the error is that of another session.
func (c *cast) leave(part int, err error) error {
	if err != nil {
		c.fail(part, err)
	}
	c.set(part, atEnd, atEnd, time.Time{})
	if err == nil || err == errElsewhere {
		return nil
	}
	return fmt.Errorf("session %d: %w", c.scripts[part].number, err)
}

// set says how far a session is, and since when.
func (c *cast) set(part, ours, theirs int, progress time.Time) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if progress.After(c.progress) {
		c.progress = progress
	}
	if c.ours[part] == ours && c.theirs[part] == theirs {
		return
	}
	c.ours[part], c.theirs[part] = ours, theirs
	for i, w := range c.wake {
		if i != part {
			select {
			case w <- struct{}{}:
			default:
			}
		}
	}
}

// turn reports whether all that stands before a position in other sessions has been
// sent or has come.
func (c *cast) turn(part, at int) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.ours {
		if i != part && (c.ours[i] < at || c.theirs[i] < at) {
			return false
		}
	}
	return true
}

// blame returns the session that all others wait for, and whether it has begun.
func (c *cast) blame() (part int, begun bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i := range c.theirs {
		if c.theirs[i] < c.theirs[part] {
			part = i
		}
	}
	return part, c.taken[part]
}

// latest returns t or, if that is later, when any session last got on.
func (c *cast) latest(t time.Time) time.Time {
	if c != nil {
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.progress.After(t) {
			return c.progress
		}
	}
	return t
}

// happened notes an event of a session.
func (c *cast) happened(part int, e event) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if e.at >= c.events[part].at {
		c.events[part] = e
	}
}

// before returns the event before a position that counts for a session, whose own one
// is given: the last of any.
func (c *cast) before(part, at int, own event) event {
	if c == nil {
		return own
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, e := range c.events {
		if i != part && e.at < at && e.at > own.at {
			own = e
		}
	}
	return own
}

// due returns when something recorded at t comes by the clock.
func (c *cast) due(t time.Duration) time.Time {
	return c.began.Add(c.how.scaled(t - c.scripts[0].begin))
}

// awaitTurn waits until a client is to connect.
func (c *cast) awaitTurn(ctx context.Context, part int) error {
	c.mu.Lock()
	c.taken[part] = true
	c.mu.Unlock()
	s := c.scripts[part]
	c.mu.Lock()
	wake := c.wake[part]
	c.mu.Unlock()
	for !c.how.byClock && !c.turn(part, s.at) {
		select {
		case <-wake:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	if c.how.speed == 0 {
		return nil
	}
	due := c.due(s.begin)
	if before := c.before(part, s.at, event{at: -1}); !c.how.byClock && before.at >= 0 {
		due = before.real.Add(c.how.scaled(s.begin - before.t))
	}
	timer := time.NewTimer(time.Until(due))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// admit plays a session that fits to a client that has connected.
func (c *cast) admit(ctx context.Context, conn net.Conn, wrapUp <-chan struct{}) error {
	conn, early, err := c.how.accept(ctx, conn)
	if err != nil {
		c.fail(-1, err)
		return err
	}
	early = readHead(ctx, conn, early, c.how.stall)
	part := c.fitting(early)
	if part < 0 {
		conn.Close()
		return nil
	}
	err = c.scripts[part].play(ctx, conn, performance{how: c.how, role: decode.FromServer, wrapUp: wrapUp, early: early, cast: c, part: part, seat: &part})
	return c.leave(part, err)
}

// fitting takes the first session that the request fits, or the first that
// nobody has. It returns -1 if there is none left.
func (c *cast) fitting(request []byte) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	req, err := decode.ParseRequest(string(request[:decode.HeadLen(request, 0)]))
	part := -1
	for i, s := range c.scripts {
		switch {
		case c.taken[i]:
		case err == nil && (c.how.update || s.checkRequest(req, c.values) == nil):
			c.taken[i], c.requests[i] = true, req
			return i
		case part < 0:
			part = i
		}
	}
	if part >= 0 {
		c.taken[part], c.requests[part] = true, req
	}
	return part
}

// readHead reads the rest of a head that begins with b, and perhaps more, or less if no
// more comes.
func readHead(ctx context.Context, conn net.Conn, b []byte, patience time.Duration) []byte {
	stop := context.AfterFunc(ctx, func() { conn.Close() })
	defer stop()
	conn.SetReadDeadline(time.Now().Add(patience))
	defer conn.SetReadDeadline(time.Time{})
	buf := make([]byte, 4<<10)
	for decode.HeadLen(b, 0) == 0 && len(b) < decode.MaxHead && !tlswire.IsHandshake(b) {
		n, err := conn.Read(buf)
		b = append(b, buf[:n]...)
		if err != nil {
			break
		}
	}
	return b
}
