package proxy

import (
	"time"

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
			r.session.End(r.dir, time.Now(), decode.EndLocal, "")
			return errWrite
		}
	}
	return errUngated
}

// endGated ends the direction, because of err: first what is held goes on.
func (r *relay) endGated(given int, err error) error {
	if err != errWrite {
		r.session.FlushAll(r.dir, r.src.readAt())
		given, _ = r.forward(given)
	}
	if r.out.finish() != nil {
		r.session.End(r.dir, time.Now(), decode.EndLocal, "")
		return errWrite
	}
	recordEnd(r.dir, r.src, r.session, err)
	given, _ = r.forward(given) // the beginning of a header
	r.writeUndecided(given)
	r.dst.endLike(err)
	return err
}
