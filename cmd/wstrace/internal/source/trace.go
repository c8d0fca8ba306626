package source

import (
	"bytes"
	"encoding/json"
	"regexp"
)

// headerKey is a key of the first line of a trace, or of any line of a piece of
// one.
var headerKey = regexp.MustCompile(`"(wstrace|k)"\s*:`)

// recordStart is how a record begins, as it is written.
var recordStart = regexp.MustCompile(`^\{\s*"k"\s*:\s*"`)

// isTrace looks for the line of JSON that a trace begins with. One that was made
// by hand may have comments before it, and the first line of a piece of one may
// be the end of a line.
func isTrace(head []byte, whole bool) answer {
	line, complete, rest := firstLine(head)
	switch {
	case len(line) == 0 && !whole:
		return perhaps
	case len(line) == 0 && len(bytes.TrimSpace(head)) == 0:
		return no
	case len(line) == 0: // comments are a trace of nothing
		return yes
	case line[0] == '{' && headerKey.Match(line):
		return yes
	case line[0] != '{' || complete:
		return isPiece(line, complete, rest, whole)
	case !whole:
		return perhaps
	case len(line) < maxCutHeader && !json.Valid(line): // it is cut off
		return yes
	}
	return no
}

const maxCutHeader = 1 << 10 // bytes; longer than any header

// isPiece tells whether line may be the end of one, with a record in the rest.
func isPiece(line []byte, complete bool, rest []byte, whole bool) answer {
	if bytes.ContainsFunc(bytes.TrimRight(line, "\r"), func(c rune) bool { return c < ' ' }) || json.Valid(line) {
		return no // no line of a trace has such a character
	}
	next, nextComplete, _ := firstLine(rest)
	switch {
	case !complete, len(next) == 0:
		if whole {
			return no
		}
		return perhaps
	case !recordStart.Match(next):
		if nextComplete || whole || next[0] != '{' {
			return no
		}
		return perhaps
	case nextComplete && !json.Valid(next):
		return no
	}
	return yes
}

// firstLine returns the first line that is neither blank nor a comment, without
// the white space before it, whether its end is in head, and what follows it.
func firstLine(head []byte) (line []byte, complete bool, rest []byte) {
	for len(head) > 0 {
		line, rest, ok := bytes.Cut(head, []byte("\n"))
		line = bytes.TrimLeft(line, " \t\r\uFEFF")
		if len(line) > 0 && line[0] != '#' {
			return line, ok, rest
		}
		head = rest
	}
	return nil, false, nil
}
