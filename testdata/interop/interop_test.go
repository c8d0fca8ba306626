// Package interop has clients and servers that others wrote talk to each other
// through the proxy, and compares what both ends say with what was recorded,
// and the octets in front of the proxy with those behind it.
package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"fmt"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// How a client reaches a server.
const (
	reverse  = "reverse"  // the proxy stands in for the server
	absolute = "absolute" // a forward proxy, asked with the target in absolute-form
	tunnel   = "connect"  // a forward proxy, asked for a tunnel
)

// A client runs jobs. Beyond messages it tells of what tells lists, as in
// "sent ping, got close, mask".
type client struct {
	name    string
	modes   []string
	deflate bool
	always  bool   // offers permessage-deflate always
	plain   bool   // compresses nothing
	slow    bool   // one server is enough
	refuses string // the server whose answer to the offer it refuses
	tells   string
	needs   tool
	run     func(context.Context, job, diary) error
	start   func(*testing.T, *board) (run func(context.Context, job) error) // if it is a process
}

// A server echoes messages. It reports what it does on its board, if it tells
// anything.
type server struct {
	name    string
	deflate bool
	texts   bool   // takes text of up to 64 KiB, and nothing else
	whole   bool   // takes no fragments
	secure  bool   // speaks TLS
	tells   string // beyond messages; "nothing" for not even these
	needs   tool
	start   func(*testing.T, *board) (addr string)
	addr    string
	board   board
}

var clients = []*client{
	{name: "gorilla", modes: []string{reverse, tunnel}, deflate: true, refuses: "python aiohttp",
		tells: "sent ping, got pong, got ping, sent close, got close", run: gorillaClient},
	{name: "coder", modes: []string{reverse, absolute, tunnel}, deflate: true,
		tells: "got pong, got ping, sent close", run: coderClient},
	{name: "gws", modes: []string{reverse, tunnel}, deflate: true,
		tells: "sent ping, got pong, got ping, sent close", run: gwsClient},
	{name: "gobwas", modes: []string{reverse, absolute, tunnel}, deflate: true,
		tells: "sent ping, got pong, got ping, sent close, got close, mask", run: gobwasClient},
	{name: "xnet", modes: []string{reverse, absolute, tunnel},
		tells: "sent ping, sent close", run: xnetClient},
	{name: "node ws", modes: []string{reverse, absolute, tunnel}, deflate: true,
		tells: "sent ping, got pong, got ping, sent close, got close, mask",
		needs: nodePackage("ws"), start: clientProcess("node", "node/ws-client.mjs")},
	{name: "node undici", modes: []string{reverse, absolute, tunnel}, deflate: true, always: true, plain: true,
		tells: "sent ping, got pong, sent close, got close",
		needs: nodePackage("undici"), start: clientProcess("node", "node/undici-client.mjs")},
	{name: "python websockets", modes: []string{reverse, tunnel}, deflate: true,
		tells: "sent ping, got pong, sent close, got close",
		needs: pythonModule("websockets"), start: clientProcess(python, "python/websockets_client.py")},
	{name: "python aiohttp", modes: []string{reverse, absolute}, deflate: true,
		tells: "sent ping, got pong, got ping, sent close",
		needs: pythonModule("aiohttp"), start: clientProcess(python, "python/aiohttp_client.py")},
	{name: "python websocket-client", modes: []string{reverse, tunnel},
		tells: "sent ping, got pong, got ping, sent close, mask",
		needs: pythonModule("websocket"), start: clientProcess(python, "python/websocket_client.py")},
}

