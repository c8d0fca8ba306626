package main

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/filter"
	"github.com/wstrace/wstrace/decode/pick"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy/replay"
)

const replayExample = `  wstrace replay chat.wst --listen 127.0.0.1:1901
        stand in for the server, and see whether a client does what was recorded
  wstrace replay chat.wst --connect ws://localhost:1901
        stand in for the client, and test a server
  wstrace replay chat.wst --connect ws://localhost:1901 --clients 500
        500 clients at once: can the server handle them?
  wstrace replay chat.wst --connect ws://localhost:1901 --ignore '$.time' --capture '$.id'
        a value that may differ, and one that the other side makes up
  wstrace replay chat.wst --listen 127.0.0.1:1901 --capture auto
        take what looks made up by itself, and print the selectors of it`

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
	leg             legFlag
	headers         []string
	exact, anyOrder bool
	stream          bool
	session         sessionFlag
	times, clients  count
	chunks          count
	ramp            time.Duration
	json            bool
	update          bool
}

func newReplay(con *console, v *view) *cobra.Command {
	r := &replayFlags{times: 1, clients: 1, stall: replay.DefaultStall}
	cmd := &cobra.Command{
		Use:   "replay [flags] FILE",
		Short: "Stand in for the server or the client of a recorded application",
		Long: `Stand in for the server or the client of a recorded application, and report whether
the other side does what was recorded: all WebSocket sessions of FILE together, and the
HTTP requests around them, if their bodies were recorded. JSON and XML are compared by
what they mean. Selectors say what may differ: $.path of JSON, xml:/path of XML, such as
xml:/iq/@id or xml://item[2], ?parameter, Header:, /expression/, or @offset:length of
bytes. --capture 'SELECTOR into $.path' says where the value goes. The exit status is 1
if the sessions differ`,
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
			case r.ramp < 0 || r.ramp > 0 && r.listen != "":
				return usagef("--ramp is for --connect")
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
	flags.StringVar(&r.connect, "connect", "", "be the client of the server at `URL`; a path or a query in it replaces the recorded one of WebSocket sessions")
	flags.BoolVar(&r.tls, "tls", false, "with --listen, speak TLS with clients that do, with a certificate of our authority")
	registerCADir(flags, &r.caDir)
	r.server.register(flags)
	flags.Var(&r.session, "session", "replay session `N`, as numbered by show, and not all of them together")
	flags.Var(&r.timing, "timing", "when to send, `HOW`: fast, as soon as it is our turn; original, with the recorded pauses; x2, twice as fast; clock, when it was recorded, whether or not it is our turn")
	flags.Var((*duration)(&r.stall), "stall", "wait at most `TIME` for the other side: to connect, in a handshake, and for what was recorded")
	r.leg.register(cmd, "send what the one that we stand in for sent itself, or `out`, what the other side received, where changes made that differ")
	flags.BoolVar(&r.exact, "exact", false, "compare frame by frame and byte by byte, heartbeats too")
	flags.StringArrayVar(&r.ignore, "ignore", nil, "do not compare what `SELECTOR` selects; may be repeated")
	flags.StringArrayVar(&r.capture, "capture", nil, "take what `SELECTOR` selects, and use it in place of its recorded value; auto takes what looks made up and comes back; may be repeated")
	flags.StringArrayVar(&r.optional, "optional", nil, optionalUsage)
	flags.BoolVar(&r.anyOrder, "any-order", false, "take messages in any order; one of ours waits only for the one that it answered")
	flags.BoolVar(&r.stream, "stream", false, "compare the messages of the other side as one stream of bytes, however it is cut into messages")
	flags.StringArrayVarP(&r.headers, "header", "H", nil, "send `'NAME: VALUE'` instead of the recorded header; may be repeated")
	flags.Var(&r.chunks, "chunks", "send in pieces of `N` bytes, each by itself")
	flags.Var(&r.times, "times", "play the session `N` times, one after another")
	flags.Var(&r.clients, "clients", "play `N` sessions at once")
	flags.Var((*duration)(&r.ramp), "ramp", "let the --clients begin one after another, over `TIME`")
	flags.Lookup("ramp").DefValue = ""
	flags.BoolVar(&r.json, "json", false, "print what was played as one JSON object: sessions, failures by kind, rates, and how long answers took, by message")
	flags.BoolVar(&r.update, "update", false, "do not compare, but record what comes into FILE")
	v.tlsKeys.register(cmd)
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
	opts := []replay.CompareOption{compareOption(r.exact, r.anyOrder, r.ignore, r.capture, r.optional)}
	if r.stream {
		opts = append(opts, replay.Stream())
	}
	we := decode.FromServer
	if r.connect != "" {
		we = decode.FromClient
	}
	opts = append(opts, r.leg.option(we))
	return replay.CompareOptions(opts...)
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
	for _, text := range capture {
		if text == captureAuto {
			opts = append(opts, replay.CaptureAuto())
			continue
		}
		places := []string{text}
		if sel, err := pick.Parse(text); err != nil || sel.Expr == nil { // which may have the word
			places = strings.Split(text, " into ")
		}
		opts = append(opts, replay.Capture(places[0], places[1:]...))
	}
	return replay.CompareOptions(opts...)
}

// captureAuto is the --capture of what looks made up.
const captureAuto = "auto"

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
	opts := []replay.PlayOption{r.timing.option(), replay.Stall(r.stall), replay.Update(r.update), replay.BodyHint("--bodies SIZE records more")}
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
	if r.json && v.to == "" && v.form.value != "none" {
		return usagef("--json and -o %s would both print to stdout; --to FILE takes one", v.form.value)
	}
	for _, t := range r.targets {
		if t.capture {
			return usagef("-w %s: a replay records .wst; wstrace convert makes a capture of it", t)
		}
	}
	p := &performance{flags: r, colored: v.colored(), width: v.width(), con: con, name: name, keys: v.tlsKeys.Keys}
	comp, err := p.load()
	if err != nil {
		return failed("replay", name, err)
	}
	if err := p.played().Warning(); err != nil {
		con.say("replay %q: %v", name, err)
	}
	r.leg.note(con, "replay", name, p.played().Changed())
	sayLong(con, "replay", name, p.scripts()...)
	sayUnfound(con, name, p.played())
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
	p.how = replay.PlayOptions(how, replay.Latency(p.tally.answer), replay.Notes(p.note), replay.Captured(p.capture), replay.Events(&f.tee))
	if r.update {
		f.tee.Sinks = append(f.tee.Sinks, trace.NewWriter(&updated, traceOptions()))
	}
	ctx, stop := f.untilSignal(ctx)
	defer stop()
	if listener != nil {
		con.say("listening on %s", listener.Addr())
		scheme, target := "ws", p.played().Target()
		if p.all != nil && p.all.Exchanges() > 0 {
			scheme, target = "http", ""
		}
		to := scheme + "://" + listener.Addr().String() + target
		if r.tls {
			to += " or " + scheme + "s" + strings.TrimPrefix(to, scheme)
		}
		con.note("point the client at %s", to)
	}
	err = p.play(ctx, listener)
	if err == nil && r.update {
		err = p.update(comp, &updated)
	}
	return f.end(err)
}

// sayUnfound says which selectors of --capture find nothing in any session.
func sayUnfound(con *console, name string, what played) {
	for _, sel := range what.Unfound() {
		con.say("replay %q: --capture %s finds nothing in the recording", name, quotedWord(sel))
	}
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
