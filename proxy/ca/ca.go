// Package ca is the certificate authority that lets wstrace look into TLS. It
// is made on first use and lives in two files, ca.pem and ca-key.pem; it mints
// a certificate for each server that a client asks for.
package ca

import (
	"cmp"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// The files in the folder of an authority.
const (
	CertFile = "ca.pem"
	KeyFile  = "ca-key.pem"
)

const (
	caLife    = 10 * 365 * 24 * time.Hour
	leafLife  = 90 * 24 * time.Hour
	backdate  = 24 * time.Hour // for clients whose clock is behind
	renewal   = 24 * time.Hour // a leaf is not used in its last day
	maxLeaves = 4096           // in the cache
)

// An Authority signs certificates for servers. It is safe for use by several
// goroutines.
type Authority struct {
	dir string

	mu     sync.Mutex
	cert   *x509.Certificate // nil if the authority has not been made; protected by mu
	key    *ecdsa.PrivateKey
	leaf   *ecdsa.PrivateKey           // the key of leaves; never leaves the process
	rsa    *rsa.PrivateKey             // that of the others; nil until one is asked for; protected by mu
	leaves map[leafID]*tls.Certificate // protected by mu
}

// A leafID tells the leaves of an authority apart.
type leafID struct {
	name string
	rsa  bool
}

// DefaultDir returns the folder for the authority of the present user.
func DefaultDir() (string, error) {
	dir, err := os.UserConfigDir()
	if err != nil {
		return "", err
	}
	return filepath.Join(dir, "wstrace"), nil
}

// Open returns the authority in dir. If there is none it is made when the first
// leaf is asked for. A folder that others can write to, or a key that they can
// read, is an [*AccessError].
func Open(dir string) (*Authority, error) {
	a := &Authority{dir: dir, leaves: make(map[leafID]*tls.Certificate)}
	if err := a.load(); err != nil && err != errNone {
		return nil, err
	}
	return a, nil
}

// Load returns the authority in dir, and makes it if there is none.
func Load(dir string) (*Authority, error) {
	a, err := Open(dir)
	if err != nil {
		return nil, err
	}
	return a, a.make()
}

// New makes a new authority in dir. The certificate of the one that may be
// there is kept, for those who have to remove it from where it is trusted; see
// [Old].
func New(dir string) (*Authority, error) {
	key, cert, err := generate(nil)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(os.MkdirAll(dir, 0o700), checkDir(dir)); err != nil {
		return nil, err
	}
	file := filepath.Join(dir, CertFile)
	if old, err := readCert(file); err == nil {
		if err := os.Rename(file, filepath.Join(dir, fmt.Sprintf("ca-old-%x.pem", old.SerialNumber))); err != nil {
			return nil, err
		}
	}
	// The key first: without its certificate it gets one, but not the other way
	// round.
	if err := writeKey(dir, key, os.Rename); err != nil {
		return nil, err
	}
	if err := writeFile(file, 0o600, "CERTIFICATE", cert, os.Rename); err != nil {
		return nil, err
	}
	return Load(dir)
}

// Old returns the files with the certificates of authorities that New has
// replaced in dir.
func Old(dir string) []string {
	files, _ := filepath.Glob(filepath.Join(dir, "ca-old-*.pem"))
	return files
}

// errNone says that there is no authority, or not all of it.
var errNone = errors.New("no certificate authority")

// load reads the authority.
func (a *Authority) load() error {
	if err := checkAccess(a.dir); err != nil {
		return err
	}
	cert, certErr := readCert(filepath.Join(a.dir, CertFile)) // which is made last
	key, err := readKey(a.dir)
	switch {
	case errors.Is(err, fs.ErrNotExist) && certErr == nil:
		return fmt.Errorf("certificate authority %q has a certificate and no key", a.dir)
	case errors.Is(err, fs.ErrNotExist) || err == nil && errors.Is(certErr, fs.ErrNotExist):
		return errNone
	case err != nil:
		return err
	case certErr != nil:
		return certErr
	case !cert.IsCA:
		return fmt.Errorf("certificate authority %q: %s is not a certificate authority", a.dir, CertFile)
	case !key.PublicKey.Equal(cert.PublicKey):
		return fmt.Errorf("certificate authority %q: the key does not match the certificate", a.dir)
	case time.Now().After(cert.NotAfter):
		return fmt.Errorf("certificate authority %q expired on %s", a.dir, cert.NotAfter.Format(time.DateOnly))
	}
	if a.leaf, err = newKey(); err != nil {
		return err
	}
	a.cert, a.key = cert, key
	return nil
}

// make makes the authority if there is none. If another process does so at the
// same time, both have the one that was first.
func (a *Authority) make() error {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.cert != nil {
		return nil
	}
	if err := cmp.Or(os.MkdirAll(a.dir, 0o700), checkAccess(a.dir)); err != nil {
		return err
	}
	key, err := readKey(a.dir)
	if errors.Is(err, fs.ErrNotExist) {
		if key, err = newKey(); err == nil {
			err = writeKey(a.dir, key, os.Link)
		}
		if errors.Is(err, fs.ErrExist) {
			key, err = readKey(a.dir)
		}
	}
	if err != nil {
		return err
	}
	_, cert, err := generate(key)
	if err != nil {
		return err
	}
	err = writeFile(filepath.Join(a.dir, CertFile), 0o600, "CERTIFICATE", cert, os.Link)
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return a.load()
}

// generate returns the certificate of a new authority in DER, and its key,
// which is made if it is nil.
func generate(key *ecdsa.PrivateKey) (*ecdsa.PrivateKey, []byte, error) {
	var err error
	if key == nil {
		if key, err = newKey(); err != nil {
			return nil, nil, err
		}
	}
	host, _ := os.Hostname()
	now := time.Now()
	spki, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return nil, nil, err
	}
	id := sha256.Sum256(spki)
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject: pkix.Name{
			Organization: []string{"wstrace"},
			CommonName:   strings.TrimSpace("wstrace CA " + host + " " + now.Format("2006-01-02 15.04.05")),
		},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(caLife),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
		SubjectKeyId:          id[:20],
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	return key, der, err
}

