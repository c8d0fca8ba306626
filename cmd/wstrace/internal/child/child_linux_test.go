package child

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// play is the variable that has this program, run as a command, play a role.
const play = "WSTRACE_CHILD_TEST"

func TestMain(m *testing.M) {
	Become()
	if role, ok := roles[os.Getenv(play)]; ok {
		if err := role(os.Args[1:]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// A run is a command that was led, and what became of it.
type run struct {
	*Process
	stdout string
	mu     sync.Mutex
	tried  []string // "ADDR ok", "ADDR error"
	taken  []Wanted
}

// led runs a command until it and all that it leaves have ended. Its connections are
// relayed as they are.
func led(t *testing.T, env []string, argv ...string) *run {
	t.Helper()
	r := start(t, env, argv...)
	select {
	case <-r.Ended():
	case <-time.After(time.Minute):
		r.Signal(unix.SIGKILL)
		t.Fatalf("%q does not end", argv)
	}
	r.stop(t)
	return r
}

// start starts a command whose connections are led. Its stdout goes to a file.
func start(t *testing.T, env []string, argv ...string) *run {
	t.Helper()
	r := new(run)
	path, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "stdout")
	argv = append([]string{"sh", "-c", `exec >"$0" "$@"`, out}, argv...)
	argv[4] = path
	sh, err := exec.LookPath("sh")
	if err != nil {
		t.Fatal(err)
	}
	var relays sync.WaitGroup
	r.Process, err = Start(&Command{Path: sh, Args: argv, Env: append(os.Environ(), env...), Lead: &Lead{
		Own: func(netip.AddrPort) bool { return false },
		Tried: func(to Wanted, err error) {
			r.mu.Lock()
			defer r.mu.Unlock()
			how := "ok"
			if err != nil {
				how = dialErrno(err).Error()
			}
			r.tried = append(r.tried, to.Addr.String()+" "+how)
		},
		Take: func(c Conn) {
			r.mu.Lock()
			r.taken = append(r.taken, c.Wanted)
			r.mu.Unlock()
			relays.Go(func() { c.relay() })
		},
	}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.Close()
		relays.Wait()
	})
	r.stdout = out
	return r
}

// stop reads what the command has printed.
func (r *run) stop(t *testing.T) {
	t.Helper()
	b, err := os.ReadFile(r.stdout)
	if err != nil {
		t.Fatal(err)
	}
	r.stdout = string(b)
	r.Close()
}

func (c *Conn) relay() {
	defer c.Done()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{c.Server, c.Client}, {c.Client, c.Server}} {
		both.Go(func() {
			io.Copy(way[0], way[1])
			way[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
	c.Client.Close()
	c.Server.Close()
}

// role runs this program in a role, with arguments.
func role(t *testing.T, name string, args ...string) *run {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	return led(t, []string{play + "=" + name}, append([]string{self}, args...)...)
}

// want checks what a command has printed, and how it ended.
func (r *run) want(t *testing.T, status Status, stdout string) {
	t.Helper()
	if r.Status() != status || r.stdout != stdout {
		t.Errorf("status %d, stdout %q, want %d, %q", r.Status(), r.stdout, status, stdout)
	}
}

// server listens at a loopback address, sends each client a line and what it sends
// back.
func server(t *testing.T, network, addr string) *net.TCPAddr {
	t.Helper()
	l, err := net.Listen(network, addr)
	if err != nil {
		t.Skip(err) // without IPv6
	}
	var conns sync.WaitGroup
	t.Cleanup(func() { l.Close(); conns.Wait() })
	conns.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			conns.Go(func() {
				defer c.Close()
				io.WriteString(c, "hello\n")
				io.Copy(c, c)
			})
		}
	})
	return l.Addr().(*net.TCPAddr)
}

// A slowServer answers no connect until it is told to.
type slowServer struct {
	*park
	addr netip.AddrPort
}

func newSlowServer(t *testing.T) *slowServer {
	t.Helper()
	p, err := newPark(netip.AddrFrom4([4]byte{127, 0, 0, 1}))
	if err != nil {
		t.Fatal(err)
	}
	s := &slowServer{park: p}
	s.addr = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(p.park4().Port))
	t.Cleanup(p.close)
	return s
}

func (p *park) park4() *unix.SockaddrInet4 { return p.addr.(*unix.SockaddrInet4) }

// answer accepts whoever waits, and says hello. The kernel asks again after a second.
func (s *slowServer) answer(t *testing.T) {
	t.Helper()
	accept := func() int {
		if err := ready(s.listener, unix.POLLIN); err != nil {
			t.Error(err)
			return -1
		}
		fd, _, err := unix.Accept4(s.listener, unix.SOCK_CLOEXEC)
		if err != nil {
			t.Error(err)
		}
		return fd
	}
	unix.Close(accept()) // the one that filled the queue
	fd := accept()
	unix.Write(fd, []byte("hello\n"))
	unix.Close(fd)
}

// waitTried waits until the command has begun to connect so many times: the dial is
// under way when the kernel has a socket for it.
func (s *slowServer) waitAsked(t *testing.T) {
	t.Helper()
	port := fmt.Sprintf(":%04X ", s.addr.Port())
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		b, err := os.ReadFile("/proc/self/net/tcp")
		if err != nil {
			t.Fatal(err)
		}
		for line := range strings.Lines(string(b)) {
			f := strings.Fields(line)
			if len(f) > 3 && strings.HasSuffix(f[2]+" ", port) && f[3] == "02" { // SYN_SENT
				return
			}
		}
	}
	t.Fatal("nobody connects")
}

