package pcap

import (
	"bytes"
	"context"
	"encoding/binary"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

// A captured packet: an IP packet, and when it came.
type captured struct {
	time time.Time
	ip   []byte
	cut  int // bytes that were not captured
}

// A convo is a conversation over TCP, made by hand.
type convo struct {
	t       *testing.T
	ends    [2]netip.AddrPort // the client and the server
	seq     [2]uint32         // by decode.Dir
	mss     int
	time    time.Time
	packets []captured
	tell    func(d decode.Dir, b string) // how chat says something; say, unless set
}

var began = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

func newTalk(t *testing.T, client, server string) *convo {
	t.Helper()
	return &convo{t: t, ends: [2]netip.AddrPort{netip.MustParseAddrPort(client), netip.MustParseAddrPort(server)},
		seq: [2]uint32{0xfffffff0, 0x7ffffff0}, mss: 1460, time: began}
}

// packet adds a packet, a millisecond after the one before.
func (k *convo) packet(d decode.Dir, flags string, payload []byte) {
	k.t.Helper()
	k.time = k.time.Add(time.Millisecond)
	k.packets = append(k.packets, captured{time: k.time, ip: k.ip(d, k.seq[d], flags, payload)})
	k.seq[d] += uint32(len(payload))
	if strings.ContainsAny(flags, "SF") {
		k.seq[d]++
	}
}

func (k *convo) ip(d decode.Dir, seq uint32, flags string, payload []byte) []byte {
	src, dst := k.ends[d], k.ends[d.Peer()]
	tcp := &layers.TCP{SrcPort: layers.TCPPort(src.Port()), DstPort: layers.TCPPort(dst.Port()), Seq: seq, Window: 65535}
	for _, f := range flags {
		switch f {
		case 'S':
			tcp.SYN = true
		case 'A':
			tcp.ACK, tcp.Ack = true, k.seq[d.Peer()]
		case 'F':
			tcp.FIN = true
		case 'R':
			tcp.RST = true
		}
	}
	var ip gopacket.SerializableLayer
	if src.Addr().Is4() {
		v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		tcp.SetNetworkLayerForChecksum(v4)
		ip = v4
	} else {
		v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolTCP, SrcIP: src.Addr().AsSlice(), DstIP: dst.Addr().AsSlice()}
		tcp.SetNetworkLayerForChecksum(v6)
		ip = v6
	}
	buf := gopacket.NewSerializeBuffer()
	if err := gopacket.SerializeLayers(buf, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ip, tcp, gopacket.Payload(payload)); err != nil {
		k.t.Fatal(err)
	}
	return bytes.Clone(buf.Bytes())
}

func (k *convo) handshake() {
	k.packet(decode.FromClient, "S", nil)
	k.packet(decode.FromServer, "SA", nil)
	k.packet(decode.FromClient, "A", nil)
}

// say adds what one side says, and its confirmation.
func (k *convo) say(d decode.Dir, b string) {
	for len(b) > 0 {
		n := min(len(b), k.mss)
		k.packet(d, "A", []byte(b[:n]))
		b = b[n:]
	}
	k.packet(d.Peer(), "A", nil)
}

func (k *convo) fin() {
	k.packet(decode.FromServer, "FA", nil)
	k.packet(decode.FromClient, "FA", nil)
	k.packet(decode.FromServer, "A", nil)
}

const (
	upgradeRequest = "GET /chat HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Key: AQIDBAUGBwgJCgsMDQ4PEA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
	upgradeResponse = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n" +
		"Sec-WebSocket-Accept: C/0nmHhBztSRGR1CwL6Tf4ZjwpY=\r\n\r\n"
)

// frame returns a frame; that of a client is masked.
func frame(d decode.Dir, b0 byte, payload string) string {
	b := []byte{b0}
	var mask byte
	if d == decode.FromClient {
		mask = 0x80
	}
	switch n := len(payload); {
	case n < 126:
		b = append(b, mask|byte(n))
	case n < 1<<16:
		b = binary.BigEndian.AppendUint16(append(b, mask|126), uint16(n))
	default:
		b = binary.BigEndian.AppendUint64(append(b, mask|127), uint64(n))
	}
	if d == decode.FromServer {
		return string(b) + payload
	}
	key := [4]byte{0x37, 0xfa, 0x21, 0x3d + masks}
	masks++
	b = append(b, key[:]...)
	for i := range len(payload) {
		b = append(b, payload[i]^key[i&3])
	}
	return string(b)
}