func newKey() (*ecdsa.PrivateKey, error) { return ecdsa.GenerateKey(elliptic.P256(), rand.Reader) }

func readCert(file string) (*x509.Certificate, error) {
	der, err := readFile(file, "CERTIFICATE")
	if err != nil {
		return nil, err
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", file, err)
	}
	return cert, nil
}

func readKey(dir string) (*ecdsa.PrivateKey, error) {
	file := filepath.Join(dir, KeyFile)
	der, err := readFile(file, "PRIVATE KEY")
	if err != nil {
		return nil, err
	}
	key, err := x509.ParsePKCS8PrivateKey(der)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", file, err)
	}
	ec, ok := key.(*ecdsa.PrivateKey)
	if !ok {
		return nil, fmt.Errorf("%q: not an ECDSA key", file)
	}
	return ec, nil
}

func writeKey(dir string, key *ecdsa.PrivateKey, put func(from, to string) error) error {
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, KeyFile), 0o600, "PRIVATE KEY", der, put)
}

func readFile(file, kind string) ([]byte, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(b)
	if block == nil || block.Type != kind {
		return nil, fmt.Errorf("%q: no %s in PEM", file, kind)
	}
	return block.Bytes, nil
}

// writeFile writes a PEM file so that there is always a whole one, and never
// one with another mode: put, which is os.Rename, or os.Link where an old file
// is to stay, brings it into place.
func writeFile(name string, mode os.FileMode, kind string, der []byte, put func(from, to string) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".*.pem") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Chmod(mode), f.Close())
	if err != nil {
		return err
	}
	return put(f.Name(), name)
}

