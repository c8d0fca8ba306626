package child

import (
	"context"
	"errors"
	"net"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// answerWithin is how long a connect that does not block waits for its answer. Then
// it is told that it is under way. Clients that try the addresses of a name one
// after another give each about as long.
const answerWithin = 250 * time.Millisecond

// A dial is an attempt to connect in the place of a process.
type dial struct {
	*crossing
	want   Wanted
	raw    []byte // the address as the process gave it
	cookie uint64 // of the process's socket
	pid    int    // whose descriptor the socket is
	fd     int
	source *net.TCPAddr // from which the process wants to connect; nil if any will do
	cancel context.CancelFunc

	done    chan struct{} // closed when it is over
	err     error         // why it has failed; set before done is closed
	refused bool          // err is in the process's socket; set before done is closed

	told    bool            // the process has been told that it is under way; protected by tracer.mu
	waiting []*notification // for the answer; protected by tracer.mu
}

// connect answers connect(2).
func (t *tracer) connect(n *notification) answer {
	p, s, err := t.open(n)
	switch {
	case err != nil:
		t.passed.countFailure(err)
		return leave
	case p == nil:
		return leave
	}
	defer p.close()
	size := int32(n.args[2])
	if size < 2 || size > unix.SizeofSockaddrAny {
		unix.Close(s)
		return leave // the kernel says what is wrong with it
	}
	raw := make([]byte, size)
	if _, err := p.mem.ReadAt(raw, int64(n.args[1])); err != nil {
		unix.Close(s)
		return leave
	}
	want, ok := t.wanted(p, s, raw, n)
	if !ok {
		unix.Close(s)
		return leave
	}
	return t.await(n, s, want, raw)
}

// await begins to dial for the socket s, which it closes, or joins the dial that is
// under way, and returns the answer to the connect. That is the case if a signal has
// interrupted the connect before.
func (t *tracer) await(n *notification, s int, want Wanted, raw []byte) answer {
	flags, err := unix.FcntlInt(uintptr(s), unix.F_GETFL, 0)
	cookie, err2 := cookieOf(s)
	if err != nil || err2 != nil {
		unix.Close(s)
		return leave
	}
	blocks := flags&unix.O_NONBLOCK == 0
	limit := answerWithin
	if blocks {
		limit = sendTimeout(s)
	}

	t.mu.Lock()
	d := t.dials[cookie]
	if d != nil && tcpState(s) == tcpClose { // it is about something else by now
		t.drop(d)
		d = nil
	}
	switch {
	case d == nil:
		addr, _ := inetAddr(raw) // of IPv6 if the socket is, also for IPv4
		c, err := newCrossing(s, t.parks, addr.Addr(), blocks)
		if err != nil {
			t.mu.Unlock()
			unix.Close(s)
			return t.notBegun(err)
		}
		d = &dial{crossing: c, want: want, raw: raw, cookie: cookie, pid: want.PID, fd: int(int32(n.args[0])), source: c.boundTo(), done: make(chan struct{})}
		var ctx context.Context
		ctx, d.cancel = context.WithCancel(t.ctx)
		t.dials[cookie] = d
		t.work.Go(func() { t.dial(ctx, d) })
	case !blocks && d.told: // another connect, and not the one that was interrupted
		t.mu.Unlock()
		unix.Close(s)
		return leave // the kernel says EALREADY
	default:
		unix.Close(s)
	}
	d.waiting = append(d.waiting, n)
	t.mu.Unlock()

	switch t.wait(n, d, limit, blocks) {
	case waitTimeout:
		return answer{errno: unix.EINPROGRESS}
	case waitSignal:
		return leave // the kernel waits, and sees the signal
	}
	switch {
	case isShortage(d.err):
		return leave
	case d.refused:
		return answer{errno: unix.EINPROGRESS} // the socket has the error
	case d.err != nil:
		return answer{errno: dialErrno(d.err)}
	case !blocks:
		return answer{errno: unix.EINPROGRESS} // as TCP does; it can be written to at once
	}
	return answer{}
}

// notBegun returns the answer to a connect for which no dial could begin.
func (t *tracer) notBegun(err error) answer {
	var errno syscall.Errno
	switch {
	case isShortage(err):
		t.passed.countFailure(err)
		return leave
	case errors.As(err, &errno):
		return answer{errno: errno}
	}
	return leave // it is connected already, or listens: for the kernel to say
}

// drop ends a dial for which nobody waits any more. The caller holds t.mu.
func (t *tracer) drop(d *dial) {
	if t.dials[d.cookie] == d {
		delete(t.dials, d.cookie)
	}
	d.cancel()
}

// What ends the wait for a dial.
type waitEnd uint8

const (
	waitDone waitEnd = iota
	waitTimeout
	waitSignal // for the process, which must not wait longer
)

// lookEvery is how often it is asked whether a connect is still waited for: whether a
// signal has come for its process, which the kernel holds back as long as we have not
// answered, or its socket has ended.
const lookEvery = 50 * time.Millisecond

// wait waits for the end of d, at most until limit has passed, unless that is 0.
func (t *tracer) wait(n *notification, d *dial, limit time.Duration, blocks bool) waitEnd {
	var timeout, look <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	if blocks {
		ticker := time.NewTicker(lookEvery)
		defer ticker.Stop()
		look = ticker.C
	}
	for {
		select {
		case <-d.done:
			return waitDone
		case <-look:
			if signalPends(n.tid) {
				return waitSignal
			}
			t.lookAt(d)
		case <-timeout:
			return t.tell(d)
		}
	}
}

// lookAt ends d if the process's socket is no longer on its way: somebody has shut it
// down, or it has a limit of its own.
func (t *tracer) lookAt(d *dial) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.dials[d.cookie] != d || d.socket < 0 {
		return
	}
	if err := d.ended(); err != nil {
		t.drop(d)
		t.finish(d, err)
	}
}

