package render_test

import (
	"os"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

// play gives a short session to sink, as a proxy or a file would.
func play(sink decode.Sink) {
	noon := time.Date(2012, 6, 27, 12, 0, 0, 0, time.Local)
	s := decode.Session{Sink: sink, Look: decode.Look{Messages: true}}
	s.Open(decode.Info{Conn: 1, Time: noon, URL: "ws://localhost:1901/chat"})
	s.Upgraded() // its handshake was before
	s.Data(decode.FromServer, noon.Add(time.Second), []byte("\x81\x0cJohn joined."))
	s.Data(decode.FromClient, noon.Add(2*time.Second), []byte("\x89\x02hb"))
}

func ExampleNewCompact() {
	play(render.NewCompact(os.Stdout, render.Options{Preview: 80}))
	// Output:
	// 12:00:01.0000 #1 < text  10000001     12             "John joined."
	// 12:00:02.0000 #1 > ping  10001001      2             "hb"
	// 12:00:02.0000 #1 ! client frame-client-unmasked: frame without a masking key (RFC 6455 §5.1)
}

func ExampleNewFiddler() {
	play(render.NewFiddler(os.Stdout, render.Options{Preview: 5}))
	// Output:
	// 12:00:01:0000  Server->Client (14 bytes)
	// TYPE: TEXT.
	// MESSAGE: John …
	// FLAGS: 10000001 DATA: 12 bytes.
	// ------------------------------
	// 12:00:02:0000  Client->Server (4 bytes)
	// TYPE: PING.
	// MESSAGE: hb
	// FLAGS: 10001001 DATA: 2 bytes.
	// 12:00:02:0000 #1 ! client frame-client-unmasked: frame without a masking key (RFC 6455 §5.1)
	// ------------------------------
}

func ExampleNewHex() {
	play(render.NewHex(os.Stdout, render.Options{Preview: 4096}))
	// Output:
	// 12:00:01.0000 #1 < text  10000001     12
	// 00000000  81 0c 4a 6f 68 6e 20 6a  6f 69 6e 65 64 2e        |..John joined.|
	// 12:00:02.0000 #1 > ping  10001001      2
	// 00000000  89 02 68 62                                       |..hb|
	// 12:00:02.0000 #1 ! client frame-client-unmasked: frame without a masking key (RFC 6455 §5.1)
}

func ExampleNewReport() {
	r := render.NewReport(os.Stdout, render.Options{Preview: 80}, decode.SeverityWarning)
	play(r)
	r.End()
	// Output:
	// 12:00:00.0000 #1 ws://localhost:1901/chat: 1 error
	//
	//   error client frame-client-unmasked: frame without a masking key
	//       (RFC 6455 §5.1)
	//     12:00:02.0000 > frame 0 at byte 0: ping 10001001, 2 bytes
	//   00000000  89 02 68 62                                       |..hb|
	//                ^^
	//
	// 1 session, 1 with errors: 1 error
}
