package main

import (
	"bytes"
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pcap"
	"github.com/wstrace/wstrace/decode/trace/edit"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/replay"
)

// A performance is a run of wstrace replay.
type performance struct {
	flags   *replayFlags
	colored bool // what differs
	width   int  // of it; 0 for the usual one, less for nothing
	con     *console
	name    string
	keys    *pcap.Keys     // of TLS in a capture
	script  *replay.Script // the session; nil if several are played together
	all     *replay.Play   // nil for one session
	how     replay.PlayOption
	dial    replay.ConnectOption // how a client connects

	begun, ended, failed atomic.Int64 // sessions
	tally                loadTally

	first sync.Once
	start time.Time // of the first session; set before begun counts it

	mu    sync.Mutex // one failure is told at a time
	noted int        // what was left out
	taken []string   // selectors of what --capture auto has captured
}

// load reads the session.
func (p *performance) load() (file.Compression, error) {
	loadTightly()
	in, err := source.Open(p.name)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	if p.flags.update && in.Records() == nil {
		return 0, errNoTrace
	}
	in.Keys = p.keys
	left := 1
	if p.flags.session.n == 0 {
		if p.all, err = replay.LoadAll(in, p.flags.compare()); err == nil {
			left = len(p.all.Scripts()) + p.all.Exchanges()
			if p.script = p.all.Alone(); p.script != nil {
				p.all = nil
			}
		}
	} else {
		p.script, err = replay.Load(in, p.flags.compare(), replay.Session(p.flags.session.n))
	}
	notePlayed(p.con, "replay", p.name, in)
	p.con.tellMessages()
	switch {
	case err != nil:
	case p.flags.update && p.played().Sessions() > left:
		err = fmt.Errorf("the trace has %d sessions, and an update would leave %d", p.played().Sessions(), left)
	case p.flags.update && p.played().Changed():
		err = errors.New("the trace has changes, and an update would leave none")
	case p.all != nil && p.total() > 1 && p.flags.listen != "":
		err = usageError{hinted{fmt.Errorf("--times and --clients with --listen are for one session, and the trace has %d", left), "--session N chooses one"}}
	case p.all != nil && p.total() > 1 && p.flags.update:
		err = usagef("--update plays the trace once")
	}
	return in.Compression(), err
}

// A played is what is played: a session, or all of them.
type played interface {
	Warning() error
	Sessions() int
	Target() string
	Redacted() []string
	Unfound() []string
	Changed() bool
}

func (p *performance) played() played {
	if p.all != nil {
		return p.all
	}
	return p.script
}

// total returns how many times the session, or all of them, are to be played.
func (p *performance) total() int64 { return int64(p.flags.times) * int64(p.flags.clients) }

// play plays them all.
func (p *performance) play(ctx context.Context, listener net.Listener) error {
	done := make(chan struct{})
	var progress sync.WaitGroup
	progress.Go(func() { p.report(done) })
	var err error
	switch {
	case p.all != nil && listener != nil:
		p.one(ctx, func() error { return p.all.Serve(ctx, listener, p.how) })
	case listener != nil:
		err = p.serve(ctx, listener)
	default:
		var clients sync.WaitGroup
		for i := range p.flags.clients {
			if !p.awaitRamp(ctx, int(i)) {
				break
			}
			clients.Go(func() {
				for range p.flags.times {
					if ctx.Err() != nil {
						return
					}
					p.one(ctx, func() error { return p.connect(ctx) })
				}
			})
		}
		clients.Wait()
	}
	close(done)
	progress.Wait()
	p.tellTaken()
	if err != nil {
		return err
	}
	ended, failed := p.ended.Load(), p.failed.Load()
	if p.flags.json {
		if err := printOut(p.document()); err != nil {
			return err
		}
	}
	interrupted := ended < p.total()
	if interrupted {
		p.con.say("interrupted after %d of %s", ended, plural(p.total(), "session"))
	}
	if failed > 0 && p.total() > 1 {
		p.con.say("%d of %s failed: %s", failed, plural(ended, "session"), p.tally.failures())
	}
	switch {
	case !interrupted && failed == 0:
		p.con.note("%s", p.summary(time.Since(p.start)))
		return nil
	case ended > 1:
		took := time.Since(p.start)
		s := fmt.Sprintf("played %s in %v: %s", plural(ended, "session"), round(took), rate(ended, took))
		p.con.note("%s", s+p.latencies())
	}
	return errFound
}

