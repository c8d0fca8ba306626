package proxy

import (
	"bytes"
	"context"
	"crypto/rand"
	"io"
	"net"
	"net/url"
	"testing"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/decode"
)

func TestSanity(t *testing.T) {
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				ws.Upgrade(c)
				for {
					m, op, err := wsutil.ReadClientData(c)
					if err != nil {
						c.Close()
						return
					}
					wsutil.WriteServerMessage(c, op, m)
				}
			}()
		}
	}()
	u, _ := url.Parse("ws://" + l.Addr().String())
	var frames, closed int
	p := &Proxy{Upstream: u, Sink: decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindFrame {
			frames++
		}
		if ev.Kind == decode.KindClosed {
			closed++
			t.Logf("%+v", *ev.Totals)
		}
	})}
	pl, _ := net.Listen("tcp", "127.0.0.1:0")
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- p.Serve(ctx, pl) }()
	c, br, _, err := ws.Dial(ctx, "ws://"+pl.Addr().String()+"/x")
	if err != nil {
		t.Fatal(err)
	}
	_ = br
	for _, n := range []int{0, 1, 125, 126, 65535, 65536, 16 << 20} {
		m := make([]byte, n)
		rand.Read(m)
		go wsutil.WriteClientMessage(c, ws.OpBinary, m)
		got, _, err := wsutil.ReadServerData(c)
		if err != nil || !bytes.Equal(got, m) {
			t.Fatal(n, err, len(got))
		}
	}
	c.(*net.TCPConn).CloseWrite()
	io.Copy(io.Discard, c)
	cancel()
	if err := <-done; err != nil {
		t.Error(err)
	}
	if frames < 14 || closed != 1 {
		t.Error(frames, closed)
	}
}
