//go:build unix

package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// TestWaiting names a named pipe that keeps wstrace from going on: before
// somebody opens it, and when it ends and nobody has read.
func TestWaiting(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wst")
	if err := syscall.Mkfifo(name, 0o600); err != nil {
		t.Skip(err)
	}
	opened := exec.Command("wstrace", "-w", name, "-l", "127.0.0.1:0")
	lines := start(t, opened)
	want := func(want string) {
		t.Helper()
		if line, err := lines.ReadString('\n'); line != want+"\n" {
			t.Fatalf("got %q, %v, want %q", line, err, want)
		}
	}
	want("wstrace: record \"" + name + "\": waiting for a reader")
	reader, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	if line, _ := lines.ReadString('\n'); !strings.HasPrefix(line, "wstrace: listening on ") {
		t.Errorf("got %q, want that it listens", line)
	}
	opened.Process.Kill()
	opened.Wait()

	defer reader.Close() // which never reads
	p := startPiped(t, "-o", "none", "-w", name)
	p.send(4)
	p.signal(os.Interrupt)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		p.mu.Lock()
		got := p.stderr.String()
		p.mu.Unlock()
		if strings.Contains(got, "wstrace: record \""+name+"\": waiting for a reader; press Ctrl-C again to give up\n") {
			break
		}
		if time.Now().After(deadline) {
			t.Fatalf("stderr is %q", got)
		}
	}
	p.signal(os.Interrupt)
	if status, stderr := p.end(); status != 130 {
		t.Errorf("exit status %d, want 130; stderr: %s", status, stderr)
	}
}
