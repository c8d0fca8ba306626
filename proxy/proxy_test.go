package proxy

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// patience is how long a test waits for what must come.
const patience = 2 * time.Minute

func TestMain(m *testing.M) {
	status := m.Run()
	if leaked := goroutines(); status == 0 && leaked != "" {
		fmt.Fprintf(os.Stderr, "goroutines are left:\n%s\n", leaked)
		status = 1
	}
	if n := largeInUse.Load(); status == 0 && n != 0 {
		fmt.Fprintf(os.Stderr, "got %d bytes of large buffers in use at the end, want 0\n", n)
		status = 1
	}
	os.Exit(status)
}

// goroutines returns the stacks of goroutines of this package that do not end,
// other than the caller's.
func goroutines() string {
	var leaked []string
	for end := time.Now().Add(patience); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		all := make([]byte, 1<<20)
		all = all[:runtime.Stack(all, true)]
		leaked = nil
		for i, stack := range strings.Split(string(all), "\n\n") {
			if i > 0 && strings.Contains(stack, "wstrace/proxy.") && !strings.Contains(stack, "testing.(*T).Run(") {
				leaked = append(leaked, stack)
			}
		}
		if len(leaked) == 0 {
			return ""
		}
	}
	return strings.Join(leaked, "\n\n")
}

// A mode is a way to use the proxy.
type mode string

const (
	inReverse mode = "reverse"
	inForward mode = "forward" // targets in absolute-form
	inTunnel  mode = "connect" // in a CONNECT tunnel

	inTLS       mode = "reverse, TLS" // on both legs
	inTLSTunnel mode = "connect, TLS"

	inDirect    mode = "direct" // the connection was led to ServeConn
	inTLSDirect mode = "direct, TLS"
)

func (m mode) tunnels() bool { return m == inTunnel || m == inTLSTunnel }
func (m mode) secure() bool  { return m == inTLS || m == inTLSTunnel || m == inTLSDirect }
func (m mode) direct() bool  { return m == inDirect || m == inTLSDirect }

// eachMode runs a test in every mode.
func eachMode(t *testing.T, test func(t *testing.T, r *rig)) {
	for _, m := range []mode{inReverse, inForward, inTunnel, inTLS, inTLSTunnel, inDirect, inTLSDirect} {
		t.Run(string(m), func(t *testing.T) { test(t, newRig(t, m, unhurried)) })
	}
}

// A rig is a proxy between clients and a server that a test plays by hand.
type rig struct {
	*record
	t      *testing.T
	mode   mode
	p      *Proxy
	addr   string // where the proxy listens
	origin net.Listener
	log    *lines

	cancel context.CancelFunc
	served chan error
	once   sync.Once
}

// newRig starts a proxy. When the test ends so does the proxy, and all its
// sessions must have ended well. Host headers are left alone, unless set says
// otherwise.
func newRig(t *testing.T, m mode, set ...func(*Proxy)) *rig {
	t.Helper()
	r := &rig{record: newRecord(), t: t, mode: m, origin: listen(t), log: newLines(), served: make(chan error, 1)}
	r.p = &Proxy{KeepHost: true, Sink: r.record, Log: slog.New(slog.NewTextHandler(r.log, &slog.HandlerOptions{Level: slog.LevelDebug}))}
	if m == inReverse || m == inTLS {
		r.p.Upstream = &url.URL{Scheme: "ws", Host: r.host()}
	}
	if m.secure() {
		r.secure()
	}
	for _, f := range set {
		f(r.p)
	}
	if r.p.NewGate == nil { // the times that gates give are real ones
		r.p.clock = oldClock()
	} else {
		r.p.Look.Tap = r.record
	}
	r.serve(listen(t))
	return r
}

// serve runs the proxy on l until the end of the test, or r.stop.
func (r *rig) serve(l net.Listener) {
	r.addr = l.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	r.cancel = cancel
	go func() {
		if r.mode.direct() {
			r.served <- r.serveDirect(ctx, l)
		} else {
			r.served <- r.p.Serve(ctx, l)
		}
	}()
	r.t.Cleanup(r.stop)
}

