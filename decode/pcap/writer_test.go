package pcap

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/trace"
)

// A written packet is one that was read back.
type writtenPacket struct {
	leg      uint32
	time     uint64
	from, to netip.AddrPort
	flags    byte
	seq, ack uint32
	way      uint32
	data     []byte
	lost     int
	comments []string
}

func (p *writtenPacket) String() string {
	var names []string
	for i, name := range []string{"fin", "syn", "rst", "psh", "ack"} {
		if p.flags>>i&1 != 0 {
			names = append(names, name)
		}
	}
	s := fmt.Sprintf("%d %v > %v %s", p.leg, p.from, p.to, strings.Join(names, ","))
	if len(p.data) > 0 {
		s += fmt.Sprintf(" %q", p.data)
	}
	if p.lost > 0 {
		s += fmt.Sprintf(" %d lost", p.lost)
	}
	if len(p.comments) > 0 {
		s += " # " + strings.Join(p.comments, " # ")
	}
	return s
}

// readBack checks every block of a capture, and returns its packets, names and how many
// blocks of statistics it has.
func readBack(b []byte) (packets []writtenPacket, names map[netip.Addr]string, statistics int, err error) {
	names = map[netip.Addr]string{}
	last := map[flowKey]uint64{}
	for at, n := 0, 0; at < len(b); n++ {
		if len(b)-at < 12 {
			return packets, names, statistics, io.ErrUnexpectedEOF
		}
		kind, size := binary.LittleEndian.Uint32(b[at:]), int(binary.LittleEndian.Uint32(b[at+4:]))
		if size > len(b)-at {
			return packets, names, statistics, io.ErrUnexpectedEOF
		}
		if size < 12 || size%4 != 0 || int(binary.LittleEndian.Uint32(b[at+size-4:])) != size {
			return nil, nil, 0, fmt.Errorf("block %d, at %d, has %d bytes, or not", n, at, size)
		}
		body := b[at+8 : at+size-4]
		at += size
		switch {
		case n == 0 && kind == typeSection, n <= legs && kind == typeInterface:
		case kind == typeStatistics && len(body) == 12+12+4:
			statistics++
		case kind == typeNames:
			n := binary.LittleEndian.Uint16(body[2:])
			v := body[4 : 4+n]
			addr, _ := netip.AddrFromSlice(v[:map[byte]int{1: 4, 2: 16}[body[0]]])
			name, _, _ := bytes.Cut(v[addr.BitLen()/8:], []byte{0})
			names[addr] = string(name)
		case kind == typePacket:
			p, err := parsePacket(body)
			key, _ := keyOf(&segment{src: p.from, dst: p.to})
			if err == nil && p.time < last[key] {
				err = errors.New("times run backwards")
			}
			if err != nil {
				return nil, nil, 0, fmt.Errorf("block %d: %w", n, err)
			}
			last[key] = p.time
			packets = append(packets, p)
		default:
			return nil, nil, 0, fmt.Errorf("block %d is of type %d, with %d bytes", n, kind, len(body))
		}
	}
	return packets, names, statistics, nil
}