// connect plays the client of the session, or of all, once.
func (p *performance) connect(ctx context.Context) error {
	if p.all != nil {
		return p.all.Connect(ctx, p.flags.connect, p.how, p.dial)
	}
	return p.script.Connect(ctx, p.flags.connect, p.how, p.dial)
}

// serve plays the server to as many clients as there are to be.
func (p *performance) serve(ctx context.Context, listener net.Listener) error {
	clients, err := replay.NewListener(listener, p.how)
	if err != nil {
		return err
	}
	defer context.AfterFunc(ctx, func() { clients.Close() })()
	var sessions sync.WaitGroup
	defer func() {
		sessions.Wait()
		clients.Close()
		if turned := clients.Turned(); len(turned) > 0 {
			p.con.note("not in the recording, and answered by a 404: %s", strings.Join(turned, ", "))
		}
	}()
	for range p.total() {
		conn, err := clients.Accept()
		var refused *replay.HandshakeError
		switch {
		case ctx.Err() != nil:
			return nil
		case errors.As(err, &refused):
			sessions.Go(func() { p.one(ctx, func() error { return err }) })
		case err != nil:
			return failed("listen", p.flags.listen, err)
		default:
			sessions.Go(func() { p.one(ctx, func() error { return p.script.PlayServer(ctx, conn, p.how) }) })
		}
	}
	return nil
}

// maxFailures is how many sessions that fail are told of.
const maxFailures = 3

// one plays one session.
func (p *performance) one(ctx context.Context, play func() error) {
	if ctx.Err() != nil {
		return
	}
	p.first.Do(func() { p.start = time.Now() })
	p.begun.Add(1)
	err := play()
	if ctx.Err() != nil && errors.Is(err, context.Cause(ctx)) {
		return
	}
	if err == nil {
		p.ended.Add(1)
		return
	}
	p.tally.fail(err)
	n := p.failed.Add(1)
	p.ended.Add(1)
	if n > maxFailures {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if dial := (*net.OpError)(nil); errors.As(err, &dial) && dial.Op == "dial" {
		p.con.say("%v", failed("connect", p.flags.connect, err))
		return
	}
	p.con.say("replay %q: %v", p.name, cause(err))
	p.hint(err)
	var d *replay.Difference
	if errors.As(err, &d) && d.Diff(p.width) != "" {
		where := ""
		if d.Line > 0 {
			where = fmt.Sprintf(", line %d", d.Line)
		}
		out := fmt.Appendf(nil, "--- recorded%s\n+++ received\n", where)
		for line := range strings.Lines(d.Diff(p.width)) {
			out = append(decode.AppendEscaped(out, []byte(strings.TrimSuffix(line, "\n")), false), '\n')
		}
		os.Stdout.Write(coloredDiff(out, p.colored))
	}
}

// note says what was left out, a few times.
func (p *performance) note(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.noted++; p.noted <= maxFailures {
		p.con.note("%s", text)
	}
}

// capture notes a selector of what --capture auto has captured.
func (p *performance) capture(selector string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !slices.Contains(p.taken, selector) {
		p.taken = append(p.taken, selector)
	}
}

// quotedWord returns a text in quotes, as a shell takes it.
func quotedWord(s string) string { return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'" }

// maxHinted is how many selectors a hint has.
const maxHinted = 3

// maxTaken is how many selectors are told.
const maxTaken = 20

// tellTaken says what could be written instead of --capture auto.
func (p *performance) tellTaken() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.taken) == 0 {
		return
	}
	slices.Sort(p.taken)
	text := "captured:"
	for _, sel := range p.taken[:min(maxTaken, len(p.taken))] {
		text += " --capture " + quotedWord(sel)
	}
	if n := len(p.taken) - maxTaken; n > 0 {
		text += fmt.Sprintf(" and %d more", n)
	}
	p.con.note("%s", text)
}

// hint says what helps against an error.
func (p *performance) hint(err error) {
	var unknown x509.UnknownAuthorityError
	var refused *replay.HandshakeError
	var differs *replay.Difference
	switch {
	case errors.As(err, &unknown):
		p.con.hint("%s", remedies[proxy.ReasonUntrustedServer])
	case errors.As(err, &differs) && differs.Header != "":
		p.con.hint("--ignore %s: does not compare them", differs.Header)
	case errors.As(err, &differs) && differs.Anew != nil:
		p.con.hint("--capture auto, or %s, uses the value that came from then on", flagsOf("--capture", differs.Anew))
		if differs.Unused != nil {
			p.con.hint("%s leaves out what is made up", flagsOf("--ignore", differs.Unused))
		}
	case errors.Is(err, replay.ErrOtherSession):
		p.con.hint("without --session all of the trace is played together")
	case errors.As(err, &differs) && differs.Unused != nil:
		p.con.hint("%s leaves out what is made up", flagsOf("--ignore", differs.Unused))
	case errors.As(err, &refused):
		p.con.hint("the client has to trust the certificates of wstrace: wstrace ca install")
	}
}

