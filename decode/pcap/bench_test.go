package pcap

import (
	"bytes"
	"context"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

func BenchmarkPlay(b *testing.B) {
	k := newTalk(&testing.T{}, "127.0.0.1:40000", "127.0.0.1:8080")
	k.handshake()
	k.say(decode.FromClient, upgradeRequest)
	k.say(decode.FromServer, upgradeResponse)
	for range 20000 {
		k.say(decode.FromServer, frame(decode.FromServer, text, words(500)))
	}
	k.fin()
	raw := file{link: linkEthernet, ng: true}.write(k.packets)
	b.SetBytes(int64(len(raw)))
	b.ReportAllocs()
	for b.Loop() {
		s := &Source{R: bytes.NewReader(raw)}
		if err := s.Play(context.Background(), decode.SinkFunc(func(*decode.Event) {}), decode.Look{Messages: true}); err != nil {
			b.Fatal(err)
		}
	}
}
