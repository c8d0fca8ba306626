// Package trust makes a command trust an authority of ours, by its environment
// alone: a temporary directory holds the system's roots, those that the user has
// added, and ours, in the forms that programs read, and variables name them.
package trust

import (
	"cmp"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"os"
	"path/filepath"
	"runtime"
	"slices"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
)

// The names in the directory.
const (
	bundleName = "bundle.pem"
	storeName  = "bundle.p12"
	certsName  = "certs"
)

// additive are the variables that name roots which a program adds to its own.
var additive = []string{"NODE_EXTRA_CA_CERTS", "DENO_CERT"}

// always are the variables that name all the roots of a program, and are set. Without
// them the program may take a list of its own.
var always = []string{
	"SSL_CERT_FILE", // OpenSSL, Go, Rust, Ruby, .NET
	"CURL_CA_BUNDLE",
	"REQUESTS_CA_BUNDLE",
	"WEBSOCKET_CLIENT_CA_BUNDLE",
	"HTTPLIB2_CA_CERTS",
	"GIT_SSL_CAINFO",
	"AWS_CA_BUNDLE",
	"MOJO_CA_FILE",
	"PERL_LWP_SSL_CA_FILE",
	"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
	"SYSTEM_CERTIFICATE_PATH", // Haskell
}

// ifSet are the variables that name all the roots of a program, and are replaced where
// the user has set them. Without them the program takes one of the others, or a
// setting of its own.
var ifSet = []string{
	"PIP_CERT",
	"CARGO_HTTP_CAINFO",
	"NIX_SSL_CERT_FILE",
	"NIX_GIT_SSL_CAINFO",
	"CLOUDSDK_CORE_CUSTOM_CA_CERTS_FILE",
	"JULIA_SSL_CA_ROOTS_PATH",
	"HEX_CACERTS_PATH",
	"BUNDLE_SSL_CA_CERT",
	"NPM_CONFIG_CAFILE", "npm_config_cafile",
}

// certDirVariable names directories in which OpenSSL, Go and others look besides the
// file. It is replaced where the user has set it, for the few that look there only.
const certDirVariable = "SSL_CERT_DIR"

// A Dir is a temporary directory with what makes a command trust an authority. It is
// used by one goroutine at a time.
type Dir struct {
	path  string
	lock  *os.File // the directory, locked; nil once it is closed
	ca    *x509.Certificate
	given []*x509.Certificate // that the environment names
	whole bool                // the bundle has the system's roots
}

// New makes the directory for a command that would have the environment env: it is to
// trust ca, what the system trusts, and what env makes programs trust already. Files
// that env names and that can't be read are left out. If ca is nil, there is nothing in it. New also removes the directories
// that were left behind, by processes of this user that were killed. The caller must
// call Close.
func New(ca *x509.Certificate, env []string) (*Dir, error) {
	removeStale()
	path, lock, err := makeDir()
	if err != nil {
		return nil, err
	}
	d := &Dir{path: path, lock: lock, ca: ca}
	if os.Geteuid() == 0 { // a program that gives up root still has to read it
		err = os.Chmod(path, 0o711)
	}
	if err = cmp.Or(err, d.fill(env)); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// fill writes the files.
func (d *Dir) fill(env []string) error {
	if d.ca == nil {
		return nil
	}
	var system, given roots
	system.addSystem()
	read := make(map[string]bool)
	for _, name := range slices.Concat([]string{certDirVariable}, additive, always, ifSet) {
		if value := environ.Get(env, name); value != "" && !read[value] {
			read[value] = true
			given.addNamed(value)
		}
	}
	d.whole = len(system.certs) > 0
	d.given = given.parsed()
	var all roots
	all.add(d.ca.Raw) // first, so that it is found soon
	all.add(system.certs...)
	all.add(given.certs...)
	if err := os.WriteFile(d.file(bundleName), all.pem(), 0o644); err != nil {
		return err
	}
	if !d.whole {
		return nil
	}
	if dirs := environ.Get(env, certDirVariable); dirs != "" {
		if err := d.fillCerts(filepath.SplitList(dirs)); err != nil {
			return err
		}
	}
	return writeStore(d.file(storeName), all.parsed())
}

func (d *Dir) file(name string) string { return filepath.Join(d.path, name) }

// Path returns the name of the directory, for other files that are to go with it.
func (d *Dir) Path() string { return d.path }

// Bundle returns the name of the file with all the roots (PEM).
func (d *Dir) Bundle() string { return d.file(bundleName) }

// Env returns a copy of env, the environment that New was given, with what makes the
// command trust the authority. Where the system's roots are not known, only what adds
// to a program's own roots is set.
func (d *Dir) Env(env []string) []string {
	if d.ca == nil {
		return env
	}
	names := slices.Clone(additive)
	if d.whole {
		names = append(names, always...)
		for _, name := range ifSet {
			if environ.Get(env, name) != "" {
				names = append(names, name)
			}
		}
	}
	for _, name := range names {
		env = environ.Set(env, name, d.Bundle())
	}
	if d.whole {
		env = d.javaEnv(env)
		if environ.Get(env, certDirVariable) != "" {
			env = environ.Set(env, certDirVariable, d.file(certsName))
		}
	}
	return env
}

// Roots returns the authorities that the command trusts by its environment, besides
// those of the system: what connects to a server in its place has to trust them too.
func (d *Dir) Roots() []*x509.Certificate { return d.given }

// SPKI returns the SHA-256 hash of the authority's public key in base64, as
// Chromium's --ignore-certificate-errors-spki-list takes it.
func (d *Dir) SPKI() string {
	sum := sha256.Sum256(d.ca.RawSubjectPublicKeyInfo)
	return base64.StdEncoding.EncodeToString(sum[:])
}

// Close removes the directory.
func (d *Dir) Close() error {
	if d.lock == nil {
		return nil
	}
	if runtime.GOOS == "windows" {
		d.lock.Close() // an open directory can't be removed there
	}
	err := os.RemoveAll(d.path)
	d.lock.Close()
	d.lock = nil
	return err
}
