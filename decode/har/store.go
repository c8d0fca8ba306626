package har

import (
	"errors"
	"io"
)

// A Spool keeps what does not fit into memory, such as a temporary file.
type Spool interface {
	io.WriterAt
	io.ReaderAt
}

const (
	inMemory  = 16 << 20 // bytes that a store keeps before it uses its Spool
	spoolFrom = 32 << 10 // bytes of a stream that are worth a place in it
)

// A store keeps streams of bytes.
type store struct {
	spool  Spool // nil keeps all in memory
	err    error // the first of the spool
	memory int   // bytes in memory, of all streams
	live   int64 // bytes in the spool that are still wanted
	end    int64 // of what is in the spool
}

// A stream is bytes that a store keeps. The zero value is empty.
type stream struct {
	places []place // in the spool, in their order
	tail   []byte  // what follows them
	n      int64   // bytes in all
}

type place struct{ at, n int64 }

// add adds b at the end of s.
func (st *store) add(s *stream, b []byte) {
	s.tail = append(s.tail, b...)
	s.n += int64(len(b))
	st.memory += len(b)
	if st.spool == nil || st.err != nil || st.memory <= inMemory || len(s.tail) < spoolFrom && st.memory <= 2*inMemory {
		return
	}
	n := int64(len(s.tail))
	if _, st.err = st.spool.WriteAt(s.tail, st.end); st.err != nil {
		return
	}
	if last := len(s.places) - 1; last >= 0 && s.places[last].at+s.places[last].n == st.end {
		s.places[last].n += n
	} else {
		s.places = append(s.places, place{st.end, n})
	}
	st.end, st.live = st.end+n, st.live+n
	st.memory -= len(s.tail)
	if s.tail = s.tail[:0]; cap(s.tail) > 4*spoolFrom {
		s.tail = nil
	}
}

// reader returns what reads s, to which nothing may be added any more.
func (st *store) reader(s *stream) io.Reader {
	if st.err != nil {
		return errReader{st.err}
	}
	parts := make([]io.Reader, 0, len(s.places)+1)
	for _, p := range s.places {
		parts = append(parts, wholeReader{io.NewSectionReader(st.spool, p.at, p.n)})
	}
	return io.MultiReader(append(parts, bytesReader(s.tail))...)
}

// drop gives up s.
func (st *store) drop(s *stream) {
	for _, p := range s.places {
		st.live -= p.n
	}
	if st.live == 0 {
		st.end = 0
	}
	st.memory -= len(s.tail)
	*s = stream{}
}

type errReader struct{ err error }

func (r errReader) Read([]byte) (int, error) { return 0, r.err }

var errSpool = errors.New("a temporary file has become shorter")

// A wholeReader reads a part of the spool, which must be all there.
type wholeReader struct{ *io.SectionReader }

func (r wholeReader) Read(p []byte) (int, error) {
	n, err := r.SectionReader.Read(p)
	if err == io.EOF {
		if at, _ := r.Seek(0, io.SeekCurrent); at < r.Size() {
			err = errSpool
		}
	}
	return n, err
}
