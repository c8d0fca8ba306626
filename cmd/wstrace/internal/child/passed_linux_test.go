package child

import (
	"os"
	"path/filepath"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

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
