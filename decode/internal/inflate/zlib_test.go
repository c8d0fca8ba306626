package inflate

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"os/exec"
	"testing"
)

const python = "/usr/bin/python3"

// TestZlib inflates what zlib deflated: with windows of 9 to 15 bits, with and
// without context takeover, with every kind of block.
func TestZlib(t *testing.T) {
	if err := exec.Command(python, "-c", "import zlib").Run(); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("%s: %v", python, err)
		}
		t.Skipf("%s: %v", python, err)
	}
	out, err := exec.Command(python, "../../../testdata/interop/python/deflate.py").Output()
	if err != nil {
		t.Fatal(err)
	}
	streams, far, kept := 0, 0, 0
	for line := range bytes.Lines(out) {
		var s struct {
			Bits     int
			Takeover bool
			Level    int
			Messages []struct{ SHA256, Deflated string }
		}
		if err := json.Unmarshal(line, &s); err != nil {
			t.Fatal(err)
		}
		streams++
		z := &Stream{Limit: 1 << s.Bits, Alone: !s.Takeover}
		strict := &Stream{Limit: 1 << (s.Bits - 1), Alone: true}
		for i, m := range s.Messages {
			p, err := hex.DecodeString(m.Deflated)
			if err != nil {
				t.Fatal(err)
			}
			got, err := inflateAll(z, p, 100_000)
			sum := sha256.Sum256(got)
			if err != nil || hex.EncodeToString(sum[:]) != m.SHA256 || z.Far.Dist != 0 || z.Kept.Dist != 0 {
				t.Errorf("%d bits, takeover %t, level %d, message %d: got %d bytes, %v, far %v, kept %v; want others",
					s.Bits, s.Takeover, s.Level, i, len(got), err, z.Far, z.Kept)
			}
			inflateAll(strict, p, 1000)
			far += min(1, strict.Far.Dist)
			kept += min(1, strict.Kept.Dist)
		}
	}
	if streams < 98 || far == 0 || kept == 0 {
		t.Errorf("got %d streams, %d messages beyond a smaller window, %d that use the context", streams, far, kept)
	}
}
