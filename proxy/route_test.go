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
	r, err := forward(h)
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
