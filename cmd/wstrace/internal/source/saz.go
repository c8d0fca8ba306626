package source

import (
	"bytes"
	"context"
	"io"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/saz"
)

// zipEntry begins each entry of a ZIP.
const zipEntry = "PK\x03\x04"

// isSAZ looks for a ZIP with sessions of Fiddler in it, or for one of ours without any.
func isSAZ(head []byte, whole bool) answer {
	switch {
	case !bytes.HasPrefix(head, []byte(zipEntry[:min(len(zipEntry), len(head))])):
		return no
	case hasEntry(head), whole && bytes.Contains(head, []byte(saz.Comment)):
		return yes
	case whole:
		return no
	}
	return perhaps
}

// hasEntry reports whether an entry of a session, or of the index, begins in head.
func hasEntry(head []byte) bool {
	const fixed = 30 // bytes in front of the name of an entry
	for {
		i := bytes.Index(head, []byte(zipEntry))
		if i < 0 || len(head) < i+fixed {
			return false
		}
		name := head[i+fixed:]
		for _, begin := range []string{"raw/", `raw\`, "_index.htm"} {
			if bytes.HasPrefix(name, []byte(begin)) {
				return true
			}
		}
		head = head[i+len(zipEntry):]
	}
}

// playSAZ plays an archive of Fiddler.
func playSAZ(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	return f.playAt(ctx, sink, look, func(r io.ReaderAt, size int64) placed {
		return &saz.Source{R: r, Size: size, After: f.After, Bad: f.Bad}
	})
}
