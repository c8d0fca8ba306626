package pcap

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
	"github.com/wstrace/wstrace/render"
)

// TestTrace records what a capture has, with losses or without: the recording shows the
// same.
func TestTrace(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	for i := range k.packets {
		for _, packets := range [][]captured{k.packets[i:], slices.Delete(slices.Clone(k.packets), i, i+1)} {
			b := file{link: linkEthernet}.write(packets)
			var recorded, shown, again bytes.Buffer
			o := render.Options{Preview: 60, Time: render.TimeISO}
			tee := &decode.Tee{Sinks: []decode.Sink{render.NewCompact(&shown, o), trace.NewWriter(&recorded, trace.Options{})}}
			look := decode.Look{Messages: true}
			if err := (&Source{R: bytes.NewReader(b)}).Play(context.Background(), tee, look); err != nil {
				t.Fatal(err)
			}
			if err := (&trace.Source{R: bytes.NewReader(recorded.Bytes())}).Play(context.Background(), render.NewCompact(&again, o), look); err != nil {
				t.Errorf("packet %d: %v", i, err)
			}
			if shown.String() != again.String() {
				t.Errorf("packet %d: the capture shows\n%s\nand its recording\n%s\n%s", i, shown.String(), again.String(), recorded.String())
				return
			}
		}
	}
}
