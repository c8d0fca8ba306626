package trust

import (
	"crypto/x509"
	"os"
	"strings"

	"software.sslmate.com/src/go-pkcs12"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
)

// storePassword is that of the trust store. It hides nothing.
const storePassword = "changeit"

// writeStore writes a trust store for Java.
func writeStore(file string, certs []*x509.Certificate) error {
	// The newer forms are beyond Java 8 before its update 301.
	store, err := pkcs12.LegacyDES.EncodeTrustStore(certs, storePassword)
	if err != nil {
		return err
	}
	return os.WriteFile(file, store, 0o644)
}

// javaEnv makes Java use the trust store, unless the user has named one.
func (d *Dir) javaEnv(env []string) []string {
	for _, name := range []string{"JAVA_TOOL_OPTIONS", "JDK_JAVA_OPTIONS", "_JAVA_OPTIONS"} {
		if strings.Contains(environ.Get(env, name), "-Djavax.net.ssl.trustStore=") {
			return env
		}
	}
	return environ.Append(env, "JAVA_TOOL_OPTIONS", strings.Join([]string{
		javaOption("-Djavax.net.ssl.trustStore=" + d.file(storeName)),
		"-Djavax.net.ssl.trustStorePassword=" + storePassword,
		"-Djavax.net.ssl.trustStoreType=PKCS12",
	}, " "))
}

// javaOption quotes an option. Java splits at blanks, and takes what is in quotes of
// either kind as it is.
func javaOption(option string) string {
	if !strings.ContainsAny(option, " \t\n\v\f\r'\"") {
		return option
	}
	return `"` + strings.ReplaceAll(option, `"`, `"'"'"`) + `"`
}
