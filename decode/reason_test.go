package decode

import (
	"bytes"
	"compress/flate"
	"compress/gzip"
	"compress/zlib"
	"io"
	"strings"
	"testing"
	"time"
)

// A deflater makes the compressed messages of one direction.
type deflater struct {
	w *flate.Writer
	b bytes.Buffer
}

func (d *deflater) message(text string) string {
	if d.w == nil {
		d.w, _ = flate.NewWriter(&d.b, flate.BestCompression)
	}
	d.b.Reset()
	io.WriteString(d.w, text)
	d.w.Flush()
	return strings.TrimSuffix(d.b.String(), "\x00\x00\xff\xff")
}

// written returns what a compressor made by open writes of a text.
func written[W io.WriteCloser](open func(io.Writer) W, text string) string {
	var b bytes.Buffer
	w := open(&b)
	io.WriteString(w, text)
	w.Close()
	return b.String()
}

// TestReasons checks that what can't be read is explained where the bytes tell why.
func TestReasons(t *testing.T) {
	const price = `{"event":"price","symbol":"ACME","bid":101.25,"ask":101.5}`
	const none = ""
	packed := func(texts ...string) string { // the last of them
		var d deflater
		var last string
		for _, text := range texts {
			last = d.message(text)
		}
		return last
	}
	frame := func(head byte, payload string) string { return string([]byte{head, byte(len(payload))}) + payload }
	const text, textRSV1 = 0x81, 0xc1
	// How a sender fares whose window has what it sends uncompressed.
	var drift deflater
	first := frame(textRSV1, drift.message(price)) + frame(text, `{"id":"q9ZkK2Lw7"}`)
	drift.message(`{"id":"q9ZkK2Lw7"}`)
	drifting := first + frame(textRSV1, drift.message(`["q9ZkK2Lw7"]`))
	const list = `{"list":["alpha beta","gamma delta","epsilon zeta","eta theta","iota kappa"]}`
	var garbling deflater
	garbled := frame(textRSV1, garbling.message(list)) + frame(text, `{"id":1234567}`)
	garbling.message(`{"id":1234567}`)
	garbled += frame(textRSV1, garbling.message(`["epsilon zeta","gamma delta"]`))
	var fair deflater
	mixed := frame(textRSV1, fair.message(price)) + frame(text, `{"id":"q9ZkK2Lw7"}`) + frame(textRSV1, fair.message(price))
	for _, c := range []struct {
		name, stream string
		want         string // in the text of a violation; "" if there is to be none
	}{
		{"plain text", frame(textRSV1, price), "it is plain text under RSV1"},
		{"no RSV1", frame(text, packed(price)), "it is DEFLATE, a compressed message without RSV1"},
		{"no RSV1 but for the first", frame(textRSV1, packed(price)) + frame(text, packed(price, price+"?")), "it is DEFLATE, a compressed message without RSV1"},
		{"zlib", frame(textRSV1, written(func(w io.Writer) *zlib.Writer { return zlib.NewWriter(w) }, price)), "it begins with a header of zlib, 78 9c"},
		{"gzip", frame(textRSV1, written(func(w io.Writer) *gzip.Writer { return gzip.NewWriter(w) }, price)), "it begins with a header of gzip, 1f 8b"},
		{"gzip as text", frame(text, written(func(w io.Writer) *gzip.Writer { return gzip.NewWriter(w) }, price)), "it is compressed with gzip, and not text"},
		{"cut off", frame(textRSV1, packed(price)[:30]), "cut off inside a block"},
		{"drift", drifting, "with the messages that came uncompressed in the window"},
		{"drift to other text", garbled, "message 2 is no JSON, and it is with the messages that came uncompressed"},
		{"other bytes", frame(textRSV1, "\xff\xfe\xfd\xfc\xfb"), "block type 3, which is not defined;"},
		{"other text", frame(text, "\xff\xfe\xfd\xfc\xfb"), "(byte 0 of its frame)"},
		{"right", mixed, none},
	} {
		for _, masked := range []bool{false, true} {
			d, stream := FromServer, c.stream
			if masked {
				d, stream = FromClient, maskedStream(stream)
			}
			var got []string
			s := &Session{Look: Look{Messages: true}}
			s.Sink = SinkFunc(func(ev *Event) {
				for _, v := range ev.Violations {
					got = append(got, v.Text)
				}
			})
			s.Open(Info{Time: time.Now(), Ext: "permessage-deflate"})
			s.Upgraded()
			s.Data(d, time.Now(), []byte(stream))
			if c.want == none && len(got) == 0 {
				continue
			}
			if all := strings.Join(got, "\n"); c.want == none || !strings.Contains(all, c.want) {
				t.Errorf("%s, masked %t: got %q, want %q", c.name, masked, all, c.want)
			}
		}
	}
}

// maskedStream returns frames of less than 126 bytes with a masking key.
func maskedStream(stream string) string {
	var b []byte
	for stream != "" {
		n := int(stream[1])
		key := [4]byte{1, 2, 3, byte(len(stream))}
		b = append(append(b, stream[0], 0x80|stream[1]), key[:]...)
		for i := range n {
			b = append(b, stream[2+i]^key[i%4])
		}
		stream = stream[2+n:]
	}
	return string(b)
}

// A message that is inflated to other JSON than was meant is told of too.
func TestDriftedJSON(t *testing.T) {
	var a assembly
	a.deflate = &Deflate{On: true}
	if a.drifted(&Frame{}) {
		t.Error("a session without an uncompressed message has drifted")
	}
	x := mixture{}
	x.add(&Message{Data: []byte("a"), Compressed: true}, nil)
	if x.window != nil {
		t.Error("a window is kept without need")
	}
	x.add(&Message{Data: []byte("b")}, nil)
	x.add(&Message{Data: bytes.Repeat([]byte("c"), 3*maxReason)}, nil)
	if len(x.window) != maxReason {
		t.Errorf("got %d bytes of window, want %d", len(x.window), maxReason)
	}
	x.add(&Message{Cut: true}, nil)
	if x.add(&Message{Data: []byte("d")}, nil); x.window != nil || !x.gone {
		t.Errorf("got %+v after a message that is not known", x)
	}
}
