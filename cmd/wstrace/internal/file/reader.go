package file

import (
	"bufio"
	"bytes"
	"io"
	"os"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// A Reader reads what a file holds, decompressed. Where the end of a compressed
// file is missing, as after a crash, the end is [io.ErrUnexpectedEOF].
type Reader struct {
	*bufio.Reader // of BufSize bytes
	Compression   Compression

	z *zstd.Decoder // below Reader, or nil
	f io.Closer
}

// BufSize is how far a [Reader] can be peeked into, in bytes.
const BufSize = 64 << 10

const maxWindow = 128 << 20 // of zstd, in bytes; what its own tool accepts

var (
	gzipMagic = []byte{0x1f, 0x8b}
	zstdMagic = []byte{0x28, 0xb5, 0x2f, 0xfd}
)

// Open opens a file, or standard input for "-". Its content says whether it is
// compressed. The error is [io.ErrUnexpectedEOF] if a compressed file is cut
// off before anything of its content.
func Open(name string) (*Reader, error) {
	f := os.Stdin
	if name != "-" {
		var err error
		if f, err = os.Open(name); err != nil {
			return nil, err
		}
	}
	return newReader(f)
}

// newReader returns a Reader of in, which is closed with it, or after an error.
func newReader(in io.ReadCloser) (*Reader, error) {
	r := &Reader{Reader: bufio.NewReaderSize(in, BufSize), f: in}
	if err := r.decompress(); err != nil {
		r.Close()
		return nil, err
	}
	return r, nil
}

// decompress puts the decompressor that the file needs below r.
func (r *Reader) decompress() error {
	magic, err := r.Peek(4)
	if err != nil && err != io.EOF {
		return err
	}
	if n := len(magic); n > 0 && n < 4 && (bytes.HasPrefix(gzipMagic, magic) || bytes.HasPrefix(zstdMagic, magic)) {
		return io.ErrUnexpectedEOF
	}
	var z io.Reader
	switch {
	case bytes.HasPrefix(magic, gzipMagic):
		r.Compression = Gzip
		z, err = gzip.NewReader(r.Reader)
	case bytes.HasPrefix(magic, zstdMagic):
		r.Compression = Zstd
		r.z, err = zstd.NewReader(r.Reader, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxWindow))
		z = r.z
	default:
		return nil
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	r.Reader = bufio.NewReaderSize(z, BufSize)
	return err
}

// Close closes the file.
func (r *Reader) Close() error {
	if r.z != nil {
		r.z.Close()
	}
	return r.f.Close()
}
