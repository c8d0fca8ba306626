package main

import (
	"bytes"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// A commandRun is a program in the background, wstrace or one that becomes it, with a
// session and so no terminal of its own.
type commandRun struct {
	*exec.Cmd
	t      *testing.T
	stdin  io.WriteCloser
	stdout string // file
	stderr string // file
	ended  chan struct{}
}

// startCommand starts argv in the background.
func startCommand(t *testing.T, argv ...string) *commandRun {
	return startCommandEnv(t, nil, argv...)
}

func startCommandEnv(t *testing.T, env []string, argv ...string) *commandRun {
	t.Helper()
	dir := t.TempDir()
	r := &commandRun{
		Cmd: exec.Command(argv[0], argv[1:]...), t: t, ended: make(chan struct{}),
		stdout: filepath.Join(dir, "stdout"), stderr: filepath.Join(dir, "stderr"),
	}
	r.Env = append(append(os.Environ(), "GORACE="+gorace, "HOME="+dir, "XDG_CONFIG_HOME="+filepath.Join(dir, "config"), "TMPDIR="+dir), env...)
	r.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	// Files, since what wstrace leaves may hold them longer than we want to wait.
	stdout, err := os.Create(r.stdout)
	if err != nil {
		t.Fatal(err)
	}
	defer stdout.Close()
	stderr, err := os.Create(r.stderr)
	if err != nil {
		t.Fatal(err)
	}
	defer stderr.Close()
	stdin, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer stdin.Close()
	r.Stdin, r.stdin, r.Stdout, r.Stderr = stdin, w, stdout, stderr
	if err := r.Start(); err != nil {
		t.Fatal(err)
	}
	go func() {
		r.Wait()
		close(r.ended)
	}()
	t.Cleanup(func() {
		w.Close()
		syscall.Kill(-r.Process.Pid, syscall.SIGKILL)
		<-r.ended
	})
	return r
}

// say writes a line to stdin.
func (r *commandRun) say(line string) {
	r.t.Helper()
	if _, err := io.WriteString(r.stdin, line+"\n"); err != nil {
		r.t.Fatal(err)
	}
}

// read returns what stands in stdout or stderr so far.
func (r *commandRun) read(name string) string {
	r.t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		r.t.Fatal(err)
	}
	return string(b)
}

// await waits for a whole line of stdout or stderr that matches, and returns the
// matches.
func (r *commandRun) await(name, re string) []string {
	r.t.Helper()
	line := regexp.MustCompile("(?m)^(?:" + re + ")\n")
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if m := line.FindStringSubmatch(r.read(name)); m != nil {
			return m
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("no line of %s matches %q:\n%s\nstderr: %s", filepath.Base(name), re, r.read(name), r.read(r.stderr))
		}
	}
}

// end waits for the end, and checks the exit status.
func (r *commandRun) end(status int) {
	r.t.Helper()
	select {
	case <-r.ended:
	case <-time.After(patience):
		r.t.Fatalf("%q does not end; stderr: %s", r.Args, r.read(r.stderr))
	}
	if got := r.ProcessState.ExitCode(); got != status {
		r.t.Fatalf("exit status %d, want %d; stderr: %s", got, status, r.read(r.stderr))
	}
}

func (r *commandRun) signal(s syscall.Signal) {
	r.t.Helper()
	if err := r.Process.Signal(s); err != nil {
		r.t.Fatal(err)
	}
}

// has checks that stderr has a line that matches.
func (r *commandRun) has(re string) {
	r.t.Helper()
	if !regexp.MustCompile("(?m)^(?:" + re + ")\n").MatchString(r.read(r.stderr)) {
		r.t.Errorf("no line of stderr matches %q:\n%s", re, r.read(r.stderr))
	}
}

