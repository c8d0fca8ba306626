package interop

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/replay"
)

// A stack is a protocol on top of WebSocket, with a client and a server that
// others wrote.
type stack struct {
	name    string
	needs   []string            // Node packages
	opts    []replay.LoadOption // what differs from run to run
	changed [2]string           // part of what the server says, and other words
}

var stacks = []stack{
	{"ws", []string{"ws"}, nil, [2]string{`again":"Ada"`, `again":"Bob"`}},
	{"socket.io", []string{"socket.io", "socket.io-client"}, []replay.LoadOption{replay.Capture("$.sid")}, [2]string{`430[3]`, `430[4]`}},
	{"graphql-ws", []string{"ws", "graphql-ws"}, []replay.LoadOption{replay.Capture("$.id")}, [2]string{`world`, `globe`}},
	{"mqtt", []string{"ws", "aedes", "mqtt"}, nil, [2]string{"hello", "HELLO"}},
	{"signalr", []string{"ws", "@microsoft/signalr"}, nil, [2]string{`Hello, Ada.`, `Hello, Bob.`}},
}

func load(t *testing.T, text string, opts ...replay.LoadOption) *replay.Script {
	t.Helper()
	s, err := replay.Load(replay.Trace(strings.NewReader(text)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// runClient runs the client of a stack and returns its error.
func runClient(ctx context.Context, name, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "node/stacks.mjs", "client", name, "ws://"+addr).CombinedOutput()
	if err != nil {
		return fmt.Errorf("client: %w: %s", err, out)
	}
	return nil
}

// TestReplayStacks records a conversation, and plays either side of it against
// the program that had the other.
func TestReplayStacks(t *testing.T) {
	for _, st := range stacks {
		t.Run(st.name, func(t *testing.T) {
			for _, name := range st.needs {
				need(t, nodePackage(name).missing())
			}
			t.Parallel()
			var told board
			origin := serverProcess("node", "node/stacks.mjs", "server", st.name)(t, &told)
			recorded := recordThrough(t, origin, func(addr string) error { return runClient(t.Context(), st.name, addr) })

			equal := func(what, again string) {
				t.Helper()
				var out bytes.Buffer
				differ, err := replay.Diff(&out, load(t, recorded, st.opts...), load(t, again, st.opts...), 0)
				if err != nil || differ {
					t.Errorf("%s: the recording of the replay differs: %v\n%s", what, err, out.String())
				}
			}

			var b bytes.Buffer
			s := load(t, recorded, st.opts...)
			for range 3 {
				b.Reset()
				events := replay.Events(trace.NewWriter(&b, trace.Options{}))
				if err := s.Connect(t.Context(), "ws://"+origin, events); err != nil {
					t.Errorf("against the server: %v", err)
				}
				equal("client", b.String())
			}

			b.Reset()
			cerr, err := againstClient(t, s, st.name, replay.Events(trace.NewWriter(&b, trace.Options{})))
			if cerr != nil || err != nil {
				t.Errorf("against the client: %v, %v", err, cerr)
			}
			equal("server", b.String())

			other := reword(t, recorded, st.changed)
			if err := load(t, other, st.opts...).Connect(t.Context(), "ws://"+origin); err == nil {
				t.Error("nothing is wrong with other words of the server")
			} else if !strings.Contains(err.Error(), "expected server ") {
				t.Errorf("other words of the server: %v", err)
			}
		})
	}
}

// recordThrough returns the recording of what client does through a proxy for
// origin.
func recordThrough(t *testing.T, origin string, client func(addr string) error) string {
	t.Helper()
	var b bytes.Buffer
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: origin}, Sink: &decode.Tee{Sinks: []decode.Sink{trace.NewWriter(&b, trace.Options{})}}}
	done := make(chan error)
	go func() { done <- p.Serve(ctx, l) }()
	err := client(l.Addr().String())
	cancel()
	if serr := <-done; err != nil || serr != nil {
		t.Fatalf("recording: %v, %v", err, serr)
	}
	return b.String()
}

// againstClient plays the server to the client of a stack.
func againstClient(t *testing.T, s *replay.Script, name string, opts ...replay.PlayOption) (clientErr, err error) {
	t.Helper()
	l := listen(t)
	done := make(chan error, 1)
	go func() {
		conn, err := l.Accept()
		if err == nil {
			err = s.PlayServer(t.Context(), conn, opts...)
		}
		done <- err
	}()
	clientErr = runClient(t.Context(), name, l.Addr().String())
	if clientErr != nil {
		l.Close()
	}
	return clientErr, <-done
}

// reword returns the trace with other words in the messages of the server. They
// are sent in the clear, as if the server did not compress.
func reword(t *testing.T, recorded string, words [2]string) string {
	t.Helper()
	var out bytes.Buffer
	changed := false
	err := trace.Rewrite(&out, strings.NewReader(recorded), nil, func(rec *trace.Record) ([]*trace.Record, error) {
		if rec == nil {
			return nil, nil
		}
		if rec.Kind == "frame" && rec.Dir == decode.FromServer && rec.Rsv == 0 {
			p := bytes.Replace(rec.Payload, []byte(words[0]), []byte(words[1]), 1)
			changed = changed || !bytes.Equal(p, rec.Payload)
			rec.Payload = p
		}
		return []*trace.Record{rec}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if changed {
		return out.String()
	}
	// Compressed: drop the first message instead.
	out.Reset()
	err = trace.Rewrite(&out, strings.NewReader(recorded), nil, func(rec *trace.Record) ([]*trace.Record, error) {
		if rec == nil || !changed && rec.Kind == "frame" && rec.Dir == decode.FromServer {
			changed = true
			return nil, nil
		}
		return []*trace.Record{rec}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}
