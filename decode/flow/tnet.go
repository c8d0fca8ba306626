package flow

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// Types of values: the character behind one.
const (
	typeBytes = ','
	typeText  = ';'
	typeInt   = '#'
	typeFloat = '^'
	typeBool  = '!'
	typeNull  = '~'
	typeDict  = '}'
	typeList  = ']'
	typeCut   = '?' // of a value that the file ends in: which it has stands behind it
)

const (
	maxDigits = 12      // of a length
	maxScalar = 1 << 10 // bytes of a number or a key
	maxHeads  = 1 << 20 // bytes of the header lines of a head
	window    = 4 << 10
)

// A value is a value in the file: its content is the n bytes at at. The zero value
// is null.
type value struct {
	typ   byte
	at, n int64
}

func (v value) null() bool { return v.typ == 0 || v.typ == typeNull }

// end returns where what follows v begins.
func (v value) end() int64 { return v.at + v.n + 1 }

// A reader reads values anywhere in a file. It never goes down into a value by
// itself, so no depth is too much for it.
type reader struct {
	r    io.ReaderAt
	size int64
	cut  bool // what the file ends in is read, too: there may be more of it
	buf  []byte
	from int64 // where buf stands
}

// bytes returns n bytes at at, up to the size of the window. They are valid until the
// next call.
func (r *reader) bytes(at int64, n int) ([]byte, error) {
	if at < r.from || at+int64(n) > r.from+int64(len(r.buf)) {
		if r.buf == nil {
			r.buf = make([]byte, 0, window)
		}
		m, err := r.r.ReadAt(r.buf[:min(window, max(0, r.size-at))], at)
		if err != nil && err != io.EOF {
			r.buf = r.buf[:0]
			return nil, err
		}
		r.buf, r.from = r.buf[:m], at
	}
	b := r.buf[at-r.from:]
	return b[:min(n, len(b))], nil
}

func failAt(at int64, format string, args ...any) error {
	return &decode.SourceError{Offset: at, Err: fmt.Errorf(format, args...)}
}

// value returns the value at at, within what ends at end.
func (r *reader) value(at, end int64) (value, error) {
	b, err := r.bytes(at, int(min(maxDigits+1, end-at)))
	if err != nil {
		return value{}, &decode.SourceError{Offset: at, Err: err}
	}
	i := bytes.IndexByte(b, ':')
	digits := b[:max(0, i)]
	if i < 0 {
		digits = b
	}
	n := int64(0)
	for _, c := range digits {
		if c < '0' || c > '9' {
			return value{}, failAt(at, "%.20q is no length of a value", b)
		}
		n = n*10 + int64(c-'0')
	}
	switch {
	case i < 0 && int64(len(b)) == r.size-at && len(b) <= maxDigits: // all there is
		return value{}, &decode.SourceError{Offset: at, Err: decode.ErrCut}
	case i <= 0:
		return value{}, failAt(at, "%.20q is no length of a value", b)
	}
	v := value{at: at + int64(i) + 1, n: n}
	if v.end() > end {
		if end == r.size && r.cut {
			return value{typ: typeCut, at: v.at, n: end - v.at}, nil
		}
		if end == r.size {
			return v, &decode.SourceError{Offset: at, Err: decode.ErrCut}
		}
		return v, failAt(at, "a value of %d bytes in one that has %d left", n, end-v.at)
	}
	b, err = r.bytes(v.at+n, 1)
	if err == nil && len(b) == 0 {
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		return v, &decode.SourceError{Offset: at, Err: err}
	}
	v.typ = b[0]
	if !bytes.ContainsRune([]byte(",;#^!~}]"), rune(v.typ)) {
		return v, failAt(v.at+n, "%q is no type of a value", v.typ)
	}
	return v, nil
}

// A list goes through the values in a list or a dictionary.
type list struct {
	r       *reader
	at, end int64
	err     error
}

