package file

import (
	"errors"
	"io"
	"os"
)

// errNoFollow is the error of following a file that has to be there as a whole.
var errNoFollow = errors.New("needs the whole file, which one that is followed has not")

// At gives the content for reading at any place, with its size: the file itself, or
// else a copy of it in spool. Before it, nothing may have been read. The error is
// [io.ErrUnexpectedEOF] if the end of a compressed file is missing; what there is can
// be read then.
func (r *Reader) At(spool *Spool) (io.ReaderAt, int64, error) {
	switch f := r.f.(type) {
	case *follower:
		return nil, 0, errNoFollow
	case *os.File:
		st, err := f.Stat()
		if err == nil && st.Mode().IsRegular() && r.Compression == Plain && f != os.Stdin {
			return f, st.Size(), nil
		}
	}
	w := io.NewOffsetWriter(spool, 0)
	n, err := io.Copy(w, r.Reader)
	return spool, n, err
}
