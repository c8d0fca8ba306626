package trace

import (
	"fmt"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

func BenchmarkSource(b *testing.B) {
	var t strings.Builder
	t.WriteString("{\"wstrace\":1}\n{\"k\":\"open\",\"c\":1}\n")
	for i := range 1000 {
		fmt.Fprintf(&t, `{"k":"frame","t":%d.5,"c":1,"d":">","op":"text","mask":"%08x","text":"message number %d, with some text in it"}`+"\n", i, i*0x01234567&0xffffffff, i)
	}
	trace := t.String()
	b.SetBytes(int64(len(trace)))
	for b.Loop() {
		src := Source{R: strings.NewReader(trace)}
		if err := src.Play(b.Context(), decode.SinkFunc(func(*decode.Event) {}), decode.Look{}); err != nil {
			b.Fatal(err)
		}
	}
}
