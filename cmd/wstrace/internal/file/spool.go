package file

import "os"

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
			return 0, err
		}
		os.Remove(f.Name()) // Windows refuses while it is open: Close does it there
		s.f = f
	}
	return s.f.WriteAt(p, off)
}

// ReadAt reads what was written.
func (s *Spool) ReadAt(p []byte, off int64) (int, error) {
	if s.f == nil {
		return 0, os.ErrInvalid
	}
	return s.f.ReadAt(p, off)
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
