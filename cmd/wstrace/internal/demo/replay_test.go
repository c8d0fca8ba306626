package demo

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync"
	"testing"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/proxy/replay"
)

// recorded returns a recording of the chat.
var recorded = sync.OnceValues(func() (string, error) {
	var b bytes.Buffer
	err := Run(context.Background(), trace.NewWriter(&b, trace.Options{}), decode.Look{}, nil)
	return b.String(), err
})

func recording(t *testing.T) string {
	t.Helper()
	text, err := recorded()
	if err != nil {
		t.Fatal(err)
	}
	return text
}

func loadAll(t *testing.T, text string) *replay.Play {
	t.Helper()
	p, err := replay.LoadAll(replay.Trace(strings.NewReader(text)))
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// same checks that the sessions of two traces are equal.
func same(t *testing.T, a, b string) {
	t.Helper()
	for n := int64(1); n <= 3; n++ {
		as, err := replay.Load(replay.Trace(strings.NewReader(a)), replay.Session(n))
		if err != nil {
			t.Fatal(err)
		}
		bs, err := replay.Load(replay.Trace(strings.NewReader(b)), replay.Session(n))
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		if differ, err := replay.Diff(&out, as, bs, 0); err != nil || differ {
			t.Errorf("session %d: %v\n%s", n, err, out.String())
		}
	}
}

// The recorded clients talk to the server, again and again with one verdict.
func TestReplayClients(t *testing.T) {
	text := recording(t)
	p := loadAll(t, text)
	changed := loadAll(t, strings.Replace(text, "Ronald says: At nine.", "Ronald says: At ten.", 1))
	n := 100
	if testing.Short() {
		n = 10
	}
	for range n {
		base, stop := start(t, new(Server))
		err := p.Connect(t.Context(), base)
		stop()
		if err != nil {
			t.Fatal(err)
		}
		base, stop = start(t, new(Server))
		err = changed.Connect(t.Context(), base)
		stop()
		if err == nil || !strings.HasSuffix(err.Error(), `got text "Ronald says: At nine.", which differs at byte 16`) {
			t.Fatalf("got %v", err)
		}
	}

	var rec bytes.Buffer
	base, stop := start(t, new(Server))
	defer stop()
	if err := p.Connect(t.Context(), base, replay.Events(trace.NewWriter(&rec, trace.Options{}))); err != nil {
		t.Fatal(err)
	}
	same(t, text, rec.String())
}

// The clients talk to the recorded server.
func TestReplayServer(t *testing.T) {
	text := recording(t)
	for range 2 {
		var rec bytes.Buffer
		w := &watcher{sink: trace.NewWriter(&rec, trace.Options{}), closed: make(chan struct{}, 1)}
		if err := stand(t, loadAll(t, text), w); err != nil {
			t.Fatal(err)
		}
		same(t, text, rec.String())
	}
	changed := strings.Replace(text, "At nine.", "At ten.", 1)
	w := &watcher{closed: make(chan struct{}, 1)}
	err := stand(t, loadAll(t, changed), w)
	if err == nil || !strings.HasSuffix(err.Error(), `got text "At nine.", which differs at byte 3`) {
		t.Errorf("got %v", err)
	}
}

// stand has the play of Run with p as the server, and returns its error.
func stand(t *testing.T, p *replay.Play, w *watcher) error {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	served := make(chan error)
	go func() {
		err := p.Serve(ctx, l, replay.Events(w))
		cancel() // whoever waits for a server that has failed
		served <- err
	}()
	s := &stage{ctx: ctx, base: "ws://" + l.Addr().String(), closed: w.closed}
	s.play()
	return <-served
}
