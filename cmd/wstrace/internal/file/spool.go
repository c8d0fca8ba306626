package file

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
)

// A Spool keeps what does not fit into memory, in a temporary file for its owner
// alone, which is gone when the Spool is closed. The zero value is ready for use, and
// makes the file at the first WriteAt.
type Spool struct {
	f *os.File
}

// WriteAt writes p at an offset.
func (s *Spool) WriteAt(p []byte, off int64) (int, error) {
	if s.f == nil {
		f, err := os.CreateTemp("", "wstrace-*")
		if err != nil {
			return 0, spoolError(err)
		}
		os.Remove(f.Name()) // Windows refuses while it is open: Close does it there
		s.f = f
	}
	n, err := s.f.WriteAt(p, off)
	return n, spoolError(err)
}

// spoolError says that err is about the temporary file, and not about what is read or
// written, which is why it does not wrap err.
func spoolError(err error) error {
	if err == nil || err == io.EOF {
		return err
	}
	if pe, ok := errors.AsType[*fs.PathError](err); ok {
		err = pe.Err
	}
	return fmt.Errorf("temporary file in %q: %v", os.TempDir(), err)
}

// ReadAt reads what was written.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if s.f == nil {
		return 0, os.ErrInvalid
	}
	n, err := s.f.ReadAt(p, off)
	return n, spoolError(err)
}

// Close removes the file.
func (s *Spool) Close() error {
	if s.f == nil {
		return nil
	}
	err := s.f.Close()
	os.Remove(s.f.Name())
	s.f = nil
	return err
}
