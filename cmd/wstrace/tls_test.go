package main

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"io"
	"math/big"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"testing"
)

// TestNegativeSerial has a server whose certificate has a negative number, which
// the runtime does not even read unless it is told to.
func TestNegativeSerial(t *testing.T) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(5)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	der = bytes.Replace(der, []byte{2, 1, 5}, []byte{2, 1, 0xfb}, 1)
	if _, err := x509.ParseCertificate(der); err == nil || !strings.Contains(err.Error(), "negative serial") {
		t.Fatalf("got %v, want the certificate refused", err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "hello\n") }))
	config := &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{der}, PrivateKey: key}}}
	server.Listener = tls.NewListener(server.Listener, config)
	server.Start()
	defer server.Close()
	for _, tt := range []struct {
		flag, want string
		status     int
	}{
		{"--insecure", "hello\n", 200},
		{"--keep-host", `certificate of upstream "` + server.Listener.Addr().String() + "\": negative serial number\n", 502},
	} {
		cmd := exec.Command("wstrace", "--ca-dir", t.TempDir(), "-l", "127.0.0.1:0", tt.flag, strings.Replace(server.URL, "http", "https", 1))
		line, err := start(t, cmd).ReadString('\n')
		if err != nil {
			t.Fatal(err)
		}
		res, err := http.Get("http://" + strings.TrimSpace(strings.TrimPrefix(line, "wstrace: listening on ")))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		res.Body.Close()
		if string(body) != tt.want || res.StatusCode != tt.status || err != nil {
			t.Errorf("%s: got %d %q, %v, want %d %q", tt.flag, res.StatusCode, body, err, tt.status, tt.want)
		}
	}
}

// TestSetRuntime leaves what the user has set.
func TestSetRuntime(t *testing.T) {
	for before, want := range map[string]string{"": "a=1", "b=2": "b=2,a=1", "a=0": "a=0", "b=2,a=0": "b=2,a=0", "aa=0": "aa=0,a=1"} {
		t.Setenv("GODEBUG", before)
		if setRuntime("a=1"); os.Getenv("GODEBUG") != want {
			t.Errorf("%q: got %q, want %q", before, os.Getenv("GODEBUG"), want)
		}
	}
}

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
