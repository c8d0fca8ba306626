package pcap

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/render"
)

// check checks what a capture renders to.
func check(t *testing.T, packets []captured, want string, passed ...Passed) {
	t.Helper()
	got, gone, err := play(t, file{link: linkEthernet}.write(packets), nil)
	if err != nil {
		t.Error(err)
	}
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if !slices.Equal(gone, passed) {
		t.Errorf("passed over %v, want %v", gone, passed)
	}
}

func TestFormats(t *testing.T) {
	four := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	four.chat()
	six := newTalk(t, "[2001:db8::1]:40000", "[2001:db8::2]:8080")
	six.chat()
	for i := range 1 << 4 {
		f := file{big: i&1 != 0, nano: i&2 != 0, ng: i&4 != 0, link: linkEthernet, split: i&8 != 0}
		for _, link := range []uint32{linkEthernet, linkLinux, linkLinux2, linkNull, linkLoop, linkRaw, linkIPv4} {
			f.link = link
			if got, _, err := play(t, f.write(four.packets), nil); got != chatText || err != nil {
				t.Errorf("%+v: got %v\n%s", f, err, got)
			}
			if link == linkIPv4 {
				f.link = linkIPv6
			}
			if got, _, err := play(t, f.write(six.packets), nil); got != chatText || err != nil {
				t.Errorf("%+v, IPv6: got %v\n%s", f, err, got)
			}
		}
		f.link = linkEthernet
		for f.tags = range 4 {
			if got, _, err := play(t, f.write(four.packets), nil); got != chatText || err != nil {
				t.Errorf("%+v: got %v\n%s", f, err, got)
			}
		}
	}
}

func TestSession(t *testing.T) {
	k := newTalk(t, "10.0.0.1:40000", "10.0.0.2:8080")
	k.chat()
	for _, f := range []file{{}, {nano: true}, {ng: true}, {ng: true, nano: true}} {
		f.link = linkEthernet
		f.names = map[netip.Addr]string{netip.MustParseAddr("10.0.0.2"): "chat.example"}
		server := "10.0.0.2:8080"
		if f.ng {
			server = "chat.example:8080"
		}
		b := f.write(k.packets)
		offset := int64(bytes.Index(b, []byte("GET /chat")))
		s := &Source{R: bytes.NewReader(b), After: 7}
		var opened, asked, closed *decode.Event
		err := s.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
			switch ev.Kind {
			case decode.KindOpen:
				opened = ev.Clone()
			case decode.KindRequest:
				asked = ev.Clone()
			case decode.KindClosed:
				closed = ev.Clone()
			}
		}), decode.Look{})
		if err != nil || opened == nil || asked == nil || closed == nil {
			t.Fatal(err, opened, asked, closed)
		}
		want := decode.Info{Conn: 8, Time: opened.Info.Time, Client: "10.0.0.1:40000", Server: server, URL: "ws://localhost/chat", Via: "pcap"}
		if *opened.Info != want || s.Last() != 8 {
			t.Errorf("got %+v, last %d, want %+v", *opened.Info, s.Last(), want)
		}
		if at := began.Add(4 * time.Millisecond); !asked.Time.Equal(at) || asked.Start.Sub(began) != time.Millisecond {
			t.Errorf("%+v: got time %v, start %v, want %v", f, asked.Time, asked.Start, at)
		}
		if d := offset - asked.Offset; d < 14+20+20 || d > 14+20+20+28 {
			t.Errorf("got offset %d, want that of the packet, whose payload is at %d", asked.Offset, offset)
		}
		if closed.Totals.How != decode.EndFIN {
			t.Errorf("got %v", closed.Totals.How)
		}
	}
}

// TestDisorder plays captures whose packets come twice, late, or in other sizes.
func TestDisorder(t *testing.T) {
	for seed := range uint64(200) {
		rnd := rand.New(rand.NewPCG(seed, 1))
		k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
		k.mss = 1 + rnd.IntN(1460)
		k.chat()
		packets := slices.Clone(k.packets)
		for range rnd.IntN(20) { // twice
			i := 3 + rnd.IntN(len(packets)-6)
			packets = slices.Insert(packets, i+rnd.IntN(len(packets)-2-i), packets[i])
		}
		if seed%2 == 0 { // late: within what one side says at once, no order is lost
			for i := 3; i+1 < len(packets)-3; i++ {
				a, b := packets[i].ip, packets[i+1].ip
				if rnd.IntN(3) == 0 && bytes.Equal(a[12:16], b[12:16]) && bytes.Equal(a[20:22], b[20:22]) {
					packets[i], packets[i+1] = packets[i+1], packets[i]
				}
			}
		}
		check(t, packets, chatText)
		if t.Failed() {
			t.Fatal("seed", seed)
		}
	}
}

