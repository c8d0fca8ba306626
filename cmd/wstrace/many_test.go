package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/render"
)

// checked runs check and returns its exit status, its output, and how much memory
// was in use in the middle of it, at most.
func checked(t *testing.T, text string, args ...string) (status int, out []byte, peak uint64) {
	t.Helper()
	dir := t.TempDir()
	in, to := filepath.Join(dir, "in.wst"), filepath.Join(dir, "out")
	if err := os.WriteFile(in, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	measured := make(chan uint64)
	go func() {
		var most uint64
		for {
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			most = max(most, m.HeapInuse)
			select {
			case <-done:
				measured <- most
				return
			case <-time.After(20 * time.Millisecond):
				runtime.GC() // what is garbage does not count
			}
		}
	}()
	status = run(append([]string{"check", "--to", to}, append(args, in)...))
	close(done)
	peak = <-measured
	out, err := os.ReadFile(to)
	if err != nil {
		t.Fatal(err)
	}
	return status, out, peak
}

// manySessions returns n sessions with an error each, of which every third ends.
func manySessions(n int) string {
	var b strings.Builder
	b.WriteString(`{"wstrace":1}` + "\n")
	for c := range n {
		fmt.Fprintf(&b, `{"k":"open","c":%d,"url":"ws://example.com/%d"}
{"k":"frame","c":%[1]d,"d":">","op":"bin"}
`, c+1, c)
		if c%3 == 0 {
			fmt.Fprintf(&b, `{"k":"end","c":%d,"how":"fin"}`+"\n", c+1)
		}
	}
	return b.String()
}

// A recording of any number of sessions is checked in memory that has a bound, and
// each session counts.
func TestCheckManySessions(t *testing.T) {
	n := 2*render.MaxListed + 3000
	if os.Getenv("SOAK") == "true" {
		n = 300_000 // more than can be open
	}
	text := manySessions(n)
	base := uint64(len(text))
	most := base + uint64(min(n, 1<<16))*20_000 + 100<<20
	status, out, peak := checked(t, text, "-q")
	last := out[bytes.LastIndexByte(out[:len(out)-1], '\n')+1:]
	if want := fmt.Sprintf("%d sessions, %d with errors: %d errors", n, n, n); status != 1 || !strings.HasPrefix(string(last), want) {
		t.Errorf("status %d, %q, want %q", status, last, want)
	}
	if want := fmt.Sprintf("\n%d more sessions with violations are not listed\n", n-render.MaxListed); !bytes.Contains(out, []byte(want)) {
		t.Errorf("no %q in %.2000q", want, out[max(0, len(out)-300):])
	}
	if peak > most {
		t.Errorf("%d MB in use, want at most %d", peak>>20, most>>20)
	}
	status, out, peak = checked(t, text, "-q", "--json")
	if got := bytes.Count(out, []byte(`"rule":"frame-client-unmasked"`)); status != 1 || got != n {
		t.Errorf("status %d, %d lines of JSON, want %d", status, got, n)
	}
	if peak > most {
		t.Errorf("%d MB in use for JSON, want at most %d", peak>>20, most>>20)
	}
}
