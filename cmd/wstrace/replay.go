package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/decode/trace/edit"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/replay"
)

const replayExample = `  wstrace replay chat.wst --listen 127.0.0.1:1901
        stand in for the server, and see whether a client does what was recorded
  wstrace replay chat.wst --connect ws://localhost:1901
        stand in for the client, and test a server
  wstrace replay chat.wst --connect ws://localhost:1901 --clients 500
        500 clients at once: can the server handle them?
  wstrace replay chat.wst --connect ws://localhost:1901 --ignore '$.time' --capture '$.id'
        a value that may differ, and one that the other side makes up`

// replayFlags are the flags of wstrace replay.
type replayFlags struct {
	record
	server          serverFlags // with connect
	tls             bool        // with listen
	caDir           string
	listen, connect string
	timing          timing
	stall           time.Duration
	ignore, capture []string
	optional        []string
	headers         []string
	exact, anyOrder bool
	session         sessionFlag
	times, clients  count
	chunks          count
	update          bool
}

func newReplay(con *console, v *view) *cobra.Command {
	r := &replayFlags{times: 1, clients: 1, stall: replay.DefaultStall}
	cmd := &cobra.Command{
		Use:   "replay [flags] FILE",
		Short: "Stand in for the server or the client of a recorded session",
		Long: `Stand in for the server or the client of a recorded session, and report whether
the other side does what was recorded. Selectors say what may differ: $.path of
JSON, ?parameter, Header: or /expression/. The exit status is 1 if the sessions
differ`,
		Example: replayExample,
		Args: func(_ *cobra.Command, args []string) error {
			switch {
			case len(args) != 1:
				return usagef("want one FILE, or - for stdin")
			case (r.listen == "") == (r.connect == ""):
				return usageError{hinted{errors.New("want either --listen or --connect"), "--listen ADDR stands in for the server, --connect URL for the client"}}
			case r.tls && r.listen == "":
				return usageError{hinted{errors.New("--tls is for --listen"), "--connect wss://… connects with TLS"}}
			case r.listen != "" && r.server != (serverFlags{}):
				return usagef("--insecure, --upstream-ca and --client-cert are for --connect")
			case r.times < 1 || r.clients < 1:
				return usagef("--times and --clients must be more than 0")
			case r.clients > maxClients:
				return usagef("--clients must be at most %d", maxClients)
			case r.session.all && r.times*r.clients > 1:
				return usagef("--session all plays each session once")
			case r.stall <= 0:
				return usagef("--stall must be more than 0")
			case r.update && (args[0] == "-" || r.times*r.clients > 1):
				return usagef("--update needs a file, and one session")
			}
			return nil
		},
		ValidArgsFunction: completeRecordings,
		RunE: func(cmd *cobra.Command, args []string) error {
			return r.run(cmd.Context(), con, v, args[0])
		},
	}
	flags := cmd.Flags()
	flags.StringVarP(&r.listen, "listen", "l", "", "be the server, and listen on `ADDR`, or on a port of 127.0.0.1; port 0 picks a free one")
	flags.StringVar(&r.connect, "connect", "", "be the client of the server at `URL`; its path replaces the recorded one")
	flags.BoolVar(&r.tls, "tls", false, "with --listen, speak TLS with clients that do, with a certificate of our authority")
	registerCADir(flags, &r.caDir)
	r.server.register(flags)
	flags.Var(&r.session, "session", "replay session `N`, as numbered by show, or all of them together (default: the first WebSocket session)")
	flags.Var(&r.timing, "timing", "when to send, `HOW`: fast, as soon as it is our turn; original, with the recorded pauses; x2, twice as fast; clock, when it was recorded, whether or not it is our turn")
	flags.Var((*duration)(&r.stall), "stall", "wait at most `TIME` for the other side: to connect, in a handshake, and for what was recorded")
	flags.BoolVar(&r.exact, "exact", false, "compare frame by frame and byte by byte, heartbeats too")
	flags.StringArrayVar(&r.ignore, "ignore", nil, "do not compare what `SELECTOR` selects; may be repeated")
	flags.StringArrayVar(&r.capture, "capture", nil, "take what `SELECTOR` selects, and use it in place of its recorded value; may be repeated")
	flags.StringArrayVar(&r.optional, "optional", nil, optionalUsage)
	flags.BoolVar(&r.anyOrder, "any-order", false, "let messages come in any order between two that we send")
	flags.StringArrayVarP(&r.headers, "header", "H", nil, "send `'NAME: VALUE'` instead of the recorded header; may be repeated")
	flags.Var(&r.chunks, "chunks", "send in pieces of `N` bytes, each by itself")
	flags.Var(&r.times, "times", "play the session `N` times, one after another")
	flags.Var(&r.clients, "clients", "play `N` sessions at once")
	flags.BoolVar(&r.update, "update", false, "do not compare, but record what comes into FILE")
	r.record.register(cmd)
	return cmd
}

