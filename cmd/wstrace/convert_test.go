package main

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/decode/trace"
)

// TestConvertTraces makes traces of those of testdata, whose lines are the same.
func TestConvertTraces(t *testing.T) {
	names, _ := filepath.Glob("../../testdata/traces/*.wst")
	if len(names) == 0 {
		t.Fatal("no traces")
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		var want, got bytes.Buffer
		if err := trace.Format(&want, bytes.NewReader(text)); err != nil {
			t.Fatal(err)
		}
		for _, all := range []bool{true, false} {
			in, err := source.Open(name)
			if err != nil {
				t.Fatal(err)
			}
			c := conversion{}
			if !all {
				c.sessions = sessionsFlag{}
				for n := range int64(1000) {
					c.sessions = append(c.sessions, n+1)
				}
			}
			got.Reset()
			if err := c.copy(&got, in); err != nil || got.String() != want.String() {
				t.Errorf("%s, all %t: %v, and the lines differ", name, all, err)
			}
			in.Close()
		}
	}
}