// stop ends the proxy, which must be prompt, and looks at its sessions.
func (r *rig) stop() {
	r.once.Do(func() {
		r.cancel()
		select {
		case err := <-r.served:
			if err != nil {
				r.t.Errorf("Serve: got %v, want nil", err)
			}
		case <-time.After(patience):
			r.t.Fatalf("Serve has not returned; goroutines:\n%s", goroutines())
		}
		r.check(r.t)
		if r.p.NewGate == nil {
			r.checkTimes(r.t)
		}
	})
}

// host returns the authority of the origin.
func (r *rig) host() string { return r.origin.Addr().String() }

// target returns path as it stands in a request to the proxy.
func (r *rig) target(path string) string {
	if r.mode == inForward {
		return "http://" + r.host() + path
	}
	return path
}

// request returns a head as a client sends it; the server gets it with the path
// for a target.
func (r *rig) request(head string) string {
	method, rest, _ := strings.Cut(head, " ")
	path, rest, _ := strings.Cut(rest, " ")
	return method + " " + r.target(path) + " " + rest
}

// dial opens a client's connection, and in a tunnel a tunnel.
func (r *rig) dial() *peer {
	r.t.Helper()
	c := r.dialProxy()
	if r.mode.tunnels() {
		c.connect(r.host())
	}
	if r.mode.secure() {
		c.Conn = secureClient(c.Conn)
	}
	return c
}

// dialProxy opens a connection to the proxy.
func (r *rig) dialProxy() *peer {
	r.t.Helper()
	c, err := net.Dial("tcp", r.addr)
	if err != nil {
		r.t.Fatal(err)
	}
	return newPeer(r.t, "client", c)
}

// accept waits for the proxy to connect to the server.
func (r *rig) accept() *peer {
	r.t.Helper()
	return acceptFrom(r.t, r.origin)
}

func acceptFrom(t *testing.T, l net.Listener) *peer {
	t.Helper()
	l.(interface{ SetDeadline(time.Time) error }).SetDeadline(time.Now().Add(patience))
	c, err := l.Accept()
	if err != nil {
		t.Fatalf("the proxy does not connect to the server: %v", err)
	}
	return newPeer(t, "server", c)
}

// ask opens a connection and has head relayed to the server.
func (r *rig) ask(head string) (c, s *peer) {
	r.t.Helper()
	c = r.dial()
	c.send(r.request(head))
	s = r.accept()
	s.want("the request", head)
	return c, s
}

// upgrade opens a WebSocket connection.
func (r *rig) upgrade() (c, s *peer) {
	r.t.Helper()
	c, s = r.ask(upgradeRequest)
	s.send(switching)
	c.want("the 101", switching)
	return c, s
}

const (
	upgradeRequest = "GET /chat HTTP/1.1\r\nHost: example.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	switching = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n"
	connected = "HTTP/1.1 200 Connection established\r\n\r\n"
)

// text returns a frame as a server sends it.
func text(s string) string {
	return string(ws.MustCompileFrame(ws.NewTextFrame([]byte(s))))
}

// masked returns a frame as a client sends it.
func masked(s string) string {
	return string(ws.MustCompileFrame(ws.MaskFrameWith(ws.NewTextFrame([]byte(s)), [4]byte{0x9a, 1, 0x77, 0xc3})))
}

// listen returns a listener that is closed at the end of the test.
func listen(t testing.TB) net.Listener {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// A peer is the client's or the server's end of a connection with the proxy.
type peer struct {
	t    *testing.T
	name string
	net.Conn
	sent, got []byte // so far
	timeless  bool   // it waits as long as it takes, in a bubble of synctest
}

func newPeer(t *testing.T, name string, c net.Conn) *peer {
	t.Cleanup(func() { c.Close() })
	return &peer{t: t, name: name, Conn: c}
}

// connect asks for a tunnel.
func (p *peer) connect(host string) {
	p.t.Helper()
	p.send("CONNECT " + host + " HTTP/1.1\r\nHost: " + host + "\r\n\r\n")
	p.want("the answer to CONNECT", connected)
	p.sent, p.got = nil, nil
}

func (p *peer) send(s string) {
	p.t.Helper()
	if err := p.trySend(s); err != nil {
		p.t.Fatalf("%s can't send: %v", p.name, err)
	}
}

// sendMeanwhile sends s while the test goes on. The channel is closed once s is sent.
func (p *peer) sendMeanwhile(s string) <-chan struct{} {
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		if err := p.trySend(s); err != nil {
			p.t.Errorf("%s can't send: %v", p.name, err)
		}
	}()
	return sent
}

