package main

import (
	"crypto/x509"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/smallstep/truststore"
)

// On Debian, uninstalling takes more than installing: the links of a certificate
// that is gone stay until all are made anew, and Java keeps what it was given.

func init() {
	if c := truststore.SystemTrustCommand; slices.Equal(c, []string{"update-ca-certificates"}) {
		truststore.SystemTrustCommand = append(c[:1:1], "--fresh")
	}
}

// forgetInJava removes what is left of a certificate in the list of Java.
func forgetInJava(cert *x509.Certificate) error {
	if t, err := truststore.NewJavaTrust(); err != nil || !t.Exists(cert) {
		return nil
	}
	name := strings.ReplaceAll(cert.Subject.CommonName+" "+cert.SerialNumber.String(), " ", "_")
	cmd := truststore.CommandWithSudo(filepath.Join(os.Getenv("JAVA_HOME"), "bin", "keytool"), "-delete", "-cacerts",
		"-storepass", truststore.JavaStorePass, "-alias", "debian:"+strings.ToLower(name)+".pem")
	if out, err := cmd.CombinedOutput(); err != nil {
		return truststore.NewCmdError(err, cmd, out)
	}
	return nil
}
