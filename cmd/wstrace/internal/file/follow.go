package file

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"time"
)

// lookAgain is how long a follower waits before it looks for more.
const lookAgain = 50 * time.Millisecond

// errCutBack says that a file that is followed has become shorter.
var errCutBack = errors.New("the file has become shorter than what was read of it")

// Follow opens a file that grows, once it is there. Where it ends the Reader waits
// for more; when another file has taken its place, as with --rotate, it goes on with
// that. The end is that of ctx. Whenever it begins to wait it calls waiting, if that is
// not nil, and says whether the file is there.
func Follow(ctx context.Context, name string, waiting func(there bool)) (*Reader, error) {
	if waiting == nil {
		waiting = func(bool) {}
	}
	w := &follower{ctx: ctx, name: name, waiting: waiting}
	if err := w.open(); err != nil {
		return nil, err
	}
	return newReader(w)
}

// A follower reads a file that grows.
type follower struct {
	ctx     context.Context
	name    string
	waiting func(there bool)
	told    bool // it waits, and has said so
	f       *os.File
	read    int64 // of f
}

// open waits for the file, and opens it.
func (w *follower) open() error {
	for {
		f, err := os.Open(w.name)
		if err == nil {
			w.f, w.read, w.told = f, 0, false
			return nil
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		if !w.wait(false) {
			return context.Cause(w.ctx)
		}
	}
}

// wait waits a moment. It returns false if that is the end.
func (w *follower) wait(there bool) bool {
	if !w.told {
		w.told = true
		w.waiting(there)
	}
	t := time.NewTimer(lookAgain)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-w.ctx.Done():
		return false
	}
}

// Read reads what comes next.
func (w *follower) Read(p []byte) (int, error) {
	for replaced := false; ; {
		n, err := w.f.Read(p)
		w.read += int64(n)
		if n > 0 || err != io.EOF {
			w.told = false
			return n, err
		}
		if replaced { // and that was the end of the old one
			w.f.Close()
			if err := w.open(); w.ctx.Err() != nil {
				return 0, io.EOF
			} else if err != nil {
				return 0, err
			}
			replaced = false
			continue
		}
		ours, err := w.f.Stat()
		if err != nil {
			return 0, err
		}
		there, err := os.Stat(w.name)
		switch {
		case err == nil && !os.SameFile(ours, there):
			replaced = true
			continue
		case ours.Size() < w.read:
			return 0, errCutBack
		}
		if !w.wait(true) {
			return 0, io.EOF
		}
	}
}

// Close closes the file.
func (w *follower) Close() error { return w.f.Close() }
