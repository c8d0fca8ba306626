package ca

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
)

// An AccessError says that others have access to what only its owner may have:
// whoever has the key of an authority, or can put another in its place, can pose
// as any server.
type AccessError struct {
	Name string      // of the folder, or the key file
	Dir  bool        // it is the folder
	Mode fs.FileMode // its permissions
}

func (e *AccessError) Error() string {
	switch {
	case e.Dir && e.Mode&0o022 == 0:
		return fmt.Sprintf("directory %q belongs to another user", e.Name)
	case e.Dir:
		return fmt.Sprintf("directory %q can be written to by others (mode %04o)", e.Name, e.Mode)
	}
	return fmt.Sprintf("key file %q can be read by others (mode %04o, must be 0600)", e.Name, e.Mode)
}

// checkAccess returns an AccessError if others can change what is in the folder of
// an authority, or read its key. Nothing is wrong with what is not there.
func checkAccess(dir string) error {
	if err := checkDir(dir); err != nil {
		return err
	}
	file := filepath.Join(dir, KeyFile)
	info, err := os.Stat(file)
	if errors.Is(err, fs.ErrNotExist) || runtime.GOOS == "windows" { // access there is not in the mode
		return nil
	}
	if err == nil && info.Mode().Perm()&0o077 != 0 {
		err = &AccessError{Name: file, Mode: info.Mode().Perm()}
	}
	return err
}

// checkDir is the part of checkAccess about the folder.
func checkDir(dir string) error {
	info, err := os.Stat(dir)
	if errors.Is(err, fs.ErrNotExist) || runtime.GOOS == "windows" {
		return nil
	}
	if err != nil {
		return err
	}
	if mode := info.Mode().Perm(); mode&0o022 != 0 || isOthers(info) {
		return &AccessError{Name: dir, Dir: true, Mode: mode}
	}
	return nil
}
