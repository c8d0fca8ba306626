package inflate

import (
	"bytes"
	"compress/flate"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
)

// inflateAll inflates one message, fed in pieces of at most n bytes.
func inflateAll(z *Stream, msg []byte, n int) (out []byte, err error) {
	z.Start()
	feed := func(b []byte) {
		for len(b) > 0 && err == nil {
			p := b[:min(n, len(b))]
			b = b[len(p):]
			for {
				k, o, e := z.Next(p)
				out = append(out, o...)
				p, err = p[k:], e
				if e != nil || len(p) == 0 && len(o) == 0 {
					break
				}
			}
		}
	}
	feed(msg)
	if err == nil {
		feed(z.Tail())
	}
	if err == nil {
		err = z.End()
	}
	return out, err
}

// deflate compresses messages as one stream of permessage-deflate.
func deflate(t testing.TB, level int, msgs ...string) [][]byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := flate.NewWriter(&buf, level)
	if err != nil {
		t.Fatal(err)
	}
	var out [][]byte
	for _, m := range msgs {
		buf.Reset()
		io.WriteString(w, m)
		w.Flush()
		out = append(out, bytes.Clone(bytes.TrimSuffix(buf.Bytes(), flushMarker)))
	}
	return out
}

// RFC 7692 §7.2.3.
func TestInflateRFC(t *testing.T) {
	for _, test := range []struct{ name, hex string }{
		{"7.2.3.1", "f2 48 cd c9 c9 07 00"},
		{"7.2.3.3 stored block", "00 05 00 fa ff 48 65 6c 6c 6f 00"},
		{"7.2.3.4 final block", "f3 48 cd c9 c9 07 00 00"},
		{"7.2.3.5 two blocks", "f2 48 05 00 00 00 ff ff ca c9 c9 07 00"},
		{"final block and nothing after it", "f3 48 cd c9 c9 07 00"},
		{"marker left in", "f2 48 cd c9 c9 07 00 00 00 ff ff"},
	} {
		for n := 1; n < 16; n++ {
			z := &Stream{Limit: MaxWindow}
			for range 3 { // what one message leaves behind must not harm the next
				out, err := inflateAll(z, spaced(test.hex), n)
				if string(out) != "Hello" || err != nil {
					t.Errorf("%s in pieces of %d: got %q, %v, want %q", test.name, n, out, err, "Hello")
				}
			}
		}
	}
	z := &Stream{Limit: MaxWindow}
	for i, h := range []string{"f2 48 cd c9 c9 07 00", "f2 00 11 00 00", "02 13 00 00"} {
		if out, err := inflateAll(z, spaced(h), 100); string(out) != "Hello" || err != nil {
			t.Errorf("context takeover, message %d: got %q, %v, want Hello", i, out, err)
		}
	}
	if out, err := inflateAll(z, []byte{0}, 100); len(out) != 0 || err != nil {
		t.Errorf("empty message: got %q, %v", out, err)
	}
}

func spaced(s string) []byte {
	var b []byte
	for _, f := range strings.Fields(s) {
		var c byte
		fmt.Sscanf(f, "%02x", &c)
		b = append(b, c)
	}
	return b
}

// corpus are texts that make DEFLATE do all it can: literals, short and long
// matches, far matches, stored blocks, dynamic codes of all lengths.
func corpus(r *rand.Rand) string {
	var b strings.Builder
	size := []int{0, 1, 10, 300, 5000, 70000, 300000}[r.IntN(7)]
	words := make([]string, 1+r.IntN(400))
	for i := range words {
		w := make([]byte, 1+r.IntN(12))
		for j := range w {
			w[j] = byte('a' + r.ExpFloat64()*4)
		}
		words[i] = string(w)
	}
	for b.Len() < size {
		switch r.IntN(40) {
		case 0:
			for range r.IntN(3000) {
				b.WriteByte(byte(r.Uint32()))
			}
		case 1:
			b.WriteString(strings.Repeat("x", r.IntN(2000)))
		case 2:
			if s := b.String(); len(s) > 0 {
				from := r.IntN(len(s))
				b.WriteString(s[from:min(len(s), from+r.IntN(4000))])
			}
		default:
			b.WriteString(words[int(r.ExpFloat64()*20)%len(words)])
		}
	}
	return b.String()
}

