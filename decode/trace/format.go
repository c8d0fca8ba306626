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
	lines := NewReader(r).lines
	out := bufio.NewWriterSize(w, 64<<10)
	var buf []byte
	for {
		line, err := lines.next()
		if err == io.EOF {
			break
		}
		buf = buf[:0]
		if err == nil && blank(line) {
			buf = append(bytes.TrimRight(line, " \t\r\n"), '\n')
		} else if err == nil {
			var rec *Record
			if rec, err = Parse(line); err == nil {
				buf = rec.Append(buf)
			} else if lines.cut != nil {
				break
			} else {
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
	}
	if err := out.Flush(); err != nil {
		return err
	}
	return lines.cut
}
