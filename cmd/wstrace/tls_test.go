package main

import "testing"

func TestHosts(t *testing.T) {
	var h hosts
	for _, s := range []string{"example.com", "*.Example.org.", "127.0.0.1", "[::1]"} {
		if err := h.Set(s); err != nil {
			t.Errorf("%s: %v", s, err)
		}
	}
	for _, s := range []string{"", "*.", "a*b", "https://example.com", "example.com:443", "example.com/", "user@example.com"} {
		if err := h.Set(s); err == nil {
			t.Errorf("%q: got no error", s)
		}
	}
	for host, want := range map[string]bool{
		"example.com": true, "EXAMPLE.com.": true, "www.example.com": false, "example.org": false,
		"www.example.org": true, "a.b.example.org": true, "badexample.org": false,
		"127.0.0.1": true, "127.0.0.2": false, "::1": true, "": false,
	} {
		if got := h.match(host); got != want {
			t.Errorf("%q: got %v, want %v", host, got, want)
		}
	}
	if h = nil; h.match("example.com") {
		t.Error("no hosts match a host")
	}
	if h.Set("*"); !h.match("example.com") || !h.match("::1") {
		t.Error("* does not match all hosts")
	}
}
