package trust

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/pem"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
)

// Where systems keep their roots: the first of these files that has any, or else the
// directories. They are those of crypto/x509.
var (
	systemFiles = []string{
		"/etc/ssl/certs/ca-certificates.crt",                // Debian, Gentoo, Arch
		"/etc/pki/tls/certs/ca-bundle.crt",                  // Fedora
		"/etc/ssl/ca-bundle.pem",                            // openSUSE
		"/etc/pki/tls/cacert.pem",                           // OpenELEC
		"/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem", // CentOS
		"/etc/ssl/cert.pem",                                 // Alpine, BSD, macOS
		"/usr/local/etc/ssl/cert.pem",                       // FreeBSD
		"/usr/local/share/certs/ca-root-nss.crt",            // DragonFly
		"/etc/openssl/certs/ca-certificates.crt",            // NetBSD
		"/etc/certs/ca-certificates.crt",                    // illumos
	}
	systemDirs = []string{
		"/etc/ssl/certs",
		"/etc/pki/tls/certs",
		"/etc/openssl/certs",
		"/system/etc/security/cacerts", // Android
	}
)

// Bounds on what others have written.
const (
	maxFile    = 16 << 20 // bytes
	maxEntries = 10_000   // of a directory
)

// roots are certificates in DER, each once.
type roots struct {
	certs [][]byte
	have  map[string]bool
}

func (r *roots) add(certs ...[]byte) {
	if r.have == nil {
		r.have = make(map[string]bool)
	}
	for _, cert := range certs {
		if !r.have[string(cert)] {
			r.have[string(cert)] = true
			r.certs = append(r.certs, cert)
		}
	}
}

// addSystem adds the roots of the system.
func (r *roots) addSystem() {
	if runtime.GOOS == "darwin" {
		out, _ := exec.Command("/usr/bin/security", "find-certificate", "-a", "-p",
			"/System/Library/Keychains/SystemRootCertificates.keychain", "/Library/Keychains/System.keychain").Output()
		r.addPEM(out)
	}
	for _, file := range systemFiles {
		if len(r.certs) > 0 {
			return
		}
		r.addFile(file)
	}
	for _, dir := range systemDirs {
		if len(r.certs) > 0 {
			return
		}
		r.addDir(dir)
	}
}

// addNamed adds what the value of a variable names: files and directories.
func (r *roots) addNamed(value string) {
	for _, name := range filepath.SplitList(value) {
		r.addDir(name)
	}
	r.addFile(value)
}

func (r *roots) addDir(dir string) {
	for _, name := range entries(dir) {
		r.addFile(filepath.Join(dir, name))
	}
}

// entries returns the names in a directory, up to a bound; none if it is none.
func entries(dir string) []string {
	f, err := os.Open(dir)
	if err != nil {
		return nil
	}
	defer f.Close()
	names, _ := f.Readdirnames(maxEntries)
	return names
}

// addFile adds the certificates in a file. It does not read what is no regular file:
// a pipe would block.
func (r *roots) addFile(name string) {
	if info, err := os.Stat(name); err != nil || !info.Mode().IsRegular() {
		return
	}
	f, err := os.Open(name)
	if err != nil {
		return
	}
	defer f.Close()
	b, _ := io.ReadAll(io.LimitReader(f, maxFile))
	r.addPEM(b)
}

// addPEM adds the certificates in b, also those that Go does not understand: the
// program may.
func (r *roots) addPEM(b []byte) {
	for {
		var block *pem.Block
		if block, b = pem.Decode(b); block == nil {
			return
		}
		var whole asn1.RawValue
		err := unmarshal(block.Bytes, &whole)
		if block.Type == "CERTIFICATE" && len(block.Headers) == 0 && err == nil && whole.Tag == asn1.TagSequence {
			r.add(block.Bytes)
		}
	}
}

func (r *roots) pem() []byte {
	var b bytes.Buffer
	for _, cert := range r.certs {
		b.Write(pemOf(cert))
	}
	return b.Bytes()
}

func pemOf(cert []byte) []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert})
}

// parsed returns the certificates that Go understands.
func (r *roots) parsed() []*x509.Certificate {
	var certs []*x509.Certificate
	for _, der := range r.certs {
		if cert, err := x509.ParseCertificate(der); err == nil {
			certs = append(certs, cert)
		}
	}
	return certs
}
