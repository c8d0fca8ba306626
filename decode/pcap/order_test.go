package pcap

import (
	"bytes"
	"context"
	"fmt"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// frameTimes returns the frames of a capture in the order in which they are told.
func frameTimes(t *testing.T, packets []captured) (list []string) {
	sink := decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindFrame && !ev.Frame.More {
			list = append(list, fmt.Sprint(ev.Time.UnixNano(), ev.Dir, ev.Frame.Header.OpCode, ev.Frame.Len()))
		}
	})
	s := &Source{R: bytes.NewReader(file{link: linkEthernet}.write(packets))}
	if err := s.Play(context.Background(), sink, decode.Look{}); err != nil {
		t.Error(err)
	}
	return list
}

// TestOrderInTheMiddle checks that the frames of a conversation whose beginning is
// missing have the times and the order of their packets, though those of one side are
// known for what they are only later. The pings alone are not known.
func TestOrderInTheMiddle(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.handshake()
	k.say(decode.FromClient, upgradeRequest)
	k.say(decode.FromServer, upgradeResponse)
	for i := range 3 {
		k.say(decode.FromServer, frame(decode.FromServer, ping, ""))
		k.say(decode.FromClient, frame(decode.FromClient, pong, ""))
		k.say(decode.FromServer, frame(decode.FromServer, text, words(9+i)))
		k.say(decode.FromServer, frame(decode.FromServer, text, words(5+i)))
	}
	k.say(decode.FromClient, frame(decode.FromClient, close, "\x03\xe8bye"))
	k.say(decode.FromServer, frame(decode.FromServer, close, "\x03\xe8"))
	k.fin()
	all := frameTimes(t, k.packets)
	if len(all) != 14 {
		t.Fatalf("got %d frames: %q", len(all), all)
	}
	most := 0
	for i := range k.packets {
		got := frameTimes(t, k.packets[i:])
		if len(got) > len(all) || fmt.Sprint(got) != fmt.Sprint(all[len(all)-len(got):]) {
			t.Errorf("from packet %d: got %q", i, got)
		}
		if i > 6 {
			most = max(most, len(got))
		}
	}
	if most < 12 {
		t.Errorf("of a conversation in the middle at most %d frames are known", most)
	}
}
