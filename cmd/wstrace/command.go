package main

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child"
	trustdir "github.com/wstrace/wstrace/cmd/wstrace/internal/child/trust"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/viaenv"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/ca"
)

// A command is wstrace -- CMD: a program whose connections come to the proxy, or
// with a URL the server behind it.
type command struct {
	con   *console
	flags *liveFlags
	p     *proxy.Proxy
	spec  child.Command

	trust   *trustdir.Dir // nil if TLS is not looked into
	process *child.Process
	signals chan os.Signal // that have come since the run began
	served  sync.WaitGroup // connections, and what serves them
	conns   conns
	ongoing ongoing
	await   awaited // of a server
}

// newCommand returns the command argv around which p is to be. What can't be run is
// an error with the exit status that shells give it.
func newCommand(con *console, flags *liveFlags, p *proxy.Proxy, argv []string) (*command, error) {
	path, err := lookPath(argv[0])
	if err != nil {
		return nil, notRun(argv[0], &child.ExecError{Err: err})
	}
	c := &command{con: con, flags: flags, p: p, signals: make(chan os.Signal, 16)}
	c.spec = child.Command{Path: path, Args: argv, Env: os.Environ()}
	return c, nil
}

// lookPath finds an executable as shells do.
func lookPath(name string) (string, error) {
	path, err := exec.LookPath(name)
	switch {
	case err == nil, errors.Is(err, exec.ErrDot):
		return path, nil
	case errors.Is(err, exec.ErrNotFound):
		return "", fs.ErrNotExist
	}
	return "", cause(unwrapExec(err))
}

func unwrapExec(err error) error {
	var e *exec.Error
	if errors.As(err, &e) {
		return e.Err
	}
	return err
}

// notRun says that a command could not be executed.
func notRun(name string, err *child.ExecError) error {
	why := cause(err.Err)
	if errors.Is(why, fs.ErrNotExist) {
		why = errors.New("command not found")
	}
	return statusError{fmt.Errorf("run %q: %w", name, why), err.Status()}
}

// run runs the command, and the proxy as long as it lasts, and ends the flow.
func (c *command) run(ctx context.Context, r *liveProxy) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.catchSignals()
	defer signal.Stop(c.signals)
	defer c.removeTrust()
	c.ongoing.changed = make(chan struct{}, 1)
	r.flow.watch(&c.ongoing)
	var err error
	if c.p.Upstream != nil {
		err = c.startServer(ctx, r)
	} else {
		err = c.startClient(ctx, r)
	}
	if err != nil {
		cancel()
		c.served.Wait()
		return r.flow.abandonBegun(err)
	}
	r.stopped = c.waitFor(ctx)
	c.process.Close()
	c.settle(cancel)
	signal.Stop(c.signals)
	c.reportPassed()
	err = r.flow.end(nil)
	if status := c.process.Status(); status != 0 {
		return statusError{errReported, status}
	}
	return err
}

func (c *command) removeTrust() {
	if c.trust != nil {
		if err := c.trust.Close(); err != nil {
			c.con.fail(fmt.Errorf("remove the temporary directory: %w", err))
		}
	}
}

// startServer runs the command as the server behind the proxy, which clients reach
// at once: their connections wait until the server listens.
func (c *command) startServer(ctx context.Context, r *liveProxy) (err error) {
	if c.process, err = c.start(); err != nil {
		return err
	}
	c.await.ended = c.process.Ended()
	c.await.timeout = c.flags.dial
	c.await.waits = func() {
		c.con.say("nothing listens at %s yet: clients wait until %s does", c.p.Upstream.Host, filepath.Base(c.spec.Args[0]))
		c.con.hint("the URL has to have the port that the server listens on")
	}
	c.p.Dial = c.await.dial
	r.announce()
	c.serve(ctx, r)
	return nil
}

// serve serves the listener in the background.
func (c *command) serve(ctx context.Context, r *liveProxy) {
	c.served.Go(func() {
		if err := c.p.Serve(ctx, &clientListener{r.listener, &c.conns}); err != nil {
			c.con.fail(err)
		}
	})
}

// startClient runs the command so that its connections come to the proxy.
func (c *command) startClient(ctx context.Context, r *liveProxy) (err error) {
	if err := c.trustUs(); err != nil {
		return err
	}
	r.led = true
	if c.flags.via.value != "env" {
		err = c.startLed(ctx, r)
		var not *child.ErrNotTraced
		switch {
		case err == nil:
			if r.listener != nil {
				r.announce()
				c.serve(ctx, r)
			}
			return nil
		case !errors.As(err, &not):
			return err
		case c.flags.via.value == "seccomp":
			err = fmt.Errorf("the connections of the command can't be caught: %w", not)
			if not.Remedy != "" {
				err = hinted{err, not.Remedy}
			}
			return err
		}
		c.con.say("connections of the command can't be caught, so its environment names the proxy: %v", not)
		if not.Remedy != "" {
			c.con.hint("%s", not.Remedy)
		}
	}
	r.byEnv = true
	return c.startByEnv(ctx, r)
}

