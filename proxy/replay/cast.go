package replay

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/internal/tlswire"
)

// A Play is all sessions of a trace, to be played together: what is sent in one of
// them waits for what came before it in any. So a chat can be replayed, in which a
// message to one client is the answer to another, and an application that asks by
// HTTP before it opens a WebSocket.
type Play struct{ scripts []*Script }

// Scripts returns the WebSocket sessions, in the order in which they begin. A session of
// Socket.IO that begins by polling is one of them.
func (p *Play) Scripts() []*Script {
	return slices.DeleteFunc(slices.Clone(p.scripts), func(s *Script) bool { return s.plain != nil })
}

// Exchanges returns how many HTTP exchanges there are besides.
func (p *Play) Exchanges() int { return sessionsOf(p.scripts) - len(p.Scripts()) }

// sessionsOf returns how many sessions of a trace scripts are made of.
func sessionsOf(scripts []*Script) int {
	n := 0
	for _, s := range scripts {
		if n++; s.engine != nil {
			n += len(s.engine.numbers) - 1
		}
	}
	return n
}

// Alone returns the session if there is only one and it is a WebSocket connection; else
// nil.
func (p *Play) Alone() *Script {
	if len(p.scripts) == 1 && p.scripts[0].plain == nil && p.scripts[0].engine == nil {
		return p.scripts[0]
	}
	return nil
}

// Target returns the path and query that a client asks for first.
func (p *Play) Target() string { return p.scripts[0].Target() }

// Warning is [Script.Warning].
func (p *Play) Warning() error { return p.scripts[0].warning }

// Changed reports whether the trace has changes.
func (p *Play) Changed() bool {
	return slices.ContainsFunc(p.scripts, (*Script).Changed)
}

// Sessions is [Script.Sessions].
func (p *Play) Sessions() int { return p.scripts[0].sessions }

// Redacted is [Script.Redacted].
func (p *Play) Redacted() []string { return p.scripts[0].selectors }

// Connect connects to the server at rawURL, and plays the clients: it performs the
// requests that are recorded, in their order, and opens a connection for each WebSocket
// session. Requests of one connection are performed on one connection.
func (p *Play) Connect(ctx context.Context, rawURL string, opts ...ConnectOption) error {
	how, err := newConnecting(opts)
	if err != nil {
		return err
	}
	return p.connect(ctx, rawURL, how)
}

func (p *Play) connect(ctx context.Context, rawURL string, how *connecting) error {
	c, ctx := newCast(ctx, p.scripts, decode.FromClient, &how.playing)
	t := &troupe{cast: c, how: how, rawURL: rawURL, idle: map[string]net.Conn{}}
	defer t.close()
	for i, s := range p.scripts {
		if s.plain != nil && s.plain.foreign {
			c.leave(i, nil)
			continue
		}
		c.group.Go(func() {
			err := c.awaitTurn(ctx, i)
			switch {
			case err != nil:
			case s.plain != nil:
				err = t.perform(ctx, i)
			case s.engine != nil:
				err = t.performEngine(ctx, i)
			default:
				err = s.connect(ctx, rawURL, how, performance{cast: c, part: i, via: t.take(s.info.Client)})
			}
			c.leave(i, err)
		})
	}
	return c.wait()
}

// Serve plays the servers to the clients that connect to l. Each gets the first
// session that nobody has and that its request fits, and an HTTP request the first
// answer that nobody has, or again the last. Serve returns when all sessions have been
// played or one has failed, and closes l.
func (p *Play) Serve(ctx context.Context, l net.Listener, opts ...PlayOption) error {
	how, err := newPlaying(opts)
	if err != nil {
		l.Close()
		return err
	}
	c, ctx := newCast(ctx, p.scripts, decode.FromServer, how)
	clients := newListener(l, how, c)
	c.group.Go(func() {
		for {
			conn, err := clients.Accept()
			var refused *HandshakeError
			switch {
			case err == nil:
				c.group.Go(func() { c.admit(ctx, conn, nil) })
			case ctx.Err() != nil || clients.ctx.Err() != nil:
				return
			default:
				c.fail(-1, err) // unless something else was before
				if !errors.As(err, &refused) {
					return
				}
			}
		}
	})
	c.watch(ctx)
	if err := context.Cause(ctx); err != nil {
		c.fail(-1, err)
	}
	clients.Close()
	if turned := clients.Turned(); len(turned) > 0 {
		how.tell("not in the recording, and answered by a 404: %s", strings.Join(turned, ", "))
	}
	return c.wait()
}

