package file

import (
	"errors"
	"io/fs"
	"os"
)

// Errors of [Writer.Lock] and [Writer.Check].
var (
	ErrLocked   = errors.New("another wstrace is writing to it")
	errGone     = errors.New("the file was deleted or moved away")
	errReplaced = errors.New("another file has taken its place")
	errShorter  = errors.New("another program has cut it off")
	errLonger   = errors.New("another program writes to it")
)

// Lock keeps others that ask for the lock from writing to the file until it is
// closed. What is no regular file has no lock, and some systems have none.
func (w *Writer) Lock() error {
	if w.path == "" {
		return nil
	}
	return lock(w.f)
}

// Check returns an error if the file is no longer where it was, or does not have
// the size that it should have. What is no regular file is always as it should be.
func (w *Writer) Check() error {
	if w.path == "" {
		return nil
	}
	ours, err := w.f.Stat()
	if err != nil {
		return err
	}
	there, err := os.Stat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return errGone
	case err == nil && !os.SameFile(ours, there):
		return errReplaced
	case ours.Size() < w.out.size:
		return errShorter
	case ours.Size() > w.out.size:
		return errLonger
	}
	return nil
}
