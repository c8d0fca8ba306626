package replay

import (
	"errors"
	"fmt"
)

// A Difference is where a replay came apart from the recording.
type Difference struct {
	Line int    // of the trace; 0 if none
	Text string // what was expected, what came, and after which frame
	Want []byte // the content expected, nil if there is none
	Got  []byte // the content that came, nil if there is none
}

// Error returns the difference as a sentence.
func (d *Difference) Error() string {
	if d.Line == 0 {
		return d.Text
	}
	return fmt.Sprintf("line %d: %s", d.Line, d.Text)
}

// ErrStalled is wrapped by the error of a replay in which nothing happened for
// too long.
var ErrStalled = errors.New("nothing happens")
