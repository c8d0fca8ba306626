package file

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// What Open returns for files that are no traces.
var (
	ErrNotTrace = errors.New("not a wstrace trace")
	ErrEmpty    = errors.New("nothing in it")
)

// A Reader reads a trace file.
type Reader struct {
	Compression Compression

	b   *bufio.Reader // what Read reads
	z   io.Reader     // decompresses; nil if plain
	cut bool
	f   *os.File
}

// Open opens a trace, or standard input for "-". Its content says whether it is
// compressed.
func Open(name string) (*Reader, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
	}
	r := &Reader{b: bufio.NewReaderSize(f, bufSize), f: f}
	err := r.decompress()
	if err == nil {
		err = r.sniff()
	}
	if err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

const (
	bufSize   = 64 << 10
	maxWindow = 128 << 20 // of zstd, in bytes; what its own tool accepts
)

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// decompress puts the decompressor that the file needs behind r.b.
func (r *Reader) decompress() error {
	magic, err := r.b.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		r.Compression = Gzip
		r.z, err = gzip.NewReader(r.b)
	case bytes.HasPrefix(magic, zstdMagic):
		r.Compression = Zstd
		r.z, err = zstd.NewReader(r.b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
	default:
		return nil
	}
	if err == io.EOF || err == io.ErrUnexpectedEOF {
		return ErrEmpty
	}
	r.b = bufio.NewReaderSize(readerFunc(r.readCompressed), bufSize)
	return err
}

// readCompressed reads from the decompressor, to which a crash in the middle of
// a recording is an unexpected end.
func (r *Reader) readCompressed(p []byte) (int, error) {
	n, err := r.z.Read(p)
	if err == io.ErrUnexpectedEOF {
		r.cut = true
		err = io.EOF
	}
	return n, err
}

type readerFunc func(p []byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

// sniff looks for the object that a trace begins with. One made by hand may
// have comments before it.
func (r *Reader) sniff() error {
	for n := 1; n <= bufSize; n++ {
		head, err := r.b.Peek(n)
		switch {
		case err == io.EOF:
			return ErrEmpty
		case err != nil:
			return err
		}
		switch head[n-1] {
		case ' ', '\t', '\r', '\n':
		case '{', '#':
			return nil
		default:
			return ErrNotTrace
		}
	}
	return ErrNotTrace
}

// Read reads what the file holds, decompressed.
func (r *Reader) Read(p []byte) (int, error) { return r.b.Read(p) }

// Cut reports, when Read has returned [io.EOF], whether the end of the
// compressed stream is missing.
func (r *Reader) Cut() bool { return r.cut }

// Close closes the file.
func (r *Reader) Close() error {
	if z, ok := r.z.(*zstd.Decoder); ok {
		z.Close()
	}
	if r.f == os.Stdin {
		return nil
	}
	return r.f.Close()
}
