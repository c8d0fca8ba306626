package proxy

import (
	"net/url"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// What is edited on the way is edited with the lines that continue it, and
// nothing else is.
func TestRouteFolded(t *testing.T) {
	const head = "GET http://h:8/a?b HTTP/1.1\nhost :  h:8\n\t\nProxy-Authorization: Basic\n  c2VjcmV0\nX:\ta\n b\n\n"
	h, err := decode.ParseRequest(head)
	if err != nil {
		t.Fatal(err)
	}
	r, err := new(Proxy).forward(h)
	if want := "GET /a?b HTTP/1.1\nhost :  h:8\n\t\nX:\ta\n b\n\n"; err != nil || r.sent.Raw != want || r.addr != "h:8" {
		t.Errorf("forward: got %q to %s, %v, want %q", r.sent.Raw, r.addr, err, want)
	}
	p := &Proxy{Upstream: &url.URL{Scheme: "ws", Host: "origin:9"}}
	want := "GET http://h:8/a?b HTTP/1.1\nhost :  origin:9\n\t\nProxy-Authorization: Basic\n  c2VjcmV0\nX:\ta\n b\n\n"
	if r := p.reverse(h); r.sent.Raw != want {
		t.Errorf("reverse: got %q, want %q", r.sent.Raw, want)
	}
	p.Upstream.Host = "h:8"
	if r := p.reverse(h); r.sent != nil {
		t.Errorf("reverse to the same host: got %q, want no edit", r.sent.Raw)
	}
}

// TestRouteHost has the Host that is generated from a target.
func TestRouteHost(t *testing.T) {
	for _, tt := range []struct{ target, lines, want string }{
		{"http://h:8/", "X: a\r\n", "X: a\r\nHost: h:8\r\n"},
		{"http://h:8/", "Host: other\r\nX: a\r\n", "Host: h:8\r\nX: a\r\n"},
		{"http://h:8/", "Host: h:8\r\nHost: other\r\n", "Host: h:8\r\n"},
		{"http://h:8/", "Host:\r\n", "Host:h:8\r\n"},
		{"http://h:8/", "hOST:\tH:8\r\n", "hOST:\tH:8\r\n"},
		{"http://h/", "Host: h:80\r\n", "Host: h:80\r\n"},
		{"http://h:80/", "Host: h\r\n", "Host: h\r\n"},
		{"ws://h/", "Host: h:443\r\n", "Host: h\r\n"},
		{"http://user:pass@h/", "", "Host: h\r\n"},
		{"http://[::1]:8/", "Host: localhost\r\n", "Host: [::1]:8\r\n"},
	} {
		h, err := decode.ParseRequest("GET " + tt.target + " HTTP/1.1\r\n" + tt.lines + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		r, err := new(Proxy).forward(h)
		if want := "GET / HTTP/1.1\r\n" + tt.want + "\r\n"; err != nil || r.sent.Raw != want {
			t.Errorf("%s with %q: got %q, %v, want %q", tt.target, tt.lines, r.sent.Raw, err, want)
		}
		r, err = (&Proxy{KeepHost: true}).forward(h)
		if want := "GET / HTTP/1.1\r\n" + tt.lines + "\r\n"; err != nil || r.sent.Raw != want {
			t.Errorf("%s with %q, kept: got %q, %v, want %q", tt.target, tt.lines, r.sent.Raw, err, want)
		}
	}
}

// TestRouteH2C takes out what is between a client and its next hop, in both modes,
// and nothing else.
func TestRouteH2C(t *testing.T) {
	const websocket = "Upgrade: websocket\r\nConnection: Upgrade\r\n"
	for lines, want := range map[string]string{
		"Connection: Upgrade, HTTP2-Settings\r\nContent-Length: 0\r\nHTTP2-Settings: AAEAAEAAAAIAAAABAAMAAABkAAQBAAAAAAUAAEAA\r\nUpgrade: h2c\r\n": "Content-Length: 0\r\n",
		"connection: keep-alive,Upgrade,HTTP2-Settings\r\nUPGRADE: H2C\r\nhttp2-settings:\r\n":                                                     "connection: keep-alive\r\n",
		"Connection: HTTP2-Settings\r\nConnection: Upgrade\r\nUpgrade: h2c\r\nX: a\r\n":                                                            "X: a\r\n",
		"Upgrade: h2c\r\n": "",
		"Connection: HTTP2-Settings,\r\n keep-alive\r\nHTTP2-Settings: A\r\n b\r\n": "Connection: keep-alive\r\n",
		"Connection: Upgrade\r\nUpgrade: h2c, websocket\r\n":                        "Connection: Upgrade\r\nUpgrade: websocket\r\n",
		"Connection: Upgrade\r\nUpgrade: TLS/1.0 ,h2c, IRC/6.9\r\n":                 "Connection: Upgrade\r\nUpgrade: TLS/1.0 , IRC/6.9\r\n",
		websocket: websocket,
		"Upgrade: h2\r\nConnection:  upgrade ,close\r\n":       "Upgrade: h2\r\nConnection:  upgrade ,close\r\n",
		"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n": "Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\n",
		"Upgrade:\r\nConnection: close\r\n":                    "Upgrade:\r\nConnection: close\r\n",
	} {
		const host = "Host: h\r\n"
		reverse := &Proxy{Upstream: &url.URL{Scheme: "ws", Host: "h"}}
		h, err := decode.ParseRequest("GET /a HTTP/1.1\r\n" + lines + host + "\r\n")
		if err != nil {
			t.Fatal(err)
		}
		sent := h
		if r := reverse.reverse(h); r.sent != nil {
			sent = r.sent
		}
		if sent.Raw != "GET /a HTTP/1.1\r\n"+want+host+"\r\n" || sent != h && lines == want {
			t.Errorf("reverse: %q: got %q, want %q", lines, sent.Raw, want)
		}
		r, err := new(Proxy).forward(h.WithTarget("http://h/a"))
		if err != nil || r.sent.Raw != "GET /a HTTP/1.1\r\n"+want+host+"\r\n" {
			t.Errorf("forward: %q: got %q, %v, want %q", lines, r.sent.Raw, err, want)
		}
	}
}