// TestOverlap sends parts again, in other sizes and with other bytes: those that came
// first win.
func TestOverlap(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.handshake()
	k.say(decode.FromClient, upgradeRequest)
	k.say(decode.FromServer, upgradeResponse)
	seq := k.seq[decode.FromServer]
	all := frame(decode.FromServer, text, "0123456789") + frame(decode.FromServer, text, "abcdefghij")
	put := func(from, to int, b string) {
		k.time = k.time.Add(time.Millisecond)
		k.packets = append(k.packets, captured{time: k.time, ip: k.ip(decode.FromServer, seq+uint32(from), "A", []byte(b[from:to]))})
	}
	other := strings.Repeat("x", len(all))
	put(10, 14, all)
	put(8, 16, other[:8]+all[8:10]+other[10:14]+all[14:16]+other[16:])
	put(18, 24, all)
	put(0, 12, all[:8]+other[8:])
	put(2, 20, other[:16]+all[16:18]+other[18:])
	check(t, k.packets, chatTextTo(2)+`#1 < text  10000001     10             "0123456789"
#1 < text  10000001     10             "abcdefghij"
`)
}

// chatTextTo returns the first n lines of chatText.
func chatTextTo(n int) string {
	return strings.Join(strings.SplitAfter(chatText, "\n")[:n], "")
}

// TestLoss drops packets, one at a time.
func TestLoss(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	for i, p := range k.packets {
		got, _, err := play(t, file{link: linkEthernet}.write(slices.Delete(slices.Clone(k.packets), i, i+1)), nil)
		if err != nil {
			t.Errorf("without packet %d: %v", i, err)
		}
		payload := len(p.ip) - 40
		switch {
		case payload == 0 && p.ip[33]&3 == 0: // only a confirmation
			if got != chatText {
				t.Errorf("without packet %d: got\n%s", i, got)
			}
		case payload == 0: // a SYN or FIN
			if lines := strings.Count(got, "\n"); lines < 11 || strings.Contains(got, "gap") {
				t.Errorf("without packet %d: got\n%s", i, got)
			}
		default:
			if !strings.Contains(got, fmt.Sprintf("gap %d bytes: not recorded", payload)) && i > 3 {
				t.Errorf("without packet %d, of %d bytes: got\n%s", i, payload, got)
			}
			ends := strings.Count(got, "close 1000100") // both, unless the packet has one
			if strings.Contains(got, `"last words"`) == (i == 22) || ends != 2 && i < 24 || strings.Contains(got, "!") {
				t.Errorf("without packet %d: got\n%s", i, got)
			}
		}
	}
}

// TestSnapLength cuts packets.
func TestSnapLength(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	for i := range k.packets {
		if p := &k.packets[i]; len(p.ip) == 1500 {
			p.cut = 1000
		}
	}
	src := &Source{R: bytes.NewReader(file{link: linkEthernet}.write(k.packets))}
	got, err := show(src, render.Options{Preview: 60})
	if n, at := src.Cut(); n != 5 || at != 514 {
		t.Errorf("%d packets were cut off at %d bytes, want 5 at 514", n, at)
	}
	if err != nil || strings.Count(got, "gap 1000 bytes: not recorded") != 5 || !strings.Contains(got, `"last words"`) || !strings.Contains(got, "closed 1000") {
		t.Errorf("got %v\n%s", err, got)
	}
}

// TestMiddle plays the end of a conversation.
func TestMiddle(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	for i := range k.packets {
		got, passed, err := play(t, file{link: linkEthernet}.write(k.packets[i:]), nil)
		if err != nil || len(passed) > 1 {
			t.Errorf("from packet %d: %v, %v", i, err, passed)
		}
		switch {
		case i <= 3 && got != chatText:
			t.Errorf("from packet %d: got\n%s", i, got)
		case i <= 15 && !strings.Contains(got, `< text  10000001     10             "last words"`):
			t.Errorf("from packet %d: got\n%s", i, got)
		}
		if strings.Contains(got, "violation") {
			t.Errorf("from packet %d: got\n%s", i, got)
		}
	}
}

