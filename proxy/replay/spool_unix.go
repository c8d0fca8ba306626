//go:build unix

package replay

import (
	"os"
	"syscall"
)

// A spool is a file without a name that holds contents, so that they take memory only
// while they are looked at. What it has given out stays readable as long as the process
// runs.
type spool struct {
	file   *os.File // nil before the first content
	broken bool     // it takes no more, as when the disk is full
	mapped []byte   // the part of the file that was mapped last
	window []byte   // what of it is not used yet
	at     int64    // where that stands
}

// spoolWindow is how much of the file is mapped at a time, in bytes, if a content is not
// longer.
const spoolWindow = 64 << 20

// keep returns b in the file, or nil if it can't be there.
func (s *spool) keep(b []byte) []byte {
	if s.broken || len(b) == 0 {
		return nil
	}
	if len(s.window) < len(b) && !s.open(len(b)) {
		s.broken = true
		return nil
	}
	if _, err := s.file.WriteAt(b, s.at); err != nil { // a page that is only mapped would fail when it is touched
		s.broken = true
		return nil
	}
	kept := s.window[:len(b):len(b)]
	s.window, s.at = s.window[len(b):], s.at+int64(len(b))
	return kept
}

// open maps room for n bytes at the end of the file.
func (s *spool) open(n int) bool {
	if s.file == nil {
		f, err := os.CreateTemp("", "wstrace-replay-*")
		if err != nil {
			return false
		}
		os.Remove(f.Name())
		s.file = f
	}
	page := int64(os.Getpagesize())
	forget(s.mapped)
	start := (s.at + int64(len(s.window)) + page - 1) / page * page
	size := (max(int64(n), spoolWindow) + page - 1) / page * page
	if s.file.Truncate(start+size) != nil {
		return false
	}
	window, err := syscall.Mmap(int(s.file.Fd()), start, int(size), syscall.PROT_READ, syscall.MAP_SHARED)
	if err != nil {
		return false
	}
	s.window, s.mapped, s.at = window, window, start
	return true
}
