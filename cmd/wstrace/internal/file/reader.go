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
	ErrCut      = errors.New("the file is cut off before its first line") // it is compressed
)

// A Reader reads a trace file.
type Reader struct {
	Compression Compression

	b *bufio.Reader // what Read reads
	z *zstd.Decoder // if it is behind b
	f *os.File
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
	if n := len(magic); n > 0 && n < 4 && (bytes.HasPrefix(gzipMagic, magic) || bytes.HasPrefix(zstdMagic, magic)) {
		return ErrCut
	}
	var z io.Reader
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		r.Compression = Gzip
		z, err = gzip.NewReader(r.b)
	case bytes.HasPrefix(magic, zstdMagic):
		r.Compression = Zstd
		r.z, err = zstd.NewReader(r.b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		z = r.z
	default:
		return nil
	}
	r.b = bufio.NewReaderSize(z, bufSize)
	return noEOF(err)
}

// noEOF returns err, or ErrEmpty or ErrCut if it is an end.
func noEOF(err error) error {
	switch err {
	case io.EOF:
		return ErrEmpty
	case io.ErrUnexpectedEOF: // from a decompressor
		return ErrCut
	}
	return err
}

// sniff looks for the object that a trace begins with. One made by hand may
// have comments before it.
func (r *Reader) sniff() error {
	for n := 1; n <= bufSize; n++ {
		head, err := r.b.Peek(n)
		if err != nil {
			return noEOF(err)
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

// Read reads what the file holds, decompressed. Where the end of a compressed
// file is missing, as after a crash, the end is [io.ErrUnexpectedEOF].
func (r *Reader) Read(p []byte) (int, error) { return r.b.Read(p) }

// Close closes the file.
func (r *Reader) Close() error {
	if r.z != nil {
		r.z.Close()
	}
	return r.f.Close()
}
