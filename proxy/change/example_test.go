package change_test

import (
	"log"
	"net/url"
	"strings"

	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/change"
)

// A proxy in front of a server, which loses every tenth message of it, and closes
// connections after a while.
func ExampleChanges() {
	lines, err := change.Parse(strings.NewReader(`
		# of the server
		when from == server and op in {text, bin} every 10 do drop
		after 30s once do close 1012 "restart"
	`))
	if err != nil {
		log.Fatal(err)
	}
	p := &proxy.Proxy{
		Upstream: &url.URL{Scheme: "ws", Host: "localhost:1901"},
		NewGate:  change.New(1, lines).NewGate,
	}
	_ = p // p.Serve(ctx, listener)
}
