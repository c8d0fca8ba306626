package trace

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestQueries runs the queries for jq that FORMAT.md has.
func TestQueries(t *testing.T) {
	if _, err := exec.LookPath("jq"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile("../../testdata/traces/every-event.wst")
	if err != nil {
		t.Fatal(err)
	}
	var lines []string // of a recording, which has no comments
	for line := range strings.Lines(string(text)) {
		if strings.HasPrefix(line, "{") {
			lines = append(lines, line)
		}
	}
	lines = append(lines, `{"k":"frame","t":200,"c":1,"d":">","op":"text","text":"{\"type\":\"a\"}"}`+"\n",
		`{"k":"frame","t":200,"c":1,"d":">","op":"pong","text":"a pong"}`+"\n",
		`{"k":"message","t":201,"c":1,"d":">","op":"text","text":"{\"type\":\"whole\"}"}`+"\n")
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "chat.wst"), []byte(strings.Join(lines, "")), 0o600); err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(doc), "\n## Queries\n")
	n := 0
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) != 5 || !strings.Contains(cells[2], "`jq ") {
			continue
		}
		n++
		query := strings.ReplaceAll(strings.Trim(cells[2], " `"), "\x00", "|")
		cmd := exec.Command("bash", "-c", "set -o pipefail; "+query)
		cmd.Dir = dir
		out, err := cmd.CombinedOutput()
		if err != nil || len(out) == 0 {
			t.Errorf("%s: %v\n%s", query, err, out)
		}
		if strings.Contains(cells[1], "text") && (!strings.Contains(string(out), "whole") || strings.Contains(string(out), "a pong")) {
			t.Errorf("%s: got\n%swant texts of messages, and no pong", query, out)
		}
		t.Logf("%s\n%s", query, out)
	}
	if n < 5 {
		t.Errorf("found %d queries", n)
	}
}
