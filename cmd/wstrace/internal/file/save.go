package file

import (
	"bufio"
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
)

// Save gives the file called name the content that write writes, compressed by c. A
// regular file is replaced as [Replace] does it, and a new one, for its owner alone,
// is there when it is complete. "-" is standard output.
func Save(name string, c Compression, write func(io.Writer) error) error {
	if name == "-" {
		return saveTo(os.Stdout, c, write)
	}
	st, err := os.Stat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return saveNew(name, c, write)
	case err != nil:
		return err
	case st.Mode().IsRegular():
		return Replace(name, c, write)
	}
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	return cmp.Or(saveTo(f, c, write), f.Close())
}

// saveNew makes the file called name.
func saveNew(name string, c Compression, write func(io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(name), "."+filepath.Base(name)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = saveTo(f, c, write)
	if err = cmp.Or(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), name)
}

func saveTo(f *os.File, c Compression, write func(io.Writer) error) error {
	b := bufio.NewWriterSize(f, 64<<10)
	z, err := compress(b, c)
	switch {
	case err != nil:
		return err
	case z == nil:
		return cmp.Or(write(b), b.Flush())
	}
	return cmp.Or(write(z), z.Close(), b.Flush())
}
