package edit

import (
	"bufio"
	"cmp"
	"io"
	"os"
	"path/filepath"
)

// Replace gives a file new content, which write writes, with the permissions
// that it had. The old content stays until the new is complete, and if write
// fails. A symbolic link goes on pointing to the file.
func Replace(file string, write func(io.Writer) error) error {
	file, err := filepath.EvalSymlinks(file)
	if err != nil {
		return err
	}
	st, err := os.Stat(file)
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(file), "."+filepath.Base(file)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	b := bufio.NewWriterSize(f, 64<<10)
	if err := cmp.Or(f.Chmod(st.Mode().Perm()), write(b), b.Flush()); err != nil {
		f.Close()
		return err
	}
	if err := f.Close(); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
