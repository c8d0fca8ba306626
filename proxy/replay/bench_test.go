package replay

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkPlay plays both sides of a session against each other, in which they
// take turns. A byte is one of payload.
func BenchmarkPlay(b *testing.B) {
	const turns = 100
	for _, size := range []int{128, 64 << 10} {
		for _, way := range []struct {
			name string
			opts []LoadOption
		}{{"messages", nil}, {"exact", []LoadOption{Exact()}}} {
			b.Run(fmt.Sprintf("%dB/%s", size, way.name), func(b *testing.B) {
				text := strings.Repeat("x", size)
				var trace strings.Builder
				trace.WriteString(handshake)
				for range turns {
					fmt.Fprintf(&trace, `{"k":"frame","c":1,"d":">","op":"text","mask":"01020304","text":"%s"}`+"\n", text)
					fmt.Fprintf(&trace, `{"k":"frame","c":1,"d":"<","op":"text","text":"%s"}`+"\n", text)
				}
				s := loaded(b, trace.String(), way.opts...)
				b.SetBytes(int64(2 * turns * size))
				b.ReportAllocs()
				for b.Loop() {
					if serverErr, clientErr := both(b, s, s); serverErr != nil || clientErr != nil {
						b.Fatal(serverErr, clientErr)
					}
				}
				b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(2*turns*b.N), "ns/message")
			})
		}
	}
}
