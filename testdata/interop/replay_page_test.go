package interop

import (
	"context"
	"strings"
	"testing"
)

// TestReplayPage records a page that Chromium loads twice, and serves it from the recording
// on another port, with its WebSocket.
func TestReplayPage(t *testing.T) {
	need(t, nodePackage("playwright-core").missing())
	need(t, tool{"test", "-x", "/usr/bin/chromium"}.missing())
	t.Parallel()
	browse := func(word string) func(context.Context, string) error {
		return func(ctx context.Context, addr string) error {
			return node(ctx, "node/page.mjs", "browser", "http://"+addr+"/", word)
		}
	}
	origin := serverProcess("node", "node/page.mjs", "server")(t, new(board))
	play := playOf(t, recordAll(t, origin, browse("Ada")))
	for range runs(20) {
		if cerr, err := servedTo(t, play, browse("Ada")); cerr != nil || err != nil {
			t.Errorf("against Chromium: %v, %v", err, cerr)
		}
		if err := play.Connect(t.Context(), "ws://"+origin); err != nil {
			t.Errorf("against the server: %v", err)
		}
	}
	if _, err := servedTo(t, play, browse("Bob")); err == nil || !strings.Contains(err.Error(), `where $.name is "Bob", expected "Ada"`) {
		t.Errorf("somebody else: %v", err)
	}
}
