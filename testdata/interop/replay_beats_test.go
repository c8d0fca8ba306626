package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/replay"
)

// A heartbeatApp is an application with heartbeats, whose programs others wrote.
type heartbeatApp struct {
	name  string
	needs []string // Node packages
	beats [3]int   // ms between heartbeats: as recorded, more, and none
	opts  []replay.CompareOption
	play  []replay.PlayOption // of the server
}

// bayeux has ids of clients that the server makes up, and says how long it waits.
var bayeux = []replay.CompareOption{replay.CaptureAuto(), replay.Ignore("$..timeout")}

var heartbeatApps = []heartbeatApp{
	{"phoenix", []string{"ws", "phoenix"}, [3]int{400, 200, 30_000}, nil, nil},
	{"trpc", []string{"ws", "@trpc/client", "@trpc/server"}, [3]int{100, 30, 30_000}, nil, nil},
	{"cometd", []string{"cometd", "cometd-nodejs-client", "faye"}, [3]int{600, 300, 30_000}, bayeux, nil},
	{"faye", []string{"faye"}, [3]int{600, 300, 30_000}, bayeux, []replay.PlayOption{replay.Timing(replay.Original)}},
}

// node runs a Node program to its end, and returns its error with what it printed.
func node(ctx context.Context, args ...any) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "node")
	for _, a := range args {
		cmd.Args = append(cmd.Args, fmt.Sprint(a))
	}
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("client: %w: %s", err, out)
	}
	return nil
}

// TestReplayHeartbeats records an application, and plays either side of it against the program
// that had the other, which has more heartbeats than were recorded, as many, or none.
func TestReplayHeartbeats(t *testing.T) {
	for _, a := range heartbeatApps {
		t.Run(a.name, func(t *testing.T) {
			for _, name := range a.needs {
				need(t, nodePackage(name).missing())
			}
			t.Parallel()
			client := func(ctx context.Context, addr string, beat int, word string) error {
				return node(ctx, "node/beats.mjs", "client", a.name, "ws://"+addr, beat, word)
			}
			var told board
			var origins []string
			for _, beat := range a.beats {
				origins = append(origins, serverProcess("node", "node/beats.mjs", "server", a.name, fmt.Sprint(beat))(t, &told))
			}
			recorded := recordAll(t, origins[0], func(ctx context.Context, addr string) error { return client(ctx, addr, a.beats[0], "hello") })
			play := playOf(t, recorded, a.opts...)
			for range runs(20) {
				for i, beat := range a.beats {
					if err := play.Connect(t.Context(), "ws://"+origins[i]); err != nil {
						t.Errorf("against a server with heartbeats of %d ms: %v", beat, err)
					}
					cerr, err := servedTo(t, play, func(ctx context.Context, addr string) error { return client(ctx, addr, beat, "hello") }, a.play...)
					if cerr != nil || err != nil {
						t.Errorf("against a client with heartbeats of %d ms: %v, %v", beat, err, cerr)
					}
				}
			}
			if _, err := servedTo(t, play, func(ctx context.Context, addr string) error { return client(ctx, addr, a.beats[0], "goodbye") }, a.play...); err == nil {
				t.Error("a client that says something else is as recorded")
			} else if text := err.Error(); !strings.Contains(text, "expected client ") || !strings.Contains(text, "goodbye") || strings.Contains(text, "\n") {
				t.Errorf("a client that says something else: %v", err)
			}
		})
	}
}

// TestReplayTwoClients plays the server to two clients of one URL, who come in any order.
func TestReplayTwoClients(t *testing.T) {
	need(t, nodePackage("ws").missing())
	t.Parallel()
	chat := func(order int, word string) func(context.Context, string) error {
		return func(ctx context.Context, addr string) error {
			return node(ctx, "node/beats.mjs", "client", "chat", "ws://"+addr, order, word)
		}
	}
	origin := serverProcess("node", "node/beats.mjs", "server", "chat", "0")(t, new(board))
	play := playOf(t, recordAll(t, origin, chat(0, "Hello")))
	for range runs(20) {
		for order := range 3 {
			if cerr, err := servedTo(t, play, chat(order, "Hello")); cerr != nil || err != nil {
				t.Errorf("order %d: %v, %v", order, err, cerr)
			}
		}
		if err := play.Connect(t.Context(), "ws://"+origin); err != nil {
			t.Errorf("against the server: %v", err)
		}
	}
	if _, err := servedTo(t, play, chat(2, "Goodbye")); err == nil || !strings.Contains(err.Error(), `expected client frame 1, text "Hello, Bob"`) {
		t.Errorf("other words: %v", err)
	}
}

// runs returns how often a replay is run: n times where SOAK=true.
func runs(n int) int {
	if os.Getenv("SOAK") == "true" {
		return n
	}
	return 1
}

// recordAll returns the recording of what client does through a proxy for origin, HTTP
// included.
func recordAll(t *testing.T, origin string, client func(ctx context.Context, addr string) error) string {
	t.Helper()
	var b bytes.Buffer
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := &proxy.Proxy{
		Upstream: &url.URL{Scheme: "ws", Host: origin},
		Sink:     &decode.Tee{Sinks: []decode.Sink{trace.NewWriter(&b, trace.Options{})}},
		Look:     decode.Look{Bodies: decode.DefaultBodies},
	}
	done := make(chan error)
	go func() { done <- p.Serve(ctx, l) }()
	err := client(ctx, l.Addr().String())
	cancel()
	if serr := <-done; err != nil || serr != nil {
		t.Fatalf("recording: %v, %v", err, serr)
	}
	if dir := os.Getenv("KEEP"); dir != "" {
		os.WriteFile(dir+"/"+strings.ReplaceAll(t.Name(), "/", "-")+".wst", b.Bytes(), 0o600)
	}
	return b.String()
}

func playOf(t *testing.T, text string, opts ...replay.CompareOption) *replay.Play {
	t.Helper()
	play, err := replay.LoadAll(replay.Trace(strings.NewReader(text)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return play
}

// servedTo plays the servers to a client, which is ended when that fails.
func servedTo(t *testing.T, play *replay.Play, client func(ctx context.Context, addr string) error, opts ...replay.PlayOption) (clientErr, err error) {
	t.Helper()
	l := listen(t)
	serving, stopServing := context.WithCancel(t.Context())
	defer stopServing()
	running, stopClient := context.WithCancel(t.Context())
	defer stopClient()
	done := make(chan error, 1)
	go func() {
		err := play.Serve(serving, l, opts...)
		if err != nil {
			stopClient()
		}
		done <- err
	}()
	if clientErr = client(running, l.Addr().String()); clientErr != nil {
		stop := time.AfterFunc(2*replay.DefaultStall, stopServing)
		defer stop.Stop()
	}
	return clientErr, <-done
}
