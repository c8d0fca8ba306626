package render

import (
	"strings"
	"unicode/utf8"
)

// maxColumns is how wide a report is.
const maxColumns = 80

// wrap breaks the line that the buffer has from start on where it is too long:
// at a blank, or within a word that does not fit into a line of its own. The
// lines after the first begin with indent.
func (p *printer) wrap(start int, indent string) {
	line := string(p.buf[start:])
	p.buf = p.buf[:start]
	first, blank := 0, -1 // where in line the line at hand begins, and its last blank
	columns, word := 0, false
	for i := 0; i < len(line); {
		if n := escapeLen(line[i:]); n > 0 { // a colour
			i += n
			continue
		}
		_, n := utf8.DecodeRuneInString(line[i:])
		if line[i] == ' ' {
			if word && !strings.HasPrefix(line[i:], " §") && !strings.HasSuffix(line[:i], "RFC") { // a section stays whole
				blank = i
			}
		} else {
			word = true
		}
		if columns == maxColumns && line[i] != ' ' {
			end, next := i, i
			if blank > first {
				end, next = blank, blank+1
			}
			for end > first && line[end-1] == ' ' {
				end--
			}
			for next < len(line) && line[next] == ' ' {
				next++
			}
			p.text(line[first:end])
			p.text("\n")
			p.text(indent)
			first, i, blank, columns, word = next, next, -1, len(indent), false
			continue
		}
		columns = min(columns+1, maxColumns)
		i += n
	}
	p.text(line[first:])
}

// escapeLen returns the length of the escape sequence of a terminal at the start
// of s, or 0.
func escapeLen(s string) int {
	if len(s) == 0 || s[0] != 0x1b {
		return 0
	}
	for i := range len(s) {
		if s[i] == 'm' {
			return i + 1
		}
	}
	return 0
}
