package replay

import (
	"context"
	"errors"
	"net"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wstrace/wstrace/proxy/internal/memconn"
)

// A server that does not answer is waited for as long as for anything else: when
// it is dialled, in the TLS handshake and in that of HTTP.
func TestStallWhileConnecting(t *testing.T) {
	never := func(ctx context.Context, _, _ string) (net.Conn, error) {
		<-ctx.Done()
		return nil, &net.OpError{Op: "dial", Err: ctx.Err()}
	}
	deaf := func(context.Context, string, string) (net.Conn, error) {
		time.Sleep(time.Minute)
		client, server := memconn.Pipe()
		server.Close()
		return client, nil
	}
	var server *memconn.Conn
	silent := func(context.Context, string, string) (net.Conn, error) {
		var client *memconn.Conn
		client, server = memconn.Pipe()
		return client, nil
	}
	for _, c := range []struct {
		name, url, want string
		dial            func(ctx context.Context, network, addr string) (net.Conn, error)
	}{
		{"dial", "ws://example.com", `client waits for the connection to "example.com:80": nothing for 3s`, never},
		{"a dialer without context", "wss://example.com", `client waits for the connection to "example.com:443": nothing for 3s`, deaf},
		{"TLS", "wss://example.com", "client waits for the TLS handshake of the server: nothing for 3s", silent},
		{"HTTP", "ws://example.com", "client waits for the response of the server (line 4): nothing for 3s", silent},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun := time.Now()
				err := loaded(t, talk).Connect(t.Context(), c.url, Stall(3*time.Second), Dialer(c.dial))
				if err == nil || !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), c.want) {
					t.Errorf("got %v, want %s", err, c.want)
				}
				if took := time.Since(begun); took != 3*time.Second {
					t.Errorf("took %v", took)
				}
				time.Sleep(time.Hour) // until all are gone
				if server != nil {
					server.Close()
				}
				server = nil
			})
		})
	}

	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errElsewhere)
	if err := loaded(t, talk).Connect(ctx, "ws://example.com", Dialer(never)); err != errElsewhere {
		t.Errorf("got %v", err)
	}
}

// A port that nobody accepts connections of, and whose backlog is full, is one too.
func TestStallFullBacklog(t *testing.T) {
	addr := fullListener(t)
	err := loaded(t, talk).Connect(t.Context(), "ws://"+addr, Stall(100*time.Millisecond))
	if !errors.Is(err, ErrStalled) || !strings.Contains(err.Error(), "client waits for the connection") {
		t.Errorf("got %v", err)
	}
}
