package trace_test

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// A trace that was written by hand is played: the events are those of a live
// session.
func ExampleSource() {
	const fixture = `{"wstrace":1}
{"k":"open","c":1}
# the server continues a message that it never began
{"k":"frame","d":"<","op":"cont","text":"lo"}
`
	src := trace.Source{R: strings.NewReader(fixture)}
	err := src.Play(context.Background(), decode.SinkFunc(func(ev *decode.Event) {
		for _, v := range ev.Violations {
			fmt.Printf("line %d: %s\n", ev.Line, v.String())
		}
	}), decode.Look{})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// line 4: server frag-orphan-continuation: continuation without a message to continue (RFC 6455 §5.4)
}

// A Writer records sessions. A proxy takes it for its sink.
func ExampleWriter() {
	s := decode.Session{Sink: trace.NewWriter(os.Stdout, trace.Options{By: "example"})}
	now := time.Date(2026, 11, 21, 7, 31, 41, 0, time.UTC)
	s.Open(decode.Info{Conn: 1, Time: now, URL: "ws://localhost/chat"})
	s.Upgraded()
	s.Data(decode.FromServer, now.Add(time.Second), []byte("\x81\x05Hello"))
	// Output:
	// {"wstrace":1,"t0":"2026-11-21T07:31:41Z","by":"example"}
	// {"k":"open","t":0,"c":1,"url":"ws://localhost/chat"}
	// {"k":"frame","t":1,"c":1,"d":"<","op":"text","text":"Hello"}
}