const (
	text  = 0x81
	bin   = 0x82
	close = 0x88
	ping  = 0x89
	pong  = 0x8a
)

// words returns n bytes of text.
func words(n int) string { return strings.Repeat("wonderful ", n/10+1)[:n] }

// chat adds a WebSocket conversation.
func (k *convo) chat() {
	k.handshake()
	k.chatInside()
	k.fin()
}

func (k *convo) chatInside() {
	say := k.say
	if k.tell != nil {
		say = k.tell
	}
	c, s := decode.FromClient, decode.FromServer
	masks = 0
	say(c, upgradeRequest)
	say(s, upgradeResponse)
	say(c, frame(c, text, `{"type":"hello","name":"John"}`))
	say(s, frame(s, text, "John joined.")+frame(s, ping, "are you there"))
	say(c, frame(c, pong, "are you there"))
	say(s, frame(s, bin, words(5000)))
	say(c, frame(c, text, words(3000)))
	say(s, frame(s, text, "last words"))
	say(c, frame(c, close, "\x03\xe8bye"))
	say(s, frame(s, close, "\x03\xe8bye"))
}

// masks counts the frames of clients, each of which has a key of its own.
var masks byte

// A file is how a capture is written.
type file struct {
	big, nano, ng bool
	link          uint32
	tags          int    // VLANs
	secrets       []byte // a key log
	late          int    // packets before the secrets
	names         map[netip.Addr]string
	split         bool // into two sections
}

// header returns the link layer's header for an IP packet.
func (f file) header(ip []byte) (b []byte) {
	kind := uint16(0x0800)
	v6 := ip[0]>>4 == 6
	if v6 {
		kind = 0x86dd
	}
	switch f.link {
	case linkEthernet:
		b = make([]byte, 12)
		for i := range f.tags {
			b = append(b, 0x81, 0, 0, byte(i))
			if i == 0 && f.tags > 1 {
				b[12], b[13] = 0x88, 0xa8
			}
		}
		b = binary.BigEndian.AppendUint16(b, kind)
	case linkLinux:
		b = append(make([]byte, 14), byte(kind>>8), byte(kind))
	case linkLinux2:
		b = append([]byte{byte(kind >> 8), byte(kind)}, make([]byte, 18)...)
	case linkNull:
		b = []byte{2, 0, 0, 0}
		if v6 {
			b[0] = 30
		}
	case linkLoop:
		b = []byte{0, 0, 0, 2}
		if v6 {
			b[3] = 24
		}
	}
	return b
}

