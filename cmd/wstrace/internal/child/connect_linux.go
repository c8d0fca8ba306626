package child

import (
	"encoding/binary"
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
	done chan struct{} // closed when it is over
	err  error         // why it has failed; set before done is closed

	told    bool            // the process has been told that it is under way; under tracer.mu
	waiting []*notification // for the answer; under tracer.mu
}

// connect answers connect(2).
func (t *tracer) connect(n *notification) answer {
	p, s := t.open(n)
	if p == nil {
		return leave
	}
	defer p.close()
	raw := make([]byte, min(n.args[2], 128))
	if _, err := p.mem.ReadAt(raw, int64(n.args[1])); err != nil || len(raw) < 2 {
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
	cookie, err2 := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_COOKIE)
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
	switch {
	case d == nil:
		addr, _ := inetAddr(raw) // of IPv6 if the socket is, also for IPv4
		c, err := newCrossing(s, t.parks.of(addr.Addr()), addr.Addr(), blocks)
		if err != nil {
			t.mu.Unlock()
			unix.Close(s)
			var errno syscall.Errno
			if !errors.As(err, &errno) { // it is connected already, or listens: for the kernel to say
				return leave
			}
			return answer{errno: errno}
		}
		d = &dial{done: make(chan struct{})}
		t.dials[cookie] = d
		t.work.Go(func() { t.dial(d, c, cookie, want, raw) })
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
	case d.err != nil:
		return answer{errno: dialErrno(d.err)}
	case !blocks:
		return answer{errno: unix.EINPROGRESS} // as TCP does; it can be written to at once
	}
	return answer{}
}

// What ends the wait for a dial.
type waitEnd uint8

const (
	waitDone waitEnd = iota
	waitTimeout
	waitSignal // for the process, which must not wait longer
)

// signalEvery is how often it is asked whether a signal has come for a process whose
// connect blocks. The kernel holds it back as long as we have not answered.
const signalEvery = 50 * time.Millisecond

// wait waits for the end of d, at most until limit has passed, unless that is 0.
func (t *tracer) wait(n *notification, d *dial, limit time.Duration, blocks bool) waitEnd {
	var timeout, look <-chan time.Time
	if limit > 0 {
		timer := time.NewTimer(limit)
		defer timer.Stop()
		timeout = timer.C
	}
	if blocks {
		ticker := time.NewTicker(signalEvery)
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
		case <-timeout:
			t.mu.Lock()
			defer t.mu.Unlock()
			select {
			case <-d.done:
				return waitDone
			default:
				d.told = true // unless a signal comes first
				return waitTimeout
			}
		}
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
func (t *tracer) dial(d *dial, c *crossing, cookie uint64, want Wanted, raw []byte) {
	dialer := net.Dialer{Timeout: t.lead.DialTimeout, LocalAddr: c.boundTo(), KeepAlive: -1}
	server, err := dialer.DialContext(t.ctx, "tcp", want.Addr.String())
	if t.lead.Tried != nil {
		t.lead.Tried(want, err)
	}
	var client net.Conn
	if err == nil {
		t.mu.Lock()
		t.led[cookie] = raw // the process may ask as soon as it is connected
		t.mu.Unlock()
		if client, err = c.complete(); err != nil {
			server.Close()
		}
	}

	t.mu.Lock()
	if err != nil {
		c.fail(!d.told && t.anyWaits(d.waiting))
		delete(t.led, cookie)
	}
	d.err = err
	close(d.done)
	delete(t.dials, cookie)
	t.mu.Unlock()
	if err != nil {
		return
	}
	t.lead.Take(Conn{Wanted: want, Client: client, Server: server, Done: func() { t.done(cookie) }})
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
	case errors.As(err, &errno):
		return errno
	}
	var timeout interface{ Timeout() bool }
	if errors.As(err, &timeout) && timeout.Timeout() {
		return unix.ETIMEDOUT
	}
	return unix.ECONNREFUSED
}

// peerName answers getpeername(2): with the address that the process wanted.
func (t *tracer) peerName(n *notification) answer {
	p, s := t.open(n)
	if p == nil {
		return leave
	}
	defer p.close()
	defer unix.Close(s)
	cookie, err := unix.GetsockoptUint64(s, unix.SOL_SOCKET, unix.SO_COOKIE)
	if err != nil {
		return leave
	}
	t.mu.Lock()
	raw := t.led[cookie]
	t.mu.Unlock()
	if raw == nil {
		return leave
	}
	if _, err := unix.Getpeername(s); err != nil { // it has ended
		return leave
	}
	size := make([]byte, 4)
	if _, err := p.mem.ReadAt(size, int64(n.args[2])); err != nil {
		return leave
	}
	room := int32(binary.NativeEndian.Uint32(size))
	if room < 0 {
		return leave
	}
	if len(raw) > unix.SizeofSockaddrInet6 {
		raw = raw[:unix.SizeofSockaddrInet6]
	}
	if binary.NativeEndian.Uint16(raw) == unix.AF_INET {
		raw = raw[:unix.SizeofSockaddrInet4]
	}
	if !t.waits(n) {
		return leave
	}
	if _, err := p.mem.WriteAt(raw[:min(int(room), len(raw))], int64(n.args[1])); err != nil {
		return answer{errno: unix.EFAULT}
	}
	binary.NativeEndian.PutUint32(size, uint32(len(raw)))
	if _, err := p.mem.WriteAt(size, int64(n.args[2])); err != nil {
		return answer{errno: unix.EFAULT}
	}
	return answer{}
}
