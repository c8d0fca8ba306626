package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// settleTime is how long connections may take to end after the processes have that
// made them, and settleStill how long it takes to notice that none is left. In
// refusalTime clients learn that the server which they have waited for never came.
const (
	settleTime  = 2 * time.Second
	settleStill = 50 * time.Millisecond
	refusalTime = 500 * time.Millisecond
)

// settle waits until the connections have ended, and ends those that don't: at once if
// processes still run, which a signal has said not to wait for.
func (c *command) settle(cancel context.CancelFunc) {
	c.dropSignals()
	deadline := time.After(settleTime)
	settled := true
	select {
	case <-c.process.Ended():
		settled = false
	default:
	}
	for !settled {
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
			settled = true
		case <-c.ongoing.changed:
		case <-still:
			settled = true
		case <-deadline:
			settled = true
		}
	}
	cancel()
	c.served.Wait()
}

// ongoing is a sink that counts the sessions that are open.
type ongoing struct {
	n       atomic.Int64
	changed chan struct{} // holds one if n has changed
}

// Emit counts ev.
func (o *ongoing) Emit(ev *decode.Event) {
	switch ev.Kind {
	case decode.KindOpen:
		o.n.Add(1)
	case decode.KindClosed:
		o.n.Add(-1)
	default:
		return
	}
	select {
	case o.changed <- struct{}{}:
	default:
	}
}
