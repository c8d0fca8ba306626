package proxy

import (
	"sync"
	"sync/atomic"
)

// Buffers come in four sizes. A connection starts with a small one and moves
// to a larger while its reads fill what they get: for large frames one read of
// 1 MiB is cheaper than sixteen of 64 KiB.
var bufferSizes = [...]int{16 << 10, 64 << 10, 256 << 10, 1 << 20}

// maxLarge bounds the memory, in bytes, of all buffers beyond 64 KiB. When it
// is used up connections make do with 64 KiB.
const maxLarge = 64 << 20

var (
	bufferPools [len(bufferSizes)]sync.Pool
	largeInUse  atomic.Int64
)

// A buffer is taken when bytes are ready to be read and put back when they
// have been written on, so a connection that waits holds none.
type buffer struct {
	b     []byte
	class int
}

func getBuffer(class int) *buffer {
	if class > 1 && largeInUse.Add(int64(bufferSizes[class])) > maxLarge {
		largeInUse.Add(-int64(bufferSizes[class]))
		class = 1
	}
	if b, _ := bufferPools[class].Get().(*buffer); b != nil {
		return b
	}
	return &buffer{make([]byte, bufferSizes[class]), class}
}

func (b *buffer) put() {
	if b.class > 1 {
		largeInUse.Add(-int64(len(b.b)))
	}
	bufferPools[b.class].Put(b)
}