// A sessionFlag is the value of --session.
type sessionFlag struct {
	n   int64
	all bool
}

func (f *sessionFlag) Type() string { return "N" }

func (f *sessionFlag) String() string {
	switch {
	case f.all:
		return "all"
	case f.n == 0:
		return ""
	}
	return strconv.FormatInt(f.n, 10)
}

func (f *sessionFlag) Set(s string) error {
	n, err := strconv.ParseInt(s, 10, 64)
	if *f = (sessionFlag{n, s == "all"}); !f.all && (err != nil || n < 1) {
		return errors.New("want a number, or all")
	}
	return nil
}

// A timing is the value of --timing.
type timing struct {
	speed replay.Speed
	clock bool // and not in turn
}

func (t *timing) Type() string { return "how" }

func (t *timing) String() string {
	switch {
	case t.clock:
		return "clock"
	case t.speed == 0:
		return "fast"
	case t.speed == replay.Original:
		return "original"
	}
	return "x" + strconv.FormatFloat(float64(t.speed), 'g', -1, 64)
}

func (t *timing) Set(s string) error {
	*t = timing{}
	switch s {
	case "fast":
		return nil
	case "original":
		t.speed = replay.Original
		return nil
	case "clock":
		*t = timing{replay.Original, true}
		return nil
	}
	for _, x := range []string{"x", "×"} {
		number, before := strings.CutPrefix(s, x)
		if !before {
			number = strings.TrimSuffix(s, x)
		}
		if f, err := strconv.ParseFloat(number, 64); err == nil && number != s && f > 0 && f <= 1e6 {
			t.speed = replay.Scale(f)
			return nil
		}
	}
	return errors.New("want fast, original, a speed such as x2, or clock")
}

// option returns when to send.
func (t timing) option() replay.PlayOption {
	if t.clock {
		return replay.Clock(t.speed)
	}
	return replay.Timing(t.speed)
}

// compare returns what counts as equal.
func (r *replayFlags) compare() replay.CompareOption {
	return compareOption(r.exact, r.anyOrder, r.ignore, r.capture, r.optional)
}

// compareOption returns what the flags of replay and diff say about what counts as
// equal.
func compareOption(exact, anyOrder bool, ignore, capture, optional []string) replay.CompareOption {
	opts := []replay.CompareOption{replay.Ignore(ignore...)}
	if exact {
		opts = append(opts, replay.Exact())
	}
	if anyOrder {
		opts = append(opts, replay.AnyOrder())
	}
	for _, text := range optional {
		opts = append(opts, optionalOption(text))
	}
	for _, sel := range capture {
		opts = append(opts, replay.Capture(sel))
	}
	return replay.CompareOptions(opts...)
}

const optionalUsage = "let messages that `SELECTOR`, or a filter, selects come or not, as heartbeats do; may be repeated"

// optionalOption returns what --optional says: a selector, or else an expression as -e
// has it.
func optionalOption(text string) replay.CompareOption {
	if _, err := pick.Parse(text); err == nil {
		return replay.Optional(text)
	}
	f, err := filter.Parse(text)
	if err != nil {
		return replay.Optional(text) // says what a selector is
	}
	return replay.OptionalFunc(func() func(*decode.Event) bool {
		var st filter.State
		return func(ev *decode.Event) bool { return f.Match(&st, ev) }
	})
}

