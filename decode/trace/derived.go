package trace

import (
	"fmt"
	"strconv"
	"time"
)

// A Message is what a message record says of one besides its content. The
// numbers are nil where they are not known.
type Message struct {
	Op         string // text or bin
	Frames     *int64 // it had
	Wire       *int64 // bytes of payload that came
	Len        *int64 // bytes it has, inflated
	Compressed bool
	Unread     bool // it could not be inflated, or something of it is missing
	Unfinished bool // its end never came
}

// A Closed is what a session adds up to. Pointers are nil where something is
// not known or does not apply. A pair is what the client and the server sent.
type Closed struct {
	Code       *int64 // of the closing handshake; 1005 and 1006 too (RFC 6455 §7.1.5)
	By, Reason string
	Answered   *bool // the other side sent a Close too
	Status     int64 // of the answer that the proxy gave in place of the server; 0 if none
	Took       *time.Duration
	Frames     *[2]int64
	Bytes      *[2]int64 // on the wire, behind the heads
	Messages   *[2]int64
	Unread     *[2]int64 // messages that could not be looked into
	Compressed *[2]int64 // bytes on the wire of the compressed messages
	Inflated   *[2]int64 // bytes that they stand for
	Pings      *[2]int64
	Pongs      *[2]int64 // that answered those pings
	Violations *int64
	Rules      []RuleCount // that were broken
}

// A RuleCount is how often a rule was broken.
type RuleCount struct {
	ID string
	N  int64
}

// derivedCount is a number from 0 that may not be known.
func derivedCount(name string, field func(*Record) **int64) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if n := *field(r); n != nil {
			dst = appendInt(dst, lead, *n)
		}
		return dst
	}, func(p *parser, v []byte) error {
		n, err := whole(v, 0)
		*field(&p.Record) = &n
		return err
	})
}

func derivedFlag(name string, field func(*Record) **bool) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if b := *field(r); b != nil {
			dst = strconv.AppendBool(append(dst, lead...), *b)
		}
		return dst
	}, func(p *parser, v []byte) error {
		b, err := boolean(v)
		*field(&p.Record) = &b
		return err
	})
}

func derivedSeconds(name string, field func(*Record) **time.Duration) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if d := *field(r); d != nil {
			dst = AppendSeconds(append(dst, lead...), *d)
		}
		return dst
	}, func(p *parser, v []byte) error {
		d, err := seconds(v)
		*field(&p.Record) = &d
		return err
	})
}

// pair is what the client and the server sent, as a list.
func pair(name string, field func(*Record) **[2]int64) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		n := *field(r)
		if n == nil {
			return dst
		}
		dst = strconv.AppendInt(append(append(dst, lead...), '['), n[0], 10)
		dst = strconv.AppendInt(append(dst, ','), n[1], 10)
		return append(dst, ']')
	}, func(p *parser, v []byte) error {
		var l []int64
		err := list(v, func(v []byte) error {
			n, err := whole(v, 0)
			l = append(l, n)
			return err
		})
		if err == nil && len(l) != 2 {
			err = fmt.Errorf("%s is not two numbers", v)
		}
		if err == nil {
			*field(&p.Record) = (*[2]int64)(l)
		}
		return err
	})
}

// ruleCounts is an object with the number of violations of each rule.
func ruleCounts(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		counts := r.Closed.Rules
		if len(counts) == 0 {
			return dst
		}
		dst = append(append(dst, lead...), '{')
		for i, c := range counts {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(dst, c.ID)
			dst = appendInt(dst, ":", c.N)
		}
		return append(dst, '}')
	}, func(p *parser, v []byte) error {
		if v[0] != '{' {
			return fmt.Errorf("%.40s is not an object", v)
		}
		ms, err := members(v)
		for _, m := range ms {
			var n int64
			if n, err = whole(m.Value, 0); err != nil {
				break
			}
			p.Closed.Rules = append(p.Closed.Rules, RuleCount{m.Key, n})
		}
		return err
	})
}

func inflated(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.HasInflated {
			dst = appendString(append(dst, lead...), r.Inflated)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		p.HasInflated = true
		p.Inflated, err = str(v)
		return err
	})
}
