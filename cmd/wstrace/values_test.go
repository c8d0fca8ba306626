package main

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/source"
	"github.com/wstrace/wstrace/proxy"
)

func TestSize(t *testing.T) {
	for _, test := range []struct {
		in   string
		want size // 0 is an error
		out  string
	}{
		{"65536", 65536, "64KiB"},
		{"64KiB", 65536, "64KiB"},
		{"64 KiB", 65536, "64KiB"},
		{"64K", 65536, "64KiB"},
		{"64k", 65536, "64KiB"},
		{"64kB", 64000, "64000"},
		{"1.5MiB", 3 << 19, "1536KiB"},
		{"2MiB", 2 << 20, "2MiB"},
		{"1B", 1, "1"},
		{"", 0, ""}, {"0", 0, ""}, {"-1", 0, ""}, {"KiB", 0, ""}, {"64XB", 0, ""}, {"9999MiB", 0, ""}, {"NaN", 0, ""},
	} {
		var n size
		err := n.Set(test.in)
		switch {
		case (err != nil) != (test.want == 0):
			t.Errorf("%q: got %d, %v, want %d", test.in, n, err, test.want)
		case err == nil && (n != test.want || n.String() != test.out):
			t.Errorf("%q: got %d, %s, want %d, %s", test.in, n, &n, test.want, test.out)
		}
	}
}

func TestDuration(t *testing.T) {
	for _, test := range []struct {
		in   string
		want time.Duration // negative for an error
	}{
		{"10", 10 * time.Second},
		{"0.5", 500 * time.Millisecond},
		{"1m30s", 90 * time.Second},
		{"0", 0},
		{"", -1}, {"soon", -1}, {"10x", -1},
	} {
		d := duration(-1)
		if err := d.Set(test.in); (err != nil) != (test.want < 0) || time.Duration(d) != test.want {
			t.Errorf("%q: got %v, %v, want %v", test.in, &d, err, test.want)
		}
	}
}

func TestListenOnAPortAlone(t *testing.T) {
	l, err := listen("0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if got := l.Addr().(*net.TCPAddr).IP.String(); got != "127.0.0.1" {
		t.Errorf("got %s, want 127.0.0.1", got)
	}
}

func TestDirections(t *testing.T) {
	for _, test := range []struct{ origin, addr, want string }{
		{"ws://localhost:1901/websocket?x=1", "127.0.0.1:8080", "point the client at ws://127.0.0.1:8080/websocket?x=1"},
		{"wss://example.com", "127.0.0.1:8080", "point the client at wss://127.0.0.1:8080 or ws://127.0.0.1:8080"},
		{"https://example.com/", "[::]:80", "point the client at https://127.0.0.1:80/ or http://127.0.0.1:80/"},
		{"http://h", "[::1]:80", "point the client at http://[::1]:80"},
		{"", "0.0.0.0:80", "set the client's HTTP proxy to http://127.0.0.1:80"},
	} {
		var origin *url.URL
		if test.origin != "" {
			var err error
			if origin, err = parseOrigin(test.origin); err != nil {
				t.Fatal(err)
			}
		}
		addr, err := net.ResolveTCPAddr("tcp", test.addr)
		if err != nil {
			t.Fatal(err)
		}
		if got := directions(origin, addr); got != test.want {
			t.Errorf("%s on %s: got %q, want %q", test.origin, test.addr, got, test.want)
		}
	}
}

func TestConsole(t *testing.T) {
	const everything = "wstrace: debug\nwstrace: info\nwstrace: warn\nwstrace: hint: --insecure trusts any server\nwstrace: error\nwstrace: second line\nwstrace: a\\x1b[2J\\u0085\\xff\n"
	for _, test := range []struct {
		quiet, verbose bool
		without        []string
	}{
		{false, true, nil},
		{false, false, []string{"wstrace: debug\n"}},
		{true, false, []string{"wstrace: debug\n", "wstrace: info\n", "wstrace: hint: --insecure trusts any server\n"}},
	} {
		var b strings.Builder
		log := slog.New(&console{w: &b, quiet: test.quiet, verbose: test.verbose})
		log.Debug("debug")
		log.Info("info", "ignored", 1)
		log.Warn("warn", proxy.ReasonKey, proxy.ReasonInvalidCertificate)
		log.Error("error\nsecond line", proxy.ReasonKey, proxy.ReasonInvalidCertificate) // its remedy was told
		log.Error("a\x1b[2J\u0085\xff")
		want := everything
		for _, line := range test.without {
			want = strings.Replace(want, line, "", 1)
		}
		if got := b.String(); got != want {
			t.Errorf("quiet %v, verbose %v: got %q, want %q", test.quiet, test.verbose, got, want)
		}
	}
}

func TestExitStatus(t *testing.T) {
	for _, test := range []struct {
		err  error
		want int
	}{
		{nil, 0},
		{usagef("no"), 2},
		{fmt.Errorf("more: %w", usageError{hinted{errors.New("no"), "yes"}}), 2},
		{errors.New("no"), 3},
		{errReported, 3},
		{failed("show", "a.png", &source.UnknownError{}), 2},
		{reported(&source.UnknownError{}), 2},
		{reported(errors.New("no")), 3},
	} {
		if got := exitStatus(test.err); got != test.want {
			t.Errorf("%v: got %d, want %d", test.err, got, test.want)
		}
	}
}
