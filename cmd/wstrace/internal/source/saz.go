package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"regexp"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/flow"
	"github.com/wstrace/wstrace/decode/saz"
)

// isSAZ looks for a ZIP with sessions of Fiddler in it, or for one of ours without any.
func isSAZ(head []byte, whole bool) answer {
	const zip = "PK\x03\x04"
	switch {
	case !bytes.HasPrefix(head, []byte(zip[:min(len(zip), len(head))])):
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
	const sig, fixed = "PK\x03\x04", 30
	for {
		i := bytes.Index(head, []byte(sig))
		if i < 0 || len(head) < i+fixed {
			return false
		}
		name := head[i+fixed:]
		for _, begin := range []string{"raw/", `raw\`, "_index.htm"} {
			if bytes.HasPrefix(name, []byte(begin)) {
				return true
			}
		}
		head = head[i+len(sig):]
	}
}

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

// playSAZ plays an archive of Fiddler.
func playSAZ(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	err = f.at(func(r io.ReaderAt, size int64) error {
		s := &saz.Source{R: r, Size: size, After: f.After, Bad: f.Bad}
		err := s.Play(ctx, sink, look)
		last, f.messages = s.Last(), s.Messages()
		return err
	})
	return last, err
}

// playFlow plays a flow file of mitmproxy.
func playFlow(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	err = f.at(func(r io.ReaderAt, size int64) error {
		s := &flow.Source{R: r, Size: size, After: f.After, Bad: f.Bad}
		err := s.Play(ctx, sink, look)
		last, f.messages = s.Last(), s.Messages()
		return err
	})
	return last, err
}

// at calls play with the content of f, for a format that is not read from beginning to
// end.
func (f *File) at(play func(r io.ReaderAt, size int64) error) error {
	spool := new(file.Spool)
	defer spool.Close()
	r, size, err := f.r.At(spool)
	cut := errors.Is(err, io.ErrUnexpectedEOF)
	if err != nil && !cut {
		return err
	}
	if err = play(r, size); err == nil && cut {
		err = &decode.SourceError{Offset: size, Err: decode.ErrCut}
	}
	return err
}
