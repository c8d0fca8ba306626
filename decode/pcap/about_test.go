package pcap

import (
	"bytes"
	"context"
	"reflect"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// TestAbout checks that what a Writer says of sessions is taken from its captures, and
// from no others.
func TestAbout(t *testing.T) {
	tls := &decode.TLS{Version: "TLS1.3", Cipher: "TLS_AES_128_GCM_SHA256", ALPN: "http/1.1", SNI: "chat.example"}
	head := "GET / HTTP/1.1\r\nHost: h\r\nCookie: " + strings.Repeat("c", 2*mssV4) + "\r\n\r\n"
	// All are on one conversation, one after the other.
	all := []struct {
		info    decode.Info
		frames  bool
		url     string // that is read, if not that of info
		foreign string // as read from another's capture
	}{
		{info: decode.Info{URL: "https://chat.example/a", Process: "curl, of course", PID: 7, ClientTLS: tls, ServerTLS: &decode.TLS{}}, foreign: "http://h/"},
		{info: decode.Info{URL: "https://chat.example/a,"}, foreign: "http://h/"},
		{info: decode.Info{URL: `https://chat.example/\x00`}, url: "http://h/", foreign: "http://h/"},
		{info: decode.Info{URL: "https://" + strings.Repeat("x", maxComment)}, url: "http://h/", foreign: "http://h/"},
		{info: decode.Info{}, url: "http://h/", foreign: "http://h/"},
		{info: decode.Info{URL: "wss://chat.example/b", ServerTLS: tls, Ext: "permessage-deflate; client_max_window_bits=9", Cont: true}, frames: true},
	}
	s := newScene()
	for i, c := range all {
		info := c.info
		info.Conn, info.Client, info.Server = int64(i+1), "10.0.0.1:50000", "10.0.0.2:80"
		d := s.open(info)
		if c.frames {
			d.Upgraded()
			d.Data(decode.FromServer, s.now, []byte("\x81\x01x"))
			d.Data(decode.FromClient, s.now, []byte("\x81\x81\x01\x02\x03\x04y"))
			continue
		}
		d.Data(decode.FromClient, s.now, []byte(head))
		d.Data(decode.FromServer, s.now, []byte("HTTP/1.1 204 No Content\r\n\r\n"))
		d.Done(s.now)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	read := func(b []byte) (infos []decode.Info, frames int) {
		sink := decode.SinkFunc(func(ev *decode.Event) {
			switch ev.Kind {
			case decode.KindOpen:
				infos = append(infos, *ev.Info)
			case decode.KindFrame:
				frames++
			}
		})
		if err := (&Source{R: bytes.NewReader(b)}).Play(context.Background(), sink, decode.Look{}); err != nil {
			t.Fatal(err)
		}
		return infos, frames
	}
	got, frames := read(s.file.Bytes())
	if len(got) != len(all) || frames != 2 {
		t.Fatalf("read %d sessions, %d frames", len(got), frames)
	}
	for i, c := range all {
		want := decode.Info{URL: c.info.URL, ClientTLS: c.info.ClientTLS, ServerTLS: c.info.ServerTLS, Ext: c.info.Ext, Cont: c.info.Cont}
		if c.url != "" {
			want.URL = c.url
		}
		g := decode.Info{URL: got[i].URL, ClientTLS: got[i].ClientTLS, ServerTLS: got[i].ServerTLS, Ext: got[i].Ext, Cont: got[i].Cont}
		if !reflect.DeepEqual(g, want) {
			t.Errorf("session %d: got %+v, want %+v", i+1, g, want)
		}
	}
	foreign := bytes.Replace(s.file.Bytes(), []byte("TLS is plain text."), []byte("TLS is plain text!"), 1)
	got, frames = read(foreign)
	if len(got) != len(all)-1 || frames != 0 {
		t.Fatalf("read %d sessions, %d frames of another's capture", len(got), frames)
	}
	for i, info := range got {
		if info.URL != all[i].foreign || info.ClientTLS != nil {
			t.Errorf("session %d of another's capture: %q, TLS %v", i+1, info.URL, info.ClientTLS)
		}
	}
}
