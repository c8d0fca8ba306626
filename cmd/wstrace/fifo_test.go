//go:build unix

package main

import (
	"io"
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

// TestConvertInterrupted interrupts a conversion: the old file stays, and nothing else.
func TestConvertInterrupted(t *testing.T) {
	for _, name := range []string{"out.wst", "out.har.gz", "new.saz"} {
		dir := t.TempDir()
		out := filepath.Join(dir, name)
		old := strings.HasPrefix(name, "out")
		if old {
			if err := os.WriteFile(out, []byte("old"), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		cmd := exec.Command("wstrace", "convert", "-", out)
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		lines := `{"wstrace":1}` + "\n" + `{"k":"open","c":1}` + "\n" +
			strings.Repeat(`{"k":"frame","t":1,"c":1,"d":"<","op":"text","text":"hello"}`+"\n", 50_000)
		if _, err := io.WriteString(in, lines); err != nil { // more than a pipe holds, so it is being read
			t.Fatal(err)
		}
		cmd.Process.Signal(os.Interrupt)
		cmd.Wait()
		if got := cmd.ProcessState.ExitCode(); got != 130 {
			t.Errorf("%s: exit status %d, want 130", name, got)
		}
		files, err := os.ReadDir(dir)
		if err != nil {
			t.Fatal(err)
		}
		if !old && len(files) == 0 {
			continue
		}
		if b, _ := os.ReadFile(out); !old || len(files) != 1 || string(b) != "old" {
			t.Errorf("%s: there is %v, with %d bytes in it", name, files, len(b))
		}
	}
}
