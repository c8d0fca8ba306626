package decode

import (
	"math"
	"testing"
)

func TestLengthBits(t *testing.T) {
	for n, want := range map[uint64]int{0: 7, 125: 7, 126: 16, 65535: 16, 65536: 64, math.MaxUint64: 64} {
		if got := LengthBits(n); got != want {
			t.Errorf("%d: got %d bits, want %d", n, got, want)
		}
	}
}
