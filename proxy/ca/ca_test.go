package ca

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

func TestLoadMakesOneAuthority(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new", "folder")
	a, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.Certificate().Raw, b.Certificate().Raw) {
		t.Error("the second Load made another authority")
	}
	info, err := os.Stat(filepath.Join(dir, KeyFile))
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("got mode %v, %v, want 0600", info.Mode(), err)
	}
	c, err := New(dir)
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Equal(a.Certificate().Raw, c.Certificate().Raw) {
		t.Error("New kept the old authority")
	}
	old := Old(dir)
	if len(old) != 1 {
		t.Fatalf("got old certificates %q, want 1", old)
	}
	if cert, err := readCert(old[0]); err != nil || !cert.Equal(a.Certificate()) {
		t.Errorf("got %v in %s, want the one before", err, old[0])
	}
}

func TestOpenMakesNone(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	a, err := Open(dir)
	if err != nil || a.Certificate() != nil {
		t.Fatalf("got %v, %v, want an authority that is not made", a.Certificate(), err)
	}
	if _, err := os.Stat(dir); err == nil {
		t.Error("the folder was made before it was needed")
	}
	if _, err := a.Leaf("localhost"); err != nil {
		t.Fatal(err)
	}
	b, err := Open(dir)
	if err != nil || !b.Certificate().Equal(a.Certificate()) {
		t.Errorf("got %v, want the authority that was made for the first leaf", err)
	}
}

// TestLoadAtOnce has processes that start at the same time.
func TestLoadAtOnce(t *testing.T) {
	for range 20 {
		dir := t.TempDir()
		const n = 8
		loaded := make(chan *Authority, n)
		for range n {
			go func() {
				a, err := Load(dir)
				if err != nil {
					t.Error(err)
				}
				loaded <- a
			}()
		}
		first := <-loaded
		for range n - 1 {
			if a := <-loaded; !a.Certificate().Equal(first.Certificate()) || !a.key.Equal(first.key) {
				t.Fatal("got two authorities, want one")
			}
		}
	}
}

// TestLoadMends has an authority that was made by halves.
func TestLoadMends(t *testing.T) {
	dir := t.TempDir()
	a, err := Load(dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(dir, CertFile)); err != nil {
		t.Fatal(err)
	}
	b, err := Load(dir)
	if err != nil || !b.key.Equal(a.key) {
		t.Errorf("got %v, want another certificate for the same key", err)
	}
}

func TestLoadRefuses(t *testing.T) {
	tests := []struct {
		name   string
		damage func(dir string) error
		want   string
	}{
		{"a key that others can read", func(dir string) error {
			return os.Chmod(filepath.Join(dir, KeyFile), 0o640)
		}, "can be read by others (mode 0640, must be 0600)"},
		{"a missing key", func(dir string) error {
			return os.Remove(filepath.Join(dir, KeyFile))
		}, "has a certificate and no key"},
		{"a garbled key", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, KeyFile), []byte("garbage"), 0o600)
		}, `ca-key.pem": no PRIVATE KEY in PEM`},
		{"a certificate of no authority", func(dir string) error {
			a, err := Load(dir)
			if err != nil {
				return err
			}
			leaf, err := a.Leaf("localhost")
			if err != nil {
				return err
			}
			return writeFile(filepath.Join(dir, CertFile), 0o644, "CERTIFICATE", leaf.Certificate[0], os.Rename)
		}, "is not a certificate authority"},
		{"a key of another authority", func(dir string) error {
			other := t.TempDir()
			if _, err := New(other); err != nil {
				return err
			}
			return os.Rename(filepath.Join(other, KeyFile), filepath.Join(dir, KeyFile))
		}, "does not match"},
		{"garbage", func(dir string) error {
			return os.WriteFile(filepath.Join(dir, CertFile), []byte("garbage"), 0o644)
		}, "PEM"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			if _, err := New(dir); err != nil {
				t.Fatal(err)
			}
			if err := tt.damage(dir); err != nil {
				t.Fatal(err)
			}
			if _, err := Load(dir); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestLeaf lets a real client verify a leaf by nothing but the authority.
func TestLeaf(t *testing.T) {
	a, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	for _, name := range []string{"example.com", "EXAMPLE.com.", "127.0.0.1", "::1", "localhost", "a-" + strings.Repeat("b.", 40) + "example"} {
		t.Run(name, func(t *testing.T) {
			leaf, err := a.Leaf(name)
			if err != nil {
				t.Fatal(err)
			}
			if again, _ := a.Leaf(name); again != leaf {
				t.Error("the leaf is not cached")
			}
			client, server := net.Pipe()
			go func() {
				s := tls.Server(server, &tls.Config{Certificates: []tls.Certificate{*leaf}})
				io.WriteString(s, "hello")
				s.Close()
			}()
			c := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: strings.TrimSuffix(name, ".")})
			got, err := io.ReadAll(c)
			if string(got) != "hello" || err != nil {
				t.Errorf("got %q, %v, want a connection that is trusted", got, err)
			}
			if n := len(c.ConnectionState().PeerCertificates); n != 2 {
				t.Errorf("got %d certificates, want leaf and authority", n)
			}
			if err := c.ConnectionState().PeerCertificates[0].VerifyHostname("other.example"); err == nil {
				t.Error("the leaf is valid for another name")
			}
		})
	}
}

