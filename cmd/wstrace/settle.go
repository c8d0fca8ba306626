package main

import (
	"context"
	"net"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// When the processes have ended that made them, or the server behind them, connections
// may take as long as something moves, and settleTime after that, or stuckTime if a
// server has not taken yet what was sent to it. settleStill is how long it takes to
// notice that none is left. In refusalTime clients learn that the server which they have
// waited for never came.
const (
	settleTime  = 2 * time.Second
	stuckTime   = time.Minute
	settleStill = 50 * time.Millisecond
	settleLook  = 100 * time.Millisecond
	refusalTime = 500 * time.Millisecond
)

// settle waits until the connections have ended, and ends those that don't: at once if
// processes still run, which a signal has said not to wait for.
func (c *command) settle(cancel context.CancelFunc) {
	c.dropSignals()
	select {
	case <-c.process.Ended():
		if !c.settled() {
			c.con.say("servers have not taken all that was sent to them before the command ended")
		}
	default:
	}
	cancel()
	c.served.Wait()
}

// settled waits until the connections have ended. It returns false if something is still
// to be sent to a server.
func (c *command) settled() bool {
	moved, unsent := c.conns.moved()
	since, said := time.Now(), false
	look := time.NewTicker(settleLook)
	defer look.Stop()
	for {
		var still <-chan time.Time
		switch {
		case c.ongoing.n.Load() > 0:
		case c.await.hasRefused():
			still = time.After(refusalTime)
		default:
			still = time.After(settleStill)
		}
		select {
		case <-c.signals: // waiting is no longer wanted
			return unsent == 0
		case <-c.ongoing.changed:
		case <-still:
			return true
		case now := <-look.C:
			var m int64
			if m, unsent = c.conns.moved(); m != moved {
				moved, since = m, now
			}
			switch still := now.Sub(since); {
			case unsent == 0 && still > settleTime, still > stuckTime:
				return unsent == 0
			case unsent > 0 && still > settleTime && !said:
				said = true
				c.con.say("waiting for servers to take what was sent to them; press Ctrl-C to give up")
			}
		}
	}
}

// ongoing is a sink that counts the sessions that are open, and connections of which
// that is not known yet.
type ongoing struct {
	n       atomic.Int64
	changed chan struct{} // holds one if n has changed
}

// Emit counts ev.
func (o *ongoing) Emit(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindOpen:
		o.add(1)
	case decode.KindClosed:
		o.add(-1)
	}
}

func (o *ongoing) add(n int64) {
	o.n.Add(n)
	select {
	case o.changed <- struct{}{}:
	default:
	}
}

// conns are connections of which it is asked how far they are, also some that are closed.
type conns struct {
	mu    sync.Mutex
	list  []tcpConn // protected by mu
	prune int       // how many there may be before those that are closed go; protected by mu
}

type tcpConn struct {
	*net.TCPConn
	server bool // it is with a server
}

// add adds a connection with a client, or a server.
func (cs *conns) add(c net.Conn, server bool) {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return
	}
	cs.mu.Lock()
	defer cs.mu.Unlock()
	if cs.list = append(cs.list, tcpConn{tcp, server}); len(cs.list) > cs.prune {
		cs.drop()
		cs.prune = max(2*len(cs.list), 64)
	}
}

// drop forgets connections that are closed.
func (cs *conns) drop() {
	open := cs.list[:0]
	for _, c := range cs.list {
		if isOpen(c.TCPConn) {
			open = append(open, c)
		}
	}
	clear(cs.list[len(open):])
	cs.list = open
}

func isOpen(c *net.TCPConn) bool {
	raw, err := c.SyscallConn()
	return err == nil && raw.Control(func(uintptr) {}) == nil
}

// moved returns how many bytes have gone either way, and how many came from clients that
// have not arrived at servers yet.
func (cs *conns) moved() (total, unsent int64) {
	cs.mu.Lock()
	defer cs.mu.Unlock()
	cs.drop()
	for _, c := range cs.list {
		m, unread, unacked := bytesMoved(c.TCPConn)
		total += m
		if c.server {
			unsent += unacked
		} else {
			unsent += unread
		}
	}
	return total, unsent
}

// A clientListener knows the clients that it accepts.
type clientListener struct {
	net.Listener
	conns *conns
}

func (l *clientListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err == nil {
		l.conns.add(c, false)
	}
	return c, err
}
