package source

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// headerKey is a key of the first line of a trace, or of any line of a piece of
// one.
var headerKey = regexp.MustCompile(`"(wstrace|k)"\s*:`)

// isTrace looks for the line of JSON that a trace begins with. One that was made
// by hand may have comments before it.
func isTrace(head []byte, whole bool) answer {
	line, complete := firstLine(head)
	switch {
	case len(line) == 0 && !whole:
		return perhaps
	case len(line) > 0 && line[0] != '{':
		return no
	case len(line) == 0 && len(bytes.TrimSpace(head)) == 0:
		return no
	case len(line) == 0, headerKey.Match(line): // comments are a trace of nothing
		return yes
	case !complete && !whole:
		return perhaps
	case !complete && len(line) < maxCutHeader && !json.Valid(line): // it is cut off
		return yes
	}
	return no
}

const maxCutHeader = 1 << 10 // bytes; longer than any header

// firstLine returns the first line that is neither blank nor a comment, without
// the white space before it, and whether its end is in head.
func firstLine(head []byte) (line []byte, complete bool) {
	for len(head) > 0 {
		line, rest, ok := bytes.Cut(head, []byte("\n"))
		line = bytes.TrimLeft(line, " \t\r\uFEFF")
		if len(line) > 0 && line[0] != '#' {
			return line, ok
		}
		head = rest
	}
	return nil, false
}