func TestPortUsedAgain(t *testing.T) {
	a := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	a.chat()
	b := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	b.seq = [2]uint32{5, 6}
	b.chat()
	check(t, append(a.packets, b.packets...), chatText+strings.ReplaceAll(chatText, "#1 ", "#2 "))

	a.packets = a.packets[:len(a.packets)-5] // it does not end
	got, _, _ := play(t, file{link: linkEthernet}.write(append(a.packets, b.packets...)), nil)
	if !strings.HasSuffix(got, strings.ReplaceAll(chatText, "#1 ", "#2 ")) {
		t.Errorf("got\n%s", got)
	}
}

func TestSeveral(t *testing.T) {
	var talks []*convo
	for i := range 20 {
		k := newTalk(t, fmt.Sprintf("127.0.0.1:%d", 40000+i), "127.0.0.1:8080")
		k.chat()
		talks = append(talks, k)
	}
	var packets []captured
	for i := range talks[0].packets {
		for _, k := range talks {
			packets = append(packets, k.packets[i])
		}
	}
	got, _, err := play(t, file{link: linkRaw, ng: true}.write(packets), nil)
	if err != nil {
		t.Error(err)
	}
	for i := range talks {
		var one strings.Builder
		prefix := fmt.Sprintf("#%d ", i+1)
		for line := range strings.Lines(got) {
			if rest, ok := strings.CutPrefix(line, prefix); ok {
				one.WriteString("#1 " + rest)
			}
		}
		if one.String() != chatText {
			t.Errorf("session %d: got\n%s", i+1, one.String())
		}
	}
}

func TestEnds(t *testing.T) {
	start := func() *convo {
		k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
		masks = 0
		k.handshake()
		k.say(decode.FromClient, upgradeRequest)
		k.say(decode.FromServer, upgradeResponse)
		k.say(decode.FromServer, frame(decode.FromServer, text, "one"))
		return k
	}
	const said = "#1 < text  10000001      3             \"one\"\n"
	for _, c := range []struct {
		name string
		end  func(*convo)
		want string
	}{
		{"client resets", func(k *convo) { k.packet(decode.FromClient, "R", nil) }, "#1 = closed 1006 by client (reset): 0 frames, 0 B >; 1 frame, 5 B <; 1 violation"},
		{"server resets", func(k *convo) { k.packet(decode.FromServer, "RA", nil) }, "#1 = closed 1006 by server (reset): 0 frames, 0 B >; 1 frame, 5 B <; 1 violation"},
		{"an old reset", func(k *convo) {
			k.packets = append(k.packets, captured{time: k.time, ip: k.ip(decode.FromServer, k.seq[decode.FromServer]-100, "R", nil)})
			k.packet(decode.FromServer, "RA", nil)
		}, "#1 = closed 1006 by server (reset): 0 frames, 0 B >; 1 frame, 5 B <; 1 violation"},
		{"keep-alive", func(k *convo) {
			for _, b := range []string{"", "x"} {
				k.packets = append(k.packets, captured{time: k.time, ip: k.ip(decode.FromServer, k.seq[decode.FromServer]-1, "A", []byte(b))})
			}
			k.packet(decode.FromClient, "R", nil)
		}, "#1 = closed 1006 by client (reset): 0 frames, 0 B >; 1 frame, 5 B <; 1 violation"},
		{"open", func(*convo) {}, ""},
		{"open, inside of a frame", func(k *convo) { k.say(decode.FromServer, frame(decode.FromServer, text, "half of it")[:7]) },
			"#1 < text  10000001     10             \"half \"… 5 bytes so far"},
	} {
		k := start()
		c.end(k)
		got, _, err := play(t, file{link: linkEthernet}.write(k.packets), nil)
		got = strings.TrimSuffix(strings.TrimPrefix(got, chatTextTo(2)+said), "\n")
		got = got[strings.LastIndexByte(got, '\n')+1:]
		if err != nil || got != c.want {
			t.Errorf("%s: got %v\n%s\nwant\n%s", c.name, err, got, c.want)
		}
	}
}

