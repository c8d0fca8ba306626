package edit

import (
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/internal/inflate"
)

// An agreement is what a session has agreed on about compression.
type agreement struct {
	ext     string   // of the open record
	offers  []string // of the response
	known   bool
	deflate decode.Deflate
}

func (a *agreement) on() bool {
	if !a.known {
		a.known = true
		if a.ext != "" {
			a.offers = []string{a.ext}
		}
		if len(a.offers) > 0 {
			list, _ := decode.ParseExtensions(a.offers)
			a.deflate = decode.AgreedDeflate(list)
		}
	}
	return a.deflate.On
}

// stream returns what inflates the messages of one direction.
func (a *agreement) stream(d decode.Dir) *stream {
	return &stream{z: inflate.Stream{Limit: 1 << a.deflate.WindowBits[d], Alone: a.deflate.NoTakeover[d]}}
}

// compress returns a message compressed by itself.
func (a *agreement) compress(d decode.Dir, b []byte) []byte {
	z := deflaters.Get().(*deflater)
	defer deflaters.Put(z)
	z.window, z.alone = 1<<a.deflate.WindowBits[d], true
	return z.compress(b, true, true)
}

// A stream inflates the messages of one direction.
type stream struct {
	z    inflate.Stream
	lost bool // it can't be followed any more
	why  string
	n    int64 // bytes of the message so far
}

// maxInflated is how much of a message is followed, so that those after it can be
// read.
const maxInflated = 64 << 20

func (s *stream) start() {
	if s.lost && s.z.Alone {
		s.z.Reset()
		s.lost = false
	}
	if s.n = 0; !s.lost {
		s.z.Start()
	}
}

// next inflates a piece, and returns as much of the output as is asked for, and
// one byte if there is more. The output is valid until the next call.
func (s *stream) next(p []byte, most int) (out []byte, ok bool) {
	for !s.lost {
		n, b, err := s.z.Next(p)
		p = p[n:]
		s.n += int64(len(b))
		if room := most + 1 - len(out); room > 0 {
			out = append(out, b[:min(len(b), room)]...)
		}
		switch {
		case err != nil && err != inflate.ErrEmpty, s.n > maxInflated:
			s.lost, s.why = true, "can't be inflated"
			s.z.Release()
		case len(p) == 0 && len(b) == 0:
			return out, true
		}
	}
	if s.why == "" {
		s.why = "can't be inflated"
	}
	return out, false
}

// end inflates what is left out at the end of a message.
func (s *stream) end(most int) (out []byte, ok bool) {
	if s.lost {
		return nil, false
	}
	if out, ok = s.next(s.z.Tail(), most); !ok {
		return nil, false
	}
	if err := s.z.End(); err != nil && err != inflate.ErrEmpty {
		s.lost, s.why = true, "can't be inflated"
		s.z.Release()
		return nil, false
	}
	return out, true
}
