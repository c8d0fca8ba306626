package main

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"github.com/spf13/pflag"

	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/ca"
)

// serverFlags are the flags that say which servers are trusted, and who we are to them.
type serverFlags struct {
	upstreamCA string
	insecure   bool
	clientCert string
}

func (f *serverFlags) register(flags *pflag.FlagSet) {
	flags.StringVar(&f.upstreamCA, "upstream-ca", "", "also trust the certificate authorities in `FILE` (PEM)")
	flags.BoolVar(&f.insecure, "insecure", false, "do not verify the certificates of servers")
	flags.StringVar(&f.clientCert, "client-cert", "", "authenticate to servers with the certificate and key in `FILE` (PEM)")
}

// config returns what connections with servers use.
func (f *serverFlags) config() (_ *tls.Config, err error) {
	conf := &tls.Config{InsecureSkipVerify: f.insecure}
	if f.insecure {
		setRuntime("x509negativeserial=1") // without it such a certificate is not even read
	}
	if f.upstreamCA != "" {
		if conf.RootCAs, err = rootsWith(f.upstreamCA); err != nil {
			return nil, err
		}
	}
	if f.clientCert != "" {
		cert, err := tls.LoadX509KeyPair(f.clientCert, f.clientCert)
		if err != nil {
			return nil, failed("read", f.clientCert, trimTLS(err))
		}
		conf.Certificates = []tls.Certificate{cert}
	}
	return conf, nil
}

// tlsFlags are the flags that say which TLS is read and who is trusted.
type tlsFlags struct {
	serverFlags
	caDir  string
	keyLog string
	pass   hosts
	only   hosts // for plain connections, too
}

func (f *tlsFlags) register(flags *pflag.FlagSet) {
	f.serverFlags.register(flags)
	flags.Var(&f.pass, "pass", "relay TLS to `HOST`, such as *.example.com, without reading it; may be repeated")
	flags.Var(&f.only, "only", "look into and record connections with `HOST` alone, such as *.example.com; the others pass unread; may be repeated")
	registerCADir(flags, &f.caDir)
	flags.StringVar(&f.keyLog, "tls-keylog", "", "append TLS secrets to `FILE`, for Wireshark (default: $SSLKEYLOGFILE)")
}

func registerCADir(flags *pflag.FlagSet, dir *string) {
	flags.StringVar(dir, "ca-dir", "", "keep the certificate authority in `DIR` (default: wstrace in the user's configuration directory)")
}

// caDir returns the folder of our own authority.
func caDir(flag string) (string, error) {
	if flag != "" {
		return flag, nil
	}
	dir, err := ca.DefaultDir()
	if err != nil {
		return "", hinted{err, "--ca-dir DIR sets where the certificate authority is kept"}
	}
	return dir, nil
}

// addTo makes p do what the flags say. The caller closes the key log, if there
// is one.
func (f *tlsFlags) addTo(p *proxy.Proxy, con *console) (keyLog io.Closer, err error) {
	if !p.Strict {
		setRuntime("tlssha1=1") // signatures with SHA-1 in TLS 1.2
	}
	if p.UpstreamTLS, err = f.serverFlags.config(); err != nil {
		return nil, err
	}
	if len(f.only) > 0 {
		p.Only = f.only.match
	}
	if len(f.pass) > 0 {
		p.Pass = f.pass.match
	}
	if p.Authority, err = openAuthority(f.caDir); err != nil {
		con.fail(fmt.Errorf("TLS is relayed without reading it: %w", err))
	}
	return f.openKeyLog(p, con)
}

// setRuntime adds a setting to those of the Go runtime, unless the user has set
// it.
func setRuntime(setting string) {
	settings := os.Getenv("GODEBUG")
	if name, _, _ := strings.Cut(setting, "="); strings.Contains(","+settings, ","+name+"=") {
		return
	}
	os.Setenv("GODEBUG", strings.TrimPrefix(settings+","+setting, ","))
}

// openAuthority opens our own authority, or returns nil and why it can't be used.
func openAuthority(flag string) (*ca.Authority, error) {
	dir, err := caDir(flag)
	if err != nil {
		return nil, err
	}
	a, err := ca.Open(dir)
	if err != nil {
		return nil, caError(err)
	}
	return a, nil
}

// caError returns an error of package ca with its remedy.
func caError(err error) error {
	var access *ca.AccessError
	switch {
	case !errors.As(err, &access):
		return cause(err)
	case !access.Dir:
		return hinted{err, fmt.Sprintf("if nobody has read it, chmod 600 %s; else wstrace ca new replaces it", access.Name)}
	case access.Mode&0o022 != 0:
		return hinted{err, fmt.Sprintf("chmod go-w %s, if all in it is yours; --ca-dir DIR takes another", access.Name)}
	}
	return hinted{err, "--ca-dir DIR takes another"}
}

// openKeyLog opens the file for TLS secrets. If only the environment names it,
// it is no failure that it can't be opened.
func (f *tlsFlags) openKeyLog(p *proxy.Proxy, con *console) (io.Closer, error) {
	name := f.keyLog
	if name == "" {
		name = os.Getenv("SSLKEYLOGFILE")
	}
	if name == "" {
		return nil, nil
	}
	file, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		err = failed("create", name, err)
		if f.keyLog != "" {
			return nil, err
		}
		con.fail(err)
		return nil, nil
	}
	con.note("TLS secrets go to %q: whoever has them can read the traffic", name)
	p.KeyLog = &keyLog{Writer: file, onError: func(err error) { con.fail(failed("write", name, err)) }}
	return file, nil
}

// A keyLog is a Writer that never fails, so that the traffic goes on.
type keyLog struct {
	io.Writer
	onError func(error)
	once    sync.Once
}

func (k *keyLog) Write(b []byte) (int, error) {
	if _, err := k.Writer.Write(b); err != nil {
		k.once.Do(func() { k.onError(err) })
	}
	return len(b), nil
}

// rootsWith returns the authorities that the system trusts, and those in file.
func rootsWith(file string) (*x509.CertPool, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return nil, failed("read", file, err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(b) {
		return nil, failed("read", file, errors.New("no certificate in PEM"))
	}
	return roots, nil
}

func trimTLS(err error) error {
	if text, ok := strings.CutPrefix(err.Error(), "tls: "); ok {
		return errors.New(text)
	}
	return err
}

// hosts is the value of --pass: names and addresses, and patterns that begin
// with "*.".
type hosts []string

func (h *hosts) Type() string   { return "host" }
func (h *hosts) String() string { return "" }

func (h *hosts) Set(s string) error {
	name := strings.TrimPrefix(canonicalHost(s), "*.")
	if s != "*" && (name == "" || strings.ContainsAny(name, "*/@ ") || strings.Count(name, ":") == 1) {
		return errors.New("want a host such as example.com or *.example.com, without a port")
	}
	*h = append(*h, canonicalHost(s))
	return nil
}

// match reports whether a host is among h. A name below *.example.com may have
// any depth.
func (h hosts) match(host string) bool {
	host = canonicalHost(host)
	for _, p := range h {
		if p == host || p == "*" || strings.HasPrefix(p, "*.") && strings.HasSuffix(host, p[1:]) {
			return true
		}
	}
	return false
}

func canonicalHost(s string) string {
	return strings.ToLower(strings.TrimSuffix(strings.Trim(s, "[]"), "."))
}