func TestStatus(t *testing.T) {
	for script, want := range map[string]Status{"exit 0": 0, "exit 7": 7, "kill -TERM $$": 143, "kill -KILL $$": 137} {
		if r := led(t, nil, "sh", "-c", script); r.Status() != want {
			t.Errorf("%q ends with %d, want %d", script, r.Status(), want)
		}
	}
}

func TestNotExecutable(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct {
		content string
		mode    os.FileMode
		status  Status
	}{
		"missing":    {"", 0, 127},
		"unreadable": {"#!/bin/sh\n", 0o600, 126},
		"noloader":   {"#!/nonexistent/interpreter\n", 0o700, 127},
	} {
		path := filepath.Join(dir, name)
		if c.mode != 0 {
			if err := os.WriteFile(path, []byte(c.content), c.mode); err != nil {
				t.Fatal(err)
			}
		}
		_, err := Start(&Command{Path: path, Args: []string{path}, Env: os.Environ()})
		var e *ExecError
		if !errors.As(err, &e) || e.Status() != c.status {
			t.Errorf("%s: %v, want status %d", name, err, c.status)
		}
	}
	script := filepath.Join(dir, "script") // without a first line that names the shell
	if err := os.WriteFile(script, []byte("exit 9\n"), 0o700); err != nil {
		t.Fatal(err)
	}
	if r := led(t, nil, script); r.Status() != 9 {
		t.Errorf("a script ends with %d, want 9", r.Status())
	}
}

// TestConnect has sockets of each kind connect to servers of each kind.
func TestConnect(t *testing.T) {
	v4 := server(t, "tcp4", "127.0.0.1:0").AddrPort()
	v6 := server(t, "tcp6", "[::1]:0").AddrPort()
	mapped := netip.AddrPortFrom(netip.AddrFrom16(v4.Addr().As16()), v4.Port())
	for _, to := range []netip.AddrPort{v4, v6, mapped} {
		for _, how := range []string{"block", "nonblock", "v6only"} {
			if how == "v6only" && to != v6 {
				continue
			}
			r := role(t, "connect", how, to.String())
			r.want(t, 0, fmt.Sprintf("connected to %v\nhello\n", to))
			if len(r.taken) != 1 || r.taken[0].Addr.Addr() != to.Addr().Unmap() || r.taken[0].Process == "" {
				t.Errorf("%s %v: %+v were led", how, to, r.taken)
			}
		}
	}
}

func TestRefused(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	for _, how := range []string{"block", "nonblock"} {
		r := role(t, "connect", how, addr)
		r.want(t, 0, "connect: connection refused\n")
	}
	r := role(t, "again", addr, server(t, "tcp4", "127.0.0.1:0").String())
	r.want(t, 0, "connect: connection refused\nconnected\nhello\n")
}

// TestSlow has a server that answers late: connects that block wait for it, others are
// told that they are under way.
func TestSlow(t *testing.T) {
	for how, want := range map[string]string{
		"block":    "connected to %v\nhello\n",
		"nonblock": "under way\nconnected to %v\nhello\n",
		"timeout":  "connect: operation now in progress\nconnected to %v\nhello\n",
		"twice":    "under way\nconnect: operation already in progress\nconnected to %v\nhello\n",
	} {
		t.Run(how, func(t *testing.T) {
			s := newSlowServer(t)
			self, _ := os.Executable()
			r := start(t, []string{play + "=connect"}, self, how, s.addr.String())
			s.waitAsked(t)
			switch how {
			case "block":
				time.Sleep(2 * answerWithin) // so that an answer would be wrong, if there were one
				if b, _ := os.ReadFile(r.stdout); len(b) > 0 {
					t.Errorf("the command is told %q", b)
				}
			default:
				waitFor(t, r.stdout)
			}
			s.answer(t)
			<-r.Ended()
			r.stop(t)
			r.want(t, 0, fmt.Sprintf(want, s.addr))
			if len(r.tried) != 1 {
				t.Errorf("%q were tried", r.tried)
			}
		})
	}
}

