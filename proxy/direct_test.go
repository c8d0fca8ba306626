package proxy

import (
	"context"
	"net"
	"sync"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// serveDirect hands p each connection to l as one that wanted to go to the origin.
func (r *rig) serveDirect(ctx context.Context, l net.Listener) error {
	var wg sync.WaitGroup
	defer wg.Wait()
	defer context.AfterFunc(ctx, func() { l.Close() })()
	for {
		c, err := l.Accept()
		if err != nil {
			return nil
		}
		wg.Go(func() {
			to, err := net.Dial("tcp", r.host())
			if err != nil {
				c.Close()
				return
			}
			r.p.ServeConn(ctx, c, Target{Addr: r.host(), Conn: to, PID: 1234, Process: "client"})
		})
	}
}

// A session says whose it is.
func TestDirectInfo(t *testing.T) {
	r := newRig(t, inDirect)
	r.upgrade()
	evs, _ := r.snapshot(1)
	info := *evs[0].Info
	want := decode.Info{Conn: 1, Time: info.Time, Client: info.Client, Server: r.host(), URL: "ws://example.test/chat", Via: "direct", PID: 1234, Process: "client"}
	if info != want {
		t.Errorf("got %+v, want %+v", info, want)
	}
	r.stop()
	if len(r.p.ours) > 0 {
		t.Errorf("got %v, want all upstream connections forgotten", r.p.ours)
	}
}
