package trace

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/gobwas/ws"

	"github.com/wstrace/wstrace/decode"
)

// fxInject marks a frame that was injected in traces made by an early version;
// it says nothing of the traffic.
const fxInject = "inject"

// A Stream rebuilds the bytes of one direction of a session from the records of
// the session: what the sender sent or, if Sent is set, what the proxy sent on.
// The zero value is ready for the first record.
type Stream struct {
	Dir  decode.Dir
	Sent bool

	begun      bool  // there was a record of the session
	chunked    bool  // the body is
	body       int64 // bytes of it
	owed       int64 // bytes of it that a head announces and that should come
	came, sent inFlight
}

// Append appends to dst the bytes that r adds to the Stream, if any. An error is
// for a record that can't follow the ones before, or that has no bytes.
func (s *Stream) Append(dst []byte, r *Record) ([]byte, error) {
	if r.Derived && s.begun {
		return dst, nil // a part before has it
	}
	s.begun = s.begun || !r.Derived && r.Kind != KindOpen
	out := r.Leg == LegOut
	if r.FX == fxInject && !out || out && !s.Sent {
		return dst, nil
	}
	switch r.Kind {
	case KindReq, KindRes:
		if r.dir() == s.Dir && s.has(r) {
			dst = append(r.AppendHead(dst), r.Body...)
			s.chunked = len(r.Body) == 0 && r.Head.HasToken("Transfer-Encoding", "chunked") && (r.Kind == KindRes || !decode.AsksForWebSocket(r.Head))
			s.body = 0
		}
		return dst, nil
	case KindBody:
		switch {
		case r.Dir != s.Dir || len(r.Payload) == 0:
		case s.chunked:
			dst = fmt.Appendf(dst, "%x\r\n%s\r\n", len(r.Payload), r.Payload)
		default:
			dst = append(dst, r.Payload...)
		}
		if r.Dir == s.Dir {
			s.body += int64(len(r.Payload))
		}
		return dst, nil
	case KindDone:
		const last = "0\r\n\r\n"
		count := [...]int64{decode.FromClient: r.Sent, decode.FromServer: r.Got}
		if s.chunked && count[s.Dir] >= s.body+int64(len(last)) { // else it was cut off
			s.chunked, dst = false, append(dst, last...)
		}
		return dst, nil
	case KindFrame, KindMore, KindJunk, KindGap:
	default:
		return dst, nil
	}
	if r.Dir != s.Dir {
		return dst, nil
	}
	leg := &s.came
	if out {
		leg = &s.sent
	}
	b, err := leg.append(dst, r)
	if err != nil || !s.has(r) {
		return dst, err
	}
	return b, nil
}

// has reports whether r is part of the Stream: of what came, everything without
// leg, of what was sent, everything that was sent as it came or in its place.
func (s *Stream) has(r *Record) bool {
	if r.Leg == LegOut {
		return s.Sent
	}
	return r.FX != fxInject && (r.FX == "" || !s.Sent)
}

// dir returns the direction that r is about.
func (r *Record) dir() decode.Dir {
	if r.Kind == KindReq {
		return decode.FromClient
	}
	if r.Kind == KindRes {
		return decode.FromServer
	}
	return r.Dir
}

// inFlight is the latest frame of one direction, as it came or as it was sent.
type inFlight struct {
	masked bool
	mask   [4]byte
	at     uint64 // position in the payload
	left   uint64 // payload still to come
	cut    bool   // the payload was cut when it was written
}