func (p *peer) trySend(s string) error {
	if s == "" {
		return nil
	}
	p.sent = append(p.sent, s...)
	p.SetWriteDeadline(p.deadline())
	_, err := io.WriteString(p.Conn, s)
	return err
}

func (p *peer) deadline() time.Time {
	if p.timeless {
		return time.Time{}
	}
	return time.Now().Add(patience)
}

// want reads as many bytes as wanted has, which stand for what, and compares
// them.
func (p *peer) want(what, wanted string) {
	p.t.Helper()
	got, err := p.read(len(wanted))
	if got != wanted {
		p.t.Fatalf("%s: %s: got %s, want %s (%v)", p.name, what, short(got), short(wanted), err)
	}
}

// read reads n bytes, or fewer if the stream ends.
func (p *peer) read(n int) (string, error) {
	b := make([]byte, n)
	p.SetReadDeadline(p.deadline())
	n, err := io.ReadFull(p.Conn, b)
	p.got = append(p.got, b[:n]...)
	return string(b[:n]), err
}

// wantEnd checks that nothing more comes and how the stream ends.
func (p *peer) wantEnd(what string, how decode.End) {
	p.t.Helper()
	p.wantRest(what, "", how)
}

// wantRest checks that exactly rest comes and how the stream ends.
func (p *peer) wantRest(what, rest string, how decode.End) {
	p.t.Helper()
	got, err := p.rest()
	if got != rest || howEnded(err) != how {
		p.t.Fatalf("%s: %s: got %s and %v, want %s and %s", p.name, what, short(got), err, short(rest), how)
	}
}

// rest reads to the end.
func (p *peer) rest() (string, error) {
	var b bytes.Buffer
	p.SetReadDeadline(p.deadline())
	_, err := b.ReadFrom(p.Conn)
	p.got = append(p.got, b.Bytes()...)
	if err == nil {
		err = io.EOF
	}
	return b.String(), err
}

func (p *peer) closeWrite() { p.Conn.(interface{ CloseWrite() error }).CloseWrite() }

func (p *peer) reset() {
	c := p.tcp()
	c.SetLinger(0)
	c.Close()
}

// tcp returns the connection, or that below TLS.
func (p *peer) tcp() *net.TCPConn {
	if c, ok := p.Conn.(*secureConn); ok {
		return c.below.TCPConn
	}
	return p.Conn.(*net.TCPConn)
}

// wantSame checks that each of both ends got what the other has sent.
func wantSame(t *testing.T, c, s *peer) {
	t.Helper()
	if !bytes.Equal(s.got, c.sent) {
		t.Errorf("the server got %s, want %s", short(string(s.got)), short(string(c.sent)))
	}
	if !bytes.Equal(c.got, s.sent) {
		t.Errorf("the client got %s, want %s", short(string(c.got)), short(string(s.sent)))
	}
}

// short quotes s, or the ends of it.
func short(s string) string {
	if len(s) > 700 {
		return fmt.Sprintf("%q…%q (%d bytes)", s[:300], s[len(s)-300:], len(s))
	}
	return fmt.Sprintf("%q", s)
}

// A record is a Sink that keeps all events.
type record struct {
	mu      sync.Mutex
	events  []*decode.Event
	changed chan struct{} // closed at the next event
	tapped  map[int64]*tapped
}

// tapped is the bytes that a tap is given of a session, by Dir.
type tapped struct{ came, sent [2][]byte }

// Tap takes bytes.
func (r *record) Tap(c decode.Chunk) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.tapped == nil {
		r.tapped = map[int64]*tapped{}
	}
	p := r.tapped[c.Conn]
	if p == nil {
		p = new(tapped)
		r.tapped[c.Conn] = p
	}
	if c.Leg != decode.LegSent {
		p.came[c.Dir] = append(p.came[c.Dir], c.Data...)
	}
	if c.Leg != decode.LegCame {
		p.sent[c.Dir] = append(p.sent[c.Dir], c.Data...)
	}
}

