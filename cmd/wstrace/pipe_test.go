package main

import (
	"bufio"
	"bytes"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// A piped wstrace is a live one whose stdout is a pipe of the test's.
type piped struct {
	*exec.Cmd
	t      *testing.T
	addr   string
	stdout *os.File

	mu     sync.Mutex
	stderr bytes.Buffer
	read   chan struct{} // closed when stderr has ended
}

// startPiped starts wstrace in front of a server that echoes.
func startPiped(t *testing.T, args ...string) *piped {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(server.Close)
	stdout, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stdout.Close() })
	args = append(args, "-l", "127.0.0.1:0", strings.Replace(server.URL, "http", "ws", 1))
	p := &piped{Cmd: exec.Command("wstrace", args...), t: t, stdout: stdout, read: make(chan struct{})}
	p.Stdout = w
	lines := start(t, p.Cmd)
	w.Close()
	line, err := lines.ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	p.addr = strings.TrimSpace(strings.TrimPrefix(line, "wstrace: listening on "))
	go func() {
		io.Copy(p, lines)
		close(p.read)
	}()
	return p
}

// start starts a command that is wstrace or becomes it, and returns its stderr. The
// end of the test kills it.
func start(t *testing.T, cmd *exec.Cmd) *bufio.Reader {
	t.Helper()
	cmd.Env = append(os.Environ(), "GORACE="+gorace)
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill() })
	return bufio.NewReader(stderr)
}

// Write takes what comes on stderr.
func (p *piped) Write(b []byte) (int, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.stderr.Write(b)
}

func (p *piped) signal(s os.Signal) {
	p.t.Helper()
	if err := p.Process.Signal(s); err != nil {
		p.t.Fatal(err)
	}
}

// end waits for the end and returns the exit status and stderr.
func (p *piped) end() (int, string) {
	p.t.Helper()
	kill := time.AfterFunc(patience, func() { p.Process.Kill() })
	defer kill.Stop()
	<-p.read
	p.Wait()
	return p.ProcessState.ExitCode(), p.stderr.String()
}

// send sends n frames of 64 KiB through the proxy and reads their echoes.
func (p *piped) send(n int) {
	p.t.Helper()
	d := ws.Dialer{Timeout: patience}
	c, _, _, err := d.Dial(p.t.Context(), "ws://"+p.addr)
	if err != nil {
		p.t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	frame := ws.MustCompileFrame(ws.NewTextFrame(bytes.Repeat([]byte("x"), 64<<10)))
	r := bufio.NewReader(c)
	for range n {
		if err := exchange(c, r, frame); err != nil {
			p.t.Fatal(err)
		}
	}
}

// TestStdoutThatNobodyReads checks that a watcher can't hold up the traffic, nor
// the end.
func TestStdoutThatNobodyReads(t *testing.T) {
	p := startPiped(t, "-o", "json")
	p.send(150) // 9.4 MiB each way
	p.signal(os.Interrupt)
	status, stderr := p.end()
	if status != 0 {
		t.Errorf("exit status %d, want 0", status)
	}
	for _, want := range []string{"\nwstrace: output is read too slowly: dropping lines\n", " lines dropped in total: the output is incomplete\n"} {
		if !strings.Contains(stderr, want) {
			t.Errorf("stderr is %q, want %q in it", stderr, want)
		}
	}
}

// TestStdoutThatIsClosed checks that traffic and recording go on without
// stdout.
func TestStdoutThatIsClosed(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wst")
	p := startPiped(t, "-w", name)
	p.stdout.Close()
	p.send(1)
	p.send(1)
	p.signal(syscall.SIGTERM)
	status, stderr := p.end()
	if status != 0 {
		t.Errorf("exit status %d, want 0; stderr: %s", status, stderr)
	}
	b, err := os.ReadFile(name)
	if n := strings.Count(string(b), `"op":"text"`); n != 4 {
		t.Errorf("%d frames are recorded, %v, want 4", n, err)
	}
}

// TestSecondSignal checks that a second signal ends what can't end otherwise: a
// recording on a pipe that nobody reads.
func TestSecondSignal(t *testing.T) {
	for s, want := range map[os.Signal]int{os.Interrupt: 130, syscall.SIGTERM: 143} {
		p := startPiped(t, "-w", "wst:-")
		p.send(4)
		p.signal(os.Interrupt)
		for { // until the first signal has been taken
			c, err := net.Dial("tcp", p.addr)
			if err != nil {
				break
			}
			c.Close()
		}
		p.signal(s)
		if status, stderr := p.end(); status != want {
			t.Errorf("exit status %d after %v, want %d; stderr: %s", status, s, want, stderr)
		}
	}
}

// TestShowForAReaderThatLeaves checks that show ends quietly, and does not read
// on, when its output is closed, as by head.
func TestShowForAReaderThatLeaves(t *testing.T) {
	trace, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	cmd := exec.Command("wstrace", "show", "-q", "-")
	cmd.Env = append(os.Environ(), "GORACE="+gorace)
	cmd.Stdin = trace
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var stderr strings.Builder
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	trace.Close()
	kill := time.AfterFunc(patience, func() { cmd.Process.Kill() })
	defer kill.Stop()
	if _, err := io.WriteString(w, "{\"wstrace\":1}\n{\"k\":\"open\",\"c\":1}\n"); err != nil {
		t.Fatal(err)
	}
	for i := 0; err == nil; i++ { // without end, unless show leaves
		_, err = io.WriteString(w, `{"k":"frame","d":"<","op":"text","text":"x"}`+"\n")
		if i == 0 {
			if line, err := bufio.NewReader(stdout).ReadString('\n'); !strings.HasSuffix(line, "\"x\"\n") {
				t.Fatalf("got %q, %v", line, err)
			}
			stdout.Close()
		}
	}
	if err := cmd.Wait(); err != nil || stderr.Len() > 0 {
		t.Errorf("show ends with %v and says %q, want neither", err, stderr.String())
	}
}