// list returns the values of v, of which there are none if it has not type typ.
func (r *reader) list(v value, typ byte) *list {
	l := &list{r: r, at: v.at, end: v.at + v.n}
	if v.typ != typ && v.typ != typeCut {
		l.end = l.at
		if !v.null() {
			l.err = failAt(v.at, "got a value of type %q, want %q", v.typ, typ)
		}
	}
	return l
}

// next returns the next value.
func (l *list) next() (v value, ok bool) {
	if l.err != nil || l.at >= l.end {
		return value{}, false
	}
	if v, l.err = l.r.value(l.at, l.end); l.err != nil {
		if l.r.cut && errors.Is(l.err, decode.ErrCut) {
			l.err, l.at = nil, l.end
		}
		return value{}, false
	}
	l.at = v.end()
	return v, true
}

// dict returns those values of a dictionary that have one of the names.
func (r *reader) dict(v value, names ...string) (map[string]value, error) {
	found := make(map[string]value, len(names))
	l := r.list(v, typeDict)
	for {
		k, ok := l.next()
		if !ok {
			return found, l.err
		}
		e, ok := l.next()
		if !ok {
			if l.err == nil && !l.r.cut {
				l.err = failAt(k.at, "a key without a value")
			}
			return found, l.err
		}
		if k.n > maxScalar {
			continue
		}
		key, err := r.bytes(k.at, int(k.n))
		if err != nil {
			return found, err
		}
		for _, name := range names {
			if string(key) == name {
				found[name] = e
			}
		}
	}
}

// text returns the content of a string of up to most bytes. That of null is "".
func (r *reader) text(v value, most int64) (string, error) {
	switch {
	case v.null(), v.typ == typeCut:
		return "", nil
	case v.typ != typeBytes && v.typ != typeText:
		return "", failAt(v.at, "got a value of type %q, want a string", v.typ)
	case v.n > most:
		return "", failAt(v.at, "a string of %d bytes, at most %d are read", v.n, most)
	}
	b := make([]byte, v.n)
	if _, err := r.r.ReadAt(b, v.at); err != nil && err != io.EOF {
		return "", &decode.SourceError{Offset: v.at, Err: err}
	}
	return string(b), nil
}

// word returns a number or true or false as it is spelled, "" for null.
func (r *reader) word(v value, types string) (string, error) {
	switch {
	case v.null(), v.typ == typeCut:
		return "", nil
	case !bytes.ContainsRune([]byte(types), rune(v.typ)):
		return "", failAt(v.at, "got a value of type %q, want %q", v.typ, types)
	case v.n > maxScalar:
		return "", failAt(v.at, "a number of %d bytes", v.n)
	}
	b, err := r.bytes(v.at, int(v.n))
	return string(b), err
}

// integer returns an integer. ok is false for null.
func (r *reader) integer(v value) (n int64, ok bool, err error) {
	s, err := r.word(v, "#")
	if err != nil || s == "" {
		return 0, false, err
	}
	if n, err = strconv.ParseInt(s, 10, 64); err != nil {
		return 0, false, failAt(v.at, "%.20q is no number", s)
	}
	return n, true, nil
}

// boolean returns whether v is true.
func (r *reader) boolean(v value) (bool, error) {
	s, err := r.word(v, "!")
	return s == "true", err
}

var errTime = errors.New("no time")

// time returns the time that a number of seconds stands for, to the microsecond: a
// float has no more. That of null is the zero time.
func (r *reader) time(v value) (time.Time, error) {
	s, err := r.word(v, "#^")
	if err != nil || s == "" {
		return time.Time{}, err
	}
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || math.IsNaN(f) || math.Abs(f) > 1<<38 { // beyond the year 9999
		return time.Time{}, &decode.SourceError{Offset: v.at, Err: errTime}
	}
	whole := math.Floor(f)
	return time.Unix(int64(whole), int64(math.Round((f-whole)*1e6))*1000), nil
}
