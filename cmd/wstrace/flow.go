package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strconv"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/output"
	"github.com/wstrace/wstrace/decode"
)

// A flow carries the events of a run to where they are wanted:
//
//	Tee ─► renderer     ─► output.Writer ─► stdout, or the file of --to
//	    ─► trace.Writer ─► output.Writer ─► the file of -w
//	    ─► pcap.Writer  ─► output.Writer ─► the same, which is given the bytes too: Tap
//	    ─► totals
//
// With a redaction these follow behind that.
type flow struct {
	tee    decode.Tee
	totals totals
	con    *console
	stderr *output.Writer // of con, from begin to end
	drains []*drain

	redaction *redaction // nil if nothing is secret

	partly   bool               // the run ended before its time, so totals would mislead
	unwanted context.CancelFunc // called when a file takes no more; may be nil

	parts *partTurner // until end; nil without turnParts

	closing atomic.Pointer[drain] // by end
	over    chan struct{}         // closed by end; nil without untilSignal
	watched chan struct{}         // closed after the last message about what is waited for
}

// moment is how long something may take before a message says what is waited for.
const moment = time.Second

// A drain is a file at the end of a flow.
type drain struct {
	what   string // for messages: record "a.wst", write stdout
	file   *file.Writer
	record bool // nothing may be missing
	opts   output.Options
	sink   func(io.Writer) decode.Sink
	out    *output.Writer // once begun
	last   io.Closer      // the sink, if it holds something back; nil if not
	tap    decode.Tap     // the sink, if it is given the bytes too; nil if not
	parted *parted        // the sink, if it may go on in a new file; nil if not
	flaw   error          // what went wrong though nothing is missing; by the goroutine of out
	gap    error          // why something is missing before the present file; nil if nothing is
	err    error          // why it is incomplete, once closed
}

// newFlow returns the flow of a live run: what r records and v shows.
func newFlow(con *console, v *view, r *record) (*flow, error) {
	f := &flow{con: con}
	err := v.selection.check()
	if err == nil {
		err = r.addTo(f, v)
	}
	if err == nil {
		err = v.addTo(f, true, r.always())
	}
	if err != nil {
		return nil, f.abandon(err)
	}
	return f, nil
}

// toStderr is the name of stderr for [flow.add]. No file can have it.
const toStderr = "\x00stderr"

// add opens the file called name, "-" for stdout, for what the sink of d writes.
// The file is not changed before begin.
func (f *flow) add(d *drain, name string, c file.Compression) error {
	op := "write"
	if d.record {
		op = "record"
	}
	d.what = op + " " + strconv.Quote(name)
	switch name {
	case "-":
		d.what = op + " stdout"
	case toStderr:
		d.what = op + " stderr"
	}
	perm := os.FileMode(0o666)
	if d.record {
		perm = 0o600
	}
	err := f.con.during(fmt.Sprintf("%s: waiting for a reader", d.what), func() (err error) {
		if name == toStderr {
			d.file, err = file.Stderr()
		} else {
			d.file, err = file.Create(name, c, perm) // which waits if it is a named pipe
		}
		return err
	})
	if err != nil {
		return failed("create", name, err)
	}
	for _, other := range f.drains {
		if other.file.Same(d.file) {
			d.file.Abandon()
			return usagef("%s and %s would overwrite each other", other.what, d.what)
		}
	}
	f.drains = append(f.drains, d)
	if d.record {
		if err := d.file.Lock(); err != nil {
			return fmt.Errorf("%s: %w", d.what, err)
		}
	}
	return nil
}

// begin empties the files and puts the sinks in place. From then on no message
// waits for a terminal.
func (f *flow) begin() error {
	for _, d := range f.drains {
		if err := d.file.Begin(); err != nil {
			return fmt.Errorf("%s: %w", d.what, cause(err))
		}
		if n := d.file.Lost(); n > 0 {
			f.con.say("%s: cut back to its last whole line, %s less", d.what, plural(n, "byte"))
		}
	}
	f.stderr = output.NewWriter(os.Stderr, output.Options{Drop: true})
	f.con.w = f.stderr
	for _, d := range f.drains {
		d.opts.OnError = func(err error) {
			f.sayBroken(d, err)
			if f.unwanted != nil {
				f.unwanted()
			}
		}
		d.opts.OnDrop = f.dropped
		d.out = output.NewWriter(d.under(), d.opts)
		if d.record && f.redaction != nil && d.parted == nil {
			f.redaction.files = append(f.redaction.files, d.out)
			continue
		}
		sink := d.sink(d.out)
		if d.parted != nil {
			d.parted.partSink = sink.(partSink)
			sink = d.parted
		}
		d.last, _ = sink.(io.Closer)
		d.tap, _ = sink.(decode.Tap)
		f.watch(sink)
	}
	if f.redaction != nil {
		f.tee.Sinks = append(f.tee.Sinks, f.redaction)
	}
	f.watch(&f.totals)
	return nil
}

