package replay

import (
	"bytes"
	"fmt"
	"io"
	"runtime"
	"testing"

	"github.com/wstrace/wstrace/decode"
)

// A longTrace is a trace of n messages of so many bytes, which is made as it is read.
// What is longer than a piece has more records, as our recordings do.
type longTrace struct {
	n, size, piece int
	made           int // messages
	length         int64
	buf            bytes.Buffer
}

func (l *longTrace) Read(p []byte) (int, error) {
	for l.buf.Len() == 0 {
		switch {
		case l.length == 0:
			l.buf.WriteString(open)
		case l.made == l.n:
			return 0, io.EOF
		default:
			l.message()
		}
	}
	n, _ := l.buf.Read(p)
	l.length += int64(n)
	return n, nil
}

func (l *longTrace) message() {
	dir, mask := `>`, `,"mask":"01020304"`
	if l.made%2 == 1 {
		dir, mask = `<`, ``
	}
	text := fmt.Appendf(nil, "%08d ", l.made)
	for len(text) < l.size {
		text = append(text, "abcdefghijklmnopqrstuvwxyz"[len(text)*7%26])
	}
	n := min(len(text), l.piece)
	fmt.Fprintf(&l.buf, `{"k":"frame","t":%d.%03d,"c":1,"d":"%s","op":"text"%s,"len":%d,"text":"%s"}`+"\n", l.made/1000, l.made%1000, dir, mask, len(text), text[:n])
	for text = text[n:]; len(text) > 0; text = text[n:] {
		n = min(len(text), l.piece)
		fmt.Fprintf(&l.buf, `{"k":"more","c":1,"d":"%s","text":"%s"}`+"\n", dir, text[:n])
	}
	l.made++
}

// heap returns how many bytes are in use.
func heap() int64 {
	runtime.GC()
	runtime.GC() // what a pool has
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A script takes little more memory than the trace has bytes.
func TestMemory(t *testing.T) {
	for _, c := range []struct {
		name           string
		n, size, piece int
		most           float64 // times the length of the trace
	}{
		{"small messages", 50_000, 40, 64 << 10, 2},
		{"large messages", 8, 1 << 20, 64 << 10, 1.5},
		{"large messages in one record", 8, 1 << 20, 2 << 20, 1.5},
	} {
		before := heap()
		l := &longTrace{n: c.n, size: c.size, piece: c.piece}
		s, err := Load(Trace(l))
		if err != nil {
			t.Fatal(err)
		}
		ratio := float64(heap()-before) / float64(l.length)
		t.Logf("%s: %.2f times %d bytes", c.name, ratio, l.length)
		if ratio > c.most {
			t.Errorf("%s: a script of %d bytes takes %.2f times as much, want at most %.1f", c.name, l.length, ratio, c.most)
		}
		runtime.KeepAlive(s)
	}
}

// The contents of a long trace are in a file, and it is played as any other.
func TestSpool(t *testing.T) {
	most := spoolAfter
	spoolAfter = 0
	defer func() { spoolAfter = most }()
	before := heap()
	l := &longTrace{n: 8, size: 1 << 20, piece: 64 << 10}
	s, err := Load(Trace(l))
	if err != nil {
		t.Fatal(err)
	}
	if ratio := float64(heap()-before) / float64(l.length); ratio > 0.2 && runtime.GOOS == "linux" {
		t.Errorf("a script of %d bytes has %.2f times as much in memory", l.length, ratio)
	}
	if differ, err := Diff(io.Discard, s, s, 0); differ || err != nil {
		t.Errorf("it differs from itself, %v", err)
	}
	for _, text := range []string{talk, app} {
		if serr, cerr := together(t, loadAll(t, text), loadAll(t, text), PlayOptions(), PlayOptions()); serr != nil || cerr != nil {
			t.Errorf("%v, %v", serr, cerr)
		}
	}
}

// What Diff has in memory at most, next to what it prints, is little more than the two
// scripts.
func TestMemoryOfDiff(t *testing.T) {
	for _, c := range []struct {
		name           string
		n, size, piece int
		most           float64 // times the length of both traces
	}{
		{"small messages", 50_000, 40, 64 << 10, 3},
		{"large messages", 8, 1 << 20, 64 << 10, 1.5},
	} {
		before := heap()
		var length int64
		var scripts [2]*Script
		for i := range scripts {
			l := &longTrace{n: c.n, size: c.size, piece: c.piece}
			s, err := Load(Trace(l), Select(nil))
			if err != nil {
				t.Fatal(err)
			}
			scripts[i] = s
			length += l.length
		}
		var sides [2]alignment
		for d := range sides {
			sides[d] = scripts[0].align(scripts, decode.Dir(d), nil)
		}
		rows := merge(&sides)
		ratio := float64(heap()-before) / float64(length)
		t.Logf("%s: %.2f times %d bytes", c.name, ratio, length)
		if ratio > c.most {
			t.Errorf("%s: a diff of %d bytes takes %.2f times as much, want at most %.1f", c.name, length, ratio, c.most)
		}
		runtime.KeepAlive(scripts)
		runtime.KeepAlive(&sides)
		runtime.KeepAlive(rows)
	}
}
