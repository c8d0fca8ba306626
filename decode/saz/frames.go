package saz

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// Bits of a frame (FiddlerCore, enum WSMFlags).
const (
	frameAborted   = 1 // it was not sent on
	frameGenerated = 2 // it was sent and had not come
	frameAssembled = 4 // of several fragments
)

const maxHeaders = 64 << 10 // bytes of lines before a frame

// A frameReader reads N_w.txt.
type frameReader struct {
	r  *bufio.Reader
	at int64 // bytes so far
}

// A frameHead is what stands before a frame.
type frameHead struct {
	dir  decode.Dir
	n    int64 // bytes of the frame
	bits uint64
	time time.Time // when it was read; zero if that is not said
	at   int64     // where it stands in N_w.txt
}

var errNoLength = errors.New("neither Request-Length nor Response-Length before a frame")

// next returns the head of the next frame, or io.EOF.
func (f *frameReader) next(first bool) (h frameHead, err error) {
	h.at = f.at
	known := false
	for n := 0; ; {
		line, err := f.line(&n)
		if err == io.EOF && (len(line) > 0 || known) {
			err = io.ErrUnexpectedEOF
		}
		if err != nil {
			return h, err
		}
		switch {
		case len(line) == 0 && known:
			return h, nil
		case len(line) == 0 && first: // the block at the start
			first = false
			continue
		case len(line) == 0:
			return h, errNoLength
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimSpace(value)
		switch strings.ToLower(string(bytes.TrimSpace(name))) {
		case "request-length":
			h.dir, known = decode.FromClient, true
			h.n, err = parseLength(value)
		case "response-length":
			h.dir, known = decode.FromServer, true
			h.n, err = parseLength(value)
		case "bitflags":
			h.bits, _ = strconv.ParseUint(string(value), 10, 64)
		case "doneread":
			if t, ok := parseTime(string(value)); ok {
				h.time = t
			}
		}
		if err != nil {
			return h, err
		}
	}
}

func parseLength(b []byte) (int64, error) {
	n, err := strconv.ParseInt(string(b), 10, 64)
	if err != nil || n < 0 {
		return 0, fmt.Errorf("%.40q is no length of a frame", b)
	}
	return n, nil
}

// line returns the next line without its end. n counts the bytes of lines.
func (f *frameReader) line(n *int) ([]byte, error) {
	line, err := f.r.ReadSlice('\n')
	f.at += int64(len(line))
	if *n += len(line); err == bufio.ErrBufferFull || *n > maxHeaders {
		return nil, errors.New("no head of a frame")
	}
	return bytes.TrimRight(line, "\r\n"), err
}

// read reads up to len(p) of the bytes of a frame.
func (f *frameReader) read(p []byte) error {
	n, err := io.ReadFull(f.r, p)
	f.at += int64(n)
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// peek returns up to 14 of the next bytes of a frame of which left are to come.
func (f *frameReader) peek(left int64) []byte {
	p, _ := f.r.Peek(int(min(left, 14)))
	return p
}

// end reads the line end behind a frame.
func (f *frameReader) end() error {
	for _, want := range []byte("\r\n") {
		switch c, err := f.r.ReadByte(); {
		case err == io.EOF && want == '\r':
			return nil
		case err == io.EOF:
			return io.ErrUnexpectedEOF
		case err != nil:
			return err
		case c != want:
			return errors.New("the length of a frame is wrong: no line end behind it")
		}
		f.at++
	}
	return nil
}

// frameLen returns the length of the frame that begins with b, as its header says,
// or 0 if b has not all of the header, and that of the header. known is false if the
// length is none.
func frameLen(b []byte) (n int64, head int, known bool) {
	if len(b) < 2 {
		return 0, 2, true
	}
	head = 2
	if b[1]&0x80 != 0 {
		head += 4
	}
	length := uint64(b[1] & 0x7f)
	switch length {
	case 126:
		if head += 2; len(b) >= 4 {
			length = uint64(binary.BigEndian.Uint16(b[2:]))
		}
	case 127:
		if head += 8; len(b) >= 10 {
			length = binary.BigEndian.Uint64(b[2:])
		}
	}
	switch {
	case len(b) < head:
		return 0, head, true
	case length > math.MaxInt64-14:
		return 0, head, false
	}
	return int64(length) + int64(head), head, true
}