// The Stream gives what the standard library compressed, across messages,
// however the input is cut.
func TestInflateStream(t *testing.T) {
	for seed := range uint64(12) {
		r := rand.New(rand.NewPCG(seed, 1))
		var msgs []string
		for range 1 + r.IntN(6) {
			msgs = append(msgs, corpus(r))
		}
		level := int(seed)%12 - 2
		for _, n := range []int{1, 7, 100, 4096, 1 << 20} {
			z := &Stream{Limit: MaxWindow}
			for i, p := range deflate(t, level, msgs...) {
				out, err := inflateAll(z, p, n)
				if err != nil || string(out) != msgs[i] {
					t.Fatalf("seed %d level %d pieces of %d, message %d: got %d bytes, %v, want %d bytes", seed, level, n, i, len(out), err, len(msgs[i]))
				}
				if z.Far.Dist != 0 {
					t.Errorf("seed %d: match reaches back %d, limit %d", seed, z.Far.Dist, z.Limit)
				}
			}
		}
	}
}

// What reaches back too far is decoded and noted, with the same offset however
// the input is cut.
func TestInflateTooFar(t *testing.T) {
	far := strings.Repeat("0123456789abcdef", 64) // 1 KiB
	noise := make([]byte, 3000)
	r := rand.New(rand.NewPCG(1, 2))
	for i := range noise {
		noise[i] = byte(r.Uint32())
	}
	msgs := []string{far + string(noise) + far, far}
	p := deflate(t, 9, msgs...)
	var first FarMatch
	for _, n := range []int{1 << 20, 1, 3, 50} {
		z := &Stream{Limit: 1 << 11, Alone: true}
		out, err := inflateAll(z, p[0], n)
		if string(out) != msgs[0] || err != nil {
			t.Fatalf("got %d bytes, %v", len(out), err)
		}
		if z.Far.Dist < 3000 || z.Far.Dist > 4024 || z.Kept.Dist != 0 {
			t.Errorf("pieces of %d: got far %v, kept %v, want far 3000 to 4024, kept none", n, z.Far, z.Kept)
		}
		if first.Dist == 0 {
			first = z.Far
		} else if z.Far != first {
			t.Errorf("pieces of %d: got %v, whole gave %v", n, z.Far, first)
		}
		if inflateAll(z, p[1], n); z.Kept.Dist == 0 {
			t.Errorf("pieces of %d: match into the message before is not noted", n)
		}
		z = &Stream{Limit: 1 << 13}
		inflateAll(z, p[0], n)
		if inflateAll(z, p[1], n); z.Far.Dist != 0 || z.Kept.Dist != 0 {
			t.Errorf("pieces of %d: got far %v, kept %v within the limits", n, z.Far, z.Kept)
		}
	}
}

func TestInflateFaults(t *testing.T) {
	for _, test := range []struct {
		name, hex string
		want      error
	}{
		{"no bytes", "", ErrEmpty},
		{"block type 3", "06", errType},
		{"stored lengths differ", "00 05 00 fa fe 48", errStored},
		{"stored block cut", "00 09 00 f6 ff 48", errCut},
		{"fixed block cut", "f2 48 cd c9", errCut},
		{"end of block cut", "f2 48 cd c9 c9 07", errCut},
		{"distance before the start", "02 13 00 00", ErrDistance},
		{"length code 286", "1a 03 00", errSymbol},
		{"distance code 30", "02 3e 00 00", errSymbol},
		{"287 length codes", "f4 00 00", errCounts},
		{"31 distance codes", "04 1e 00", errCounts},
		{"no code length codes", "04 00 00 00 00 00", errSymbol},
	} {
		for n := 1; n < 16; n++ {
			z := &Stream{Limit: MaxWindow}
			if _, err := inflateAll(z, spaced(test.hex), n); err != test.want {
				t.Errorf("%s in pieces of %d: got %v, want %v", test.name, n, err, test.want)
			}
		}
	}
}

