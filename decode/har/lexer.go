package har

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"github.com/wstrace/wstrace/decode"
)

// A lexer reads JSON as it comes. Of a string it holds no more than was asked for, and
// of what is passed over nothing.
type lexer struct {
	r  *bufio.Reader
	at int64 // bytes read
}

// maxDepth is how deep what is passed over may be nested.
const maxDepth = 1000

func newLexer(r io.Reader) *lexer { return &lexer{r: bufio.NewReaderSize(r, 64<<10)} }

// move goes to another place in the file.
func (l *lexer) move(s *Source, at int64) {
	l.r.Reset(io.NewSectionReader(s.R, at, s.Size-at))
	l.at = at
}

func (l *lexer) errorAt(err error) error { return &decode.SourceError{Offset: l.at, Err: err} }

// read returns the error for one of the reader.
func (l *lexer) readError(err error) error {
	if err == io.EOF || err == io.ErrUnexpectedEOF { // the latter from a decompressor
		err = decode.ErrCut
	}
	return l.errorAt(err)
}

// fill returns the bytes at hand, at least one.
func (l *lexer) fill() ([]byte, error) {
	if _, err := l.r.Peek(1); err != nil {
		return nil, l.readError(err)
	}
	b, _ := l.r.Peek(l.r.Buffered())
	return b, nil
}

// drop passes over n of the bytes at hand.
func (l *lexer) drop(n int) {
	l.r.Discard(n)
	l.at += int64(n)
}

// next returns the byte that the next token begins with.
func (l *lexer) next() (byte, error) {
	for {
		b, err := l.fill()
		if err != nil {
			return 0, err
		}
		n := len(b) - len(bytes.TrimLeft(b, " \t\r\n"))
		l.drop(n)
		if n < len(b) {
			return b[n], nil
		}
	}
}

// mark passes over a BOM.
func (l *lexer) mark() {
	if b, _ := l.r.Peek(3); string(b) == "\uFEFF" {
		l.drop(3)
	}
}

func (l *lexer) unexpected(c byte, want string) error {
	return l.errorAt(fmt.Errorf("%q where JSON has %s", c, want))
}

// object reads an object: f is called for each key, to read its value. Any other value
// is passed over.
func (l *lexer) object(f func(key string) error) error {
	c, err := l.next()
	if err != nil || c != '{' {
		return l.skipUnless(err)
	}
	l.drop(1)
	var key [32]byte // longer ones mean nothing to us
	for first := true; ; first = false {
		if c, err = l.next(); err != nil {
			return err
		}
		switch {
		case c == '}':
			l.drop(1)
			return nil
		case first:
		case c != ',':
			return l.unexpected(c, "a comma or the end of an object")
		default:
			l.drop(1)
			if c, err = l.next(); err != nil {
				return err
			}
		}
		if c != '"' {
			return l.unexpected(c, "a key")
		}
		name, _, err := l.text(key[:0], len(key))
		if err != nil {
			return err
		}
		if c, err = l.next(); err != nil {
			return err
		}
		if c != ':' {
			return l.unexpected(c, "a colon")
		}
		l.drop(1)
		if err := f(string(name)); err != nil {
			return err
		}
	}
}

// array reads an array: f is called to read each value. Any other value is passed over.
func (l *lexer) array(f func() error) error {
	c, err := l.next()
	if err != nil || c != '[' {
		return l.skipUnless(err)
	}
	l.drop(1)
	return l.elements(f)
}

// elements reads what stands behind the beginning of an array.
func (l *lexer) elements(f func() error) error {
	for first := true; ; first = false {
		c, err := l.next()
		if err != nil {
			return err
		}
		switch {
		case c == ']':
			l.drop(1)
			return nil
		case first:
		case c != ',':
			return l.unexpected(c, "a comma or the end of an array")
		default:
			l.drop(1)
		}
		if err := f(); err != nil {
			return err
		}
	}
}

func (l *lexer) skipUnless(err error) error {
	if err != nil {
		return err
	}
	return l.skip()
}

// skip passes over a value.
func (l *lexer) skip() error {
	var open []byte // the brackets in which we are
	for {
		c, err := l.next()
		if err != nil {
			return err
		}
		switch c {
		case '{', '[':
			if len(open) == maxDepth {
				return l.errorAt(fmt.Errorf("nested deeper than %d levels", maxDepth))
			}
			open = append(open, c+2) // the bracket that closes it
			l.drop(1)
			continue
		case '}', ']':
			if len(open) == 0 || open[len(open)-1] != c {
				return l.unexpected(c, "a value")
			}
			open = open[:len(open)-1]
			l.drop(1)
		case ',', ':':
			if len(open) == 0 {
				return l.unexpected(c, "a value")
			}
			l.drop(1)
			continue
		case '"':
			if _, _, err := l.text(nil, 0); err != nil {
				return err
			}
		default:
			if _, err := l.word(); err != nil {
				return err
			}
		}
		if len(open) == 0 {
			return nil
		}
	}
}