var servers = []*server{
	{name: "gorilla", deflate: true, tells: "got ping, sent pong, got close", start: gorillaServer},
	{name: "coder", deflate: true, tells: "got ping, sent pong, got close", start: coderServer},
	{name: "gws", deflate: true, tells: "got ping, sent pong, got close", start: gwsServer},
	{name: "gobwas", deflate: true, tells: "got ping, sent pong, got close, sent close", start: gobwasServer},
	{name: "xnet", whole: true, tells: "sent close", start: xnetServer},
	{name: "node ws", deflate: true, tells: "got ping, sent pong, got close",
		needs: nodePackage("ws"), start: serverProcess("node", "node/ws-server.mjs")},
	{name: "python websockets", deflate: true, tells: "got close",
		needs: pythonModule("websockets"), start: serverProcess(python, "python/websockets_server.py")},
	{name: "python aiohttp", deflate: true, tells: "got ping, sent pong, got close",
		needs: pythonModule("aiohttp"), start: serverProcess(python, "python/aiohttp_server.py")},
	{name: "netty", deflate: true, tells: "got close, sent close",
		needs: tool{"sh", "-c", "javac --version && test -e /usr/share/java/netty-codec-http.jar"},
		start: serverProcess("java", "-cp", nettyJars(), "java/NettyServer.java")},
	{name: "nginx before gorilla", deflate: true, tells: "got ping, sent pong, got close",
		needs: tool{"/usr/sbin/nginx", "-v"}, start: nginx},
	{name: "haproxy before gorilla", deflate: true, tells: "got ping, sent pong, got close",
		needs: tool{"/usr/sbin/haproxy", "-v"}, start: haproxy},
	{name: "websocketd", texts: true, tells: "nothing",
		needs: tool{"websocketd", "--version"}, start: websocketd},
}

// rounds are the messages of a conversation: some at once, then one by one.
var rounds = [][]message{
	{{"text", 0}, {"binary", 1}, {"text", 125}, {"binary", 126}},
	{{"ping", 4}, {"text", 65535}},
	{{"binary", 65536}},
	{{"text", 1 << 20}},
}

// TestConversations has every client talk to every server: in every way where
// SOAK=true, and otherwise in one of them, another one for each pair.
func TestConversations(t *testing.T) {
	soak := os.Getenv("SOAK") == "true"
	missing := make(map[string]error) // by server
	for _, s := range servers {
		if missing[s.name] = s.needs.missing(); missing[s.name] == nil {
			s.addr = s.start(t, &s.board)
		}
	}
	had, all := 0, 0
	for i, c := range clients {
		t.Run(c.name, func(t *testing.T) {
			need(t, c.needs.missing())
			var told board
			if c.start != nil {
				run := c.start(t, &told)
				c.run = func(ctx context.Context, j job, _ diary) error { return run(ctx, j) }
			}
			for j, s := range servers {
				ways := c.ways(s)
				all += len(ways)
				if !soak && len(ways) > 0 {
					ways = ways[(i+j)%len(ways):][:1]
				}
				had += len(ways)
				for _, w := range ways {
					name := s.name + " " + w.mode
					if w.deflate {
						name += " deflate"
					}
					t.Run(name, func(t *testing.T) {
						need(t, missing[s.name])
						t.Parallel()
						talk{c, s, &told, w.mode, w.deflate, rounds, nil}.run(t)
					})
				}
			}
		})
	}
	if had < all {
		t.Logf("%d of %d conversations; SOAK=true has all", had, all)
	}
}

// TestLarge sends messages of 16 MiB both ways.
func TestLarge(t *testing.T) {
	c := &client{run: gobwasClient, tells: "mask"}
	s := &server{start: gorillaServer}
	s.addr = s.start(t, &s.board)
	large := [][]message{{{"binary", 16 << 20}}, {{"text", 16 << 20}}}
	talk{c, s, new(board), reverse, false, large, nil}.run(t)
}

// A way is how a client and a server can talk.
type way struct {
	mode    string
	deflate bool
}

func (c *client) ways(s *server) (ways []way) {
	for _, mode := range c.modes {
		for _, deflate := range []bool{false, true} {
			if c.agrees(s, deflate) {
				ways = append(ways, way{mode, deflate})
			}
		}
	}
	return ways
}

// agrees reports whether a client and a server can talk with or without
// permessage-deflate.
func (c *client) agrees(s *server, deflate bool) bool {
	if deflate {
		return c.deflate && s.deflate && c.refuses != s.name
	}
	return !(c.always && s.deflate)
}

