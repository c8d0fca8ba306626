package main

import (
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/proxy/ca"
)

// TestNSSStores has the stores that browsers have made, and where one is made.
func TestNSSStores(t *testing.T) {
	if runtime.GOOS != "linux" {
		t.Skip("the places are those of Linux")
	}
	for name, tt := range map[string]struct {
		data, config   string // XDG_DATA_HOME, XDG_CONFIG_HOME
		have           []string
		found, created []string
	}{
		"nothing":   {created: []string{".pki/nssdb"}},
		"old":       {have: []string{".pki/nssdb/cert9.db"}, found: []string{".pki/nssdb"}},
		"new":       {have: []string{".local/share/pki/nssdb/cert9.db"}, found: []string{".local/share/pki/nssdb"}},
		"elsewhere": {data: "/data", have: []string{"data/pki/nssdb/cert9.db"}, found: []string{"data/pki/nssdb"}},
		"relative":  {data: "data", have: []string{"data/pki/nssdb/cert9.db"}, created: []string{".pki/nssdb"}},
		"empty folder": {
			have:    []string{".pki/nssdb/", ".local/share/pki/nssdb/cert9.db"},
			found:   []string{".local/share/pki/nssdb"},
			created: []string{".pki/nssdb", ".local/share/pki/nssdb"},
		},
		"Firefox": {
			have:    []string{".mozilla/firefox/a/cert9.db", ".mozilla/firefox/b/", ".config/mozilla/firefox/c/cert9.db"},
			found:   []string{".mozilla/firefox/a", ".config/mozilla/firefox/c"},
			created: []string{".pki/nssdb", ".mozilla/firefox/a", ".config/mozilla/firefox/c"},
		},
		"Firefox elsewhere": {
			config:  "/config",
			have:    []string{"config/mozilla/firefox/a/cert9.db", "snap/firefox/common/.mozilla/firefox/b/cert9.db"},
			found:   []string{"config/mozilla/firefox/a", "snap/firefox/common/.mozilla/firefox/b"},
			created: []string{".pki/nssdb", "config/mozilla/firefox/a", "snap/firefox/common/.mozilla/firefox/b"},
		},
	} {
		if name != "nothing" && os.Getenv("SOAK") != "true" {
			continue // each takes some 15 s
		}
		home := t.TempDir()
		in := func(dir string) string {
			if strings.HasPrefix(dir, "/") {
				return home + dir
			}
			return dir
		}
		t.Setenv("XDG_DATA_HOME", in(tt.data))
		t.Setenv("XDG_CONFIG_HOME", in(tt.config))
		for _, file := range tt.have {
			dir, base := filepath.Split(home + "/" + file)
			if err := os.MkdirAll(dir, 0o700); err != nil {
				t.Fatal(err)
			}
			if base == "" {
				continue // a folder
			}
			if err := os.WriteFile(filepath.Join(dir, base), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		for _, create := range []bool{false, true} {
			want := tt.found
			if create && tt.created != nil {
				want = tt.created
			}
			var got []string
			for _, dir := range append(chromiumStores(home, create), firefoxProfiles(home)...) {
				got = append(got, strings.TrimPrefix(dir, home+"/"))
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s, create %v: got %q, want %q", name, create, got, want)
			}
		}
	}
}

// TestChromiumTrusts runs a Chromium that never ran before, once the authority is
// installed.
func TestChromiumTrusts(t *testing.T) {
	const chromium = "/usr/bin/chromium"
	for _, program := range []string{chromium, "certutil"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("CI") == "true" && runtime.GOOS == "linux" {
				t.Fatal(err)
			}
			t.Skip(err)
		}
	}
	authority := t.TempDir()
	a, err := ca.New(authority)
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Leaf("127.0.0.1")
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "this is the page") }))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	server.StartTLS()
	defer server.Close()
	for name, made := range map[string][]string{
		"nothing":      nil,
		"old store":    {".pki/nssdb"},
		"new store":    {".local/share/pki/nssdb"},
		"empty folder": {".pki/nssdb/", ".local/share/pki/nssdb"},
	} {
		home := t.TempDir()
		run := func(program string, args ...string) string {
			cmd := exec.Command(program, args...)
			cmd.Env = append(os.Environ(), "HOME="+home, "XDG_DATA_HOME=", "XDG_CONFIG_HOME=", "GORACE="+gorace)
			out, err := cmd.CombinedOutput()
			if err != nil {
				t.Fatalf("%s: %s %q: %v\n%s", name, program, args, err, out)
			}
			return string(out)
		}
		visit := func() bool {
			out := run(chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--no-proxy-server",
				"--disable-background-networking", "--disable-component-update", "--disable-sync", "--host-resolver-rules=MAP *.com ~NOTFOUND",
				"--user-data-dir="+filepath.Join(home, "profile"), "--dump-dom", server.URL)
			return strings.Contains(out, "this is the page")
		}
		for _, dir := range made {
			if err := os.MkdirAll(filepath.Join(home, dir), 0o700); err != nil {
				t.Fatal(err)
			}
			if !strings.HasSuffix(dir, "/") {
				run("certutil", "-N", "--empty-password", "-d", "sql:"+filepath.Join(home, dir))
			}
		}
		run("wstrace", "ca", "install", "nss", "--ca-dir", authority)
		if !visit() {
			t.Errorf("%s: Chromium does not trust the authority", name)
		}
		if run("wstrace", "ca", "uninstall", "nss", "--ca-dir", authority); made == nil && visit() {
			t.Errorf("%s: Chromium still trusts the authority", name)
		}
	}
}
