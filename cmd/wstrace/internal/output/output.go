// Package output takes lines from the traffic and puts them into files, pipes
// and terminals in the background.
//
//	sink ─► Write ─► [ buffer ] ─swap─ [ buffer ] ─► goroutine ─► file
//
// Write copies the line and returns. What happens when lines come faster than
// they can be written is the [Options] to say: a recorder makes the traffic
// wait, a watcher loses lines.
package output

import (
	"bytes"
	"io"
	"sync"
	"time"
)

const (
	recorderBuffer = 1 << 20 // bytes that wait before Write does
	watcherQueue   = 8 << 20 // bytes that wait before lines are dropped
	plenty         = 256 << 10
	keptBuffer     = 2 << 20 // the largest buffer that is used again
	writeSize      = 64 << 10

	linger = 5 * time.Millisecond   // of silence before lines are written
	latest = 100 * time.Millisecond // after the first of them came they are written anyway
	giveUp = 2 * time.Second        // without progress, when a watcher is closed

	checkAfter = time.Second // at most, after something was written
)

// Options say how a [Writer] behaves. The zero value is a recorder: what does
// not fit makes Write wait.
type Options struct {
	// Drop makes the Writer a watcher: what does not fit is dropped, by whole
	// calls of Write.
	Drop bool

	// Always writes before Write returns, and so keeps no buffer.
	Always bool

	// OnError, if not nil, is called when writing fails. What comes later is
	// discarded, until a Revive.
	OnError func(error)

	// OnDrop, if not nil, is called with 0 when dropping begins, and with the
	// number of lines lost when what waited has been written.
	OnDrop func(lines int64)
}

// A Writer is an [io.Writer] for whole lines. Write may be called from several
// goroutines, never fails and keeps nothing of what it is given.
type Writer struct {
	w    io.Writer
	opts Options
	wake chan struct{} // there is something to write, or much of it, or it is the end
	done chan struct{} // closed when the goroutine is

	check func() error // of w; nil if it has none

	mu      sync.Mutex
	room    sync.Cond // signalled when there is room in buf
	buf     []byte    // lines that wait
	since   time.Time // when the first of them came
	cuts    []cut     // in buf
	flying  []byte    // what is being written
	written bool      // something was, since the last check
	lost    int64     // lines dropped since the queue was last empty
	dropped int64     // lines dropped before that
	err     error     // the first
	closed  bool
}

// A cut is a place between lines at which something is to be done.
type cut struct {
	at int // how many bytes of buf stand before it
	f  func()
}

// NewWriter returns a Writer on top of w. If w has a method Flush() error, it is
// called whenever lines have been written. If it has a method Check() error, it is
// called within a second after that, and an error ends the writing. Neither is
// called at the same time as Write. Close the Writer to stop it.
func NewWriter(w io.Writer, opts Options) *Writer {
	ow := &Writer{w: w, opts: opts, wake: make(chan struct{}, 1), done: make(chan struct{})}
	ow.room.L = &ow.mu
	if c, ok := w.(interface{ Check() error }); ok {
		ow.check = c.Check
	}
	if opts.Always && ow.check == nil {
		close(ow.done)
	} else {
		go ow.run()
	}
	return ow
}

// Write takes the lines in p. Its results are always len(p) and nil; see
// [Options.OnError] and [Writer.Close] for what went wrong.
func (w *Writer) Write(p []byte) (int, error) {
	var err error
	dropping, first := false, false

	w.mu.Lock()
	for !w.opts.Drop && len(w.buf) > 0 && len(w.buf)+len(p) > recorderBuffer && !w.over() {
		w.signal()
		w.room.Wait()
	}
	had := len(w.buf)
	switch queued := had + len(w.flying); {
	case w.over():
	case w.opts.Always:
		err = w.put(p)
		w.err = err
		first = !w.written
		w.written = true
	case w.opts.Drop && queued > 0 && queued+len(p) > watcherQueue:
		dropping = w.lost == 0
		w.lost += lines(p)
	default:
		if had == 0 {
			w.since = time.Now()
		}
		w.buf = append(w.buf, p...)
	}
	has := len(w.buf)
	w.mu.Unlock()

	if first || had == 0 && has > 0 || had < plenty && has >= plenty {
		w.signal()
	}
	w.report(err)
	if dropping && w.opts.OnDrop != nil {
		w.opts.OnDrop(0)
	}
	return len(p), nil
}

// over reports whether what is written is discarded.
func (w *Writer) over() bool { return w.err != nil || w.closed }

func (w *Writer) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// Cut has f called when all lines so far have been written, and before those that
// follow are: by the goroutine that writes, or at once with [Options.Always]. It
// is not called if the writing has ended by then.
func (w *Writer) Cut(f func()) {
	w.mu.Lock()
	defer w.mu.Unlock()
	switch {
	case w.over():
	case w.opts.Always:
		f()
	default:
		w.cuts = append(w.cuts, cut{len(w.buf), f})
		w.signal()
	}
}

// Revive has a Writer that failed go on, if f returns nil: f makes what is below
// take lines again. It returns what f returns, or nil without calling f if the
// Writer has not failed, or is closed.
func (w *Writer) Revive(f func() error) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err == nil || w.closed {
		return nil
	}
	if err := f(); err != nil {
		return err
	}
	w.buf, w.cuts, w.written, w.err = w.buf[:0], nil, false, nil
	return nil
}

