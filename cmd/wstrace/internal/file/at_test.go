package file

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"github.com/klauspost/compress/gzip"
)

// TestAt reads at any place: of a file, and of what can be read only once.
func TestAt(t *testing.T) {
	text := bytes.Repeat([]byte("0123456789"), 20000)
	var packed bytes.Buffer
	z := gzip.NewWriter(&packed)
	z.Write(text)
	z.Close()
	for _, c := range []struct {
		name    string
		content []byte
		size    int
		spooled bool
		err     error
	}{
		{"plain", text, len(text), false, nil},
		{"packed", packed.Bytes(), len(text), true, nil},
		{"packed and cut", packed.Bytes()[:packed.Len()-4], len(text), true, io.ErrUnexpectedEOF},
	} {
		name := filepath.Join(t.TempDir(), "a")
		if err := os.WriteFile(name, c.content, 0o666); err != nil {
			t.Fatal(err)
		}
		r, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		defer r.Close()
		r.Peek(100) // as is done to find out what it is
		spool := new(Spool)
		defer spool.Close()
		at, size, err := r.At(spool)
		if !errors.Is(err, c.err) || size != int64(c.size) || (at == io.ReaderAt(spool)) != c.spooled {
			t.Errorf("%s: got %d bytes, %v", c.name, size, err)
			continue
		}
		got := make([]byte, 5)
		if _, err := at.ReadAt(got, 123455); err != nil || string(got) != "56789" {
			t.Errorf("%s: got %q, %v", c.name, got, err)
		}
	}
}

func TestFollowedHasNoPlaces(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a")
	if err := os.WriteFile(name, []byte("text"), 0o666); err != nil {
		t.Fatal(err)
	}
	r, err := Follow(t.Context(), name, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	if _, _, err := r.At(new(Spool)); err != errNoFollow {
		t.Errorf("got %v", err)
	}
}
