package main

import (
	"net"
	"testing"
)

func TestListen(t *testing.T) {
	for addr, v4 := range map[string]bool{"127.0.0.1:0": true, "0.0.0.0:0": true, "[::]:0": false, ":0": false} {
		l, err := listen(addr)
		if err != nil {
			t.Log(err) // there may be no IPv6
			continue
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		// Who listens on all of IPv6 shows so in the address.
		if got := l.Addr().(*net.TCPAddr).IP.To4() != nil; got != v4 {
			t.Errorf("%s listens on %v", addr, l.Addr())
		}
		if c, err := net.Dial("tcp", net.JoinHostPort("::1", port)); err == nil {
			c.Close()
			if v4 {
				t.Errorf("%s takes connections to ::1", addr)
			}
		}
		if c, err := net.Dial("tcp", net.JoinHostPort("127.0.0.1", port)); err != nil {
			t.Errorf("%s: %v", addr, err)
		} else {
			c.Close()
		}
		l.Close()
	}
}

// TestOriginInALabels has names that are not in ASCII.
func TestOriginInALabels(t *testing.T) {
	for in, want := range map[string]string{
		"ws://bücher.example/":         "xn--bcher-kva.example",
		"wss://BÜCHER.example:8443/":   "xn--bcher-kva.example:8443",
		"ws://b%C3%BCcher.example":     "xn--bcher-kva.example",
		"ws://例え。テスト":                  "xn--r8jz45g.xn--zckzah",
		"ws://xn--bcher-kva.example:1": "xn--bcher-kva.example:1",
		"ws://My_Host:80":              "My_Host:80",
		"ws://[::1]:8080":              "[::1]:8080",
	} {
		if u, err := parseOrigin(in); err != nil || u.Host != want {
			t.Errorf("%s: got %v, %v, want the host %s", in, u, err, want)
		}
	}
	if u, err := parseOrigin("ws://a\u2028b/"); err == nil {
		t.Errorf("got %s, want an error", u.Host)
	}
}
