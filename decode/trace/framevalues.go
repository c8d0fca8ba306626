package trace

import (
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// namedOps are the opcodes that have a name in traces; the others are numbers.
var namedOps = func() (names [16]string) {
	for op := range names {
		if name := decode.OpName(ws.OpCode(op)); !strings.HasPrefix(name, "rsv") {
			names[op] = name
		}
	}
	return names
}()

func opcode(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		op := r.Op & 15
		if name := namedOps[op]; name != "" {
			dst = append(append(dst, lead...), '"')
			return append(append(dst, name...), '"')
		}
		return appendInt(dst, lead, int64(op))
	}, func(p *parser, v []byte) error {
		if v[0] != '"' {
			n, err := upTo(v, 15, "is more than 4 bits")
			p.Op = ws.OpCode(n)
			return err
		}
		s, err := str(v)
		if err != nil {
			return err
		}
		for op, name := range namedOps {
			if name != "" && name == string(s) {
				p.Op = ws.OpCode(op)
				return nil
			}
		}
		return fmt.Errorf("%s is not an opcode", v)
	})
}

func fin(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if !r.Fin {
			dst = append(append(dst, lead...), "false"...)
		}
		return dst
	}, func(p *parser, v []byte) (err error) {
		p.Fin, err = boolean(v)
		return err
	})
}

func rsv(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.Rsv != 0 {
			dst = appendInt(dst, lead, int64(r.Rsv))
		}
		return dst
	}, func(p *parser, v []byte) error {
		n, err := upTo(v, 7, "is more than 3 bits")
		p.Rsv = byte(n)
		return err
	})
}

func mask(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if !r.Masked {
			return dst
		}
		dst = append(append(dst, lead...), '"')
		for _, b := range r.Mask {
			dst = append(dst, hexDigits[b>>4], hexDigits[b&15])
		}
		return append(dst, '"')
	}, func(p *parser, v []byte) error {
		s, err := str(v)
		if err != nil {
			return err
		}
		if n, err := hex.Decode(p.Mask[:], s[:min(len(s), 8)]); err != nil || n != 4 || len(s) != 8 {
			return fmt.Errorf("%s is not 8 hexadecimal digits", v)
		}
		p.Masked = true
		return nil
	})
}

// lengthBits is the width of the length field, if it is wider than needed.
func lengthBits(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.LenBits != 0 && r.Form != FormDeflate && r.LenBits > decode.LengthBits(r.Len) {
			dst = appendInt(dst, lead, int64(r.LenBits))
		}
		return dst
	}, func(p *parser, v []byte) error {
		n, err := whole(v, 0)
		if err == nil && n != 7 && n != 16 && n != 64 {
			err = fmt.Errorf("%d is not 7, 16 or 64", n)
		}
		p.LenBits = int(n)
		return err
	})
}

// frameLength is the length of a frame that is not that of the payload at hand.
func frameLength(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.Form != FormDeflate && r.Len != uint64(len(r.Payload)) {
			dst = appendUint(dst, lead, r.Len)
		}
		return dst
	}, parseLength)
}

// cutLength is the length that a payload had before it was cut.
func cutLength(name string) key {
	return newKey(name, func(dst []byte, lead string, r *Record) []byte {
		if r.Cut {
			dst = appendUint(dst, lead, r.Len)
		}
		return dst
	}, parseLength)
}

func parseLength(p *parser, v []byte) (err error) {
	p.Len, err = unsigned(v)
	return err
}
