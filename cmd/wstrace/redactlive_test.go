package main

import (
	"bufio"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
)

// TestUnfinishedMessageHoldsItsSessionOnly redacts messages of two sessions. One
// sends the beginning of a message; the lines of the other come meanwhile, on
// stdout and in the recording.
func TestUnfinishedMessageHoldsItsSessionOnly(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wst")
	p := startPiped(t, "--redact", "$.token", "--flush", "always", "-o", "compact", "-m", "-w", name)
	dial := func() (*bufio.Reader, func([]byte)) {
		d := ws.Dialer{Timeout: patience}
		c, _, _, err := d.Dial(t.Context(), "ws://"+p.addr)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		c.SetDeadline(time.Now().Add(patience))
		return bufio.NewReader(c), func(frame []byte) {
			if _, err := c.Write(frame); err != nil {
				t.Fatal(err)
			}
		}
	}
	part := func(op ws.OpCode, fin bool, text string) []byte {
		return ws.MustCompileFrame(ws.MaskFrameInPlace(ws.NewFrame(op, fin, []byte(text))))
	}
	echoed := func(r *bufio.Reader) {
		t.Helper()
		if _, err := readFrame(r); err != nil {
			t.Fatal(err)
		}
	}
	p.stdout.SetReadDeadline(time.Now().Add(patience))
	lines := bufio.NewReader(p.stdout)
	var shown strings.Builder
	showsUntil := func(text string) {
		t.Helper()
		for {
			line, err := lines.ReadString('\n')
			shown.WriteString(line)
			if err != nil {
				t.Fatalf("%v; stdout is %s", err, &shown)
			}
			if strings.Contains(line, text) {
				return
			}
		}
	}

	r1, one := dial()
	one(part(ws.OpText, false, `{"from":"first","token":"s3c`))
	echoed(r1) // so wstrace has it
	r2, two := dial()
	two(part(ws.OpText, true, `{"from":"second","token":"other-s3cret"}`))
	echoed(r2)
	showsUntil("second")
	recorded, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got := string(recorded); !strings.Contains(got, "second") || strings.Contains(got, "first") {
		t.Errorf("while a message is unfinished the recording is %s", got)
	}
	if strings.Contains(shown.String(), "first") {
		t.Errorf("while a message is unfinished stdout is %s", &shown)
	}

	one(part(ws.OpContinuation, true, `ret"}`))
	echoed(r1)
	showsUntil("first")
	p.signal(syscall.SIGTERM)
	if status, stderr := p.end(); status != 0 {
		t.Errorf("exit status %d, stderr %s", status, stderr)
	}
	for line, err := "", error(nil); err == nil; line, err = lines.ReadString('\n') {
		shown.WriteString(line)
	}
	recorded, err = os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"stdout": shown.String(), "the recording": string(recorded)} {
		if strings.Contains(text, "s3c") || !strings.Contains(text, "first") {
			t.Errorf("%s is %s", what, text)
		}
	}
}
