//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package trust_test

import (
	"bufio"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/trust"
)

// holdDir makes a Dir, tells its name, and waits until it is killed.
func holdDir() {
	b, err := os.ReadFile(os.Getenv(hold))
	if err != nil {
		panic(err)
	}
	block, _ := pem.Decode(b)
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		panic(err)
	}
	d, err := trust.New(cert, nil)
	if err != nil {
		panic(err)
	}
	// A command of it that lives on does not keep the directory.
	if err := exec.Command("sleep", "10").Start(); err != nil {
		panic(err)
	}
	fmt.Println(d.Path())
	select {}
}

// startHolder starts another process that has a Dir, and returns its name.
func startHolder(t *testing.T, cert *x509.Certificate) (*exec.Cmd, string) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), hold+"="+writePEM(t, t.TempDir(), "ca.pem", cert))
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	return cmd, strings.TrimSpace(line)
}

func exists(name string) bool {
	_, err := os.Lstat(name)
	return err == nil
}

func TestLeftBehind(t *testing.T) {
	temp := t.TempDir()
	t.Setenv("TMPDIR", temp)
	cert, _ := newAuthority(t)
	killed, stale := startHolder(t, cert)
	_, used := startHolder(t, cert)
	if filepath.Dir(stale) != temp || !exists(used) {
		t.Fatalf("the directories are %q and %q, want them in %q", stale, used, temp)
	}
	newDir(t, cert, nil)
	if !exists(stale) {
		t.Fatal("a directory in use was removed")
	}
	killed.Process.Kill() // SIGKILL
	killed.Wait()

	kept := filepath.Join(t.TempDir(), "kept")
	others := filepath.Join(temp, "wstrace-other")
	for _, dir := range []string{kept, others} {
		if err := os.MkdirAll(filepath.Join(dir, "in it"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	link := filepath.Join(temp, "wstrace-cmd-link")
	file := filepath.Join(temp, "wstrace-cmd-file")
	if err := os.Symlink(kept, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(kept, filepath.Join(stale, "link")); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	keep := []string{used, others, link, file, filepath.Join(kept, "in it")}
	if os.Geteuid() == 0 {
		dir := filepath.Join(temp, "wstrace-cmd-foreign")
		if err := os.Mkdir(dir, 0o777); err != nil {
			t.Fatal(err)
		}
		if err := os.Chown(dir, 12345, 12345); err != nil {
			t.Fatal(err)
		}
		keep = append(keep, dir)
	}
	d := newDir(t, cert, nil)
	if exists(stale) {
		t.Error("the directory of a killed process is still there")
	}
	for _, name := range keep {
		if !exists(name) {
			t.Errorf("%q was removed", name)
		}
	}
	if err := d.Close(); err != nil || exists(d.Path()) {
		t.Errorf("after Close (%v) the directory is there: %v", err, exists(d.Path()))
	}
}

// TestTogether starts many at once, each of which looks for what others left behind.
func TestTogether(t *testing.T) {
	t.Setenv("TMPDIR", t.TempDir())
	cert, _ := newAuthority(t)
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				d, err := trust.New(cert, nil)
				if err != nil {
					t.Error(err)
					return
				}
				if _, err := os.ReadFile(d.Bundle()); err != nil {
					t.Error(err)
				}
				if err := d.Close(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	all.Wait()
}
