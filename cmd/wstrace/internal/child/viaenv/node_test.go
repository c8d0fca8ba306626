package viaenv_test

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/environ"
	"github.com/wstrace/wstrace/cmd/wstrace/internal/child/viaenv"
	"github.com/wstrace/wstrace/proxy/ca"
)

// modules is where the Node packages of the interoperability tests are.
const modules = "../../../../../testdata/interop/node/node_modules"

// absent tells that the test can't be run here, or fails it where all must be there.
func absent(t *testing.T, err error) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatal(err)
	}
	t.Skip(err)
}

// A node runs Node with a lead-in, and knows what was led.
type node struct {
	dir string // of scripts, certificates and sockets
	env []string

	plain, secure string // the ports of servers, the second with TLS

	mu     sync.Mutex
	led    []viaenv.Target // protected by mu
	failed []string        // protected by mu
}

// newNode starts a lead-in that relays. The proxy is at a port where nobody listens.
func newNode(t *testing.T) *node {
	t.Helper()
	if _, err := exec.LookPath("node"); err != nil {
		absent(t, err)
	}
	n := &node{dir: t.TempDir()}
	odd := filepath.Join(t.TempDir(), `it's a "folder" \ of mine`)
	if err := os.Mkdir(odd, 0o700); err != nil {
		t.Fatal(err)
	}
	lead, err := viaenv.Listen()
	if err != nil {
		t.Fatal(err)
	}
	paths, err := filepath.Abs(modules)
	if err != nil {
		t.Fatal(err)
	}
	n.plain, n.secure = n.startServers(t)
	env := append(os.Environ(), "NODE_PATH="+paths, "NODE_OPTIONS=--no-warnings", "NODE_EXTRA_CA_CERTS="+filepath.Join(n.dir, "ca.pem"))
	if n.env, err = viaenv.Env(env, &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: 1}, lead, odd); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	served := make(chan error, 1)
	go func() { served <- lead.Serve(ctx, n.relay, n.fail) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return n
}

// relay is what the proxy does.
func (n *node) relay(ctx context.Context, c net.Conn, to viaenv.Target) {
	n.mu.Lock()
	n.led = append(n.led, to)
	n.mu.Unlock()
	defer context.AfterFunc(ctx, func() { c.Close(); to.Conn.Close() })()
	var both sync.WaitGroup
	for _, ends := range [][2]net.Conn{{c, to.Conn}, {to.Conn, c}} {
		both.Go(func() {
			io.Copy(ends[0], ends[1])
			ends[0].(*net.TCPConn).CloseWrite()
		})
	}
	both.Wait()
	c.Close()
	to.Conn.Close()
}

func (n *node) fail(to viaenv.Target, err error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.failed = append(n.failed, to.Addr+" "+err.Error())
}

// run runs a script, and returns what it wrote and what was led meanwhile.
func (n *node) run(t *testing.T, file, script string, args ...string) (string, []viaenv.Target) {
	t.Helper()
	file = filepath.Join(n.dir, file)
	if err := os.WriteFile(file, []byte(script), 0o600); err != nil {
		t.Fatal(err)
	}
	n.mu.Lock()
	n.led, n.failed = nil, nil
	n.mu.Unlock()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node", append([]string{file}, args...)...)
	cmd.Env = n.env
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	return strings.TrimSpace(string(out)), slices.Clone(n.led)
}

// startServers starts a server without and one with TLS. Both answer "hello", and echo
// what comes over a WebSocket.
func (n *node) startServers(t *testing.T) (plain, secure string) {
	t.Helper()
	a, err := ca.New(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	leaf, err := a.Leaf("localhost")
	if err != nil {
		t.Fatal(err)
	}
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.Certificate().Raw})
	if err := os.WriteFile(filepath.Join(n.dir, "ca.pem"), authority, 0o600); err != nil {
		t.Fatal(err)
	}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "hello")
			return
		}
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer c.Close()
		if b, err := wsutil.ReadClientText(c); err == nil {
			wsutil.WriteServerText(c, b)
		}
		wsutil.ReadClientText(c) // answers the close frame
	})
	without := httptest.NewServer(handler)
	t.Cleanup(without.Close)
	with := httptest.NewUnstartedServer(handler)
	with.Config.ErrorLog = log.New(io.Discard, "", 0)
	with.TLS = &tls.Config{Certificates: []tls.Certificate{*leaf}, NextProtos: []string{"h2", "http/1.1"}}
	with.StartTLS()
	t.Cleanup(with.Close)
	return portOf(without.Listener), portOf(with.Listener)
}

func portOf(ln net.Listener) string {
	return strconv.Itoa(ln.Addr().(*net.TCPAddr).Port)
}

