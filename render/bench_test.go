package render

import (
	"io"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

func BenchmarkFrames(b *testing.B) {
	const frames = 16
	chunk := []byte(strings.Repeat(masked(0x81, 0x16398f63, strings.Repeat(`{"id":1} `, 15)[:128]), frames))
	for _, form := range forms {
		b.Run(form, func(b *testing.B) {
			s := decode.Session{Sink: newForm(form, io.Discard, Options{Preview: 80})}
			now := time.Now()
			s.Open(decode.Info{Conn: 1, Time: now})
			s.Upgraded()
			b.SetBytes(int64(len(chunk)))
			for b.Loop() {
				s.Data(decode.FromClient, now, chunk)
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*frames), "ns/frame")
		})
	}
}
