package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/gobwas/ws"
	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/rogpeppe/go-internal/testscript"

	"github.com/wstrace/wstrace/proxy/ca"
)

// scriptCmds are the commands that scripts have besides those of testscript.
var scriptCmds = map[string]func(ts *testscript.TestScript, neg bool, args []string){
	"wsecho":    wsecho,
	"wsclient":  wsclient,
	"live":      startLive,
	"interrupt": interrupt,
	"sendsig":   sendSignal,
	"ended":     ended,
	"crash":     crash,
	"waitline":  waitline,
	"status":    status,
	"pack":      pack,
	"cut":       cutFile,
}

// scriptCondition has [program:NAME]: it is there, and in CI has to be; and [root].
func scriptCondition(cond string) (bool, error) {
	if cond == "root" {
		return os.Geteuid() == 0, nil
	}
	name, ok := strings.CutPrefix(cond, "program:")
	if !ok {
		return false, fmt.Errorf("unknown condition %q", cond)
	}
	_, err := exec.LookPath(name)
	if err != nil && os.Getenv("CI") == "true" {
		return false, err
	}
	return err == nil, nil
}

// signalsByName are those that scripts send.
var signalsByName = map[string]os.Signal{"HUP": syscall.SIGHUP, "TERM": syscall.SIGTERM}

func init() {
	if len(newPartSignals) > 0 {
		signalsByName["USR1"] = newPartSignals[0]
	}
}

// patience is how long a script waits for what should happen at once.
const patience = 2 * time.Minute

// wsecho [-tls | -mutual] NAME
//
// starts a server that sends every frame back, and puts its address into the
// variable NAME. It answers /page with a page and /refuse with a 403. With -tls
// it speaks TLS, and the authority that vouches for it is in NAME.pem; with
// -mutual it wants to see a certificate, which is in NAME-client.pem.
func wsecho(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("wsecho", flag.ContinueOnError)
	secure := flags.Bool("tls", false, "")
	mutual := flags.Bool("mutual", false, "")
	ts.Check(flags.Parse(args))
	if neg || flags.NArg() != 1 {
		ts.Fatalf("usage: wsecho [-tls | -mutual] NAME")
	}
	name := flags.Arg(0)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s := &http.Server{Handler: http.HandlerFunc(echo), ErrorLog: log.New(io.Discard, "", 0)}
	ts.Defer(func() { s.Close() })
	ts.Setenv(name, l.Addr().String())
	_, port, _ := net.SplitHostPort(l.Addr().String())
	ts.Setenv(name+"_port", port)
	if !*secure && !*mutual {
		go s.Serve(l)
		return
	}
	dir := ts.MkAbs(name + "-ca")
	a, err := ca.New(dir)
	ts.Check(err)
	ts.Check(os.Rename(filepath.Join(dir, ca.CertFile), ts.MkAbs(name+".pem")))
	leaf, err := a.Leaf("127.0.0.1")
	ts.Check(err)
	config := &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"http/1.1"}}
	if *mutual {
		config.ClientAuth = tls.RequireAnyClientCert
		key, err := x509.MarshalPKCS8PrivateKey(leaf.PrivateKey)
		ts.Check(err)
		both := append(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: leaf.Certificate[0]}),
			pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})...)
		ts.Check(os.WriteFile(ts.MkAbs(name+"-client.pem"), both, 0o600))
	}
	go s.Serve(tls.NewListener(l, config))
}

func echo(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/refuse":
		http.Error(w, "not from there", http.StatusForbidden)
		return
	case "/page":
		io.WriteString(w, "a page\n")
		return
	}
	c, rw, _, err := ws.UpgradeHTTP(r, w)
	if err != nil {
		return
	}
	defer c.Close()
	for {
		f, err := readFrame(rw)
		if err != nil {
			return
		}
		if err := ws.WriteFrame(c, f); err != nil || f.Header.OpCode == ws.OpClose {
			return
		}
	}
}

// readFrame reads a frame of at most 1 MiB and unmasks it.
func readFrame(r io.Reader) (ws.Frame, error) {
	h, err := ws.ReadHeader(r)
	if err == nil && h.Length > 1<<20 {
		err = errors.New("the frame is too long")
	}
	if err != nil {
		return ws.Frame{}, err
	}
	f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
	_, err = io.ReadFull(r, f.Payload)
	if h.Masked {
		f = ws.UnmaskFrameInPlace(f)
	}
	return f, err
}

