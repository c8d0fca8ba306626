package main

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// settleTime is how long connections may take to end after the processes have that
// made them, and settleStill how long it takes to notice that none is left.
const (
	settleTime  = 2 * time.Second
	settleStill = 50 * time.Millisecond
)

// settle waits until the connections have ended, and ends those that don't: at once if
// processes still run, which a signal has said not to wait for.
func (c *command) settle(cancel context.CancelFunc) {
	deadline := time.After(settleTime)
	settled := true
	select {
	case <-c.process.Ended():
		settled = false
	default:
	}
	for !settled {
		var still <-chan time.Time
		if c.ongoing.n.Load() == 0 {
			still = time.After(settleStill)
		}
		select {
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
