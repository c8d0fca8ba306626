package child

import (
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
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
			io.Copy(struct{ io.Writer }{way[0]}, struct{ io.Reader }{way[1]}) // splice stops at urgent data
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
	p, err := newPark(false)
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
	s.drain(t)
	fd := s.accept(t)
	unix.Write(fd, []byte("hello\n"))
	unix.Close(fd)
}

// drain makes room in the queue.
func (s *slowServer) drain(t *testing.T) {
	t.Helper()
	unix.Close(s.accept(t))
}

func (s *slowServer) accept(t *testing.T) int {
	t.Helper()
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

// waitAsked waits until somebody is on the way to the server.
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
