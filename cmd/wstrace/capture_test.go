package main

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	scriptCmds["capture"] = capture
	scriptCmds["captured"] = captured
}

// A capturing is a run of tcpdump.
type capturing struct {
	*exec.Cmd
	addr string
}

// endOfCapture is in the last packet of a capture.
const endOfCapture = "here the capture ends"

var capturings = map[string]*capturing{} // by file; scripts have folders of their own

// capture FILE ADDR [ARG...]
//
// begins to capture what is said to and by ADDR into FILE with tcpdump ARG...
func capture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: capture FILE ADDR [ARG...]")
	}
	file := ts.MkAbs(args[0])
	host, port, err := net.SplitHostPort(args[1])
	ts.Check(err)
	// In the immediate mode the buffer has a slot of the snap length for each packet: with
	// those of tcpdump there are 8, and packets are lost.
	what := append([]string{"-Z", "root", "-i", "lo", "-U", "--immediate-mode", "-s", "65600", "-B", "8192", "-w", file}, args[2:]...)
	cmd := exec.Command("tcpdump", append(what, "host", host, "and", "port", port)...)
	stderr, err := cmd.StderrPipe()
	ts.Check(err)
	ts.Check(cmd.Start())
	ts.Defer(func() { cmd.Process.Kill() })
	var said []byte
	for buf := make([]byte, 100); !bytes.Contains(said, []byte("listening on")); {
		n, err := stderr.Read(buf)
		if said = append(said, buf[:n]...); err != nil {
			ts.Fatalf("tcpdump: %s", said)
		}
	}
	capturings[file] = &capturing{cmd, args[1]}
}

// captured FILE
//
// ends a capture, once it has all packets so far.
func captured(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: captured FILE")
	}
	file := ts.MkAbs(args[0])
	c := capturings[file]
	conn, err := net.Dial("udp", c.addr)
	ts.Check(err)
	defer conn.Close()
	for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		conn.Write([]byte(endOfCapture)) // again and again: the capture may lose it
		b, err := os.ReadFile(file)
		if err == nil && strings.Contains(string(b), endOfCapture) {
			break
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%s does not end", file)
		}
	}
	ts.Check(c.Process.Signal(syscall.SIGINT))
	c.Wait()
}
