package file

import (
	"bytes"
	"errors"
	"io"
	"os"
)

// Errors of [Writer.Resume].
var (
	ErrMemberCut = errors.New("its last compressed member is cut off, as after a crash: nothing can follow it")
	errOtherComp = errors.New("its content is not compressed as its name says")
	errInLine    = errors.New("its compressed content ends in the middle of a line")
	errNoLine    = errors.New("it has no whole line")
)

// Resume has the writing begin behind the last whole line that the file has,
// instead of emptying it. Whole says of a last line without an end whether it is
// one all the same. A compressed file has to end with a whole member and a whole
// line. The file stays as it is until [Writer.Begin].
func (w *Writer) Resume(whole func(line []byte) bool) error {
	st, err := os.Stat(w.path)
	if err != nil || st.Size() == 0 {
		return err
	}
	r, err := Open(w.path)
	if err != nil {
		return memberError(err)
	}
	defer r.Close()
	if r.Compression != w.compression {
		return errOtherComp
	}
	if r.Compression != Plain {
		w.keep = st.Size()
		return lastLine(r)
	}
	return w.cutBack(st.Size(), whole)
}

func memberError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return ErrMemberCut
	}
	return err
}

// lastLine reads r to its end and returns an error if that is not the end of a
// line.
func lastLine(r io.Reader) error {
	buf := make([]byte, 64<<10)
	last := byte('\n')
	for {
		n, err := r.Read(buf)
		if n > 0 {
			last = buf[n-1]
		}
		switch {
		case err == io.EOF && last != '\n':
			return errInLine
		case err == io.EOF:
			return nil
		case err != nil:
			return memberError(err)
		}
	}
}

// maxTail is how far back the end of the last whole line is looked for: the
// longest line that a trace has.
const maxTail = 64 << 20

// cutBack finds the end of the last whole line of a file of size bytes.
func (w *Writer) cutBack(size int64, whole func([]byte) bool) error {
	f, err := os.Open(w.path)
	if err != nil {
		return err
	}
	defer f.Close()
	var tail []byte // of the file, up to from
	for from := size; from > 0 && len(tail) <= maxTail; {
		n := min(from, max(64<<10, int64(len(tail))))
		from -= n
		block := make([]byte, n, int(n)+len(tail))
		if _, err := f.ReadAt(block, from); err != nil {
			return err
		}
		i := bytes.LastIndexByte(block, '\n')
		tail = append(block, tail...)
		if i < 0 {
			continue
		}
		w.keep = from + int64(i) + 1
		if w.cut = size - w.keep; w.cut > 0 && whole(tail[i+1:]) {
			w.keep, w.cut = size, 0
			w.lineEnd = true
		}
		return nil
	}
	return errNoLine
}

// Lost returns how many bytes behind the last whole line Begin cuts off.
func (w *Writer) Lost() int64 { return w.cut }