func parsePacket(b []byte) (p writtenPacket, err error) {
	u32 := func(at int) uint32 { return binary.LittleEndian.Uint32(b[at:]) }
	p.leg, p.time = u32(0), uint64(u32(4))<<32|uint64(u32(8))
	n := int(u32(12))
	if p.lost = int(u32(16)) - n; p.leg >= legs || p.lost < 0 || p.lost > mostLost || n > 1514 {
		return p, fmt.Errorf("interface %d, %d bytes, %d lost", p.leg, n, p.lost)
	}
	frame, options := b[20:20+n], b[20+(n+3)&^3:]
	for {
		code, n := binary.LittleEndian.Uint16(options), int(binary.LittleEndian.Uint16(options[2:]))
		v := options[4 : 4+n]
		options = options[4+(n+3)&^3:]
		switch code {
		case 0:
			if len(options) > 0 {
				return p, errors.New("something follows the options")
			}
		case optionComment:
			p.comments = append(p.comments, string(v))
		case optionFlags:
			p.way = binary.LittleEndian.Uint32(v)
		}
		if code == 0 {
			break
		}
	}
	ip := frame[14:]
	src, dst, head := ip[12:16], ip[16:20], 20
	if frame[12] == 0x86 {
		src, dst, head = ip[8:24], ip[24:40], 40
		if int(binary.BigEndian.Uint16(ip[4:])) != len(ip)+p.lost-head {
			return p, errors.New("length of IPv6")
		}
	} else if fold(sum(0, ip[:20])) != 0 || int(binary.BigEndian.Uint16(ip[2:])) != len(ip)+p.lost {
		return p, errors.New("checksum or length of IPv4")
	}
	tcp := ip[head:]
	length := len(tcp) + p.lost
	pseudo := slices.Concat(src, dst, []byte{0, 6, byte(length >> 8), byte(length)})
	if fold(sum(sum(0, pseudo), tcp)) != 0 {
		return p, errors.New("checksum of TCP")
	}
	from, _ := netip.AddrFromSlice(src)
	to, _ := netip.AddrFromSlice(dst)
	p.from = netip.AddrPortFrom(from, binary.BigEndian.Uint16(tcp))
	p.to = netip.AddrPortFrom(to, binary.BigEndian.Uint16(tcp[2:]))
	p.seq, p.ack, p.flags = binary.BigEndian.Uint32(tcp[4:]), binary.BigEndian.Uint32(tcp[8:]), tcp[13]
	p.data = tcp[tcp[12]>>4*4:]
	return p, nil
}

// A scene is a Writer with what gives it sessions.
type scene struct {
	*Writer
	file bytes.Buffer
	now  time.Time
}

func newScene() *scene {
	s := &scene{now: start}
	s.Writer = NewWriter(&s.file, Options{By: "test"})
	return s
}

func (s *scene) open(info decode.Info) *decode.Session {
	d := &decode.Session{Sink: s, Look: decode.Look{Tap: s}}
	info.Time = s.now
	d.Open(info)
	return d
}

