package trace

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
)

// Format copies a trace from r to w in its canonical form: keys in their fixed
// order, defaults left out, no white space. Comments, empty lines and keys that
// this package does not know stay. A last line that is cut off is left out, and
// the error, which wraps [ErrCut], comes after the rest was written; any other
// error names the line at which copying stopped.
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
	lines := NewReader(r).lines
	out := bufio.NewWriterSize(w, 64<<10)
	var buf []byte
	for {
		line, err := lines.next()
		last := err == io.EOF
		buf = buf[:0]
		if err == nil && blank(line) {
			line = bytes.TrimRight(line, " \t\r\n")
			if i := bytes.IndexByte(line, '#') + 1; i > 0 && comment != nil {
				buf = append(buf, line[:i]...)
				line = comment(line[i:])
			}
			buf = append(append(buf, line...), '\n')
		} else if err == nil || last {
			var rec *Record
			if !last {
				if rec, err = Parse(line); err != nil && lines.cut != nil {
					continue // to the end
				}
			}
			if err == nil || last {
				var recs []*Record
				if recs, err = f(rec); err != nil {
					recs = nil
				}
				for _, rec := range recs {
					buf = rec.Append(buf)
				}
			}
			if err != nil {
				err = fmt.Errorf("line %d: %w", lines.n, err)
			}
		}
		if err != nil {
			out.Flush()
			return err
		}
		if _, err := out.Write(buf); err != nil {
			return err
		}
		if last {
			break
		}
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return lines.cut
}