func serial() *big.Int {
	n, _ := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 127))
	return n.Add(n, big.NewInt(1))
}

// Certificate returns the authority's own certificate, or nil if it has not
// been made yet.
func (a *Authority) Certificate() *x509.Certificate {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.cert
}

// Leaf returns a certificate for the server called name, a host name or an IP
// address, with the authority's own behind it. It is minted when it is asked
// for first. One for this machine, by its loopback name or an address, is for
// localhost and both addresses.
func (a *Authority) Leaf(name string) (*tls.Certificate, error) { return a.get(name, false) }

// RSALeaf is like Leaf, for a client that does not take a server with an ECDSA
// key. It still has to take the signature of the authority, which is ECDSA.
func (a *Authority) RSALeaf(name string) (*tls.Certificate, error) { return a.get(name, true) }

// LeafFor returns a certificate for the server called name that the client with this
// hello takes: one with an ECDSA key if it can.
func (a *Authority) LeafFor(name string, hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	leaf, err := a.Leaf(name)
	if err != nil {
		return nil, err
	}
	keys := *hello
	keys.ServerName = "" // the name is ours to choose
	if keys.SupportsCertificate(leaf) == nil {
		return leaf, nil
	}
	other, err := a.RSALeaf(name)
	if err != nil || keys.SupportsCertificate(other) != nil {
		return leaf, nil
	}
	return other, nil
}

func (a *Authority) get(name string, isRSA bool) (*tls.Certificate, error) {
	if err := a.make(); err != nil {
		return nil, err
	}
	id := leafID{strings.ToLower(strings.TrimSuffix(strings.Trim(name, "[]"), ".")), isRSA}
	now := time.Now()
	a.mu.Lock()
	defer a.mu.Unlock()
	if c := a.leaves[id]; c != nil && now.Add(renewal).Before(c.Leaf.NotAfter) {
		return c, nil
	}
	c, err := a.mint(id, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for %q: %w", id.name, err)
	}
	if len(a.leaves) >= maxLeaves {
		clear(a.leaves)
	}
	a.leaves[id] = c
	return c, nil
}

// rsaBits is the length of the RSA key, which the oldest clients take too.
const rsaBits = 2048

func (a *Authority) mint(id leafID, now time.Time) (_ *tls.Certificate, err error) {
	var key crypto.Signer = a.leaf
	usage := x509.KeyUsageDigitalSignature
	if id.rsa {
		if a.rsa == nil {
			if a.rsa, err = rsa.GenerateKey(rand.Reader, rsaBits); err != nil {
				return nil, err
			}
		}
		key, usage = a.rsa, usage|x509.KeyUsageKeyEncipherment // for RSA key exchange (RFC 5246 §7.4.2)
	}
	template := &x509.Certificate{
		SerialNumber: serial(),
		Subject:      pkix.Name{Organization: []string{"wstrace"}},
		NotBefore:    now.Add(-backdate),
		NotAfter:     now.Add(leafLife),
		KeyUsage:     usage,
		ExtKeyUsage:  []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if template.NotAfter.After(a.cert.NotAfter) {
		template.NotAfter = a.cert.NotAfter
	}
	template.DNSNames, template.IPAddresses = alternatives(id.name)
	if len(id.name) <= 64 { // the upper bound of a common name (RFC 5280 A.1)
		template.Subject.CommonName = id.name
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.cert, key.Public(), a.key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, a.cert.Raw}, PrivateKey: key, Leaf: leaf}, nil
}

// alternatives returns what a certificate for the server called name is for: a
// client may connect to this machine by one of its names and verify another.
func alternatives(name string) (names []string, ips []net.IP) {
	ip := net.ParseIP(name)
	loopback := []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback}
	switch {
	case name == "localhost", slices.ContainsFunc(loopback, ip.Equal):
		return []string{"localhost"}, loopback
	case ip != nil:
		return nil, []net.IP{ip}
	}
	return []string{name}, nil
}
