package interop

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"maps"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/replay"
)

// An app is an application that others wrote the client and the server of, with the HTTP
// before its WebSocket. What its server makes up is captured by itself.
type app struct {
	name  string
	needs []string // Node packages
	auto  bool     // the server makes something up
	cross bool     // the server answers two things at once, in either order

	// Words that one side says in the recording, and others, which the other side
	// then has to be found out for.
	ofClient, ofServer [2]string
}

var apps = []app{
	{"signalr", []string{"ws", "@microsoft/signalr", "@msgpack/msgpack"}, true, false, [2]string{"Ada", "Bob"}, [2]string{"Hello, Ada", "Hello, Bob"}},
	{"signalr-msgpack", []string{"ws", "@microsoft/signalr-protocol-msgpack"}, true, false, [2]string{"Ada", "Bob"}, [2]string{"Hello, Ada", "Hello, Bob"}},
	{"socket.io", []string{"socket.io", "socket.io-client"}, true, false, [2]string{`"wait"`, `"stay"`}, [2]string{`["done"]`, `["gone"]`}},
	{"socket.io-polling", []string{"socket.io", "socket.io-client"}, true, false, [2]string{`"wait"`, `"stay"`}, [2]string{`["done"]`, `["gone"]`}},
	{"graphql-ws", []string{"ws", "graphql-ws"}, false, false, [2]string{`{ hello }`, `{ adieu }`}, [2]string{"world", "globe"}},
	{"mqtt", []string{"ws", "aedes", "mqtt"}, false, true, [2]string{"bye", "tea"}, [2]string{"bye", "tea"}},
	{"sockjs", []string{"sockjs", "sockjs-client"}, true, false, [2]string{"quoted", "quotes"}, [2]string{"quoted", "quotes"}},
}

// runApp runs the client of an application.
func runApp(ctx context.Context, name, addr string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	out, err := exec.CommandContext(ctx, "node", "node/apps.mjs", "client", name, "ws://"+addr).CombinedOutput()
	if err != nil {
		return fmt.Errorf("client: %w: %s", err, out)
	}
	return nil
}