// wantTapped checks that a tap was given every byte that either side has sent, and
// every byte that it got.
func (r *record) wantTapped(t *testing.T, conn int64, c, s *peer) {
	t.Helper()
	r.mu.Lock()
	defer r.mu.Unlock()
	p := r.tapped[conn]
	if p == nil {
		p = new(tapped)
	}
	for _, x := range []struct {
		what      string
		got, want []byte
	}{
		{"sent by the client", p.came[0], c.sent}, {"sent by the server", p.came[1], s.sent},
		{"sent to the server", p.sent[0], s.got}, {"sent to the client", p.sent[1], c.got},
	} {
		if !bytes.Equal(x.got, x.want) {
			t.Errorf("session %d: %s: the tap was given %s, want %s", conn, x.what, short(string(x.got)), short(string(x.want)))
		}
	}
}

func newRecord() *record { return &record{changed: make(chan struct{})} }

func (r *record) Emit(ev *decode.Event) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, ev.Clone())
	close(r.changed)
	r.changed = make(chan struct{})
}

// snapshot returns the events of a session so far, or of all if conn is 0, and
// what is closed at the next one.
func (r *record) snapshot(conn int64) ([]*decode.Event, <-chan struct{}) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var evs []*decode.Event
	for _, ev := range r.events {
		if conn == 0 || ev.Conn == conn {
			evs = append(evs, ev)
		}
	}
	return evs, r.changed
}

// wait waits for a line in the transcript of a session.
func (r *record) wait(t *testing.T, conn int64, line string) {
	t.Helper()
	for timeout := time.After(patience); ; {
		evs, changed := r.snapshot(conn)
		for _, ev := range evs {
			if lineOf(ev) == line {
				return
			}
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("session %d: got\n%s\nwant %q", conn, transcript(evs), line)
		}
	}
}

// wantStatus waits for the end of a session that we answered.
func (r *record) wantStatus(t *testing.T, conn int64, status int) {
	t.Helper()
	r.wait(t, conn, "closed")
	evs, _ := r.snapshot(conn)
	if tot := evs[len(evs)-1].Totals; tot.Status != status || tot.Closer() != "wstrace" {
		t.Errorf("session %d: got status %d by %s, want %d by wstrace", conn, tot.Status, tot.Closer(), status)
	}
}

// wantLines waits for the end of a session and compares its transcript.
func (r *record) wantLines(t *testing.T, conn int64, lines ...string) {
	t.Helper()
	r.wait(t, conn, "closed")
	evs, _ := r.snapshot(conn)
	if got, want := transcript(evs), "\t"+strings.Join(append(lines, "closed"), "\n\t"); got != want {
		t.Errorf("session %d: got\n%s\nwant\n%s", conn, got, want)
	}
}

// has reports whether a line stands in the transcript by now.
func (r *record) has(conn int64, line string) bool {
	evs, _ := r.snapshot(conn)
	for _, ev := range evs {
		if lineOf(ev) == line {
			return true
		}
	}
	return false
}

// wire returns the bytes that d sent in a session, rebuilt from its events.
func (r *record) wire(conn int64, d decode.Dir) []byte {
	return r.rebuild(conn, d, func(ev *decode.Event) bool { return !ev.Out })
}

// rebuild returns the bytes of d that the events of a session hold for which ok
// says so.
func (r *record) rebuild(conn int64, d decode.Dir, ok func(*decode.Event) bool) []byte {
	evs, _ := r.snapshot(conn)
	var b []byte
	for _, ev := range evs {
		if ev.Dir != d || !ok(ev) {
			continue
		}
		switch ev.Kind {
		case decode.KindRequest:
			b = append(b, ev.Handshake.Request.Raw...)
		case decode.KindResponse:
			b = append(append(b, ev.Head.Raw...), ev.Data...)
		case decode.KindFrame:
			b = ev.Frame.AppendWire(b)
		case decode.KindJunk:
			b = append(b, ev.Data...)
		}
	}
	return b
}

// wantWire checks that the events of a WebSocket session hold every byte.
func (r *record) wantWire(t *testing.T, conn int64, c, s *peer) {
	t.Helper()
	if got := r.wire(conn, decode.FromClient); !bytes.Equal(got, c.sent) {
		t.Errorf("session %d: from the client: recorded %s, want %s", conn, short(string(got)), short(string(c.sent)))
	}
	if got := r.wire(conn, decode.FromServer); !bytes.Equal(got, s.sent) {
		t.Errorf("session %d: from the server: recorded %s, want %s", conn, short(string(got)), short(string(s.sent)))
	}
}

