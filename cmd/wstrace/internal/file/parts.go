package file

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// partTime is the time in the name of a finished part: that of its beginning, in
// local time.
const partTime = "2006-01-02T150405"

// HasParts reports whether w can be followed by a further file: it is a regular
// file, and not standard output.
func (w *Writer) HasParts() bool { return w.path != "" }

// Next gives the file, which began at the time began, the name of a finished part,
// and goes on in a new file with the name that it had. It returns the name of the
// finished one, or "" if somebody else has moved it away. After an error, what is
// written goes on in the same file, where it begins a new compressed member.
func (w *Writer) Next(began time.Time) (finished string, err error) {
	if w.comp != nil {
		err = w.comp.Close()
		w.comp.Reset(w.out)
	}
	switch err := cmp.Or(err, w.Check()); {
	case err == errGone:
		return w.Renew(began)
	case err != nil:
		return "", err
	}
	st, err := w.f.Stat()
	if err != nil {
		return "", err
	}
	if finished, err = w.partName(began); err != nil {
		return "", err
	}
	if runtime.GOOS == "windows" { // where what is open can't be renamed
		w.f.Close()
		defer func() {
			if err != nil {
				w.reopen()
			}
		}()
	}
	if err := os.Rename(w.path, finished); err != nil {
		return "", err
	}
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|os.O_EXCL|appendFlag, st.Mode().Perm())
	if err != nil {
		os.Rename(finished, w.path)
		return "", err
	}
	lock(f) // nobody else has a file that was just made
	w.goOn(f, finished)
	return finished, nil
}

// goOn goes on in f, an empty file. finished is the name of the one before, or "".
func (w *Writer) goOn(f *os.File, finished string) {
	w.f.Close()
	w.f, w.out.f, w.out.size = f, f, 0
	if finished != "" {
		w.finished = append(w.finished, finished)
	}
}

// Renew goes on in a new file after an error, such as one of [Writer.Check]. If the
// file is still where it was it gets the name of a finished part, which Renew
// returns. An empty file in its place is taken for the new one.
func (w *Writer) Renew(began time.Time) (finished string, err error) {
	mode := os.FileMode(0o600)
	ours, err := w.f.Stat()
	if err == nil {
		mode = ours.Mode().Perm()
	}
	there, err := os.Lstat(w.path)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return "", err
	case os.SameFile(ours, there):
		if finished, err = w.partName(began); err != nil {
			return "", err
		}
		if err := os.Rename(w.path, finished); err != nil {
			return "", err
		}
	case !there.Mode().IsRegular() || there.Size() > 0:
		return "", errReplaced
	}
	f, err := os.OpenFile(w.path, os.O_WRONLY|os.O_CREATE|appendFlag, mode)
	if err == nil {
		err = lock(f)
	}
	if err != nil {
		if f != nil {
			f.Close()
		}
		return finished, err
	}
	w.goOn(f, finished)
	if w.comp != nil {
		w.comp.Reset(w.out)
	}
	return finished, nil
}

// Return begins a new file in the place of one that was moved away, or deleted,
// before anything that matters was in it. It reports whether it did.
func (w *Writer) Return() (moved bool, err error) {
	if w.Check() != errGone {
		return false, nil
	}
	_, err = w.Renew(time.Time{})
	return err == nil, err
}

// reopen opens the file again to go on at its end. If that fails, so does the next
// Write.
func (w *Writer) reopen() {
	if f, err := os.OpenFile(w.path, os.O_WRONLY, 0); err == nil {
		f.Seek(0, 2)
		w.f, w.out.f = f, f
	}
}

// Prune removes the finished parts of w but the newest keep. Those that w finished
// are newer than others, in the order in which it did, whatever the clock says.
func (w *Writer) Prune(keep int) error {
	parts, err := otherParts(w.path, w.finished)
	if err != nil {
		return err
	}
	parts = append(parts, w.finished...)
	old := max(len(parts)-keep, 0)
	var errs []error
	for _, path := range parts[:old] {
		if err := os.Remove(path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	w.finished = w.finished[max(len(w.finished)-keep, 0):]
	return errors.Join(errs...)
}

// partName returns a name for the part that began at t. It is free, and no part of
// w had it before, even if that one has been removed.
func (w *Writer) partName(t time.Time) (string, error) {
	stem, ext := splitName(w.path)
	at := t.Local().Format(partTime)
	stem += "-" + at
	for n := w.numbers[at] + 1; ; n++ {
		name := stem + ext
		if n > 1 {
			// Behind the one without, where a shell lists them.
			name = fmt.Sprintf("%s_%d%s", stem, n, ext)
		}
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
			if w.numbers == nil {
				w.numbers = make(map[string]int)
			}
			w.numbers[at] = n
			return name, nil
		} else if err != nil {
			return "", err
		}
	}
}

// splitName splits a name before the endings that say what it is: "a" and
// ".wst.gz".
func splitName(path string) (stem, ext string) {
	stem = path
	for _, e := range []string{".gz", ".zst", ".jsonl", ".wst"} {
		stem = strings.TrimSuffix(stem, e)
	}
	return stem, path[len(stem):]
}

// otherParts returns the finished parts of path that are not among ours, the one
// that was changed last at the end.
func otherParts(path string, ours []string) ([]string, error) {
	dir := filepath.Dir(path)
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	type part struct {
		path    string
		changed time.Time
	}
	var parts []part
	stem, ext := splitName(filepath.Base(path))
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() || !isPart(e.Name(), stem, ext) || slices.ContainsFunc(ours, func(o string) bool { return filepath.Clean(o) == name }) {
			continue
		}
		st, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		} else if err != nil {
			return nil, err
		}
		parts = append(parts, part{name, st.ModTime()})
	}
	slices.SortStableFunc(parts, func(a, b part) int { return a.changed.Compare(b.changed) })
	paths := make([]string, len(parts))
	for i, p := range parts {
		paths[i] = p.path
	}
	return paths, nil
}

// isPart reports whether name is one that a finished part gets.
func isPart(name, stem, ext string) bool {
	rest, ok := strings.CutPrefix(name, stem+"-")
	rest, ok2 := strings.CutSuffix(rest, ext)
	if !ok || !ok2 || len(rest) < len(partTime) {
		return false
	}
	at, number := rest[:len(partTime)], rest[len(partTime):]
	if number != "" {
		n, err := strconv.Atoi(strings.TrimPrefix(number, "_"))
		if err != nil || n < 2 || number != "_"+strconv.Itoa(n) {
			return false
		}
	}
	_, err := time.Parse(partTime, at)
	return err == nil
}
