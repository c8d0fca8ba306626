package main

import (
	"cmp"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"

	"github.com/smallstep/truststore"
	"github.com/spf13/cobra"

	"github.com/wstrace/wstrace/proxy/ca"
)

const caExample = `  wstrace ca install
        make this machine, and your browsers, trust the certificates of wstrace
  curl --cacert "$(wstrace ca path)" --proxy http://127.0.0.1:8080 https://example.com/
  NODE_EXTRA_CA_CERTS="$(wstrace ca path)" node program.js
        for programs with their own list of authorities`

func newCA(con *console) *cobra.Command {
	var dir string
	cmd := &cobra.Command{
		Use: "ca COMMAND", DisableFlagsInUseLine: true,
		Short: "Install or remove the certificate authority",
		Long: "To read TLS, wstrace presents clients with certificates that its own authority has signed. " +
			"The authority is created when it is first needed; its key never leaves this machine.",
		Example: caExample,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return unknownCommand(cmd, args[0])
			}
			return usagef("want a command: path, export, install, uninstall or new")
		},
		RunE: func(*cobra.Command, []string) error { return nil },
	}
	registerCADir(cmd.PersistentFlags(), &dir)
	sub := func(use, short string, run func(dir string, args []string) error) *cobra.Command {
		c := &cobra.Command{
			Use: use, Short: short, Args: noArgs, ValidArgsFunction: cobra.NoFileCompletions,
			RunE: func(_ *cobra.Command, args []string) error {
				dir, err := caDir(dir)
				if err != nil {
					return err
				}
				return run(dir, args)
			},
		}
		cmd.AddCommand(c)
		return c
	}
	sub("path", "Print the name of the certificate file", caPath)
	sub("export", "Print the certificate (PEM)", caExport)
	for _, c := range []*cobra.Command{
		sub("install [system] [nss] [java]", "Install the authority, so that clients trust it", func(dir string, args []string) error { return caInstall(con, dir, args) }),
		sub("uninstall [system] [nss] [java]", "Remove the authority from the trust stores", func(dir string, args []string) error { return caUninstall(con, dir, args) }),
	} {
		c.Args = storeArgs
		c.ValidArgsFunction = cobra.FixedCompletions([]string{"system", "nss", "java"}, cobra.ShellCompDirectiveNoFileComp)
		verb, _, _ := strings.Cut(c.Short, " ")
		c.Long = verb + " the authority in the trust stores of the system, of Firefox and Chromium (nss), and of Java: in those named, or in all that exist"
		if verb == "Install" {
			c.Long += ". Named, nss makes the store of Chromium if there is none, so that a headless one that never ran finds it"
		}
	}
	sub("new", "Create a new authority to replace the old one", func(dir string, _ []string) error { return caNew(con, dir) })
	return cmd
}

func caPath(dir string, _ []string) error {
	if _, err := ca.Load(dir); err != nil {
		return caError(err)
	}
	_, err := fmt.Println(filepath.Join(dir, ca.CertFile))
	return err
}

func caExport(dir string, _ []string) error {
	a, err := ca.Load(dir)
	if err != nil {
		return caError(err)
	}
	return pem.Encode(os.Stdout, &pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
}

func caNew(con *console, dir string) error {
	if _, err := ca.New(dir); err != nil {
		return caError(err)
	}
	con.note("created a new certificate authority in %q", dir)
	if len(ca.Old(dir)) > 0 {
		con.hint("where the old one was installed, run wstrace ca uninstall and wstrace ca install")
	}
	return nil
}

// A store is a list of authorities that programs trust. There may be more than one
// of a kind, in several places.
type store struct {
	name string // as an argument
	what string
	note string // what to do once it was changed
	// open finds the places. If create is set, it may find some that install makes.
	open func(create bool) ([]place, error)
}

// A place is where a store is.
type place struct {
	what string
	trust
}

// A trust is what can be made to trust an authority.
type trust interface {
	install(*x509.Certificate) error
	uninstall(*x509.Certificate) error
}

var stores = []store{
	{"system", "the system", "restart running programs", openSystem},
	{"nss", "Firefox and Chromium", "restart the browser if it is running", openNSS},
	{"java", "Java", "restart running programs", openJava},
}

// A libraryStore is one that package truststore changes.
type libraryStore struct {
	opts []truststore.Option
	left func(*x509.Certificate) error // removes what the package leaves
}

func (l libraryStore) install(cert *x509.Certificate) error {
	return truststore.Install(cert, l.opts...)
}

func (l libraryStore) uninstall(cert *x509.Certificate) error {
	err := truststore.Uninstall(cert, l.opts...)
	if err == nil && l.left != nil {
		err = l.left(cert)
	}
	return err
}

func openSystem(bool) ([]place, error) { return []place{{"the system", libraryStore{}}}, nil }

// openJava finds Java by JAVA_HOME, or else by the java that is run.
func openJava(bool) ([]place, error) {
	if os.Getenv("JAVA_HOME") == "" {
		java, err := exec.LookPath("java")
		if err == nil {
			java, err = filepath.EvalSymlinks(java)
		}
		if err != nil {
			return nil, errors.New("java is not installed, and JAVA_HOME is not set")
		}
		os.Setenv("JAVA_HOME", filepath.Dir(filepath.Dir(java)))
	}
	t, err := truststore.NewJavaTrust()
	if err != nil {
		return nil, fmt.Errorf("there is no keytool in %q", os.Getenv("JAVA_HOME"))
	}
	opts := []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(t)}
	return []place{{"Java", libraryStore{opts, forgetInJava}}}, nil
}