// need skips a test, or fails it where CI=true, if something is missing.
func need(t *testing.T, missing error) {
	t.Helper()
	switch {
	case missing == nil:
	case os.Getenv("CI") == "true":
		t.Fatal(missing)
	default:
		t.Skip(missing)
	}
}

var jobs atomic.Int64

// A talk is one conversation through a proxy of its own.
type talk struct {
	client  *client
	server  *server
	told    *board // by the client
	mode    string
	deflate bool
	rounds  [][]message
	trust   *trust // for wss
}

func (k talk) run(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()

	// client → ahead → proxy → behind → server; over TLS the client talks to
	// the proxy itself, and behind ends TLS for a server that does not speak it
	rec := newRecording()
	p := &proxy.Proxy{Sink: rec, Look: rec.look()}
	j := job{ID: fmt.Sprint(jobs.Add(1)), Deflate: k.deflate, Whole: k.server.whole, Rounds: k.rounds}
	var ahead *tap
	var secure *tls.Config
	scheme := "ws"
	if k.trust != nil {
		scheme, j.CA = "wss", k.trust.file
		p.Authority, p.UpstreamTLS, secure = k.trust.authority, k.trust.client, k.trust.tap(k.server)
	}
	behind := newTap(t, k.server.addr, secure)
	origin := behind.addr // where the proxy goes, and entry where the client
	if k.trust != nil {
		origin = localhost(origin)
	}
	if k.mode == reverse {
		p.Upstream = &url.URL{Scheme: scheme, Host: origin}
	}
	entry := servedBy(t, p)
	if k.trust == nil {
		ahead = newTap(t, entry, nil)
		entry = ahead.addr
	} else {
		entry = localhost(entry)
	}
	if k.server.texts {
		j.Rounds = onlyTexts(j.Rounds)
	}
	host := entry
	if k.mode != reverse {
		host, j.Proxy, j.Tunnel = origin, entry, k.mode == tunnel
	}
	j.URL = scheme + "://" + host + "/echo?id=" + j.ID

	said := diary{k.told, j.ID}
	if err := k.client.run(ctx, j, said); err != nil {
		t.Fatalf("client: %v", err)
	}
	fromClient := k.told.reports(j.ID)
	var fromServer []report
	if k.server.tells != "nothing" {
		var err error
		if fromServer, err = k.server.board.wait(ctx, j.ID); err != nil {
			t.Fatalf("server: %v", err)
		}
	}
	select {
	case <-rec.closed:
	case <-ctx.Done():
		t.Fatal("the session is not closed")
	}
	before := new(flow)
	if ahead != nil {
		var err error
		if before, err = ahead.only(ctx); err != nil {
			t.Fatalf("client to proxy: %v", err)
		}
	}
	after, err := behind.only(ctx)
	if err != nil {
		t.Fatalf("proxy to server: %v", err)
	}

	if rec.opened != 1 {
		t.Errorf("%d sessions were recorded, want 1", rec.opened)
	}
	for _, c := range rec.complaints {
		t.Error(c)
	}
	if got, want := rec.sides[decode.FromClient].compressed, k.deflate && !k.client.plain; got != want {
		t.Errorf("client compresses: %v, want %v; extensions %q", got, want, rec.extensions)
	}
	if got, want := rec.sides[decode.FromServer].compressed, k.deflate; got != want {
		t.Errorf("server compresses: %v, want %v; extensions %q", got, want, rec.extensions)
	}
	k.compare(t, rec, decode.FromClient, "client sent", "sent", k.client.tells, fromClient)
	k.compare(t, rec, decode.FromServer, "client got", "got", k.client.tells, fromClient)
	if k.server.tells != "nothing" {
		k.compare(t, rec, decode.FromServer, "server sent", "sent", k.server.tells, fromServer)
		k.compare(t, rec, decode.FromClient, "server got", "got", k.server.tells, fromServer)
	}
	if strings.Contains(k.client.tells, "mask") {
		var masks []string
		for _, r := range fromClient {
			if r.Did == "mask" {
				masks = append(masks, r.Text)
			}
		}
		if !slices.Equal(masks, rec.masks) {
			t.Errorf("client masks with\n%q, recorded are\n%q", masks, rec.masks)
		}
	}
	if k.trust == nil {
		k.octets(t, rec, before, after, host, origin)
	} else {
		k.secured(t, rec, after)
	}
}

