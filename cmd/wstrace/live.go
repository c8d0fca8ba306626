package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"os/signal"
	"strconv"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// liveFlags are the flags of the proxy.
type liveFlags struct {
	record
	tls       tlsFlags
	changes   changeFlags
	listen    string
	keepHost  bool
	strict    bool
	maxHead   size
	handshake time.Duration
	dial      time.Duration
	via       choice // how the connections of a command come to us
	flags     *pflag.FlagSet
	live      []string // the names of flags that are about live traffic alone
}

// listenGiven reports whether an address to listen on was given.
func (l *liveFlags) listenGiven() bool { return l.flags.Changed("listen") }

// given returns the name of a flag that was given and is about live traffic alone; "" if
// none was.
func (l *liveFlags) given() string {
	for _, name := range l.live {
		if l.flags.Changed(name) {
			return name
		}
	}
	return ""
}

func (l *liveFlags) register(cmd *cobra.Command) {
	before := make(map[string]bool)
	cmd.Flags().VisitAll(func(f *pflag.Flag) { before[f.Name] = true })
	l.maxHead, l.handshake, l.dial = proxy.DefaultMaxHead, proxy.DefaultHandshakeTimeout, proxy.DefaultDialTimeout
	l.via = choice{"auto", []string{"auto", "seccomp", "env"}}
	flags := cmd.Flags()
	l.flags = flags
	flags.StringVarP(&l.listen, "listen", "l", "127.0.0.1:8080", "listen on `ADDR`, or on a port of 127.0.0.1; port 0 picks a free one; 0.0.0.0 is all of IPv4, no host or [::] of IPv6 too")
	l.record.register(cmd)
	l.record.parts.register(cmd)
	flags.BoolVar(&l.keepHost, "keep-host", false, "keep the Host header that the client sent")
	flags.BoolVar(&l.strict, "strict", false, "refuse handshakes that break a rule, and TLS that is no longer safe")
	l.tls.register(flags)
	flags.Var(&l.maxHead, "max-head", "refuse request and response heads longer than `SIZE`")
	flags.Var((*duration)(&l.handshake), "handshake-timeout", "wait at most `TIME` for a request, for TLS with a client, and for the answer to a WebSocket request")
	flags.Var((*duration)(&l.dial), "dial-timeout", "wait at most `TIME` for a connection to a server; those of a command take as long as they would without wstrace, unless it is given")
	flags.Var(&l.via, "via", "how the connections of a command come here, `HOW`: seccomp, which catches all (Linux only), env, which names the proxy in its environment, or auto")
	completeChoice(cmd, "via", &l.via)
	flags.VisitAll(func(f *pflag.Flag) {
		if !before[f.Name] {
			l.live = append(l.live, f.Name)
		}
	})
	l.changes.register(cmd)
}

// run is wstrace [URL] [-- CMD].
func (l *liveFlags) run(ctx context.Context, con *console, v *view, urls, argv []string) error {
	p := &proxy.Proxy{
		KeepHost:         l.keepHost,
		Strict:           l.strict,
		MaxHead:          int(l.maxHead),
		HandshakeTimeout: l.handshake,
		DialTimeout:      l.dial,
		Page:             page,
		Log:              slog.New(con),
	}
	if len(urls) > 0 {
		var err error
		if p.Upstream, err = parseOrigin(urls[0]); err != nil {
			return err
		}
	}
	if most := size(decode.MaxHead / 2); l.maxHead > most {
		return usagef("--max-head is at most %v", &most)
	}
	if len(l.tls.only) > 0 && p.Upstream != nil {
		return usagef("--only is for the HTTP proxy: with a URL there is one server")
	}
	if l.handshake <= 0 || l.dial <= 0 {
		return usagef("--handshake-timeout and --dial-timeout must be more than 0")
	}
	if l.via.value != "auto" && (len(argv) == 0 || p.Upstream != nil) {
		return usagef("--via is for wstrace -- CMD")
	}
	if err := l.changes.load(l.flags); err != nil {
		return err
	}
	if l.changes.dryRun != "" {
		if len(urls)+len(argv) > 0 {
			return usagef("--dry-run: there is no server and no command in it")
		}
		if name := l.given(); name != "" {
			return usagef("--dry-run: nothing is listened to or recorded in it, so there is no --%s", name)
		}
		return l.changes.dry(ctx, con, v)
	}
	v.beside = len(argv) > 0

	var cmd *command
	if len(argv) > 0 {
		var err error
		if cmd, err = newCommand(con, l, p, argv); err != nil {
			return err
		}
	}
	keyLog, err := l.tls.addTo(p, con)
	if err != nil {
		return err
	}
	if keyLog != nil {
		defer keyLog.Close()
	}
	l.record.seed = l.changes.seed.n
	f, err := newFlow(con, v, &l.record)
	if err != nil {
		return err
	}
	r := &liveProxy{con: con, p: p, flow: f, tips: &hints{con: con}} // con hides secrets too
	if cmd == nil || p.Upstream != nil || l.listenGiven() {
		if r.listener, err = listen(l.listen); err != nil {
			return f.abandon(err)
		}
		defer r.listener.Close()
	}
	if err := f.begin(); err != nil {
		return f.abandon(err)
	}
	f.turnParts(&l.record.parts, l.changes.file != "")
	f.watch(r.tips)
	p.Sink, p.Look = &f.tee, l.look(v)
	only := &onlyHosts{hosts: l.tls.only, to: &f.tee}
	if len(only.hosts) > 0 {
		p.Sink = decode.LockedWith(&f.tee, only.emit)
	}
	if f.playsAgain() { // then what is played again is examined
		p.Look = decode.Look{FactsOnly: !l.strict, Bodies: p.Look.Bodies}
		collectMore()
	}
	p.Look.Tap = f.tap()
	if c := l.changes.changes; c != nil {
		p.NewGate = c.NewGate
		l.changes.tell(con, len(c.Acts()))
		defer l.changes.watch(con)()
	}
	if cmd != nil {
		err = cmd.run(ctx, r)
	} else {
		err = r.serve(ctx)
	}
	if only.passed > 0 {
		con.note("%s with other hosts passed unread", plural(only.passed, "session"))
	}
	r.atEnd(only.passed)
	if l.changes.changes != nil {
		l.changes.sum(con)
	}
	return err
}

