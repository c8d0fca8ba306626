package trust_test

import (
	"bytes"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/trust"
	"github.com/wstrace/wstrace/proxy/ca"
)

// Variables that make this program something else than a test.
const (
	getURL = "WSTRACE_TEST_GET"  // a client that gets this URL
	hold   = "WSTRACE_TEST_HOLD" // a process that has a Dir until it is killed
)

func TestMain(m *testing.M) {
	switch {
	case os.Getenv(getURL) != "":
		resp, err := http.Get(os.Getenv(getURL))
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		io.Copy(os.Stdout, resp.Body)
	case os.Getenv(hold) != "":
		holdDir()
	default:
		os.Exit(m.Run())
	}
}

// newAuthority returns an authority of its own, and a certificate of it for localhost.
func newAuthority(t *testing.T) (*x509.Certificate, *tls.Certificate) {
	t.Helper()
	a, err := ca.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Leaf("localhost")
	if err != nil {
		t.Fatal(err)
	}
	return a.Certificate(), leaf
}

// newDir returns a Dir that is closed when the test has ended.
func newDir(t *testing.T, cert *x509.Certificate, env []string) *trust.Dir {
	t.Helper()
	d, err := trust.New(cert, env)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// writePEM writes a file, and returns its name.
func writePEM(t *testing.T, dir, name string, certs ...*x509.Certificate) string {
	t.Helper()
	var b []byte
	for _, cert := range certs {
		b = append(b, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})...)
	}
	name = filepath.Join(dir, name)
	if err := os.WriteFile(name, b, 0o600); err != nil {
		t.Fatal(err)
	}
	return name
}

func TestEnv(t *testing.T) {
	ours, _ := newAuthority(t)
	corporate, _ := newAuthority(t)
	other, _ := newAuthority(t)
	inDir, _ := newAuthority(t)
	dir, certs := t.TempDir(), t.TempDir()
	writePEM(t, certs, "any name", inDir)
	file := writePEM(t, dir, "corporate.pem", corporate, corporate)
	env := []string{
		"HOME=/h", "CURL_CA_BUNDLE=" + file, "PIP_CERT=" + writePEM(t, dir, "pip.pem", other),
		"SSL_CERT_DIR=" + certs + string(os.PathListSeparator) + filepath.Join(dir, "none"),
		"REQUESTS_CA_BUNDLE=" + filepath.Join(dir, "none"), "DENO_CERT=" + os.DevNull, "NODE_EXTRA_CA_CERTS=",
	}
	was := slices.Clone(env)
	d := newDir(t, ours, env)
	got := d.Env(env)
	if !slices.Equal(env, was) {
		t.Errorf("the environment was changed: %q", env)
	}
	if v := environ.Get(got, "HOME"); v != "/h" {
		t.Errorf("HOME is %q", v)
	}
	for _, name := range []string{"SSL_CERT_FILE", "CURL_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "WEBSOCKET_CLIENT_CA_BUNDLE",
		"NODE_EXTRA_CA_CERTS", "DENO_CERT", "GIT_SSL_CAINFO", "AWS_CA_BUNDLE", "MOJO_CA_FILE", "PIP_CERT"} {
		if v := environ.Get(got, name); v != d.Bundle() {
			t.Errorf("%s is %q, want %q", name, v, d.Bundle())
		}
	}
	if v := environ.Get(got, "CARGO_HTTP_CAINFO"); v != "" {
		t.Errorf("CARGO_HTTP_CAINFO was not set, and is %q", v)
	}

	bundle, err := os.ReadFile(d.Bundle())
	if err != nil {
		t.Fatal(err)
	}
	counts := make(map[string]int)
	for block, rest := pem.Decode(bundle); block != nil; block, rest = pem.Decode(rest) {
		counts[string(block.Bytes)]++
	}
	for name, cert := range map[string]*x509.Certificate{"ours": ours, "corporate": corporate, "other": other, "in a directory": inDir} {
		if n := counts[string(cert.Raw)]; n != 1 {
			t.Errorf("%s is %d times in the bundle, want once", name, n)
		}
		if given := slices.ContainsFunc(d.Roots(), cert.Equal); given != (name != "ours") {
			t.Errorf("%s is among the extra roots: %v", name, given)
		}
	}
	if len(counts) < 50 {
		t.Errorf("the bundle has %d certificates, want the system's too", len(counts))
	}
	sum := sha256.Sum256(ours.RawSubjectPublicKeyInfo)
	if got, want := d.SPKI(), base64.StdEncoding.EncodeToString(sum[:]); got != want {
		t.Errorf("SPKI: got %s, want %s", got, want)
	}
}

func TestJavaOptions(t *testing.T) {
	cert, _ := newAuthority(t)
	for _, tt := range []struct {
		name, value string
		want        string // what JAVA_TOOL_OPTIONS begins with
		ours        bool
	}{
		{"JAVA_TOOL_OPTIONS", "", "-Djavax.net.ssl.trustStore=", true},
		{"JAVA_TOOL_OPTIONS", "-Xmx1g", "-Xmx1g -Djavax.net.ssl.trustStore=", true},
		{"JAVA_TOOL_OPTIONS", "-Djavax.net.ssl.trustStore=/mine", "-Djavax.net.ssl.trustStore=/mine", false},
		{"JDK_JAVA_OPTIONS", "-Djavax.net.ssl.trustStore=/mine", "", false},
	} {
		env := []string{tt.name + "=" + tt.value}
		d := newDir(t, cert, env)
		got := environ.Get(d.Env(env), "JAVA_TOOL_OPTIONS")
		if !strings.HasPrefix(got, tt.want) || strings.Contains(got, d.Path()) != tt.ours {
			t.Errorf("%s=%s: JAVA_TOOL_OPTIONS is %s", tt.name, tt.value, got)
		}
	}
}

// TestBadFiles names what is no file of certificates, or not as Go reads one.
func TestBadFiles(t *testing.T) {
	cert, _ := newAuthority(t)
	odd := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte{0x30, 0x03, 0x02, 0x01, 0x00}}) // of a new kind
	dir := t.TempDir()
	for name, tt := range map[string]struct {
		content string
		kept    bool
	}{
		"empty":             {"", false},
		"noise":             {"\x00\xff-----BEGIN CERTIFICATE-----\nAAAA", false},
		"a key":             {string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: cert.Raw})), false},
		"no DER":            {string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: []byte("no")})), false},
		"beyond Go":         {string(odd), true},
		"cut off after one": {string(odd) + "-----BEGIN CERTIFICATE-----\nMII", true},
	} {
		file := filepath.Join(dir, name)
		if err := os.WriteFile(file, []byte(tt.content), 0o600); err != nil {
			t.Fatal(err)
		}
		d := newDir(t, cert, []string{"SSL_CERT_FILE=" + file})
		bundle, err := os.ReadFile(d.Bundle())
		if err != nil {
			t.Fatal(err)
		}
		if kept := bytes.Contains(bundle, odd); kept != tt.kept || len(d.Roots()) > 0 {
			t.Errorf("%s: kept %v, want %v, and there are %d extra roots", name, kept, tt.kept, len(d.Roots()))
		}
	}
}