// servedBy runs a proxy until the end of the test.
func servedBy(t *testing.T, p *proxy.Proxy) (addr string) {
	l := listen(t)
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- p.Serve(ctx, l) }()
	t.Cleanup(func() {
		cancel()
		if err := <-served; err != nil {
			t.Error(err)
		}
	})
	return l.Addr().String()
}

// compare compares what was recorded of one direction with what a peer tells
// of it: the messages, and the control frames, which peers tell of separately.
func (k talk) compare(t *testing.T, rec *recording, d decode.Dir, who, did, tells string, told []report) {
	isMessage := func(r report) bool { return r.Type == "text" || r.Type == "binary" }
	isTold := func(r report) bool { return !isMessage(r) && strings.Contains(tells, did+" "+r.Type) }
	for what, counts := range map[string]func(report) bool{"messages": isMessage, "control frames": isTold} {
		var recorded, reported []string
		for _, r := range rec.sides[d].reports {
			if counts(r) {
				recorded = append(recorded, r.String())
			}
		}
		for _, r := range told {
			if r.Did == did && counts(r) {
				reported = append(reported, r.String())
			}
		}
		if !slices.Equal(recorded, reported) {
			t.Errorf("%s the %s\n%s\nrecorded are\n%s", who, what, strings.Join(reported, "\n"), strings.Join(recorded, "\n"))
		}
		if len(recorded) == 0 && what == "messages" {
			t.Errorf("%s nothing", who)
		}
	}
}

// octets compares both sides of the proxy, and the frames with them. host is
// where the client thinks it talks to, origin where the proxy was sent to.
func (k talk) octets(t *testing.T, rec *recording, before, after *flow, host, origin string) {
	up, down := before.up.Bytes(), before.down.Bytes()
	if k.mode == tunnel {
		_, up = cutHead(up)
		_, down = cutHead(down)
	}
	request, up := cutHead(up)
	switch k.mode {
	case reverse:
		request = strings.Replace(request, ": "+host+"\r\n", ": "+origin+"\r\n", 1)
	case absolute:
		request = strings.Replace(request, " http://"+host+"/", " /", 1)
		request = strings.Replace(request, " ws://"+host+"/", " /", 1)
		request = strings.Replace(request, "Proxy-Connection: Keep-Alive\r\n", "", 1)
	}
	sent, upAfter := cutHead(after.up.Bytes())
	if request != sent {
		t.Errorf("the server gets the head\n%s\nwant\n%s", sent, request)
	}
	if !bytes.Equal(up, upAfter) {
		t.Errorf("the client's octets differ: %d before the proxy, %d after it", len(up), len(upAfter))
	}
	if !bytes.Equal(down, after.down.Bytes()) {
		t.Errorf("the server's octets differ: %d before the proxy, %d after it", after.down.Len(), len(down))
	}
	if !bytes.Equal(up, rec.sides[decode.FromClient].wire) {
		t.Errorf("the client's frames are not its octets: %d, %d", len(rec.sides[decode.FromClient].wire), len(up))
	}
	if _, down = cutHead(down); !bytes.Equal(down, rec.sides[decode.FromServer].wire) {
		t.Errorf("the server's frames are not its octets: %d, %d", len(rec.sides[decode.FromServer].wire), len(down))
	}
}

// cutHead splits b behind its first empty line.
func cutHead(b []byte) (head string, rest []byte) {
	i := bytes.Index(b, []byte("\r\n\r\n"))
	if i < 0 {
		return string(b), nil
	}
	return string(b[:i+4]), b[i+4:]
}

// onlyTexts returns rounds without what is no text of up to 64 KiB.
func onlyTexts(rounds [][]message) (texts [][]message) {
	for _, round := range rounds {
		texts = append(texts, slices.DeleteFunc(slices.Clone(round), func(m message) bool {
			return m.Type == "binary" || m.Len > 64<<10
		}))
	}
	return texts
}
