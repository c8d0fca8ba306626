package interop

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestQueriesInDuckDB runs the queries for DuckDB that FORMAT.md has, over two recordings
// of which one begins an hour later.
func TestQueriesInDuckDB(t *testing.T) {
	need(t, nodePackage("@duckdb/node-api").missing())
	doc, err := os.ReadFile("../../decode/trace/FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	const recording = `{"wstrace":1,"t0":"2026-01-01T00:00:00.5Z"}
{"k":"open","t":0,"c":1,"url":"ws://a/chat"}
{"k":"req","t":0,"c":1,"m":"GET","target":"/chat","v":"HTTP/1.1","h":[["X","1"],["HOST","a"]]}
{"k":"res","t":0.1,"c":1,"v":"HTTP/1.1","code":101,"reason":"Switching Protocols","h":[["Upgrade","websocket"]]}
{"k":"frame","t":1.25,"c":1,"d":">","op":"text","mask":"01020304","text":"{\"type\":\"sub\"}"}
{"k":"frame","t":1.5,"c":1,"d":">","op":"pong","mask":"01020304","text":"beat"}
{"k":"frame","t":2,"c":1,"d":"<","op":"text","text":"hello"}
{"k":"frame","t":5.5,"c":1,"d":"<","op":"bin","b64":"AP8="}
{"k":"frame","t":6,"c":1,"d":"<","op":3}
{"k":"frame","t":7,"c":1,"d":"<","op":"close","code":1001,"reason":"bye"}
{"k":"open","t":8,"c":2,"url":"http://a/no"}
{"k":"res","t":8.5,"c":2,"v":"HTTP/1.1","code":403,"reason":"Forbidden"}
`
	dir := t.TempDir()
	for name, text := range map[string]string{"a.wst": recording, "b.wst": `{"wstrace":1,"t0":"2026-01-01T01:00:00Z"}` + "\n" + `{"k":"frame","t":1,"c":1,"d":"<","op":"ping"}` + "\n"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	_, section, _ := strings.Cut(string(doc), "\n## Queries\n")
	_, view, _ := strings.Cut(section, "```sql\n")
	view, _, _ = strings.Cut(view, "```")
	args := []string{"node/duckdb.mjs", strings.ReplaceAll(view, "chat.wst", filepath.ToSlash(dir)+"/*.wst")}
	for line := range strings.Lines(section) {
		cells := strings.Split(strings.ReplaceAll(line, `\|`, "\x00"), "|")
		if len(cells) == 5 && strings.HasPrefix(cells[2], " `jq ") {
			args = append(args, strings.ReplaceAll(strings.Trim(cells[3], " `"), "\x00", "|"))
		}
	}
	var stderr bytes.Buffer
	cmd := exec.Command("node", args...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v\n%s", err, stderr.Bytes())
	}
	got := strings.Split(strings.TrimSpace(string(out)), "\n")
	want := []string{ // in the order of the table; parts that an answer has
		`[">","text","1"]`,
		`["1",0,"ws://a/chat"],["2",8,"http://a/no"]`,
		`[["{\"type\":\"sub\"}"]]`,
		`[["sub","1"]]`,
		`[["1","<",1001,"bye"]]`,
		`[["2",403,"Forbidden"]]`,
		`[["1","in","a"]]`,
		`["2026-01-01 00:00:01.75","1","text"]`,
		`[[3.5,"1",5.5]`,
	}
	if len(got) != len(want) {
		t.Fatalf("got %d answers, want %d", len(got), len(want))
	}
	for i, want := range want {
		if !strings.Contains(got[i], want) {
			t.Errorf("%s: got\n%s, want\n%s in it", args[i+2], got[i], want)
		}
	}
	if later := `["2026-01-01 01:00:01","1","ping"]`; !strings.Contains(got[7], later) {
		t.Errorf("%s: got\n%s, want\n%s in it", args[9], got[7], later)
	}
}
