package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A screen is a terminal with a shell, at which somebody types.
type screen struct {
	t      *testing.T
	socket string
}

const prompt = "at your service"

// newScreen starts a shell in a terminal.
func newScreen(t *testing.T, shell ...string) *screen {
	t.Helper()
	needProgram(t, "tmux")
	dir := t.TempDir()
	s := &screen{t, filepath.Join(dir, "s")}
	args := []string{"-u", "-f", os.DevNull, "-S", s.socket, "new-session", "-d", "-x", "100", "-y", "24", "-c", dir,
		"env", "PS1=" + prompt + "> ", "ENV=", "HISTFILE=", "TERM=screen", "LC_ALL=C.UTF-8", "HOME=" + dir, "XDG_CONFIG_HOME=" + dir, "TMPDIR=" + dir, "GORACE=" + gorace}
	cmd := exec.Command("tmux", append(args, shell...)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	t.Cleanup(func() { exec.Command("tmux", "-S", s.socket, "kill-server").Run() })
	s.await(`(?m)^` + prompt + `>`)
	return s
}

// keys types keys, as tmux calls them.
func (s *screen) keys(keys ...string) {
	s.t.Helper()
	if out, err := exec.Command("tmux", append([]string{"-S", s.socket, "send-keys"}, keys...)...).CombinedOutput(); err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
}

// enter types a line.
func (s *screen) enter(line string) {
	s.t.Helper()
	s.keys("-l", line)
	s.keys("Enter")
}

// text returns what the screen shows.
func (s *screen) text() string {
	s.t.Helper()
	out, err := exec.Command("tmux", "-S", s.socket, "capture-pane", "-p").CombinedOutput()
	if err != nil {
		s.t.Fatalf("%v: %s", err, out)
	}
	return strings.TrimRight(string(out), "\n")
}

// await waits until what the screen shows matches, and returns it.
func (s *screen) await(re string) string {
	s.t.Helper()
	want := regexp.MustCompile(re)
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		text := s.text()
		if want.MatchString(text) {
			return text
		}
		if time.Now().After(deadline) {
			s.t.Fatalf("the screen does not match %q:\n%s", re, text)
		}
	}
}

// clear clears the screen, so that what stood there is not awaited.
func (s *screen) clear() {
	s.t.Helper()
	s.enter("clear; echo cl''eared")
	s.await(`^cleared\n` + prompt + `>$`)
}

// shells are those in whose terminals wstrace runs.
var shells = [][]string{{"bash", "--norc", "--noprofile", "-i"}, {"sh", "-i"}}

// TestCommandFullScreen runs programs that fill the screen: with wstrace it is as
// without.
func TestCommandFullScreen(t *testing.T) {
	needProgram(t, "less")
	needProgram(t, "vi")
	for _, program := range []struct{ command, drawn, quit string }{
		{"less text", `(?s)first\n.*text \(END\)$`, "q"},
		{"vi -u NONE -n text", `(?s)^first\n.*~\n"text" [^\n]+$`, ":q!"},
	} {
		t.Run(program.command, func(t *testing.T) {
			t.Parallel()
			var shown []string
			for _, prefix := range []string{"", "wstrace --to frames.txt -- "} {
				s := newScreen(t, "sh", "-i")
				s.enter("echo first >text; clear")
				s.await(`^` + prompt + `>$`)
				s.enter(prefix + program.command)
				shown = append(shown, s.await(program.drawn))
				s.keys("-l", program.quit)
				if strings.HasPrefix(program.quit, ":") {
					s.keys("Enter")
				}
				s.await(prompt + `> *$`)
				s.enter(`stty -a | grep -c -w -e -icanon -e -echo; echo st''ty`)
				s.await(`(?m)^0\nstty$`)
			}
			if shown[0] != shown[1] {
				t.Errorf("with wstrace the screen is\n%s\nand without\n%s", shown[1], shown[0])
			}
		})
	}
}

// TestCommandJob stops wstrace by Ctrl-Z, has it go on by fg, and ends it by Ctrl-C.
func TestCommandJob(t *testing.T) {
	for _, shell := range shells {
		for _, via := range []string{"seccomp", "env"} {
			t.Run(shell[0]+" "+via, func(t *testing.T) {
				t.Parallel()
				s := newScreen(t, shell...)
				s.enter(`wstrace --via ` + via + ` -- sh -c 'echo run''ning; exec sleep 1000'`)
				s.await(`(?m)^running$`)
				for range 2 {
					s.keys("C-z")
					s.await(`Stopped[^\n]*wstrace[^\n]*\n` + prompt + `>$`)
					s.clear()
					s.enter("fg")
					s.await(`fg\n[^\n]*wstrace`)
				}
				s.keys("C-c")
				s.await(`(\^C)?wstrace: 0 sessions: [^\n]*\nwstrace: hint: (.*\n)*` + prompt + `>$`)
				s.enter("echo status $?")
				s.await(`(?m)^status 130$`)
			})
		}
	}
}

// interruptPrompt types Ctrl-C at the prompt of the shell inside, and waits until that
// reads again: what is typed before is lost.
func (s *screen) interruptPrompt() {
	s.t.Helper()
	s.keys("C-c")
	s.await(`\^C\ninner>$`)
	for deadline := time.Now().Add(patience); !regexp.MustCompile(`inner> #+$`).MatchString(s.text()); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			s.t.Fatalf("the shell does not read:\n%s", s.text())
		}
		s.keys("-l", "#")
	}
	s.keys("C-u")
	s.await(`inner>$`)
}

// TestCommandShell has a shell in wstrace, at whose prompt Ctrl-C ends nothing, and
// whose jobs are jobs.
func TestCommandShell(t *testing.T) {
	needProgram(t, "bash")
	server := echoServer(t)
	for _, via := range []string{"seccomp", "env"} {
		t.Run(via, func(t *testing.T) {
			t.Parallel()
			s := newScreen(t, "sh", "-i")
			s.enter("PS1='outer> ' wstrace --via " + via + " -- env PS1='inner> ' bash --norc --noprofile -i")
			s.await(`(?m)^inner> ?$`)
			s.interruptPrompt()
			s.enter("sh -c 'echo run''ning; exec sleep 1000'")
			s.await(`(?m)^running$`)
			s.keys("C-z")
			s.await(`Stopped +sh -c [^\n]*\ninner>$`)
			s.enter("kill %1; wait; clear; stty tostop; echo st''ty")
			s.await(`(?m)^stty\ninner>$`)
			if via == "seccomp" { // wstrace is not in the foreground when it writes
				s.enter("wsc ws://" + server + " one")
				s.await(`(?s)#1 < text .*"one".*#1 = closed 1000`)
			}
			s.interruptPrompt()
			s.enter("exit 5")
			s.await(`wstrace: . sessions?: [^\n]*\n(.*\n)*` + prompt + `>$`)
			s.enter("echo status $?")
			s.await(`(?m)^status 5$`)
		})
	}
}