func TestHTTP(t *testing.T) {
	c, s := decode.FromClient, decode.FromServer
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.handshake()
	k.say(c, "GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\nPOST /c HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhe")
	k.say(s, "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n")
	k.say(c, "llo")
	k.say(s, "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	k.say(c, "GET /d HTTP/1.0\r\n\r\n")
	k.say(s, "HTTP/1.0 200 OK\r\n\r\nuntil the end")
	k.fin()
	check(t, k.packets, `#1 = GET http://a/a 200 OK  13 B
#2 = GET http://a/b 204 No Content  0 B
#3 = POST http://a/c 200 OK  2 B
#4 = GET http://127.0.0.1:8080/d 200 OK  13 B
`)
}

func TestTunnel(t *testing.T) {
	c, s := decode.FromClient, decode.FromServer
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:3128")
	k.handshake()
	k.say(c, "CONNECT example.com:80 HTTP/1.1\r\nHost: example.com:80\r\n\r\n")
	k.say(s, "HTTP/1.1 200 Connection established\r\n\r\n")
	k.say(c, "GET /a HTTP/1.1\r\nHost: example.com\r\n\r\n")
	k.say(s, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
	k.fin()
	check(t, k.packets, "#1 = CONNECT example.com:80 200 Connection established  0 B\n#2 = GET http://example.com/a 200 OK  2 B\n")
}

func TestPassed(t *testing.T) {
	c, s := decode.FromClient, decode.FromServer
	var packets []captured
	for i, lines := range [][]string{
		{"", "220 mail.example ESMTP\r\n"},
		{"\x10\x0c\x00\x04MQTT\x04\x02\x00\x3c"},
		{"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"},
		{"SSH-2.0-OpenSSH_9\r\n", "SSH-2.0-OpenSSH_9\r\n"},
		{"*1\r\n$4\r\nPING\r\n", "+PONG\r\n"},
		{"USER anonymous\r\n"},
	} {
		k := newTalk(t, fmt.Sprintf("127.0.0.1:%d", 41000+i), "127.0.0.1:8080")
		k.handshake()
		for j, line := range lines {
			k.say([...]decode.Dir{c, s}[j%2], line)
		}
		k.fin()
		packets = append(packets, k.packets...)
	}
	k := newTalk(t, "127.0.0.1:42000", "127.0.0.1:8080") // nothing is said
	k.handshake()
	k.fin()
	check(t, append(packets, k.packets...), "", Passed{What: PassedOther, N: 5}, Passed{What: PassedHTTP2, N: 1})
}

// TestNoise plays conversations without a beginning that are no WebSocket: none may be
// taken for one.
func TestNoise(t *testing.T) {
	rnd := rand.New(rand.NewPCG(1, 2))
	records := [][]byte{
		{0, 0, 0, 0, 0, 0, 0, 0}, {1, 0, 0, 1, 0, 0}, {0x81, 0, 0x81, 0, 0x81, 0}, {2, 1, 5, 2, 1, 3}, {0x82, 1, 0x82, 1},
		{0x17, 3, 3, 0, 5, 1, 2, 3, 4, 5}, {0, 0, 0, 4, 1, 2, 3, 4}, {0x89, 0, 0x89, 1}, []byte("* OK hello\r\n"), {0xc1, 0, 0xc1, 0},
	}
	for n := range 2000 {
		k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
		for range 50 {
			b := records[n%len(records)]
			if n >= 2*len(records) {
				b = make([]byte, 1+rnd.IntN(40))
				for i := range b {
					b[i] = byte(rnd.Uint32())
				}
				if n%2 == 0 { // like frames, at first sight
					b[0] = []byte{0x81, 0x82, 1, 2, 0x88, 0x89}[rnd.IntN(6)]
				}
			}
			k.say(decode.Dir(rnd.IntN(2)), string(b))
		}
		if got, _, _ := play(t, file{link: linkRaw}.write(k.packets), nil); got != "" {
			t.Fatalf("case %d: got\n%s", n, got)
		}
	}
}

// TestDamaged cuts files off everywhere, and changes bytes.
func TestDamaged(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	for _, f := range []file{{link: linkEthernet}, {link: linkRaw, ng: true}} {
		b := f.write(k.packets)
		whole, _ := show(&Source{R: bytes.NewReader(b)}, render.Options{Preview: 60})
		for n := range b {
			s := &Source{R: bytes.NewReader(b[:n])}
			got, err := show(s, render.Options{Preview: 60})
			var at *decode.SourceError
			switch {
			case err == nil:
			case !errors.As(err, &at) || at.Offset > int64(n):
				t.Fatalf("at %d: %v", n, err)
			case n >= 32 && !errors.Is(err, decode.ErrCut):
				t.Fatalf("at %d: %v", n, err)
			}
			if n%50 == 0 && !strings.HasPrefix(whole, got[:strings.LastIndexByte(got[:max(len(got)-1, 0)], '\n')+1]) {
				t.Fatalf("at %d: got\n%s", n, got)
			}
		}
		rnd := rand.New(rand.NewPCG(1, 2))
		for range 2000 {
			c := bytes.Clone(b)
			for range 1 + rnd.IntN(5) {
				c[rnd.IntN(len(c))] = byte(rnd.Uint32())
			}
			var bad []error
			s := &Source{R: bytes.NewReader(c)}
			if rnd.IntN(2) == 0 {
				s.Bad = func(err error) { bad = append(bad, err) }
			}
			if _, err := show(s, render.Options{}); err != nil {
				bad = append(bad, err)
			}
			for _, err := range bad {
				var at *decode.SourceError
				if !errors.As(err, &at) {
					t.Fatal(err)
				}
			}
		}
	}
}

func TestErrors(t *testing.T) {
	ng := file{link: linkEthernet, ng: true}.write(nil)
	le := func(b []byte, at int, v uint32) []byte {
		b = bytes.Clone(b)
		for i := range 4 {
			b[at+i] = byte(v >> (8 * i))
		}
		return b
	}
	old := file{link: linkEthernet}.write([]captured{{time: began, ip: make([]byte, 40)}})
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"nothing", nil, "byte 0: neither pcap nor pcapng"},
		{"text", []byte("this is no capture at all"), "byte 0: neither pcap nor pcapng"},
		{"long packet", le(old, 24+8, 1<<30), "byte 24: a packet of 1073741824 bytes, longer than 16777216"},
		{"short block", le(ng, 48, 8), "byte 44: a block has a length of 8 bytes"},
		{"another length", le(ng, len(ng)-4, 4), fmt.Sprintf("byte %d: a block has a length of 24 bytes at its beginning and 4 at its end", len(ng)-24)},
		{"no interface", append(bytes.Clone(ng), file{link: 1, ng: true}.write([]captured{{time: began, ip: make([]byte, 40)}})[len(ng):]...), ""},
	} {
		_, _, err := play(t, c.b, nil)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != c.want {
			t.Errorf("%s: got %q, want %q", c.name, got, c.want)
		}
	}
}

