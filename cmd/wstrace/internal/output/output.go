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
	latest = 100 * time.Millisecond // after which they are written anyway
	giveUp = 2 * time.Second        // without progress, when a watcher is closed
)

// Options say how a [Writer] behaves. The zero value is a recorder: what does
// not fit makes Write wait.
type Options struct {
	// Drop makes the Writer a watcher: what does not fit is dropped, by whole
	// calls of Write.
	Drop bool

	// Always writes before Write returns, and so keeps no buffer.
	Always bool

	// OnError, if not nil, is called once, when writing fails. What comes later
	// is discarded.
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

	mu      sync.Mutex
	room    sync.Cond // signalled when there is room in buf
	buf     []byte    // lines that wait
	flying  []byte    // what is being written
	lost    int64     // lines dropped since the queue was last empty
	dropped int64     // lines dropped before that
	err     error     // the first
	closed  bool
}

// NewWriter returns a Writer on top of w. If w has a method Flush() error, it is
// called whenever lines have been written. Close the Writer to stop it.
func NewWriter(w io.Writer, opts Options) *Writer {
	ow := &Writer{w: w, opts: opts, wake: make(chan struct{}, 1), done: make(chan struct{})}
	ow.room.L = &ow.mu
	if opts.Always {
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
	dropping := false

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
	case w.opts.Drop && queued > 0 && queued+len(p) > watcherQueue:
		dropping = w.lost == 0
		w.lost += lines(p)
	default:
		w.buf = append(w.buf, p...)
	}
	has := len(w.buf)
	w.mu.Unlock()

	if had == 0 && has > 0 || had < plenty && has >= plenty {
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

// run writes what waits until the Writer is closed.
func (w *Writer) run() {
	defer close(w.done)
	timer := time.NewTimer(latest)
	var spare []byte
	for {
		<-w.wake
		w.linger(timer)
		w.mu.Lock()
		closed := w.closed
		b := w.buf
		w.buf, w.flying = spare, b
		w.room.Broadcast()
		w.mu.Unlock()

		if len(b) > 0 {
			w.write(b)
		}
		if closed {
			return
		}
		if spare = b[:0]; cap(b) > keptBuffer {
			spare = nil
		}
	}
}

// linger returns when no more has come for a moment, or it has been long
// enough, or there is plenty to write.
func (w *Writer) linger(timer *time.Timer) {
	had := 0
	for waited := time.Duration(0); waited < latest; waited += linger {
		w.mu.Lock()
		has, closed := len(w.buf), w.closed
		w.mu.Unlock()
		if has == had || has >= plenty || closed {
			return
		}
		had = has
		timer.Reset(linger)
		select {
		case <-timer.C:
		case <-w.wake:
		}
	}
}

// write puts b, which is w.flying, where it belongs.
func (w *Writer) write(b []byte) {
	err := w.Err()
	failed := err != nil
	for len(b) > 0 && err == nil {
		n := min(len(b), writeSize)
		_, err = w.w.Write(b[:n])
		b = b[n:]
		w.mu.Lock()
		w.flying = b
		w.mu.Unlock()
	}
	if err == nil {
		err = flush(w.w)
	}
	w.mu.Lock()
	w.flying = nil
	w.err = err
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
