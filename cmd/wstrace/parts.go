package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strconv"
	"sync"
	"time"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// partFlags say in which files a recording goes on. The zero value, without
// register, is for a command whose recordings have one.
type partFlags struct {
	resume bool
	rotate rotation
	keep   count
	run    string // the name of the run, in all its parts; "" if there are none

	flags interface{ Changed(name string) bool }
}

func (p *partFlags) register(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.BoolVar(&p.resume, "append", false, "go on in an existing recording, instead of replacing it")
	flags.Var(&p.rotate, "rotate", "begin a new recording file every `SIZE|TIME`, such as 100MiB or 1h; the finished ones get a time in their names")
	flags.Var(&p.keep, "keep", "keep the newest `N` finished recording files, and remove the others")
	flags.Lookup("keep").DefValue = ""
	p.flags = flags
	p.run = time.Now().UTC().Format("20060102T150405.000Z") + "-" + strconv.Itoa(os.Getpid())
}

// check returns an error for flags that mean nothing to where the recordings go.
func (p *partFlags) check(to targets) error {
	if p.flags == nil {
		return nil
	}
	for _, flag := range []string{"append", "rotate", "keep"} {
		switch {
		case !p.flags.Changed(flag):
		case len(to) == 0:
			return usagef("--%s: there is no recording, -w FILE makes one", flag)
		default:
			for _, t := range to {
				if t.capture {
					return usagef("--%s: -w %s: it is for .wst", flag, t)
				}
			}
		}
	}
	return nil
}

// prepare returns what keeps d, which has its file, from what the flags ask for. A
// file to go on in is looked into.
func (p *partFlags) prepare(con *console, d *drain, name string) error {
	if p.flags == nil {
		return nil
	}
	if !d.file.HasParts() {
		for _, flag := range []string{"append", "rotate", "keep"} {
			if p.flags.Changed(flag) {
				return usagef("--%s: %s: not a regular file, so nothing can go before or after it", flag, d.what)
			}
		}
		return nil
	}
	if p.resume {
		return con.during(d.what+": reading what is there", func() error { return resume(d, name) })
	}
	return nil
}

// resume has d go on behind what its file, called name, holds.
func resume(d *drain, name string) error {
	in, err := source.Open(name)
	if err == nil {
		if in.Records() == nil {
			err = errNoTrace
		}
		in.Close()
	}
	if errors.Is(err, source.ErrEmpty) || errors.Is(err, decode.ErrCut) {
		err = nil // as Resume says
	}
	if err == nil {
		err = d.file.Resume(func(line []byte) bool {
			_, err := trace.Parse(line)
			return err == nil
		})
	}
	if err != nil {
		err = fmt.Errorf("append to %q: %w", name, cause(err))
	}
	if errors.Is(err, file.ErrMemberCut) {
		err = hinted{err, "record to another file; wstrace show reads this one up to where it is cut off"}
	}
	return err
}

// A rotation says when a new file begins: after a size or a time. The zero value
// means never.
type rotation struct {
	size  int64
	every time.Duration
}

func (r *rotation) Type() string { return "size|time" }

func (r *rotation) String() string { return "" }

func (r *rotation) Set(s string) error {
	*r = rotation{}
	if d, err := time.ParseDuration(s); err == nil && d >= time.Second {
		r.every = d
		return nil
	}
	n, ok := parseSize(s)
	if !ok {
		return errors.New("want a size such as 100MiB, or a time of a second or more such as 1h or 30m")
	}
	r.size = n
	return nil
}

// A partSink records to a file after another.
type partSink interface {
	decode.Sink
	Rotate(w io.Writer, part int)
	MayRotate() bool
	Written() int64
}

// A parted recording is one that may go on in a new file. It is called under the
// lock of the Tee.
type parted struct {
	partSink
	d     *drain
	con   *console
	flags *partFlags
	part  int
	began time.Time // when the first event of the part came
	asked time.Time // when a new part was asked for; zero if none is
}

// partPatience is how long a new part that was asked for waits for a moment when
// no frame is in flight.
const partPatience = 10 * time.Second

func (p *parted) Emit(ev *decode.Event) {
	p.partSink.Emit(ev)
	if p.began.IsZero() && p.Written() > 0 {
		p.began = ev.Time
	}
	p.turn()
}

// Close writes what is held back.
func (p *parted) Close() error {
	if c, ok := p.partSink.(io.Closer); ok {
		return c.Close()
	}
	return nil
}

// ask has a new part begin as soon as it may, for a recording that failed too if
// a person asks. One that has nothing yet goes on.
func (p *parted) ask(person bool) {
	if failure := p.d.out.Err(); failure != nil {
		if person {
			p.revive(failure)
		}
		return
	}
	if p.Written() == 0 {
		p.d.out.Cut(func() { p.stay(person) })
		return
	}
	if p.asked.IsZero() {
		p.asked = time.Now()
	}
	p.turn()
}

