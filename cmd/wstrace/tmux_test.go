package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"unicode/utf8"
)

// TestTerminal shows a recording in a terminal of 80 and of 200 columns: what is longer
// than a line is broken by wstrace, and payloads end where the line does.
func TestTerminal(t *testing.T) {
	if _, err := exec.LookPath("tmux"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	events, err := os.ReadFile("../../testdata/traces/every-event.wst")
	if err != nil {
		t.Fatal(err)
	}
	trace := filepath.Join(t.TempDir(), "long.wst")
	long := fmt.Sprintf(`{"k":"open","t":999,"c":99}
{"k":"req","t":999,"c":99,"m":"GET","target":"/?%s","v":"HTTP/1.1","h":[["Host","h"],["Upgrade","websocket"],["Sec-WebSocket-Key","AQIDBAUGBwgJCgsMDQ4PEA=="]]}
{"k":"open","t":999,"c":100}
{"k":"frame","t":999,"c":100,"d":"<","op":"text","text":"%s"}
{"k":"frame","t":999,"c":100,"d":"<","op":"bin","hex":"%s"}
`, strings.Repeat("a long query ", 40), strings.Repeat("längeres ", 100), strings.Repeat("00", 1000))
	if err := os.WriteFile(trace, append(events, long...), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, columns := range []int{80, 200} {
		screen := terminal(t, columns, "wstrace show -q "+trace)
		lines := strings.Split(screen(), "\n")
		if joined := strings.Split(screen("-J"), "\n"); len(joined) != len(lines) {
			t.Errorf("in %d columns the terminal breaks %d lines", columns, len(lines)-len(joined))
		}
		full, broken := 0, 0
		for _, line := range lines {
			if strings.HasSuffix(line, "…") && utf8.RuneCountInString(line) >= columns-1 {
				full++
			}
			if strings.HasPrefix(line, strings.Repeat(" ", len("19:28:31.3301 #1 > "))) {
				broken++
			}
		}
		if full == 0 || broken == 0 {
			t.Errorf("in %d columns %d payloads fill their line, and %d lines go on below:\n%s", columns, full, broken, strings.Join(lines, "\n"))
		}
	}
}

// terminal runs a command in a terminal of so many columns, and returns what captures
// what it shows, once it has ended.
func terminal(t *testing.T, columns int, command string) func(...string) string {
	socket := filepath.Join(t.TempDir(), "s")
	run := func(args ...string) string {
		t.Helper()
		cmd := exec.Command("tmux", append([]string{"-u", "-f", os.DevNull, "-S", socket}, args...)...)
		cmd.Env = append(os.Environ(), "LC_ALL=C.UTF-8", "GORACE="+gorace)
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("tmux %q: %v: %s", args, err, out)
		}
		return string(out)
	}
	run("new-session", "-d", "-x", fmt.Sprint(columns), "-y", "500", command+"; tmux -S "+socket+" wait-for -S shown; cat")
	t.Cleanup(func() { exec.Command("tmux", "-S", socket, "kill-server").Run() })
	run("wait-for", "shown")
	return func(args ...string) string {
		return strings.TrimRight(run(append([]string{"capture-pane", "-p"}, args...)...), "\n")
	}
}