func storeArgs(_ *cobra.Command, args []string) error {
	for _, arg := range args {
		if !slices.ContainsFunc(stores, func(s store) bool { return s.name == arg }) {
			return usagef("unknown store %q, want system, nss or java", arg)
		}
	}
	return nil
}

func caInstall(con *console, dir string, names []string) error {
	a, err := ca.Load(dir)
	if err != nil {
		return caError(err)
	}
	if user := os.Getenv("SUDO_USER"); user != "" && user != "root" && runtime.GOOS != "windows" {
		con.hint("this is root's authority, in %q; without sudo, that of %s is used, and you are asked for a password where one is needed", dir, user)
	}
	err = eachPlace(con, names, "trusted", a.Certificate(), len(names) > 0, trust.install)
	if err == nil {
		con.hint("Node, Python and others have their own lists: set NODE_EXTRA_CA_CERTS or SSL_CERT_FILE to %s", filepath.Join(dir, ca.CertFile))
	}
	return err
}

func caUninstall(con *console, dir string, names []string) error {
	files := append(ca.Old(dir), filepath.Join(dir, ca.CertFile))
	for _, file := range files {
		cert, err := truststore.ReadCertificate(file)
		if errors.Is(err, fs.ErrNotExist) {
			con.note("there is no certificate authority in %q", dir)
			return nil
		}
		if err != nil {
			return failed("read", file, err)
		}
		if err := eachPlace(con, names, "no longer trusted", cert, false, trust.uninstall); err != nil {
			return err
		}
		if len(names) == 0 && file != files[len(files)-1] {
			os.Remove(file)
		}
	}
	return nil
}

// eachPlace changes the stores that are named, or all that exist, and says how
// that went in each place. If create is set, a store that is missing may be made.
func eachPlace(con *console, names []string, now string, cert *x509.Certificate, create bool, change func(trust, *x509.Certificate) error) error {
	var failure error
	for _, s := range stores {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		places, err := s.open(create)
		if err != nil && len(names) == 0 {
			con.note("%s: skipped, %v", s.what, err)
			continue
		}
		if err != nil {
			con.fail(fmt.Errorf("%s: %w", s.what, err))
			failure = errReported
		}
		for _, p := range places {
			if err := storeError(change(p, cert)); err != nil {
				con.fail(fmt.Errorf("%s: %w", p.what, err))
				failure = errReported
				continue
			}
			con.note("%q is %s by %s; %s", cert.Subject.CommonName, now, p.what, s.note)
		}
	}
	return failure
}

// storeError returns what the command that changes a store said last.
func storeError(err error) error {
	var cmd *truststore.CmdError
	if !errors.As(err, &cmd) {
		return err
	}
	err = commandError(cmd.Cmd(), cmd.Out(), cmd.Err())
	if os.Getuid() > 0 {
		err = hinted{err, "try as root; wstrace ca install nss, for browsers, does not need it"}
	}
	return err
}

// commandError returns what cmd said last before it failed with err.
func commandError(cmd *exec.Cmd, out []byte, err error) error {
	said := strings.TrimSpace(string(out))
	name := filepath.Base(cmd.Path) + ": "
	last := cmp.Or(said[strings.LastIndexByte(said, '\n')+1:], err.Error())
	return errors.New(name + strings.TrimPrefix(last, name))
}
