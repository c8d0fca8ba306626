package pcap

import (
	"bytes"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// FuzzPcap plays files: whatever is in them, it ends, and an error says where.
func FuzzPcap(f *testing.F) {
	k := newTalk(&testing.T{}, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	six := newTalk(&testing.T{}, "[::1]:40000", "[::1]:8080")
	six.chat()
	for _, link := range []uint32{linkEthernet, linkLinux, linkLinux2, linkNull, linkRaw} {
		f.Add(file{link: link}.write(k.packets))
		f.Add(file{link: link, ng: true, nano: true, big: true, split: true, tags: 1, secrets: []byte("x")}.write(six.packets))
	}
	f.Add(file{link: linkRaw}.write(k.packets[8:]))
	f.Fuzz(func(t *testing.T, b []byte) {
		bad := 0
		s := &Source{R: bytes.NewReader(b)}
		if len(b)%2 == 0 {
			s.Bad = func(error) { bad++ }
		}
		err := s.Play(t.Context(), decode.SinkFunc(func(*decode.Event) {}), decode.Look{Messages: true})
		var at *decode.SourceError
		if err != nil && (!errors.As(err, &at) || at.Offset < 0 || at.Offset > int64(len(b))) {
			t.Errorf("got %v", err)
		}
	})
}

// FuzzStream plays segments: each input byte string is a list of those, with what is
// wrong with them.
func FuzzStream(f *testing.F) {
	var log bytes.Buffer
	cert := certificate(f, false)
	k := chatTLS(&testing.T{}, 40000, &tls.Config{InsecureSkipVerify: true, KeyLogWriter: &log}, &tls.Config{Certificates: []tls.Certificate{cert}}, (*convo).chatInside)
	keys, err := ParseKeys(log.Bytes())
	if err != nil {
		f.Fatal(err)
	}
	plain := newTalk(&testing.T{}, "127.0.0.1:40000", "127.0.0.1:8443")
	plain.chat()
	for _, k := range []*convo{k, plain} {
		var b []byte
		for _, p := range k.packets {
			payload := p.ip[40:]
			side := byte(0)
			if p.ip[20] != 40000>>8 {
				side = 1
			}
			b = append(b, side, p.ip[33], 0)
			b = binary.BigEndian.AppendUint16(b, uint16(len(payload)))
			b = append(b, payload...)
		}
		f.Add(b)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s := &Source{passed: map[string]int64{}}
		var now time.Time
		p := &player{source: s, sink: decode.SinkFunc(func(ev *decode.Event) {
			if ev.Time.Before(now) && ev.Conn == 1 {
				t.Error("time runs backwards")
			}
			if ev.Conn == 1 {
				now = ev.Time
			}
		}), look: decode.Look{Messages: true}, keys: newKeySet(keys), flows: map[flowKey]*flow{}}
		seqs := [2]uint32{1, 1}
		for i := int64(0); len(b) > 5; i++ {
			side, flags, shift := b[0]&1, b[1], int8(b[2])
			n := min(int(binary.BigEndian.Uint16(b[3:])), len(b)-5)
			seg := &segment{src: plain.ends[side], dst: plain.ends[1-side], seq: seqs[side] + uint32(int32(shift)), ack: seqs[1-side],
				syn: flags&2 != 0, fin: flags&1 != 0, rst: flags&4 != 0, hasAck: flags&16 != 0, payload: b[5 : 5+n], cut: int(b[0] >> 4)}
			seqs[side] += uint32(n)
			if seg.syn || seg.fin {
				seqs[side]++
			}
			b = b[5+n:]
			p.segment(seg, place{began.Add(time.Duration(i) * 20 * time.Millisecond), i})
		}
		p.finish()
		if p.cost != 0 {
			t.Errorf("%d bytes are kept", p.cost)
		}
	})
}
