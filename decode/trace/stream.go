package trace

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// A Stream rebuilds the bytes that one side of a session sent from the records
// of the session. The zero value is ready for the first record.
type Stream struct {
	Dir decode.Dir

	masked bool
	mask   [4]byte
	at     uint64 // position in the payload of the frame in flight
	left   uint64 // payload of it still to come
}

// Append appends to dst the bytes that r stands for, if it is of the Stream's
// direction and says what that side sent: not what was forwarded in its place,
// and not what was injected. An error is for a record that can't follow the
// ones before, or that has no bytes.
func (s *Stream) Append(dst []byte, r *Record) ([]byte, error) {
	if r.Leg == LegOut || r.FX == "inject" {
		return dst, nil
	}
	switch r.Kind {
	case KindReq, KindRes:
		if (r.Kind == KindReq) != (s.Dir == decode.FromClient) {
			return dst, nil
		}
		return append(r.AppendHead(dst), r.Body...), nil
	case KindFrame, KindMore, KindJunk, KindGap:
		if r.Dir != s.Dir {
			return dst, nil
		}
	}
	switch r.Kind {
	case KindFrame:
		switch {
		case s.left > 0:
			return dst, fmt.Errorf("frame from the %s before its last one is complete, %d bytes are missing", s.Dir, s.left)
		case r.Form == FormDeflate:
			return dst, errors.New("deflate stands for no bytes yet, freeze the trace first")
		}
		dst = r.appendFrameHeader(dst)
		s.masked, s.mask, s.at, s.left = r.Masked, r.Mask, 0, r.Len
		return s.payload(dst, r.Payload), nil
	case KindMore:
		if n := uint64(len(r.Payload)); n > s.left {
			return dst, fmt.Errorf("%d more bytes from the %s for a frame that needs %d", n, s.Dir, s.left)
		}
		return s.payload(dst, r.Payload), nil
	case KindJunk:
		s.skip(uint64(len(r.Payload)))
		return append(dst, r.Payload...), nil
	case KindGap:
		s.skip(uint64(r.N))
	}
	return dst, nil
}

// payload appends payload of the frame in flight.
func (s *Stream) payload(dst, p []byte) []byte {
	n := len(dst)
	dst = append(dst, p...)
	if s.masked {
		ws.Cipher(dst[n:], s.mask, int(s.at&3))
	}
	s.skip(uint64(len(p)))
	return dst
}

func (s *Stream) skip(n uint64) {
	n = min(n, s.left)
	s.at += n
	s.left -= n
}

// AppendHead appends the head of a req or res record as it was on the wire.
func (r *Record) AppendHead(dst []byte) []byte {
	if r.RawHead {
		return append(dst, r.Head.Raw...)
	}
	return r.Head.Append(dst)
}

// appendFrameHeader appends the header of a frame record (RFC 6455 §5.2).
func (r *Record) appendFrameHeader(dst []byte) []byte {
	b0 := r.Rsv<<4 | byte(r.Op)
	if r.Fin {
		b0 |= 0x80
	}
	var masked byte
	if r.Masked {
		masked = 0x80
	}
	switch max(r.LenBits, decode.LengthBits(r.Len)) {
	case 7:
		dst = append(dst, b0, masked|byte(r.Len))
	case 16:
		dst = binary.BigEndian.AppendUint16(append(dst, b0, masked|126), uint16(r.Len))
	default:
		dst = binary.BigEndian.AppendUint64(append(dst, b0, masked|127), r.Len)
	}
	if r.Masked {
		dst = append(dst, r.Mask[:]...)
	}
	return dst
}

// Bytes returns the bytes that one side of session c sent: its head, and, of a
// session that became a WebSocket connection, all that followed. Where the
// trace does not have them, or has a record that nobody knows, that is an
// error.
func Bytes(r *Reader, c int64, d decode.Dir) ([]byte, error) {
	s := Stream{Dir: d}
	var b []byte
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return b, nil
		}
		if err == nil && rec.C == c {
			if b, err = s.Append(b, rec); err == nil {
				err = rec.complete(d)
			}
			if err != nil {
				err = fmt.Errorf("line %d: %w", rec.Line, err)
			}
		}
		if err != nil {
			return b, err
		}
	}
}

// complete returns an error if r stands for bytes of d that it does not hold.
func (r *Record) complete(d decode.Dir) error {
	if r.HasDir && r.Dir != d {
		return nil
	}
	switch r.Kind {
	case KindHeader, KindOpen, KindEnd, KindDone, KindNote, KindViolation, KindClosed, KindSum:
	case KindReq, KindRes:
		if (r.Kind == KindReq) == (d == decode.FromClient) && r.BodyLen > int64(len(r.Body)) {
			return fmt.Errorf("%d bytes of the body were not recorded", r.BodyLen-int64(len(r.Body)))
		}
	case KindFrame, KindMore, KindJunk:
		if r.Cut {
			return errors.New("the payload was cut when it was written")
		}
	case KindGap:
		return fmt.Errorf("%d bytes are lost", r.N)
	case KindOpaque:
	case KindMessage:
		return errors.New("a message in place of its frames")
	default:
		if !strings.HasPrefix(r.Kind, "x-") {
			return fmt.Errorf("kind %q is not known", r.Kind)
		}
	}
	return nil
}
