package trace_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// TestTraces reads the traces that others use, and holds them to their
// canonical form.
func TestTraces(t *testing.T) {
	names, _ := filepath.Glob("../../testdata/traces/*.wst")
	if len(names) < 2 {
		t.Fatalf("got %d traces, want 2 or more", len(names))
	}
	for _, name := range names {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var out bytes.Buffer
		if err := trace.Format(&out, bytes.NewReader(b)); err != nil {
			t.Errorf("format %s: %v", name, err)
		} else if !bytes.Equal(out.Bytes(), b) {
			t.Errorf("%s: not in canonical form, got\n%swant\n%s", name, b, out.Bytes())
		}
		n := 0
		r := trace.NewReader(bytes.NewReader(b))
		if err := trace.Play(r, decode.SinkFunc(func(*decode.Event) { n++ })); err != nil || r.Warning() != nil {
			t.Errorf("play %s: %v, %v", name, err, r.Warning())
		}
		if n < 10 {
			t.Errorf("%s: got %d events, want 10 or more", name, n)
		}
	}
}
