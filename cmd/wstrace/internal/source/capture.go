package source

import (
	"context"
	"slices"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pcap"
)

// isCapture looks for the magic number of a pcap or pcapng file.
func isCapture(head []byte, whole bool) answer {
	switch {
	case pcap.IsCapture(head):
		return yes
	case len(head) < pcap.MagicLen && !whole && pcap.MayBeCapture(head):
		return perhaps
	}
	return no
}

// playCapture plays a pcap or pcapng file.
func playCapture(ctx context.Context, f *File, sink decode.Sink, look decode.Look) (last int64, err error) {
	s := pcap.Source{R: f.r, Keys: f.Keys, Bad: f.Bad, After: f.After}
	err = s.Play(ctx, sink, look)
	f.passed = s.Passed()
	f.cut, f.cutAt = s.Cut()
	return s.Last(), err
}

// Capture reports whether the file is a capture of packets.
func (f *File) Capture() bool { return slices.Contains(f.format.names, "pcap") }

// Cut returns how many packets of a capture were found cut off, and at how many bytes,
// or 0, when it was played.
func (f *File) Cut() (packets int64, at int) { return f.cut, f.cutAt }

// Passed returns what of a capture was passed over when it was played.
func (f *File) Passed() []pcap.Passed { return f.passed }
