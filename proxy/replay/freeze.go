package replay

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"strconv"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// Freeze copies a trace like [trace.Format], with the texts that are to be
// compressed as the bytes that they make. The bytes depend on the compressor,
// so a frozen trace is the same tomorrow.
func Freeze(w io.Writer, r io.Reader) error {
	var last int64
	sessions := map[int64]*freezer{}
	return trace.Rewrite(w, r, func(rec *trace.Record) ([]*trace.Record, error) {
		switch {
		case rec == nil:
			return nil, nil
		case rec.IsHeader():
			clear(sessions)
			return []*trace.Record{rec}, nil
		case rec.Kind == "open":
			last = rec.C
			z := &freezer{}
			z.negotiated([]string{rec.Ext})
			sessions[rec.C] = z
		}
		c := rec.C
		if c == 0 {
			c = last
		}
		z := sessions[c]
		switch {
		case z == nil:
		case rec.Kind == "res" && rec.Head.Status == 101:
			z.negotiated(rec.Head.Values("Sec-WebSocket-Extensions"))
		case rec.Kind == "frame" && rec.Form == trace.FormDeflate:
			frozen, err := z.freeze(rec)
			return []*trace.Record{frozen}, err
		}
		return []*trace.Record{rec}, nil
	})
}

// A freezer turns frames whose payload is a text to be compressed into frames
// with bytes (RFC 7692 §7.2.1).
type freezer struct {
	deflate bool
	dirs    [2]deflater
}

// A deflater compresses the messages of one direction.
type deflater struct {
	alone  bool // without context takeover
	window int  // how far back a match may reach
	w      *flate.Writer
	buf    bytes.Buffer
	used   int // bytes since w was reset
}

func (z *freezer) negotiated(extensions []string) {
	es, _ := parseExtensions(extensions)
	for _, e := range es {
		if e.Name != "permessage-deflate" {
			continue
		}
		z.deflate = true
		for d := range z.dirs {
			who := decode.Dir(d).String()
			z.dirs[d].window = 32 << 10
			for _, p := range e.Params {
				switch p.Name {
				case who + "_no_context_takeover":
					z.dirs[d].alone = true
				case who + "_max_window_bits":
					if n, err := strconv.Atoi(p.Value); err == nil && n >= 8 && n <= 15 {
						z.dirs[d].window = 1 << n
					}
				}
			}
		}
	}
}

var errNoDeflate = errors.New("deflate: the handshake agrees on no permessage-deflate")

// freeze returns rec with its text compressed. The fragments of a message that
// is compressed all have deflate.
func (z *freezer) freeze(rec *trace.Record) (*trace.Record, error) {
	if !z.deflate {
		return nil, errNoDeflate
	}
	out := *rec
	out.Payload = z.dirs[rec.Dir].frame(rec.Payload, rec.Op != ws.OpContinuation, rec.Fin)
	out.Form, out.Len = trace.FormBase64, uint64(len(out.Payload))
	if rec.Op != ws.OpContinuation {
		out.Rsv |= 4
	}
	return &out, nil
}

// frame returns the compressed payload of a frame that begins a message, ends
// it, or both.
func (z *deflater) frame(text []byte, first, last bool) []byte {
	z.buf.Reset()
	if z.w == nil {
		z.w, _ = flate.NewWriter(&z.buf, flate.BestCompression) // the level is valid
	} else if first && z.alone {
		z.reset()
	}
	// The compressor's window is always 32 KiB. To stay within a smaller one it
	// forgets everything when that much has been compressed.
	for len(text) > 0 {
		n := len(text)
		if z.window < 32<<10 {
			if z.used == z.window {
				z.w.Flush()
				z.reset()
			}
			n = min(n, z.window-z.used)
		}
		z.w.Write(text[:n])
		z.used += n
		text = text[n:]
	}
	z.w.Flush()
	p := bytes.Clone(z.buf.Bytes())
	if last {
		p = bytes.TrimSuffix(p, []byte("\x00\x00\xff\xff"))
	}
	return p
}

func (z *deflater) reset() {
	z.w.Reset(&z.buf)
	z.used = 0
}
