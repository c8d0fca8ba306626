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
// finished one. After an error, what is written goes on in the same file, where it
// begins a new compressed member.
func (w *Writer) Next(began time.Time) (finished string, err error) {
	if w.comp != nil {
		err = w.comp.Close()
		w.comp.Reset(w.out)
	}
	if err := cmp.Or(err, w.Check()); err != nil {
		return "", err
	}
	st, err := w.f.Stat()
	if err != nil {
		return "", err
	}
	if finished, err = partName(w.path, began); err != nil {
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
	w.f.Close()
	w.f, w.out.f, w.out.size = f, f, 0
	return finished, nil
}

// reopen opens the file again to go on at its end. If that fails, so does the next
// Write.
func (w *Writer) reopen() {
	if f, err := os.OpenFile(w.path, os.O_WRONLY, 0); err == nil {
		f.Seek(0, 2)
		w.f, w.out.f = f, f
	}
}

// Prune removes the finished parts of w but the newest keep.
func (w *Writer) Prune(keep int) error {
	parts, err := finishedParts(w.path)
	if err != nil {
		return err
	}
	var errs []error
	for _, p := range parts[:max(len(parts)-keep, 0)] {
		if err := os.Remove(p.path); !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// partName returns a name that is free for the part of path that began at t.
func partName(path string, t time.Time) (string, error) {
	stem, ext := splitName(path)
	stem += "-" + t.Local().Format(partTime)
	for n := 1; ; n++ {
		name := stem + ext
		if n > 1 {
			// Behind the one without, where a shell lists them.
			name = fmt.Sprintf("%s_%d%s", stem, n, ext)
		}
		if _, err := os.Lstat(name); errors.Is(err, fs.ErrNotExist) {
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

// A part is a finished file.
type part struct {
	path string
	time string
	n    int // of several with the same time, from 1
}

// finishedParts returns the finished parts of path, the oldest first.
func finishedParts(path string) ([]part, error) {
	entries, err := os.ReadDir(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	stem, ext := splitName(filepath.Base(path))
	var parts []part
	for _, e := range entries {
		p := part{path: filepath.Join(filepath.Dir(path), e.Name()), n: 1}
		rest, ok := strings.CutPrefix(e.Name(), stem+"-")
		if rest, ok2 := strings.CutSuffix(rest, ext); !ok || !ok2 || len(rest) < len(partTime) || !e.Type().IsRegular() {
			continue
		} else if p.time = rest[:len(partTime)]; len(rest) > len(partTime) {
			n, err := strconv.Atoi(strings.TrimPrefix(rest[len(partTime):], "_"))
			if err != nil || n < 2 || rest[len(partTime):] != "_"+strconv.Itoa(n) {
				continue
			}
			p.n = n
		}
		if _, err := time.Parse(partTime, p.time); err == nil {
			parts = append(parts, p)
		}
	}
	slices.SortFunc(parts, func(a, b part) int { return cmp.Or(cmp.Compare(a.time, b.time), cmp.Compare(a.n, b.n)) })
	return parts, nil
}
