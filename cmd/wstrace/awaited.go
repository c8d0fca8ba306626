package main

import (
	"context"
	"errors"
	"net"
	"sync"
	"syscall"
	"time"
)

// An awaited server is one that may not listen yet.
type awaited struct {
	ended   <-chan struct{} // closed when no process of it is left
	waits   func()          // called once, when a client has waited for a while
	timeout time.Duration   // of an attempt

	said    sync.Once
	mu      sync.Mutex
	ready   bool // it has listened
	refused bool // it has not, and clients have waited
}

// hasRefused reports whether clients have waited for a server that never listened.
func (a *awaited) hasRefused() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.refused
}

// retryEvery is how often a server is asked that does not listen yet.
const retryEvery = 50 * time.Millisecond

// sayAfter is how long a client waits for a server before that is told.
const sayAfter = 2 * time.Second

// dial connects to addr. The first time it waits until something listens there.
func (a *awaited) dial(ctx context.Context, addr string) (net.Conn, error) {
	d := net.Dialer{Timeout: a.timeout}
	for since := time.Now(); ; {
		conn, err := d.DialContext(ctx, "tcp", addr)
		a.mu.Lock()
		a.ready = a.ready || err == nil
		ready := a.ready
		a.mu.Unlock()
		if ready || !errors.Is(err, syscall.ECONNREFUSED) {
			return conn, err
		}
		if time.Since(since) > sayAfter {
			a.said.Do(a.waits)
		}
		select {
		case <-time.After(retryEvery):
		case <-a.ended:
			a.mu.Lock()
			a.refused = true
			a.mu.Unlock()
			return nil, err
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
