package saz

import (
	"encoding/binary"
	"io"
)

// A Temp is where a [Writer] keeps what has to wait, such as a temporary file.
type Temp interface {
	io.ReaderAt
	io.WriterAt
}

const (
	blockLen  = 4 << 10
	blockHead = 8 // the number of the next block
	blockData = blockLen - blockHead
)

// A spool keeps any number of streams, of which each costs the memory of one block.
// The blocks of a stream are a chain.
type spool struct {
	temp   Temp
	blocks int64 // in temp
	inUse  int   // streams that have some
	err    error // the first one
}

// A stream is a sequence of bytes that is written, and then read once. Its zero value
// is empty.
type stream struct {
	size        int64
	first, next int64  // blocks: the first one, and the one that buf goes to
	spilled     bool   // there are blocks
	buf         []byte // the end of the stream
}

// write appends b to s.
func (p *spool) write(s *stream, b []byte) {
	for len(b) > 0 && p.err == nil {
		if len(s.buf) == blockData {
			p.spill(s)
		}
		n := min(len(b), blockData-len(s.buf))
		s.buf = append(s.buf, b[:n]...)
		b = b[n:]
		s.size += int64(n)
	}
}

// spill moves the buffer of s to a block.
func (p *spool) spill(s *stream) {
	if !s.spilled {
		if p.inUse == 0 {
			p.blocks = 0 // nobody needs what is there
		}
		p.inUse++
		s.spilled, s.first = true, p.blocks
		s.next = p.blocks
		p.blocks++
	}
	var block [blockLen]byte
	binary.LittleEndian.PutUint64(block[:], uint64(p.blocks))
	copy(block[blockHead:], s.buf)
	if _, p.err = p.temp.WriteAt(block[:], s.next*blockLen); p.err != nil {
		return
	}
	s.next = p.blocks
	p.blocks++
	s.buf = s.buf[:0]
}

// read gives the content of s to f, and empties s.
func (p *spool) read(s *stream, f func([]byte) error) error {
	defer func() { *s = stream{} }()
	if s.spilled {
		defer func() { p.inUse-- }()
		var block [blockLen]byte
		for at := s.first; at != s.next; at = int64(binary.LittleEndian.Uint64(block[:])) {
			if _, err := p.temp.ReadAt(block[:], at*blockLen); err != nil {
				return err
			}
			if err := f(block[blockHead:]); err != nil {
				return err
			}
		}
	}
	return f(s.buf)
}

// drop empties s.
func (p *spool) drop(s *stream) {
	if s.spilled {
		p.inUse--
	}
	*s = stream{}
}
