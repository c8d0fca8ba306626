package source

import (
	"bytes"
	"context"
	"io"
	"regexp"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/flow"
)

// flowStart is how a flow begins: a dictionary and its first key.
var flowStart = regexp.MustCompile(`^[0-9]{1,12}:[0-9]{1,2}:[a-z_]{1,32}[;,]`)

// isFlow looks for the dictionary that a flow of mitmproxy is.
func isFlow(head []byte, whole bool) answer {
	const longest = 50 // bytes of such a beginning
	switch {
	case flowStart.Match(head):
		return yes
	case whole || len(head) >= longest || !bytes.ContainsFunc(head[:min(1, len(head))], isDigit):
		return no
	}
	return perhaps
}

func isDigit(c rune) bool { return c >= '0' && c <= '9' }

// playFlow plays a flow file of mitmproxy.
func playFlow(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	return f.playAt(ctx, sink, look, func(r io.ReaderAt, size int64) placed {
		return &flow.Source{R: r, Size: size, After: f.After, Bad: f.Bad}
	})
}
