package child

import (
	"bytes"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
