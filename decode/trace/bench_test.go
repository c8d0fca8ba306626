package trace

import (
	"io"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// The payloads of frames in benchmarks.
var benchPayloads = []struct {
	name    string
	flags   byte
	payload string
}{
	{"128", 0x81, strings.Repeat("x", 128)},
	{"4K", 0x81, strings.Repeat("a text, ", 512)},
	{"64K-utf8", 0x81, strings.Repeat("é€", 13_000)},
	{"4K-binary", 0x82, strings.Repeat("\xff\x00\x7f\x80", 1024)},
}

func BenchmarkWriter(b *testing.B) {
	for _, bench := range benchPayloads {
		b.Run(bench.name, func(b *testing.B) {
			s := decode.Session{Sink: NewWriter(io.Discard, Options{})}
			s.Open(decode.Info{Conn: 1, Time: start})
			s.Upgraded()
			chunk := []byte(frame(bench.flags, 0x01020304, bench.payload))
			b.SetBytes(int64(len(chunk)))
			b.ReportAllocs()
			for b.Loop() {
				s.Data(client, start, chunk)
			}
		})
	}
}

// recorded returns a trace of n frames.
func recorded(n int, flags byte, payload string) string {
	var b strings.Builder
	s := decode.Session{Sink: NewWriter(&b, Options{})}
	s.Open(decode.Info{Conn: 1, Time: start})
	s.Upgraded()
	for range n {
		s.Data(client, start, []byte(frame(flags, 0x01020304, payload)))
	}
	return b.String()
}

// BenchmarkReader reads records, BenchmarkPlay plays them through a session. A
// byte is one of the trace.
func BenchmarkReader(b *testing.B) {
	benchRead(b, func(in io.Reader) error {
		for r := NewReader(in); ; {
			if _, err := r.Next(); err == io.EOF {
				return nil
			} else if err != nil {
				return err
			}
		}
	})
}

func BenchmarkPlay(b *testing.B) {
	benchRead(b, func(in io.Reader) error {
		src := Source{R: in}
		return src.Play(b.Context(), decode.SinkFunc(func(*decode.Event) {}), decode.Look{})
	})
}

func benchRead(b *testing.B, read func(io.Reader) error) {
	const frames = 64
	for _, bench := range benchPayloads {
		b.Run(bench.name, func(b *testing.B) {
			text := recorded(frames, bench.flags, bench.payload)
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := read(strings.NewReader(text)); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/frame")
		})
	}
}
