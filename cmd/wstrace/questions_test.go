package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestQuestions runs the commands that the README has for questions. Each of them
// finds something.
func TestQuestions(t *testing.T) {
	const recording = `{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","d":"<","op":"text","text":"{\"symbol\":\"a\",\"price\":9}"}
{"k":"frame","t":1,"c":1,"d":"<","op":"ping","text":"p"}
{"k":"frame","t":1.5,"c":1,"d":">","op":"pong","mask":"01020304","text":"p"}
{"k":"open","t":2,"c":2,"url":"ws://h/"}
{"k":"frame","t":2,"c":2,"d":"<","op":"text","text":"hello"}
{"k":"frame","t":40,"c":2,"d":"<","op":"text","text":"{\"symbol\":\"b\",\"price\":11}"}
{"k":"frame","t":41,"c":2,"d":"<","op":"text","mask":"01020304","text":"masked"}
{"k":"end","t":42,"c":2,"d":"<","how":"fin"}
{"k":"end","t":42,"c":2,"d":">","how":"fin"}
`
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chat.wst"), []byte(recording), 0o600); err != nil {
		t.Fatal(err)
	}
	readme, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	commands := regexp.MustCompile("(?m)^\\| [^|]*\\? \\| `(wstrace [^`]*)` \\|$").FindAllStringSubmatch(string(readme), -1)
	if len(commands) < 10 {
		t.Fatalf("the README answers %d questions", len(commands))
	}
	for _, c := range commands {
		cmd := exec.Command("sh", "-c", c[1])
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GORACE="+gorace)
		out, err := cmd.Output()
		if _, to, ok := strings.Cut(c[1], " > message.json"); ok && to == "" {
			out, _ = os.ReadFile(filepath.Join(dir, "message.json"))
			if string(out) != `{"symbol":"b","price":11}` {
				t.Errorf("%s: wrote %q", c[1], out)
			}
		}
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v, and printed %q", c[1], err, out)
		}
	}
}
