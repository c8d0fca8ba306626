package render_test

import (
	"os"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

func ExampleNewCompact() {
	s := decode.Session{Sink: render.NewCompact(os.Stdout, render.Options{Preview: 80})}
	noon := time.Date(2012, 6, 27, 12, 0, 0, 0, time.Local)
	s.Open(decode.Info{Conn: 1, Time: noon})
	s.Upgraded()
	s.Data(decode.FromServer, noon.Add(time.Second), []byte("\x81\x0cJohn joined."))
	s.Data(decode.FromClient, noon.Add(2*time.Second), []byte("\x89\x00"))
	// Output:
	// 12:00:01.0000 #1 < text  10000001     12             "John joined."
	// 12:00:02.0000 #1 > ping  10001001      0
	// 12:00:02.0000 #1 ! client frame-client-unmasked: frame without a masking key (RFC 6455 §5.1)
}
