package main

import (
	"fmt"
	"io"
	"os"
	"runtime"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A crowd is what many clients do, each with secrets of its own.
func crowd(sink decode.Sink, look decode.Look, n int, end bool) []*decode.Session {
	var open []*decode.Session
	at := time.Unix(1e9, 0)
	for i := range n {
		s := &decode.Session{Sink: sink, Look: look}
		s.Open(decode.Info{Conn: int64(i + 1), Time: at, Client: "127.0.0.1:1", URL: fmt.Sprintf("ws://h/?token=secret%d", i)})
		s.Data(decode.FromClient, at, fmt.Appendf(nil, "GET /chat?token=secret%d HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nCookie: a=%d\r\n"+
			"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n", i, i))
		s.Data(decode.FromServer, at, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n"))
		s.Data(decode.FromClient, at, []byte("\x81\x83\x00\x00\x00\x00abc"))
		s.Data(decode.FromServer, at, fmt.Appendf(nil, "\x81\x1f{\"accessToken\":\"secret%08d\"}", i))
		if end {
			s.End(decode.FromClient, at, decode.EndFIN, "")
			s.End(decode.FromServer, at, decode.EndFIN, "")
		} else {
			open = append(open, s)
		}
	}
	return open
}

func heap() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// What a redaction knows of a session it forgets with that, however many there
// are.
func TestRedactionForgets(t *testing.T) {
	n := 3000
	if os.Getenv("SOAK") == "true" {
		n = 100_000
	}
	look := decode.Look{Messages: true}
	r, err := newRedaction([]string{"credentials"}, look)
	if err != nil {
		t.Fatal(err)
	}
	r.files = []io.Writer{io.Discard}
	r.tee.Sinks = []decode.Sink{decode.SinkFunc(func(*decode.Event) {})}
	defer r.Close()
	crowd(r, decode.Look{}, 1000, true)
	before := heap()
	crowd(r, decode.Look{}, n, true)
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("%d sessions that are over keep %d bytes", n, grown)
	}
	const idle = 1000
	before = heap()
	plain := crowd(decode.SinkFunc(func(*decode.Event) {}), look, idle, false)
	alone := heap() - before
	before = heap()
	open := crowd(r, decode.Look{}, idle, false)
	with := heap() - before
	t.Logf("an idle session takes %d bytes, with a redaction %d", alone/idle, with/idle)
	runtime.KeepAlive(plain)
	runtime.KeepAlive(open)
	runtime.KeepAlive(r)
}
