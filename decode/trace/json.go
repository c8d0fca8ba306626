package trace

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode/pick"
)

// The functions in this file take values apart that are known to be valid JSON.

// members returns the members of the object line. The values are parts of line.
func members(line []byte) ([]Member, error) {
	ms := make([]Member, 0, 8)
	rest := skipSpace(line[1:])
	for rest[0] != '}' {
		n := valueLen(rest)
		key, err := unquote(rest[:n])
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", rest[:n], err)
		}
		rest = skipSpace(rest[n:])
		rest = skipSpace(rest[1:]) // the colon
		n = valueLen(rest)
		ms = append(ms, Member{string(key), rest[:n]})
		rest = skipSpace(rest[n:])
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return ms, nil
}

// list calls f for each element of the array v.
func list(v []byte, f func([]byte) error) error {
	if v[0] != '[' {
		return fmt.Errorf("%.40s is not a list", v)
	}
	for rest := skipSpace(v[1:]); rest[0] != ']'; {
		n := valueLen(rest)
		if err := f(rest[:n]); err != nil {
			return err
		}
		rest = skipSpace(rest[n:])
		if rest[0] == ',' {
			rest = skipSpace(rest[1:])
		}
	}
	return nil
}

func skipSpace(b []byte) []byte {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\t' || b[0] == '\r' || b[0] == '\n') {
		b = b[1:]
	}
	return b
}

// valueLen returns the length of the value at the start of b.
func valueLen(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			for i++; b[i] != '"'; i++ {
				if b[i] == '\\' {
					i++
				}
			}
			if depth == 0 {
				return i + 1
			}
		case '{', '[':
			depth++
		case '}', ']':
			if depth == 0 { // it ends what a number or word stands in
				return i
			}
			if depth--; depth == 0 {
				return i + 1
			}
		case ',', ' ', '\t', '\r', '\n':
			if depth == 0 {
				return i
			}
		}
	}
	return len(b)
}

// compact returns a copy of v without white space. Strings and numbers keep
// their spelling, except that what hidden has is escaped.
func compact(v []byte) ([]byte, error) {
	var buf bytes.Buffer
	err := json.Compact(&buf, v)
	return AppendJSON(nil, buf.Bytes()), err
}

// unquote returns what the string v stands for, in bytes of its own. Unlike
// encoding/json it reports half of a surrogate pair as an error, because no
// UTF-8 stands for it.
func unquote(v []byte) ([]byte, error) {
	out, whole := pick.AppendString(make([]byte, 0, len(v)-2), v)
	if !whole {
		return nil, errSurrogate
	}
	return out, nil
}

var errSurrogate = errors.New("half of a surrogate pair")

// str reads a string, in bytes of its own.
func str(v []byte) ([]byte, error) {
	if v[0] != '"' {
		return nil, fmt.Errorf("%.40s is not a string", v)
	}
	return unquote(v)
}

func boolean(v []byte) (bool, error) {
	if s := string(v); s != "true" && s != "false" {
		return false, fmt.Errorf("%.40s is neither true nor false", v)
	}
	return v[0] == 't', nil
}

// whole reads a whole number of at least least.
func whole(v []byte, least int64) (int64, error) {
	n, err := strconv.ParseInt(string(v), 10, 64)
	if err != nil || n < least {
		return 0, fmt.Errorf("%.40s is not a whole number from %d", v, least)
	}
	return n, nil
}

// upTo reads a whole number from 0 to most; over says what a bigger one is.
func upTo(v []byte, most int64, over string) (int64, error) {
	n, err := whole(v, 0)
	if err == nil && n > most {
		err = fmt.Errorf("%d %s", n, over)
	}
	return n, err
}

func unsigned(v []byte) (uint64, error) {
	n, err := strconv.ParseUint(string(v), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.40s is not a whole number of 64 bits", v)
	}
	return n, nil
}

func fromBase64(v []byte) ([]byte, error) {
	s, err := str(v)
	if err != nil {
		return nil, err
	}
	b := make([]byte, base64.StdEncoding.DecodedLen(len(s)))
	n, err := base64.StdEncoding.Strict().Decode(b, s)
	if err != nil {
		return nil, fmt.Errorf("%.40s is not base64", v)
	}
	return b[:n], nil
}

// seconds reads a number of seconds, to the nearest nanosecond.
func seconds(v []byte) (time.Duration, error) {
	if v[0] != '-' && (v[0] < '0' || v[0] > '9') {
		return 0, fmt.Errorf("%.40s is not a number", v)
	}
	tooBig := func() error { return fmt.Errorf("%.40s seconds are out of range", v) }
	num, exp, hasExp := strings.Cut(strings.ToLower(string(v)), "e")
	num, neg := strings.CutPrefix(num, "-")
	whole, frac, _ := strings.Cut(num, ".")
	digits := strings.TrimLeft(whole+frac, "0")
	if digits == "" {
		return 0, nil
	}
	shift := 9 - len(frac) // the value is digits × 10^shift ns
	if hasExp {
		e, err := strconv.Atoi(exp)
		switch {
		case strings.HasPrefix(exp, "-") && (err != nil || e < -len(v)-30):
			return 0, nil
		case err != nil || e > len(v)+30:
			return 0, tooBig()
		}
		shift += e
	}
	if len(digits)+shift > 19 {
		return 0, tooBig()
	}
	up := false
	if drop := -shift; drop > len(digits) {
		digits = "0"
	} else if drop > 0 {
		up = digits[len(digits)-drop] >= '5'
		digits = "0" + digits[:len(digits)-drop]
	} else {
		digits += strings.Repeat("0", shift)
	}
	n, err := strconv.ParseInt(digits, 10, 64)
	if err != nil || up && n == math.MaxInt64 {
		return 0, tooBig()
	}
	if up {
		n++
	}
	if neg {
		n = -n
	}
	return time.Duration(n), nil
}
