package child

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestMoveOn has a socket that gives a connect up and connects elsewhere: the first server
// does not harm that when it answers at last.
func TestMoveOn(t *testing.T) {
	for _, how := range []string{"shutdown", "unspec"} {
		s := newSlowServer(t)
		addr := server(t, "tcp4", "127.0.0.1:0").String()
		fifo := filepath.Join(t.TempDir(), "fifo")
		if err := unix.Mkfifo(fifo, 0o600); err != nil {
			t.Fatal(err)
		}
		self, _ := os.Executable()
		r := start(t, []string{play + "=moveon"}, self, how, s.addr.String(), addr, fifo)
		waitFor(t, r.stdout)
		s.drain(t)
		if err := os.WriteFile(fifo, nil, 0); err != nil {
			t.Fatal(err)
		}
		<-r.Ended()
		r.stop(t)
		r.want(t, 0, "moved on\nhello\n")
		if len(r.taken) != 1 || r.taken[0].Addr.String() != addr {
			t.Errorf("%s: %v were led", how, r.taken)
		}
	}
}

// TestShutDown has a thread that ends the connect of another one.
func TestShutDown(t *testing.T) {
	s := newSlowServer(t)
	r := role(t, "shut", s.addr.String())
	r.want(t, 0, "shutdown: <nil>, connect: connection reset by peer\n")
}

// TestLimit has a socket that tries once, for some seconds.
func TestLimit(t *testing.T) {
	s := newSlowServer(t)
	r := role(t, "limit", s.addr.String(), server(t, "tcp4", "127.0.0.1:0").String())
	r.want(t, 0, "connect: connection timed out\nhello\n")
}

// TestBound has sockets that are bound to a port: the servers see it.
func TestBound(t *testing.T) {
	var listeners []net.Listener
	args := []string{}
	for range 12 {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		listeners = append(listeners, l)
		args = append(args, l.Addr().String())
	}
	r := role(t, "bound", args...)
	if r.Status() != 0 {
		t.Fatalf("status %d", r.Status())
	}
	for _, l := range listeners {
		c, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		if _, port, _ := net.SplitHostPort(c.RemoteAddr().String()); port != strings.TrimSpace(r.stdout) {
			t.Errorf("a server sees port %s, want %s", port, r.stdout)
		}
		c.Close()
	}
}

// TestUrgent sends urgent data: no byte is lost.
func TestUrgent(t *testing.T) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	got := make(chan string, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			return
		}
		defer c.Close()
		var b []byte
		for one := make([]byte, 1); len(b) == 0 || b[len(b)-1] != '\n'; {
			if _, err := c.Read(one); err != nil {
				break
			}
			b = append(b, one...)
		}
		got <- string(b)
		fmt.Fprintln(c, "hello")
	}()
	r := role(t, "urgent", l.Addr().String())
	r.want(t, 0, "hello\n")
	// The server does not ask for urgent data in line, so the kernel keeps it apart there;
	// what we send is as it was read.
	if s := <-got; s != "abc!def\n" {
		t.Errorf("the server gets %q", s)
	}
}

func TestConnected(t *testing.T) {
	addr := server(t, "tcp4", "127.0.0.1:0").String()
	r := role(t, "is", addr)
	r.want(t, 0, "<nil>, transport endpoint is already connected\n"+addr+"\n")
}

// TestShortage has many connections, and few descriptors for us: what can't be looked
// into connects all the same.
func TestShortage(t *testing.T) {
	if os.Getenv("WSTRACE_SHORTAGE") == "" {
		self, _ := os.Executable()
		cmd := exec.Command("sh", "-c", `ulimit -n 100; exec "$0" -test.run '^TestShortage$'`, self)
		cmd.Env = append(os.Environ(), "WSTRACE_SHORTAGE=1")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%v: %s", err, out)
		}
		return
	}
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // nobody accepts, which takes no descriptors
	r := role(t, "hold", l.Addr().String(), "60")
	r.want(t, 0, "60 connected\n")
	if r.Passed.Shortage.Load() == 0 || len(r.taken) == 0 {
		t.Errorf("%d lacked descriptors, %d were led", r.Passed.Shortage.Load(), len(r.taken))
	}
}
