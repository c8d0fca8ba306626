package change

import (
	"encoding/hex"
	"fmt"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// The examples of the help have every action, and do what it says.
func TestExamples(t *testing.T) {
	for _, v := range verbNames {
		found := false
		for _, e := range Examples {
			l, err := ParseLine(e.Line)
			if err != nil {
				t.Fatalf("%s: %v", e.Line, err)
			}
			for _, a := range l.actions {
				found = found || verbs[a.verb].name == v
			}
		}
		if !found || !strings.Contains(Help(), "\n  "+v) && !strings.Contains(Help(), ", "+v) {
			t.Errorf("no example of %s, or no word on it", v)
		}
	}
	for _, e := range Examples {
		if strings.HasPrefix(e.Came, "(") {
			continue
		}
		came := e.Came
		if came == "" {
			came = hello
		}
		b, err := hex.DecodeString(strings.ReplaceAll(came, " ", ""))
		if err != nil {
			t.Fatal(err)
		}
		w := newWire(t, "", e.Line)
		w.say(decode.FromServer, b)
		want, _, _ := strings.Cut(e.Sent, " (")
		if got := fmt.Sprintf("% x", w.got[decode.FromServer]); got != want {
			t.Errorf("%s:\n got %s\nwant %s", e.Line, got, want)
		}
		if strings.Contains(e.Sent, "reset") != (w.reset != "") {
			t.Errorf("%s: reset by %q", e.Line, w.reset)
		}
	}
}

// Faults are lines that can be read.
func TestFaults(t *testing.T) {
	for _, f := range Faults {
		if n := len(FaultLines(f.Name)); n != len(f.Lines) {
			t.Errorf("%s has %d lines, want %d", f.Name, n, len(f.Lines))
		}
	}
	if FaultLines("none") != nil {
		t.Error("there are lines of no fault")
	}
}
