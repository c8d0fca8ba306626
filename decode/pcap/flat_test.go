package pcap

import (
	"encoding/binary"
	"fmt"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// newPlayer returns a player of which nobody sees what it plays.
func newPlayer() *player {
	return &player{source: &Source{passed: map[string]int64{}}, sink: decode.SinkFunc(func(*decode.Event) {}), keys: new(keySet), flows: map[flowKey]*flow{}}
}

// playTo plays the packets.
func (k *convo) playTo(p *player) {
	for _, c := range k.packets {
		p.packet(&packet{link: linkRaw, data: c.ip, time: c.time})
	}
}

// record returns a record of TLS.
func record(kind byte, b string) string {
	return string(binary.BigEndian.AppendUint16([]byte{kind, 3, 3}, uint16(len(b)))) + b
}

// TestFlatTogether plays conversations of which each stops where bytes are kept: of all
// together, no more is kept than the limit.
func TestFlatTogether(t *testing.T) {
	const n = 30000
	hello := record(recordHandshake, "\x01\x00\x00\x04\x03\x03ab")
	for _, c := range []struct {
		name string
		say  func(k *convo)
	}{
		{"heads of requests", func(k *convo) { k.packet(decode.FromClient, "", []byte("GET / HTTP/1.1\r\nX: "+words(n))) }},
		{"heads of answers", func(k *convo) {
			k.packet(decode.FromClient, "", []byte("GET / HTTP/1.1\r\n\r\n"))
			k.packet(decode.FromServer, "", []byte("HTTP/1.1 200 OK\r\nX: "+words(n)))
		}},
		{"behind CONNECT", func(k *convo) {
			k.packet(decode.FromClient, "", []byte("CONNECT a:1 HTTP/1.1\r\n\r\n"+words(n)))
		}},
		{"records", func(k *convo) {
			k.packet(decode.FromClient, "", []byte(hello+record(recordHandshake, words(16000))[:15000]))
		}},
		{"messages of handshakes", func(k *convo) {
			k.packet(decode.FromClient, "", []byte(hello+record(recordHandshake, "\x01\x00\xf0\x00"+words(16000))+record(recordHandshake, words(14000))))
		}},
		{"frames", func(k *convo) {
			k.packets = nil // the handshake
			k.packet(decode.FromServer, "", []byte(frame(decode.FromServer, bin, words(60000))[:n]))
		}},
		{"segments", func(k *convo) {
			k.seq[decode.FromServer]++
			k.packet(decode.FromServer, "", []byte(words(n)))
		}},
	} {
		p := newPlayer()
		for i := range maxAllPending / n * 5 / 4 {
			k := newTalk(t, fmt.Sprintf("10.0.%d.%d:40000", i/256, i%256), "10.1.0.1:8080")
			k.handshake()
			c.say(k)
			k.playTo(p)
			if p.cost > maxAllPending+n {
				t.Fatalf("%s: %d bytes are kept of %d conversations", c.name, p.cost, i+1)
			}
		}
		if p.cost < maxAllPending/2 {
			t.Errorf("%s: only %d bytes are kept", c.name, p.cost)
		}
		p.finish()
		if p.cost != 0 || p.held.cost != 0 || len(p.flows) != 0 {
			t.Errorf("%s: %d bytes are kept at the end, and %d of TLS", c.name, p.cost, p.held.cost)
		}
	}
}

// TestFlatHeld plays conversations over TLS whose keys may still come.
func TestFlatHeld(t *testing.T) {
	const n = 5000
	p := newPlayer()
	p.blocks.ng = true
	client := "\x03\x03" + strings.Repeat("c", 32) + "\x00\x00\x02\x13\x01\x01\x00\x00\x00"
	server := "\x03\x03" + strings.Repeat("s", 32) + "\x00\x13\x01\x00\x00\x06\x00\x2b\x00\x02\x03\x04"
	most := 0
	for i := range maxAllHolds / n * 5 / 4 {
		k := newTalk(t, fmt.Sprintf("10.0.%d.%d:40000", i/256, i%256), "10.1.0.1:8080")
		k.handshake()
		hello := client[:2] + string(binary.BigEndian.AppendUint32(nil, uint32(i/maxWaiters))) + client[6:]
		k.packet(decode.FromClient, "", []byte(record(recordHandshake, message(helloClient, hello))))
		k.packet(decode.FromServer, "", []byte(record(recordHandshake, message(helloServer, server))))
		k.packet(decode.FromServer, "", []byte(record(recordData, words(n))))
		k.playTo(p)
		if most = max(most, p.held.cost); most > maxAllHolds {
			t.Fatalf("%d bytes are held", most)
		}
	}
	if p.held.all.Len() < maxAllHolds/n/2 || len(p.held.waiting) == 0 {
		t.Errorf("%d conversations are held, for %d secrets", p.held.all.Len(), len(p.held.waiting))
	}
	p.finish()
	if p.cost != 0 || p.held.cost != 0 || p.held.all.Len() != 0 || len(p.held.waiting) != 0 {
		t.Errorf("%d bytes are kept at the end, and %d of %d conversations over TLS", p.cost, p.held.cost, p.held.all.Len())
	}
}

// message returns a handshake message.
func message(kind byte, b string) string {
	return string([]byte{kind, 0, byte(len(b) >> 8), byte(len(b))}) + b
}

// TestHandshakeCost plays a record of many handshake messages: what follows one is not
// copied.
func TestHandshakeCost(t *testing.T) {
	c := &tlsConn{outer: &stream{player: newPlayer(), mode: modeTLS}}
	c.begin()
	b := []byte(strings.Repeat(message(0, ""), 4000))
	if n := testing.AllocsPerRun(1, func() { c.handshake(0, place{}, &c.halves[0], b) }); n > 10 {
		t.Errorf("%v allocations for 4000 messages", n)
	}
}
