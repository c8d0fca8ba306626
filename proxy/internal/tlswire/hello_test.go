package tlswire

import (
	"bytes"
	"crypto/tls"
	"io"
	"net"
	"slices"
	"testing"
)

// helloOf returns the first bytes of a client of package tls.
func helloOf(t testing.TB, config *tls.Config) []byte {
	t.Helper()
	config.InsecureSkipVerify = true
	c, s := net.Pipe()
	go tls.Client(c, config).Handshake()
	defer c.Close()
	defer s.Close()
	b := make([]byte, 5)
	if _, err := io.ReadFull(s, b); err != nil {
		t.Fatal(err)
	}
	rest := make([]byte, int(b[3])<<8|int(b[4]))
	if _, err := io.ReadFull(s, rest); err != nil {
		t.Fatal(err)
	}
	return append(b, rest...)
}

// inRecords returns the handshake message in one record in records of size bytes each.
func inRecords(record []byte, size int) (b []byte) {
	for part := range slices.Chunk(record[5:], size) {
		b = append(append(b, 22, 3, 1, byte(len(part)>>8), byte(len(part))), part...)
	}
	return b
}

func TestParseClientHello(t *testing.T) {
	for _, tt := range []struct {
		name      string
		config    *tls.Config
		server    string
		protocols []string
	}{
		{"all", &tls.Config{ServerName: "example.test", NextProtos: []string{"h2", "http/1.1"}}, "example.test", []string{"h2", "http/1.1"}},
		{"address", &tls.Config{ServerName: "192.0.2.7"}, "", nil},
		{"old", &tls.Config{ServerName: "example.test", MinVersion: tls.VersionTLS10, MaxVersion: tls.VersionTLS10}, "example.test", nil},
		{"other protocol", &tls.Config{NextProtos: []string{"imap"}}, "", []string{"imap"}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			record := helloOf(t, tt.config)
			for _, size := range []int{1 << 14, 1, 7, 100} {
				b := inRecords(record, size)
				h, n := ParseClientHello(append(b, "more"...))
				if n != len(b) || h.ServerName != tt.server || !slices.Equal(h.Protocols, tt.protocols) {
					t.Errorf("records of %d: got %+v, %d, want %q, %q, %d", size, h, n, tt.server, tt.protocols, len(b))
				}
				for i := range b {
					if _, n := ParseClientHello(b[:i]); n != 0 {
						t.Fatalf("records of %d, the first %d bytes: got %d, want 0", size, i, n)
					}
				}
			}
		})
	}
}

func TestNoClientHello(t *testing.T) {
	record := helloOf(t, &tls.Config{ServerName: "example.test", NextProtos: []string{"http/1.1"}})
	edit := func(change func(b []byte) []byte) []byte { return change(bytes.Clone(record)) }
	name := bytes.Index(record, []byte("example.test"))
	for what, b := range map[string][]byte{
		"no handshake":          []byte("GET"),
		"another message":       edit(func(b []byte) []byte { b[5] = 2; return b }),
		"another record":        append(inRecords(record[:5+100], 100), 23, 3, 3, 0, 1, 0),
		"empty record":          {22, 3, 1, 0, 0},
		"long record":           {22, 3, 1, 0x40, 1},
		"long message":          {22, 3, 1, 0, 4, 1, 1, 0, 1},
		"endless":               bytes.Repeat([]byte{22, 3, 1, 0, 1, 1}, MaxClientHello/6+1)[:MaxClientHello+1],
		"message cut":           edit(func(b []byte) []byte { b[4]--; b[8]--; return b }),
		"name with a space":     edit(func(b []byte) []byte { b[name] = ' '; return b }),
		"name ends in a dot":    edit(func(b []byte) []byte { b[name+11] = '.'; return b }),
		"name longer than list": edit(func(b []byte) []byte { b[name-1]++; return b }),
	} {
		if h, n := ParseClientHello(b); n >= 0 {
			t.Errorf("%s: got %+v, %d, want none", what, h, n)
		}
	}
}

// FuzzParseClientHello looks for bytes whose beginning says something else than all of
// them.
func FuzzParseClientHello(f *testing.F) {
	record := helloOf(f, &tls.Config{ServerName: "example.test", NextProtos: []string{"h2", "http/1.1"}})
	f.Add(record, uint16(40))
	f.Add(inRecords(record, 50), uint16(60))
	f.Add([]byte("\x16\x03\x01\x00\x04\x01\x00\x00\x00"), uint16(3))
	f.Fuzz(func(t *testing.T, b []byte, cut uint16) {
		h, n := ParseClientHello(b)
		if n > len(b) {
			t.Fatalf("got length %d of %d bytes", n, len(b))
		}
		if n <= 0 && (h.ServerName != "" || h.Protocols != nil) {
			t.Errorf("got %+v of what is none", h)
		}
		at := min(int(cut), len(b))
		short, m := ParseClientHello(b[:at])
		switch {
		case m < 0 && n >= 0:
			t.Errorf("got none in the first %d bytes, and one of %d in all", at, n)
		case m > 0 && (m != n || short.ServerName != h.ServerName || !slices.Equal(short.Protocols, h.Protocols)):
			t.Errorf("got %+v, %d in the first %d bytes, and %+v, %d in all", short, m, at, h, n)
		}
	})
}
