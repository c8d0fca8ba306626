package proxy

import (
	"net"
	"time"
)

// write is the writer of an outbox.
func (o *outbox) write(dst destination, s *session) {
	defer close(o.done)
	var batch []byte
	for {
		items, wait, ok := o.next()
		if !ok {
			return
		}
		if len(items) == 0 {
			o.sleep(wait)
			continue
		}
		now := time.Now()
		for i := range items {
			s.Sent(o.dir, now, items[i].b, items[i].change)
		}
		b := items[0].b
		if len(items) > 1 { // one write
			batch = batch[:0]
			for i := range items {
				batch = append(batch, items[i].b...)
			}
			b = batch
		}
		_, err := dst.Write(b)
		o.wrote(items, err)
	}
}

// sleep waits for something to do, for no longer than d unless that is 0.
func (o *outbox) sleep(d time.Duration) {
	if d == 0 {
		<-o.wake
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-o.wake:
	case <-t.C:
	}
}

// next takes from the outbox what the writer is to write now. If that is
// nothing, wait says when to ask again, unless woken before; 0 means never. ok
// is false at the end.
func (o *outbox) next() (items []item, wait time.Duration, ok bool) {
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	switch {
	case o.err != nil:
		return nil, 0, false
	case len(o.direct) > 0: // the relay is about to write
		return nil, 0, true
	case len(o.urgent) > 0 && !o.midway:
		items, o.urgent = o.urgent, nil
	case len(o.queue) == 0:
		return nil, 0, !o.closed
	case o.queue[0].held(now):
		return nil, o.queue[0].until.Sub(now), true
	default:
		n := 1
		for size := len(o.queue[0].b); n < len(o.queue) && !o.queue[n].held(now); n++ {
			if size += len(o.queue[n].b); size > maxBatch {
				break
			}
		}
		items, o.queue = o.queue[:n:n], o.queue[n:]
	}
	o.writing = true
	return items, 0, true
}

// wrote takes note of what the writer has written, or why it could not.
func (o *outbox) wrote(items []item, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	for i := range items {
		if items[i].urgent {
			o.extra -= len(items[i].b)
		} else {
			o.size -= len(items[i].b)
		}
	}
	o.writing, o.midway = false, !items[len(items)-1].ends
	clear(items)
	if err != nil {
		o.err = errWrite
	}
	signal(o.progress)
}

// busy reports whether the writer writes or is about to.
func (o *outbox) busy() bool {
	return o.writing || len(o.urgent) > 0 && !o.midway || len(o.queue) > 0 && !o.queue[0].held(time.Now())
}

// What follows is the relay's part.

// room returns how many of n bytes the relay may give to the session, when it
// has given some that no event has told of yet, and waits until it may give any.
// It gives up when stop is closed.
func (o *outbox) room(n, given int, stop <-chan struct{}) (int, error) {
	for {
		o.mu.Lock()
		free, err := maxQueue-o.size-given, o.err
		if o.size == 0 {
			free = max(free, 1)
		}
		o.mu.Unlock()
		if err != nil || free > 0 {
			return min(n, free), err
		}
		if !o.awaitProgress(stop) {
			return 0, net.ErrClosed
		}
	}
}

// settle waits until the writer has nothing to write now. It gives up when stop
// is closed.
func (o *outbox) settle(stop <-chan struct{}) error {
	for {
		o.mu.Lock()
		busy, err := o.busy(), o.err
		o.mu.Unlock()
		if err != nil || !busy {
			return err
		}
		if !o.awaitProgress(stop) {
			return net.ErrClosed
		}
	}
}

func (o *outbox) awaitProgress(stop <-chan struct{}) bool {
	select {
	case <-o.progress:
		return true
	case <-stop:
		return false
	}
}

// take returns what the relay is to write of the bytes that it has not used, and
// how many of those are decided on. It calls taken when it has written.
func (o *outbox) take() (direct []span, covered int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.direct, o.covered
}

func (o *outbox) taken(covered int, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.direct = o.direct[:0]
	o.covered -= covered
	if err != nil {
		o.err = errWrite
	}
	if len(o.queue)+len(o.urgent) > 0 { // it has waited for this write
		signal(o.wake)
	}
}

// isOver reports whether the gate is left out and nothing waits any more, and
// closes the outbox then.
func (o *outbox) isOver() bool {
	if !o.deaf.Load() {
		return false
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.inFrame || o.writing || len(o.queue) > 0 || len(o.urgent) > 0 {
		return false
	}
	o.open, o.closed = false, true
	signal(o.wake)
	return true
}

// finish releases what is held, waits until it is written, and ends the writer.
// An injection that still waits for the end of a frame or message is lost.
func (o *outbox) finish() error {
	o.mu.Lock()
	o.closed = true
	o.releaseLocked()
	o.mu.Unlock()
	<-o.done
	return o.err
}
