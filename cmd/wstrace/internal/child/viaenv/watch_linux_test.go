package viaenv

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// connectTo makes this program a client that connects to these addresses, or listens at
// one that begins with "listen ". It tells its process id, and where it listens.
const connectTo = "WSTRACE_TEST_CONNECT"

func TestMain(m *testing.M) {
	addrs := os.Getenv(connectTo)
	if addrs == "" {
		os.Exit(m.Run())
	}
	said := []any{os.Getpid()}
	for addr := range strings.SplitSeq(addrs, ",") {
		if at, ok := strings.CutPrefix(addr, "listen "); ok {
			ln, err := net.Listen("tcp", at)
			if err != nil {
				panic(err)
			}
			said = append(said, ln.Addr())
		} else if _, err := net.Dial("tcp", addr); err != nil {
			panic(err)
		}
	}
	fmt.Println(said...)
	io.Copy(io.Discard, os.Stdin) // until the test ends
}

// A client is this program in another process.
type client struct {
	pid       int
	listening string
}

// start starts a client, by a command that runs it.
func start(t *testing.T, command []string, addrs ...string) client {
	t.Helper()
	cmd := exec.Command(command[0], command[1:]...)
	cmd.Env = append(os.Environ(), connectTo+"="+strings.Join(addrs, ","))
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		in.Close()
		io.Copy(io.Discard, out) // until it has ended too, if it is a child of cmd
		cmd.Wait()
	})
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	fields := strings.Fields(line)
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		t.Fatal(err)
	}
	return client{pid, strings.Join(fields[1:], "")}
}

func listen(t *testing.T, addr string) *net.TCPAddr {
	t.Helper()
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { ln.Close() })
	return ln.Addr().(*net.TCPAddr)
}

// TestLook looks at connections around the proxy, to it, and to the command.
func TestLook(t *testing.T) {
	around, proxy := listen(t, "127.0.0.1:0"), listen(t, "127.0.0.1:0")
	name := processName(os.Getpid())
	for what, command := range map[string][]string{
		"child":      {os.Args[0]},
		"grandchild": {"sh", "-c", `"$0"; exit $?`, os.Args[0]},
	} {
		c := start(t, command, proxy.String(), around.String(), around.String(), "listen 127.0.0.1:0")
		to, err := net.Dial("tcp", c.listening)
		if err != nil {
			t.Fatal(err)
		}
		defer to.Close()
		var got []Connection
		w := newWatcher(c.pid, []*net.TCPAddr{proxy}, func(c Connection) { got = append(got, c) })
		w.look()
		w.look()
		got = slices.DeleteFunc(got, func(g Connection) bool { return g.PID != c.pid }) // of the others of this test
		if want := []Connection{{c.pid, name, around.String()}}; !slices.Equal(got, want) {
			t.Errorf("%s: got %v, want %v", what, got, want)
		}
	}
}

// TestAdopted looks at a process whose parent has ended, and at IPv6.
func TestAdopted(t *testing.T) {
	const setChildSubreaper = 36 // prctl(2)
	if _, _, errno := syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 1, 0); errno != 0 {
		t.Fatal(errno)
	}
	defer syscall.RawSyscall(syscall.SYS_PRCTL, setChildSubreaper, 0, 0)
	around := listen(t, "[::1]:0")
	c := start(t, []string{"sh", "-c", `"$0" <&0 & exec true`, os.Args[0]}, around.String())
	defer syscall.Kill(c.pid, syscall.SIGKILL)
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var got []Connection
	Watch(ctx, 1<<22+1, nil, func(c Connection) {
		got = append(got, c)
		cancel()
	})
	if want := []Connection{{c.pid, processName(os.Getpid()), around.String()}}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestParseSockets(t *testing.T) {
	const file = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1 0000000000000000 100 0 0 10 0
   1: 0100007F:A001 0200007F:0050 01 00000000:00000000 02:000A7214 00000000     0        0 9 2 0000000000000000 20 4 30 10 -1
   2: 0100007F:A002 0200007F:0050 06 00000000:00000000 03:00000010 00000000     0        0 0 3 0000000000000000
   3: 0000000000000000FFFF00000100007F:A003 0000000000000000FFFF00000200007F:01BB 02 00000000:00000001 01:000A7214 00000001     0        0 10 2 0000000000000000 20 4 30 10 -1
   4: B80D0120000000000000000001000000:A004 B80D0120000000000000000002000000:01BB 01 00000000:00000000 02:000A7214 00000000     0        0 11 2 0000000000000000 20 4 30 10 -1
   5: 0100007F:A005 020000:0050 01 00000000:00000000 02:000A7214 00000000     0        0 9 2
   6: 0100007F:A006 0200007F:0050 01
`
	got, err := parseSockets(strings.NewReader(file))
	if err != nil {
		t.Fatal(err)
	}
	at := netip.MustParseAddrPort
	want := []socket{
		{at("127.0.0.1:8080"), at("0.0.0.0:0"), stateListen, 12345},
		{at("127.0.0.1:40961"), at("127.0.0.2:80"), stateEstablished, 9},
		{at("127.0.0.1:40963"), at("127.0.0.2:443"), stateSynSent, 10},
		{at("[2001:db8::1]:40964"), at("[2001:db8::2]:443"), stateEstablished, 11},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func FuzzParseSocket(f *testing.F) {
	f.Add([]byte("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 12345 1"))
	f.Fuzz(func(t *testing.T, line []byte) {
		if s, ok := parseSocket(line); ok && (!s.local.IsValid() || !s.remote.IsValid()) {
			t.Errorf("got %v", s)
		}
	})
}
