package main

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/proxy/replay"
)

// A run can be ended while clients are still being started.
func TestReplayInterrupted(t *testing.T) {
	script, err := replay.Load(replay.Trace(strings.NewReader(`{"wstrace":1}
{"k":"open","c":1}
{"k":"frame","d":"<","op":"text","text":"a"}
`)))
	if err != nil {
		t.Fatal(err)
	}
	var said strings.Builder
	p := &performance{con: &console{w: &said}, name: "a.wst", script: script, how: replay.PlayOptions(),
		flags: &replayFlags{connect: "ws://127.0.0.1:1", clients: 1e12, times: 1}}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	ended := make(chan error, 1)
	go func() { ended <- p.play(ctx, nil) }()
	select {
	case err := <-ended:
		if want := "wstrace: interrupted after 0 of 1000000000000 sessions\n"; !errors.Is(err, errFound) || said.String() != want {
			t.Errorf("got %v and %q, want %q", err, said.String(), want)
		}
	case <-time.After(patience):
		t.Fatal("clients are still being started")
	}
}
