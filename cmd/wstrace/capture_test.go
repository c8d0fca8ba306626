package main

import (
	"bytes"
	"encoding/binary"
	"net"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func init() {
	scriptCmds["capture"] = capture
	scriptCmds["captured"] = captured
	scriptCmds["disturb"] = disturb
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

// disturb double|reorder|drop TEXT|cut SIZE IN OUT
//
// copies a pcap file, with each packet twice, with neighbours in each other's place,
// without the first packet that has TEXT, or with SIZE bytes of each packet.
func disturb(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 3 {
		ts.Fatalf("usage: disturb double|reorder|drop TEXT|cut SIZE IN OUT")
	}
	const fileHeader, packetHeader = 24, 16
	in := []byte(ts.ReadFile(args[len(args)-2]))
	var packets [][]byte
	for rest := in[fileHeader:]; len(rest) > 0; {
		n := packetHeader + int(binary.LittleEndian.Uint32(rest[8:]))
		packets = append(packets, bytes.Clone(rest[:n]))
		rest = rest[n:]
	}
	out := bytes.Clone(in[:fileHeader])
	switch args[0] {
	case "double":
		for _, p := range packets {
			out = append(append(out, p...), p...)
		}
	case "reorder":
		for i := 1; i < len(packets); i += 2 {
			packets[i-1], packets[i] = packets[i], packets[i-1]
		}
		out = append(out, bytes.Join(packets, nil)...)
	case "drop":
		i := slices.IndexFunc(packets, func(p []byte) bool { return bytes.Contains(p, []byte(args[1])) })
		if i < 0 {
			ts.Fatalf("no packet has %q", args[1])
		}
		out = append(out, bytes.Join(slices.Delete(packets, i, i+1), nil)...)
	case "cut":
		size, err := strconv.Atoi(args[1])
		ts.Check(err)
		for _, p := range packets {
			p = p[:min(len(p), packetHeader+size)]
			binary.LittleEndian.PutUint32(p[8:], uint32(len(p)-packetHeader))
			out = append(out, p...)
		}
	default:
		ts.Fatalf("unknown way %q", args[0])
	}
	ts.Check(os.WriteFile(ts.MkAbs(args[len(args)-1]), out, 0o644))
}