// TestSlowRefusal has a server that goes away after connects were told that they are
// under way.
func TestSlowRefusal(t *testing.T) {
	s := newSlowServer(t)
	self, _ := os.Executable()
	r := start(t, []string{play + "=connect"}, self, "nonblock", s.addr.String())
	waitFor(t, r.stdout)
	s.park.close()
	s.park.listener, s.park.filler = -1, -1
	<-r.Ended()
	r.stop(t)
	r.want(t, 0, "under way\nconnect: connection reset by peer\n")
}

// waitFor waits until a file has content.
func waitFor(t *testing.T, name string) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(time.Millisecond) {
		if b, _ := os.ReadFile(name); bytes.HasSuffix(b, []byte("\n")) {
			return
		}
	}
	t.Fatalf("%s stays empty", name)
}

// TestInterrupted interrupts connects by signals, with and without a restart: there is
// one connection all the same.
func TestInterrupted(t *testing.T) {
	need(t, "python3")
	const program = `
import signal, socket, sys
signal.signal(signal.SIGALRM, lambda *_: None)
signal.siginterrupt(signal.SIGALRM, sys.argv[2] == "eintr")
s = socket.socket()
s.connect(("127.0.0.1", int(sys.argv[1])))
print("connected to %s:%d" % s.getpeername())
sys.stdout.write(s.makefile().readline())
`
	for _, how := range []string{"restart", "eintr"} {
		s := newSlowServer(t)
		r := start(t, nil, "python3", "-c", program, fmt.Sprint(s.addr.Port()), how)
		s.waitAsked(t)
		for range 10 {
			r.Signal(unix.SIGALRM)
			time.Sleep(signalEvery)
		}
		s.answer(t)
		<-r.Ended()
		r.stop(t)
		r.want(t, 0, fmt.Sprintf("connected to %v\nhello\n", s.addr))
		if len(r.tried) != 1 {
			t.Errorf("%s: %q were tried", how, r.tried)
		}
	}
}

// TestStopped ends a program by a signal that it handles while its connect blocks.
func TestStopped(t *testing.T) {
	need(t, "python3")
	s := newSlowServer(t)
	r := start(t, nil, "python3", "-c", `
import signal, socket, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))
socket.socket().connect(("127.0.0.1", int(sys.argv[1])))
`, fmt.Sprint(s.addr.Port()))
	s.waitAsked(t)
	r.Signal(unix.SIGTERM)
	<-r.Ended()
	r.stop(t)
	r.want(t, 5, "")
}

func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// TestKilled kills a process that waits for its connect: nothing is left of that.
func TestKilled(t *testing.T) {
	s := newSlowServer(t)
	self, _ := os.Executable()
	r := start(t, []string{play + "=connect"}, self, "block", s.addr.String())
	s.waitAsked(t)
	r.Signal(unix.SIGKILL)
	<-r.Ended()
	r.stop(t)
	r.want(t, 128+9, "")
}

func TestPeerName(t *testing.T) {
	addr := server(t, "tcp4", "127.0.0.1:0").String()
	r := role(t, "peername", addr)
	r.want(t, 0, "before: transport endpoint is not connected\nshort: 16 0200\nwhole: "+addr+"\n")
}

func TestRing(t *testing.T) {
	r := role(t, "ring")
	r.want(t, 0, "io_uring_setup: function not implemented\nMSG_FASTOPEN: operation not supported\n")
}

// TestPassed has sockets that can't be led: they connect all the same, and are counted.
func TestPassed(t *testing.T) {
	addr := server(t, "tcp4", "127.0.0.1:0").String()
	r := role(t, "device", addr)
	r.want(t, 0, "connected\n")
	if n := r.Passed.Device.Load(); n != 1 {
		t.Errorf("%d are bound to a device", n)
	}
	r = role(t, "docker", filepath.Join(t.TempDir(), "docker.sock"))
	r.want(t, 0, "connected\n")
	if n := r.Passed.Managers.Load(); n != 1 {
		t.Errorf("%d are with Docker", n)
	}
	if r = role(t, "mptcp", addr); r.stdout != "none\n" {
		r.want(t, 0, "connected\n")
		if n := r.Passed.Protocol.Load(); n != 1 {
			t.Errorf("%d are of another protocol", n)
		}
	}
	for _, r := range []*run{r} {
		if len(r.taken) > 0 {
			t.Errorf("%v were led", r.taken)
		}
	}
}

