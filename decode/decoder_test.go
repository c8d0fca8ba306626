package decode

import (
	"bytes"
	"math"
	"strings"
	"testing"

	"github.com/gobwas/ws"
)

// masked returns a frame as a client sends it.
func masked(flags byte, key [4]byte, payload string) string {
	p := []byte(payload)
	ws.Cipher(p, key, 0)
	return encode(flags, 0x80, len(p)) + string(key[:]) + string(p)
}

// unmasked returns a frame as a server sends it.
func unmasked(flags byte, payload string) string {
	return encode(flags, 0, len(payload)) + payload
}

// encode returns a frame header in its shortest form.
func encode(flags, mask byte, n int) string {
	switch {
	case n < 126:
		return string([]byte{flags, mask | byte(n)})
	case n <= math.MaxUint16:
		return string([]byte{flags, mask | 126, byte(n >> 8), byte(n)})
	}
	return string([]byte{flags, mask | 127, 0, 0, 0, 0, byte(n >> 24), byte(n >> 16), byte(n >> 8), byte(n)})
}

var testKey = [4]byte{0x37, 0xfa, 0x21, 0x3d}

func TestDecoderPieces(t *testing.T) {
	var d Decoder
	wire := []byte(masked(0x81, testKey, "Hello"))
	var got []string
	for _, b := range [][]byte{wire[:6], wire[6:7], wire[7:9], wire[9:]} {
		for f := range d.Frames(b) {
			got = append(got, line(&Event{Kind: KindFrame, Frame: f}))
		}
		got = append(got, "-")
	}
	want := `> text 10000001 5 0-0 ""
-
> text 10000001 5 0-1 more "H"
-
> text 10000001 5 1-3 more "el"
-
> text 10000001 5 3-5 more "lo"
-`
	if s := strings.Join(got, "\n"); s != want {
		t.Errorf("got\n%s\nwant\n%s", s, want)
	}
}

func TestDecoderPartialHeader(t *testing.T) {
	var d Decoder
	wire := []byte(masked(0x82, testKey, strings.Repeat("x", MaxPiece)))
	for i := range 13 {
		for range d.Frames(wire[i : i+1]) {
			t.Fatalf("got a frame after %d bytes of header", i+1)
		}
		if got := d.Partial(); !bytes.Equal(got, wire[:i+1]) {
			t.Fatalf("got partial header % x, want % x", got, wire[:i+1])
		}
	}
	for f := range d.Frames(wire[13:14]) {
		if !bytes.Equal(f.Head, wire[:14]) {
			t.Errorf("got header % x, want % x", f.Head, wire[:14])
		}
	}
	if got := d.Partial(); len(got) != 0 || !d.InPayload() {
		t.Errorf("got partial header % x, in payload %t after a whole header, want none and true", got, d.InPayload())
	}
}

func TestDecoderLost(t *testing.T) {
	var d Decoder
	if _, _, err := d.Lost(); err != nil {
		t.Fatalf("lost at the start: %v", err)
	}
	msb := "\x82\x7f\x80\x00\x00\x00\x00\x00\x00\x00"
	for range d.Frames([]byte(msb + "rest")) {
		t.Error("got a frame")
	}
	head, rest, err := d.Lost()
	if string(head) != msb || string(rest) != "rest" || err != ws.ErrHeaderLengthMSB {
		t.Errorf("lost at %q, rest %q, %v; want %q, rest %q", head, rest, err, msb, "rest")
	}
	for range d.Frames([]byte("\x81\x00")) {
		t.Error("got a frame after framing was lost")
	}
}

