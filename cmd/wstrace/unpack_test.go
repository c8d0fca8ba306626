package main

import (
	"bytes"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"

	"github.com/wstrace/wstrace/decode"
)

// packed returns content in each of the formats.
func packed(t testing.TB, content []byte) map[string][]byte {
	all := map[string][]byte{}
	for name, make := range map[string]func(io.Writer) io.WriteCloser{
		"gzip": func(w io.Writer) io.WriteCloser { return gzip.NewWriter(w) },
		"zlib": func(w io.Writer) io.WriteCloser { return zlib.NewWriter(w) },
		"zstd": func(w io.Writer) io.WriteCloser { z, _ := zstd.NewWriter(w); return z },
	} {
		var b bytes.Buffer
		w := make(&b)
		w.Write(content)
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		all[name] = b.Bytes()
	}
	return all
}

func TestUnpack(t *testing.T) {
	long := []byte(strings.Repeat("0123456789", 200_000))
	for name, b := range packed(t, []byte(`{"price":10}`)) {
		if got, format, less := unpack(b, false); string(got) != `{"price":10}` || format != name || less {
			t.Errorf("%s: %q, %q, %v", name, got, format, less)
		}
		for n := range b { // what is not whole, and not said to be cut, is in no format
			if got, format, _ := unpack(b[:n], false); format != "" {
				t.Errorf("%d bytes of %s: %q, %q", n, name, got, format)
			}
			if got, format, less := unpack(b[:n], true); format != "" && (!less || !strings.HasPrefix(`{"price":10}`, string(got))) {
				t.Errorf("%d bytes of %s, cut: %q, %q, %v", n, name, got, format, less)
			}
		}
	}
	for name, b := range packed(t, long) {
		got, format, less := unpack(b, false)
		if !bytes.Equal(got, long[:decode.MaxMessageData]) || format != name || !less {
			t.Errorf("%s: %d bytes, %q, %v", name, len(got), format, less)
		}
	}
	for _, b := range []string{"", "x", "x\x9c", "x\x9cjust text", "\x1f\x8b\x08\x00", "\x28\xb5\x2f\xfd\x00\x00", "hello"} {
		if got, format, _ := unpack([]byte(b), false); format != "" {
			t.Errorf("%q: %q, %q", b, got, format)
		}
	}
}

func FuzzUnpack(f *testing.F) {
	for _, b := range packed(f, []byte("content")) {
		f.Add(b, false)
		f.Add(b[:len(b)/2], true)
	}
	f.Fuzz(func(t *testing.T, data []byte, cut bool) {
		if content, format, _ := unpack(data, cut); len(content) > decode.MaxMessageData || format == "" && content != nil {
			t.Errorf("%d bytes in %q", len(content), format)
		}
	})
}
