package interop

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// A tool is a program that has to be there: a command that succeeds if it is.
type tool []string

func (tl tool) missing() error {
	if len(tl) == 0 {
		return nil
	}
	out, err := exec.Command(tl[0], tl[1:]...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("%q: %w: %s", tl, err, out)
	}
	return nil
}

// python is Debian's, for which Debian's packages are.
const python = "/usr/bin/python3"

func nodePackage(name string) tool {
	return tool{"node", "-e", "require('fs').accessSync('node/node_modules/" + name + "/package.json')"}
}

func pythonModule(name string) tool { return tool{python, "-c", "import " + name} }

// nettyJars is the class path of Debian's Netty.
func nettyJars() string {
	var jars []string
	for _, part := range []string{"buffer", "codec", "codec-http", "common", "handler", "resolver", "transport"} {
		jars = append(jars, "/usr/share/java/netty-"+part+".jar")
	}
	return strings.Join(jars, ":")
}

// peerProcess starts a peer, which reports to b and ends when its stdin does,
// at the latest with the test. The channel gets where a server listens.
func peerProcess(t *testing.T, b *board, argv ...string) (stdin io.Writer, ready <-chan string) {
	ctx, cancel := context.WithCancel(context.Background())
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Cancel = in.Close
	cmd.WaitDelay = 5 * time.Second // and then it is killed
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	addr := make(chan string, 1)
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		defer close(addr)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			var r struct {
				report
				Ready string `json:"ready"`
			}
			switch err := json.Unmarshal(lines.Bytes(), &r); {
			case err != nil:
				b.fail(fmt.Errorf("%q prints %q: %w", argv, lines.Bytes(), err))
			case r.Ready != "":
				addr <- r.Ready
			default:
				b.add(r.report)
			}
		}
		b.fail(fmt.Errorf("%q has ended", argv))
	}()
	t.Cleanup(func() {
		cancel()
		<-ended
		if err := cmd.Wait(); err != nil && !errors.Is(err, context.Canceled) {
			t.Errorf("%q: %v", argv, err)
		}
	})
	return in, addr
}

// clientProcess starts a client that does the jobs that it is given.
func clientProcess(argv ...string) func(*testing.T, *board) func(context.Context, job) error {
	return func(t *testing.T, b *board) func(context.Context, job) error {
		stdin, _ := peerProcess(t, b, argv...)
		var mu sync.Mutex
		return func(ctx context.Context, j job) error {
			line, err := json.Marshal(j)
			if err != nil {
				return err
			}
			mu.Lock()
			_, err = stdin.Write(append(line, '\n'))
			mu.Unlock()
			if err == nil {
				_, err = b.wait(ctx, j.ID)
			}
			return err
		}
	}
}

// serverProcess starts a server and waits until it listens.
func serverProcess(argv ...string) func(*testing.T, *board) string {
	return func(t *testing.T, b *board) string {
		_, ready := peerProcess(t, b, argv...)
		select {
		case addr, ok := <-ready:
			if ok {
				return addr
			}
		case <-time.After(2 * time.Minute):
		}
		t.Fatalf("%q does not listen", argv)
		return ""
	}
}

// front starts a server that stands before origin and takes over a listening
// socket as file 3. argv returns its command for a configuration file.
func front(t *testing.T, env, config string, argv func(file string) []string) (addr string) {
	l := listen(t).(*net.TCPListener)
	defer l.Close()
	socket, err := l.File()
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	file := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(file, fmt.Appendf(nil, config, l.Addr()), 0o600); err != nil {
		t.Fatal(err)
	}
	args := argv(file)
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Env = append(os.Environ(), env)
	cmd.ExtraFiles = []*os.File{socket}
	run(t, cmd)
	return l.Addr().String()
}

// run starts a program that needs no input, and ends it with the test.
func run(t *testing.T, cmd *exec.Cmd) {
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Signal(syscall.SIGTERM) // nginx takes its worker with it
		cmd.Wait()
	})
}

func nginx(t *testing.T, b *board) string { return nginxWith(t, b, "", "") }

// nginxWith starts nginx with options for its socket and settings of its
// server.
func nginxWith(t *testing.T, b *board, socket, settings string) string {
	config := `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr warn;
events {}
http {
	access_log off;
	client_body_temp_path body;
	proxy_temp_path proxy;
	fastcgi_temp_path fastcgi;
	uwsgi_temp_path uwsgi;
	scgi_temp_path scgi;
	server {
		listen %s ` + socket + `;
		` + settings + `
		location / {
			proxy_pass http://` + gorillaServer(t, b) + `;
			proxy_http_version 1.1;
			proxy_set_header Upgrade $http_upgrade;
			proxy_set_header Connection upgrade;
		}
		location /page {
			return 200 "a page\n";
		}
	}
}
`
	return front(t, "NGINX=3;", config, func(file string) []string {
		return []string{"/usr/sbin/nginx", "-p", filepath.Dir(file), "-e", "start.log", "-c", file}
	})
}

func haproxy(t *testing.T, b *board) string { return haproxyWith(t, b, "") }

// haproxyWith starts haproxy with options for its socket.
func haproxyWith(t *testing.T, b *board, socket string) string {
	config := `# %s
defaults
	mode http
	timeout connect 10s
	timeout client 60s
	timeout server 60s
frontend front
	bind fd@3 ` + socket + `
	default_backend back
backend back
	server origin ` + gorillaServer(t, b) + `
`
	return front(t, "", config, func(file string) []string {
		return []string{"/usr/sbin/haproxy", "-db", "-q", "-f", file}
	})
}

// websocketd starts the server of that name. It can't take over a socket, nor
// choose a port and say which, so it gets one that was free just now.
func websocketd(t *testing.T, _ *board) string {
	l := listen(t)
	addr := l.Addr().(*net.TCPAddr)
	l.Close()
	cmd := exec.Command("websocketd", "--address=127.0.0.1", fmt.Sprintf("--port=%d", addr.Port), "--loglevel=error", "cat")
	run(t, cmd)
	for deadline := time.Now().Add(2 * time.Minute); ; {
		c, err := net.Dial("tcp", addr.String())
		if err == nil {
			c.Close()
			return addr.String()
		}
		if time.Now().After(deadline) {
			t.Fatal(err)
		}
	}
}
