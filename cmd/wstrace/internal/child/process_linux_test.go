package child

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

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
	want, err := exec.Command("sh", "-c", `exec 3<"$0" 4>/dev/null; exec ls /proc/self/fd`, os.Args[0]).Output()
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