// tell notes that the process is told that its connect is under way. From then on the
// socket is its own alone.
func (t *tracer) tell(d *dial) waitEnd {
	t.mu.Lock()
	defer t.mu.Unlock()
	select {
	case <-d.done:
		return waitDone
	default:
	}
	if !d.told {
		d.told = true // unless a signal comes first
		if t.dials[d.cookie] == d {
			d.letGo()
			t.work.Go(func() { t.watch(d) })
		}
	}
	return waitTimeout
}

// watch ends d when the process has closed its socket, or the socket is about
// something else.
func (t *tracer) watch(d *dial) {
	ticker := time.NewTicker(answerWithin)
	defer ticker.Stop()
	for {
		select {
		case <-d.done:
			return
		case <-ticker.C:
		}
		switch state, err := diagState(addrOf(d.from), addrOf(d.to), d.cookie); {
		case err != nil: // the kernel can't say
			return
		case state != tcpSynSent:
			t.mu.Lock()
			t.drop(d)
			t.mu.Unlock()
		}
	}
}

// finish ends d with err. The caller holds t.mu.
func (t *tracer) finish(d *dial, err error) {
	select {
	case <-d.done:
	default:
		d.err = err
		close(d.done)
	}
}

// sendTimeout returns how long a connect of s may block; 0 is for ever.
func sendTimeout(s int) time.Duration {
	tv, err := unix.GetsockoptTimeval(s, unix.SOL_SOCKET, unix.SO_SNDTIMEO)
	if err != nil {
		return 0
	}
	return time.Duration(tv.Nano())
}