// watch returns when all has been played, or ctx is done. It fails the play when nobody
// comes for what is next, though somebody came before.
func (c *cast) watch(ctx context.Context) {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-c.finished:
			return
		case <-ctx.Done():
			return
		case <-timer.C:
		}
		if wait := c.deserted(); wait > 0 {
			timer.Reset(wait)
			continue
		}
		part, _ := c.blame()
		c.fail(-1, c.awaited(part))
	}
}

// deserted returns how long somebody may still come: 0 if he should have.
func (c *cast) deserted() time.Duration {
	part, begun := c.blame()
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := !begun
	for i := range c.taken {
		idle = idle && (!c.taken[i] || c.left[i])
	}
	if !idle || !c.visited && !slices.Contains(c.taken, true) {
		return c.how.stall
	}
	last := event{at: -1}
	for _, e := range c.events {
		if e.at > last.at {
			last = e
		}
	}
	pause := time.Duration(0)
	if last.at >= 0 {
		pause = max(c.scripts[part].begin-last.t, 0)
	}
	return max(time.Until(c.progress.Add(c.how.stall+pause)), 0)
}

// strange notes that a client came with a request that is not recorded.
func (c *cast) strange() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.visited, c.progress = true, time.Now()
}

// awaited says that nobody has come for a session.
func (c *cast) awaited(part int) error {
	s := c.scripts[part]
	text := fmt.Sprintf("server waits for the client of session %d%s", s.number, s.inLine(s.at))
	if s.plain != nil {
		text = fmt.Sprintf("server waits for the request %s of session %d%s", s.title(), s.number, s.inLine(s.at))
	}
	return &stallError{text: text, stall: c.how.stall}
}

// A cast is the sessions of a [Play] while it goes on. Its methods may be called
// on a nil cast, that of a session played alone.
type cast struct {
	scripts []*Script
	how     *playing
	ctx     context.Context
	base    int64 // added to the numbers of sessions in events
	began   time.Time
	group   sync.WaitGroup
	cancel  context.CancelCauseFunc
	values  *values         // that were captured in all sessions
	swaps   sync.Mutex      // held while clients change their sessions; locked first of all
	wrapUp  <-chan struct{} // closed: what the trace leaves open need not be waited for; nil for never

	mu       sync.Mutex
	wake     []chan struct{} // by session: something has changed
	players  []*player       // by session, once it is played
	seats    []chan struct{} // by session: closed when it is
	requests []*decode.Head  // by session: of its client
	err      error           // the first
	taken    []bool
	changed  []changed
	visited  bool // somebody came, with a request that is not recorded
	left     []bool
	finished chan struct{} // closed when all have left that have to come
	first    int           // the session with the first position of ours and theirs; -1 for none
	least    int           // that position
	second   int           // the first one of the other sessions
	ours     []int         // by session: position of what we send next
	theirs   []int         // by session: position of what we wait for next
	progress time.Time
	events   []event                  // by session: the one of the highest position
	number   int64                    // the highest of a session
	engines  map[string]*engineServer // by the id that the client knows
}