// TestFlat plays hostile conversations: what is kept of them has a limit.
func TestFlat(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.handshake()
	k.seq[decode.FromClient]++ // a byte is missing
	for range 3000 {
		k.packet(decode.FromClient, "", []byte(words(1460)))
		k.seq[decode.FromClient]++
	}
	p := newPlayer()
	most := 0
	for _, c := range k.packets {
		p.packet(&packet{link: linkRaw, data: c.ip, time: c.time})
		most = max(most, p.cost)
		for _, f := range p.flows {
			if n := f.halves[0].cost + f.halves[1].cost + len(f.stream.guesses[0].buf) + len(f.stream.guesses[1].buf); n != p.cost {
				t.Fatalf("counted %d, is %d", p.cost, n)
			}
		}
	}
	if most > maxPending+maxGuess || most < maxPending/2 {
		t.Errorf("up to %d bytes are kept", most)
	}
	p.finish()
	if p.cost != 0 || len(p.flows) != 0 {
		t.Errorf("%d bytes are kept at the end", p.cost)
	}
}

func TestCancel(t *testing.T) {
	k := newTalk(t, "127.0.0.1:40000", "127.0.0.1:8080")
	k.chat()
	ctx, cancel := context.WithCancelCause(context.Background())
	why := errors.New("enough")
	s := &Source{R: bytes.NewReader(file{link: linkEthernet}.write(k.packets))}
	err := s.Play(ctx, decode.SinkFunc(func(*decode.Event) { cancel(why) }), decode.Look{})
	if err != why {
		t.Errorf("got %v", err)
	}
}
