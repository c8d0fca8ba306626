package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"runtime/debug"
	"sync"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
)

// A redaction is a sink that takes the secrets out of a run before anything is
// recorded or shown. What is shown is what show prints of the recording:
//
//	events ─► trace.Writer ─► Redactor ─► records ─► the files of -w
//	                                              ─► trace.Player ─► tee: renderer, totals,
//	                                                 the files of -w that --rotate turns
//
// If nothing takes its events, nothing is played again, which takes as much memory
// as the sessions themselves.
type redaction struct {
	w      *trace.Writer // writes to buf
	buf    bytes.Buffer
	red    *edit.Redactor
	player *trace.Player
	tee    decode.Tee
	files  []io.Writer
	line   []byte
	err    error // the first

	events chan *decode.Event // to the goroutine that does the work; nil before the first
	done   chan struct{}      // from it, after each
}

// newRedaction returns a redaction that shows what look asks for.
func newRedaction(selectors []string, look decode.Look) (*redaction, error) {
	red, err := edit.NewRedactor(selectors...)
	if err != nil {
		return nil, err
	}
	r := &redaction{red: red}
	r.w = trace.NewWriter(&r.buf, traceOptions())
	r.player = trace.NewPlayer(&r.tee, look)
	return r, nil
}

// Emit takes an event. The Tee above allows one at a time. A goroutine of its own
// does the work, or else the stack of each connection would grow for it.
func (r *redaction) Emit(ev *decode.Event) {
	if r.events == nil {
		r.events, r.done = make(chan *decode.Event), make(chan struct{})
		go func() {
			for ev := range r.events {
				r.take(ev)
				r.done <- struct{}{}
			}
		}()
	}
	r.events <- ev
	<-r.done
}

// take redacts an event. If that goes wrong, what is not redacted is left out, and
// the traffic goes on.
func (r *redaction) take(ev *decode.Event) {
	defer func() {
		if p := recover(); p != nil {
			r.fail(fmt.Errorf("session %d: %v", ev.Conn, p))
		}
	}()
	r.buf.Reset()
	r.w.Emit(ev)
	for line := range bytes.Lines(r.buf.Bytes()) {
		rec, err := trace.Parse(line)
		if err != nil { // what can't be redacted is not recorded
			r.fail(err)
			continue
		}
		r.pass(r.red.Take(rec))
	}
	if r.buf.Cap() > maxKept {
		r.buf = bytes.Buffer{}
	}
}

// collectMore makes garbage collections more frequent, unless GOGC says otherwise.
// Every session is there twice when it is played again; less garbage makes up for
// that, and costs some 8 % of the CPU time.
func collectMore() {
	if os.Getenv("GOGC") == "" {
		debug.SetGCPercent(40)
	}
}

// maxKept is the largest buffer that is used again.
const maxKept = 1 << 20

// pass hands on what is ready.
func (r *redaction) pass(recs []*trace.Record) {
	if len(recs) == 0 {
		return
	}
	if len(r.files) > 0 {
		r.line = r.line[:0]
		for _, rec := range recs {
			r.line = rec.Append(r.line)
		}
		for _, w := range r.files {
			w.Write(r.line) // which never fails
		}
		if cap(r.line) > maxKept {
			r.line = nil
		}
	}
	if len(r.tee.Sinks) == 0 {
		return // nothing is shown
	}
	for _, rec := range recs {
		if err := r.player.Play(rec); err != nil {
			r.fail(err)
		}
	}
}

func (r *redaction) fail(err error) {
	if r.err == nil {
		r.err = err
	}
}

// Close hands on what waits. An error says why something is missing.
func (r *redaction) Close() error {
	if r.events != nil {
		close(r.events)
		r.events = nil
	}
	r.pass(r.red.Take(nil))
	if err := r.player.Close(); err != nil {
		r.fail(err)
	}
	if r.err != nil {
		return errors.Join(errors.New("not all could be redacted, and that is left out"), r.err)
	}
	return nil
}

// hideIn makes con print no secrets.
func hideIn(con *console, selectors []string) {
	red, err := edit.NewRedactor(selectors...)
	if err != nil {
		return
	}
	var mu sync.Mutex
	con.hide = func(s string) string {
		mu.Lock()
		defer mu.Unlock()
		return red.Text(s)
	}
}