// wsclient [-n COUNT] [-via PROXY] [-trust FILE] [-H 'Name: value'] URL [WORD...]
//
// connects to URL, COUNT times at once, by CONNECT through PROXY if there is
// one; for wss it trusts the authority in FILE. Each WORD goes into a text frame, whose echo is awaited; of hex:BYTES
// the bytes go as they are, and each frame in them has an echo. A Close frame
// and its echo end the conversation. With ! the handshake must fail.
func wsclient(ts *testscript.TestScript, neg bool, args []string) {
	flags := flag.NewFlagSet("wsclient", flag.ContinueOnError)
	n := flags.Int("n", 1, "")
	via := flags.String("via", "", "")
	trust := flags.String("trust", "", "")
	header := flags.String("H", "", "")
	ts.Check(flags.Parse(args))
	if flags.NArg() == 0 {
		ts.Fatalf("usage: wsclient [-n COUNT] [-via PROXY] [-trust FILE] [-H 'Name: value'] URL [WORD...]")
	}
	roots := x509.NewCertPool()
	if *trust != "" && !roots.AppendCertsFromPEM([]byte(ts.ReadFile(*trust))) {
		ts.Fatalf("no certificate in %s", *trust)
	}
	d := ws.Dialer{Timeout: patience, TLSConfig: &tls.Config{RootCAs: roots}}
	if *header != "" {
		d.Header = ws.HandshakeHeaderString(*header + "\r\n")
	}
	if *via != "" {
		d.NetDial = func(ctx context.Context, network, addr string) (net.Conn, error) {
			return connect(ctx, *via, addr)
		}
	}
	errs := make(chan error)
	for range *n {
		go func() { errs <- talk(d, flags.Arg(0), flags.Args()[1:]) }()
	}
	for range *n {
		if err := <-errs; (err != nil) != neg {
			ts.Fatalf("wsclient: %v", err)
		}
	}
}

func talk(d ws.Dialer, url string, words []string) error {
	c, br, _, err := d.Dial(context.Background(), url)
	if err != nil {
		return err
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	if br == nil {
		br = bufio.NewReader(c)
	}
	for _, word := range words {
		out, err := hex.DecodeString(strings.TrimPrefix(word, "hex:"))
		if !strings.HasPrefix(word, "hex:") {
			out, err = ws.CompileFrame(ws.MaskFrameInPlace(ws.NewTextFrame([]byte(word))))
		}
		if err != nil {
			return err
		}
		if err := exchange(c, br, out); err != nil {
			return fmt.Errorf("%q: %w", word, err)
		}
	}
	bye := ws.NewCloseFrame(ws.NewCloseFrameBody(ws.StatusNormalClosure, "bye"))
	return exchange(c, br, ws.MustCompileFrame(ws.MaskFrameInPlace(bye)))
}

// exchange sends the frames in out and reads the echo of each.
func exchange(w io.Writer, r io.Reader, out []byte) error {
	if _, err := w.Write(out); err != nil {
		return err
	}
	for sent := bytes.NewReader(out); sent.Len() > 0; {
		want, err := readFrame(sent)
		if err != nil {
			return err
		}
		got, err := readFrame(r)
		if err != nil {
			return err
		}
		if got.Header.OpCode != want.Header.OpCode || !bytes.Equal(got.Payload, want.Payload) {
			return fmt.Errorf("the echo is %q", got.Payload)
		}
	}
	return nil
}

// connect returns a connection to addr through a tunnel of proxy.
func connect(ctx context.Context, proxy, addr string) (net.Conn, error) {
	var d net.Dialer
	c, err := d.DialContext(ctx, "tcp", proxy)
	if err != nil {
		return nil, err
	}
	fmt.Fprintf(c, "CONNECT %s HTTP/1.1\r\nHost: %[1]s\r\n\r\n", addr)
	res, err := http.ReadResponse(bufio.NewReader(c), &http.Request{Method: "CONNECT"})
	if err == nil && res.StatusCode != 200 {
		err = errors.New(res.Status)
	}
	if err != nil {
		c.Close()
		return nil, err
	}
	return c, nil
}

// A liveRun is a wstrace in the background.
type liveRun struct {
	*exec.Cmd
	ended chan struct{}
}

// liveRuns is the key of those of a script, by their names.
type liveRuns struct{}

func runsOf(ts *testscript.TestScript) map[string]*liveRun {
	return ts.Value(liveRuns{}).(map[string]*liveRun)
}

// live NAME [ARG...]
//
// starts wstrace ARG... in the background, which may be its replay, on a free
// port unless there is a -l, waits until it listens, and puts its address into the
// variable NAME and the port of that into NAME_port. What it prints goes to the
// files NAME.out and NAME.err. wstrace show does not listen.
func startLive(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) == 0 {
		ts.Fatalf("usage: live NAME [ARG...]")
	}
	name := args[0]
	args = args[1:]
	var before []string
	if len(args) > 0 && args[0] == "replay" { // its flags come behind it
		before, args = args[:1], args[1:]
	}
	shows := len(args) > 0 && args[0] == "show"
	if !shows {
		before = slices.Concat(before, []string{"-l", "127.0.0.1:0"})
	}
	cmd := exec.Command("wstrace", slices.Concat(before, args)...)
	cmd.Dir = ts.MkAbs(".")
	cmd.Env = append(os.Environ(), "TZ=UTC", "GORACE="+gorace)
	for _, name := range []string{"HOME", "XDG_CONFIG_HOME", "SSLKEYLOGFILE"} {
		cmd.Env = append(cmd.Env, name+"="+ts.Getenv(name))
	}
	stdout, err := os.Create(ts.MkAbs(name + ".out"))
	ts.Check(err)
	defer stdout.Close()
	stderr, err := os.Create(ts.MkAbs(name + ".err"))
	ts.Check(err)
	defer stderr.Close()
	cmd.Stdout, cmd.Stderr = stdout, stderr
	ts.Check(cmd.Start())
	r := &liveRun{cmd, make(chan struct{})}
	go func() {
		cmd.Wait()
		close(r.ended)
	}()
	ts.Defer(func() {
		cmd.Process.Kill()
		<-r.ended
	})
	runsOf(ts)[name] = r
	if shows {
		return
	}
	addr := await(ts, name+".err", regexp.MustCompile(`^wstrace: listening on (.*)$`))[1]
	_, port, _ := net.SplitHostPort(addr)
	ts.Setenv(name, addr)
	ts.Setenv(name+"_port", port)
}

