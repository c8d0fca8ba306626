package proxy_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/url"
	"runtime"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
	"github.com/wstrace/wstrace/proxy/ca"
)

// BenchmarkRelay compares the proxy with a relay that only copies; where both
// ends speak TLS, with one that ends it, copies, and begins it anew. Both carry
// the same echoes in turns; of-copy is the median of rate to rate: more is
// better, and 1 means that decoding costs nothing. Rates themselves say more
// about the machine.
func BenchmarkRelay(b *testing.B) {
	for _, load := range []load{
		{name: "S1", conns: 1, flight: 1, size: 128},
		{name: "S2", conns: 64, flight: 16, size: 128},
		{name: "S3", conns: 64, flight: 4, size: 4 << 10},
		{name: "S4", conns: 4, flight: 2, size: 1 << 20},
		{name: "T1", conns: 1, flight: 1, size: 128, trust: trust(b)},
		{name: "T2", conns: 64, flight: 16, size: 128, trust: trust(b)},
		{name: "T3", conns: 4, flight: 2, size: 1 << 20, trust: trust(b)},
	} {
		b.Run(load.name, func(b *testing.B) {
			origin := listen(b, load.trust.server(serveEcho))
			plain := load.connect(b, listen(b, load.trust.server(copyTo(load.trust.dialer(origin)))))
			ours := load.connect(b, listen(b, relayTo(origin, load.trust)))
			compare(b, "of-copy(more=better)", plain, ours, load.rounds(b, plain, 50*time.Millisecond))
		})
	}
}

// BenchmarkIdle measures the memory of this process that a connection through
// the proxy costs while nothing happens on it: beyond that of its two ends, and
// without what the kernel keeps.
func BenchmarkIdle(b *testing.B) {
	for _, idle := range []load{
		{name: "S6", conns: 500, flight: 1, size: 128},
		{name: "T6", conns: 500, flight: 1, size: 128, trust: trust(b)},
	} {
		b.Run(idle.name, func(b *testing.B) {
			origin := listen(b, idle.trust.server(serveEcho))
			front := listen(b, relayTo(origin, idle.trust))
			cost := func(addr string) int64 {
				before := inUse()
				g := idle.connect(b, addr)
				g.play(b, 1)
				used := inUse() - before
				g.close()
				return used
			}
			cost(front) // whatever is needed once
			var each float64
			for b.Loop() {
				direct := cost(origin)
				each = (float64(cost(front)) - float64(direct)) / float64(idle.conns) / 1024
			}
			b.ReportMetric(each, "KiB/conn(less=better)")
			b.ReportMetric(0, "ns/op")
		})
	}
}

// inUse returns how many bytes of heap and stacks are in use.
func inUse() int64 {
	for range 4 { // pools are emptied and stacks shrink in steps
		runtime.GC()
	}
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc + m.StackInuse)
}

// A load is a number of connections, and on each a number of messages, of size
// bytes, that are on their way at any time.
type load struct {
	name                string
	conns, flight, size int
	trust               *trusted // nil for plain connections
}

// A trusted authority vouches for all servers.
type trusted struct {
	*ca.Authority
	client *tls.Config
}

func trust(b *testing.B) *trusted {
	a, err := ca.New(b.TempDir())
	if err != nil {
		b.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AddCert(a.Certificate())
	return &trusted{a, &tls.Config{RootCAs: roots, ServerName: "127.0.0.1"}}
}

// server is serve behind TLS.
func (t *trusted) server(serve func(context.Context, net.Listener) error) func(context.Context, net.Listener) error {
	if t == nil {
		return serve
	}
	return func(ctx context.Context, l net.Listener) error {
		leaf, err := t.Leaf("127.0.0.1")
		if err != nil {
			return err
		}
		return serve(ctx, tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*leaf}}))
	}
}

// dialer returns a function that connects to addr.
func (t *trusted) dialer(addr string) func() (net.Conn, error) {
	return func() (net.Conn, error) {
		if t == nil {
			return net.Dial("tcp", addr)
		}
		return tls.Dial("tcp", addr, t.client)
	}
}

// A group is the clients of a load. All send the same message over and over, in
// frames with a few masking keys in turns: a constant key breaks a rule.
type group struct {
	load
	keys    int    // so many frames there are
	frames  []byte // twice, so that as many as are in flight follow any of them
	echo    []byte // of each, as it comes back
	clients []net.Conn
}

