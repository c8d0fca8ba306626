package render

import (
	"strings"
	"unicode"
	"unicode/utf8"

	textwidth "golang.org/x/text/width"
)

// reportColumns is how wide a report is.
const reportColumns = 80

// wrap breaks the line that the buffer has from start on where it has more columns:
// at a blank, or within a word that does not fit into a line of its own. The
// lines after the first are indented.
func (p *printer) wrap(start, most, indent int) {
	if len(p.buf)-start <= most { // a column takes at least a byte
		return
	}
	line := string(p.buf[start:])
	p.buf = p.buf[:start]
	first, blank := 0, -1 // where in line the line at hand begins, and its last blank
	columns, word := 0, false
	for i := 0; i < len(line); {
		if n := escapeLen(line[i:]); n > 0 { // a colour
			i += n
			continue
		}
		r, n := utf8.DecodeRuneInString(line[i:])
		if line[i] == ' ' {
			if word && !strings.HasPrefix(line[i:], " §") && !strings.HasSuffix(line[:i], "RFC") { // a section stays whole
				blank = i
			}
		} else {
			word = true
		}
		if columns+width(r) > most && line[i] != ' ' {
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
			p.text(strings.Repeat(" ", indent))
			first, i, blank, columns, word = next, next, -1, indent, false
			continue
		}
		columns = min(columns+width(r), most)
		i += n
	}
	p.text(line[first:])
}

// columnsOf returns how many columns of a terminal a piece of a line takes.
func columnsOf(b []byte) (columns int) {
	for len(b) > 0 {
		if n := escapeLen(b); n > 0 {
			b = b[n:]
			continue
		}
		r, n := utf8.DecodeRune(b)
		columns += width(r)
		b = b[n:]
	}
	return columns
}

// cutColumns returns b, or the beginning of it with an ellipsis, in so many columns or
// leastFit.
func cutColumns(b []byte, most int) []byte {
	most = max(most, leastFit)
	if columnsOf(b) <= most {
		return b
	}
	n, columns := 0, 0
	for n < len(b) {
		r, size := utf8.DecodeRune(b[n:])
		if columns += width(r); columns > most-1 {
			break
		}
		n += size
	}
	return append(b[:n], "…"...)
}

// width returns how many columns a character takes.
func width(r rune) int {
	switch {
	case r < 0x300:
		return 1
	case unicode.Is(unicode.Mn, r), unicode.Is(unicode.Me, r):
		return 0
	}
	switch textwidth.LookupRune(r).Kind() {
	case textwidth.EastAsianWide, textwidth.EastAsianFullwidth:
		return 2
	}
	return 1
}

// escapeLen returns the length of the escape sequence of a terminal at the start
// of s, or 0.
func escapeLen[T []byte | string](s T) int {
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
