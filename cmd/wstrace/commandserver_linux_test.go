package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"regexp"
	"strconv"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"golang.org/x/sys/unix"
)

// reservePort returns an address where nobody listens, but a socket with reusePort can.
func reservePort(t *testing.T) string {
	t.Helper()
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { unix.Close(s) })
	err = unix.SetsockoptInt(s, unix.SOL_SOCKET, unix.SO_REUSEPORT, 1)
	if err == nil {
		err = unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}})
	}
	if err != nil {
		t.Fatal(err)
	}
	addr, err := unix.Getsockname(s)
	if err != nil {
		t.Fatal(err)
	}
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(addr.(*unix.SockaddrInet4).Port))
}

// startServed starts wstrace in front of lateserver, and returns where it listens.
func startServed(t *testing.T) (*commandRun, string) {
	t.Helper()
	addr := reservePort(t)
	r := startCommand(t, "wstrace", "-l", "0", "http://"+addr, "--", "lateserver", addr)
	return r, r.await(r.stderr, `wstrace: listening on (.*)`)[1]
}

// request sends a request for a page to addr, and returns the connection.
func request(t *testing.T, addr string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	if _, err := io.WriteString(c, "GET /page HTTP/1.1\r\nHost: "+addr+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return c
}

// wantStatus reads the answer to a request, and closes the connection.
func wantStatus(t *testing.T, c net.Conn, status int) {
	t.Helper()
	defer c.Close()
	c.SetReadDeadline(time.Now().Add(patience))
	res, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatalf("%v, want status %d", err, status)
	}
	defer res.Body.Close()
	if res.StatusCode != status {
		t.Errorf("status %s, want %d", res.Status, status)
	}
}

// TestCommandServer has a server that begins to listen after its clients have come, is
// restarted, and ends.
func TestCommandServer(t *testing.T) {
	r, proxy := startServed(t)
	early := request(t, proxy)
	early.SetReadDeadline(time.Now().Add(4 * retryEvery))
	if n, err := early.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("%d bytes and %v before the server listens", n, err)
	}
	talked := make(chan error)
	go func() { talked <- talk(ws.Dialer{Timeout: patience}, "ws://"+proxy, []string{"one"}) }()
	r.say("up")
	wantStatus(t, early, 200)
	if err := <-talked; err != nil {
		t.Error(err)
	}
	r.say("down")
	r.await(r.stdout, "down")
	wantStatus(t, request(t, proxy), 502)
	r.say("up")
	r.await(r.stdout, "up\ndown\nup")
	wantStatus(t, request(t, proxy), 200)
	r.say("exit 4")
	r.end(4)
	r.has(`.* #\d+ < text .* "one"`)
	r.has(`.* ! dial upstream ".*": connection refused`)
}

// TestCommandServerSignal ends a server by a signal to wstrace.
func TestCommandServerSignal(t *testing.T) {
	r, proxy := startServed(t)
	r.say("up")
	wantStatus(t, request(t, proxy), 200)
	c, _, _, err := ws.Dialer{Timeout: patience}.Dial(context.Background(), "ws://"+proxy)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r.signal(syscall.SIGTERM)
	r.await(r.stdout, "terminated")
	r.end(6)
	r.has(`wstrace: 1 session: .*; 1 HTTP request, .*`)
}

// TestCommandServerLast has a server that ends after its last answer, which arrives.
func TestCommandServerLast(t *testing.T) {
	r, proxy := startServed(t)
	r.say("up")
	c, br, _, err := ws.Dialer{Timeout: patience}.Dial(context.Background(), "ws://"+proxy+"/last")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(patience))
	var in io.Reader = c
	if br != nil {
		in = br
	}
	f, err := ws.ReadFrame(in)
	if err != nil || len(f.Payload) != lastLen {
		t.Errorf("the last frame has %d bytes, %v", len(f.Payload), err)
	}
	if n, err := io.Copy(io.Discard, in); err != nil {
		t.Errorf("after the last frame: %d bytes, %v", n, err)
	}
	c.Close()
	r.end(0)
	r.has(`.* #1 < bin .*`)
	r.has(`.* #1 = closed 1006 by server \(end without close\) .*`)
}

// TestCommandServerNever has a server that ends and has never listened.
func TestCommandServerNever(t *testing.T) {
	r, proxy := startServed(t)
	var conns []net.Conn
	for range 8 {
		c := request(t, proxy)
		c.SetReadDeadline(time.Now().Add(retryEvery))
		if n, err := c.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%d bytes and %v before the server listens", n, err)
		}
		conns = append(conns, c)
	}
	r.say("exit 4")
	for _, c := range conns {
		wantStatus(t, c, 502)
	}
	r.end(4)
	r.has(`.* ! dial upstream ".*": connection refused`)
	if n := len(regexp.MustCompile(` 502 by wstrace in `).FindAllString(r.read(r.stderr), -1)); n != len(conns) {
		t.Errorf("%d sessions have ended with 502; stderr: %s", n, r.read(r.stderr))
	}
}
