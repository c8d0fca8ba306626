package filter

import (
	"fmt"
	"strconv"
	"strings"
	"unicode/utf8"
)

// An Error says what is wrong with an expression, and where.
type Error struct {
	Column int // in characters, from 1
	Text   string
}

func (e *Error) Error() string { return fmt.Sprintf("column %d: %s", e.Column, e.Text) }

type tokenKind uint8

const (
	tokenEnd tokenKind = iota
	tokenWord
	tokenString // text is without its quotes
	tokenOp     // text is == != < <= > >= && || ! ( ) { } ,
)

type token struct {
	kind tokenKind
	text string
	at   int // offset in the expression
}

func (t token) String() string {
	if t.kind == tokenEnd {
		return "the end"
	}
	return strconv.Quote(t.text)
}

// a lexer gives the tokens of an expression.
type lexer struct {
	s   string
	i   int
	raw bool // the next string keeps its backslashes
}

func (l *lexer) errorf(at int, format string, args ...any) error {
	return &Error{utf8.RuneCountInString(l.s[:at]) + 1, fmt.Sprintf(format, args...)}
}

const special = "\"'(){},=!<>&| \t\r\n"

func (l *lexer) next() (token, error) {
	for l.i < len(l.s) && strings.IndexByte(" \t\r\n", l.s[l.i]) >= 0 {
		l.i++
	}
	at := l.i
	if at == len(l.s) {
		return token{tokenEnd, "", at}, nil
	}
	for _, op := range []string{"==", "!=", "<=", ">=", "&&", "||", "<", ">", "!", "(", ")", "{", "}", ","} {
		if strings.HasPrefix(l.s[at:], op) {
			l.i += len(op)
			return token{tokenOp, op, at}, nil
		}
	}
	switch c := l.s[at]; c {
	case '"', '\'':
		return l.quoted(c)
	case '=', '&', '|':
		return token{}, l.errorf(at, "%q is not an operator; use %q", string(c), strings.Repeat(string(c), 2))
	case '~':
		return token{}, l.errorf(at, `"~" is not an operator; use matches`)
	}
	return l.word()
}

// word takes a word. What it has in brackets may hold anything.
func (l *lexer) word() (token, error) {
	at := l.i
	for l.i < len(l.s) && strings.IndexByte(special, l.s[l.i]) < 0 {
		if l.s[l.i] == '[' {
			end := "]"
			if rest := l.s[l.i+1:]; rest != "" && (rest[0] == '"' || rest[0] == '\'') {
				end = rest[:1] + "]"
			}
			n := strings.Index(l.s[min(l.i+2, len(l.s)):], end)
			if n < 0 {
				return token{}, l.errorf(l.i, "[ has no ]")
			}
			l.i += 2 + n + len(end)
			continue
		}
		l.i++
	}
	return token{tokenWord, l.s[at:l.i], at}, nil
}

func (l *lexer) quoted(quote byte) (token, error) {
	at := l.i
	var b []byte
	for l.i++; l.i < len(l.s); l.i++ {
		c := l.s[l.i]
		switch {
		case c == quote:
			l.i++
			return token{tokenString, string(b), at}, nil
		case c != '\\' || l.i+1 == len(l.s):
			b = append(b, c)
			continue
		}
		l.i++
		c = l.s[l.i]
		if l.raw {
			if c != quote {
				b = append(b, '\\')
			}
			b = append(b, c)
			continue
		}
		digits := 0
		switch c {
		case '\\', '"', '\'':
		case 'n':
			c = '\n'
		case 'r':
			c = '\r'
		case 't':
			c = '\t'
		case 'x':
			digits = 2
		case 'u':
			digits = 4
		default:
			b = append(b, '\\')
		}
		if digits == 0 {
			b = append(b, c)
			continue
		}
		n, err := strconv.ParseUint(l.s[l.i+1:min(l.i+1+digits, len(l.s))], 16, 16)
		if err != nil || l.i+1+digits > len(l.s) {
			return token{}, l.errorf(l.i-1, `\%c wants %d hexadecimal digits`, c, digits)
		}
		if c == 'x' {
			b = append(b, byte(n))
		} else {
			b = utf8.AppendRune(b, rune(n))
		}
		l.i += digits
	}
	return token{}, l.errorf(at, "the string has no end")
}

// ParseString returns what the quoted string at the beginning of text stands for, and
// where it ends, in bytes. The error is an [*Error].
func ParseString(text string) (s string, end int, err error) {
	l := lexer{s: text}
	t, err := l.quoted(text[0])
	return t.text, l.i, err
}

// quote writes a string so that it is read as s.
func quote(s string, raw bool) string {
	b := []byte{'"'}
	for i := 0; i < len(s); i++ {
		c := s[i]
		switch {
		case raw && c == '\\' && i+1 < len(s):
			i++
			b = append(b, c, s[i])
		case c == '"', c == '\\' && !raw:
			b = append(b, '\\', c)
		case !raw && (c < ' ' || c == 0x7f):
			b = fmt.Appendf(b, `\x%02x`, c)
		default:
			b = append(b, c)
		}
	}
	return string(append(b, '"'))
}
