package trust_test

import (
	"bytes"
	"crypto/tls"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
)

// answer is what the server answers, which is a list of references for git too.
const answer = "0123456789012345678901234567890123456789\trefs/heads/main\n"

const javaClient = `
import java.net.URI;
import java.net.http.*;

public class Client {
	public static void main(String[] args) throws Exception {
		HttpRequest request = HttpRequest.newBuilder(URI.create(args[0])).build();
		System.out.print(HttpClient.newHttpClient().send(request, HttpResponse.BodyHandlers.ofString()).body());
	}
}
`

// need skips the test if a program is missing, or fails it where all must be there.
func need(t *testing.T, program string) {
	t.Helper()
	if _, err := exec.LookPath(program); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal(err)
		}
		t.Skip(err)
	}
}

// cleanEnv returns the environment of the tests without what we set. Its temporary
// folder has a blank and quotes in its name.
func cleanEnv(t *testing.T) []string {
	t.Helper()
	temp := filepath.Join(t.TempDir(), `it's a "folder"`)
	if err := os.Mkdir(temp, 0o700); err != nil {
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", temp)
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		return strings.Contains(name, "SSL") || strings.Contains(name, "_CA") || strings.HasSuffix(name, "_PROXY") ||
			strings.HasSuffix(name, "CERT") || strings.HasSuffix(name, "_OPTIONS")
	})
}

// TestClients has clients connect to a server whose certificate is ours, without and
// with what makes them trust it.
func TestClients(t *testing.T) {
	cert, leaf := newAuthority(t)
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain")
		io.WriteString(w, answer)
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}}
	server.StartTLS()
	defer server.Close()
	_, port, _ := strings.Cut(strings.TrimPrefix(server.URL, "https://"), ":")
	url := "https://localhost:" + port + "/"
	java := filepath.Join(t.TempDir(), "Client.java")
	if err := os.WriteFile(java, []byte(javaClient), 0o600); err != nil {
		t.Fatal(err)
	}

	for name, tt := range map[string]struct {
		set     []string // in the user's environment
		unset   string   // so that another variable has to do
		command []string
		says    string // answer unless given
		flag    string // that takes the hash of our key
	}{
		"Go":               {command: []string{os.Args[0]}, set: []string{getURL + "=" + url}},
		"Go, directory":    {command: []string{os.Args[0]}, set: []string{getURL + "=" + url, "SSL_CERT_DIR=/none"}, unset: "SSL_CERT_FILE"},
		"curl":             {command: []string{"curl", "-sS", "--noproxy", "*", url}},
		"curl, directory":  {command: []string{"curl", "-sS", "--noproxy", "*", url}, set: []string{"SSL_CERT_DIR=/etc/ssl/certs"}, unset: "CURL_CA_BUNDLE"},
		"git":              {command: []string{"git", "ls-remote", url}},
		"Python":           {command: []string{"python3", "-c", "import sys, urllib.request as r; print(r.urlopen(sys.argv[1]).read().decode())", url}},
		"Node":             {command: []string{"node", "-e", "require('https').get(process.argv[1], r => r.pipe(process.stdout))", url}},
		"Node, fetch":      {command: []string{"node", "-e", "fetch(process.argv[1]).then(r => r.text()).then(console.log)", url}},
		"Java":             {command: []string{"java", java, url}},
		"Java, with heap":  {command: []string{"java", java, url}, set: []string{"JAVA_TOOL_OPTIONS=-Xmx256m"}},
		"OpenSSL":          {command: []string{"openssl", "s_client", "-connect", "localhost:" + port, "-verify_return_error"}, says: "Verify return code: 0 (ok)"},
		"OpenSSL, by hash": {command: []string{"openssl", "s_client", "-connect", "localhost:" + port, "-verify_return_error"}, set: []string{"SSL_CERT_DIR=/etc/ssl/certs"}, unset: "SSL_CERT_FILE", says: "Verify return code: 0 (ok)"},
		"Chromium": {command: []string{"/usr/bin/chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir=" + t.TempDir(), "--dump-dom", url},
			flag: "--ignore-certificate-errors-spki-list=", says: "refs/heads/main"},
	} {
		t.Run(name, func(t *testing.T) {
			need(t, tt.command[0])
			env := append(cleanEnv(t), tt.set...)
			d := newDir(t, cert, env)
			run := func(env []string, more ...string) (string, error) {
				cmd := exec.Command(tt.command[0], append(more, tt.command[1:]...)...)
				cmd.Env = env
				var stdout, stderr bytes.Buffer
				cmd.Stdout, cmd.Stderr = &stdout, &stderr
				err := cmd.Run()
				return stdout.String() + "\n" + stderr.String(), err
			}
			says := answer
			if tt.says != "" {
				says = tt.says
			}
			if out, err := run(env); err == nil && strings.Contains(out, says) {
				t.Errorf("without us it trusts the server: %s", out)
			}
			trusting := d.Env(env)
			if tt.unset != "" {
				trusting = environ.Set(trusting, tt.unset, "")
			}
			var more []string
			if tt.flag != "" {
				more = []string{tt.flag + d.SPKI()}
			}
			if out, err := run(trusting, more...); err != nil || !strings.Contains(out, says) {
				t.Errorf("got %v and %s, want %s", err, out, says)
			}
		})
	}
}
