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
