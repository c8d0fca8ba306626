package proxy_test

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"

	"github.com/gobwas/ws"
	"github.com/gobwas/ws/wsutil"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/proxy"
)

// A proxy in front of a server, which prints the frames of each session.
func Example() {
	// The server answers in capitals.
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c, _, _, err := ws.UpgradeHTTP(r, w)
		if err != nil {
			return
		}
		defer c.Close()
		for {
			word, err := wsutil.ReadClientText(c)
			if err != nil {
				return
			}
			wsutil.WriteServerText(c, []byte(strings.ToUpper(string(word))))
		}
	}))
	defer server.Close()

	origin, _ := url.Parse(server.URL)
	p := &proxy.Proxy{
		Upstream: origin,
		Sink: decode.SinkFunc(func(ev *decode.Event) {
			if ev.Kind == decode.KindFrame {
				fmt.Printf("#%d %s %s %q\n", ev.Conn, ev.Dir, decode.OpName(ev.Frame.OpCode), ev.Frame.AppendPayload(nil, -1))
			}
		}),
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		panic(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	served := make(chan error)
	go func() { served <- p.Serve(ctx, l) }()

	// The client takes the proxy for the server.
	c, _, _, err := ws.Dial(ctx, "ws://"+l.Addr().String()+"/")
	if err != nil {
		panic(err)
	}
	wsutil.WriteClientText(c, []byte("hello"))
	wsutil.ReadServerText(c)
	c.Close()

	stop()
	<-served
	// Output:
	// #1 client text "hello"
	// #1 server text "HELLO"
}