// stay goes on in a file that has nothing yet, if that is still where it was.
func (p *parted) stay(person bool) {
	moved, err := p.d.file.Return()
	switch {
	case err != nil:
		p.con.say("%s: begin a new file: %v", p.d.what, cause(err))
		p.d.flaw = err
	case moved:
		p.con.note("%s: goes on in a new file, the old one was deleted or moved away", p.d.what)
	case person:
		p.con.note("%s: nothing was recorded since the file was begun, so it goes on", p.d.what)
	}
}

// revive begins a new file for a recording that failed. What came in between is
// lost, and said at the end.
func (p *parted) revive(failure error) {
	var finished string
	err := p.d.out.Revive(func() (err error) {
		finished, err = p.d.file.Renew(p.began)
		return err
	})
	if err != nil {
		p.con.say("%s: begin a new file: %v", p.d.what, cause(err))
		return
	}
	p.part++
	p.Rotate(p.d.out, p.part)
	p.began, p.asked = time.Time{}, time.Time{}
	p.d.gap = failure
	if finished != "" {
		p.con.note("%s: finished %q, which is incomplete", p.d.what, finished)
	}
	p.con.note("%s: the recording goes on in a new file", p.d.what)
}

// turn begins a new part if it is time.
func (p *parted) turn() {
	n, size := p.Written(), p.flags.rotate.size
	full := size > 0 && n >= size
	if !full && p.asked.IsZero() {
		return
	}
	if !p.MayRotate() && !(full && n/2 >= size) && (p.asked.IsZero() || time.Since(p.asked) < partPatience) {
		return
	}
	p.part++
	p.Rotate(p.d.out, p.part)
	began := p.began
	p.d.out.Cut(func() { p.next(began) })
	p.began, p.asked = time.Time{}, time.Time{}
}

// next brings the file of the part that began at the time began out of the way.
// The traffic does not wait for it.
func (p *parted) next(began time.Time) {
	finished, err := p.d.file.Next(began)
	if err != nil {
		p.con.say("%s: begin a new file: %v: the recording goes on in the same one", p.d.what, cause(err))
		p.d.flaw = err
		return
	}
	if finished == "" {
		p.con.note("%s: goes on in a new file, the old one was deleted or moved away", p.d.what)
	} else {
		p.con.note("%s: finished %q", p.d.what, finished)
	}
	if p.flags.flags.Changed("keep") {
		if err := p.d.file.Prune(int(p.flags.keep)); err != nil {
			p.con.say("%s: remove finished files: %v", p.d.what, err)
			p.d.flaw = err
		}
	}
}

// A partTurner has new parts begin when it is time, and when a signal asks for it.
type partTurner struct {
	f      *flow
	cancel context.CancelFunc
	done   sync.WaitGroup
}

// turnParts begins to watch the time and the signal, until the flow ends. If the signal is
// for something else too, nothing is said of recordings that have no parts.
func (f *flow) turnParts(flags *partFlags, elseToo bool) {
	ctx, cancel := context.WithCancel(context.Background())
	t := &partTurner{f: f, cancel: cancel}
	signals := make(chan os.Signal, 1)
	if len(newPartSignals) > 0 { // none would mean all
		signal.Notify(signals, newPartSignals...)
	}
	var ticks <-chan time.Time
	stop := func() {}
	if every := flags.rotate.every; every > 0 {
		ticker := time.NewTicker(every)
		ticks, stop = ticker.C, ticker.Stop
	}
	t.done.Go(func() {
		defer signal.Stop(signals)
		defer stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-ticks:
				t.turn(false)
			case <-signals:
				t.turn(!elseToo)
			}
		}
	})
	f.parts = t
}

func (t *partTurner) stop() {
	if t != nil {
		t.cancel()
		t.done.Wait()
	}
}

// turn asks all recordings for a new part, and says which have none, if that was
// asked for by a person.
func (t *partTurner) turn(say bool) {
	t.f.tee.Lock()
	defer t.f.tee.Unlock()
	recordings := 0
	for _, d := range t.f.drains {
		if !d.record {
			continue
		}
		recordings++
		switch {
		case d.parted == nil && say && d.tap != nil:
			t.f.con.say("%s: no new one can be begun of a capture", d.what)
		case d.parted == nil && say:
			t.f.con.say("%s: not a regular file, so no new one can be begun", d.what)
		case d.parted != nil:
			d.parted.ask(say)
		}
	}
	if recordings == 0 && say {
		t.f.con.note("there is no recording of which a new file could be begun")
	}
}