func TestNode(t *testing.T) {
	n := newNode(t)
	if err := os.WriteFile(filepath.Join(n.dir, "https.cjs"), []byte(scripts[4].script), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tt := range scripts {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := os.Stat(modules); tt.modules && err != nil {
				absent(t, err)
			}
			out, led := n.run(t, tt.file, tt.script, n.plain, n.secure)
			if want := strings.Repeat("hello", tt.led); out != want {
				t.Errorf("got %q, want %q", out, want)
			}
			if len(led) != tt.led {
				t.Errorf("%d connections were led, want %d: %v", len(led), tt.led, led)
			}
			for _, to := range led {
				host, port, err := net.SplitHostPort(to.Addr)
				if err != nil || host != "localhost" && host != "127.0.0.1" || port != n.plain && port != n.secure {
					t.Errorf("a connection was led to %q", to.Addr)
				}
				if to.PID == 0 || to.Process != "node" {
					t.Errorf("the process is %d %q", to.PID, to.Process)
				}
			}
		})
	}
}

// TestNodeFails makes connections that fail.
func TestNodeFails(t *testing.T) {
	n := newNode(t)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := portOf(ln)
	ln.Close()
	for name, script := range map[string]string{
		"net":   `require('net').connect(process.argv[2], 'localhost').on('error', e => console.log(e.code))`,
		"tls":   `require('tls').connect(process.argv[2], 'localhost').on('error', e => console.log(e.code))`,
		"http":  `require('http').get('http://localhost:' + process.argv[2]).on('error', e => console.log(e.code))`,
		"https": `require('https').get('https://localhost:' + process.argv[2]).on('error', e => console.log(e.code))`,
		"fetch": `fetch('https://localhost:' + process.argv[2]).catch(e => console.log(e.cause.code))`,
	} {
		out, led := n.run(t, "a.cjs", script, port)
		if out != "ECONNRESET" && out != "UND_ERR_SOCKET" && out != "EPIPE" || len(led) > 0 {
			t.Errorf("%s: got %q and %v", name, out, led)
		}
		n.mu.Lock()
		if len(n.failed) != 1 || !strings.HasPrefix(n.failed[0], "localhost:"+port+" ") || !strings.Contains(n.failed[0], "refused") {
			t.Errorf("%s: the lead-in tells %q", name, n.failed)
		}
		n.mu.Unlock()
	}
	out, led := n.run(t, "a.cjs", `require('https').get('https://name.invalid').on('error', e => console.log(e.code))`)
	if out != "ENOTFOUND" && out != "EAI_AGAIN" || len(led) > 0 {
		t.Errorf("a name that does not exist: got %q and %v", out, led)
	}
}

// TestNodeLeft makes connections that are left alone, or end before they are made.
func TestNodeLeft(t *testing.T) {
	n := newNode(t)
	script := `
		const net = require('net'), name = __dirname + '/socket'
		const server = net.createServer(c => c.end('hello')).listen(name, () => {
			net.connect(name).on('data', b => process.stdout.write(b)).on('close', () => server.close())
		})
		net.connect(1, '127.0.0.1').on('error', e => process.stdout.write(e.code + ' ' + e.port + ' '))`
	if out, led := n.run(t, "a.cjs", script); out != "ECONNREFUSED 1 hello" && out != "helloECONNREFUSED 1" || len(led) > 0 {
		t.Errorf("got %q and %v", out, led)
	}
	twice := filepath.Join(n.dir, "twice.cjs")
	preload, err := os.ReadFile("preload.cjs")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(twice, preload, 0o600); err != nil {
		t.Fatal(err)
	}
	n.env = environ.Append(n.env, "NODE_OPTIONS", "--require "+twice)
	if out, led := n.run(t, "a.cjs", scripts[0].script, n.plain); out != "hello" || len(led) != 1 {
		t.Errorf("with the preload of another wstrace: got %q and %v", out, led)
	}
	script = `
		const net = require('net'), tls = require('tls'), port = process.argv[2]
		for (const connect of [net.connect, tls.connect]) {
			const socket = connect(port, 'localhost', {rejectUnauthorized: false})
			socket.on('error', e => console.log(e)).on('close', failed => process.stdout.write('closed ' + failed + ' ')).destroy()
		}
		const stop = new AbortController()
		fetch('https://localhost:' + port, {signal: stop.signal}).catch(e => process.stdout.write(e.name))
		stop.abort()
		net.connect(port, 'localhost').unref()`
	if out, _ := n.run(t, "a.cjs", script, n.secure); out != "AbortErrorclosed false closed false" && out != "closed false closed false AbortError" {
		t.Errorf("connections that end at once: got %q", out)
	}
	n.env = environ.Set(n.env, "WSTRACE_LEAD_IN", "")
	if out, led := n.run(t, "a.cjs", scripts[0].script, n.plain); out != "hello" || len(led) > 0 {
		t.Errorf("without the variable: got %q and %v", out, led)
	}
}
