package file

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

func ls(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

func TestNext(t *testing.T) {
	for _, name := range append(names, "a.wst.jsonl.gz") {
		dir := t.TempDir()
		w := create(t, filepath.Join(dir, name))
		began := time.Date(2026, 11, 29, 1, 30, 0, 0, time.Local)
		var finished []string
		for i := range 3 {
			io.WriteString(w, content(i+1))
			w.Flush()
			got, err := w.Next(began)
			if err != nil {
				t.Fatal(err)
			}
			finished = append(finished, filepath.Base(got))
		}
		io.WriteString(w, content(4))
		if err := w.Check(); err != nil {
			t.Error(err)
		}
		if err := w.Close(); err != nil {
			t.Fatal(err)
		}
		ext := strings.TrimPrefix(name, "a")
		if want := []string{"a-2026-11-29T013000" + ext, "a-2026-11-29T013000_2" + ext, "a-2026-11-29T013000_3" + ext}; !slices.Equal(finished, want) {
			t.Errorf("the finished ones are %v, want %v", finished, want)
		}
		for i, name := range append(finished, name) {
			if got, cut := read(t, filepath.Join(dir, name)); got != content(i+1) || cut {
				t.Errorf("%s has %d bytes, cut %v, want %d", name, len(got), cut, len(content(i+1)))
			}
		}
	}
}

// TestNextThatFails checks that the writing goes on where it was.
func TestNextThatFails(t *testing.T) {
	if os.Getuid() == 0 {
		t.Log("root may rename in any folder: a missing one has to do")
	}
	for _, name := range names {
		dir := filepath.Join(t.TempDir(), "dir")
		os.Mkdir(dir, 0o700)
		w := create(t, filepath.Join(dir, name))
		io.WriteString(w, content(1))
		w.Flush()
		moved := dir + "-moved"
		os.Rename(dir, moved)
		if got, err := w.Next(time.Now()); err == nil {
			t.Errorf("%s: got %s, want an error", name, got)
		}
		io.WriteString(w, content(2))
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if got, cut := read(t, filepath.Join(moved, name)); got != content(1)+content(2) || cut {
			t.Errorf("%s: there are %d bytes, cut %v, want what was written before and after", name, len(got), cut)
		}
	}
}

func TestPrune(t *testing.T) {
	dir := t.TempDir()
	others := []string{"a-2026-11-29T013000.wst.gz", "a-2026-11-29.wst", "a-2026-13-29T013000.wst", "a-2026-11-29T013000_1.wst",
		"a-2026-11-29T013000_x.wst", "a-b-2026-11-29T013000.wst", "b-2026-11-29T013000.wst", "a-2026-11-29T013000_02.wst"}
	parts := []string{"a-2025-12-31T235959.wst", "a-2026-11-29T013000.wst", "a-2026-11-29T013000_2.wst", "a-2026-11-29T013000_10.wst", "a-2026-11-29T013001.wst"}
	for _, name := range slices.Concat(others, parts) {
		os.WriteFile(filepath.Join(dir, name), nil, 0o600)
	}
	for i, name := range parts { // the clock's steps may be longer than the time between two
		changed := time.Date(2026, 11, 29, 2, i, 0, 0, time.UTC)
		if err := os.Chtimes(filepath.Join(dir, name), changed, changed); err != nil {
			t.Fatal(err)
		}
	}
	os.Mkdir(filepath.Join(dir, "a-2020-11-29T013000.wst"), 0o700)
	w := create(t, filepath.Join(dir, "a.wst"))
	defer w.Close()
	for _, keep := range []int{9, 5, 2, 0} {
		if err := w.Prune(keep); err != nil {
			t.Fatal(err)
		}
		want := slices.Concat(others, []string{"a.wst", "a-2020-11-29T013000.wst"}, parts[max(len(parts)-keep, 0):])
		slices.Sort(want)
		if got := ls(t, dir); !slices.Equal(got, want) {
			t.Errorf("with the newest %d kept there are\n%v, want\n%v", keep, got, want)
		}
	}
}

func TestResume(t *testing.T) {
	isLine := func(line []byte) bool { return strings.HasSuffix(string(line), "}") }
	long := strings.Repeat("x", 300<<10)
	for _, c := range []struct{ name, has, stays string }{
		{"new", "", ""},
		{"whole", "{}\n{}\n", "{}\n{}\n"},
		{"a line that is cut off", "{}\n{\"k\":1", "{}\n"},
		{"a line without its end", "{}\n{}", "{}\n{}\n"},
		{"a long line that is cut off", "{}\n" + long, "{}\n"},
		{"behind a long line", long + "\n{", long + "\n"},
	} {
		name := filepath.Join(t.TempDir(), "a.wst")
		os.WriteFile(name, []byte(c.has), 0o600)
		w, err := Create(name, Plain, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Resume(isLine); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		if b, _ := os.ReadFile(name); string(b) != c.has {
			t.Errorf("%s: the file has changed before Begin", c.name)
		}
		if err := w.Begin(); err != nil {
			t.Error(err)
		}
		if got, want := w.Lost(), int64(max(len(c.has)-len(c.stays), 0)); got != want {
			t.Errorf("%s: %d bytes are lost, want %d", c.name, got, want)
		}
		io.WriteString(w, "new\n")
		if err := w.Check(); err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
		w.Close()
		if got, _ := read(t, name); got != c.stays+"new\n" {
			t.Errorf("%s: the file has %d bytes, want %d", c.name, len(got), len(c.stays)+4)
		}
	}
}

func TestResumeCompressed(t *testing.T) {
	for _, name := range names[1:] {
		name = filepath.Join(t.TempDir(), name)
		c, _ := ByName(name)
		write(t, name, content(10))
		whole, _ := os.ReadFile(name)
		resume := func(c Compression) (*Writer, error) {
			w, err := Create(name, c, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			return w, w.Resume(nil)
		}
		w, err := resume(c)
		if err != nil || w.Lost() != 0 {
			t.Fatal(err)
		}
		w.Begin()
		io.WriteString(w, content(3))
		w.Close()
		if got, cut := read(t, name); got != content(10)+content(3) || cut {
			t.Errorf("%s: there are %d bytes, cut %v", filepath.Base(name), len(got), cut)
		}
		for n := 1; n < len(whole); n += 7 {
			os.WriteFile(name, whole[:n], 0o600)
			w, err := resume(c)
			if err != ErrMemberCut {
				t.Errorf("%s: with the first %d of %d bytes: %v, want %v", filepath.Base(name), n, len(whole), err, ErrMemberCut)
			}
			w.Abandon()
			if b, _ := os.ReadFile(name); len(b) != n {
				t.Errorf("%s was changed", filepath.Base(name))
			}
		}
		os.WriteFile(name, whole, 0o600)
		for _, other := range []Compression{Plain, Gzip, Zstd} {
			w, err := resume(other)
			if other != c && err != errOtherComp {
				t.Errorf("%s, taken for %d: %v, want %v", filepath.Base(name), other, err, errOtherComp)
			}
			w.Abandon()
		}
		write(t, name, "in a line")
		if w, err := resume(c); err != errInLine {
			t.Errorf("%s: %v, want %v", filepath.Base(name), err, errInLine)
		} else {
			w.Abandon()
		}
	}
}

// TestPruneKeepsWhatWasFinishedLast finishes parts within one second, and then with
// the clock set back, beside a file with a name from the future.
func TestPruneKeepsWhatWasFinishedLast(t *testing.T) {
	dir := t.TempDir()
	future := filepath.Join(dir, "r-2127-01-01T000000.wst")
	if err := os.WriteFile(future, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	w := create(t, filepath.Join(dir, "r.wst"))
	defer w.Close()
	now := time.Date(2026, 11, 29, 1, 0, 0, 0, time.Local)
	var names []string
	for _, began := range []time.Time{now, now, now, now, now.Add(-time.Hour), now, now.Add(-time.Hour)} {
		name, err := w.Next(began)
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(names, name) {
			t.Errorf("%s is used again", name)
		}
		names = append(names, name)
		if err := w.Prune(2); err != nil {
			t.Fatal(err)
		}
		for _, want := range names[max(len(names)-2, 0):] {
			if _, err := os.Stat(want); err != nil {
				t.Error(err)
			}
		}
	}
	if got := ls(t, dir); len(got) != 3 {
		t.Errorf("there are %q, want two parts and the file", got)
	}
}