// dial connects to what a process wants, links that with its socket, and hands both
// on.
func (t *tracer) dial(ctx context.Context, d *dial) {
	defer d.cancel()
	server, err := t.reach(ctx, d)
	t.mu.Lock()
	given := t.dials[d.cookie] != d
	if err == nil && !given {
		t.led[d.cookie] = peerOf(d.raw) // the process may ask as soon as it is connected
	}
	t.mu.Unlock()
	if given && err == nil {
		server.Close()
		err = errGivenUp
	}
	if t.lead.Tried != nil && !given {
		t.lead.Tried(d.want, err)
	}
	var client net.Conn
	if err == nil {
		if client, err = d.complete(); err != nil {
			server.Close()
		}
	}

	t.mu.Lock()
	if err != nil {
		delete(t.led, d.cookie)
		if t.dials[d.cookie] == d {
			t.fail(d, err)
		}
	}
	if err == nil && d.blocks && d.socket >= 0 {
		d.settle()
	}
	t.drop(d)
	t.finish(d, err)
	d.release()
	t.mu.Unlock()
	if err == nil {
		t.lead.Take(Conn{Wanted: d.want, Client: client, Server: server, Done: func() { t.done(d.cookie) }})
	}
}

// reach dials. If the process has bound its socket, ours is bound to the same address,
// and to the same port if that can be had.
func (t *tracer) reach(ctx context.Context, d *dial) (net.Conn, error) {
	to, own := d.want.Addr.String(), d.source != nil && d.source.Port != 0
	dialer := net.Dialer{Timeout: t.lead.DialTimeout, KeepAlive: -1, Control: func(_, _ string, raw syscall.RawConn) error {
		return raw.Control(func(fd uintptr) {
			unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_OOBINLINE, 1) // else urgent data would be lost
			if own {
				unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
			}
		})
	}}
	if d.source != nil {
		dialer.LocalAddr = d.source
	}
	c, err := dialer.DialContext(ctx, "tcp", to)
	if own && isBindError(err) {
		own = false
		dialer.LocalAddr = &net.TCPAddr{IP: d.source.IP}
		c, err = dialer.DialContext(ctx, "tcp", to)
	}
	return c, err
}

func isBindError(err error) bool {
	var e *os.SyscallError
	return errors.As(err, &e) && e.Syscall == "bind" || errors.Is(err, unix.EADDRNOTAVAIL) || errors.Is(err, unix.EADDRINUSE)
}

// fail has the process learn that its connect has failed. The caller holds t.mu.
func (t *tracer) fail(d *dial, err error) {
	if isShortage(err) {
		t.passed.countFailure(err)
	}
	if !d.told || d.socket >= 0 {
		answered := !d.told && t.anyWaits(d.waiting)
		d.crossing.fail(d.socket, answered)
		if answered && !d.blocks && errors.Is(err, unix.ECONNREFUSED) {
			d.refused = d.refuse() == unix.EINPROGRESS
		}
		return
	}
	s := -1
	if p, err := openProcess(uint32(d.pid)); err == nil {
		defer p.close()
		if s, err = p.socket(d.fd); err != nil {
			s = -1
		} else {
			defer unix.Close(s)
			if cookie, err := cookieOf(s); err != nil || cookie != d.cookie {
				s = -1
			}
		}
	}
	d.crossing.fail(s, false)
}

// done forgets, in time, where the process of a socket wanted to connect.
func (t *tracer) done(cookie uint64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.taken = append(t.taken, cookie); len(t.taken) > keepTaken {
		delete(t.led, t.taken[0])
		t.taken = t.taken[1:]
	}
}

// keepTaken is of how many sockets that we are done with the address is known that
// their process wanted: it may ask for that later.
const keepTaken = 1024

func (t *tracer) anyWaits(list []*notification) bool {
	for _, n := range list {
		if t.waits(n) {
			return true
		}
	}
	return false
}

// dialErrno returns the error number with which a connect fails.
func dialErrno(err error) syscall.Errno {
	var errno syscall.Errno
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		return unix.ETIMEDOUT
	case errors.Is(err, context.Canceled), errors.Is(err, errGivenUp):
		return unix.ECONNRESET
	case errors.As(err, &errno):
		return errno
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return unix.ETIMEDOUT
	}
	return unix.ECONNREFUSED
}
