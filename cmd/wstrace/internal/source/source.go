// Package source opens recordings. The content of a file, and not its name, says
// which format it has, and how it is compressed.
//
//	file ─► decompress ─► formats, the first that knows it ─► decode.Source
package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/wstrace/wstrace/cmd/wstrace/internal/file"
	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pcap"
	"github.com/wstrace/wstrace/decode/trace"
)

// A format is a kind of file that can be played.
type format struct {
	names []string // how the names of such files end, without the dot

	// begins tells whether a file that begins with head has this format. If
	// whole is set, nothing follows head, or as much was read as ever will be
	// before that is known.
	begins func(head []byte, whole bool) answer

	// play gives the sessions of the file to sink, as [decode.Source] says, and
	// returns the number of the last one.
	play func(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error)

	records bool // it is .wst, whose records can be read, too
	grows   bool // it can be played while it grows
}

// formats are those that are known. They are asked in this order.
var formats = []format{
	{[]string{"har", "har.gz", "har.zst"}, isHAR, playHAR, false, false},
	{[]string{"saz"}, isSAZ, playSAZ, false, false},
	{[]string{"flow", "mitm"}, isFlow, playFlow, false, false},
	{[]string{"wst", "wst.gz", "wst.zst"}, isTrace, playTrace, true, true},
	{[]string{"pcapng", "pcapng.gz", "pcap", "pcap.gz", "cap"}, isCapture, playCapture, false, true},
}

// An answer says whether a file has a format.
type answer uint8

const (
	no answer = iota
	perhaps
	yes
)

// ErrEmpty is the error of Open for a file with nothing in it.
var ErrEmpty = errors.New("nothing was recorded")

// ErrNoFollow is the error of Follow for a file in a format that is read as a whole.
var ErrNoFollow = errors.New("cannot be followed as it grows; a .wst or a capture can")

// errNoContent is that for a compressed file that ends before its content.
var errNoContent = fmt.Errorf("%w, before its first line", decode.ErrCut)

// An UnknownError is the error of Open for a file in no format that is known.
type UnknownError struct {
	Head []byte // what it begins with
}

func (e *UnknownError) Error() string {
	if bytes.HasPrefix(e.Head, []byte("PK\x03\x04")) {
		return "not a recording: a ZIP without sessions of Fiddler"
	}
	return fmt.Sprintf("not a recording: begins with %s", decode.AppendQuoted(nil, e.Head))
}

// shownHead is how much of an unknown file is shown, in bytes.
const shownHead = 24

// A File is a recording. It is a [decode.Source]; as an [io.Reader], before it
// is played, it gives the content of the file, decompressed.
type File struct {
	After  int64       // what is played is counted on from this session
	Before *File       // the file played before, if this may be the next part of its run; nil if none
	Keys   *pcap.Keys  // of TLS, for a capture
	Bad    func(error) // told of damage, which is then passed over; nil makes it the error of Play

	r        *file.Reader
	format   *format
	last     int64
	messages bool
	piece    bool
	passed   []pcap.Passed
	cut      int64
	cutAt    int
	played   *trace.Source // for the File that this one is before
}

// Open opens a recording, or standard input for "-". The error wraps
// [decode.ErrCut] if the file is cut off before anything that can be played.
func Open(name string) (*File, error) {
	return opened(file.Open(name))
}

// Follow opens a recording that grows, as [file.Follow] does. The error is ErrNoFollow
// if its format is none for that.
func Follow(ctx context.Context, name string, waiting func(there bool)) (*File, error) {
	f, err := opened(file.Follow(ctx, name, waiting))
	if err == nil && !f.format.grows {
		f.Close()
		return nil, ErrNoFollow
	}
	return f, err
}

func opened(r *file.Reader, err error) (*File, error) {
	if err == io.ErrUnexpectedEOF {
		return nil, errNoContent
	}
	if err != nil {
		return nil, err
	}
	f := &File{r: r}
	if f.format, err = recognize(r); err != nil {
		r.Close()
		return nil, err
	}
	return f, nil
}

// recognize returns the format of what r reads, of which it reads nothing.
func recognize(r *file.Reader) (*format, error) {
	for n := 1; ; n = r.Buffered() + 1 {
		_, err := r.Peek(n) // waits for it
		head, _ := r.Peek(r.Buffered())
		switch {
		case err == nil || err == bufio.ErrBufferFull:
		case err != io.EOF && err != io.ErrUnexpectedEOF: // the latter from a decompressor
			return nil, err
		case len(bytes.TrimSpace(head)) > 0:
		case err == io.EOF:
			return nil, ErrEmpty
		default:
			return nil, errNoContent
		}
		open := false
		for i := range formats {
			switch formats[i].begins(head, err != nil) {
			case yes:
				return &formats[i], nil
			case perhaps:
				open = true
			}
		}
		if !open || err != nil {
			return nil, &UnknownError{bytes.Clone(head[:min(len(head), shownHead)])}
		}
	}
}

// Play plays the file, once.
func (f *File) Play(ctx context.Context, sink decode.Sink, look decode.Look) (err error) {
	f.last, err = f.format.play(ctx, f, sink, look)
	return err
}

// Messages reports whether sessions were played of which the file has messages and no
// frames.
func (f *File) Messages() bool { return f.messages }

// Last returns the number of the last session that was played, or After if
// there was none.
func (f *File) Last() int64 { return max(f.last, f.After) }

// Read reads the content of the file.
func (f *File) Read(p []byte) (int, error) { return f.r.Read(p) }

// Compression returns how the file is compressed.
func (f *File) Compression() file.Compression { return f.r.Compression }

// Close closes the file.
func (f *File) Close() error { return f.r.Close() }

// Extensions returns how the names of recordings end, without the dot.
func Extensions() (names []string) {
	for i := range formats {
		names = append(names, formats[i].names...)
	}
	return slices.Clip(names)
}