// connect opens the connections of a load to addr.
func (l load) connect(b *testing.B, addr string) *group {
	payload := make([]byte, l.size)
	rand.NewChaCha8([32]byte{}).Read(payload)
	f := ws.NewBinaryFrame(payload)
	g := &group{load: l, keys: max(l.flight, 3), echo: ws.MustCompileFrame(f)}
	for range g.keys {
		g.frames = append(g.frames, ws.MustCompileFrame(ws.MaskFrame(f))...)
	}
	g.frames = append(g.frames, g.frames...)
	for range l.conns {
		c, err := l.trust.dialer(addr)()
		if err != nil {
			b.Fatal(err)
		}
		br, _, err := ws.Dialer{}.Upgrade(c, &url.URL{Scheme: "ws", Host: addr, Path: "/"})
		if err != nil {
			b.Fatal(err)
		}
		if br != nil {
			b.Fatal("the server speaks first")
		}
		g.clients = append(g.clients, c)
	}
	b.Cleanup(g.close)
	return g
}

func (g *group) close() {
	for _, c := range g.clients {
		c.Close()
	}
	g.clients = nil
}

// rounds returns how many messages a connection echoes in about d.
func (l load) rounds(b *testing.B, g *group, d time.Duration) int {
	g.play(b, l.flight) // the first is slow
	for n := l.flight; ; n *= 2 {
		if took := g.play(b, n); took > d/2 {
			return max(n*int(d)/int(took), l.flight)
		}
	}
}

// play has each client send n messages and check that they come back, and
// returns how long that took.
func (g *group) play(b *testing.B, n int) time.Duration {
	began := time.Now()
	errs := make(chan error, len(g.clients))
	for _, c := range g.clients {
		go func() { errs <- g.client(c, n) }()
	}
	for range g.clients {
		if err := <-errs; err != nil {
			b.Fatal(err)
		}
	}
	return time.Since(began)
}

// client is one connection of play. Small messages are sent by the goroutine
// that reads the echoes, as many in one write as came back in one read.
func (g *group) client(c net.Conn, n int) error {
	size := len(g.frames) / (2 * g.keys)
	key := 0
	send := func(k int) error {
		_, err := c.Write(g.frames[key*size : (key+k)*size])
		key = (key + k) % g.keys
		return err
	}
	if g.flight*size > 64<<10 { // more than the way there and back can hold
		free := make(chan int, g.flight)
		defer close(free)
		write := send
		go func() {
			for k := range free {
				if write(k) != nil {
					c.Close()
				}
			}
		}()
		send = func(k int) error { free <- k; return nil }
	}
	sent, got, at := min(n, g.flight), 0, 0
	if err := send(sent); err != nil {
		return err
	}
	buf := make([]byte, min(256<<10, g.flight*size))
	for got < n {
		k, err := c.Read(buf)
		if err != nil {
			return err
		}
		done := 0
		for p := buf[:k]; len(p) > 0; {
			m := min(len(p), len(g.echo)-at)
			if !bytes.Equal(p[:m], g.echo[at:at+m]) {
				return fmt.Errorf("echo %d differs within %d bytes of byte %d", got+done, m, at)
			}
			if p, at = p[m:], at+m; at == len(g.echo) {
				done, at = done+1, 0
			}
		}
		got += done
		if k := min(done, n-sent); k > 0 {
			sent += k
			if err := send(k); err != nil {
				return err
			}
		}
	}
	return nil
}

// listen has serve run on a listener of its own until the benchmark is over.
func listen(b *testing.B, serve func(context.Context, net.Listener) error) (addr string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error)
	go func() { ended <- serve(ctx, l) }()
	b.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			b.Error(err)
		}
	})
	return l.Addr().String()
}

// each calls handle with every connection to l, and closes them when ctx ends.
func each(ctx context.Context, l net.Listener, handle func(net.Conn)) error {
	defer context.AfterFunc(ctx, func() { l.Close() })()
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		c, err := l.Accept()
		if ctx.Err() != nil {
			return nil
		}
		if err != nil {
			return err
		}
		wg.Go(func() {
			defer c.Close()
			defer context.AfterFunc(ctx, func() { c.Close() })()
			handle(c)
		})
	}
}