// FuzzInflate compares with the standard library: what it can inflate comes out
// the same, what it can't is refused, and how the input is cut changes nothing.
func FuzzInflate(f *testing.F) {
	r := rand.New(rand.NewPCG(1, 1))
	for level := -2; level < 10; level++ {
		for _, p := range deflate(f, level, corpus(r), "Hello", "Hello") {
			if len(p) < 10000 {
				f.Add(p, 3)
			}
		}
	}
	f.Fuzz(func(t *testing.T, in []byte, n int) {
		if len(in) > 1<<12 {
			return
		}
		z := &Stream{Limit: MaxWindow}
		z.Start()
		out, err := inflateLimited(z, in, len(in)+1)
		zn := &Stream{Limit: MaxWindow}
		zn.Start()
		outn, errn := inflateLimited(zn, in, 1+int(uint(n)%64))
		if !bytes.Equal(out, outn) || !errors.Is(err, errn) || z.Offset() != zn.Offset() || z.Far != zn.Far {
			t.Errorf("whole: %d bytes, %v at %d; in pieces of %d: %d bytes, %v at %d", len(out), err, z.Offset(), 1+int(uint(n)%64), len(outn), errn, zn.Offset())
		}
		want, werr := inflateStd(in)
		if len(want) > 1<<20 || len(out) >= 1<<20 {
			return
		}
		if !bytes.HasPrefix(out, want) || werr == nil && len(out) != len(want) { // it may keep back the last of what an error ends
			t.Errorf("got %d bytes, %v; standard library %d bytes, %v", len(out), err, len(want), werr)
		}
		if err == nil { // a fault may show only in the bits that follow
			_, err = inflateLimited(z, make([]byte, 4), 4)
			if werr == nil || werr == io.ErrUnexpectedEOF {
				err = nil
			}
		}
		if err == errNoEnd || err == errCodes {
			return // where zlib is stricter
		}
		if (err != nil) != (werr != io.ErrUnexpectedEOF && werr != nil) {
			t.Errorf("got %v, standard library %v", err, werr)
		}
	})
}

func inflateLimited(z *Stream, in []byte, n int) (out []byte, err error) {
	for len(in) > 0 {
		p := in[:min(n, len(in))]
		in = in[len(p):]
		for {
			k, o, err := z.Next(p)
			out = append(out, o...)
			p = p[k:]
			if err != nil || len(out) > 1<<20 {
				return out, err
			}
			if len(p) == 0 && len(o) == 0 {
				break
			}
		}
	}
	return out, nil
}

// inflateStd inflates with the standard library, past final blocks.
func inflateStd(in []byte) (out []byte, err error) {
	rd := bytes.NewReader(in)
	for {
		dict := out[max(0, len(out)-MaxWindow):]
		fr := flate.NewReaderDict(rd, dict)
		b, err := io.ReadAll(io.LimitReader(fr, 1<<20+1))
		out = append(out, b...)
		if err != nil {
			return out, err
		}
		if rd.Len() == 0 || len(out) > 1<<20 {
			return out, nil
		}
	}
}

func BenchmarkInflate(b *testing.B) {
	r := rand.New(rand.NewPCG(7, 7))
	json := func(n int) string {
		var s strings.Builder
		for s.Len() < n {
			fmt.Fprintf(&s, `{"id":%d,"name":"user%d","price":%.2f,"tags":["a","b","c%d"]},`, r.IntN(100000), r.IntN(1000), r.Float64()*100, r.IntN(9))
		}
		return s.String()[:n]
	}
	for _, size := range []int{128, 1 << 10, 16 << 10, 1 << 20} {
		msgs := make([]string, 64)
		for i := range msgs {
			msgs[i] = json(size)
		}
		if size == 1<<20 {
			msgs = msgs[:2]
		}
		ps := deflate(b, 6, msgs...)
		b.Run(fmt.Sprint(size), func(b *testing.B) {
			b.SetBytes(int64(size * len(ps)))
			b.ReportAllocs()
			z := &Stream{Limit: MaxWindow}
			for b.Loop() {
				for _, p := range ps {
					z.Start()
					for {
						n, o, err := z.Next(p)
						if err != nil {
							b.Fatal(err)
						}
						if p = p[n:]; len(p) == 0 && len(o) == 0 {
							break
						}
					}
					if _, _, err := z.Next(z.Tail()); err != nil {
						b.Fatal(err)
					}
					if err := z.End(); err != nil {
						b.Fatal(err)
					}
				}
			}
		})
		b.Run(fmt.Sprint(size, " std endless"), func(b *testing.B) {
			b.SetBytes(int64(size * len(ps)))
			rd := &bytes.Reader{}
			var all []byte
			for _, p := range ps {
				all = append(append(all, p...), flushMarker...)
			}
			buf := make([]byte, 32<<10)
			for b.Loop() {
				rd.Reset(all)
				fr := flate.NewReader(rd)
				for {
					if _, err := fr.Read(buf); err != nil {
						break
					}
				}
			}
		})
	}
}