// A liveProxy is a proxy that runs, and what it makes itself known by.
type liveProxy struct {
	con      *console
	p        *proxy.Proxy
	flow     *flow
	tips     *hints
	listener net.Listener // nil if there is none
	led      bool         // it runs a command whose connections come to us
	byEnv    bool         // because of its environment alone
	stopped  bool         // a signal came for the command
}

// serve serves until a signal comes, and ends the flow.
func (r *liveProxy) serve(ctx context.Context) error {
	ctx, stop := r.flow.untilSignal(ctx)
	defer stop()
	r.announce()
	return r.flow.end(r.p.Serve(ctx, r.listener))
}

// announce says where the proxy listens.
func (r *liveProxy) announce() {
	addr := r.listener.Addr()
	r.con.say("listening on %s", addr)
	r.con.note("%s", directions(r.p.Upstream, addr))
	warnOpen(r.con, r.p.Upstream, addr)
}

// atEnd says why nothing may have come. So many sessions passed unseen.
func (r *liveProxy) atEnd(passed int64) {
	sessions := r.flow.totals.sessions + passed
	switch {
	case r.led && sessions > 0:
	case r.byEnv:
		r.con.hint("no connection came: many programs take no proxy from their environment, above all for this machine, " +
			"and short connections around it are not noticed; for one server, run wstrace URL and point the program at wstrace")
	case r.led && r.stopped: // as one stops a server
		r.con.hint("only connections that the command makes are seen; for those that come to it, as to a server, run wstrace URL -- CMD")
	case r.led:
	case r.listener != nil:
		r.tips.atEnd(r.p.Upstream, r.listener.Addr(), sessions)
	}
}

// listen listens on addr. A port alone is one of 127.0.0.1. 0.0.0.0 means IPv4
// only; [::], and no host, mean both.
func listen(addr string) (net.Listener, error) {
	if _, err := strconv.ParseUint(addr, 10, 16); err == nil {
		addr = "127.0.0.1:" + addr
	}
	if _, err := strconv.ParseUint(addr, 10, 64); err == nil {
		return nil, usagef("listen %q: a port is at most 65535", addr)
	}
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, usageError{hinted{fmt.Errorf("listen %q: no port", addr), "-l 8080, or -l :8080 for all interfaces"}}
	}
	network := "tcp"
	if ip := net.ParseIP(host); ip.To4() != nil {
		network = "tcp4" // else 0.0.0.0 would be all of IPv6 too
	}
	l, err := net.Listen(network, addr)
	if err != nil {
		err = failed("listen", addr, err)
		if errors.Is(err, syscall.EADDRINUSE) {
			err = hinted{err, "-l 127.0.0.1:0 picks a free port"}
		}
		return nil, err
	}
	return l, nil
}

// warnOpen warns of a proxy that others than the users of this machine can reach.
func warnOpen(con *console, origin *url.URL, addr net.Addr) {
	tcp, ok := addr.(*net.TCPAddr)
	if !ok || tcp.IP.IsLoopback() {
		return
	}
	to := "is an open proxy: it lets them into this machine, and into its network"
	if origin != nil {
		to = "lets them reach " + origin.Host
	}
	con.say("other machines can connect to %s, which %s", addr, to)
	con.hint("-l 127.0.0.1:%d keeps it to this machine", tcp.Port)
}

// directions says how a client reaches a proxy for origin that listens on addr.
func directions(origin *url.URL, addr net.Addr) string {
	host, port, _ := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); ip.IsUnspecified() {
		host = "127.0.0.1"
	}
	host = net.JoinHostPort(host, port)
	if origin == nil {
		return "set the client's HTTP proxy to http://" + host
	}
	u := *origin
	u.Host = host
	to := "point the client at " + u.String()
	if plain := map[string]string{"wss": "ws", "https": "http"}[u.Scheme]; plain != "" {
		u.Scheme = plain
		to += " or " + u.String()
	}
	return to
}

// untilSignal returns a context that ends at the first SIGINT or SIGTERM, or
// SIGHUP unless that was ignored from the start, as by nohup. The second one ends
// the program at once.
func untilSignal(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	if !signal.Ignored(syscall.SIGHUP) {
		signal.Notify(signals, syscall.SIGHUP)
	}
	go func() {
		<-signals
		cancel()
		second := syscall.SIGINT
		if s, ok := (<-signals).(syscall.Signal); ok {
			second = s
		}
		os.Exit(128 + int(second))
	}()
	return ctx, cancel
}