// under returns what d writes to. Whether a recording is still where it was is
// checked.
func (d *drain) under() io.Writer {
	if d.record {
		return d.file
	}
	return struct {
		io.Writer
		flusher
	}{d.file, d.file}
}

type flusher interface{ Flush() error }

// close writes what is on its way to the file, and closes it. It returns the error
// that ended the writing, or with which it ends, and whether that was said before.
func (d *drain) close() (err error, said bool) {
	var last error
	if d.last != nil {
		last = d.last.Close()
	}
	if err := d.out.Close(); err != nil {
		d.file.Close()
		return err, true
	}
	if d.record {
		last = cmp.Or(last, d.file.Check())
	}
	return cmp.Or(last, d.file.Close()), false
}

// tap returns what is given the bytes of sessions, or nil.
func (f *flow) tap() decode.Tap {
	var all taps
	for _, d := range f.drains {
		if d.tap != nil {
			all = append(all, d.tap)
		}
	}
	switch len(all) {
	case 0:
		return nil
	case 1:
		return all[0]
	}
	return all
}

// taps are given the same bytes.
type taps []decode.Tap

func (t taps) Tap(c decode.Chunk) {
	for _, tap := range t {
		tap.Tap(c)
	}
}

// watch adds a sink that shows, or adds up, what may be seen.
func (f *flow) watch(sink decode.Sink) {
	tee := &f.tee
	if f.playsAgain() {
		tee = &f.redaction.tee
	}
	tee.Sinks = append(tee.Sinks, sink)
}

// playsAgain reports whether what was redacted is played again: something is
// shown, or goes to a recording with parts.
func (f *flow) playsAgain() bool {
	return f.redaction != nil && slices.ContainsFunc(f.drains, func(d *drain) bool { return !d.record || d.parted != nil })
}

// untilSignal is the function untilSignal for a run that has begun. After the
// signal, files that keep the run from ending are named.
func (f *flow) untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, stop := untilSignal(ctx)
	f.over, f.watched = make(chan struct{}), make(chan struct{})
	go func() {
		defer close(f.watched)
		select {
		case <-ctx.Done():
		case <-f.over:
			return
		}
		select {
		case <-time.After(moment):
		case <-f.over:
			return
		}
		for _, d := range f.drains {
			if !d.opts.Drop && (d.out.Waiting() || f.closing.Load() == d) {
				f.con.say("%s: waiting for a reader; press Ctrl-C again to give up", d.what)
			}
		}
	}()
	return ctx, stop
}

// abandon closes the files of a run that can't begin because of err.
func (f *flow) abandon(err error) error {
	for _, d := range f.drains {
		d.file.Abandon()
	}
	return err
}

// abandonBegun closes the files of a run that has begun and does not go on because of
// err.
func (f *flow) abandonBegun(err error) error {
	f.partly = true
	f.end(nil)
	return err
}

// broken reports whether a file takes no more.
func (f *flow) broken() bool {
	return slices.ContainsFunc(f.drains, func(d *drain) bool { return d.out.Err() != nil })
}

// sayBroken says that a file takes no more.
func (f *flow) sayBroken(d *drain, err error) {
	switch {
	case d.record:
		f.con.say("%s: %v: traffic goes on, the recording does not", d.what, cause(err))
	case !errors.Is(err, syscall.EPIPE):
		f.con.say("%s: %v", d.what, cause(err))
	}
}

// dropped says that lines are being, or were, dropped.
func (f *flow) dropped(lines int64) {
	if lines == 0 {
		f.con.say("output is read too slowly: dropping lines")
	} else {
		f.con.say("dropped %s", plural(lines, "line"))
	}
}

// end writes what is still on its way to the files, and prints the totals. It
// returns err or, if a file is incomplete for another reason than that its reader
// went away, errReported.
func (f *flow) end(err error) error {
	f.parts.stop()
	if f.redaction != nil {
		if unsaid := f.redaction.Close(); unsaid != nil {
			f.con.say("%v", unsaid)
			if err == nil {
				err = errReported
			}
		}
	}
	for _, d := range f.drains {
		f.closing.Store(d)
		broken, said := d.close()
		if broken != nil && !said {
			f.sayBroken(d, broken)
		}
		if broken != nil && err == nil && (d.record || !errors.Is(broken, syscall.EPIPE)) {
			err = errReported
		}
		if d.err = cmp.Or(broken, d.gap); (d.flaw != nil || d.gap != nil) && err == nil {
			err = errReported
		}
		f.totals.dropped += d.out.Dropped()
	}
	if f.over != nil {
		close(f.over)
		<-f.watched
	}
	if !f.partly && (err == nil || f.totals.sessions > 0) {
		f.totals.print(f.con)
	}
	for _, d := range f.drains {
		if d.record && d.err != nil {
			f.con.say("%s: the recording is incomplete: %v", d.what, cause(d.err))
		}
	}
	f.stderr.Close()
	f.con.w = os.Stderr
	return err
}