func TestDecoderSkip(t *testing.T) {
	var d Decoder
	b := []byte(unmasked(0x82, "abcdefgh"))
	decodeAll(&d, [][]byte{b[:4]}) // header, "ab"
	d.Skip(3)
	var got []string
	for f := range d.Frames([]byte("fgh\x8a\x00")) {
		got = append(got, line(&Event{Kind: KindFrame, Frame: f}))
	}
	want := []string{`> bin 10000010 8 5-8 more "fgh"`, `> pong 10001010 0 ""`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
	d.Skip(1)
	if _, _, err := d.Lost(); err == nil {
		t.Error("framing is not lost though a header is missing")
	}
}

func TestFrameAppendPayload(t *testing.T) {
	var d Decoder
	for f := range d.Frames([]byte(masked(0x81, testKey, "Hello"))) {
		for _, c := range []struct {
			max  int
			want string
		}{{-1, "> Hello"}, {0, "> "}, {3, "> Hel"}, {5, "> Hello"}, {6, "> Hello"}} {
			if got := f.AppendPayload([]byte("> "), c.max); string(got) != c.want {
				t.Errorf("at most %d bytes: got %q, want %q", c.max, got, c.want)
			}
		}
	}
}

// TestFrameUnmasksPieces checks the key's phase at every place where a piece
// can begin.
func TestFrameUnmasksPieces(t *testing.T) {
	for at := range 9 {
		var d Decoder
		wire := []byte(masked(0x81, testKey, "Hello, you"))
		fs := ""
		for _, b := range [][]byte{wire[:6+at], wire[6+at:]} {
			for f := range d.Frames(b) {
				fs += string(f.AppendPayload(nil, -1))
			}
		}
		if fs != "Hello, you" {
			t.Errorf("split at %d: got %q", at, fs)
		}
	}
}

func TestFrameLengths(t *testing.T) {
	for _, c := range []struct {
		head    string
		bits    int
		minimal bool
		wire    int64
	}{
		{"\x82\x00", 7, true, 2},
		{"\x82\x7d", 7, true, 127},
		{"\x82\x80abcd", 7, true, 6},
		{"\x82\x7e\x00\x7d", 16, false, 129},
		{"\x82\x7e\x00\x7e", 16, true, 130},
		{"\x82\xfe\xff\xffabcd", 16, true, 65543},
		{"\x82\x7f\x00\x00\x00\x00\x00\x00\xff\xff", 64, false, 65545},
		{"\x82\x7f\x00\x00\x00\x00\x00\x01\x00\x00", 64, true, 65546},
		{"\x82\xff\x00\x00\x00\x00\x00\x01\x00\x00abcd", 64, true, 65550},
		{"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff", 64, true, math.MaxInt64},
	} {
		var d Decoder
		n := 0
		for f := range d.Frames([]byte(c.head)) {
			n++
			if f.LengthBits() != c.bits || f.MinimalLength() != c.minimal || f.WireLen() != c.wire {
				t.Errorf("% x: got %d bits, minimal %t, %d on the wire; want %d, %t, %d",
					c.head, f.LengthBits(), f.MinimalLength(), f.WireLen(), c.bits, c.minimal, c.wire)
			}
		}
		if n != 1 {
			t.Errorf("% x: got %d frames, want 1", c.head, n)
		}
	}
}

func TestFrameCloneSharesNothing(t *testing.T) {
	var d Decoder
	b := []byte(masked(0x81, testKey, "Hello") + "\x8a\x80\x01\x02\x03\x04")
	var c *Frame
	for f := range d.Frames(b) {
		if c == nil {
			c = f.Clone()
		}
	}
	clear(b)
	if got := string(c.AppendWire(nil)); got != masked(0x81, testKey, "Hello") {
		t.Errorf("clone has bytes % x, want those of the first frame", got)
	}
	if got := string(c.AppendPayload(nil, -1)); got != "Hello" {
		t.Errorf("clone has payload %q, want %q", got, "Hello")
	}
}

func TestOpNames(t *testing.T) {
	want := "cont text bin rsv3 rsv4 rsv5 rsv6 rsv7 close ping pong rsv11 rsv12 rsv13 rsv14 rsv15"
	var got []string
	for op := range ws.OpCode(16) {
		got = append(got, OpName(op))
		if f := (&Frame{Header: ws.Header{OpCode: op}}); f.Control() != (op >= 8) {
			t.Errorf("%s: got control frame %t", OpName(op), f.Control())
		}
	}
	if s := strings.Join(got, " "); s != want {
		t.Errorf("got %s, want %s", s, want)
	}
}
