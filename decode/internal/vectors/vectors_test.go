package vectors

import (
	"bytes"
	"reflect"
	"strings"
	"testing"
)

func TestParse(t *testing.T) {
	vs, err := Parse(`# comment
vector  a masked frame
ref     RFC 6455 §5.7
ext     permessage-deflate
> c1 82 01 02 03 04
> 69 6b
< ff*2
frame   > text 11000001 2 01-02-03-04 "hi"
junk    < ff ff
rule    > frame-rsv-set
near    frame-client-unmasked

vector  accept
ref     RFC 6455 §1.3
key     K
accept  A
wrong   W
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Vector{{
		Name: "a masked frame", Ref: "RFC 6455 §5.7", Ext: "permessage-deflate",
		Steps: []Step{
			{Side: Client, Bytes: []byte{0xc1, 0x82, 1, 2, 3, 4}},
			{Side: Client, Bytes: []byte{0x69, 0x6b}},
			{Side: Server, Bytes: []byte{0xff, 0xff}},
		},
		Frames: []Frame{{Client, "text", 0xc1, 2, true, [4]byte{1, 2, 3, 4}, []byte("hi")}},
		Junk:   [2][]byte{Server: {0xff, 0xff}},
		Rules:  []Rule{{Client, "frame-rsv-set"}},
		Near:   []string{"frame-client-unmasked"},
	}, {
		Name: "accept", Ref: "RFC 6455 §1.3", Key: "K", Accept: "A", Wrong: "W",
	}}
	if !reflect.DeepEqual(vs, want) {
		t.Errorf("got %+v, want %+v", vs, want)
	}
}

func TestParseHeads(t *testing.T) {
	vs, err := Parse(`vector heads
ref here
request  POST http://a/ HTTP/1.0
request  -Sec-WebSocket-Key
request  Upgrade: h2c
request  +X:
response -Upgrade
< 81 00
`)
	if err != nil {
		t.Fatal(err)
	}
	want := []Step{
		{Side: Client, Bytes: []byte("POST http://a/ HTTP/1.0\r\nHost: server.example.com\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nOrigin: http://server.example.com\r\nX:\r\n\r\n")},
		{Side: Server, Bytes: []byte("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: MI1lMsmrUIbQWSgqGnAZfQ/D3u4=\r\n\r\n")},
		{Side: Server, Bytes: []byte{0x81, 0}},
	}
	if !vs[0].Heads || !reflect.DeepEqual(vs[0].Steps, want) {
		t.Errorf("got heads %t and steps %q, want %q", vs[0].Heads, vs[0].Steps, want)
	}
}

func TestParseMistakes(t *testing.T) {
	const begin = "vector x\nref y\n> 00\n"
	for text, want := range map[string]string{
		"> 00":                              "line 1: \">\" is outside of a vector",
		"vector x\n> 00":                    "at the end: vector \"x\" lacks a name or a ref",
		"vector x\nref y":                   "at the end: vector \"x\" is empty",
		begin + "bytes 00":                  "line 4: unknown keyword \"bytes\"",
		begin + "> 0":                       "line 4: hex \"0\"",
		begin + "< \"a":                     "line 4: string \"a",
		begin + "< 00*x":                    "line 4: repeat count \"x\"",
		begin + "rule frame-rsv-set":        "line 4: \"frame-rsv-set\" does not begin with > or <",
		begin + "frame > text 2 5 -":        "line 4: frame flags",
		begin + "frame > text 10000001 x -": "line 4: frame length",
		begin + "frame > text 10000001 5 1": "line 4: masking key \"1\"",
		begin + "request -Nothing":          "at the end: vector \"x\": no line \"Nothing\" to edit",
	} {
		if _, err := Parse(text); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got error %v, want %s…", text, err, want)
		}
	}
}

func TestBytes(t *testing.T) {
	got, err := Bytes(`81 05 "He\xff"*2 0102*2 00*0 7f`)
	want := []byte("\x81\x05He\xffHe\xff\x01\x02\x01\x02\x7f")
	if err != nil || !bytes.Equal(got, want) {
		t.Errorf("got %x, %v, want %x", got, err, want)
	}
}