// trustUs makes the temporary directory by which the command trusts our authority.
func (c *command) trustUs() error {
	var cert *x509.Certificate
	if c.p.Authority != nil {
		dir, err := caDir(c.flags.tls.caDir)
		if err == nil {
			c.p.Authority, err = ca.Load(dir) // now, not when it is first needed
		}
		if err != nil {
			c.p.Authority = nil
			c.con.fail(fmt.Errorf("TLS is relayed without reading it: the authority in %q: %w", dir, caError(err)))
		} else {
			cert = c.p.Authority.Certificate()
		}
	}
	var err error
	if c.trust, err = trustdir.New(cert, c.spec.Env); err != nil {
		return fmt.Errorf("make a temporary directory: %w", cause(err))
	}
	if cert == nil {
		return nil
	}
	c.spec.Env = c.trust.Env(c.spec.Env)
	c.con.untrusted = func(process string) string { return untrustedHint(process, c.trust.SPKI(), c.trust.Bundle()) }
	// The servers that the command trusts by its environment are trusted in its place.
	if more := c.trust.Roots(); len(more) > 0 {
		pool := c.p.UpstreamTLS.RootCAs
		if pool == nil {
			if pool, err = x509.SystemCertPool(); err != nil {
				pool = x509.NewCertPool()
			}
		}
		for _, cert := range more {
			pool.AddCert(cert)
		}
		c.p.UpstreamTLS.RootCAs = pool
	}
	return nil
}

// startLed runs the command under the filter.
func (c *command) startLed(ctx context.Context, r *liveProxy) (err error) {
	own := func(addr netip.AddrPort) bool { return r.listener != nil && isListener(r.listener.Addr(), addr) }
	lead := &child.Lead{
		Own: own,
		Take: func(conn child.Conn) {
			c.conns.add(conn.Client, false)
			c.conns.add(conn.Server, true)
			c.ongoing.add(1)
			c.served.Go(func() {
				defer conn.Done()
				defer c.ongoing.add(-1)
				c.p.ServeConn(ctx, conn.Client, proxy.Target{Addr: conn.Addr.String(), Conn: conn.Server, PID: conn.PID, Process: conn.Process})
			})
		},
	}
	if c.flags.flags.Changed("dial-timeout") {
		lead.DialTimeout = c.flags.dial
	}
	if c.con.verbose {
		lead.Tried = func(to child.Wanted, err error) {
			text := fmt.Sprintf("%s[%d] connects to %s", to.Process, to.PID, to.Addr)
			if err != nil {
				text += fmt.Sprintf(": %v", cause(err))
			}
			c.con.say("%s", text)
		}
	}
	c.spec.Lead = lead
	if c.process, err = c.start(); err != nil {
		c.spec.Lead = nil
		return err
	}
	if c.process.Confined {
		c.con.note("sudo and other setuid programs fail when they run under wstrace, unless you are root")
	}
	return nil
}

// isListener reports whether addr is where a listener of ours with address l listens.
func isListener(l net.Addr, addr netip.AddrPort) bool {
	tcp, ok := l.(*net.TCPAddr)
	if !ok {
		return false
	}
	at := tcp.AddrPort()
	ip := at.Addr().Unmap()
	return at.Port() == addr.Port() && (ip == addr.Addr() || ip.IsUnspecified())
}