// play returns how sessions are played.
func (r *replayFlags) play() (replay.PlayOption, error) {
	opts := []replay.PlayOption{r.timing.option(), replay.Stall(r.stall), replay.Update(r.update)}
	if r.chunks > 0 {
		opts = append(opts, replay.Chunks(int(r.chunks)))
	}
	for _, h := range r.headers {
		name, value, ok := strings.Cut(h, ":")
		if !ok || name == "" {
			return nil, usagef("--header %q: want 'NAME: VALUE'", h)
		}
		opts = append(opts, replay.Header(name, strings.TrimSpace(value)))
	}
	return replay.PlayOptions(opts...), nil
}

// run is wstrace replay.
func (r *replayFlags) run(ctx context.Context, con *console, v *view, name string) error {
	if r.connect != "" {
		u, err := parseOrigin(r.connect)
		if err != nil {
			return err
		}
		r.connect = u.String()
	}
	how, err := r.play()
	if err == nil {
		err = replay.Check(r.compare())
	}
	if err != nil {
		return usageError{err}
	}
	if !v.flags.Changed("output") {
		v.form.value = "none"
	}
	var updated bytes.Buffer
	p := &performance{flags: r, colored: v.colored(), con: con, name: name}
	comp, err := p.load()
	if err != nil {
		return failed("replay", name, err)
	}
	if err := p.script.Warning(); err != nil {
		con.say("replay %q: %v", name, err)
	}
	if p.all != nil {
		sayLong(con, "replay", name, p.all.Scripts()...)
	} else {
		sayLong(con, "replay", name, p.script)
	}
	f, err := newFlow(con, v, &r.record)
	if err != nil {
		return err
	}
	var listener net.Listener
	if r.listen != "" {
		if listener, err = listen(r.listen); err != nil {
			return f.abandon(err)
		}
		defer listener.Close()
	}
	if how, err = r.withTLS(p, how); err != nil {
		return f.abandon(err)
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	p.how = replay.PlayOptions(how, replay.Latency(p.answers.add), replay.Events(&f.tee))
	if r.update {
		f.tee.Sinks = append(f.tee.Sinks, trace.NewWriter(&updated, traceOptions()))
	}
	ctx, stop := f.untilSignal(ctx)
	defer stop()
	if listener != nil {
		con.say("listening on %s", listener.Addr())
		to := "ws://" + listener.Addr().String() + p.script.Target()
		if r.tls {
			to += " or wss" + strings.TrimPrefix(to, "ws")
		}
		con.note("point the client at %s", to)
	}
	err = p.play(ctx, listener)
	if err == nil && r.update {
		err = p.update(comp, &updated)
	}
	return f.end(err)
}

// withTLS adds what the flags say about TLS.
func (r *replayFlags) withTLS(p *performance, how replay.PlayOption) (replay.PlayOption, error) {
	conf, err := r.server.config()
	if p.dial = replay.TLS(conf); err != nil || !r.tls {
		return how, err
	}
	authority, err := openAuthority(r.caDir)
	if err != nil {
		return nil, err
	}
	return replay.PlayOptions(how, replay.ServerTLS(&tls.Config{
		NextProtos: []string{"http/1.1"},
		GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
			host, _, _ := net.SplitHostPort(hello.Conn.LocalAddr().String())
			return authority.LeafFor(cmp.Or(hello.ServerName, host), hello)
		},
		SessionTicketsDisabled: true, // so that every connection tells whether the client trusts us
	})), nil
}

// maxClients is how many clients may be played at once: more than one machine
// has ports for.
const maxClients = 1_000_000

// A performance is a run of wstrace replay.
type performance struct {
	flags   *replayFlags
	colored bool // what differs
	con     *console
	name    string
	script  *replay.Script // the session, or the first of all
	all     *replay.Play   // nil for one session
	how     replay.PlayOption
	dial    replay.ConnectOption // how a client connects

	begun, ended, failed atomic.Int64 // sessions
	answers              latencies

	first sync.Once
	start time.Time // of the first session; set before begun counts it

	mu sync.Mutex // one failure is told at a time
}

