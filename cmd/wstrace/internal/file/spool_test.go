package file

import (
	"io"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

// TestSpool reads back what was written, and says of which file an error is.
func TestSpool(t *testing.T) {
	var s Spool
	if _, err := s.WriteAt([]byte("hello"), 3); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 10)
	if n, err := s.ReadAt(b, 3); n != 5 || err != io.EOF || string(b[:5]) != "hello" {
		t.Errorf("got %q, %v", b[:n], err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
	dir := filepath.Join(t.TempDir(), "none")
	t.Setenv(map[bool]string{false: "TMPDIR", true: "TMP"}[runtime.GOOS == "windows"], dir)
	if _, err := s.WriteAt([]byte("hello"), 3); err == nil || !strings.HasPrefix(err.Error(), "temporary file in ") || !strings.Contains(err.Error(), "none") {
		t.Errorf("got %v", err)
	}
}
