package file

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

var names = []string{"a.wst", "a.wst.gz", "a.wst.zst"}

// content is a trace of n lines, more or less.
func content(n int) string {
	var b strings.Builder
	b.WriteString(`{"wstrace":1}` + "\n")
	for i := range n {
		fmt.Fprintf(&b, `{"k":"note","t":%d.%09d,"text":"a line that says little"}`+"\n", i, i*i*7919%1e9)
	}
	return b.String()
}

func create(t *testing.T, name string) *Writer {
	t.Helper()
	c, err := ByName(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := Create(name, c, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Begin(); err != nil {
		t.Fatal(err)
	}
	return w
}

func write(t *testing.T, name, text string) {
	t.Helper()
	w := create(t, name)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, name string) (text string, cut bool) {
	t.Helper()
	r, err := Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	b, err := io.ReadAll(r)
	if err != nil && err != io.ErrUnexpectedEOF {
		t.Fatalf("read %s: %v", filepath.Base(name), err)
	}
	return string(b), err != nil
}

func TestRoundTrip(t *testing.T) {
	dir := t.TempDir()
	for i, name := range append(names, "a.wst.jsonl", "a.wst.jsonl.gz") {
		name = filepath.Join(dir, name)
		want := content(3000)
		write(t, name, want)
		raw, _ := os.ReadFile(name)
		if plain := string(raw) == want; plain != (i%3 == 0) {
			t.Errorf("%s: plain is %v", filepath.Base(name), plain)
		}
		// The content says how it is compressed, whatever the name.
		other := filepath.Join(dir, "other")
		if err := os.Rename(name, other); err != nil {
			t.Fatal(err)
		}
		if got, cut := read(t, other); got != want || cut {
			t.Errorf("%s: read %d bytes, cut %v; want the %d that were written", filepath.Base(name), len(got), cut, len(want))
		}
	}
}

func TestUnknownFormat(t *testing.T) {
	for _, name := range []string{"a", "a.txt", "a.gz", "wst", "a.wst.bz2", "-", ""} {
		if _, err := ByName(name); err == nil || !strings.Contains(err.Error(), "unknown format") {
			t.Errorf("ByName(%q) returns %v, want unknown format", name, err)
		}
	}
}

// TestCrash leaves recordings behind that were never closed.
func TestCrash(t *testing.T) {
	for _, name := range names {
		name = filepath.Join(t.TempDir(), name)
		w := create(t, name)
		first, second := content(10), content(1000)
		io.WriteString(w, first)
		w.Flush()
		if got, _ := read(t, name); got != first {
			t.Errorf("%s: after a flush there are %d bytes, want %d", filepath.Base(name), len(got), len(first))
		}
		io.WriteString(w, second)
		w.Flush()
		w.Abandon()
		got, cut := read(t, name)
		if got != first+second {
			t.Errorf("%s: after two there are %d bytes, want %d", filepath.Base(name), len(got), len(first+second))
		}
		if want := w.comp != nil; cut != want {
			t.Errorf("%s: cut is %v, want %v", filepath.Base(name), cut, want)
		}
	}
}

func TestTruncated(t *testing.T) {
	for _, name := range names[1:] {
		name = filepath.Join(t.TempDir(), name)
		want := content(12)
		w := create(t, name)
		for line := range strings.Lines(want) {
			io.WriteString(w, line)
			w.Flush()
		}
		w.Close()
		whole, _ := os.ReadFile(name)
		most := 0
		for n := range len(whole) {
			os.WriteFile(name, whole[:n], 0o666)
			r, err := Open(name)
			if n == 0 || err != nil {
				if n > 50 || n > 0 && err != io.ErrUnexpectedEOF {
					t.Fatalf("%s: first %d bytes: %v", filepath.Base(name), n, err)
				}
				continue
			}
			got, err := io.ReadAll(r)
			r.Close()
			switch {
			case err != io.ErrUnexpectedEOF || !strings.HasPrefix(want, string(got)):
				t.Fatalf("%s: first %d of %d bytes give %q, %v, want %v", filepath.Base(name), n, len(whole), got, err, io.ErrUnexpectedEOF)
			case len(got) < most:
				t.Fatalf("%s: first %d bytes give %d, fewer than before", filepath.Base(name), n, len(got))
			}
			most = len(got)
		}
		if most != len(want) {
			t.Errorf("%s: all but the end gives %d bytes, want %d", filepath.Base(name), most, len(want))
		}
	}
}

func TestConcatenated(t *testing.T) {
	for _, name := range names {
		name = filepath.Join(t.TempDir(), name)
		write(t, name, content(10))
		b, _ := os.ReadFile(name)
		os.WriteFile(name, append(b, b...), 0o666)
		if got, cut := read(t, name); got != content(10)+content(10) || cut {
			t.Errorf("%s: two members give %d bytes, cut %v", filepath.Base(name), len(got), cut)
		}
	}
}

func TestDamaged(t *testing.T) {
	for _, name := range names[1:] {
		name = filepath.Join(t.TempDir(), name)
		w := create(t, name)
		io.WriteString(w, content(10))
		w.Flush()
		io.WriteString(w, "more\n")
		w.Close()
		b, _ := os.ReadFile(name)
		b[len(b)-2] ^= 0xff // in the checksum
		os.WriteFile(name, b, 0o666)
		r, err := Open(name)
		if err != nil {
			t.Fatal(err)
		}
		got, err := io.ReadAll(r)
		r.Close()
		if err == nil || err == io.ErrUnexpectedEOF || !strings.HasPrefix(string(got), content(10)) {
			t.Errorf("%s: a wrong checksum gives %d bytes and %v, want %d and an error", filepath.Base(name), len(got), err, len(content(10)))
		}
	}
}

// TestOpen opens what is hardly there, and what is not compressed.
func TestOpen(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wst")
	for text, want := range map[string]error{
		"":                       nil,
		"\x1f\x8b":               io.ErrUnexpectedEOF,
		"\x1f\x8b\x08\x00":       io.ErrUnexpectedEOF,
		"\x28":                   io.ErrUnexpectedEOF,
		"\x28\xb5\x2f":           io.ErrUnexpectedEOF,
		"hello":                  nil,
		"PK\x03\x04":             nil,
		" {\"wstrace\":1}\n":     nil,
		strings.Repeat(" ", 1e6): nil,
	} {
		os.WriteFile(name, []byte(text), 0o666)
		r, err := Open(name)
		if err != want {
			t.Errorf("Open of %.20q returns %v, want %v", text, err, want)
		}
		if err == nil {
			if b, _ := io.ReadAll(r); string(b) != text {
				t.Errorf("read %.20q, want %.20q", b, text)
			}
			r.Close()
		}
	}
	if _, err := Open(t.TempDir()); err == nil {
		t.Error("a directory can be opened")
	}
}

// TestEmpty tells a recording of nothing from one that is cut off.
func TestEmpty(t *testing.T) {
	for _, name := range names {
		name = filepath.Join(t.TempDir(), name)
		write(t, name, "")
		if got, cut := read(t, name); got != "" || cut {
			t.Errorf("%s: got %q, cut %v, want nothing", filepath.Base(name), got, cut)
		}
	}
}

// TestBegin checks that a recording that is not begun leaves the old one alone.
func TestBegin(t *testing.T) {
	for _, name := range names {
		name = filepath.Join(t.TempDir(), name)
		write(t, name, content(10))
		c, _ := ByName(name)
		w, err := Create(name, c, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		w.Abandon()
		if got, _ := read(t, name); got != content(10) {
			t.Errorf("%s: after Create there are %d bytes, want %d", filepath.Base(name), len(got), len(content(10)))
		}
		write(t, name, content(1))
		if got, _ := read(t, name); got != content(1) {
			t.Errorf("%s: after Begin and Write there are %d bytes, want %d", filepath.Base(name), len(got), len(content(1)))
		}
	}
}

func TestReplace(t *testing.T) {
	dir := t.TempDir()
	name, link := filepath.Join(dir, "a.wst.gz"), filepath.Join(dir, "link.wst.gz")
	write(t, name, content(10))
	os.Chmod(name, 0o640)
	if err := os.Symlink(name, link); err != nil {
		t.Fatal(err)
	}

	failed := errors.New("no more")
	if err := Replace(link, Gzip, func(w io.Writer) error {
		io.WriteString(w, "half")
		return failed
	}); err != failed {
		t.Errorf("Replace returns %v, want %v", err, failed)
	}
	if got, _ := read(t, name); got != content(10) {
		t.Errorf("after an error there are %d bytes, want the old %d", len(got), len(content(10)))
	}

	if err := Replace(link, Gzip, func(w io.Writer) error {
		_, err := io.WriteString(w, content(5))
		return err
	}); err != nil {
		t.Error(err)
	}
	if got, _ := read(t, name); got != content(5) {
		t.Errorf("the new file has %d bytes, want %d", len(got), len(content(5)))
	}
	if st, _ := os.Stat(name); st.Mode().Perm() != 0o640 {
		t.Errorf("the new file has mode %v, want %v", st.Mode().Perm(), os.FileMode(0o640))
	}
	if b, _ := os.ReadFile(name); !bytes.HasPrefix(b, gzipMagic) {
		t.Error("the new file is not compressed")
	}
	if files, _ := os.ReadDir(dir); len(files) != 2 {
		t.Errorf("there are %d files, want 2", len(files))
	}
}

// What is recorded is for its owner alone, and a file that was there keeps its
// permissions.
func TestMode(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wst")
	for _, mode := range []os.FileMode{0o600, 0o644} {
		write(t, name, content(1))
		st, err := os.Stat(name)
		if err != nil || st.Mode().Perm() != mode {
			t.Errorf("got %v, %v, want %v", st.Mode(), err, mode)
		}
		os.Chmod(name, 0o644)
	}
}

// TestReplaceWhileRecorded leaves a file alone that is being written.
func TestReplaceWhileRecorded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.wst")
	w := create(t, name)
	defer w.Close()
	if err := w.Lock(); err != nil {
		t.Fatal(err)
	}
	if f, err := os.Open(name); err != nil {
		t.Fatal(err)
	} else if err := lock(f); err == nil {
		f.Close()
		t.Skip("this system has no locks")
	} else {
		f.Close()
	}
	err := Replace(name, Plain, func(io.Writer) error { return nil })
	if !errors.Is(err, ErrLocked) {
		t.Errorf("got %v, want %v", err, ErrLocked)
	}
	if err := w.Check(); err != nil {
		t.Error(err)
	}
}