// load reads the session.
func (p *performance) load() (file.Compression, error) {
	in, err := source.Open(p.name)
	if err != nil {
		return 0, err
	}
	defer in.Close()
	left := 1
	if p.flags.session.all {
		if p.all, err = replay.LoadAll(in, p.flags.compare()); err == nil {
			p.script = p.all.Scripts()[0]
			left = len(p.all.Scripts())
		}
	} else {
		p.script, err = replay.Load(in, p.flags.compare(), replay.Session(p.flags.session.n))
	}
	if err == nil && p.flags.update && p.script.Sessions() > left {
		err = fmt.Errorf("the trace has %d sessions, and an update would leave %d", p.script.Sessions(), left)
	}
	return in.Compression(), err
}

// total returns how many sessions are to be played.
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
	case p.all != nil:
		p.one(ctx, func() error { return p.all.Connect(ctx, p.flags.connect, p.how, p.dial) })
	case listener != nil:
		err = p.serve(ctx, listener)
	default:
		var clients sync.WaitGroup
		for range p.flags.clients {
			if ctx.Err() != nil {
				break
			}
			clients.Go(func() {
				for range p.flags.times {
					if ctx.Err() != nil {
						return
					}
					p.one(ctx, func() error { return p.script.Connect(ctx, p.flags.connect, p.how, p.dial) })
				}
			})
		}
		clients.Wait()
	}
	close(done)
	progress.Wait()
	if err != nil {
		return err
	}
	ended, failed := p.ended.Load(), p.failed.Load()
	interrupted := ended < p.total()
	if interrupted {
		p.con.say("interrupted after %d of %s", ended, plural(p.total(), "session"))
	}
	if failed > 0 && p.total() > 1 {
		p.con.say("%d of %s differ", failed, plural(ended, "session"))
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
	if errors.As(err, &d) && d.Diff() != "" {
		out := fmt.Appendf(nil, "--- recorded, line %d\n+++ received\n", d.Line)
		for line := range strings.Lines(d.Diff()) {
			out = append(decode.AppendEscaped(out, []byte(strings.TrimSuffix(line, "\n")), false), '\n')
		}
		os.Stdout.Write(coloredDiff(out, p.colored))
	}
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
	case errors.As(err, &refused):
		p.con.hint("the client has to trust the certificates of wstrace: wstrace ca install")
	}
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
				differ = fmt.Sprintf(", %d of them differ", failed)
			}
			p.con.note("%d of %s done%s, %d at once, %s", ended, plural(p.total(), "session"), differ, begun-ended, rate(ended, time.Since(p.start)))
		case <-done:
			return
		}
	}
}

// summary says what was played and how fast it went.
func (p *performance) summary(took time.Duration) string {
	n := p.total()
	scripts := []*replay.Script{p.script}
	if p.all != nil {
		scripts = p.all.Scripts()
		n = int64(len(scripts))
	}
	var sent, got, optional int64
	for _, s := range scripts {
		sent += p.total() * int64(s.Messages(decode.FromClient))
		got += p.total() * int64(s.Messages(decode.FromServer))
		optional += p.total() * int64(s.Heartbeats())
	}
	s := fmt.Sprintf("replayed %s in %v, as recorded: %s >, %s <", plural(n, "session"), round(took), plural(sent, "message"), plural(got, "message"))
	if optional > 0 {
		s += fmt.Sprintf("; %s may come or not", plural(optional, "heartbeat"))
	}
	if p.flags.update {
		return fmt.Sprintf("replayed %s in %v", plural(n, "session"), round(took))
	}
	if p.total() > 1 { // a load test
		s += fmt.Sprintf("\n%s, %s", rate(n, took), rateOf(sent+got, took, "message"))
	}
	return s + p.latencies()
}

// latencies returns a line on how long answers took, if there were any.
func (p *performance) latencies() string {
	if p.answers.count() == 0 {
		return ""
	}
	return "\nanswers after " + p.answers.String()
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
	err := file.Replace(p.name, comp, func(w io.Writer) error {
		if sels := p.script.Redacted(); len(sels) > 0 {
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
