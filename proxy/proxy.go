package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy/ca"
	"github.com/wstrace/wstrace/proxy/internal/clock"
)

// Defaults for the zero values of the fields of [Proxy].
const (
	DefaultMaxHead          = 64 << 10 // bytes
	DefaultHandshakeTimeout = 30 * time.Second
	DefaultDialTimeout      = 10 * time.Second
)

// flushAfter is how long something may be held back from the sinks while the
// rest of it has not come; see decode.Session.Flush.
const flushAfter = time.Second

// A Proxy relays HTTP and WebSocket connections and gives every byte to
// sessions on its way. The zero value is a forward proxy that nobody watches.
// Fields must not change once it serves.
type Proxy struct {
	// Upstream is the origin of a reverse proxy; only its scheme and host
	// count. If nil, requests name their targets.
	Upstream *url.URL

	// KeepHost leaves the Host header as the client sent it. Otherwise a
	// reverse proxy puts the host of Upstream there, and a forward proxy the one
	// that the target names.
	KeepHost bool

	// Sink takes the events of all sessions, one at a time; nil drops them. If
	// others use it at the same time, let it be a [decode.Tee].
	Sink decode.Sink

	// Strict refuses handshakes that break a rule of severity error: a request
	// with 400 and a response with 502, and the violation for a body. Otherwise
	// they are relayed like everything else. It also refuses TLS that is no longer
	// safe: before version 1.2, with RSA key exchange, RC4 or 3DES.
	Strict bool

	// Look says what the sessions look into besides frames.
	Look decode.Look

	// NewGate, if not nil, makes the gate of a session that asks for websocket:
	// what decides which of its frames go on, and how. It may return nil, for
	// none. It is called before the first event of the session; out is where the
	// gate sends what it adds. Frames of a client that does not wait for the
	// answer to its request then wait for it.
	NewGate func(info decode.Info, out *Outlet) Gate

	// MaxHead is the longest head in bytes that is relayed, at most 512 KiB.
	MaxHead int

	// HandshakeTimeout is how long a client may take to send a request head,
	// and a server to answer a request for websocket.
	HandshakeTimeout time.Duration

	// DialTimeout is how long a connection to a server may take to come about.
	DialTimeout time.Duration

	// Dial, if not nil, connects to a server, "host:port", in place of a
	// [net.Dialer] with DialTimeout.
	Dial func(ctx context.Context, addr string) (net.Conn, error)

	// Authority mints the certificates with which the TLS of clients is looked
	// into. If nil, TLS is relayed unread.
	Authority *ca.Authority

	// Pass reports whether TLS to a host is to be relayed unread all the same. It is
	// asked for the host of a tunnel, and for the name that the client asks for in
	// TLS if that is another; for the name alone, if there is one, in [Proxy.ServeConn].
	Pass func(host string) bool

	// Only, if not nil, reports whether TLS to a host is looked into: the host of a
	// tunnel, or in [Proxy.ServeConn] the name that the client asks for in TLS, if there
	// is one. Pass has the last word.
	Only func(host string) bool

	// UpstreamTLS says whom to trust in TLS with servers, and how to show who
	// we are; nil means the system's roots and no certificate.
	UpstreamTLS *tls.Config

	// KeyLog takes the secrets of TLS on both legs, in the NSS key log format.
	// Whoever has them can read the traffic.
	KeyLog io.Writer

	// Page returns the HTML page for a browser that was pointed at the proxy,
	// which listens on self, as if it were a server. If nil, the page says that
	// this is a proxy.
	Page func(self net.Addr) string

	// Log takes diagnostics; nil drops them. A record of a failure that can be
	// mended has its [Reason].
	Log *slog.Logger

	start    sync.Once
	clock    clock.Clock // of all sessions; begins with the first Serve or ServeConn
	sink     decode.Sink // Sink, or a Tee around it
	tickets  tls.ClientSessionCache
	warned   sync.Map // the Reasons that were logged, as keys
	sessions atomic.Int64
	trust    trust // of clients whose connections were led here

	mu   sync.Mutex
	ours map[ends]int // upstream connections, as we see them; protected by mu
}

