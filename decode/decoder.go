package decode

import (
	"bytes"
	"errors"
	"io"
	"iter"

	"github.com/gobwas/ws"
)

// A Decoder finds the frames in the bytes that one side sends (RFC 6455 §5.2).
// It looks at headers only, copies no payload and allocates nothing. The zero
// value is ready for the first byte of a client's frames; set Dir for a
// server's.
type Decoder struct {
	Dir Dir

	frame  Frame
	head   [ws.MaxHeaderSize]byte // the header of frame, or the beginning of the next one
	nhead  int                    // how much of the next header is in head
	count  int64                  // frames so far
	offset int64                  // of the next header
	left   int64                  // payload of frame still to come
	err    error                  // why framing was lost
	rest   []byte                 // what followed the header where framing was lost; the caller's

	rd  bytes.Reader           // over head, for ws.ReadHeaderBuffer
	buf [ws.MaxHeaderSize]byte // its scratch
}

var (
	errGap      = errors.New("bytes are missing")
	errNoFrames = errors.New("these are no frames")
)

// giveUp ends the sequence of frames behind the one just yielded: what follows are
// no frames.
func (d *Decoder) giveUp() { d.err = errNoFrames }

// Frames returns the frames in b, which continues the bytes of earlier calls. If
// b holds only a part of a frame, the frame is yielded with the payload at hand;
// later calls yield its later pieces, with More set. An incomplete header is kept
// until the rest of it comes.
//
// The sequence must be ranged over to its end. A frame is valid until the next
// step. Where a header can't be understood the sequence ends for good and
// [Decoder.Lost] has the bytes.
func (d *Decoder) Frames(b []byte) iter.Seq[*Frame] {
	return func(yield func(*Frame) bool) {
		for d.next(&b) && yield(&d.frame) {
		}
		d.release()
	}
}

// release lets go of the payload at hand, which is the caller's.
func (d *Decoder) release() {
	f := &d.frame
	f.At += int64(len(f.payload))
	f.payload = nil
}

// Lost returns the bytes that stand where a header should but are not one, the
// bytes after them that were given to Frames, and why. The error is nil as long
// as frames can be told apart. After that, Frames yields nothing more.
func (d *Decoder) Lost() (head, rest []byte, err error) {
	if d.err == nil {
		return nil, nil, nil
	}
	return d.head[:d.nhead], d.rest, d.err
}

// Partial returns the beginning of a header whose rest has not come.
func (d *Decoder) Partial() []byte { return d.head[:d.nhead] }

// at returns the offset of the next byte.
func (d *Decoder) at() int64 { return d.offset - d.left + int64(d.nhead) }

// InPayload reports whether payload of the latest frame is still to come.
func (d *Decoder) InPayload() bool { return d.left > 0 }

// Skip passes over n bytes that are not available. If they reach beyond the
// payload of the frame in flight, the next header can't be found, and framing is
// lost.
func (d *Decoder) Skip(n int64) {
	if n > d.left {
		d.err = errGap
		return
	}
	d.left -= n
	d.frame.At += n
}

// position returns how many bytes have come, or were passed over.
func (d *Decoder) position() int64 { return d.offset - d.left + int64(d.nhead) }

// resume begins anew with a header.
func (d *Decoder) resume() { d.err, d.rest, d.nhead, d.left = nil, nil, 0, 0 }

// next moves *b past one header, one piece of payload, or both. It reports
// whether d.frame holds something to yield.
func (d *Decoder) next(b *[]byte) bool {
	f := &d.frame
	if d.err != nil {
		if d.err == errNoFrames && d.rest == nil {
			d.rest = *b
		}
		return false
	}
	if len(*b) == 0 {
		return false
	}
	if d.left > 0 {
		f.More = true
	} else if !d.header(b) {
		return false
	}
	n := min(int64(len(*b)), d.left)
	f.payload = (*b)[:n:n]
	*b = (*b)[n:]
	d.left -= n
	f.Complete = d.left == 0
	return true
}

// header gathers a header from *b and reports whether it is complete.
func (d *Decoder) header(b *[]byte) bool {
	had := d.nhead
	n := copy(d.head[had:], *b)
	d.rd.Reset(d.head[:had+n])
	h, err := ws.ReadHeaderBuffer(&d.rd, d.buf[:0])
	if err == io.EOF || err == io.ErrUnexpectedEOF { // both mean that more bytes are needed
		d.nhead += n
		*b = nil
		return false
	}
	size := had + n - d.rd.Len()
	*b = (*b)[size-had:]
	if err != nil {
		d.nhead, d.rest, d.err = size, *b, err
		return false
	}
	f := &d.frame // by field: a literal would be copied
	f.Header, f.Dir, f.N, f.Offset, f.Head = h, d.Dir, d.count, d.offset, d.head[:size:size]
	f.At, f.More, f.Message = 0, false, 0
	d.nhead = 0
	d.count++
	d.offset += int64(size) + h.Length
	d.left = h.Length
	return true
}
