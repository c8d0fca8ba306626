package proxy_test

import (
	"context"
	"net"
	"net/url"
	"testing"
	"time"

	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/change"
)

// BenchmarkChange compares the proxy with changes that never act with the proxy that has
// none, as [BenchmarkGate] does. Those whose conditions name fields of frames alone are to
// cost at most a tenth in S2 and S4.
func BenchmarkChange(b *testing.B) {
	for _, load := range []load{
		{name: "S2", conns: 64, flight: 16, size: 128},
		{name: "S4", conns: 4, flight: 2, size: 1 << 20},
	} {
		origin := listen(b, serveEcho)
		for _, line := range []string{"when op == ping do drop", "when len == 12345 do split 3", "do replace /nowhere/x/"} {
			b.Run(load.name+"/"+line, func(b *testing.B) {
				l, err := change.ParseLine(line)
				if err != nil {
					b.Fatal(err)
				}
				changes := change.New(1, []*change.Line{l})
				without := load.connect(b, listen(b, relayTo(origin, nil)))
				with := load.connect(b, listen(b, func(ctx context.Context, l net.Listener) error {
					p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: origin}, KeepHost: true, NewGate: changes.NewGate}
					return p.Serve(ctx, l)
				}))
				compare(b, "of-no-gate(more=better)", without, with, load.rounds(b, without, 50*time.Millisecond))
			})
		}
	}
}
