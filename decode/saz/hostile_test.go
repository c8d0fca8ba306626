package saz

import (
	"archive/zip"
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// TestHostile reads archives that are damaged, or made to do harm.
func TestHostile(t *testing.T) {
	defer func(n int64) { ratioFrom = n }(ratioFrom)
	ratioFrom = 2 << 20
	frames := func(text string) []item {
		return []item{{"raw/1_c.txt", request}, {"raw/1_s.txt", response}, {"raw/1_w.txt", text}}
	}
	const plain = "GET / HTTP/1.1\r\nHost: a\r\n\r\n"
	good := item{"raw/2_c.txt", plain}
	for _, c := range []struct {
		name  string
		items []item
		want  string
	}{
		{"absurd length", frames("\r\nRequest-Length: 9223372036854775807\r\n\r\n" + hi), "raw/1_w.txt, byte 49: ends too early"},
		{"longer than any number", frames("\r\nRequest-Length: 99999999999999999999\r\n\r\n" + hi), `"99999999999999999999" is no length of a frame`},
		{"negative length", frames("\r\nRequest-Length: -1\r\n\r\n" + hi), `"-1" is no length`},
		{"wrong length", frames("\r\nRequest-Length: 6\r\n\r\n" + hi + "\r\n"), "no line end behind it"},
		{"no length", frames("\r\nID: 3\r\n\r\n" + hi + "\r\n"), "neither Request-Length nor Response-Length"},
		{"endless line", frames("\r\n" + strings.Repeat("x", maxHeaders+1)), "no head of a frame"},
		{"endless lines", frames("\r\n" + strings.Repeat("x: y\r\n", maxHeaders)), "no head of a frame"},
		{"ends in a head", frames("\r\nRequest-Length: 6\r\n"), "ends too early"},
		{"metadata too long", []item{{"raw/1_c.txt", plain}, {"raw/1_m.xml", "<Session>" + strings.Repeat(" ", maxMeta)}}, "raw/1_m.xml: is longer than 1048576 bytes"},
		{"damaged metadata", []item{{"raw/1_c.txt", plain}, {"raw/1_m.xml", "<Session"}}, "raw/1_m.xml: XML syntax error"},
		{"deep metadata", []item{{"raw/1_c.txt", plain}, {"raw/1_m.xml", strings.Repeat("<a>", 1e5)}}, ""},
		{"bomb in a body", []item{{"raw/1_c.txt", plain}, {"raw/1_s.txt", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("\x00", 8<<20)}}, "inflates to more than 500 times its"},
		{"bomb in a frame", frames("\r\nRequest-Length: 8388622\r\n\r\n\x82\xff\x00\x00\x00\x00\x00\x80\x00\x00\x00\x00\x00\x00" + strings.Repeat("\x00", 8<<20) + "\r\n"), "inflates to more than 500 times its"},
		{"bomb in a head", []item{{"raw/1_c.txt", strings.Repeat("a", 8<<20)}}, "inflates to more than 500 times its"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := zipped(t, append(c.items, good)...)
			err := source(b).Play(t.Context(), new(teller), decode.Look{})
			if at, ok := errors.AsType[*decode.SourceError](err); c.want != "" && (!ok || at.Offset == 0 || !strings.Contains(at.Error(), c.want)) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			var bad []error
			src := source(b)
			src.Bad = func(err error) { bad = append(bad, err) }
			before, most, behind := heap(), int64(0), false
			events := 0
			err = src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
				behind = behind || ev.Conn == 2
				if events++; events%64 == 0 {
					most = max(most, heap())
				}
			}), decode.Look{})
			if most = max(most, heap()); err != nil || most-before > 8<<20 {
				t.Errorf("got %v, and the heap has grown by %d bytes", err, most-before)
			}
			if c.want != "" && len(bad) != 1 || !behind {
				t.Errorf("got %v, and the session behind it %t", bad, behind)
			}
		})
	}
}

