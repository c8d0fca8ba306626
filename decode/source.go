package decode

import (
	"errors"
	"fmt"
)

// ErrCut is the end of a file in the middle of a record.
var ErrCut = errors.New("the file is cut off here")

// A SourceError is an error at one place in a file.
type SourceError struct {
	Line   int   // from 1; 0 if the file has no lines
	Offset int64 // of a byte in the file, if Line is 0
	Err    error
}

func (e *SourceError) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d: %v", e.Line, e.Err)
	}
	return fmt.Sprintf("byte %d: %v", e.Offset, e.Err)
}

func (e *SourceError) Unwrap() error { return e.Err }
