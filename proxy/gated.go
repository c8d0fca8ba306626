package proxy

import (
	"net"

	"github.com/wstrace/wstrace/decode"
)

// runGated is run of a relay that has an outbox: bytes go on as the events that
// tell of them decide, so at the ends of frames and pieces. What no event has
// told of yet stays unread in src. It returns errUngated when the gate is left
// out and everything so far was sent on.
func (r *relay) runGated() error {
	r.out.begin(r.dst, r.session)
	given := 0 // so many of the unread bytes the session has
	for {
		var err error
		if b := r.src.unread()[given:]; len(b) > 0 {
			var n int
			if n, err = r.out.room(len(b), given, r.stop); err == nil {
				r.session.Data(r.dir, r.src.readAt(), b[:n])
				given += n
			}
		} else {
			err = r.fill()
		}
		if err == nil {
			given, err = r.forward(given)
		}
		if _, resets := r.out.resets(); resets && err == nil {
			return r.reset()
		}
		switch {
		case err != nil:
			return r.endGated(given, err)
		case r.out.isOver():
			<-r.out.done
			return r.writeUndecided(given)
		}
	}
}

// forward does with the bytes given what was decided on them, and waits for the
// writer if that has something to write now. It returns how many bytes are left
// that nothing was decided on.
func (r *relay) forward(given int) (left int, err error) {
	direct, covered := r.out.take()
	b, n := r.src.unread(), 0
	for _, s := range direct { // one write
		if s.from != n {
			copy(b[n:], b[s.from:s.to])
		}
		n += s.to - s.from
	}
	if n > 0 {
		_, err = r.dst.Write(b[:n])
	}
	r.out.taken(covered, err)
	r.src.use(covered)
	r.session.outlet.report(r.session)
	return given - covered, r.out.settle(r.stop)
}

// writeUndecided writes bytes that the session has and that no event has told
// of.
func (r *relay) writeUndecided(n int) error {
	if n > 0 {
		_, err := r.dst.Write(r.src.unread()[:n])
		r.src.use(n)
		if err != nil {
			r.session.End(r.dir, r.session.now(), cutShort(r.stop), "")
			return errWrite
		}
	}
	return errUngated
}

// endGated ends the direction, because of err: first what is held goes on.
func (r *relay) endGated(given int, err error) error {
	if err != errWrite {
		r.session.FlushAll(r.dir, r.src.readAt())
		r.session.outlet.release(r.dir)
		given, _ = r.forward(given)
		if _, resets := r.out.resets(); resets {
			return r.reset()
		}
	}
	if r.out.finish() != nil {
		r.session.End(r.dir, r.session.now(), cutShort(r.stop), "")
		return errWrite
	}
	recordEnd(r.dir, r.src, r.session, err)
	given, _ = r.forward(given) // the beginning of a header
	r.writeUndecided(given)
	if _, resets := r.out.resets(); resets {
		return r.reset()
	}
	r.dst.endLike(err)
	r.nudge()
	return err
}

// reset resets both connections, as the gate has decided, and ends the direction.
func (r *relay) reset() error {
	change, _ := r.out.resets()
	r.session.outlet.resetBoth(change)
	<-r.out.done
	r.session.End(r.dir, r.session.now(), decode.EndLocal, "")
	return net.ErrClosed
}

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

// take returns how many of the relay's unread bytes are decided on, and which of
// them it is to write. Until the relay calls taken, the writer does not write.
func (o *outbox) take() (direct []span, covered int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.direct, o.covered
}

// taken notes that the relay has written and used what take returned, or could
// not write.
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
	if !o.ungated.Load() {
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
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.err
}
