package viaenv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
)

// pad makes a first line of s.
func pad(s string) string { return s + strings.Repeat(" ", lineLen-1-len(s)) + "\n" }

func TestParseLine(t *testing.T) {
	for name, tt := range map[string]struct {
		line   string
		want   string // "" if it is refused
		family string
	}{
		"all":           {pad(`{"token":"T","host":"localhost","port":1901,"family":0,"pid":123,"process":"node"}`), "localhost:1901 123 node", ""},
		"IPv6":          {pad(`{"token":"T","host":"::1","port":65535,"family":6}`), "[::1]:65535 0 ", "6"},
		"odd process":   {pad(`{"token":"T","host":"h","port":1,"pid":-1,"process":"a\u001bb"}`), "h:1 0 ", ""},
		"odd family":    {pad(`{"token":"T","host":"h","port":1,"family":5}`), "h:1 0 ", ""},
		"no token":      {pad(`{"host":"h","port":1}`), "", ""},
		"other token":   {pad(`{"token":"t","host":"h","port":1}`), "", ""},
		"no host":       {pad(`{"token":"T","port":1}`), "", ""},
		"bad host":      {pad(`{"token":"T","host":"a b","port":1}`), "", ""},
		"control":       {pad(`{"token":"T","host":"a\u0000","port":1}`), "", ""},
		"port 0":        {pad(`{"token":"T","host":"h","port":0}`), "", ""},
		"port too high": {pad(`{"token":"T","host":"h","port":65536}`), "", ""},
		"huge port":     {pad(`{"token":"T","host":"h","port":1e99}`), "", ""},
		"no JSON":       {pad("GET / HTTP/1.1\r\n"), "", ""},
		"no end":        {strings.Repeat(" ", lineLen), "", ""},
		"more than one": {pad(`{"token":"T","host":"h","port":1}{}`), "", ""},
		"nothing":       {"", "", ""},
	} {
		to, family, ok := parseLine([]byte(tt.line), "T")
		got := ""
		if ok {
			got = fmt.Sprintf("%s %d %s", to.Addr, to.PID, to.Process)
		}
		if got != tt.want || family != tt.family {
			t.Errorf("%s: got %q %q, want %q %q", name, got, family, tt.want, tt.family)
		}
	}
}

func FuzzParseLine(f *testing.F) {
	f.Add(`{"token":"T","host":"localhost","port":1901,"pid":123,"process":"node"}` + "\n")
	f.Fuzz(func(t *testing.T, line string) {
		to, _, ok := parseLine([]byte(line), "T")
		if !ok {
			return
		}
		if host, port, err := net.SplitHostPort(to.Addr); err != nil || host == "" || port == "0" || to.PID < 0 {
			t.Errorf("got %+v", to)
		}
	})
}

// serve serves a lead-in whose connections are given to the channel.
func serve(t *testing.T) (l *LeadIn, led chan Target, failed chan error, cancel func()) {
	t.Helper()
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	ctx, end := context.WithCancel(t.Context())
	led, failed = make(chan Target, 10), make(chan error, 10)
	served := make(chan error, 1)
	go func() {
		served <- l.Serve(ctx, func(ctx context.Context, c net.Conn, to Target) {
			led <- to
			b := make([]byte, 4)
			if _, err := io.ReadFull(c, b); err == nil {
				c.Write(b)
			}
			c.Close()
			to.Conn.Close()
		}, func(_ Target, err error) { failed <- err })
	}()
	cancel = func() {
		end()
		select {
		case err := <-served:
			if err != nil {
				t.Error(err)
			}
			served <- nil
		case <-time.After(5 * time.Second):
			t.Error("Serve goes on")
		}
	}
	t.Cleanup(cancel)
	return l, led, failed, cancel
}

// come connects to the lead-in, and writes.
func come(t *testing.T, l *LeadIn, s string) net.Conn {
	t.Helper()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() })
	c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.WriteString(c, s); err != nil {
		t.Fatal(err)
	}
	return c
}

// lineTo returns a first line.
func lineTo(l *LeadIn, addr net.Addr, family int) string {
	b, _ := json.Marshal(map[string]any{"token": l.token, "host": "localhost", "port": addr.(*net.TCPAddr).Port, "family": family, "pid": 7})
	return pad(string(b))
}

func TestLeadIn(t *testing.T) {
	l, led, failed, _ := serve(t)
	for _, listen := range []string{"127.0.0.1:0", "[::1]:0"} {
		ln, err := net.Listen("tcp", listen)
		if err != nil {
			if strings.HasPrefix(listen, "[") {
				continue // there is no IPv6
			}
			t.Fatal(err)
		}
		c := come(t, l, lineTo(l, ln.Addr(), 0)+"pi")
		io.WriteString(c, "ng")
		if b, err := io.ReadAll(c); string(b) != "ping" {
			t.Errorf("got %q and %v", b, err)
		}
		to := <-led
		if _, port, _ := net.SplitHostPort(ln.Addr().String()); to.Addr != "localhost:"+port || to.PID != 7 ||
			to.Conn.RemoteAddr().String() != ln.Addr().String() {
			t.Errorf("led to %+v", to)
		}
		ln.Close()
		c = come(t, l, lineTo(l, ln.Addr(), 0))
		if _, err := c.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("where nobody listens: got %v, want a reset", err)
		}
		if err := <-failed; !errors.Is(err, syscall.ECONNREFUSED) {
			t.Errorf("where nobody listens: %v", err)
		}
	}
	c := come(t, l, pad("{}"))
	if _, err := c.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("with a wrong line: got %v, want an end", err)
	}
}

// TestEnds has connections in each state when the context ends.
func TestEnds(t *testing.T) {
	l, led, failed, cancel := serve(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	half := come(t, l, "{")
	whole := come(t, l, lineTo(l, ln.Addr(), 4))
	<-led
	whole.Close()
	cancel()
	if _, err := half.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Errorf("half a line: got %v, want an end", err)
	}
	if len(failed) > 0 {
		t.Errorf("told of %v", <-failed)
	}
}

func TestEnv(t *testing.T) {
	env := []string{"http_proxy=http://mine", "NO_PROXY=localhost", "JAVA_TOOL_OPTIONS=-Xmx1g", "npm_config_proxy=x"}
	was := slices.Clone(env)
	got, err := Env(env, &net.TCPAddr{IP: net.IPv6loopback, Port: 8080}, nil, "")
	if err != nil || !slices.Equal(env, was) {
		t.Fatalf("%v, and the environment was changed to %q", err, env)
	}
	if any, err := Env(nil, &net.TCPAddr{IP: net.IPv6unspecified, Port: 1}, nil, ""); err != nil || environ.Get(any, "ws_proxy") != "http://127.0.0.1:1" {
		t.Errorf("the proxy at any address is %q", environ.Get(any, "ws_proxy"))
	}
	for name, want := range map[string]string{
		"http_proxy": "http://[::1]:8080", "HTTPS_PROXY": "http://[::1]:8080", "wss_proxy": "http://[::1]:8080", "ALL_PROXY": "http://[::1]:8080",
		"NO_PROXY": "", "no_proxy": "", "npm_config_proxy": "x", "NODE_OPTIONS": "", "MOJO_PROXY": "1",
		"JAVA_TOOL_OPTIONS": "-Xmx1g -Dhttp.proxyHost=::1 -Dhttp.proxyPort=8080 -Dhttps.proxyHost=::1 -Dhttps.proxyPort=8080 -Dhttp.nonProxyHosts=",
	} {
		if v := environ.Get(got, name); v != want {
			t.Errorf("%s is %q, want %q", name, v, want)
		}
	}
}