// write returns the file.
func (f file) write(packets []captured) []byte {
	appender := binary.AppendByteOrder(binary.LittleEndian)
	if f.big {
		appender = binary.BigEndian
	}
	var out []byte
	u32 := func(b []byte, list ...uint32) []byte {
		for _, v := range list {
			b = appender.AppendUint32(b, v)
		}
		return b
	}
	if !f.ng {
		magic, unit := uint32(magicMicro), 1000
		if f.nano {
			magic, unit = magicNano, 1
		}
		out = u32(out, magic)
		out = appender.AppendUint16(appender.AppendUint16(out, 2), 4)
		out = u32(out, 0, 0, 262144, f.link)
		for _, p := range packets {
			b := append(f.header(p.ip), p.ip...)
			n := uint32(len(b) - p.cut)
			out = u32(out, uint32(p.time.Unix()), uint32(p.time.Nanosecond()/unit), n, uint32(len(b)))
			out = append(out, b[:n]...)
		}
		return out
	}
	block := func(kind uint32, body []byte) {
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		n := uint32(len(body) + 12)
		out = u32(append(u32(out, kind, n), body...), n)
	}
	option := func(b []byte, code uint16, v []byte) []byte {
		b = append(appender.AppendUint16(appender.AppendUint16(b, code), uint16(len(v))), v...)
		for len(b)%4 != 0 {
			b = append(b, 0)
		}
		return b
	}
	unit := uint64(1000)
	section := func() {
		b := u32(nil, magicOrder)
		b = appender.AppendUint16(appender.AppendUint16(b, 1), 0)
		block(magicSection, option(u32(b, 0xffffffff, 0xffffffff), 1, []byte("a comment")))
		b = u32(appender.AppendUint16(appender.AppendUint16(nil, uint16(f.link)), 0), 0)
		b = option(b, 2, []byte("eth0"))
		if f.nano {
			unit = 1
			b = option(b, optionResolution, []byte{9})
		}
		block(blockInterface, option(b, 0, nil))
		block(0x0BAD, u32(nil, 1, 2, 3)) // custom
	}
	section()
	secrets := func() {
		for line := range bytes.Lines(f.secrets) {
			block(blockSecrets, append(u32(nil, secretsTLS, uint32(len(line))), line...))
		}
	}
	for addr, name := range f.names {
		b := append(addr.AsSlice(), name+"\x00"...)
		kind := uint16(1)
		if addr.Is6() {
			kind = 2
		}
		block(blockNames, u32(option(nil, kind, b), 0))
	}
	for i, p := range packets {
		if f.split && i == len(packets)/2 {
			section()
		}
		if i == f.late {
			secrets()
		}
		b := append(f.header(p.ip), p.ip...)
		n := uint32(len(b) - p.cut)
		ticks := uint64(p.time.UnixNano()) / unit
		body := append(u32(nil, 0, uint32(ticks>>32), uint32(ticks), n, uint32(len(b))), b[:n]...)
		for len(body)%4 != 0 {
			body = append(body, 0)
		}
		block(blockEnhanced, option(option(body, 1, []byte("of a packet")), 0, nil))
	}
	if f.late >= len(packets) {
		secrets()
	}
	return out
}

// play returns what a capture renders to, without times, what was passed over, and the
// error of Play.
func play(t testing.TB, b []byte, keys *Keys) (out string, passed []Passed, err error) {
	t.Helper()
	s := &Source{R: bytes.NewReader(b), Keys: keys}
	out, err = show(s, render.Options{Preview: 60, Time: render.TimeSince})
	return withoutTimes(out), s.Passed(), err
}

func show(s *Source, o render.Options) (string, error) {
	var out bytes.Buffer
	err := s.Play(context.Background(), render.NewCompact(&out, o), decode.Look{Messages: true})
	return out.String(), err
}

// lasted is how long a session lasted.
var lasted = regexp.MustCompile(` (after|in) [0-9.]+ (ms|s)`)

func withoutTimes(text string) string {
	var b strings.Builder
	for line := range strings.Lines(text) {
		_, line, _ = strings.Cut(strings.TrimLeft(line, " "), " ")
		b.WriteString(lasted.ReplaceAllString(line, ""))
	}
	return b.String()
}

// chatText is what the conversation of chat renders to.
const chatText = `#1 > GET /chat HTTP/1.1  host localhost  key AQIDBAUGBwgJCgsMDQ4PEA==  version 13
#1 < 101 Switching Protocols  accept C/0nmHhBztSRGR1CwL6Tf4ZjwpY= ok
#1 > text  10000001     30 37-FA-21-3D '{"type":"hello","name":"John"}'
#1 < text  10000001     12             "John joined."
#1 < ping  10001001     13             "are you there"
#1 > pong  10001010     13 37-FA-21-3E "are you there"
#1 < bin   10000010   5000             "wonderful wonderful wonderful wonderful wonderful wonderful "…
#1 > text  10000001   3000 37-FA-21-3F "wonderful wonderful wonderful wonderful wonderful wonderful "…
#1 < text  10000001     10             "last words"
#1 > close 10001000      5 37-FA-21-40 1000 "bye"
#1 < close 10001000      5             1000 "bye"
#1 = closed 1000 by client: 4 frames, 3.1 kB >; 5 frames, 5.1 kB <
`