// word reads a number, true, false or null.
func (l *lexer) word() (string, error) {
	const longest = 64 // bytes; of a number that means something
	var word []byte
	for {
		b, err := l.fill()
		if errors.Is(err, decode.ErrCut) && len(word) > 0 {
			break // it may be whole; what follows is missing anyway
		}
		if err != nil {
			return "", err
		}
		n := bytes.IndexFunc(b, func(c rune) bool {
			return !(c >= '0' && c <= '9' || c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c == '.' || c == '+' || c == '-')
		})
		whole := n >= 0
		if !whole {
			n = len(b)
		}
		if len(word) == 0 && n == 0 {
			return "", l.unexpected(b[0], "a value")
		}
		word = append(word, b[:n]...)
		if len(word) > longest {
			return "", l.errorAt(fmt.Errorf("a number of more than %d digits", longest))
		}
		l.drop(n)
		if whole {
			break
		}
	}
	return string(word), nil
}

// A kind is the kind of a value that is no object and no array.
type kind uint8

const (
	other kind = iota // an object, an array, null or a word: passed over
	text
	number
	boolean
)

// scalar reads a value: text of at most max bytes, a number, true or false.
func (l *lexer) scalar(max int) (kind, string, error) {
	c, err := l.next()
	switch {
	case err != nil:
		return other, "", err
	case c == '"':
		b, _, err := l.text(nil, max)
		return text, string(b), err
	case c == '{' || c == '[':
		return other, "", l.skip()
	}
	word, err := l.word()
	switch {
	case err != nil:
		return other, "", err
	case word == "true", word == "false":
		return boolean, word, nil
	case c == '-' || c >= '0' && c <= '9':
		return number, word, nil
	}
	return other, "", nil
}

// into reads text of at most max bytes into s, and passes over any other value.
func (l *lexer) into(s *string, max int) error {
	k, v, err := l.scalar(max)
	if k == text {
		*s = v
	}
	return err
}

// integer reads a whole number into n, which keeps its value if there is none.
func (l *lexer) integer(n *int64) error {
	k, v, err := l.scalar(64)
	if k != number && k != text {
		return err
	}
	if i, bad := strconv.ParseInt(v, 10, 64); bad == nil {
		*n = i
	} else if f, bad := strconv.ParseFloat(v, 64); bad == nil && f > -1e15 && f < 1e15 {
		*n = int64(f)
	}
	return err
}

// flag reads true or false into b.
func (l *lexer) flag(b *bool) error {
	k, v, err := l.scalar(8)
	if k == boolean {
		*b = v == "true"
	}
	return err
}

// text reads a string, and appends at most max bytes of it to dst. n is how many it has.
// What is not UTF-8, or half of a character, becomes U+FFFD.
func (l *lexer) text(dst []byte, max int) (b []byte, n int64, err error) {
	l.drop(1) // the quote
	room := max
	add := func(p []byte) {
		n += int64(len(p))
		k := min(len(p), room)
		dst = append(dst, p[:k]...)
		room -= k
	}
	for {
		p, err := l.fill()
		if err != nil {
			return dst, n, err
		}
		i := 0
		for i < len(p) && p[i] != '"' && p[i] != '\\' {
			i++
		}
		add(p[:i])
		l.drop(i)
		switch {
		case i == len(p):
		case p[i] == '"':
			l.drop(1)
			if n > int64(max) {
				dst = decode.WholeChars(dst)
			}
			if !utf8.Valid(dst) {
				dst = bytes.ToValidUTF8(dst, []byte("\uFFFD"))
			}
			return dst, n, nil
		default:
			r, err := l.escape()
			if err != nil {
				return dst, n, err
			}
			var char [utf8.UTFMax]byte
			add(char[:utf8.EncodeRune(char[:], r)])
		}
	}
}

// escape reads an escape.
func (l *lexer) escape() (rune, error) {
	b, err := l.r.Peek(2)
	if err != nil {
		return 0, l.readError(err)
	}
	c := b[1]
	if c != 'u' {
		plain := bytes.IndexByte([]byte(`"\/bfnrt`), c)
		if plain < 0 {
			return 0, l.errorAt(fmt.Errorf("%q is no escape of JSON", b))
		}
		l.drop(2)
		return rune("\"\\/\b\f\n\r\t"[plain]), nil
	}
	r, err := l.unit()
	if err != nil || !utf16.IsSurrogate(r) {
		return r, err
	}
	if b, _ := l.r.Peek(2); string(b) != `\u` {
		return utf8.RuneError, nil
	}
	b, err = l.r.Peek(6)
	if err != nil {
		return 0, l.readError(err)
	}
	low, bad := strconv.ParseUint(string(b[2:]), 16, 16)
	whole := utf16.DecodeRune(r, rune(low))
	if bad == nil && whole != utf8.RuneError {
		l.drop(6)
	}
	return whole, nil
}

// unit reads \u and four digits.
func (l *lexer) unit() (rune, error) {
	b, err := l.r.Peek(6)
	if err != nil {
		return 0, l.readError(err)
	}
	n, err := strconv.ParseUint(string(b[2:]), 16, 16)
	if err != nil {
		return 0, l.errorAt(fmt.Errorf("%q is no escape of JSON", b))
	}
	l.drop(6)
	return rune(n), nil
}