// flagsOf returns a flag for each selector, of the first ones.
func flagsOf(flag string, selectors []string) string {
	var list []string
	for _, sel := range selectors[:min(maxHinted, len(selectors))] {
		list = append(list, flag+" "+quotedWord(sel))
	}
	return strings.Join(list, " ")
}

// report prints a line a second on how far a run of several sessions is, while
// it goes on.
func (p *performance) report(done <-chan struct{}) {
	if p.total() == 1 {
		return
	}
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	told := [2]int64{}
	for {
		select {
		case <-tick.C:
			ended, failed, begun := p.ended.Load(), p.failed.Load(), p.begun.Load()
			if told == [2]int64{begun, ended} {
				continue
			}
			told = [2]int64{begun, ended}
			differ := ""
			if failed > 0 {
				differ = fmt.Sprintf(", %d of them failed", failed)
			}
			p.con.note("%d of %s done%s, %d at once, %s", ended, plural(p.total(), "session"), differ, begun-ended, rate(ended, time.Since(p.start)))
		case <-done:
			return
		}
	}
}

// scripts returns what is played.
func (p *performance) scripts() []*replay.Script {
	if p.all != nil {
		return p.all.Scripts()
	}
	return []*replay.Script{p.script}
}

// summary says what was played and how fast it went.
func (p *performance) summary(took time.Duration) string {
	scripts := p.scripts()
	n := p.total() * int64(len(scripts))
	var sent, got, optional int64
	for _, s := range scripts {
		sent += p.total() * int64(s.Messages(decode.FromClient))
		got += p.total() * int64(s.Messages(decode.FromServer))
		optional += p.total() * int64(s.Heartbeats())
	}
	what := plural(n, "session")
	if p.all != nil && p.all.Exchanges() > 0 {
		requests := plural(p.total()*int64(p.all.Exchanges()), "HTTP request")
		if what += " and " + requests; n == 0 {
			what = requests
		}
	}
	s := fmt.Sprintf("replayed %s in %v, as recorded: %s >, %s <", what, round(took), plural(sent, "message"), plural(got, "message"))
	if optional > 0 {
		s += fmt.Sprintf("; %s may come or not", plural(optional, "heartbeat"))
	}
	if p.flags.update {
		return fmt.Sprintf("replayed %s in %v", what, round(took))
	}
	if p.total() > 1 { // a load test
		s += fmt.Sprintf("\n%s, %s", rate(n, took), rateOf(sent+got, took, "message"))
	}
	return s + p.latencies()
}

// latencies returns a line on how long answers took, if there were any.
func (p *performance) latencies() string {
	return p.tally.String(p.total() > 1)
}

// awaitRamp waits until the ith client is to begin. It reports whether it is.
func (p *performance) awaitRamp(ctx context.Context, i int) bool {
	if p.flags.ramp > 0 && i > 0 {
		p.first.Do(func() { p.start = time.Now() })
		timer := time.NewTimer(time.Until(p.start.Add(p.flags.ramp / time.Duration(p.flags.clients) * time.Duration(i))))
		defer timer.Stop()
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
	}
	return ctx.Err() == nil
}

func rate(n int64, took time.Duration) string { return rateOf(n, took, "session") }

func rateOf(n int64, took time.Duration, what string) string {
	per := float64(n) / max(took.Seconds(), 1e-9)
	digits := 0
	if per < 10 {
		digits = 1
	}
	return fmt.Sprintf("%.*f %ss/s", digits, per, what)
}

// update gives the trace the content that came.
func (p *performance) update(comp file.Compression, b *bytes.Buffer) error {
	if err := replay.CheckUpdate(bytes.NewReader(b.Bytes()), p.scripts()); err != nil {
		p.con.say("%q stays as it is: %v", p.name, err)
		return errFound
	}
	err := file.Replace(p.name, comp, func(w io.Writer) error {
		if sels := p.played().Redacted(); len(sels) > 0 {
			return edit.Redact(w, b, sels...)
		}
		_, err := w.Write(b.Bytes())
		return err
	})
	if err != nil {
		return failed("update", p.name, err)
	}
	p.con.note("updated %q", p.name)
	return nil
}