// relayTo is the proxy in front of origin.
func relayTo(origin string, t *trusted) func(context.Context, net.Listener) error {
	p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: origin}, KeepHost: true}
	if t != nil {
		p.Upstream.Scheme, p.Authority, p.UpstreamTLS = "wss", t.Authority, t.client
	}
	return p.Serve
}

// copyTo is a relay that only copies to what dial connects to.
func copyTo(dial func() (net.Conn, error)) func(context.Context, net.Listener) error {
	return func(ctx context.Context, l net.Listener) error {
		return each(ctx, l, func(c net.Conn) {
			u, err := dial()
			if err != nil {
				return
			}
			defer u.Close()
			var wg sync.WaitGroup
			for _, way := range [][2]net.Conn{{c, u}, {u, c}} {
				wg.Go(func() {
					io.Copy(way[0], way[1])
					way[0].(interface{ CloseWrite() error }).CloseWrite()
				})
			}
			wg.Wait()
		})
	}
}

// serveEcho sends every frame back, unmasked, as its bytes come.
func serveEcho(ctx context.Context, l net.Listener) error {
	return each(ctx, l, func(c net.Conn) {
		if _, err := ws.Upgrade(c); err != nil {
			return
		}
		r := bufio.NewReaderSize(c, 16<<10)
		var out bytes.Buffer
		var h ws.Header
		var at int64 // of h.Length bytes of payload
		for {
			if r.Buffered() == 0 { // whatever one read brought goes out in one write
				if _, err := out.WriteTo(c); err != nil {
					return
				}
			}
			if at == h.Length {
				var err error
				if h, err = ws.ReadHeader(r); errors.Is(err, io.EOF) {
					return
				}
				at = 0
				if err = ws.WriteHeader(&out, ws.Header{Fin: h.Fin, OpCode: h.OpCode, Length: h.Length}); err != nil {
					return
				}
				continue
			}
			if r.Buffered() == 0 {
				if _, err := r.Peek(1); err != nil {
					return
				}
			}
			p, _ := r.Peek(int(min(h.Length-at, int64(r.Buffered()))))
			start := out.Len()
			out.Write(p)
			ws.Cipher(out.Bytes()[start:], h.Mask, int(at%4))
			at += int64(len(p))
			r.Discard(len(p))
		}
	})
}

// BenchmarkGate compares the proxy that has a gate, which changes nothing, with
// the proxy that has none. Both carry the same echoes in turns; of-no-gate is
// the median of rate to rate: more is better, and 1 means that such a gate costs
// nothing.
func BenchmarkGate(b *testing.B) {
	for _, load := range []load{
		{name: "S1", conns: 1, flight: 1, size: 128},
		{name: "S2", conns: 64, flight: 16, size: 128},
		{name: "S4", conns: 4, flight: 2, size: 1 << 20},
	} {
		b.Run(load.name, func(b *testing.B) {
			origin := listen(b, serveEcho)
			without := load.connect(b, listen(b, relayTo(origin, nil)))
			with := load.connect(b, listen(b, func(ctx context.Context, l net.Listener) error {
				p := &proxy.Proxy{Upstream: &url.URL{Scheme: "ws", Host: origin}, KeepHost: true}
				p.NewGate = func(decode.Info, *proxy.Outlet) proxy.Gate { return passing{} }
				return p.Serve(ctx, l)
			}))
			compare(b, "of-no-gate(more=better)", without, with, load.rounds(b, without, 50*time.Millisecond))
		})
	}
}

// passing is a gate that changes nothing.
type passing struct{}

func (passing) Decide(*decode.Event) (d proxy.Decision) { return d }

// compare reports, as what, how fast ours is compared with plain. They go first
// in turns.
func compare(b *testing.B, what string, plain, ours *group, rounds int) {
	var ratios []float64
	for b.Loop() {
		var p, o time.Duration
		if len(ratios)%2 == 0 {
			p, o = plain.play(b, rounds), ours.play(b, rounds)
		} else {
			o, p = ours.play(b, rounds), plain.play(b, rounds)
		}
		ratios = append(ratios, float64(p)/float64(o))
	}
	slices.Sort(ratios)
	b.ReportMetric(ratios[len(ratios)/2], what)
	b.ReportMetric(0, "ns/op")
}