// check looks at all sessions after the end: each was opened first, has ended
// in both directions if it asked for websocket, and was closed last.
func (r *record) check(t *testing.T) {
	t.Helper()
	evs, _ := r.snapshot(0)
	sessions := make(map[int64][]*decode.Event)
	for _, ev := range evs {
		sessions[ev.Conn] = append(sessions[ev.Conn], ev)
	}
	for conn, evs := range sessions {
		ends, last := 0, evs[len(evs)-1]
		for i, ev := range evs {
			if (ev.Kind == decode.KindOpen) != (i == 0) || (ev.Kind == decode.KindClosed) != (i == len(evs)-1) {
				t.Errorf("session %d is not opened first and closed last, once:\n%s", conn, transcript(evs))
				break
			}
			if ev.Kind == decode.KindEnd {
				ends++
			}
		}
		if hs := last.Handshake; hs != nil && hs.Accepted && ends != 2 {
			t.Errorf("session %d has %d ends, want 2:\n%s", conn, ends, transcript(evs))
		}
	}
}

func transcript(evs []*decode.Event) string {
	var b strings.Builder
	for _, ev := range evs {
		fmt.Fprintf(&b, "\n\t%s", lineOf(ev))
	}
	return strings.TrimPrefix(b.String(), "\n")
}

// lineOf returns an event in a few words.
func lineOf(ev *decode.Event) string {
	a := ev.Dir.Arrow()
	switch ev.Kind {
	case decode.KindNotice:
		return "notice " + ev.Text
	case decode.KindOpen:
		return "open"
	case decode.KindRequest:
		h := ev.Handshake.Request
		if h.Cut {
			return fmt.Sprintf("> cut %q", h.Raw)
		}
		return strings.TrimSpace("> " + h.Method + " " + h.Target)
	case decode.KindResponse:
		switch h := ev.Head; {
		case h.Cut:
			return fmt.Sprintf("< cut %q", h.Raw)
		case ev.Data != nil:
			return fmt.Sprintf("< %d %q of %d", h.Status, ev.Data, ev.BodyLen)
		default:
			return fmt.Sprintf("< %d", h.Status)
		}
	case decode.KindFrame:
		f := ev.Frame
		line := fmt.Sprintf("%s %s %d", a, decode.OpName(f.OpCode), f.Length)
		if f.More || !f.Complete {
			line += fmt.Sprintf(" %d-%d", f.At, f.At+int64(f.Len()))
		}
		return line
	case decode.KindBody:
		return fmt.Sprintf("%s body %q of %d", a, ev.Data, ev.BodyLen)
	case decode.KindOpaque:
		return a + " opaque: " + ev.Text
	case decode.KindJunk:
		return fmt.Sprintf("%s junk %d", a, len(ev.Data))
	case decode.KindEnd:
		if ev.Text != "" {
			return fmt.Sprintf("%s end %s: %s", a, ev.How, ev.Text)
		}
		return fmt.Sprintf("%s end %s", a, ev.How)
	case decode.KindClosed:
		return "closed"
	}
	return fmt.Sprintf("kind %d", ev.Kind)
}

// lines is the log of a proxy.
type lines struct {
	mu      sync.Mutex
	b       strings.Builder
	changed chan struct{}
}

func newLines() *lines { return &lines{changed: make(chan struct{})} }

func (l *lines) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	close(l.changed)
	l.changed = make(chan struct{})
	return l.b.Write(b)
}

func (l *lines) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// wait waits for n log lines that contain s.
func (l *lines) wait(t *testing.T, s string, n int) {
	t.Helper()
	for timeout := time.After(patience); ; {
		l.mu.Lock()
		got, changed := l.b.String(), l.changed
		l.mu.Unlock()
		if strings.Count(got, s) >= n {
			return
		}
		select {
		case <-changed:
		case <-timeout:
			t.Fatalf("got log\n%s\nwant %q %d times", got, s, n)
		}
	}
}

func isReset(err error) bool {
	return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, syscall.EPIPE)
}