// check compares the packets, but pure acknowledgements without a comment.
func (s *scene) check(t *testing.T, want ...string) {
	t.Helper()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	packets, _, statistics, err := readBack(s.file.Bytes())
	if err != nil || statistics != legs {
		t.Fatalf("%v, %d blocks of statistics", err, statistics)
	}
	var got []string
	for _, p := range packets {
		if p.flags != ack || len(p.data) > 0 || p.lost > 0 || len(p.comments) > 0 {
			got = append(got, p.String())
		}
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

const request = "GET / HTTP/1.1\r\nHost: h\r\n\r\n"

// TestExchanges checks that the exchanges on one connection are one conversation, and
// that other sessions have their own.
func TestExchanges(t *testing.T) {
	s := newScene()
	info := func(n int64) decode.Info {
		return decode.Info{Conn: n, Client: "10.0.0.1:50000", Server: "10.0.0.2:80", URL: "http://10.0.0.2/"}
	}
	one := s.open(info(1))
	one.Data(decode.FromClient, s.now, []byte("1"))
	one.Done(s.now)
	two := s.open(info(2))
	two.Data(decode.FromClient, s.now, []byte("2"))
	three := s.open(info(3)) // at the same time
	three.Data(decode.FromServer, s.now, []byte("3"))
	three.Done(s.now)
	two.End(decode.FromServer, s.now, decode.EndRST, "")
	two.End(decode.FromClient, s.now, decode.EndDrop, "")
	two.Done(s.now)
	four := s.open(info(4))
	four.End(decode.FromClient, s.now, decode.EndFIN, "")
	four.End(decode.FromServer, s.now, decode.EndLocal, "no answer")
	four.Done(s.now)
	s.check(t,
		`0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 1: http://10.0.0.2/`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 psh,ack "1"`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 psh,ack "2" # session 2: http://10.0.0.2/`,
		`0 10.0.0.1:49155 > 10.0.0.2:80 syn # session 3: http://10.0.0.2/`,
		`0 10.0.0.2:80 > 10.0.0.1:49155 syn,ack`,
		`0 10.0.0.2:80 > 10.0.0.1:49155 psh,ack "3"`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 rst,ack # reset by the server # what else the client sent was dropped, as the other side had gone`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 4: http://10.0.0.2/`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 fin,ack`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 fin,ack # ended by wstrace, and not by the server: no answer`)
}

// TestLegs checks that what differs on both sides of the proxy is on both, from where
// it differs on.
func TestLegs(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"})
	d.Data(decode.FromClient, s.now, []byte(request))
	h, _ := decode.ParseResponse("HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n")
	sent, _ := decode.ParseResponse("HTTP/1.1 404 Not found\r\nContent-Length: 1\r\n\r\n")
	d.Head(decode.FromServer, s.now, h, sent)
	d.Data(decode.FromServer, s.now, []byte("x"))
	d.End(decode.FromServer, s.now, decode.EndFIN, "")
	d.Done(s.now)
	s.check(t,
		`0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 1`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: h\r\n\r\n"`,
		`1 192.0.2.1:50000 > 10.0.0.2:80 syn # session 1, to the server`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 syn,ack`,
		`1 192.0.2.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: h\r\n\r\n" # up to here it was as on the leg of the client; the heads are repeated`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 psh,ack "HTTP/1.1 404 No\r\nContent-Length: 1\r\n\r\n"`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 psh,ack "HTTP/1.1 404 Not found\r\nContent-Length: 1\r\n\r\n"`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 psh,ack "x"`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 psh,ack "x"`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 fin,ack`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 fin,ack`)
}

// TestLegsAgain checks that it is said which session is next on the leg of the server.
func TestLegsAgain(t *testing.T) {
	s := newScene()
	h, _ := decode.ParseRequest(request)
	sent, _ := decode.ParseRequest("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	ok, _ := decode.ParseResponse("HTTP/1.1 204 No\r\n\r\n")
	for n := range int64(2) {
		d := s.open(decode.Info{Conn: n + 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"})
		d.Head(decode.FromClient, s.now, h, sent)
		d.Head(decode.FromServer, s.now, ok, nil)
		d.Done(s.now)
	}
	s.check(t,
		`0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 1`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`1 192.0.2.1:50000 > 10.0.0.2:80 syn # session 1, to the server`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 syn,ack`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: h\r\n\r\n"`,
		`1 192.0.2.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: x\r\n\r\n"`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 psh,ack "HTTP/1.1 204 No\r\n\r\n"`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 psh,ack "HTTP/1.1 204 No\r\n\r\n"`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: h\r\n\r\n" # session 2`,
		`1 192.0.2.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: x\r\n\r\n" # session 2, to the server`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 psh,ack "HTTP/1.1 204 No\r\n\r\n"`,
		`1 10.0.0.2:80 > 192.0.2.1:50000 psh,ack "HTTP/1.1 204 No\r\n\r\n"`)
}

// TestGone checks that a side whose bytes nobody took any more does not end before the
// one that had gone, and that no one is blamed for it who reads the capture.
func TestGone(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"})
	d.Data(decode.FromClient, s.now, []byte(request))
	d.End(decode.FromClient, s.now, decode.EndDrop, "")
	d.End(decode.FromServer, s.now, decode.EndFIN, "")
	d.Done(s.now)
	s.check(t,
		`0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 1`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 psh,ack "GET / HTTP/1.1\r\nHost: h\r\n\r\n"`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 fin,ack # what else the client sent was dropped, as the other side had gone`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 fin,ack`)
}

// TestLost checks what there is of bytes that are not known: a packet that was cut off,
// or a hole. Neither is anything wrong with TCP.
func TestLost(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"})
	d.Upgraded()
	d.Data(decode.FromServer, s.now, []byte{0x82, 126, 0xff, 0xff, 1})
	d.Gap(decode.FromServer, s.now, 0xfffe)
	d.Data(decode.FromServer, s.now, []byte{0x81, 0})
	s.check(t,
		`0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 1`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 psh,ack "\x82~\xff\xff\x01" # frames without a handshake`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 ack 32768 lost # 65534 bytes of the server are not known`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 ack 32766 lost`,
		`0 10.0.0.2:80 > 10.0.0.1:50000 psh,ack "\x81\x00"`)
	for n, row := range tshark(t, s.file.Bytes(), []string{"tcp.analysis.flags", "_ws.malformed"}, "-d", "tcp.port==80,websocket") {
		if row[0] != nil || row[1] != nil {
			t.Errorf("packet %d: tshark finds %q", n+1, row)
		}
	}
}

// TestWrap checks that the numbers of bytes begin anew after 4 GiB: in real bytes, for
// who reads the packets, and at the end of the numbers for tshark and for us.
func TestWrap(t *testing.T) {
	var last, bytes, wraps int64
	w := NewWriter(writerFunc(func(b []byte) {
		for len(b) > 0 {
			size := little.Uint32(b[4:])
			if tcp := b[28+ethernetLen+ipv4Len:]; little.Uint32(b) == typePacket && tcp[1] == 80 { // of the server
				n := int64(little.Uint32(b[20:])) - ethernetLen - ipv4Len - int64(tcp[12]>>4*4)
				seq := int64(network.Uint32(tcp[4:]))
				if n > 0 && bytes > 0 && uint32(seq) != uint32(last) {
					t.Fatalf("after %d bytes: number %d, want %d", bytes, seq, uint32(last))
				}
				if n > 0 {
					if seq+n > 1<<32 {
						wraps++
					}
					bytes, last = bytes+n, seq+n
				}
			}
			b = b[size:]
		}
	}), Options{})
	w.Emit(&decode.Event{Kind: decode.KindOpen, Conn: 1, Info: &decode.Info{Conn: 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"}})
	chunk := decode.Chunk{Conn: 1, Dir: decode.FromServer, Time: start, Data: make([]byte, 1<<20), Offset: -1}
	for bytes < 4<<30+1<<20 {
		w.Tap(chunk)
	}
	if wraps == 0 {
		t.Error("the numbers did not begin anew")
	}

	s := newScene()
	for s.begun = 0; 5000+(s.begun+1)*0x85EBCA77 < 1<<32-2000; s.begun++ {
	}
	d := s.open(decode.Info{Conn: 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80", URL: "ws://example.com/"})
	for side, head := range handshake("") {
		d.Data(decode.Dir(side), s.now, []byte(head))
	}
	for range 10 {
		d.Data(decode.FromServer, s.now, append([]byte{0x82, 126, 1, 0}, make([]byte, 256)...))
	}
	d.EndBoth(s.now, decode.EndFIN, "")
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	frames := 0
	for n, row := range tshark(t, s.file.Bytes(), []string{"tcp.analysis.flags", "websocket.opcode"}) {
		if row[0] != nil {
			t.Errorf("packet %d: tshark finds %q", n+1, row[0])
		}
		frames += len(row[1])
	}
	out, _, err := play(t, s.file.Bytes(), nil)
	if ours := strings.Count(out, "< bin "); err != nil || frames != 10 || ours != 10 {
		t.Errorf("%v, tshark finds %d frames, we find %d, want 10", err, frames, ours)
	}
}

// A writerFunc takes what is written.
type writerFunc func([]byte)

func (f writerFunc) Write(b []byte) (int, error) {
	f(b)
	return len(b), nil
}

// TestComments checks that a finding is on the packet with the end of its frame.
func TestComments(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"})
	d.Upgraded()
	long := append([]byte{0x82, 126, 2000 >> 8, 2000 & 0xff}, make([]byte, 2000)...)
	d.Data(decode.FromServer, s.now, slices.Concat([]byte("\x83\x00"), long, []byte("\x80\x00")))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	packets, _, _, err := readBack(s.file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, p := range packets {
		if len(p.data) > 0 {
			findings := slices.DeleteFunc(p.comments, func(c string) bool { return c == aboutFrames })
			got = append(got, fmt.Sprint(len(p.data), findings))
		}
	}
	want := []string{
		"1460 [finding: error in frame 0: server frame-opcode-reserved: opcode 3, which is not defined (RFC 6455 §5.2)]",
		"548 [finding: error in frame 2: server frag-orphan-continuation: continuation without a message to continue (RFC 6455 §5.4)]",
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestManyComments checks that comments are bounded, and are what a text may be.
func TestManyComments(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1, URL: "ws://\x1b[31m\xff" + strings.Repeat("x", 100_000)})
	for range 100 {
		d.Notice(s.now, "a notice")
	}
	d.Data(decode.FromClient, s.now, []byte("x"))
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	packets, _, _, err := readBack(s.file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	first := packets[0].comments[0]
	if len(first) > maxComment || !strings.HasPrefix(first, `session 1: ws://\x1b[31m\xffxxx`) {
		t.Errorf("got %d bytes: %.40q", len(first), first)
	}
	c := packets[3].comments
	if len(c) != maxNotes+1 || c[0] != "a notice" || c[maxNotes] != "and 68 more" {
		t.Errorf("got %d comments, %q", len(c), c)
	}
}

func TestAddresses(t *testing.T) {
	for _, c := range []struct {
		client, server, url string
		want                string
		names               string
	}{
		{"10.0.0.1:5000", "10.0.0.2:443", "wss://10.0.0.2/", "10.0.0.1:5000 10.0.0.2:443", ""},
		{"10.0.0.1:5000", "10.0.0.2:443", "wss://example.com/", "10.0.0.1:5000 10.0.0.2:443", "10.0.0.2 example.com"},
		{"10.0.0.1:5000", "example.com:8080", "", "10.0.0.1:5000 192.0.2.1:8080", "192.0.2.1 example.com"},
		{"[::1]:5000", "example.com:8080", "", "[::1]:5000 [2001:db8::1]:8080", "2001:db8::1 example.com"},
		{"10.0.0.1:5000", "[fd00::2]:80", "", "[2001:db8::1]:5000 [fd00::2]:80", "2001:db8::1 10.0.0.1"},
		{"[fd00::1]:5000", "10.0.0.2:80", "", "192.0.2.1:5000 10.0.0.2:80", "192.0.2.1 fd00::1"},
		{"[::ffff:10.0.0.1]:5000", "10.0.0.2:80", "", "10.0.0.1:5000 10.0.0.2:80", ""},
		{"[fe80::1%eth0]:5000", "[fe80::2]:80", "", "[fe80::1]:5000 [fe80::2]:80", ""},
		{"10.0.0.1", "10.0.0.2", "", "10.0.0.1:49159 10.0.0.2:80", ""},
		{"", "", "", "192.0.2.2:49159 192.0.2.1:80", "192.0.2.1 server, 192.0.2.2 client"},
		{"", "", "wss://user@example.com/x", "192.0.2.2:49159 192.0.2.1:443", "192.0.2.1 example.com, 192.0.2.2 client"},
		{"", "", "http://example.com:81", "192.0.2.2:49159 192.0.2.1:81", "192.0.2.1 example.com, 192.0.2.2 client"},
		{"me:0", "you:70000", "", "192.0.2.2:49159 192.0.2.1:80", "192.0.2.1 you:70000, 192.0.2.2 me"},
		{"/run/a.sock", "::1", "", "[2001:db8::1]:49159 [::1]:80", "2001:db8::1 /run/a.sock"},
	} {
		var a addresses
		var names []string
		client, server := a.of(&decode.Info{Conn: 7, Client: c.client, Server: c.server, URL: c.url}, func(addr netip.Addr, name string) {
			names = append(names, fmt.Sprint(addr, " ", name))
		})
		if got := fmt.Sprint(client, " ", server); got != c.want || strings.Join(names, ", ") != c.names {
			t.Errorf("%q, %q, %q: got %s and the names %q, want %s and %q", c.client, c.server, c.url, got, names, c.want, c.names)
		}
	}
}

// TestManyAddresses checks which addresses are made up when there are many names.
func TestManyAddresses(t *testing.T) {
	var a addresses
	seen := map[netip.Addr]bool{}
	for i := range maxHosts {
		seen[a.makeUp(fmt.Sprint(i), false, func(netip.Addr, string) {})] = true
	}
	if len(seen) != maxHosts {
		t.Errorf("%d names have %d addresses", maxHosts, len(seen))
	}
	for n, want := range map[uint32]string{1: "192.0.2.1", 254: "192.0.2.254", 255: "198.51.100.1", 762: "203.0.113.254", 763: "198.18.0.1", maxHosts: "198.18.253.6"} {
		if got := madeUpAddr(n, false).String(); got != want {
			t.Errorf("address %d is %s, want %s", n, got, want)
		}
	}
	told := 0
	for range 2 {
		a.makeUp("one more", false, func(netip.Addr, string) { told++ })
	}
	if told != 0 || len(a.madeUp) != maxHosts {
		t.Errorf("%d names are kept, and one more was told of %d times", len(a.madeUp), told)
	}
}

// TestTimes checks which times packets can have.
func TestTimes(t *testing.T) {
	for _, c := range []struct{ at, want time.Time }{
		{time.Time{}, time.Unix(0, 0)},
		{time.Time{}.Add(1500 * time.Millisecond), time.Unix(1, 500_000_000)},
		{start, start},
		{time.Date(2500, 1, 1, 0, 0, 0, 1, time.UTC), time.Date(2500, 1, 1, 0, 0, 0, 1, time.UTC)},
	} {
		w := NewWriter(io.Discard, Options{})
		w.at(c.at)
		if want := uint64(c.want.Unix())*1e9 + uint64(c.want.Nanosecond()); w.now != want {
			t.Errorf("%v: got %d, want %d", c.at, w.now, want)
		}
	}
	w := NewWriter(io.Discard, Options{})
	w.at(time.Date(9999, 1, 1, 0, 0, 0, 0, time.UTC))
	if got := time.Unix(int64(w.now/1e9), 0).UTC().Year(); got != 2554 {
		t.Errorf("9999 becomes %d", got)
	}
}

// TestTimesBackwards checks that sessions keep their times, though one that comes later
// in a recording was earlier, and that the times of a conversation never run backwards.
func TestTimesBackwards(t *testing.T) {
	s := newScene()
	w := s.Writer
	want := map[uint16]uint64{} // by the client's port
	for n, at := range []time.Duration{0, -time.Hour, time.Hour} {
		s.now = start.Add(at)
		want[uint16(n+1)] = uint64(s.now.UnixNano())
		d := s.open(decode.Info{Conn: int64(n + 1), Client: fmt.Sprintf("10.0.0.1:%d", n+1)})
		d.Data(decode.FromClient, s.now, []byte(request))
		w.Tap(decode.Chunk{Conn: int64(n + 1), Time: s.now.Add(-time.Second), Data: []byte("x"), Offset: -1})
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	packets, _, _, err := readBack(s.file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range packets {
		if want := want[min(p.from.Port(), p.to.Port())]; p.time != want {
			t.Errorf("packet %d: time %d, want %d", i+1, p.time, want)
		}
	}
}

// TestTimesInOrder checks that no time runs backwards in a capture of sessions that
// overlap, if what is recorded is in order.
func TestTimesInOrder(t *testing.T) {
	s := newScene()
	step := func() time.Time {
		s.now = s.now.Add(time.Second)
		return s.now
	}
	var all []*decode.Session
	for n := range int64(4) {
		d := s.open(decode.Info{Conn: n + 1, Client: fmt.Sprintf("10.0.0.%d:1", n+1)})
		d.Data(decode.FromClient, step(), []byte(request))
		all = append(all, d)
	}
	for range 2 {
		for _, d := range all {
			d.Data(decode.FromServer, step(), []byte("HTTP/1.1 100 Continue\r\n\r\n"))
		}
	}
	all[0].End(decode.FromServer, step(), decode.EndFIN, "")
	all[1].End(decode.FromServer, step(), decode.EndDrop, "")
	all[1].Done(step())
	all[2].Done(step())
	if s.open(decode.Info{Conn: 4}); s.Close() != nil { // numbers start over
		t.Fatal(s.Err())
	}
	packets, _, _, err := readBack(s.file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for i := range packets[1:] {
		if packets[i+1].time < packets[i].time {
			t.Errorf("packet %d comes before packet %d, by %v", i+2, i+1, time.Duration(packets[i].time-packets[i+1].time))
		}
	}
}

// TestCut checks that a capture can be read up to any place where it was cut off.
func TestCut(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1})
	d.Data(decode.FromClient, s.now, []byte(request))
	d.Done(s.now)
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	all, _, _, err := readBack(s.file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	for n := range s.file.Len() {
		packets, _, _, err := readBack(s.file.Bytes()[:n])
		if err != nil && err != io.ErrUnexpectedEOF || len(packets) > len(all) {
			t.Fatalf("cut off after %d bytes: %d packets, %v", n, len(packets), err)
		}
	}
	capture := s.file.Bytes()[:s.file.Len()-100] // in the packets' end
	rows := tsharkCut(t, capture)
	if !strings.Contains(rows, "GET") {
		t.Errorf("tshark finds %q", rows)
	}
}

// failing fails after so many writes.
type failing int

func (f *failing) Write(p []byte) (int, error) {
	if *f--; *f < 0 {
		return 0, io.ErrClosedPipe
	}
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	f := failing(2)
	w := NewWriter(&f, Options{})
	d := &decode.Session{Sink: w, Look: decode.Look{Tap: w}}
	d.Open(decode.Info{Conn: 1})
	if w.Err() != nil {
		t.Fatal(w.Err())
	}
	for range 3 {
		d.Data(decode.FromClient, start, []byte("x"))
	}
	if w.Err() != io.ErrClosedPipe || w.Close() != io.ErrClosedPipe || f != -1 {
		t.Errorf("got %v and %v, and %d writes after that", w.Err(), w.Close(), -1-f)
	}
}

// TestMessagesLeftOut checks that messages of which no frames are known are counted,
// and that such a session does not end, as it would look like one without a Close.
func TestMessagesLeftOut(t *testing.T) {
	s := newScene()
	d := s.open(decode.Info{Conn: 1, NoFrames: true, Client: "10.0.0.1:50000", Server: "10.0.0.2:80"})
	d.Message(decode.FromClient, s.now, 1, []byte("x"))
	d.End(decode.FromClient, s.now, decode.EndFIN, "")
	d.End(decode.FromServer, s.now, decode.EndRST, "")
	d.Done(s.now)
	s.check(t, `0 10.0.0.1:50000 > 10.0.0.2:80 syn # session 1`, `0 10.0.0.2:80 > 10.0.0.1:50000 syn,ack`,
		`0 10.0.0.1:50000 > 10.0.0.2:80 ack # reset by the server # not in this capture: how the connection ended, and its messages (1), as no frames of them are known`)
	if s.Messages() != 1 {
		t.Errorf("%d messages were left out, want 1", s.Messages())
	}
}

// TestManySessions checks that what a Writer keeps is bounded.
func TestManySessions(t *testing.T) {
	w := NewWriter(io.Discard, Options{})
	for i := range int64(3 * maxIdle) {
		d := &decode.Session{Sink: w, Look: decode.Look{Tap: w}}
		d.Open(decode.Info{Conn: i, Client: fmt.Sprintf("10.0.%d.%d:5000", i>>8&255, i&255), Server: "10.0.0.2:80"})
		d.Done(start)
	}
	if len(w.talks) != maxIdle || w.idle.Len() != maxIdle || len(w.sessions.Open()) > 0 {
		t.Errorf("%d conversations, %d idle, %d sessions", len(w.talks), w.idle.Len(), len(w.sessions.Open()))
	}
}

// bulk returns frames of a server in chunks, as a relay reads them.
func bulk(frame, chunk, n int) [][]byte {
	head := []byte{0x82, 126, byte(frame >> 8), byte(frame)}
	all := bytes.Repeat(append(head, make([]byte, frame)...), n)
	return slices.Collect(slices.Chunk(all, chunk))
}

// raceEnabled reports whether the race detector is built in. It makes sync.Pool drop
// what it is given now and then.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}

func TestWriterAllocatesNothing(t *testing.T) {
	for _, gated := range []bool{false, true} {
		if gated && raceEnabled() {
			continue // a buffer is from a sync.Pool
		}
		w := NewWriter(io.Discard, Options{})
		d := &decode.Session{Sink: w, Look: decode.Look{Tap: w}}
		if gated {
			d.Gate = func(*decode.Event) decode.Fate { return decode.Fate{} }
		}
		d.Open(decode.Info{Conn: 1})
		d.Upgraded()
		chunks := bulk(1000, 4096-4096%1004, 64)
		allocs := testing.AllocsPerRun(20, func() {
			for _, c := range chunks {
				d.Data(decode.FromServer, start, c)
			}
		})
		if allocs != 0 {
			t.Errorf("gate %t: got %v allocations, want none", gated, allocs)
		}
	}
}

// TestWriterTogether writes sessions that go on at the same time.
func TestWriterTogether(t *testing.T) {
	s := newScene()
	tee := &decode.Tee{Sinks: []decode.Sink{s}}
	const sessions, chunks = 8, 50
	var wg sync.WaitGroup
	for i := range int64(sessions) {
		wg.Go(func() {
			d := &decode.Session{Sink: tee, Look: decode.Look{Tap: s}}
			d.Open(decode.Info{Conn: i, Time: start})
			d.Upgraded()
			for n := range chunks {
				d.Data(decode.FromServer, start.Add(time.Duration(n)*time.Millisecond), []byte{0x82, 1, byte(i)})
			}
			d.EndBoth(start, decode.EndFIN, "")
		})
	}
	wg.Wait()
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	packets, _, _, err := readBack(s.file.Bytes())
	if err != nil {
		t.Fatal(err)
	}
	got := map[uint16][]byte{}
	for _, p := range packets {
		got[p.to.Port()] = append(got[p.to.Port()], p.data...)
	}
	for i := range int64(sessions) {
		if want := bytes.Repeat([]byte{0x82, 1, byte(i)}, chunks); !bytes.Equal(got[madeUpPort(i)], want) {
			t.Errorf("session %d: got %x", i, got[madeUpPort(i)])
		}
	}
}

// BenchmarkSession has the bytes of frames decoded, too.
func BenchmarkSession(b *testing.B) {
	for _, size := range []int{128, 4 << 10} {
		b.Run(fmt.Sprintf("%dB frames", size), func(b *testing.B) {
			w := NewWriter(io.Discard, Options{})
			d := &decode.Session{Sink: w, Look: decode.Look{Tap: w}}
			d.Open(decode.Info{Conn: 1})
			d.Upgraded()
			chunks := bulk(size, 64<<10/(size+4)*(size+4), 64<<10/(size+4))
			b.SetBytes(int64(len(chunks[0])))
			b.ReportAllocs()
			for b.Loop() {
				d.Data(decode.FromServer, start, chunks[0])
			}
		})
	}
}

func BenchmarkWriter(b *testing.B) {
	for _, size := range []int{128, 4 << 10, 32 << 10} {
		for _, leg := range []decode.Leg{decode.LegBoth, decode.LegCame} {
			name := map[decode.Leg]string{decode.LegBoth: "one leg", decode.LegCame: "two legs"}[leg]
			b.Run(fmt.Sprintf("%dB chunks, %s", size, name), func(b *testing.B) {
				w := NewWriter(io.Discard, Options{})
				d := &decode.Session{Sink: w}
				d.Open(decode.Info{Conn: 1})
				chunk := decode.Chunk{Conn: 1, Dir: decode.FromServer, Time: start, Leg: leg, Data: make([]byte, size), Offset: -1}
				sent := chunk
				sent.Leg = decode.LegSent
				b.SetBytes(int64(size))
				b.ReportAllocs()
				for b.Loop() {
					w.Tap(chunk)
					if leg == decode.LegCame {
						w.Tap(sent)
					}
				}
			})
		}
	}
}

// FuzzWriter writes captures of whatever is a trace. Each block must be whole, and the
// bytes of each direction those that the tap was given.
func FuzzWriter(f *testing.F) {
	files, _ := filepath.Glob("../../testdata/traces/*.wst")
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b)
	}
	f.Add([]byte(`{"wstrace":1}
{"k":"open","c":1,"client":"[::1]:1","server":"x"}
{"k":"frame","d":">","op":"text","text":"a","fx":"drop"}
{"k":"frame","d":"<","op":"text","text":"b"}
{"k":"gap","d":"<","n":9000000000}
{"k":"end","how":"rst"}
`))
	f.Add([]byte(`{"wstrace":1}
{"k":"open","c":1,"client":"[::1]:1","server":"[::1]:1"}
`))
	f.Fuzz(func(t *testing.T, b []byte) {
		var file bytes.Buffer
		w := NewWriter(&file, Options{})
		source := trace.Source{R: bytes.NewReader(b), Bad: func(error) {}}
		source.Play(context.Background(), w, decode.Look{Messages: true, Tap: w})
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		packets, _, _, err := readBack(file.Bytes())
		if err != nil {
			t.Fatal(err)
		}
		type end struct {
			leg      uint32
			from, to netip.AddrPort
		}
		next := map[end]uint32{}
		for i, p := range packets {
			e := end{p.leg, p.from, p.to}
			if p.flags&syn == 0 && p.seq-next[e] > 1<<30 { // it goes back
				t.Fatalf("packet %d: seq %d, want %d\n%s", i+1, p.seq, next[e], &p)
			}
			next[e] = p.seq + uint32(len(p.data)+p.lost)
			if p.flags&(syn|fin) != 0 {
				next[e]++
			}
			if peer := (end{p.leg, p.to, p.from}); p.flags&ack != 0 && p.ack-next[peer] > 1<<30 {
				t.Fatalf("packet %d: ack %d, want %d\n%s", i+1, p.ack, next[peer], &p)
			}
		}
	})
}
