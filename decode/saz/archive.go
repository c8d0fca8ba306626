package saz

import (
	"archive/zip"
	"bufio"
	"bytes"
	"cmp"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

const (
	maxDirectory = 32 << 20 // bytes of it that are read; enough for about 100,000 sessions
	maxNumber    = 1 << 53  // of a session: JSON has no larger ones
	maxEntry     = 64 << 30 // bytes that an entry inflates to
	maxRatio     = 500      // of these to what is in the file, past ratioFrom; of all entries too, as they may overlap
)

// ratioFrom is from how many bytes on an entry, or all of them, count as made to do harm.
// Load tests and the like repeat themselves, and may be packed as well as that.
var ratioFrom int64 = 1 << 30 // less in tests

var errDirectory = fmt.Errorf("the directory of the archive is longer than %d bytes", maxDirectory)

// ErrEncrypted is the error of reading an archive that is saved with a password.
var ErrEncrypted = errors.New("is encrypted; save it without a password")

// A part is one of the entries of a session.
type part uint8

const (
	partRequest part = iota
	partResponse
	partMeta
	partFrames
	partGRPC
	parts // how many there are
)

// partName is how the entries of a session are called. Some writers use
// backslashes.
var partName = regexp.MustCompile(`(?i)^raw[/\\]([0-9]{1,18})_([csmwg])\.(?:txt|xml)$`)

// parseName returns which part of which session an entry is.
func parseName(name string) (n int64, p part, ok bool) {
	m := partName.FindStringSubmatch(name)
	if m == nil {
		return 0, 0, false
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	return n, part(strings.Index("csmwg", strings.ToLower(m[2]))), err == nil && n > 0 && n <= maxNumber
}

var errInflated = fmt.Errorf("the entries inflate to more than %d times the size of the archive", maxRatio)

// An input is what the entries of an archive are read from.
type input struct {
	r        io.ReaderAt
	size     int64
	inflated int64 // bytes that were read of entries
}

// An entry is a file in the archive.
type entry struct {
	name string
	file *zip.File // nil if the archive has no directory

	// What the entry says of itself, if there is no directory.
	at     int64 // of its content
	size   int64 // compressed
	method uint16
	sealed bool // encrypted
	cut    bool // its end is missing
}

// offset returns where in the file the content begins.
func (e *entry) offset() int64 {
	if e.file == nil {
		return e.at
	}
	at, _ := e.file.DataOffset()
	return at
}

// open returns the content of the entry.
func (e *entry) open(a *input) (*bounded, error) {
	if e.file == nil {
		return e.openRaw(a)
	}
	if e.file.Flags&1 != 0 {
		return nil, ErrEncrypted
	}
	c, err := e.file.Open()
	if err != nil {
		return nil, err
	}
	return &bounded{in: a, r: c, compressed: int64(min(e.file.CompressedSize64, 1<<62))}, nil
}

func (e *entry) openRaw(a *input) (*bounded, error) {
	in := io.NewSectionReader(a.r, e.at, e.size)
	switch {
	case e.sealed:
		return nil, ErrEncrypted
	case e.method == zip.Store:
		return &bounded{in: a, r: in, compressed: e.size}, nil
	case e.method == zip.Deflate:
		return &bounded{in: a, r: flate.NewReader(bufio.NewReader(in)), compressed: e.size}, nil
	}
	return nil, zip.ErrAlgorithm
}

// A bounded reads what inflates, up to a limit.
type bounded struct {
	in         *input
	r          io.Reader
	compressed int64
	n          int64 // bytes so far
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.n > ratioFrom && b.n/maxRatio > b.compressed {
		return 0, fmt.Errorf("inflates to more than %d times its %d bytes", maxRatio, b.compressed)
	}
	if b.n > maxEntry {
		return 0, fmt.Errorf("inflates to more than %d bytes", int64(maxEntry))
	}
	if a := b.in; a.inflated > ratioFrom && a.inflated/maxRatio > a.size {
		return 0, errInflated
	}
	n, err := b.r.Read(p)
	b.n += int64(n)
	b.in.inflated += int64(n)
	return n, err
}

// A stored is a session in the archive.
type stored struct {
	n     int64
	parts [parts]*entry
}

// An index is what an archive has.
type index struct {
	sessions []stored // by number
	err      error    // why that may not be all
}

// readIndex finds the sessions in an archive. If its directory is missing or
// damaged, they are those whose entries can be found without.
func readIndex(r io.ReaderAt, size int64) (*index, error) {
	limited := &limitedReaderAt{r: r, left: maxDirectory + 2*maxTrailer}
	z, err := zip.NewReader(limited, size)
	var entries []*entry
	ix := new(index)
	switch {
	case limited.left < 0:
		return nil, errDirectory
	case z != nil && (err == nil || errors.Is(err, zip.ErrInsecurePath)): // nothing is extracted
		limited.left = -1
		limited.free = true
		for _, f := range z.File {
			if _, _, ok := parseName(f.Name); ok {
				entries = append(entries, &entry{name: f.Name, file: f})
			}
		}
	case errors.Is(err, zip.ErrFormat) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF):
		if entries, ix.err = salvage(r, size); len(entries) == 0 && ix.err == nil {
			ix.err = &decode.SourceError{Err: zip.ErrFormat}
		}
	default:
		return nil, err
	}
	ix.gather(entries)
	return ix, nil
}

// maxTrailer is what the end of an archive takes, with its comment.
const maxTrailer = 1<<16 + 1<<10

// gather sorts entries into sessions. Of two entries for the same part the first
// one counts.
func (ix *index) gather(entries []*entry) {
	at := map[int64]int{}
	for _, e := range entries {
		n, p, ok := parseName(e.name)
		if !ok {
			continue
		}
		i, known := at[n]
		if !known {
			i = len(ix.sessions)
			at[n] = i
			ix.sessions = append(ix.sessions, stored{n: n})
		}
		if s := &ix.sessions[i]; s.parts[p] == nil {
			s.parts[p] = e
		}
	}
	slices.SortFunc(ix.sessions, func(a, b stored) int { return cmp.Compare(a.n, b.n) })
}

// A limitedReaderAt reads a limited number of bytes, until it is free.
type limitedReaderAt struct {
	r    io.ReaderAt
	left int64
	free bool
}

func (l *limitedReaderAt) ReadAt(p []byte, at int64) (int, error) {
	if !l.free {
		if l.left -= int64(len(p)); l.left < 0 {
			return 0, errDirectory
		}
	}
	return l.r.ReadAt(p, at)
}

const (
	sigLocal      = 0x04034b50
	sigDirectory  = 0x02014b50
	sigDescriptor = 0x08074b50
	sigEnd        = 0x06054b50

	localLen = 30

	maxSalvaged = 1 << 20 // entries
)

// salvage finds the entries of an archive by what stands before each of them.
func salvage(r io.ReaderAt, size int64) (entries []*entry, err error) {
	var head [localLen]byte
	for at := int64(0); ; {
		n, _ := r.ReadAt(head[:], at)
		switch {
		case n < 4:
			return entries, &decode.SourceError{Offset: size, Err: decode.ErrCut}
		case sig(head[:]) == sigDirectory && !hasEnd(r, size):
			return entries, &decode.SourceError{Offset: size, Err: decode.ErrCut}
		case sig(head[:]) == sigDirectory || sig(head[:]) == sigEnd:
			return entries, &decode.SourceError{Offset: at, Err: errors.New("the directory of the archive is damaged")}
		case sig(head[:]) != sigLocal:
			return entries, &decode.SourceError{Offset: at, Err: errors.New("the archive is damaged here")}
		case len(entries) == maxSalvaged:
			return entries, &decode.SourceError{Offset: at, Err: errDirectory}
		}
		name := make([]byte, binary.LittleEndian.Uint16(head[26:]))
		if m, _ := r.ReadAt(name, at+localLen); n < localLen || m < len(name) {
			return entries, &decode.SourceError{Offset: size, Err: decode.ErrCut}
		}
		e := &entry{name: string(name), method: binary.LittleEndian.Uint16(head[8:]), size: int64(binary.LittleEndian.Uint32(head[18:]))}
		flags := binary.LittleEndian.Uint16(head[6:])
		e.sealed = flags&1 != 0
		extra := make([]byte, binary.LittleEndian.Uint16(head[28:]))
		r.ReadAt(extra, at+localLen+int64(len(name))) // what is missing of it is missing behind it, too
		e.at = at + localLen + int64(len(name)) + int64(len(extra))
		if _, _, ok := parseName(e.name); ok {
			entries = append(entries, e)
		}
		if flags&8 == 0 { // else its length stands behind it
			if e.size == 1<<32-1 {
				e.size = longSize(extra)
			}
			if at = e.at + e.size; e.size > size || at > size {
				e.size, e.cut = size-e.at, true
			}
		} else {
			at = e.findEnd(r, size)
		}
		if e.cut {
			return entries, &decode.SourceError{Offset: size, Err: decode.ErrCut}
		}
		if at < 0 {
			return entries, &decode.SourceError{Offset: e.at, Err: fmt.Errorf("%s: its end can't be found", shortName(e.name))}
		}
	}
}

// longSize returns the compressed size that the extra field of a local header in the form
// of ZIP64 tells, or [math.MaxInt64].
func longSize(extra []byte) int64 {
	const id, both = 1, 16 // the size, and the compressed one
	for len(extra) >= 4 {
		field := extra[4:]
		n := int(binary.LittleEndian.Uint16(extra[2:]))
		if binary.LittleEndian.Uint16(extra) == id && n >= both && len(field) >= both {
			return int64(min(binary.LittleEndian.Uint64(field[8:]), math.MaxInt64))
		}
		extra = field[min(n, len(field)):]
	}
	return math.MaxInt64
}

// hasEnd reports whether the file ends as an archive does.
func hasEnd(r io.ReaderAt, size int64) bool {
	tail := make([]byte, min(size, maxTrailer))
	r.ReadAt(tail, size-int64(len(tail)))
	i := bytes.LastIndex(tail, binary.LittleEndian.AppendUint32(nil, sigEnd))
	const fixed = 22 // bytes, and the comment
	return i >= 0 && len(tail) >= i+fixed && len(tail) >= i+fixed+int(binary.LittleEndian.Uint16(tail[i+fixed-2:]))
}

func sig(b []byte) uint32 { return binary.LittleEndian.Uint32(b) }

// findEnd sets the size of an entry that does not tell it, and returns where the
// next one begins, or -1.
func (e *entry) findEnd(r io.ReaderAt, size int64) int64 {
	if e.method != zip.Deflate || e.sealed {
		e.size = 0
		return -1
	}
	in := &byteCounter{r: bufio.NewReaderSize(io.NewSectionReader(r, e.at, size-e.at), 64<<10)}
	b := bounded{in: &input{size: size}, r: flate.NewReader(in), compressed: size - e.at}
	_, err := io.Copy(io.Discard, &b)
	e.size = in.n
	switch {
	case errors.Is(err, io.ErrUnexpectedEOF):
		e.cut = true
		return -1
	case err != nil:
		return -1
	}
	end := e.at + in.n
	var tail [28]byte
	n, _ := r.ReadAt(tail[:], end)
	for _, skip := range [...]int{12, 16, 20, 24} { // with or without a signature, 4 or 8 bytes a length
		if skip+4 <= n && (skip == 12 || skip == 20 || sig(tail[:]) == sigDescriptor) {
			if next := sig(tail[skip:]); next == sigLocal || next == sigDirectory {
				return end + int64(skip)
			}
		}
	}
	if n < len(tail) { // the file ends in or behind it
		return size
	}
	return -1
}

// A byteCounter counts the bytes that were taken. A decompressor takes no more than
// it needs from an [io.ByteReader].
type byteCounter struct {
	r *bufio.Reader
	n int64
}

func (c *byteCounter) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.n += int64(n)
	return n, err
}

func (c *byteCounter) ReadByte() (byte, error) {
	b, err := c.r.ReadByte()
	if err == nil {
		c.n++
	}
	return b, err
}

// shortName returns the name of an entry for an error.
func shortName(name string) string {
	const most = 60
	if len(name) > most {
		return name[:most] + "…"
	}
	return name
}
