package interop

import (
	"bytes"
	"crypto/rand"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// jobs4 is a Makefile whose jobs are shared with another make.
const jobs4 = `
all: a b c d more
more:
	+$(MAKE) -f $(MAKEFILE) e f g h
a b c d e f g h:
	$(HELLO)
`

// TestChildren runs commands whose children connect.
func TestChildren(t *testing.T) {
	l := newLab(t)
	l.build(t, &program{build: goProgram})
	url := "ws://" + l.echo + "/"
	hello := l.command("OUT/go gobwas " + url)
	for _, c := range []struct {
		name     string
		argv     []string
		sessions int
		pids     int
	}{
		{"a shell script", []string{"sh", "-ec", `"$@"; "$@" & (exec "$@") & wait; sh -c '"$@"; true' sh "$@"`}, 4, 4},
		{"200 children", []string{"sh", "-c", `for i in $(seq 200); do "$@" & done; wait`}, 200, 200},
		{"2,000 connections", []string{"sh", "-c", `exec "$@" 2000`}, 2000, 1},
		{"make with a jobserver", []string{"sh", "-c", `exec make -s -j4 -f "$MAKEFILE" HELLO="$*"`}, 8, 8},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			makefile, recorded := filepath.Join(dir, "Makefile"), filepath.Join(dir, "recorded.wst")
			if err := os.WriteFile(makefile, []byte(jobs4), 0o666); err != nil {
				t.Fatal(err)
			}
			argv := append([]string{"-q", "-o", "none", "-w", recorded, "--"}, append(c.argv, "sh")...)
			cmd := exec.CommandContext(t.Context(), l.wstrace, append(argv, hello...)...)
			cmd.Env = append(environ(), "MAKEFILE="+makefile)
			if out, err := cmd.CombinedOutput(); err != nil || len(out) > 0 {
				t.Errorf("%v, %s", err, out)
			}
			sessions := readSessions(t, recorded)
			pids := make(map[int64]bool)
			for _, s := range sessions {
				pids[s.pid] = true
				if said := strings.Join(s.said, " "); !s.upgraded || !strings.HasPrefix(said, `text "hello from gobwas" bin `) || !strings.Contains(said, "close") {
					t.Errorf("process %d says %s", s.pid, said)
				}
			}
			if len(sessions) != c.sessions || len(pids) != c.pids || pids[0] {
				t.Errorf("%d sessions of %d processes, want %d of %d", len(sessions), len(pids), c.sessions, c.pids)
			}
		})
	}
}

// TestStdio passes bytes through a command's stdin and stdout.
func TestStdio(t *testing.T) {
	wstrace := filepath.Join(buildCommand(t), "wstrace")
	in := make([]byte, 1<<20)
	rand.Read(in)
	cmd := exec.CommandContext(t.Context(), wstrace, "--", "cat")
	cmd.Stdin = bytes.NewReader(in)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil || !bytes.Equal(out, in) {
		t.Errorf("%v, %d bytes came out, %s", err, len(out), &stderr)
	}
}
