//go:build linux

package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"os"
	"regexp"
	"strconv"
	"testing"
	"time"
)

// TestRedactionMemory holds many idle sessions, and sees many more pass, with
// --redact and without. The recording made under it is complete.
func TestRedactionMemory(t *testing.T) {
	if os.Getenv("SOAK") != "true" {
		t.Skip("takes a minute; make soak runs it")
	}
	const idle, others = 8000, 20_000
	for _, shown := range []string{"none", "compact"} {
		var peak [2]int
		for i, redact := range [][]string{nil, {"--redact", "credentials"}} {
			name := t.TempDir() + "/a.wst"
			p := startPiped(t, append(redact, "-o", shown, "--to", os.DevNull, "-w", name)...)
			var open []net.Conn
			for n := range idle + others {
				c := talkOnce(t, p.addr, n)
				if n < idle {
					open = append(open, c)
				} else {
					c.Close()
				}
			}
			peak[i] = peakMemory(t, p.Process.Pid)
			for _, c := range open {
				c.Close()
			}
			p.signal(os.Interrupt)
			if status, stderr := p.end(); status != 0 {
				t.Fatalf("exit status %d: %s", status, stderr)
			}
			checkCrowd(t, name, idle+others, redact != nil)
		}
		t.Logf("-o %s: %d kB, with --redact %d kB", shown, peak[0], peak[1])
		if float64(peak[1]) > 1.1*float64(peak[0]) {
			t.Errorf("-o %s: with --redact it takes %d kB, without %d kB", shown, peak[1], peak[0])
		}
	}
}

// talkOnce opens a session with a secret in it and exchanges a message.
func talkOnce(t *testing.T, addr string, n int) net.Conn {
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	c.SetDeadline(time.Now().Add(patience))
	fmt.Fprintf(c, "GET /?token=secret%d HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: a=secret%[1]d\r\n"+
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n\x81\x83\x00\x00\x00\x00abc", n)
	r := bufio.NewReader(c)
	for line := ""; line != "\r\n"; {
		if line, err = r.ReadString('\n'); err != nil {
			t.Fatalf("session %d: the answer: %v", n, err)
		}
	}
	if _, err := io.ReadFull(r, make([]byte, 5)); err != nil {
		t.Fatalf("session %d: the echo: %v", n, err)
	}
	return c
}

// peakMemory returns the most memory that a process has had, in kB.
func peakMemory(t *testing.T, pid int) int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(`VmHWM:\s+(\d+) kB`).FindSubmatch(b)
	if m == nil {
		t.Fatalf("no VmHWM in %s", b)
	}
	n, _ := strconv.Atoi(string(m[1]))
	return n
}

// checkCrowd checks that a recording has all sessions and, if it was redacted, no
// secret.
func checkCrowd(t *testing.T, name string, sessions int, redacted bool) {
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	secret, kindOf := regexp.MustCompile(`secret\d`), regexp.MustCompile(`"k":"(\w+)"`)
	opened, frames := 0, 0
	for lines := bufio.NewScanner(f); lines.Scan(); {
		line := lines.Bytes()
		switch kind := kindOf.FindSubmatch(line); {
		case kind == nil:
		case string(kind[1]) == "open":
			opened++
		case string(kind[1]) == "frame":
			frames++
		}
		if redacted && secret.Match(line) {
			t.Fatalf("a secret stands in %s", line)
		}
	}
	if opened != sessions || frames != 2*sessions {
		t.Errorf("%s has %d sessions and %d frames, want %d and %d", name, opened, frames, sessions, 2*sessions)
	}
}