// interrupt NAME [STATUS]
//
// sends SIGINT to a live wstrace and checks the exit status, 0 unless given.
func interrupt(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: interrupt NAME [STATUS]")
	}
	ts.Check(runsOf(ts)[args[0]].Process.Signal(syscall.SIGINT))
	ended(ts, neg, args)
}

// sendsig NAME SIGNAL
//
// sends a signal, HUP, TERM or USR1, to a live wstrace.
func sendSignal(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 || signalsByName[args[1]] == nil {
		ts.Fatalf("usage: sendsig NAME SIGNAL")
	}
	ts.Check(runsOf(ts)[args[0]].Process.Signal(signalsByName[args[1]]))
}

// ended NAME [STATUS]
//
// waits until a live wstrace has ended, and checks the exit status, 0 unless
// given.
func ended(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 1 || len(args) > 2 {
		ts.Fatalf("usage: ended NAME [STATUS]")
	}
	r := runsOf(ts)[args[0]]
	select {
	case <-r.ended:
	case <-time.After(patience):
		ts.Fatalf("%s does not stop", args[0])
	}
	want := "0"
	if len(args) == 2 {
		want = args[1]
	}
	if got := strconv.Itoa(r.ProcessState.ExitCode()); got != want {
		ts.Fatalf("exit status %s, want %s; stderr:\n%s", got, want, ts.ReadFile(args[0]+".err"))
	}
}

// crash NAME
//
// kills a live wstrace.
func crash(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: crash NAME")
	}
	r := runsOf(ts)[args[0]]
	ts.Check(r.Process.Kill())
	<-r.ended
}

// waitline FILE REGEXP [N]
//
// waits until a line of FILE matches, or N of them.
func waitline(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 || len(args) > 3 {
		ts.Fatalf("usage: waitline FILE REGEXP [N]")
	}
	re, err := regexp.Compile(args[1])
	ts.Check(err)
	n := 1
	if len(args) == 3 {
		n, err = strconv.Atoi(args[2])
		ts.Check(err)
	}
	awaitNth(ts, args[0], re, n)
}

// await returns the match of re in the first line of file that has one.
func await(ts *testscript.TestScript, file string, re *regexp.Regexp) []string {
	return awaitNth(ts, file, re, 1)
}

// awaitNth returns the match of re in the nth line of file that has one.
func awaitNth(ts *testscript.TestScript, file string, re *regexp.Regexp, n int) []string {
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		text := ts.ReadFile(file)
		have := 0
		for line := range strings.Lines(text) {
			if m := re.FindStringSubmatch(strings.TrimSuffix(line, "\n")); m != nil {
				if have++; have == n {
					return m
				}
			}
		}
		if time.Now().After(deadline) {
			ts.Fatalf("no line of %s matches %q:\n%s", file, re, text)
		}
	}
}

// status N COMMAND [ARG...]
//
// runs a command and checks its exit status.
func status(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: status N COMMAND [ARG...]")
	}
	got := 0
	var exit *exec.ExitError
	if err := ts.Exec(args[1], args[2:]...); errors.As(err, &exit) {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if strconv.Itoa(got) != args[0] {
		ts.Fatalf("exit status %d, want %s", got, args[0])
	}
}

// pack FILE
//
// compresses FILE into FILE.gz and FILE.zst.
func pack(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: pack FILE")
	}
	text := ts.ReadFile(args[0])
	var gz, zst bytes.Buffer
	g := gzip.NewWriter(&gz)
	io.WriteString(g, text)
	ts.Check(g.Close())
	z, err := zstd.NewWriter(&zst)
	ts.Check(err)
	io.WriteString(z, text)
	ts.Check(z.Close())
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".gz"), gz.Bytes(), 0o666))
	ts.Check(os.WriteFile(ts.MkAbs(args[0]+".zst"), zst.Bytes(), 0o666))
}

// cut FILE N
//
// removes the last N bytes of FILE.
func cutFile(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: cut FILE N")
	}
	n, err := strconv.Atoi(args[1])
	ts.Check(err)
	text := ts.ReadFile(args[0])
	ts.Check(os.WriteFile(ts.MkAbs(args[0]), []byte(text[:len(text)-n]), 0o666))
}
