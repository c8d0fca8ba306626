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

// A store is a list of authorities that programs trust.
type store struct {
	name string // as an argument
	what string
	note string // what to do once it was changed
	open func() (opts []truststore.Option, err error)
}

var stores = []store{
	{"system", "the system", "restart running programs", func() ([]truststore.Option, error) { return nil, nil }},
	{"nss", "Firefox and Chromium", "restart the browser if it is running", openNSS},
	{"java", "Java", "restart running programs", openJava},
}

func openNSS() ([]truststore.Option, error) {
	t, err := truststore.NewNSSTrust()
	switch {
	case errors.Is(err, truststore.ErrTrustNotSupported):
		return nil, errors.New("they use the system's store here")
	case err != nil:
		return nil, hinted{errors.New("certutil is not installed"), "apt install libnss3-tools, dnf install nss-tools or brew install nss"}
	case t.PreCheck() != nil:
		return nil, errors.New("there is no browser profile; a browser creates one when it first runs")
	}
	return []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(t)}, nil
}

// openJava finds Java by JAVA_HOME, or else by the java that is run.
func openJava() ([]truststore.Option, error) {
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
	return []truststore.Option{truststore.WithNoSystem(), truststore.WithTrust(t)}, nil
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
	err = eachStore(con, names, "trusted", a.Certificate(), func(_ store, cert *x509.Certificate, opts []truststore.Option) error {
		return truststore.Install(cert, opts...)
	})
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
		if err := eachStore(con, names, "no longer trusted", cert, uninstall); err != nil {
			return err
		}
		if len(names) == 0 && file != files[len(files)-1] {
			os.Remove(file)
		}
	}
	return nil
}

func uninstall(s store, cert *x509.Certificate, opts []truststore.Option) error {
	err := truststore.Uninstall(cert, opts...)
	if err == nil && s.name == "java" {
		err = forgetInJava(cert)
	}
	return err
}

// eachStore changes the stores that are named, or all that exist, and says how
// that went.
func eachStore(con *console, names []string, now string, cert *x509.Certificate, change func(store, *x509.Certificate, []truststore.Option) error) error {
	var failure error
	for _, s := range stores {
		if len(names) > 0 && !slices.Contains(names, s.name) {
			continue
		}
		opts, err := s.open()
		if err != nil && len(names) == 0 {
			con.note("%s: skipped, %v", s.what, err)
			continue
		}
		if err == nil {
			err = storeError(s, change(s, cert, opts))
		}
		if err != nil {
			con.fail(fmt.Errorf("%s: %w", s.what, err))
			failure = errReported
			continue
		}
		con.note("%q is %s by %s; %s", cert.Subject.CommonName, now, s.what, s.note)
	}
	return failure
}

// storeError returns what the command that changes a store said last.
func storeError(s store, err error) error {
	var cmd *truststore.CmdError
	if !errors.As(err, &cmd) {
		return err
	}
	out := strings.TrimSpace(string(cmd.Out()))
	name := filepath.Base(cmd.Cmd().Path) + ": "
	last := cmp.Or(out[strings.LastIndexByte(out, '\n')+1:], cmd.Err().Error())
	err = errors.New(name + strings.TrimPrefix(last, name))
	if s.name != "nss" && os.Getuid() > 0 {
		err = hinted{err, "try as root; wstrace ca install nss, for browsers, does not need it"}
	}
	return err
}
