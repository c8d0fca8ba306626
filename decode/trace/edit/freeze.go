package edit

import (
	"bytes"
	"compress/flate"
	"errors"
	"io"
	"sync"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// Freeze copies a trace like [trace.Format], with the texts that are to be
// compressed as the bytes that they make. The bytes depend on the compressor,
// so a frozen trace is the same tomorrow.
func Freeze(w io.Writer, r io.Reader) error {
	var last int64
	sessions := map[int64]*Freezer{}
	busy := decode.PerSession[*Freezer]{Max: maxCompressors, Forgotten: func(_ int64, z **Freezer) { (*z).Forget() }}
	return trace.Rewrite(w, r, nil, func(rec *trace.Record) ([]*trace.Record, error) {
		switch {
		case rec == nil:
			return nil, nil
		case rec.IsHeader():
			clear(sessions)
			busy.Clear()
			return []*trace.Record{rec}, nil
		case rec.Kind == "open":
			last = rec.C
			z := &Freezer{}
			z.Agree(rec.Ext)
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
			z.Agree(rec.Head.Values("Sec-WebSocket-Extensions")...)
		case rec.Kind == "frame" && rec.Form == trace.FormDeflate:
			*busy.OfConn(c) = z
			frozen, err := z.Freeze(rec)
			return []*trace.Record{frozen}, err
		case rec.Kind == "end" && !rec.HasDir, rec.Kind == "done":
			delete(sessions, c)
			busy.Forget(c)
		}
		return []*trace.Record{rec}, nil
	})
}

// maxCompressors is how many sessions have compressors at the same time: each takes
// more than a megabyte.
const maxCompressors = 32

// A Freezer turns frames of one session whose payload is a text to be compressed
// into frames with bytes (RFC 7692 §7.2.1). The zero value is ready for a
// session that has agreed on no compression yet.
type Freezer struct {
	deflate bool
	dirs    [2]deflater
}

// ErrNoDeflate says that a text is to be compressed in a session that has not
// agreed on it.
var ErrNoDeflate = errors.New("deflate: the handshake agrees on no permessage-deflate")

// Agree takes the extensions that the session has agreed on, as a response lists
// them. Without permessage-deflate in them all stays as it is.
func (z *Freezer) Agree(extensions ...string) {
	list, _ := decode.ParseExtensions(extensions)
	agreed := decode.AgreedDeflate(list)
	if !agreed.On {
		return
	}
	z.deflate = true
	for d := range z.dirs {
		z.dirs[d].alone = agreed.NoTakeover[d]
		z.dirs[d].window = 1 << agreed.WindowBits[d]
	}
}

// Freeze returns a frame with its text compressed. The fragments of a message
// that is compressed are all texts to be compressed. The error is
// [ErrNoDeflate].
func (z *Freezer) Freeze(rec *trace.Record) (*trace.Record, error) {
	if !z.deflate {
		return nil, ErrNoDeflate
	}
	out := *rec
	out.Payload = z.dirs[rec.Dir].compress(rec.Payload, rec.Op != ws.OpContinuation, rec.Fin)
	out.Form, out.Len = trace.FormBase64, uint64(len(out.Payload))
	if rec.Op != ws.OpContinuation {
		out.Rsv |= 4
	}
	return &out, nil
}

// Forget gives up the compressors, which take much memory. What is compressed next
// refers to nothing before it.
func (z *Freezer) Forget() {
	for d := range z.dirs {
		z.dirs[d].w, z.dirs[d].used = nil, 0
	}
}

// A deflater compresses the messages of one direction.
type deflater struct {
	alone  bool // each message on its own, without context takeover
	window int  // how far back a match may reach
	w      *flate.Writer
	buf    bytes.Buffer
	used   int // bytes since w was reset
}

// compress returns the compressed payload of a frame that begins a message, ends
// it, or both.
func (z *deflater) compress(text []byte, first, last bool) []byte {
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

// deflaters compress messages by themselves.
var deflaters = sync.Pool{New: func() any { return new(deflater) }}

func (z *deflater) reset() {
	z.w.Reset(&z.buf)
	z.used = 0
}