// loadAll loads all of a trace.
func loadAll(t *testing.T, text string, opts ...replay.CompareOption) *replay.Play {
	t.Helper()
	p, err := replay.LoadAll(replay.Trace(strings.NewReader(text)), opts...)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// serveApp plays the servers of p to the client of an application.
func serveApp(t *testing.T, p *replay.Play, name string, opts ...replay.PlayOption) (clientErr, err error) {
	t.Helper()
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	client := make(chan error, 1)
	go func() { client <- runApp(ctx, name, l.Addr().String()) }()
	if err = p.Serve(t.Context(), l, opts...); err != nil {
		cancel() // the client may wait for ever
	}
	return <-client, err
}

// TestReplayApps records applications, bodies and all, and plays either side of the
// recording against the program that had the other.
func TestReplayApps(t *testing.T) {
	runs := 1
	if os.Getenv("SOAK") == "true" {
		runs = 20
	}
	for _, a := range apps {
		t.Run(a.name, func(t *testing.T) {
			for _, name := range a.needs {
				need(t, nodePackage(name).missing())
			}
			t.Parallel()
			var told board
			origin := serverProcess("node", "node/apps.mjs", "server", a.name)(t, &told)
			for range runs {
				a.test(t, origin)
			}
		})
	}
}

func (a *app) test(t *testing.T, origin string) {
	recorded := recordApp(t, origin, func(addr string) error { return runApp(t.Context(), a.name, addr) })
	var opts []replay.CompareOption
	if a.auto {
		opts = append(opts, replay.CaptureAuto())
	}
	defer func() {
		if file := os.Getenv("KEEP"); t.Failed() && file != "" {
			os.WriteFile(file+"-"+a.name+".wst", []byte(recorded), 0o600)
		}
	}()

	// equal compares the recording of a replay with the recording. Where there is HTTP, the
	// clients of one are played against the servers of the other.
	equal := func(what, again string) {
		t.Helper()
		if a.cross {
			if want, got := mqttExchanges(t, recorded), mqttExchanges(t, again); len(want) < 4 || !slices.Equal(got, want) {
				t.Errorf("the recording of the replay as %s differs: got %q, want %q", what, got, want)
			}
			return
		}
		if !a.auto {
			var out bytes.Buffer
			if differ, err := replay.Diff(&out, load(t, recorded), load(t, again), 0); err != nil || differ {
				t.Errorf("the recording of the replay as %s differs: %v\n%s", what, err, out.String())
			}
			return
		}
		defer func() {
			if file := os.Getenv("KEEP"); t.Failed() && file != "" {
				os.WriteFile(file+"-"+a.name+"-"+what+".wst", []byte(again), 0o600)
			}
		}()
		l := listen(t)
		done := make(chan error, 1)
		again = withoutEnds(t, again)
		go func() { done <- loadAll(t, withoutEnds(t, recorded)).Serve(t.Context(), l) }()
		if err := loadAll(t, again, replay.CaptureAuto()).Connect(t.Context(), "ws://"+l.Addr().String()); err != nil {
			t.Errorf("the recording of the replay as %s differs: %v", what, err)
		}
		if err := <-done; err != nil {
			t.Errorf("the recording of the replay as %s differs: %v", what, err)
		}
	}

	var b bytes.Buffer
	if err := loadAll(t, recorded, opts...).Connect(t.Context(), "ws://"+origin, replay.Events(trace.NewWriter(&b, trace.Options{}))); err != nil {
		t.Errorf("against the server: %v", err)
	} else {
		equal("client", b.String())
	}
	b.Reset()
	cerr, err := serveApp(t, loadAll(t, recorded, opts...), a.name, replay.Events(trace.NewWriter(&b, trace.Options{})))
	if cerr != nil || err != nil {
		t.Errorf("against the client: %v, %v", err, cerr)
	} else {
		equal("server", b.String())
	}

	short := replay.Stall(2 * time.Second)
	other := changeSide(t, recorded, decode.FromServer, a.ofServer)
	if err := loadAll(t, other, opts...).Connect(t.Context(), "ws://"+origin, short); err == nil || !strings.Contains(err.Error(), "expected server ") {
		t.Errorf("other words of the server: %v", err)
	}
	other = changeSide(t, recorded, decode.FromClient, a.ofClient)
	if _, err := serveApp(t, loadAll(t, other, opts...), a.name, short); err == nil || !strings.Contains(err.Error(), "expected ") {
		t.Errorf("other words of the client: %v", err)
	}
}

// recordApp returns the recording of what client does through a proxy for origin, with
// the bodies of HTTP.
func recordApp(t *testing.T, origin string, client func(addr string) error) string {
	t.Helper()
	var b bytes.Buffer
	l := listen(t)
	ctx, cancel := context.WithCancel(t.Context())
	p := &proxy.Proxy{
		Upstream: &url.URL{Scheme: "ws", Host: origin}, Sink: trace.NewWriter(&b, trace.Options{}), Look: decode.Look{Bodies: decode.DefaultBodies},
	}
	done := make(chan error)
	go func() { done <- p.Serve(ctx, l) }()
	err := client(l.Addr().String())
	cancel()
	if serr := <-done; err != nil || serr != nil {
		t.Fatalf("recording: %v, %v", err, serr)
	}
	return b.String()
}

// changeSide returns a recording in which one side says other words in its messages, as
// many bytes long, wherever they are in the clear.
func changeSide(t *testing.T, recorded string, d decode.Dir, words [2]string) string {
	t.Helper()
	var out bytes.Buffer
	changed := false
	err := trace.Rewrite(&out, strings.NewReader(recorded), nil, func(rec *trace.Record) ([]*trace.Record, error) {
		if rec != nil && rec.Dir == d && (rec.Kind == "frame" || rec.Kind == "body") {
			p := bytes.ReplaceAll(rec.Payload, []byte(words[0]), []byte(words[1]))
			changed = changed || !bytes.Equal(p, rec.Payload)
			rec.Payload = p
		}
		if rec == nil {
			return nil, nil
		}
		return []*trace.Record{rec}, nil
	})
	if err != nil || !changed {
		t.Fatalf("%v, changed: %t", err, changed)
	}
	return out.String()
}

// withoutEnds returns a recording without the ends of connections: which side ends first
// is chance.
func withoutEnds(t *testing.T, recorded string) string {
	t.Helper()
	var out bytes.Buffer
	err := trace.Rewrite(&out, strings.NewReader(recorded), nil, func(rec *trace.Record) ([]*trace.Record, error) {
		if rec == nil || rec.Kind == "end" {
			return nil, nil
		}
		return []*trace.Record{rec}, nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// mqttExchanges returns what belongs to each packet id in a recording of MQTT (MQTT 3.1.1
// §2.3.1), in order, without the id, and all of them sorted: a server may answer two
// publications in either order.
func mqttExchanges(t *testing.T, recording string) []string {
	t.Helper()
	type exchange struct {
		began decode.Dir
		id    uint16
	}
	said := map[exchange]string{}
	var rest [2][]byte
	take := func(d decode.Dir, kind byte, flags byte, body []byte) {
		var id uint16
		began := d
		switch kind {
		case 1: // CONNECT, in which the client names itself
			body = nil
		case 3: // PUBLISH
			if at := 2 + int(binary.BigEndian.Uint16(body)); flags>>1&3 > 0 {
				id = binary.BigEndian.Uint16(body[at:])
				body = slices.Concat(body[:at], body[at+2:])
			}
		case 4, 5, 7, 9, 11: // the receiver answers
			began = d.Peer()
			fallthrough
		case 6, 8, 10:
			id, body = binary.BigEndian.Uint16(body), body[2:]
		case 12, 13: // pings come when they like
			return
		}
		said[exchange{began, id}] += fmt.Sprintf("%s%d %x ", d.Arrow(), kind, body)
	}
	sink := decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind != decode.KindMessage {
			return
		}
		b := append(rest[ev.Dir], ev.Message.Data...)
		for len(b) > 1 {
			n, size := binary.Uvarint(b[1:])
			if size <= 0 || 1+size+int(n) > len(b) {
				break
			}
			take(ev.Dir, b[0]>>4, b[0]&15, b[1+size:1+size+int(n)])
			b = b[1+size+int(n):]
		}
		rest[ev.Dir] = b
	})
	if err := (&trace.Source{R: strings.NewReader(recording)}).Play(t.Context(), sink, decode.Look{Messages: true}); err != nil {
		t.Fatal(err)
	}
	return slices.Sorted(maps.Values(said))
}
