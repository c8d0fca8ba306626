package trace

import (
	"fmt"

	"github.com/wstrace/wstrace/decode"
)

// headText is a part of the head, which is always written unless the whole of
// the head is.
func headText(name string, field func(*decode.Head) *string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if !r.RawHead {
			dst = appendString(append(dst, lead...), *field(r.Head))
		}
		return dst
	}, func(p *parser, v []byte) error {
		s, err := str(v)
		*field(p.Head) = string(s)
		return err
	})
}

func headStatus(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if !r.RawHead {
			dst = appendInt(dst, lead, int64(r.Head.Status))
		}
		return dst
	}, func(p *parser, v []byte) error {
		n, err := statusCode(v)
		p.Head.Status = int(n)
		return err
	})
}

// fields are the header fields.
func fields(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.RawHead {
			return dst
		}
		dst = append(append(dst, lead...), '[')
		for i, f := range r.Head.Fields {
			if i > 0 {
				dst = append(dst, ',')
			}
			dst = appendString(append(dst, '['), f.Name)
			dst = appendString(append(dst, ','), f.Value)
			dst = append(dst, ']')
		}
		return append(dst, ']')
	}, func(p *parser, v []byte) error {
		return list(v, func(v []byte) error {
			var f []string
			err := list(v, func(v []byte) error {
				s, err := str(v)
				f = append(f, string(s))
				return err
			})
			switch {
			case err != nil:
				return err
			case len(f) != 2:
				return fmt.Errorf("%s is not a name and a value", v)
			}
			p.Head.Fields = append(p.Head.Fields, decode.Field{Name: f[0], Value: f[1]})
			return nil
		})
	})
}

// rawHead is the whole of a head that its parts don't tell.
func rawHead(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.RawHead {
			dst = appendBase64(dst, lead, r.Head.Raw)
		}
		return dst
	}, func(p *parser, v []byte) error {
		b, err := fromBase64(v)
		p.Head.Raw, p.RawHead = string(b), len(b) > 0
		return err
	})
}

func body(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		return appendBase64(dst, lead, r.Body)
	}, func(p *parser, v []byte) (err error) {
		p.Body, err = fromBase64(v)
		return err
	})
}
