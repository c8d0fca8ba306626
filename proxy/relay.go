package proxy

import (
	"errors"
	"net"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A source is what a relay reads: a connection, a stream of one, or a pipe in
// memory. It has a buffer of its own, which it needs only while something is
// unread.
type source interface {
	unread() []byte                    // what was read and not used; valid until the next fill or use
	use(n int)                         // drops the first n unread bytes
	fill() error                       // waits for more bytes and adds them; io.EOF at the end
	readAt() time.Time                 // when the latest fill returned
	SetReadDeadline(t time.Time) error // when fill gives up, with os.ErrDeadlineExceeded
}

// A destination is what a relay writes to.
type destination interface {
	Write(b []byte) (int, error)
	endLike(err error) // ends it as the source has ended, of which fill returned err
}

// A relay is one direction of what two peers say to each other once requests
// are over: the bytes of src go to the session and then, the very same, to dst.
type relay struct {
	dir     decode.Dir
	src     source
	dst     destination
	session *session

	out  *outbox         // of runGated: what a gate decides on
	stop <-chan struct{} // closed when the relay is to end; nil if never

	ticking bool // a read deadline is set, to flush the session
}

// errWrite says that a write failed. How the other side has ended is for the
// goroutine that reads it to say.
var errWrite = errors.New("write failed")

// errUngated says that the gate is left out from here on, and run is next.
var errUngated = errors.New("the gate is left out")

// run reads a chunk, gives it to the session and writes it on, until src has
// ended, which it passes on as it came, or dst can't be written to. It returns
// why. It holds no buffer while it waits, and little stack.
func (r *relay) run() error {
	for {
		err := r.pass()
		if err == nil {
			err = r.fill()
		}
		if err != nil {
			return r.end(err)
		}
	}
}

// pass gives what is unread to the session and writes it on.
func (r *relay) pass() error {
	b := r.src.unread()
	if len(b) == 0 {
		return nil
	}
	r.session.Data(r.dir, r.src.readAt(), b)
	_, err := r.dst.Write(b)
	r.src.use(len(b))
	if err != nil {
		return errWrite
	}
	return nil
}

// end ends the direction, because of err, which it returns.
func (r *relay) end(err error) error {
	if err == errWrite {
		r.session.End(r.dir, r.session.now(), cutShort(r.stop), "")
		return err
	}
	recordEnd(r.dir, r.src, r.session, err)
	r.dst.endLike(err)
	r.nudge()
	return err
}

// cutShort returns how a direction has ended of which a write failed: by our doing
// once stop is closed, else because the other side has gone.
func cutShort(stop <-chan struct{}) decode.End {
	select {
	case <-stop:
		return decode.EndLocal
	default:
		return decode.EndDrop
	}
}

// fill waits for more of src, but flushes what the session has held back for a
// second and then returns, with nothing more to read.
func (r *relay) fill() error {
	r.tick()
	err := r.src.fill()
	if isTimeout(err) && (r.ticking || r.nudged()) {
		r.flush()
		return nil
	}
	return err
}

// tick sets a read deadline if the session holds something back.
func (r *relay) tick() {
	if at, due := r.session.flushAt(r.dir); due && !r.ticking {
		r.src.SetReadDeadline(time.Now().Add(at.Sub(r.session.now())))
		r.ticking = true
	}
}

// nudge makes the other direction, which may be waiting, flush the session when
// that is due, now that this one has ended.
func (r *relay) nudge() {
	if at, due := r.session.flushAt(r.dir.Peer()); due {
		if other, ok := r.dst.(source); ok {
			other.SetReadDeadline(time.Now().Add(at.Sub(r.session.now())))
		}
	}
}

// nudged reports whether a deadline that was not set by tick is one of nudge.
func (r *relay) nudged() bool {
	_, due := r.session.flushAt(r.dir)
	r.ticking = due
	return due
}

// flush flushes what the session has held back for a second, at the deadline
// that tick has set.
func (r *relay) flush() {
	r.stopTicking()
	if at, due := r.session.flushAt(r.dir); due && !r.src.readAt().Before(at) {
		r.session.Flush(r.dir, r.src.readAt())
	}
}

// stopTicking gives up the read deadline that tick has set.
func (r *relay) stopTicking() {
	if r.ticking {
		r.ticking = false
		r.src.SetReadDeadline(time.Time{})
	}
}

// recordEnd records that src, which d is read from, has ended with err.
func recordEnd(d decode.Dir, src source, s *session, err error) {
	how, text := howEnded(err), ""
	if alert, ok := alertOf(err); ok {
		if l, ok := src.(*leg); !ok || !l.cut.Load() { // else it answers what the other side did
			text = d.String() + " sent alert " + alertName(alert)
		}
	} else if how == decode.EndLocal && err != errWrite && !errors.Is(err, net.ErrClosed) {
		text = "read from " + d.String() + ": " + errorText(err)
	}
	s.End(d, src.readAt(), how, text)
}
