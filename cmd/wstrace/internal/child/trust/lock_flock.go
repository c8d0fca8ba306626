//go:build darwin || dragonfly || freebsd || linux || netbsd || openbsd

package trust

import (
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// lockDir opens a directory and locks it. It is an error if the directory is no longer
// there then. Where a file system knows no locks there is none, and nobody takes the
// directory for one that was left behind.
func lockDir(path string) (*os.File, error) {
	f, err := os.Open(path) // not inherited by commands, so that the lock ends with us
	if err != nil {
		return nil, err
	}
	if err := flock(f); errors.Is(err, syscall.EWOULDBLOCK) {
		f.Close()
		return nil, err
	}
	ours, err := f.Stat()
	if err == nil {
		var there fs.FileInfo
		if there, err = os.Lstat(path); err == nil && !os.SameFile(ours, there) {
			err = fs.ErrNotExist
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// removeIfStale removes a directory of this user that nobody has locked.
func removeIfStale(temp *os.Root, name string) {
	info, err := temp.Lstat(name)
	if err != nil || !info.IsDir() {
		return // nor what a link leads to
	}
	if st, ok := info.Sys().(*syscall.Stat_t); !ok || int(st.Uid) != os.Geteuid() {
		return
	}
	f, err := temp.Open(name)
	if err != nil {
		return
	}
	defer f.Close() // after the removal, during which no process can take it into use
	if opened, err := f.Stat(); err != nil || !os.SameFile(info, opened) || flock(f) != nil {
		return
	}
	temp.RemoveAll(name)
}

// flock takes the lock on f, or fails at once.
func flock(f *os.File) error {
	for {
		err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
		if !errors.Is(err, syscall.EINTR) {
			return err
		}
	}
}