// startByEnv runs the command with an environment that names the proxy.
func (c *command) startByEnv(ctx context.Context, r *liveProxy) (err error) {
	if r.listener == nil {
		if r.listener, err = listen("127.0.0.1:0"); err != nil {
			return err
		}
	}
	lead, err := viaenv.Listen()
	if err != nil {
		return err
	}
	addr, _ := r.listener.Addr().(*net.TCPAddr)
	if c.spec.Env, err = viaenv.Env(c.spec.Env, addr, lead, c.trust.Path()); err != nil {
		lead.Close()
		return err
	}
	if c.flags.listenGiven() {
		r.announce()
	}
	c.serve(ctx, r)
	c.served.Go(func() {
		err := lead.Serve(ctx, func(ctx context.Context, conn net.Conn, to viaenv.Target) {
			c.conns.add(conn, false)
			c.conns.add(to.Conn, true)
			c.ongoing.add(1)
			defer c.ongoing.add(-1)
			c.p.ServeConn(ctx, conn, proxy.Target{Addr: to.Addr, Conn: to.Conn, PID: to.PID, Process: to.Process})
		}, func(to viaenv.Target, err error) {
			c.con.say("%s[%d]: dial upstream %q: %v", to.Process, to.PID, to.Addr, cause(err))
		})
		if err != nil {
			c.con.fail(err)
		}
	})
	if c.process, err = c.start(); err != nil {
		return err
	}
	if child.Filtered() { // then addresses are not what they seem
		return nil
	}
	c.served.Go(func() {
		given := make(map[string]bool) // hints
		viaenv.Watch(ctx, c.process.PID, []*net.TCPAddr{addr, lead.Addr()}, func(around viaenv.Connection) {
			c.con.say("%s[%d] connects to %s around the proxy", around.Process, around.PID, around.Addr)
			if hint := aroundHint(around.Process, addr); !given[hint] {
				given[hint] = true
				c.con.hint("%s", hint)
			}
		})
	})
	return nil
}

// catchSignals catches what is for the command from here on.
func (c *command) catchSignals() {
	for _, s := range append([]os.Signal{os.Interrupt, syscall.SIGTERM, syscall.SIGHUP}, commandSignals...) {
		if !signal.Ignored(s) {
			signal.Notify(c.signals, s)
		}
	}
}

// start starts the command, unless a signal has come before.
func (c *command) start() (*child.Process, error) {
	select {
	case s := <-c.signals:
		if isStop(s) {
			child.StopSelf()
			break
		}
		status := child.Status(exitFailed)
		if sig, ok := s.(syscall.Signal); ok {
			status = 128 + child.Status(sig)
		}
		return nil, statusError{errReported, status}
	default:
	}
	p, err := child.Start(&c.spec)
	var exec *child.ExecError
	if errors.As(err, &exec) {
		return nil, notRun(c.spec.Args[0], exec)
	}
	return p, err
}

// waitFor waits until the command has ended, and all that it has left. The terminal
// sends signals to the command too; others are passed on to it. When it has ended, a
// signal ends the wait. It returns whether a signal has come for the command.
func (c *command) waitFor(ctx context.Context) (stopped bool) {
	ignoreBackground()
	exited, left := c.process.Exited(), (<-chan time.Time)(nil)
	for {
		select {
		case <-c.process.Ended():
			return stopped
		case <-exited:
			exited = nil
			c.dropSignals()
			left = time.After(moment)
		case <-left:
			if still := c.process.Left(); len(still) > 0 {
				c.con.say("%s has ended, and wstrace goes on for what it has left: %s", filepath.Base(c.spec.Args[0]), someOf(still))
				c.con.hint("Ctrl-C ends wstrace; new connections of what still runs fail then")
			}
		case s := <-c.signals:
			stopped = stopped || !isStop(s)
			switch {
			case exited == nil && isStop(s):
				child.StopSelf()
			case exited == nil:
				return stopped
			case !ofKeyboard(s) || !fromTerminal():
				c.process.Signal(s)
			}
		case <-ctx.Done():
			return stopped
		}
	}
}

// dropSignals forgets signals that came when the command had not ended: they meant that.
func (c *command) dropSignals() {
	for {
		select {
		case <-c.signals:
		default:
			return
		}
	}
}

// someOf lists a few names.
func someOf(names []string) string {
	const most = 5
	if n := len(names) - most; n > 0 {
		return strings.Join(names[:most], ", ") + fmt.Sprintf(" and %d more", n)
	}
	return strings.Join(names, ", ")
}

// reportPassed says what was not looked into.
func (c *command) reportPassed() {
	p := &c.process.Passed
	var list []string
	add := func(n int64, what, which string) {
		if n > 0 {
			list = append(list, plural(n, what)+which)
		}
	}
	add(p.UDP.Load(), "UDP socket", "")
	add(p.Protocol.Load(), "connection", " of another protocol than TCP")
	add(p.Namespace.Load(), "connection", " in another network namespace")
	add(p.Device.Load(), "connection", " bound to a network device")
	add(p.Unreadable.Load(), "connection", " of a process that can't be read")
	add(p.Shortage.Load(), "connection", " for which wstrace had no descriptor left (ulimit -n)")
	add(p.Managers.Load(), "connection", " with a service that starts processes for others, such as Docker")
	if len(list) > 0 {
		c.con.note("not looked into: %s", strings.Join(list, ", "))
	}
}