// append appends the bytes of a frame, more, junk or gap record to dst.
func (f *inFlight) append(dst []byte, r *Record) ([]byte, error) {
	switch r.Kind {
	case KindFrame:
		switch {
		case f.left > 0:
			return dst, fmt.Errorf("frame from the %s before its last one is complete, %d bytes are missing", r.Dir, f.left)
		case r.Form == FormDeflate:
			return dst, errors.New("deflate stands for no bytes yet, freeze the trace first")
		}
		dst = r.appendFrameHeader(dst)
		*f = inFlight{masked: r.Masked, mask: r.Mask, left: r.Len}
		dst = f.payload(dst, r.Payload)
	case KindMore:
		if n := uint64(len(r.Payload)); n > f.left {
			return dst, fmt.Errorf("%d more bytes from the %s for a frame that needs %d", n, r.Dir, f.left)
		}
		dst = f.payload(dst, r.Payload)
	case KindJunk:
		f.skip(uint64(len(r.Payload)))
		dst = append(dst, r.Payload...)
	case KindGap:
		f.skip(uint64(r.N))
		return dst, nil
	}
	f.cut = r.Cut
	return dst, nil
}

// payload appends payload of the frame, masked as its header says.
func (f *inFlight) payload(dst, p []byte) []byte {
	n := len(dst)
	dst = append(dst, p...)
	if f.masked {
		ws.Cipher(dst[n:], f.mask, int(f.at&3))
	}
	f.skip(uint64(len(p)))
	return dst
}

func (f *inFlight) skip(n uint64) {
	n = min(n, f.left)
	f.at += n
	f.left -= n
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
	return decode.AppendHeader(dst, ws.Header{Fin: r.Fin, Rsv: r.Rsv, OpCode: r.Op, Masked: r.Masked, Mask: r.Mask, Length: int64(r.Len)}, r.LenBits)
}

// Bytes returns the bytes that one side of session c sent: its head, and, of a
// session that became a WebSocket connection, all that followed. Where the
// trace does not have them, or has a record that nobody knows, that is an
// error.
func Bytes(r *Reader, c int64, d decode.Dir) ([]byte, error) {
	return rebuild(r, c, Stream{Dir: d})
}

// SentBytes is like [Bytes] for what was sent to the peer of d in the place of
// what d sent: other bytes only if something was changed.
func SentBytes(r *Reader, c int64, d decode.Dir) ([]byte, error) {
	return rebuild(r, c, Stream{Dir: d, Sent: true})
}

func rebuild(r *Reader, c int64, s Stream) ([]byte, error) {
	var b []byte
	for {
		rec, err := r.Next()
		if err == io.EOF {
			return b, nil
		}
		if err == nil && rec.C == c {
			if b, err = s.Append(b, rec); err == nil {
				err = s.complete(rec)
			}
			if err != nil {
				err = &decode.SourceError{Line: rec.Line, Offset: rec.Offset, Err: err}
			}
		}
		if err != nil {
			return b, err
		}
	}
}

// complete returns an error if r stands for bytes of the Stream that it does
// not hold.
func (s *Stream) complete(r *Record) error {
	switch r.Kind {
	case KindDone:
		if s.owed > 0 {
			return missingBody(s.owed)
		}
		return nil
	case KindHeader, KindOpen, KindOpaque, KindEnd, KindNote, KindViolation, KindClosed, KindSum:
		return nil
	case KindReq, KindRes, KindBody, KindFrame, KindMore, KindJunk, KindGap, KindMessage:
		if r.dir() != s.Dir || !s.has(r) {
			return nil
		}
	}
	switch r.Kind {
	case KindReq, KindRes:
		s.owed = max(r.BodyLen-int64(len(r.Body)), 0)
		if s.owed > 0 && len(r.Body) > 0 { // else records of its own have it
			return missingBody(s.owed)
		}
	case KindBody, KindFrame, KindMore, KindJunk:
		if r.Cut {
			return errors.New("the payload was cut when it was written")
		}
		if r.Kind == KindBody {
			s.owed -= int64(len(r.Payload))
		}
	case KindGap:
		return fmt.Errorf("%d bytes are lost", r.N)
	case KindMessage:
		return errors.New("a message in place of its frames")
	default:
		if (!r.HasDir || r.Dir == s.Dir) && !strings.HasPrefix(r.Kind, "x-") {
			return fmt.Errorf("kind %q is not known", r.Kind)
		}
	}
	return nil
}

func missingBody(n int64) error { return fmt.Errorf("%d bytes of the body were not recorded", n) }
