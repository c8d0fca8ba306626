package trace

import (
	"fmt"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// A key is one key of a kind of record.
type key struct {
	name   string
	lead   string // `,"name":`
	needed bool   // a record of the kind must have it

	// append appends lead and the value that r has, or nothing for the
	// default. It is nil if another key does that too.
	append func(dst []byte, lead string, r *Record) []byte

	// parse takes the value from v, which is valid JSON.
	parse func(p *parser, v []byte) error
}

func newKey(name string, append func([]byte, string, *Record) []byte, parse func(*parser, []byte) error) key {
	return key{name: name, lead: `,"` + name + `":`, append: append, parse: parse}
}

func required(k key) key {
	k.needed = true
	return k
}

// text is a string that is left out if it is empty.
func text(name string, field func(*Record) *string) key {
	return checkedText(name, field, func(string) string { return "" })
}

// checkedText is a text of which fault returns what is wrong with it, or "".
func checkedText(name string, field func(*Record) *string, fault func(string) string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		return appendText(dst, lead, *field(r))
	}, func(p *parser, v []byte) error {
		s, err := str(v)
		if err != nil {
			return err
		}
		*field(&p.Record) = string(s)
		if f := fault(string(s)); f != "" {
			return fmt.Errorf("%s %s", v, f)
		}
		return nil
	})
}

func timestamp(name string, field func(*Record) *string) key {
	return checkedText(name, field, func(s string) string {
		var t time.Time
		if t.UnmarshalText([]byte(s)) != nil {
			return "is not a time as in RFC 3339"
		}
		return ""
	})
}

func ending(name string) key {
	return checkedText(name, func(r *Record) *string { return &r.How }, func(s string) string {
		if _, ok := decode.ParseEnd(s); !ok {
			return "is not a way to end"
		}
		return ""
	})
}

func texts(name string, field func(*Record) *[]string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		l := *field(r)
		if len(l) == 0 {
			return dst
		}
		dst = append(append(dst, lead...), '[')
		for i, s := range l {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, s)
		}
		return append(dst, ']')
	}, func(p *parser, v []byte) error {
		l := field(&p.Record)
		return list(v, func(v []byte) error {
			s, err := str(v)
			*l = append(*l, string(s))
			return err
		})
	})
}

// anyJSON is kept as it is.
func anyJSON(name string, field func(*Record) *[]byte) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if b := *field(r); len(b) > 0 {
			dst = append(append(dst, lead...), b...)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		*field(&p.Record), err = compact(v)
		return err
	})
}

// flag is left out if it is false.
func flag(name string, field func(*Record) *bool) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if *field(r) {
			dst = append(append(dst, lead...), "true"...)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		*field(&p.Record), err = boolean(v)
		return err
	})
}

// count is a number from 0 that is always written.
func count(name string, field func(*Record) *int64) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		return appendInt(dst, lead, *field(r))
	}, func(p *parser, v []byte) (err error) {
		*field(&p.Record), err = whole(v, 0)
		return err
	})
}

// number is a number of at least least, or left out if it is 0.
func number(name string, field func(*Record) *int64, least int64) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if n := *field(r); n != 0 {
			dst = appendInt(dst, lead, n)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		*field(&p.Record), err = whole(v, least)
		return err
	})
}

// knownCount is a number from 0, and whether it is known.
func knownCount(name string, field func(*Record) (n *int64, known *bool)) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if n, known := field(r); *known {
			dst = appendInt(dst, lead, *n)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		n, known := field(&p.Record)
		*known = true
		*n, err = whole(v, 0)
		return err
	})
}

// status is the status code of a response, or left out if it is 0.
func status(name string, field func(*Record) *int64) key {
	k := number(name, field, 100)
	k.parse = func(p *parser, v []byte) (err error) {
		*field(&p.Record), err = statusCode(v)
		return err
	}
	return k
}

func statusCode(v []byte) (int64, error) {
	n, err := whole(v, 100)
	if err == nil && n > 999 {
		err = fmt.Errorf("%d is not a status code", n)
	}
	return n, err
}

// lineTime is the time of a line.
func lineTime(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.HasT {
			dst = AppendSeconds(append(dst, lead...), r.T)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		p.HasT = true
		p.T, err = seconds(v)
		return err
	})
}

// sessionNumber is the number of a session.
func sessionNumber(name string) key {
	return number(name, func(r *Record) *int64 { return &r.C }, 1)
}

func direction(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.HasDir {
			dst = append(append(dst, lead...), '"')
			dst = append(append(dst, r.Dir.Arrow()...), '"')
		}
		return dst
	}, func(p *parser, v []byte) error {
		s, err := str(v)
		if err != nil {
			return err
		}
		p.HasDir = true
		switch string(s) {
		case ">":
			p.Dir = decode.FromClient
		case "<":
			p.Dir = decode.FromServer
		default:
			return fmt.Errorf(`%s is neither ">" nor "<"`, v)
		}
		return nil
	})
}
