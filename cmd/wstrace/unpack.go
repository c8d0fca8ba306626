package main

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/wstrace/wstrace/decode"
)

// packings are the formats that binary messages are often packed with.
var packings = []struct {
	name string
	is   func([]byte) bool
	open func(io.Reader) (io.ReadCloser, error)
}{
	{"gzip", func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x1f\x8b\x08")) },
		func(r io.Reader) (io.ReadCloser, error) { return gzip.NewReader(r) }},
	{"zlib", isZlib, zlib.NewReader},
	{"zstd", func(b []byte) bool { return bytes.HasPrefix(b, []byte("\x28\xb5\x2f\xfd")) }, openZstd},
}

// isZlib reports whether b begins as RFC 1950 §2.2 has it: DEFLATE, a window of up to
// 32 KiB, no dictionary, and a check.
func isZlib(b []byte) bool {
	return len(b) >= 2 && b[0]&15 == 8 && b[0]>>4 <= 7 && b[1]&0x20 == 0 && (int(b[0])<<8|int(b[1]))%31 == 0
}

func openZstd(r io.Reader) (io.ReadCloser, error) {
	z, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(8<<20))
	if err != nil {
		return nil, err
	}
	return z.IOReadCloser(), nil
}

// unpack is a decode.Look.Unpack. It returns up to 1 MiB. What only begins like one of
// the formats is in none.
func unpack(data []byte, cut bool) (content []byte, format string, less bool) {
	return unpackUpTo(data, cut, decode.MaxMessageData)
}

// unpackWhole is unpack for those who need more: up to maxWhole.
func unpackWhole(data []byte, cut bool) (content []byte, format string, less bool) {
	return unpackUpTo(data, cut, maxWhole)
}

func unpackUpTo(data []byte, cut bool, most int) (content []byte, format string, less bool) {
	for _, p := range packings {
		if !p.is(data) {
			continue
		}
		r, err := p.open(bytes.NewReader(data))
		if err != nil {
			return nil, "", false
		}
		defer r.Close()
		content, err = io.ReadAll(io.LimitReader(r, int64(most)+1))
		switch {
		case len(content) > most:
			return content[:most], p.name, true
		case err == nil && !cut:
			return content, p.name, false
		case cut && len(content) > 0 && (err == nil || errors.Is(err, io.ErrUnexpectedEOF)):
			return content, p.name, true
		}
		return nil, "", false
	}
	return nil, "", false
}
