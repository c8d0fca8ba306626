package trust

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
)

// hashed matches the names under which OpenSSL finds certificates and revocation
// lists: a hash of the issuer, and a number that counts from 0 without gaps.
var hashed = regexp.MustCompile(`^([0-9a-f]{8}\.r?)[0-9]+$`)

// fillCerts makes a directory of links to all that is in dirs, and our certificate.
func (d *Dir) fillCerts(dirs []string) error {
	if err := os.Mkdir(d.file(certsName), 0o755); err != nil {
		return err
	}
	next := make(map[string]int) // the next number, by what is before it
	put := func(name, to string) error {
		if m := hashed.FindStringSubmatch(name); m != nil {
			name = fmt.Sprint(m[1], next[m[1]])
			next[m[1]]++
		}
		err := os.Symlink(to, filepath.Join(d.file(certsName), name))
		if errors.Is(err, fs.ErrExist) { // in an earlier directory, which counts first
			return nil
		}
		return err
	}
	const ours = "wstrace.pem"
	if err := os.WriteFile(filepath.Join(d.file(certsName), ours), pemOf(d.ca.Raw), 0o644); err != nil {
		return err
	}
	if hash, err := subjectHash(d.ca.RawSubject); err == nil {
		if err := put(hash+".0", ours); err != nil {
			return err
		}
	}
	for _, dir := range dirs {
		dir, err := filepath.Abs(dir)
		if err != nil {
			return err
		}
		for _, name := range entries(dir) {
			if err := put(name, filepath.Join(dir, name)); err != nil {
				return err
			}
		}
	}
	return nil
}