// run writes what waits until the Writer is closed.
func (w *Writer) run() {
	defer close(w.done)
	silence, check := stoppedTimer(), stoppedTimer()
	defer silence.Stop()
	defer check.Stop()
	checking := false
	var spare []byte
	for {
		select {
		case <-w.wake:
		case <-check.C:
			checking = false
			w.checkNow()
			continue
		}
		w.linger(silence)
		w.mu.Lock()
		closed := w.closed
		b, cuts := w.buf, w.cuts
		w.buf, w.cuts, w.flying = spare, nil, b
		w.written = w.written || len(b) > 0
		if w.written && w.check != nil && !checking {
			checking = true
			check.Reset(checkAfter)
		}
		w.room.Broadcast()
		w.mu.Unlock()

		if len(b) > 0 || len(cuts) > 0 {
			w.write(b, cuts)
		}
		if closed {
			return
		}
		if spare = b[:0]; cap(b) > keptBuffer {
			spare = nil
		}
	}
}

func stoppedTimer() *time.Timer {
	t := time.NewTimer(time.Hour)
	t.Stop()
	return t
}

// checkNow asks whether what was written is still there.
func (w *Writer) checkNow() {
	w.mu.Lock()
	failed := w.err != nil
	w.written = false
	if w.opts.Always && !failed { // Write writes, under the lock
		w.err = w.check()
	}
	err := w.err
	w.mu.Unlock()
	if failed {
		return
	}
	if !w.opts.Always {
		if err = w.check(); err != nil {
			w.mu.Lock()
			w.err = err
			w.room.Broadcast()
			w.mu.Unlock()
		}
	}
	w.report(err)
}

// linger returns when no more has come for a moment, or the first line has waited
// long enough by the clock, or there is plenty to write.
func (w *Writer) linger(silence *time.Timer) {
	for had := 0; ; {
		w.mu.Lock()
		has, closed, left := len(w.buf), w.closed, latest-time.Since(w.since)
		w.mu.Unlock()
		if has == had || has >= plenty || closed || left <= 0 {
			return
		}
		had = has
		silence.Reset(min(linger, left))
		select {
		case <-silence.C:
		case <-w.wake:
		}
	}
}

// write puts b, which is w.flying, where it belongs, and does what is to be done
// in between.
func (w *Writer) write(b []byte, cuts []cut) {
	err := w.Err()
	failed := err != nil
	for done := 0; err == nil && (len(b) > 0 || len(cuts) > 0); {
		n := min(len(b), writeSize)
		if len(cuts) > 0 {
			n = min(n, cuts[0].at-done)
		}
		if n == 0 {
			if err = flush(w.w); err == nil {
				cuts[0].f()
			}
			cuts = cuts[1:]
			continue
		}
		_, err = w.w.Write(b[:n])
		b, done = b[n:], done+n
		w.mu.Lock()
		w.flying = b
		w.mu.Unlock()
	}
	if err == nil {
		err = flush(w.w)
	}
	w.mu.Lock()
	w.flying = nil
	if !failed {
		w.err = err
	}
	var lost int64
	if len(w.buf) == 0 {
		lost, w.lost = w.lost, 0
		w.dropped += lost
	}
	if err != nil {
		w.room.Broadcast()
	}
	w.mu.Unlock()
	if !failed {
		w.report(err)
	}
	if lost > 0 && w.opts.OnDrop != nil {
		w.opts.OnDrop(lost)
	}
}

// put writes and flushes p.
func (w *Writer) put(p []byte) error {
	if _, err := w.w.Write(p); err != nil {
		return err
	}
	return flush(w.w)
}

func (w *Writer) report(err error) {
	if err != nil && w.opts.OnError != nil {
		w.opts.OnError(err)
	}
}

// Err returns the error that ended the writing, or nil.
func (w *Writer) Err() error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.err
}

// Waiting reports whether lines have not been written yet.
func (w *Writer) Waiting() bool {
	if !w.mu.TryLock() {
		return true // for a write
	}
	defer w.mu.Unlock()
	return len(w.buf)+len(w.flying) > 0
}

// Dropped returns how many lines have been dropped.
func (w *Writer) Dropped() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.dropped + w.lost
}

// Close writes what waits, stops the Writer and returns [Writer.Err]. It does
// not close what is below. If a watcher takes nothing any more, the lines that
// wait are dropped.
func (w *Writer) Close() error {
	w.mu.Lock()
	w.closed = true
	w.room.Broadcast()
	w.mu.Unlock()
	w.signal()
	if w.opts.Drop {
		w.waitOrGiveUp()
	} else {
		<-w.done
	}
	return w.Err()
}

func (w *Writer) waitOrGiveUp() {
	ticker := time.NewTicker(giveUp)
	defer ticker.Stop()
	for had := -1; ; {
		w.mu.Lock()
		has := len(w.flying) + len(w.buf)
		if has == had {
			w.dropped += lines(w.flying) + lines(w.buf)
			w.mu.Unlock()
			return
		}
		w.mu.Unlock()
		had = has
		select {
		case <-w.done:
			return
		case <-ticker.C:
		}
	}
}

func flush(w io.Writer) error {
	if f, ok := w.(interface{ Flush() error }); ok {
		return f.Flush()
	}
	return nil
}

func lines(p []byte) int64 { return int64(bytes.Count(p, []byte{'\n'})) }
