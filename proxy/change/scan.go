package change

import (
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode/filter"
)

// An Error says what is wrong with a line, and where.
type Error struct {
	Line   int // in a file, from 1; 0 elsewhere
	Column int // in characters, from 1
	Text   string
}

func (e *Error) Error() string {
	if e.Line > 0 {
		return fmt.Sprintf("line %d, column %d: %s", e.Line, e.Column, e.Text)
	}
	return fmt.Sprintf("column %d: %s", e.Column, e.Text)
}

// A scanner goes through a line.
type scanner struct {
	s string
	i int
}

func (p *scanner) errorf(at int, format string, args ...any) error {
	return &Error{Column: utf8.RuneCountInString(p.s[:at]) + 1, Text: fmt.Sprintf(format, args...)}
}

// filterError puts an error of a part of the line that begins at an offset in its place.
func (p *scanner) filterError(at int, err error) error {
	var e *filter.Error
	if !errors.As(err, &e) {
		return p.errorf(at, "%v", err)
	}
	return &Error{Column: utf8.RuneCountInString(p.s[:at]) + e.Column, Text: e.Text}
}

// space passes over white space.
func (p *scanner) space() {
	for p.i < len(p.s) && isSpace(p.s[p.i]) {
		p.i++
	}
}

func isSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// next returns the byte that comes next behind white space; 0 at the end.
func (p *scanner) next() byte {
	if p.space(); p.i < len(p.s) {
		return p.s[p.i]
	}
	return 0
}

// peek returns the word that comes next, and where it begins; "" at the end or at a comma.
// A word ends before white space or a comma.
func (p *scanner) peek() (word string, at int) {
	p.space()
	end := p.i
	for end < len(p.s) && !isSpace(p.s[end]) && p.s[end] != ',' {
		end++
	}
	return p.s[p.i:end], p.i
}

// word takes the word that comes next.
func (p *scanner) word() (word string, at int) {
	word, at = p.peek()
	p.i = at + len(word)
	return word, at
}

// found names what comes next.
func (p *scanner) found() string {
	switch w, at := p.peek(); {
	case w != "":
		return fmt.Sprintf("%q", w)
	case at < len(p.s):
		return fmt.Sprintf("%q", p.s[at:at+1])
	}
	return "the end"
}

func (p *scanner) startsString() bool {
	c := p.next()
	return c == '"' || c == '\''
}

// str takes a quoted string.
func (p *scanner) str(what string) (string, error) {
	if !p.startsString() {
		return "", p.errorf(p.i, "%s stands in quotes, found %s", what, p.found())
	}
	s, n, err := filter.ParseString(p.s[p.i:])
	if err != nil {
		return "", p.filterError(p.i, err)
	}
	p.i += n
	return s, nil
}

// bytes takes bytes in hexadecimal, such as [de ad be ef], or a quoted string.
func (p *scanner) bytes() (string, error) {
	if p.next() != '[' {
		return p.str("what is not [de ad be ef]")
	}
	at := p.i
	n := strings.IndexByte(p.s[at:], ']')
	if n < 0 {
		return "", p.errorf(at, "[ has no ]")
	}
	b, err := hex.DecodeString(strings.ReplaceAll(p.s[at+1:at+n], " ", ""))
	if err != nil {
		return "", p.errorf(at, "want bytes such as [de ad be ef], not %s", p.s[at:at+n+1])
	}
	p.i = at + n + 1
	return string(b), nil
}

// delimited takes /one/two/, in which another sign may stand for the slash, and \/ for one
// that does not end a part.
func (p *scanner) delimited() (parts [2]string, at int, err error) {
	sep := p.next()
	at = p.i
	if sep == 0 || sep >= utf8.RuneSelf || isWordByte(sep) || sep == '\\' {
		return parts, at, p.errorf(at, "want /expression/text/, found %s", p.found())
	}
	p.i++
	for n := range parts {
		var b []byte
		for {
			if p.i == len(p.s) {
				return parts, at, p.errorf(at, "want %[1]cexpression%[1]ctext%[1]c: the %[2]s %[1]c is missing", sep, [2]string{"second", "third"}[n])
			}
			c := p.s[p.i]
			p.i++
			if c == sep {
				break
			}
			if c == '\\' && p.i < len(p.s) && p.s[p.i] == sep {
				c = sep
				p.i++
			}
			b = append(b, c)
		}
		parts[n] = string(b)
	}
	return parts, at, nil
}

func isWordByte(c byte) bool {
	return c == '_' || '0' <= c && c <= '9' || 'a' <= c|0x20 && c|0x20 <= 'z'
}

// upToComma takes what comes next, up to a comma, or to "also" at the end.
func (p *scanner) upToComma() string {
	p.space()
	rest := p.s[p.i:]
	text, _, more := strings.Cut(rest, ",")
	text = strings.TrimRight(text, " \t\r\n")
	if !more {
		if t, ok := strings.CutSuffix(text, "also"); ok && t != "" && isSpace(t[len(t)-1]) {
			text = strings.TrimRight(t, " \t\r\n")
		}
	}
	p.i += len(text)
	return text
}

// bracketed takes a word in whose brackets anything may stand, such as $['a, b'].
func (p *scanner) bracketed() (word string, at int) {
	p.space()
	at = p.i
	for p.i < len(p.s) && !isSpace(p.s[p.i]) && p.s[p.i] != ',' {
		if p.s[p.i] != '[' {
			p.i++
			continue
		}
		end := "]"
		if rest := p.s[p.i+1:]; rest != "" && (rest[0] == '\'' || rest[0] == '"') {
			end = rest[:1] + "]"
		}
		n := strings.Index(p.s[min(p.i+2, len(p.s)):], end)
		if n < 0 {
			p.i = len(p.s)
			break
		}
		p.i += 2 + n + len(end)
	}
	return p.s[at:p.i], at
}
