package decode

import (
	"fmt"
	"math/rand/v2"
	"runtime/debug"
	"slices"
	"strings"
	"testing"
)

// A counter is a Sink that counts frames and the payload they carry.
type counter struct{ frames, bytes int64 }

func (c *counter) Emit(ev *Event) {
	if ev.Frame != nil {
		c.frames++
		c.bytes += int64(ev.Frame.Len())
	}
}

// A stream is bytes that hold whole frames, in chunks as a relay reads them.
type stream struct {
	name   string
	chunks [][]byte
	bytes  int64
	frames int64
	cuts   bool // chunks end inside of frames
}

// newStream returns n frames of a client with payloads of the given size. Their
// masking keys differ, for a constant one breaks a rule.
func newStream(n, size, chunk int) stream {
	keys := rand.NewChaCha8([32]byte{})
	payload := strings.Repeat("x", size)
	var all []byte
	for range n {
		var key [4]byte
		keys.Read(key[:])
		all = append(all, masked(0x82, key, payload)...)
	}
	return stream{
		name:   fmt.Sprintf("%dB", size),
		cuts:   chunk%(len(all)/n) != 0,
		chunks: slices.Collect(slices.Chunk(all, chunk)),
		bytes:  int64(len(all)),
		frames: int64(n),
	}
}

// Small frames in 4 KiB chunks, which hold whole frames or cut some of them
// anywhere, and frames of 1 MiB in 64 KiB chunks.
var speedStreams = []stream{newStream(1024, 26, 4<<10), newStream(1000, 20, 4<<10), newStream(1, 1<<20, 64<<10)}

// raceEnabled reports whether the race detector is built in. It makes
// sync.Pool drop what it is given now and then.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestDecoderAllocatesNothing(t *testing.T) {
	for _, s := range speedStreams {
		var d Decoder
		var n int64
		allocs := testing.AllocsPerRun(20, func() {
			for _, b := range s.chunks {
				for f := range d.Frames(b) {
					n += int64(f.Len())
				}
			}
		})
		if allocs != 0 || n == 0 {
			t.Errorf("frames of %s: got %v allocations and %d bytes of payload, want none and some", s.name, allocs, n)
		}
	}
}

func TestSessionAllocatesNothing(t *testing.T) {
	for _, s := range speedStreams {
		if s.cuts && raceEnabled() {
			continue // a frame in flight is held in a buffer from a sync.Pool
		}
		var c counter
		session := &Session{Sink: &Tee{Sinks: []Sink{&c}}}
		session.Open(Info{Conn: 1, Time: start})
		session.Upgraded()
		allocs := testing.AllocsPerRun(20, func() {
			for _, b := range s.chunks {
				session.Data(FromClient, start, b)
			}
		})
		if allocs != 0 || c.frames < s.frames {
			t.Errorf("frames of %s: got %v allocations for %d frames, want none and %d frames", s.name, allocs, c.frames, s.frames)
		}
	}
}

func benchStreams() []stream {
	return []stream{newStream(500, 128, 64<<10), newStream(16, 4<<10, 64<<10), newStream(4, 64<<10, 64<<10)}
}

func BenchmarkDecoderFrames(b *testing.B) {
	for _, s := range benchStreams() {
		b.Run(s.name, func(b *testing.B) {
			var d Decoder
			b.SetBytes(s.bytes)
			b.ReportAllocs()
			for b.Loop() {
				for _, chunk := range s.chunks {
					for range d.Frames(chunk) {
					}
				}
			}
		})
	}
}

func BenchmarkSessionData(b *testing.B) {
	for _, s := range benchStreams() {
		b.Run(s.name, func(b *testing.B) {
			session := &Session{Sink: &counter{}}
			session.Open(Info{Conn: 1, Time: start})
			session.Upgraded()
			b.SetBytes(s.bytes)
			b.ReportAllocs()
			for b.Loop() {
				for _, chunk := range s.chunks {
					session.Data(FromClient, start, chunk)
				}
			}
		})
	}
}