// needProgram skips a test if a program is not there.
func needProgram(t *testing.T, name string) {
	t.Helper()
	if _, err := exec.LookPath(name); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// echoServer returns the address of a server that echoes.
func echoServer(t *testing.T) string {
	s := httptest.NewServer(http.HandlerFunc(echo))
	t.Cleanup(s.Close)
	return s.Listener.Addr().String()
}

// TestCommandBytes has a command whose stdin and stdout are as they would be without
// wstrace.
func TestCommandBytes(t *testing.T) {
	want := make([]byte, 4<<20)
	rand.NewChaCha8([32]byte{}).Read(want)
	for _, flags := range [][]string{{}, {"--via", "env"}} {
		cmd := exec.Command("wstrace", append(flags, "--", "cat")...)
		cmd.Stdin = bytes.NewReader(want)
		got, err := cmd.Output()
		if err != nil || !bytes.Equal(got, want) {
			t.Errorf("%q: %d bytes came through, %v; want %d", flags, len(got), err, len(want))
		}
	}
}

// TestCommandSignals sends wstrace a signal without a terminal: the command gets it,
// and wstrace ends after it, with its status.
func TestCommandSignals(t *testing.T) {
	for _, via := range []string{"seccomp", "env"} {
		for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGUSR2} {
			t.Run(fmt.Sprint(via, " ", s), func(t *testing.T) {
				t.Parallel()
				r := startCommand(t, "wstrace", "--via", via, "--", "catcher")
				r.await(r.stdout, "ready")
				r.signal(s)
				r.await(r.stdout, "caught SIG.*")
				select {
				case <-r.ended:
					t.Errorf("wstrace has ended before the command")
				default:
				}
				r.say("go on")
				r.end(5)
			})
		}
	}
}

// TestCommandGroup sends the whole process group a signal, as a terminal does.
func TestCommandGroup(t *testing.T) {
	r := startCommand(t, "wstrace", "--", "catcher")
	r.await(r.stdout, "ready")
	if err := syscall.Kill(-r.Process.Pid, syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	r.await(r.stdout, "caught SIGINT")
	r.say("go on")
	r.end(5)
}

// TestCommandIgnored has a command that inherits what was ignored, as by nohup.
func TestCommandIgnored(t *testing.T) {
	r := startCommand(t, "sh", "-c", `trap "" HUP INT; exec wstrace -- catcher`)
	r.await(r.stdout, "ignored SIGHUP")
	r.await(r.stdout, "ignored SIGINT")
	r.await(r.stdout, "ready")
	r.signal(syscall.SIGHUP)
	r.signal(syscall.SIGINT)
	r.signal(syscall.SIGTERM)
	r.await(r.stdout, "caught SIGTERM")
	r.say("go on")
	r.end(5)
}

// TestCommandLeft has a command that leaves a process: wstrace says so, and a signal
// ends it with the command's status, and the recording is whole.
func TestCommandLeft(t *testing.T) {
	server := echoServer(t)
	trace := filepath.Join(t.TempDir(), "a.wst")
	r := startCommand(t, "wstrace", "-w", trace, "--", "sh", "-c", `wsc -hold ws://`+server+` one two & exit 3`)
	r.await(r.stdout, "holding")
	r.await(r.stderr, `wstrace: sh has ended, and wstrace goes on for what it has left: wsc\[\d+\]`)
	r.await(r.stderr, `wstrace: hint: Ctrl-C ends wstrace; new connections of what still runs fail then`)
	r.signal(syscall.SIGINT)
	r.end(3)
	r.has(`wstrace: 1 session: 2 frames, .* >; 2 frames, .*`)
	got, err := exec.Command("wstrace", "show", "-q", trace).Output()
	if err != nil || !regexp.MustCompile(`#1 < text .* "two"\n.* #1 = closed 1006 by wstrace after .*\n$`).Match(got) {
		t.Errorf("the recording reads, with %v:\n%s", err, got)
	}
}

// TestCommandLast has a client that ends after its last frame, which arrives.
func TestCommandLast(t *testing.T) {
	got := make(chan int, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, rw, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			t.Error(err)
			return
		}
		defer c.Close()
		f, err := readFrame(rw)
		if err != nil {
			t.Error(err)
		}
		got <- len(f.Payload)
	}))
	t.Cleanup(server.Close)
	for _, via := range []string{"seccomp", "env"} {
		r := startCommand(t, "wstrace", "--via", via, "--", "sender", server.Listener.Addr().String())
		if n := <-got; n != lastLen {
			t.Errorf("%s: the last frame has %d bytes", via, n)
		}
		r.end(0)
		r.has(`.* #1 > bin .*`)
		r.has(`.* #1 = closed 1006 by (client|server) \(end without close\) .*`)
	}
}

