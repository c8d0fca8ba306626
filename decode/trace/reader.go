package trace

import (
	"bufio"
	"bytes"
	"errors"
	"io"
	"math"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// maxLine is the longest line, in bytes, that is read.
const maxLine = 64 << 20

// ErrCut is [decode.ErrCut].
var ErrCut = decode.ErrCut

// ErrPiece is the error of those who need a whole trace, for a piece of one
// ([Reader.Piece]).
var ErrPiece = errors.New("a piece of a trace, without its header line: others may be missing too")

// A Reader reads the records of a trace.
type Reader struct {
	// Bad, if not nil, is called for each line that is no record, and reading
	// goes on after it. Otherwise such a line is the error of Next. The errors
	// are [*decode.SourceError]s.
	Bad func(error)

	lines lineReader
	begun bool // there was a header, or a record without one
	tried bool // there was a line that is no record
	ahead struct {
		rec *Record
		err error
	}

	headless   bool // no header came before the records at hand
	piece      bool // or before some of them
	beginsLate bool // the error of the first line may come from a beginning that is missing

	run   string // of the recording at hand
	part  int64
	again bool // it goes on with the part before

	start   time.Time
	t       time.Duration // of the line before
	base    int64         // added to c: the highest of the recordings before
	highest int64
	last    int64 // the session opened last, 0 if none
}

// NewReader returns a Reader of r.
func NewReader(r io.Reader) *Reader {
	return &Reader{lines: lineReader{br: bufio.NewReaderSize(r, 64<<10), max: maxLine}}
}

// Next returns the next record, or io.EOF. Its T, Time and C are set even where
// the line leaves them out, and C counts on in each further recording of the
// file. Any other error is a [*decode.SourceError]; after one, Next can be
// called again for the rest.
func (r *Reader) Next() (*Record, error) {
	for {
		rec, err := r.ahead.rec, r.ahead.err
		r.ahead.rec, r.ahead.err = nil, nil
		if rec == nil && err == nil {
			rec, err = r.record()
		}
		if err != nil && r.beginsLate {
			r.beginsLate = false
			next, nextErr := r.record()
			if r.headless { // it was not a header with a mistake in it
				rec, err = next, nextErr
			} else {
				r.ahead.rec, r.ahead.err = next, nextErr
			}
		}
		if err == nil || err == io.EOF || r.Bad == nil {
			return rec, err
		}
		r.Bad(err)
	}
}

// record reads one record, or returns io.EOF or an error that says where it is.
func (r *Reader) record() (*Record, error) {
	for {
		line, err := r.lines.next()
		if err != nil {
			return nil, err
		}
		if blank(line) {
			continue
		}
		rec, err := Parse(line)
		if err == nil {
			if err = r.place(rec); err == nil {
				return rec, nil
			}
		} else {
			r.beginsLate = !r.begun && !r.tried && cutInFront(line)
		}
		r.tried = true
		if r.lines.cut != nil {
			return nil, io.EOF
		}
		return nil, r.lines.errorAt(err)
	}
}

// Warning returns a [*decode.SourceError] that wraps [ErrCut] if the file ended
// in the middle of a line, else nil. A line that is whole but for its line end was
// read all the same; any other was left out. It is known when Next has returned
// io.EOF.
func (r *Reader) Warning() error { return r.lines.cut }

// Piece reports whether records were read that no header came before: the file is
// a piece of a trace, from which any line may be missing.
func (r *Reader) Piece() bool { return r.piece }

// cutInFront reports whether a line that is no record can be the end of one.
func cutInFront(line []byte) bool {
	rest, ok := bytes.CutPrefix(skipSpace(line), []byte("{"))
	rest = skipSpace(rest)
	return !ok || !bytes.HasPrefix(rest, []byte(`"wstrace"`)) && !bytes.HasPrefix(rest, []byte(`"k"`))
}

// place sets what rec has from the lines before it.
func (r *Reader) place(rec *Record) error {
	rec.Line, rec.Offset = r.lines.n, r.lines.start
	if rec.IsHeader() {
		r.begun, r.headless = true, false
		r.start = startTime(rec.T0)
		r.again = rec.Run != "" && rec.Run == r.run && rec.Part == r.part+1
		r.run, r.part = rec.Run, rec.Part
		r.t, r.last = 0, 0
		if !r.again {
			r.base = r.highest
		}
		rec.Time = r.start
		return nil
	}
	if !r.begun {
		r.begun, r.headless, r.piece = true, true, true
		r.start = startTime("")
		r.base = r.highest
	}
	if rec.HasT {
		r.t = rec.T
	}
	rec.T, rec.HasT = r.t, true
	rec.Time = r.start.Add(rec.T)
	switch {
	case rec.C == 0 && rec.Kind == KindOpen:
		return errors.New("open has no c")
	case rec.C == 0:
		if r.headless && r.last == 0 && rec.Kind != KindNote { // the session whose open is missing
			r.last = r.base + 1
			r.highest = max(r.highest, r.last)
		}
		rec.C = r.last
		return nil
	case rec.C > math.MaxInt64-r.base:
		return errors.New("c: is too big")
	}
	rec.C += r.base
	r.highest = max(r.highest, rec.C)
	if rec.Kind == KindOpen {
		r.last = rec.C
	}
	return nil
}

// startTime returns the time that t0 stands for, in local time.
func startTime(t0 string) time.Time {
	if t0 == "" {
		return time.Date(1970, 1, 1, 0, 0, 0, 0, time.Local)
	}
	var t time.Time
	t.UnmarshalText([]byte(t0)) // Parse has seen that it is one
	return t.Local()
}

// blank reports whether line holds no record: it is empty or a comment.
func blank(line []byte) bool {
	line = skipSpace(line)
	return len(line) == 0 || line[0] == '#'
}

// A lineReader reads lines.
type lineReader struct {
	br    *bufio.Reader
	max   int    // length of the longest line
	long  []byte // a line that is longer than br's buffer
	n     int    // number of the line
	start int64  // where it begins, in bytes
	end   int64  // where it ends
	cut   error  // the line is the last and has no LF
}

var errLongLine = errors.New("longer than 64 MiB")

// next returns the next line, which is valid until the next call. A line that
// is too long is an errLongLine, after which the next can be read.
func (l *lineReader) next() ([]byte, error) {
	if l.cut != nil {
		return nil, io.EOF
	}
	l.n++
	l.start = l.end
	l.long = l.long[:0]
	tooLong := false
	for {
		b, err := l.br.ReadSlice('\n')
		l.end += int64(len(b))
		if tooLong = tooLong || len(l.long)+len(b) > l.max; tooLong {
			l.long = nil
		}
		switch {
		case tooLong && err == nil:
			return nil, l.errorAt(errLongLine)
		case tooLong && err == bufio.ErrBufferFull:
			continue
		case err == nil && len(l.long) == 0:
			return l.trimBOM(b), nil
		}
		l.long = append(l.long, b...)
		switch err {
		case nil:
			return l.trimBOM(l.long), nil
		case bufio.ErrBufferFull:
		case io.EOF, io.ErrUnexpectedEOF: // the latter from a decompressor
			if tooLong || !blank(l.long) || err == io.ErrUnexpectedEOF {
				l.cut = l.errorAt(ErrCut)
			}
			if tooLong || len(l.long) == 0 {
				return nil, io.EOF
			}
			return l.trimBOM(l.long), nil
		default:
			return nil, l.errorAt(err)
		}
	}
}

// trimBOM removes the mark that some editors put at the start of a file.
func (l *lineReader) trimBOM(line []byte) []byte {
	if l.n > 1 {
		return line
	}
	return bytes.TrimPrefix(line, []byte("\uFEFF"))
}

// errorAt returns err with the place of the line.
func (l *lineReader) errorAt(err error) error {
	return &decode.SourceError{Line: l.n, Offset: l.start, Err: err}
}