// heap returns the bytes in use.
func heap() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// TestOverlap reads an archive whose sessions all have the same bytes for a response:
// each of them is none that is too large.
func TestOverlap(t *testing.T) {
	defer func(n int64) { ratioFrom = n }(ratioFrom)
	ratioFrom = 2 << 20
	b := zipped(t, item{"raw/1_s.txt", "HTTP/1.1 200 OK\r\n\r\n" + strings.Repeat("\x00", 1<<20)})
	z, err := zip.NewReader(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	at, err := z.File[0].DataOffset()
	if err != nil {
		t.Fatal(err)
	}
	end := at + int64(z.File[0].CompressedSize64)
	var directory bytes.Buffer
	all := zip.NewWriter(&directory)
	all.SetOffset(end)
	for i := range 100 {
		h := z.File[0].FileHeader
		h.Name, h.Flags = fmt.Sprintf("raw/%d_s.txt", i+1), 0
		if _, err := all.CreateRaw(&h); err != nil {
			t.Fatal(err)
		}
	}
	if err := all.Close(); err != nil {
		t.Fatal(err)
	}
	// Let each entry of the directory stand for the first one.
	text := directory.Bytes()
	text = text[bytes.Index(text, []byte("PK\x01\x02")):]
	for i := 0; ; i += 4 {
		n := bytes.Index(text[i:], []byte("PK\x01\x02"))
		if n < 0 {
			break
		}
		i += n
		clear(text[i+42 : i+46])
	}
	b = append(b[:end:end], text...)
	copy(b[len(b)-6:], binary.LittleEndian.AppendUint32(nil, uint32(end)))
	var bad []error
	src := source(b)
	src.Bad = func(err error) { bad = append(bad, err) }
	var got int64
	err = src.Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) { got += int64(len(ev.Data)) }), decode.Look{Bodies: 1 << 40})
	if err != nil || len(bad) != 1 || !errors.Is(bad[0], errInflated) || got < 2<<20 || got > 4<<20 {
		t.Errorf("got %d bytes, %v, %v", got, bad, err)
	}
}

func TestEncrypted(t *testing.T) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "raw/1_c.txt", Flags: 1, CompressedSize64: 5, UncompressedSize64: 5})
	if err == nil {
		_, err = io.WriteString(w, "xxxxx")
	}
	if err == nil {
		err = z.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	whole := out.Bytes()
	for _, b := range [][]byte{whole, whole[:len(whole)-30]} {
		if err := source(b).Play(t.Context(), new(teller), decode.Look{}); !errors.Is(err, ErrEncrypted) {
			t.Errorf("got %v", err)
		}
	}
}

// TestDirectory reads an archive with more entries than anybody needs.
func TestDirectory(t *testing.T) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	long := strings.Repeat("x", 60000)
	for range (maxDirectory+2*maxTrailer)/len(long) + 1 {
		if _, err := z.CreateRaw(&zip.FileHeader{Name: long, NonUTF8: true}); err != nil {
			t.Fatal(err)
		}
	}
	if err := z.Close(); err != nil {
		t.Fatal(err)
	}
	if err := source(out.Bytes()).Play(t.Context(), new(teller), decode.Look{}); err != errDirectory {
		t.Errorf("got %v", err)
	}
}

// TestCut plays every beginning of an archive: what is whole in it is shown.
func TestCut(t *testing.T) {
	b := archive(t, wst(twoAtOnce))
	seen := 0
	for n := range b {
		got := new(teller)
		err := source(b[:n]).Play(t.Context(), got, decode.Look{})
		if err == nil {
			t.Fatalf("the first %d bytes of %d: no error", n, len(b))
		}
		if n := strings.Count(got.all(), "frame"); n < seen {
			t.Fatalf("the first %d bytes of %d: %d frames, and less have %d", n, len(b), n, seen)
		} else {
			seen = n
		}
		if n >= 4 && !errors.Is(err, decode.ErrCut) {
			t.Fatalf("the first %d bytes of %d: %v", n, len(b), err)
		}
	}
	if seen != 6 {
		t.Errorf("got %d frames, want 6", seen)
	}
}

// TestStoredWithoutDirectory salvages entries that are not compressed.
func TestStoredWithoutDirectory(t *testing.T) {
	var out bytes.Buffer
	z := zip.NewWriter(&out)
	w, err := z.CreateRaw(&zip.FileHeader{Name: "raw/1_c.txt", CompressedSize64: 27, UncompressedSize64: 27})
	if err == nil {
		_, err = io.WriteString(w, "GET / HTTP/1.1\r\nHost: a\r\n\r\n")
	}
	if err == nil {
		err = z.Flush()
	}
	if err != nil {
		t.Fatal(err)
	}
	got := new(teller)
	err = source(out.Bytes()).Play(t.Context(), got, decode.Look{})
	if !errors.Is(err, decode.ErrCut) || !strings.Contains(got.all(), "GET /") {
		t.Errorf("got %v, %s", err, got.all())
	}
}

// TestLongWithoutDirectory salvages entries in the form of ZIP64.
func TestLongWithoutDirectory(t *testing.T) {
	var b []byte
	for i := range 2 {
		content := fmt.Sprintf("GET /%d HTTP/1.1\r\nHost: a\r\n\r\n", i+1)
		name := fmt.Sprintf("raw/%d_c.txt", i+1)
		b = binary.LittleEndian.AppendUint32(b, sigLocal)
		b = append(b, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff)
		b = append(b, byte(len(name)), 0, 26, 0)
		b = append(append(b, name...), 9, 9, 2, 0, 0, 0, 1, 0, 16, 0)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(content)))
		b = binary.LittleEndian.AppendUint64(b, uint64(len(content)))
		b = append(b, content...)
	}
	for n := range len(b) + 1 {
		got := new(teller)
		if err := source(b[:n]).Play(t.Context(), got, decode.Look{}); n >= 4 && !errors.Is(err, decode.ErrCut) || n == len(b) && !strings.Contains(got.all(), "GET /2 ") {
			t.Fatalf("the first %d bytes: got %v, %s", n, err, got.all())
		}
	}
}

