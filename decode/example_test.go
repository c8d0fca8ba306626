package decode_test

import (
	"fmt"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A session is given what both sides sent, and says what it was.
func Example() {
	s := decode.Session{
		Look: decode.Look{Messages: true},
		Sink: decode.SinkFunc(func(ev *decode.Event) {
			switch ev.Kind {
			case decode.KindFrame:
				f := ev.Frame
				fmt.Printf("%s %s %08b %q\n", f.Dir, decode.OpName(f.OpCode), f.Flags(), f.AppendPayload(nil, 80))
			case decode.KindMessage:
				fmt.Printf("message %q in %d frames\n", ev.Message.Data, ev.Message.Frames)
			}
			for _, v := range ev.Violations {
				fmt.Println(v.String())
			}
		}),
	}
	now := time.Now()
	s.Open(decode.Info{Conn: 1, Time: now})
	s.Upgraded() // the handshake lies before the bytes
	s.Data(decode.FromServer, now, []byte("\x01\x03Hel"))
	s.Data(decode.FromServer, now, []byte("\x80\x02lo\x80\x01!"))
	// Output:
	// server text 00000001 "Hel"
	// server cont 10000000 "lo"
	// message "Hello" in 2 frames
	// server cont 10000000 "!"
	// server frag-orphan-continuation: continuation without a message to continue (RFC 6455 §5.4)
}
