// Package file creates files and opens traces. The name of a new file, and the
// content of an old one, say how it is compressed.
package file

import (
	"cmp"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"

	"github.com/wstrace/wstrace/decode/trace/edit"
)

// Compression is how a file is compressed.
type Compression uint8

const (
	Plain Compression = iota
	Gzip
	Zstd
)

// ByName returns the compression that the name of a recording asks for. The
// error is for a name that is neither a trace's nor a capture's.
func ByName(name string) (Compression, error) {
	base, c := uncompressed(name)
	if strings.HasSuffix(base, ".wst") || strings.HasSuffix(base, ".wst.jsonl") || IsCapture(name) {
		return c, nil
	}
	return 0, errors.New("unknown format, want .wst or .pcapng, which .gz or .zst may follow")
}

// IsCapture reports whether the name of a recording asks for a capture, and not for a
// trace.
func IsCapture(name string) bool {
	base, _ := uncompressed(name)
	return strings.HasSuffix(base, ".pcapng")
}

// uncompressed returns a name without the ending that asks for a compression.
func uncompressed(name string) (base string, c Compression) {
	if s, ok := strings.CutSuffix(name, ".gz"); ok {
		return s, Gzip
	}
	if s, ok := strings.CutSuffix(name, ".zst"); ok {
		return s, Zstd
	}
	return name, Plain
}

// A Writer writes a file. What was written before a Flush is in the file,
// readable, whatever happens later.
type Writer struct {
	io.Writer
	compression Compression

	f    *os.File
	path string // of f, without symbolic links; "" if it is no regular file with a name
	out  *counter
	comp compressor // nil if plain
	made bool       // the file was not there before
	lent bool       // the file is not ours to close
	keep int64      // how much of it stays when the writing begins
	cut  int64      // how much of its end does not, behind keep

	lineEnd bool // what stays lacks the end of its last line

	finished []string       // the parts that Next finished, the oldest first
	numbers  map[string]int // the last number given to a part, by the time in its name
}

type compressor interface {
	io.WriteCloser
	Flush() error
	Reset(io.Writer)
}

// A counter is where the bytes of a file go, and counts them.
type counter struct {
	f    *os.File
	size int64 // what the file should have
}

func (c *counter) Write(p []byte) (int, error) {
	n, err := c.f.Write(p)
	c.size += int64(n)
	return n, err
}

// appendFlag makes each write go to the end of the file, wherever that is. On
// Windows such a file could not be emptied.
var appendFlag = map[bool]int{false: os.O_APPEND}[runtime.GOOS == "windows"]

// Create creates a file with mode perm, or takes standard output for "-". A file
// that exists keeps its mode, and its content until [Writer.Begin].
func Create(name string, c Compression, perm fs.FileMode) (*Writer, error) {
	if name == "-" {
		return newWriter(os.Stdout, c)
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|appendFlag, perm)
	made := err == nil
	if errors.Is(err, fs.ErrExist) {
		f, err = os.OpenFile(name, os.O_WRONLY|os.O_CREATE|appendFlag, perm)
	}
	if err != nil {
		return nil, err
	}
	w, err := newWriter(f, c)
	if err != nil {
		f.Close()
		return nil, err
	}
	w.made = made
	if w.Regular() {
		if w.path, err = filepath.EvalSymlinks(name); err != nil {
			w.path = name
		}
	}
	return w, nil
}

// Stderr takes standard error, which stays open.
func Stderr() (*Writer, error) {
	w, err := newWriter(os.Stderr, Plain)
	if err == nil {
		w.lent = true
	}
	return w, err
}

// Same reports whether w and other write to the same regular file.
func (w *Writer) Same(other *Writer) bool {
	a, errA := w.f.Stat()
	b, errB := other.f.Stat()
	return errA == nil && errB == nil && a.Mode().IsRegular() && os.SameFile(a, b)
}

func newWriter(f *os.File, c Compression) (*Writer, error) {
	out := &counter{f: f}
	w := &Writer{Writer: out, compression: c, f: f, out: out}
	var err error
	if w.comp, err = compress(out, c); w.comp != nil {
		w.Writer = w.comp
	}
	return w, err
}

// compress returns what compresses to w, or nil for Plain.
func compress(w io.Writer, c Compression) (compressor, error) {
	switch c {
	case Gzip:
		return gzip.NewWriterLevel(w, gzip.BestSpeed)
	case Zstd:
		return zstd.NewWriter(w, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(1<<20))
	}
	return nil, nil
}

// Regular reports whether w is a file on a disk, not a terminal, pipe or
// device.
func (w *Writer) Regular() bool {
	st, err := w.f.Stat()
	return err == nil && st.Mode().IsRegular()
}

// Begin empties the file, or cuts it back to what is to stay, before the first
// Write.
func (w *Writer) Begin() error {
	w.made = false
	if w.f == os.Stdout || w.lent || !w.Regular() {
		return nil
	}
	w.out.size = w.keep
	if err := w.f.Truncate(w.keep); err != nil {
		return err
	}
	_, err := w.f.Seek(0, io.SeekEnd)
	if err == nil && w.lineEnd {
		_, err = w.out.Write([]byte{'\n'})
	}
	return err
}

// Flush brings what was written into the file.
func (w *Writer) Flush() error {
	if w.comp != nil {
		return w.comp.Flush()
	}
	return nil
}

// Close ends the compressed stream and closes the file.
func (w *Writer) Close() error {
	var err error
	if w.comp != nil {
		err = w.comp.Close()
	}
	if w.lent {
		return err
	}
	return cmp.Or(err, w.f.Close())
}

// Abandon closes a file that was not begun, and removes it if it was made for
// that.
func (w *Writer) Abandon() {
	if w.lent {
		return
	}
	w.f.Close()
	if w.made {
		os.Remove(w.f.Name())
	}
}

// Replace gives the file called name new content, which write writes, with the
// same permissions and compression c. The old content stays until the new is
// complete. A file that is being recorded to is left alone, with [ErrLocked].
func Replace(name string, c Compression, write func(io.Writer) error) error {
	if runtime.GOOS != "windows" { // where what is open can't be replaced
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		defer f.Close()
		if err := lock(f); err != nil {
			return err
		}
	}
	return edit.Replace(name, func(w io.Writer) error {
		z, err := compress(w, c)
		switch {
		case err != nil:
			return err
		case z == nil:
			return write(w)
		}
		return cmp.Or(write(z), z.Close())
	})
}