// TestCommandKilled kills wstrace: the command ends with it, what the command has
// started goes on without connections, and the next run tidies up.
func TestCommandKilled(t *testing.T) {
	server := echoServer(t)
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	r := startCommandEnv(t, []string{"TMPDIR=" + dir}, "wstrace", "--", "sh", "-c", `dialer `+server+` <`+fifo+` & echo command $$; wait`)
	command, err := strconv.Atoi(r.await(r.stdout, `command (\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	line, err := os.OpenFile(fifo, os.O_WRONLY, 0) // waits for its reader
	if err != nil {
		t.Fatal(err)
	}
	defer line.Close()
	grandchild, err := strconv.Atoi(r.await(r.stdout, `ready (\d+)`)[1])
	if err != nil {
		t.Fatal(err)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "wstrace-cmd-*")); len(left) != 1 {
		t.Errorf("the temporary directories are %q, want one", left)
	}
	r.signal(syscall.SIGKILL)
	<-r.ended
	for deadline := time.Now().Add(patience); alive(command); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("the command goes on")
		}
	}
	if !alive(grandchild) {
		t.Error("what the command has started has ended")
	}
	if _, err := line.WriteString("go\n"); err != nil {
		t.Fatal(err)
	}
	r.await(r.stdout, "not connected: function not implemented")

	if out, err := exec.Command("sh", "-c", `TMPDIR=`+dir+` HOME=`+dir+` wstrace -q -- true`).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "wstrace-cmd-*")); len(left) != 0 {
		t.Errorf("%q are left", left)
	}
	if now, err := os.ReadFile("/proc/self/mountinfo"); err != nil || !bytes.Equal(now, mounts) {
		t.Errorf("the mounts are\n%s, %v\nand were\n%s", now, err, mounts)
	}
}

// alive reports whether a process runs, and is no zombie.
func alive(pid int) bool {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return false
	}
	_, rest, _ := strings.Cut(string(b), ") ")
	return !strings.HasPrefix(rest, "Z")
}

// TestCommandUser runs a command as root, which may gain privileges, and as another
// user, who is told that it may not.
func TestCommandUser(t *testing.T) {
	const confined = `wstrace: sudo and other setuid programs fail when they run under wstrace, unless you are root`
	argv := []string{"wstrace", "--", "grep", "NoNewPrivs", "/proc/self/status"}
	env := []string(nil)
	if os.Geteuid() == 0 {
		r := startCommand(t, argv...)
		r.end(0)
		if got := r.read(r.stdout); got != "NoNewPrivs:\t0\n" || strings.Contains(r.read(r.stderr), confined) {
			t.Errorf("root's command says %q; stderr: %s", got, r.read(r.stderr))
		}
		needProgram(t, "setpriv")
		dir, err := os.MkdirTemp("", "wstrace-nobody-") // t.TempDir is for us alone
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.RemoveAll(dir) })
		self, err := os.Open("/proc/self/exe")
		if err != nil {
			t.Fatal(err)
		}
		defer self.Close()
		bin := filepath.Join(dir, "wstrace")
		to, err := os.OpenFile(bin, os.O_CREATE|os.O_WRONLY, 0o755)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.Copy(to, self); err != nil {
			t.Fatal(err)
		}
		if err := to.Close(); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, 0o755); err != nil {
			t.Fatal(err)
		}
		home := filepath.Join(dir, "home")
		if err := os.Mkdir(home, 0o700); err != nil {
			t.Fatal(err)
		}
		const nobody = 65534
		if err := os.Chown(home, nobody, nobody); err != nil {
			t.Fatal(err)
		}
		argv[0] = bin
		argv = append([]string{"setpriv", "--reuid", strconv.Itoa(nobody), "--regid", strconv.Itoa(nobody), "--clear-groups"}, argv...)
		env = []string{"HOME=" + home, "XDG_CONFIG_HOME=" + home, "TMPDIR=" + home}
	}
	r := startCommandEnv(t, env, argv...)
	r.end(0)
	if got := r.read(r.stdout); got != "NoNewPrivs:\t1\n" {
		t.Errorf("another user's command says %q", got)
	}
	r.has(regexp.QuoteMeta(confined))
}
