package interop

import (
	"bytes"
	"context"
	"crypto/sha1"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy/ca"
)

// namedHost is a host whose name doesn't say that it is this machine.
const namedHost = "echo.wstrace.test"

// Names of hosts, with an address where the servers listen, and one where they don't.
const (
	hosts     = "127.0.0.1 localhost " + namedHost + "\n"
	deadHosts = "::1 localhost " + namedHost + "\n"
)

// nobody is the user, and the group, of who isn't root.
const nobody = 65534

// A lab is where programs are run under wstrace.
type lab struct {
	wstrace   string // the command
	out       string // the folder for programs that are made
	servers   *ca.Authority
	serversCA string // the file with it
	hosts     string // the folder with names of hosts: some have one address, all two
	echo      string // the address of a server that sends back what it gets

	mu    sync.Mutex
	built map[string]func() error // by command
}

func newLab(t *testing.T) *lab {
	dir := openDir(t)
	servers, err := ca.Load(filepath.Join(dir, "servers"))
	if err != nil {
		t.Fatal(err)
	}
	l := &lab{
		wstrace: filepath.Join(buildCommand(t), "wstrace"), out: openDir(t), servers: servers,
		serversCA: filepath.Join(dir, "servers.pem"), hosts: dir,
		echo: serveHTTP(t, echoFrames), built: make(map[string]func() error),
	}
	pass(t, filepath.Dir(l.wstrace))
	pem, err := os.ReadFile(filepath.Join(dir, "servers", ca.CertFile))
	if err == nil {
		err = errors.Join(os.WriteFile(l.serversCA, pem, 0o666), os.WriteFile(filepath.Join(dir, "some"), []byte(hosts), 0o666),
			os.WriteFile(filepath.Join(dir, "all"), []byte(hosts+deadHosts), 0o666))
	}
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// openDir returns a folder that goes away with the test, and into which other users can
// look.
func openDir(t *testing.T) string {
	dir := t.TempDir()
	pass(t, dir)
	return dir
}

// pass lets other users into a folder of the test.
func pass(t *testing.T, dir string) {
	t.Helper()
	if err := os.Chmod(filepath.Dir(dir), 0o755); err != nil {
		t.Fatal(err)
	}
}

// echoFrames answers every message by itself, frame by frame, and other requests by a
// page.
func echoFrames(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Upgrade") == "" {
		io.WriteString(w, "a page\n")
		return
	}
	conn, rw, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer conn.Close()
	accept := sha1.Sum([]byte(r.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	fmt.Fprintf(conn, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		base64.StdEncoding.EncodeToString(accept[:]))
	for {
		h, err := ws.ReadHeader(rw)
		if err != nil || h.Length > usual {
			return
		}
		f := ws.Frame{Header: h, Payload: make([]byte, h.Length)}
		if _, err := io.ReadFull(rw, f.Payload); err != nil {
			return
		}
		f = ws.UnmaskFrame(f)
		f.Header.Masked = false
		switch f.Header.OpCode {
		case ws.OpPing:
			f.Header.OpCode = ws.OpPong
		case ws.OpPong:
			continue
		}
		if ws.WriteFrame(conn, f) != nil || f.Header.OpCode == ws.OpClose {
			return
		}
	}
}

// build makes a program, if that was not done yet.
func (l *lab) build(t *testing.T, p *program) {
	t.Helper()
	if p.build == "" {
		return
	}
	l.mu.Lock()
	made := l.built[p.build]
	if made == nil {
		argv := l.command(p.build)
		made = sync.OnceValue(func() error {
			cmd := exec.Command(argv[0], argv[1:]...)
			cmd.Env = append(os.Environ(), "CGO_ENABLED=0") // nothing preloads anything into what is static
			if out, err := cmd.CombinedOutput(); err != nil {
				return fmt.Errorf("%q: %w\n%s", argv, err, out)
			}
			return nil
		})
		l.built[p.build] = made
	}
	l.mu.Unlock()
	if err := made(); err != nil {
		t.Fatal(err)
	}
}

// command returns the words of a command. Others replaces more words than OUT and JARS.
func (l *lab) command(text string, others ...string) []string {
	dir, _ := os.Getwd()
	others = append(others, "OUT", l.out, "JARS", jars(), "PAGE", "file://"+dir+"/programs/page.html")
	return strings.Fields(strings.NewReplacer(others...).Replace(text))
}

// test runs a program under wstrace.
func (l *lab) test(t *testing.T, p *program, to target) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	home := openDir(t)
	authority := filepath.Join(home, "ca", ca.CertFile)
	if _, err := ca.Load(filepath.Dir(authority)); err != nil {
		t.Fatal(err)
	}

	origin := l.echo
	if p.server != "" {
		origin = serverProcess("node", "node/stacks.mjs", "server", p.server)(t, new(board))
	}
	var secure *tls.Config
	scheme := ""
	if to.secure {
		secure, scheme = l.tls(), "s"
	}
	behind := newTap(t, origin, secure)
	at := strings.Replace(behind.addr, "127.0.0.1", to.host, 1)
	if p.server == "" {
		at += "/"
	}
	recorded := filepath.Join(home, "recorded.wst")
	argv := []string{"unshare", "--mount", "sh", "-e", "-c", `mount --bind "$1" /etc/hosts; [ -z "$2" ] || mount --bind "$2" /etc/ssl/certs; shift 2; exec "$@"`, "sh", filepath.Join(l.hosts, "all"), ""}
	if p.first {
		argv[len(argv)-2] = filepath.Join(l.hosts, "some")
	}
	if p.store {
		argv[len(argv)-1] = l.store(t, home, authority)
	}
	if p.user {
		chown(t, home)
		argv = append(argv, "setpriv", "--reuid", fmt.Sprint(nobody), "--regid", fmt.Sprint(nobody), "--clear-groups")
	}
	argv = append(argv, l.wstrace, "-w", recorded, "--ca-dir", filepath.Dir(authority), "--upstream-ca", l.serversCA, "--")
	argv = append(argv, l.command(p.run, "URL", "ws"+scheme+"://"+at, "HTTP", "http"+scheme+"://"+at, "CA", authority)...)
	cmd := exec.CommandContext(ctx, argv[0], argv[1:]...)
	cmd.Env = append(environ(), "HOME="+home)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	cmd.WaitDelay = 10 * time.Second
	said, err := cmd.CombinedOutput()
	defer func() {
		if t.Failed() {
			t.Logf("it says\n%s", said)
		}
	}()
	if err != nil {
		t.Errorf("%v", err)
	}
	flows, err := behind.all(ctx)
	if err != nil {
		t.Fatal(err)
	}
	compare(t, p, flows, readSessions(t, recorded))
}

// store returns a folder like that of the system's authorities, with one more.
func (l *lab) store(t *testing.T, dir, authority string) string {
	t.Helper()
	store := filepath.Join(dir, "certs")
	script := `cp -a /etc/ssl/certs "$1" && cat "$2" >> "$1/ca-certificates.crt" && cp "$2" "$1/$(openssl x509 -noout -subject_hash -in "$2").0"`
	if out, err := exec.Command("sh", "-c", script, "sh", store, authority).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return store
}

// chown gives dir and all in it to nobody.
func chown(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, _ os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return os.Lchown(path, nobody, nobody)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// environ returns the environment without what says which proxy to use and whom to trust.
func environ() []string {
	return slices.DeleteFunc(os.Environ(), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		return strings.HasPrefix(name, "SSL_") || strings.HasPrefix(name, "XDG_") || strings.HasSuffix(name, "_PROXY") ||
			strings.Contains(name, "CA_") || strings.HasSuffix(name, "_CERT")
	})
}

// tls returns how servers of the lab speak TLS.
func (l *lab) tls() *tls.Config {
	return &tls.Config{NextProtos: []string{"http/1.1"}, GetCertificate: func(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
		if hello.ServerName == "" {
			return l.servers.Leaf("127.0.0.1")
		}
		return l.servers.Leaf(hello.ServerName)
	}}
}

// A session is a session of a recording.
type session struct {
	up, down []byte // all bytes
	streams  [2]trace.Stream
	pid      int64
	upgraded bool
	said     []string // the client's frames
}

// readSessions reads a recording.
func readSessions(t *testing.T, file string) []*session {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	byID := make(map[int64]*session)
	var all []*session
	r := trace.NewReader(bytes.NewReader(text))
	for {
		rec, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		s := byID[rec.C]
		if rec.Kind == trace.KindOpen {
			s = &session{pid: rec.PID, streams: [2]trace.Stream{{Dir: decode.FromClient}, {Dir: decode.FromServer}}}
			byID[rec.C], all = s, append(all, s)
		}
		if s == nil {
			continue
		}
		for i, b := range []*[]byte{&s.up, &s.down} {
			if *b, err = s.streams[i].Append(*b, rec); err != nil {
				t.Fatal(err)
			}
		}
		switch rec.Kind {
		case trace.KindRes:
			s.upgraded = s.upgraded || rec.Head.Status == http.StatusSwitchingProtocols
		case trace.KindFrame:
			if rec.Dir == decode.FromClient {
				s.said = append(s.said, fmt.Sprintf("%s %q", decode.OpName(rec.Op), rec.Payload))
			}
		}
	}
	return all
}

// compare compares the WebSocket connections that a server had with those recorded, octet
// by octet.
func compare(t *testing.T, p *program, flows []*flow, sessions []*session) {
	t.Helper()
	count := 0
	for _, f := range flows {
		up, down := f.up.Bytes(), f.down.Bytes()
		if !p.http && !bytes.HasPrefix(down, []byte("HTTP/1.1 101 ")) {
			continue
		}
		count++
		i := slices.IndexFunc(sessions, func(s *session) bool { return bytes.Equal(s.up, up) && bytes.Equal(s.down, down) })
		if i < 0 {
			t.Errorf("the server got\n%q\nand sent\n%q\nwhich was not recorded", up, down)
			continue
		}
		if p.server == "" && !p.http {
			if said := sessions[i].said; len(said) != 3 || !strings.HasPrefix(said[0], `text "hello from `) ||
				said[1] != `bin "\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f"` || !strings.HasPrefix(said[2], `close "\x03\xe8`) {
				t.Errorf("the client says %q", said)
			}
		}
		sessions = slices.Delete(sessions, i, i+1)
	}
	if count != 1 {
		t.Errorf("the server had %d connections, want 1", count)
	}
	for _, s := range sessions {
		if s.upgraded {
			t.Errorf("recorded is\n%q\n%q\nwhich the server never had", s.up, s.down)
		}
	}
}