// TestDatagrams counts sockets that last, and not those with which the resolver asks for
// routes.
func TestDatagrams(t *testing.T) {
	self, _ := os.Executable()
	r := start(t, []string{play + "=udp"}, self, server(t, "tcp4", "127.0.0.1:0").String())
	for deadline := time.Now().Add(time.Minute); r.Passed.UDP.Load() < 2 && time.Now().Before(deadline); {
		time.Sleep(time.Millisecond)
	}
	r.Signal(unix.SIGKILL)
	<-r.Ended()
	if n := r.Passed.UDP.Load(); n != 2 {
		t.Errorf("%d are UDP, want 2", n)
	}
}

// TestNamespace has a process in a network namespace of its own.
func TestNamespace(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("not root")
	}
	need(t, "unshare")
	self, _ := os.Executable()
	r := led(t, []string{play + "=alone"}, "unshare", "-n", self)
	r.want(t, 0, "connect: network is unreachable\n")
	if n := r.Passed.Namespace.Load(); n != 1 || len(r.tried) > 0 {
		t.Errorf("%d are elsewhere, %q were tried", n, r.tried)
	}
}

// TestLeft has a command that leaves a process: we are its parent, and wait for it.
func TestLeft(t *testing.T) {
	addr := server(t, "tcp4", "127.0.0.1:0").String()
	fifo := filepath.Join(t.TempDir(), "fifo")
	if err := unix.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	self, _ := os.Executable()
	r := start(t, []string{play + "=connect", "FIFO=" + fifo}, "sh", "-c", `(read line <"$FIFO"; exec "$0" block `+addr+`) & exit 3`, self)
	<-r.Exited()
	select {
	case <-r.Ended():
		t.Error("all have ended")
	default:
	}
	if left := r.Left(); !slices.ContainsFunc(left, func(s string) bool { return strings.HasPrefix(s, "sh[") }) {
		t.Errorf("%q are left", left)
	}
	if err := os.WriteFile(fifo, []byte("go\n"), 0); err != nil {
		t.Fatal(err)
	}
	<-r.Ended()
	r.stop(t)
	r.want(t, 3, "connected to "+addr+"\nhello\n")
}

// TestDescriptors has a command that gets descriptors of its own by number, as from
// make, and none of ours.
func TestDescriptors(t *testing.T) {
	want, err := exec.Command("sh", "-c", `exec >"$0"; ls /proc/self/fd; cat "$0"`, filepath.Join(t.TempDir(), "out")).Output()
	want, err = exec.Command("sh", "-c", `exec 3<"$0" 4>/dev/null; exec ls /proc/self/fd`, os.Args[0]).Output()
	if err != nil {
		t.Fatal(err)
	}
	r := led(t, nil, "sh", "-c", `exec 3<"$0" 4>/dev/null; exec ls /proc/self/fd`, os.Args[0])
	r.want(t, 0, string(want))
}

// TestSignals has a command that finds its signals as they would be without us.
func TestSignals(t *testing.T) {
	want, err := exec.Command("sh", "-c", "grep Sig.*: /proc/self/status | grep -v SigQ").Output()
	if err != nil {
		t.Fatal(err)
	}
	r := led(t, nil, "sh", "-c", "grep Sig.*: /proc/self/status | grep -v SigQ")
	r.want(t, 0, string(want))
}

// TestMany has many processes and connections at once.
func TestMany(t *testing.T) {
	addr := server(t, "tcp4", "127.0.0.1:0").String()
	r := role(t, "many", addr)
	r.want(t, 0, "400 connected\n")
	if len(r.taken) != 400 {
		t.Errorf("%d were led", len(r.taken))
	}
}

// BenchmarkConnect measures how long a connect takes that is led, and how many times
// that of one that is not.
func BenchmarkConnect(b *testing.B) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { io.Copy(io.Discard, c); c.Close() }()
		}
	}()
	self, err := os.Executable()
	if err != nil {
		b.Fatal(err)
	}
	measure := func(lead *Lead) float64 {
		out, err := os.Create(filepath.Join(b.TempDir(), "out"))
		if err != nil {
			b.Fatal(err)
		}
		defer out.Close()
		p, err := Start(&Command{
			Path: "/bin/sh", Args: []string{"sh", "-c", `exec "$0" "$@" >` + out.Name(), self, l.Addr().String(), fmt.Sprint(b.N)},
			Env: append(os.Environ(), play+"=time"), Lead: lead,
		})
		if err != nil {
			b.Fatal(err)
		}
		<-p.Ended()
		p.Close()
		var ns float64
		if _, err := fmt.Fscan(out, &ns); err != nil {
			b.Fatal(err)
		}
		return ns / float64(b.N)
	}
	plain := measure(nil)
	lead := &Lead{Own: func(netip.AddrPort) bool { return false }, Take: func(c Conn) { go c.relay() }}
	ns := measure(lead)
	b.ReportMetric(ns, "ns/connect")
	b.ReportMetric(ns/plain, "of-plain")
	b.ReportMetric(0, "ns/op")
}