func newCast(ctx context.Context, scripts []*Script, role decode.Dir, how *playing) (*cast, context.Context) {
	played := make([]*Script, len(scripts))
	for i, s := range scripts {
		played[i] = s.playedBy(role)
	}
	scripts = played
	c := &cast{values: newValues(), scripts: scripts, how: how, began: time.Now(), progress: time.Now(), taken: make([]bool, len(scripts)),
		left: make([]bool, len(scripts)), finished: make(chan struct{})}
	spare := int64(0)
	for _, s := range scripts {
		ours, theirs := s.firsts(role)
		c.ours = append(c.ours, ours)
		c.theirs = append(c.theirs, theirs)
		c.wake = append(c.wake, make(chan struct{}, 1))
		c.players = append(c.players, nil)
		c.seats = append(c.seats, make(chan struct{}))
		c.requests = append(c.requests, nil)
		c.events = append(c.events, event{at: -1})
		c.number = max(c.number, s.number) // the highest
		if s.engine != nil {
			c.number, spare = max(c.number, slices.Max(s.engine.numbers)), maxSpare
		}
	}
	c.base = how.events.base(c.number + spare)
	c.findFirst()
	c.values.knows(scripts...)
	c.ctx, c.cancel = context.WithCancelCause(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.finish()
	return c, c.ctx
}

// finish looks whether all have left that have to come. It is called with mu locked.
func (c *cast) finish() {
	for i, s := range c.scripts {
		if !c.left[i] && (s.plain == nil || !s.plain.optional) {
			return
		}
	}
	select {
	case <-c.finished:
	default:
		close(c.finished)
	}
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

// played returns what is played together with s.
func (c *cast) played(s *Script) []*Script {
	if c == nil {
		return []*Script{s}
	}
	return c.scripts
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
	c.mu.Lock()
	c.left[part] = true
	c.finish()
	c.mu.Unlock()
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
	c.findFirst()
	for i, w := range c.wake {
		if i == part || c.scripts[i].plain != nil && c.ours[i] > c.firstBut(i) { // an exchange waits for its turn alone
			continue
		}
		select {
		case w <- struct{}{}:
		default:
		}
	}
}

// findFirst finds which session has the first position that is not over, and the first of
// the others.
func (c *cast) findFirst() {
	c.first, c.second = -1, atEnd
	least := atEnd
	for i := range c.ours {
		switch at := min(c.ours[i], c.theirs[i]); {
		case at < least:
			c.first, c.second, least = i, least, at
		case at < c.second:
			c.second = at
		}
	}
	c.least = least
}

// firstBut returns the first position that is not over in another session than part.
func (c *cast) firstBut(part int) int {
	if part == c.first {
		return c.second
	}
	return c.least
}

// turn reports whether all that stands before a position in other sessions has been
// sent or has come.
func (c *cast) turn(part, at int) bool {
	if c == nil {
		return true
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.firstBut(part) >= at
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

// missing names the first exchange that has to take place and did not; "" for none. some
// is whether anybody came.
func (c *cast) missing() (name string, some bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	some = slices.Contains(c.taken, true)
	for i, s := range c.scripts {
		if (s.plain != nil && !s.plain.optional || s.engine != nil) && !c.taken[i] {
			return fmt.Sprintf("%s (session %d%s)", s.title(), s.number, strings.NewReplacer(" (", ", ", ")", "").Replace(s.inLine(s.at))), some
		}
	}
	return "", some
}

// due returns when something recorded at t comes by the clock.
func (c *cast) due(t time.Duration) time.Time {
	return c.began.Add(c.how.scaled(t - c.scripts[0].begin))
}

// wakeOf returns what wakes a session when others have got on.
func (c *cast) wakeOf(part int) <-chan struct{} {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.wake[part]
}

// awaitTurn waits until a client is to connect.
func (c *cast) awaitTurn(ctx context.Context, part int) error {
	c.mu.Lock()
	c.taken[part] = true
	c.mu.Unlock()
	s, wake := c.scripts[part], c.wakeOf(part)
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
		case c.taken[i] || s.plain != nil:
		case err == nil && s.engine == nil && (c.how.update || s.checkRequest(req, c.values) == nil):
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