// TestLong writes long frames of two sessions at the same time, with little memory.
func TestLong(t *testing.T) {
	temp, err := os.Create(filepath.Join(t.TempDir(), "temp"))
	if err != nil {
		t.Fatal(err)
	}
	defer temp.Close()
	file, err := os.Create(filepath.Join(t.TempDir(), "a.saz"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	const size = 16 << 20
	piece := bytes.Repeat([]byte("some text. "), 6000)[:64<<10]
	before := heap()
	w := NewWriter(file, Options{Temp: temp})
	begin := time.Date(2026, 11, 29, 10, 0, 0, 0, time.UTC)
	var sessions [2]decode.Session
	for i := range sessions {
		s := &sessions[i]
		s.Sink, s.Look = w, decode.Look{FactsOnly: true}
		s.Open(decode.Info{Conn: int64(i + 1), Time: begin})
		s.Upgraded()
		for d := range decode.Dir(2) {
			s.Data(d, begin, []byte{0x82, 127, 0, 0, 0, 0, size >> 24, size >> 16 & 0xff, 0, 0})
		}
	}
	for range size / len(piece) {
		for i := range sessions {
			for d := range decode.Dir(2) {
				sessions[i].Data(d, begin.Add(time.Second), piece)
			}
		}
	}
	if grown := heap() - before; grown > 4<<20 {
		t.Errorf("the heap has grown by %d bytes", grown)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	at, err := file.Seek(0, io.SeekEnd)
	if err != nil {
		t.Fatal(err)
	}
	var whole int
	err = (&Source{R: file, Size: at}).Play(t.Context(), decode.SinkFunc(func(ev *decode.Event) {
		if ev.Kind == decode.KindFrame && ev.Frame.Complete && ev.Frame.Length == size && ev.Time.Equal(begin.Add(time.Second)) {
			whole++
		}
	}), decode.Look{})
	if err != nil || whole != 4 {
		t.Errorf("got %d whole frames, want 4, and %v", whole, err)
	}
}

func FuzzSAZ(f *testing.F) {
	f.Add([]byte(request), []byte(response), []byte(times), []byte("\r\nRequest-Length: 8\r\nID: 0\r\nBitFlags: 2\r\nDoneRead: 2024-05-01T14:00:01.0000001+02:00\r\n\r\n"+hi+"\r\nResponse-Length: 4\r\nBitFlags: 5\r\n\r\n\x81\x02yo\r\n"))
	f.Add([]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), []byte("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n0\r\n\r\n"), []byte(""), []byte(""))
	f.Add([]byte(request), []byte(response), []byte(`<Session><SessionFlag N="x-wstrace-by" V="w" /><SessionFlag N="x-wstrace-messages" V="true" /><SessionFlag N="x-wstrace-end-1" V="both 2024-05-01T14:00:01Z 0 fin " /><SessionFlag N="x-wstrace-bytes" V="9 9" /></Session>`), []byte("\r\nRequest-Length: 4\r\nBitFlags: 4\r\n\r\n\x81\x02yo\r\n"))
	f.Fuzz(func(t *testing.T, c, s, m, w []byte) {
		b := zipped(t, item{"raw/1_c.txt", string(c)}, item{"raw/1_s.txt", string(s)}, item{"raw/1_m.xml", string(m)}, item{"raw/1_w.txt", string(w)})
		src := source(b)
		src.Bad = func(error) {}
		var out bytes.Buffer
		again := NewWriter(&out, Options{Temp: new(memory)})
		if err := src.Play(t.Context(), again, decode.Look{Messages: true, Bodies: 1 << 20}); err != nil {
			t.Fatal(err)
		}
		if err := again.Close(); err != nil {
			t.Fatal(err)
		}
		if err := source(out.Bytes()).Play(t.Context(), new(teller), decode.Look{Bodies: 1 << 20}); err != nil {
			t.Fatalf("what the Writer has written: %v", err)
		}
	})
}

func FuzzArchive(f *testing.F) {
	b := zipped(f, item{"raw/1_c.txt", request}, item{"raw/1_s.txt", response})
	f.Add(b)
	f.Add(b[:len(b)-40])
	f.Fuzz(func(t *testing.T, b []byte) {
		src := source(b)
		src.Bad = func(error) {}
		src.Play(t.Context(), new(teller), decode.Look{})
	})
}
