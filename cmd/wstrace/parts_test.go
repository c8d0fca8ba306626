//go:build unix

package main

import (
	"bufio"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// waitFor waits until stderr has text.
func (p *piped) waitFor(text string) {
	p.t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		p.mu.Lock()
		got := p.stderr.String()
		p.mu.Unlock()
		if strings.Contains(got, text) {
			return
		}
		if time.Now().After(deadline) {
			p.t.Fatalf("stderr is %q, want %q in it", got, text)
		}
	}
}

// TestPartsOfASession begins new files while a session is open, one of them while
// a frame is in flight: no frame is in two files, none is missing, and each file
// can be read.
func TestPartsOfASession(t *testing.T) {
	for _, flags := range [][]string{nil, {"--flush", "always"}, {"--redact", "?token", "--rotate", "1GB"}} {
		dir := t.TempDir()
		name := filepath.Join(dir, "a.wst")
		p := startPiped(t, append(flags, "-o", "none", "-w", name)...)
		d := ws.Dialer{Timeout: patience}
		c, _, _, err := d.Dial(t.Context(), "ws://"+p.addr+"/chat?token=s3cret")
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		r := bufio.NewReader(c)
		say := func(text string) []byte {
			return ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewTextFrame([]byte(text))))
		}
		if err := exchange(c, r, say("one")); err != nil {
			t.Fatal(err)
		}
		p.signal(syscall.SIGUSR1)
		p.waitFor("finished")

		long := strings.Repeat("x", 200<<10)
		frame := say(long)
		c.Write(frame[:100<<10])
		for { // until its beginning is there
			if b, _ := os.ReadFile(name); strings.Contains(string(b), `"op":"text"`) {
				break
			}
			time.Sleep(5 * time.Millisecond)
		}
		p.signal(syscall.SIGUSR1)
		c.Write(frame[100<<10:])
		if f, err := readFrame(r); err != nil || string(f.Payload) != long {
			t.Fatalf("the echo of the long frame: %v", err)
		}
		if err := exchange(c, r, say("three")); err != nil {
			t.Fatal(err)
		}
		c.Close()
		p.signal(syscall.SIGHUP)
		if status, stderr := p.end(); status != 0 {
			t.Fatalf("exit status %d, stderr %s", status, stderr)
		}

		files, _ := filepath.Glob(filepath.Join(dir, "*.wst"))
		if len(files) != 3 {
			t.Fatalf("there are %v, want three files", files)
		}
		var frames []string
		for _, file := range files {
			cmd := exec.Command("wstrace", "check", "-q", "--severity", "error", file)
			cmd.Env = append(os.Environ(), "GORACE="+gorace)
			if out, err := cmd.CombinedOutput(); err != nil {
				t.Errorf("%v: check %s: %v\n%s", flags, filepath.Base(file), err, out)
			}
			cmd = exec.Command("wstrace", "show", "-q", "-o", "json", "-n", "5", file)
			cmd.Env = append(os.Environ(), "GORACE="+gorace)
			out, err := cmd.Output()
			if err != nil {
				t.Errorf("show %s: %v", filepath.Base(file), err)
			}
			for line := range strings.Lines(string(out)) {
				if strings.Contains(line, `"k":"frame"`) {
					_, text, _ := strings.Cut(line, `"text":"`)
					frames = append(frames, strings.Trim(text[:3], `"`))
				}
			}
			if b, _ := os.ReadFile(file); len(flags) > 1 && flags[0] == "--redact" && strings.Contains(string(b), "s3cret") {
				t.Errorf("%s has the secret", filepath.Base(file))
			}
		}
		if got := strings.Join(frames, " "); got != "one one xxx xxx thr thr" {
			t.Errorf("%v: the files have the frames %s", flags, got)
		}
	}
}

// TestHangupThatIsIgnored runs wstrace as nohup does.
func TestHangupThatIsIgnored(t *testing.T) {
	cmd := exec.Command("sh", "-c", `trap "" HUP; exec wstrace -l 127.0.0.1:0 ws://127.0.0.1:1`)
	lines := start(t, cmd)
	if line, err := lines.ReadString('\n'); err != nil {
		t.Fatalf("got %q, %v", line, err)
	}
	cmd.Process.Signal(syscall.SIGHUP)
	cmd.Process.Signal(syscall.SIGUSR1) // which is answered
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("it ended: %v", err)
		}
		if strings.Contains(line, "there is no recording") {
			break
		}
	}
	cmd.Process.Signal(syscall.SIGTERM)
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
