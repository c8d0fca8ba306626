package interop

import (
	"bytes"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"sync"
	"testing"
)

// A tap relays connections to target and keeps every byte. What ends abruptly
// on one side ends properly on the other, and bytes that one side does not take
// any more are still kept, so what comes out of the proxy is known to the last.
// If it is secure it ends TLS, and keeps what was inside.
type tap struct {
	addr  string
	stop  func() // ends listening
	mu    sync.Mutex
	flows []*flow
	wg    sync.WaitGroup // listening, and the flows
}

// A flow is one connection.
type flow struct {
	up, down bytes.Buffer // from the client, and from the server

	mu    sync.Mutex
	reads []read // in the order in which they came; protected by mu
}

// A read says where some bytes of a flow are.
type read struct {
	from *bytes.Buffer
	n    int
}

// add keeps bytes.
func (f *flow) add(to *bytes.Buffer, b []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	to.Write(b)
	f.reads = append(f.reads, read{to, len(b)})
}

func newTap(t *testing.T, target string, secure *tls.Config) *tap {
	l := listen(t)
	tp := &tap{addr: l.Addr().String()}
	tp.wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			f := new(flow)
			f.up.Grow(usual)
			f.down.Grow(usual)
			tp.mu.Lock()
			tp.flows = append(tp.flows, f)
			tp.mu.Unlock()
			if secure != nil {
				c = tls.Server(c, secure)
			}
			tp.wg.Go(func() { f.relay(c, target) })
		}
	})
	tp.stop = func() { l.Close() }
	t.Cleanup(tp.stop)
	return tp
}

// all returns the connections that there were, when they have ended.
func (tp *tap) all(ctx context.Context) ([]*flow, error) {
	tp.stop()
	ended := make(chan struct{})
	go func() {
		tp.wg.Wait()
		close(ended)
	}()
	select {
	case <-ended:
	case <-ctx.Done():
		return nil, errors.New("a connection does not end")
	}
	return tp.flows, nil
}

// only returns the one connection that there was, when it has ended.
func (tp *tap) only(ctx context.Context) (*flow, error) {
	flows, err := tp.all(ctx)
	if err == nil && len(flows) != 1 {
		err = fmt.Errorf("%d connections, want 1", len(flows))
	}
	if err != nil {
		return nil, err
	}
	return flows[0], nil
}

func (f *flow) relay(c net.Conn, target string) {
	defer c.Close()
	u, err := net.Dial("tcp", target)
	if err != nil {
		return
	}
	defer u.Close()
	pass := func(dst, src net.Conn, keep *bytes.Buffer) {
		lost := false
		b := make([]byte, 64<<10)
		for {
			n, err := src.Read(b)
			f.add(keep, b[:n])
			if !lost && n > 0 {
				_, werr := dst.Write(b[:n])
				lost = werr != nil
			}
			if err != nil {
				dst.(interface{ CloseWrite() error }).CloseWrite()
				return
			}
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { pass(u, c, &f.up) })
	wg.Go(func() { pass(c, u, &f.down) })
	wg.Wait()
}