// TestLoopbackLeaf has one certificate for all names of this machine, and an
// address that is not among them.
func TestLoopbackLeaf(t *testing.T) {
	a, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"localhost", "127.0.0.1", "::1"}
	for _, name := range append(names, "LOCALHOST.", "[::1]", "127.0.0.2") {
		leaf, err := a.Leaf(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, other := range names {
			if err := leaf.Leaf.VerifyHostname(other); (err == nil) != (name != "127.0.0.2") {
				t.Errorf("the certificate for %s: as %s: got %v", name, other, err)
			}
		}
	}
}

// TestRSALeaf has clients that take no server with an ECDSA key.
func TestRSALeaf(t *testing.T) {
	a, err := Load(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.RSALeaf("example.com")
	if err != nil {
		t.Fatal(err)
	}
	if again, _ := a.RSALeaf("example.com"); again != leaf {
		t.Error("the leaf is not cached")
	}
	if other, _ := a.Leaf("example.com"); other == leaf {
		t.Error("all clients get the leaf with an RSA key")
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	for _, suite := range []uint16{tls.TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256, tls.TLS_RSA_WITH_AES_128_GCM_SHA256} {
		client, server := net.Pipe()
		suites := []uint16{suite}
		go tls.Server(server, &tls.Config{Certificates: []tls.Certificate{*leaf}, CipherSuites: suites}).Handshake()
		c := tls.Client(client, &tls.Config{RootCAs: roots, ServerName: "example.com", CipherSuites: suites, MaxVersion: tls.VersionTLS12})
		if err := c.Handshake(); err != nil {
			t.Errorf("%s: %v", tls.CipherSuiteName(suite), err)
		}
	}
}

// TestOthersCanWrite checks that a folder in which others could put a key of theirs
// is not used, nor one made in it.
func TestOthersCanWrite(t *testing.T) {
	if runtime.GOOS == "windows" {
		t.Skip("access is not in the mode")
	}
	dir := t.TempDir()
	for _, mode := range []os.FileMode{0o777, 0o775, 0o757 | os.ModeSticky} {
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
		for name, f := range map[string]func(string) (*Authority, error){"Open": Open, "Load": Load, "New": New} {
			_, err := f(dir)
			var access *AccessError
			if !errors.As(err, &access) || access.Name != dir || !access.Dir {
				t.Errorf("%s with mode %v: got %v, want an AccessError about the folder", name, mode, err)
			}
		}
	}
	os.Chmod(dir, 0o755)
	a, err := Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	os.Chmod(dir, 0o777)
	if _, err := a.Leaf("h"); err == nil {
		t.Error("an authority is made in a folder that others can write to since")
	}
	if files, _ := os.ReadDir(dir); len(files) != 0 {
		t.Errorf("there is %v in the folder", files)
	}
	os.Chmod(dir, 0o755)
	if _, err := a.Leaf("h"); err != nil {
		t.Error(err)
	}

	// A key that was readable is replaced by New.
	os.Chmod(filepath.Join(dir, KeyFile), 0o644)
	if _, err := Open(dir); err == nil {
		t.Error("a key that others can read is used")
	}
	if _, err := New(dir); err != nil {
		t.Error(err)
	}
}
