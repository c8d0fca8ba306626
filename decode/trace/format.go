package trace

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Format copies a trace from r to w in its canonical form: keys in their fixed
// order, defaults left out, no white space. Comments, empty lines and keys that
// this package does not know stay. A last line that is cut off is left out, and so
// is a first one that is, in a piece of a trace ([Reader.Piece]); the error, which
// wraps [ErrCut], comes after the rest was written. Any other error names the line
// at which copying stopped.
func Format(w io.Writer, r io.Reader) error {
	return Rewrite(w, r, nil, func(rec *Record) ([]*Record, error) {
		if rec == nil {
			return nil, nil
		}
		return []*Record{rec}, nil
	})
}

// Rewrite copies a trace like [Format], but for each record what f returns. A
// record given to f is as its line has it: C, T and Time are not filled in from
// the lines before. After the last one f is called with nil. What stands
// behind the # of a comment becomes what comment returns, if that is not nil.
func Rewrite(w io.Writer, r io.Reader, comment func([]byte) []byte, f func(*Record) ([]*Record, error)) error {
	return rewrite(w, r, comment, nil, f)
}

// RewriteGood copies a trace like [Rewrite], with its comments, but for the lines that are
// no records, of which bad is told.
func RewriteGood(w io.Writer, r io.Reader, bad func(error), f func(*Record) ([]*Record, error)) error {
	return rewrite(w, r, nil, bad, f)
}

func rewrite(w io.Writer, r io.Reader, comment func([]byte) []byte, bad func(error), f func(*Record) ([]*Record, error)) error {
	lines := NewReader(r).lines
	out := bufio.NewWriterSize(w, 64<<10)
	var buf []byte
	var front error // of a first line that is cut off
	first, records := true, false
	for {
		line, err := lines.next()
		buf = buf[:0]
		switch {
		case err == io.EOF:
		case bad != nil && errors.Is(err, errLongLine):
			bad(err)
			continue
		case err != nil:
			out.Flush()
			return err
		case blank(line):
			buf = appendBlank(buf, line, comment)
		default:
			buf, err = appendRecords(buf, line, f)
			if err != nil && lines.cut != nil {
				continue // to the end
			}
			if err != nil && first && cutInFront(line) {
				front, err = fmt.Errorf("line %d: %w", lines.n, err), nil
			}
			if first = false; err != nil {
				if bad != nil && errors.As(err, new(unparsed)) {
					bad(lines.errorAt(err))
					continue
				}
				out.Flush()
				if front != nil && !records {
					return front // this is no trace at all
				}
				return fmt.Errorf("line %d: %w", lines.n, err)
			}
			records = records || len(buf) > 0
		}
		if err == io.EOF {
			break
		}
		if _, err := out.Write(buf); err != nil {
			return err
		}
	}
	recs, err := f(nil)
	for _, rec := range recs {
		buf = rec.Append(buf)
	}
	out.Write(buf)
	switch flushed := out.Flush(); {
	case err != nil:
		return err
	case flushed != nil:
		return flushed
	case front != nil && !records:
		return front
	case front != nil:
		return fmt.Errorf("%w: its first line is left out", ErrCut)
	}
	return lines.cut
}

// appendBlank appends an empty line or a comment.
func appendBlank(dst, line []byte, comment func([]byte) []byte) []byte {
	line = bytes.TrimRight(line, " \t\r\n")
	if i := bytes.IndexByte(line, '#') + 1; i > 0 && comment != nil {
		dst = append(dst, line[:i]...)
		line = comment(line[i:])
	}
	return append(append(dst, line...), '\n')
}

// An unparsed error is that of a line that is no record.
type unparsed struct{ error }

func (e unparsed) Unwrap() error { return e.error }

// appendRecords appends what f makes of the record in a line.
func appendRecords(dst, line []byte, f func(*Record) ([]*Record, error)) ([]byte, error) {
	rec, err := Parse(line)
	if err != nil {
		return dst, unparsed{err}
	}
	recs, err := f(rec)
	if err != nil {
		return dst, err
	}
	for _, rec := range recs {
		dst = rec.Append(dst)
	}
	return dst, nil
}