func (p *Proxy) maxHead() int {
	if p.MaxHead == 0 {
		return DefaultMaxHead
	}
	return min(p.MaxHead, decode.MaxHead/2)
}

func (p *Proxy) handshakeTimeout() time.Duration {
	if p.HandshakeTimeout == 0 {
		return DefaultHandshakeTimeout
	}
	return p.HandshakeTimeout
}

func (p *Proxy) dialTimeout() time.Duration {
	if p.DialTimeout == 0 {
		return DefaultDialTimeout
	}
	return p.DialTimeout
}

func (p *Proxy) log() *slog.Logger {
	if p.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return p.Log
}

// Serve accepts connections on l and relays them until ctx ends. It then
// closes l and all connections as they are, without Close frames, waits until
// their sessions have ended, and returns nil. It returns an error if l fails
// before.
func (p *Proxy) Serve(ctx context.Context, l net.Listener) error {
	ctx, cancel := context.WithCancel(ctx)
	var links sync.WaitGroup
	defer links.Wait()
	defer cancel()
	defer l.Close()
	defer context.AfterFunc(ctx, func() { l.Close() })()

	p.begin()
	var pause time.Duration
	for {
		c, err := l.Accept()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if !passes(err) {
				return err
			}
			pause = min(max(2*pause, 5*time.Millisecond), time.Second)
			p.log().Warn("accept: " + err.Error())
			select {
			case <-time.After(pause):
			case <-ctx.Done():
			}
			continue
		}
		pause = 0
		k := p.newLink(ctx, l.Addr(), p.newLeg(c))
		links.Go(func() {
			defer context.AfterFunc(ctx, k.abort)()
			k.serve()
		})
	}
}

// begin readies p to serve.
func (p *Proxy) begin() {
	p.start.Do(func() {
		if p.clock.Start.IsZero() {
			p.clock = clock.New()
		}
		p.tickets = tls.NewLRUClientSessionCache(0)
		p.sink = decode.Shared(p.Sink)
	})
}

// passes reports whether an error of Accept is of the kind that passes: the
// client gave up, or there are not enough files or memory just now.
func passes(err error) bool {
	for _, e := range []error{syscall.ECONNABORTED, syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}

// ends are the addresses of a connection. One alone does not tell which it is:
// a port may serve several connections to different peers at the same time.
type ends struct{ local, remote string }

func endsOf(c net.Conn) ends { return ends{c.LocalAddr().String(), c.RemoteAddr().String()} }

// dial connects to addr, "host:port", and remembers the connection, so that a
// request that comes back to us is recognised.
func (p *Proxy) dial(ctx context.Context, addr string) (net.Conn, error) {
	p.log().Debug(fmt.Sprintf("dial upstream %q", addr))
	d := net.Dialer{Timeout: p.dialTimeout()}
	if host, port, err := net.SplitHostPort(addr); err == nil && strings.EqualFold(host, "localhost.") {
		addr = net.JoinHostPort("localhost", port) // by the name that lists of hosts have
	}
	dial := p.Dial
	if dial == nil {
		dial = func(ctx context.Context, addr string) (net.Conn, error) { return d.DialContext(ctx, "tcp", addr) }
	}
	c, err := dial(ctx, addr)
	if err != nil {
		return nil, err
	}
	p.remember(c)
	return c, nil
}

// remember takes c for an upstream connection, until forget.
func (p *Proxy) remember(c net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.ours == nil {
		p.ours = make(map[ends]int)
	}
	p.ours[endsOf(c)]++
}

// forget closes an upstream connection.
func (p *Proxy) forget(c net.Conn) {
	c.Close()
	p.mu.Lock()
	defer p.mu.Unlock()
	e := endsOf(c)
	if p.ours[e]--; p.ours[e] == 0 { // else its ports are in use again already
		delete(p.ours, e)
	}
}

// isOurs reports whether c, which was accepted, is the other end of an upstream
// connection: what comes from there has been through this proxy.
func (p *Proxy) isOurs(c net.Conn) bool {
	e := endsOf(c)
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.ours[ends{local: e.remote, remote: e.local}] > 0
}
