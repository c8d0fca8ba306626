package trace

import (
	"bytes"
	"encoding/hex"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// A block is a fenced block of FORMAT.md.
type block struct{ lang, text string }

func formatMD(t testing.TB) (text string, blocks []block) {
	t.Helper()
	b, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("(?ms)^```(\\w+)\n(.*?)^```$").FindAllSubmatch(b, -1) {
		blocks = append(blocks, block{string(m[1]), string(m[2])})
	}
	return string(b), blocks
}

// TestSpecExamples checks that the examples of the specification are canonical
// and can be played, and that the bytes that it states are those of the trace
// before them.
func TestSpecExamples(t *testing.T) {
	_, blocks := formatMD(t)
	kinds := map[Kind]bool{}
	for i, b := range blocks {
		trace := b.text
		switch b.lang {
		case "bytes":
			checkSpecBytes(t, blocks[i-1].text, b.text)
			continue
		case "jsonl":
			trace = "{\"wstrace\":1}\n" + trace
		case "wst":
			if !strings.HasPrefix(trace, "{") {
				if err := playAll(strings.NewReader(trace), decode.SinkFunc(func(*decode.Event) {}), thorough()); err != nil {
					t.Errorf("play\n%s%v", trace, err)
				}
				_, trace, _ = strings.Cut(trace, "\n") // which is cut in front
			}
		case "sql", "ini", "toml", "yaml":
			continue // for other programs
		default:
			t.Errorf("got a block of %s, want wst, jsonl or bytes", b.lang)
		}
		for line := range strings.Lines(trace) {
			if rec, err := Parse([]byte(line)); err == nil {
				kinds[rec.Kind] = true
			} else if !blank([]byte(line)) {
				t.Errorf("%s: %v", line, err)
			}
		}
		var out bytes.Buffer
		if err := Format(&out, strings.NewReader(trace)); err != nil {
			t.Errorf("%s\n%v", trace, err)
		}
		same(t, "canonical line", strings.Split(trace, "\n"), strings.Split(out.String(), "\n"))
		if err := playAll(strings.NewReader(trace), decode.SinkFunc(func(*decode.Event) {}), thorough()); err != nil {
			t.Errorf("play\n%s%v", trace, err)
		}
	}
	for kind := range keysByKind {
		if !kinds[kind] {
			t.Errorf("no example of kind %q", kind)
		}
	}
}

// checkSpecBytes checks the lines of a block of bytes.
func checkSpecBytes(t *testing.T, trace, stated string) {
	t.Helper()
	for line := range strings.Lines(stated) {
		f := strings.Fields(line)
		want, err := hex.DecodeString(strings.Join(f[2:], ""))
		if err != nil {
			t.Fatal(err)
		}
		rebuild := Bytes
		if f[1] == "sent" {
			rebuild = SentBytes
		}
		d := client
		if f[0] == "<" {
			d = server
		}
		got, err := rebuild(NewReader(strings.NewReader(trace)), 1, d)
		if got = got[decode.HeadLen(got, 0):]; err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s %s: got % x, %v, want % x", f[0], f[1], got, err, want)
		}
	}
}

// TestSpecKeys checks that the tables of the specification have the keys that
// are read and written, in their order.
func TestSpecKeys(t *testing.T) {
	text, _ := formatMD(t)
	rows := map[string][]string{} // keys, by heading
	heading := ""
	row := regexp.MustCompile("^\\| `([^`]+)` \\|")
	for line := range strings.Lines(text) {
		if strings.HasPrefix(line, "#") {
			heading = strings.Trim(line, "# \n")
		} else if m := row.FindStringSubmatch(line); m != nil {
			rows[heading] = append(rows[heading], m[1])
		}
	}
	for kind, keys := range keysByKind {
		heading := "Header"
		if kind != KindHeader {
			for h := range rows {
				if strings.Contains(h, "`"+kind+"`") {
					heading = h
				}
			}
		}
		var own []string // documented
		for _, name := range rows[heading] {
			if slices.ContainsFunc(keys, func(k key) bool { return k.name == name }) {
				own = append(own, name)
			} else if !strings.Contains(heading, ",") && name != "wstrace" {
				t.Errorf("%s has no key %s", kind, name)
			}
		}
		var want []string
		for _, k := range keys {
			if !slices.Contains(rows["Common keys"], k.name) && !slices.Contains(rows["Changes"], k.name) {
				want = append(want, k.name)
			}
		}
		same(t, kind+" key", own, want)
	}
}
