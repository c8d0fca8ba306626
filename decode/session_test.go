package decode

import (
	"fmt"
	"testing"
	"time"
)

func TestSmoke(t *testing.T) {
	s := &Session{Sink: SinkFunc(func(ev *Event) {
		fmt.Println(ev.Kind, ev.Dir, ev.Text, ev.Violations)
		if ev.Frame != nil {
			fmt.Printf("%s %q %v\n", OpName(ev.Frame.OpCode), ev.Frame.AppendPayload(nil, -1), ev.Frame.Complete)
		}
		if ev.Totals != nil {
			fmt.Printf("%+v\n", *ev.Totals)
		}
	})}
	now := time.Now()
	s.Open(Info{Conn: 1, Time: now})
	s.Data(FromClient, now, []byte("GET /chat HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n"))
	s.Data(FromServer, now, []byte("HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n\x81\x05Hello\x88\x02\x03\xed"))
	s.Data(FromClient, now, []byte("\x81\x85\x37\xfa\x21\x3d\x7f\x9f\x4d\x51\x58\x82\x7f\xff\xff\xff\xff\xff\xff\xff\xffabc"))
	s.End(FromServer, now, EndFIN, "")
	s.End(FromClient, now, EndFIN, "")
}
