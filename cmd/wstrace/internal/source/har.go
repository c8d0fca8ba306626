package source

import (
	"bytes"
	"context"
	"io"
	"regexp"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/har"
)

// harStart is how a HAR begins; log is its only key.
var harStart = regexp.MustCompile(`^\{\s*"log"\s*:\s*\{`)

// isHAR looks for the object that a HAR is.
func isHAR(head []byte, whole bool) answer {
	head = bytes.TrimLeft(bytes.TrimPrefix(head, []byte("\uFEFF")), " \t\r\n")
	if harStart.Match(head) {
		return yes
	}
	const longest = 1 << 10 // bytes of white space, and more than enough
	if compact := bytes.Join(bytes.Fields(head[:min(len(head), longest)]), nil); !whole && len(head) < longest && bytes.HasPrefix([]byte(`{"log":{`), compact) {
		return perhaps
	}
	return no
}

// playHAR plays a HAR.
func playHAR(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	spool := new(file.Spool)
	defer spool.Close()
	return f.playAt(ctx, sink, look, func(r io.ReaderAt, size int64) placed {
		return &har.Source{R: r, Size: size, After: f.After, Spool: spool, Bad: f.Bad}
	})
}
