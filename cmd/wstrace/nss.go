package main

import (
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// nssDB is the file by which a store of NSS is known.
const nssDB = "cert9.db"

// An nssStore is a store of NSS: that of a profile of Firefox, or the one that
// Chromium and others share. It is changed by certutil.
type nssStore struct {
	certutil, dir string
}

// openNSS finds the stores of browsers. If create is set, there is one for Chromium
// in any case.
func openNSS(create bool) ([]place, error) {
	if runtime.GOOS == "windows" {
		return nil, errors.New("they use the system's store here")
	}
	certutil, err := findCertutil()
	if err != nil {
		return nil, hinted{errors.New("certutil is not installed"), "apt install libnss3-tools, dnf install nss-tools or brew install nss"}
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return nil, err
	}
	var places []place
	add := func(what, dir string) {
		places = append(places, place{what + fmt.Sprintf(" in %q", dir), nssStore{certutil, dir}})
	}
	for _, dir := range chromiumStores(home, create) {
		add("Chromium", dir)
	}
	for _, dir := range firefoxProfiles(home) {
		add("Firefox", dir)
	}
	if len(places) == 0 {
		return nil, errors.New("there is no browser profile; a browser creates one when it first runs")
	}
	return places, nil
}

// findCertutil returns the certutil of NSS. Homebrew may keep it out of PATH.
func findCertutil() (string, error) {
	name, err := exec.LookPath("certutil")
	if err != nil && runtime.GOOS == "darwin" {
		for _, prefix := range []string{"/opt/homebrew", "/usr/local"} {
			if name, err := exec.LookPath(prefix + "/opt/nss/bin/certutil"); err == nil {
				return name, nil
			}
		}
	}
	return name, err
}

// chromiumStores returns the stores in which Chromium looks: ~/.pki/nssdb, and since
// version 146 the one in XDG_DATA_HOME unless ~/.pki/nssdb exists. If create is set and
// there is none, or an empty folder keeps Chromium from the other, it is the first,
// which all versions look at.
func chromiumStores(home string, create bool) []string {
	if runtime.GOOS == "darwin" {
		return nil // it uses the system's
	}
	first := filepath.Join(home, ".pki", "nssdb")
	stores := existing(nssDB, first,
		filepath.Join(xdgDir("XDG_DATA_HOME", home, ".local/share"), "pki", "nssdb"),
		filepath.Join(home, "snap/chromium/current/.pki/nssdb"),
		filepath.Join(home, "snap/chromium/current/.local/share/pki/nssdb"),
		filepath.Join(home, ".var/app/org.chromium.Chromium/.pki/nssdb"),
		filepath.Join(home, ".var/app/org.chromium.Chromium/data/pki/nssdb"))
	isFirst := len(stores) > 0 && stores[0] == first
	if _, err := os.Stat(first); create && !isFirst && (len(stores) == 0 || err == nil) {
		stores = append([]string{first}, stores...)
	}
	return stores
}

// firefoxProfiles returns the profiles that Firefox has made: since version 147 in
// XDG_CONFIG_HOME, before in ~/.mozilla; as a snap or a flatpak, in a home of its own.
func firefoxProfiles(home string) []string {
	roots := []string{
		filepath.Join(home, ".mozilla/firefox"),
		filepath.Join(xdgDir("XDG_CONFIG_HOME", home, ".config"), "mozilla/firefox"),
		filepath.Join(home, "snap/firefox/common/.mozilla/firefox"),
		filepath.Join(home, "snap/firefox/common/.config/mozilla/firefox"),
		filepath.Join(home, ".var/app/org.mozilla.firefox/.mozilla/firefox"),
		filepath.Join(home, ".var/app/org.mozilla.firefox/config/mozilla/firefox"),
	}
	if runtime.GOOS == "darwin" {
		roots = []string{filepath.Join(home, "Library/Application Support/Firefox/Profiles")}
	}
	var profiles []string
	for _, root := range roots {
		entries, _ := os.ReadDir(root)
		for _, e := range entries {
			profiles = append(profiles, existing(nssDB, filepath.Join(root, e.Name()))...)
		}
	}
	return profiles
}

// existing returns those of dirs that have the file name.
func existing(name string, dirs ...string) (have []string) {
	for _, dir := range dirs {
		if _, err := os.Stat(filepath.Join(dir, name)); err == nil {
			have = append(have, dir)
		}
	}
	return have
}

// xdgDir returns the folder that the variable name names, or else its default in
// home. The XDG Base Directory Specification ignores relative ones.
func xdgDir(name, home, or string) string {
	if dir := os.Getenv(name); filepath.IsAbs(dir) {
		return dir
	}
	return filepath.Join(home, or)
}

func (s nssStore) install(cert *x509.Certificate) error {
	if _, err := os.Stat(filepath.Join(s.dir, nssDB)); errors.Is(err, fs.ErrNotExist) {
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return failed("make", s.dir, err)
		}
		if _, err := s.run(nil, "-N", "--empty-password"); err != nil {
			return err
		}
	}
	block := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert.Raw})
	if _, err := s.run(block, "-A", "-a", "-t", "C,,", "-n", nickname(cert)); err != nil {
		return err
	}
	_, err := s.run(nil, "-V", "-u", "L", "-n", nickname(cert)) // whether it is trusted now
	return err
}

func (s nssStore) uninstall(cert *x509.Certificate) error {
	out, err := s.run(nil, "-L", "-n", nickname(cert))
	if strings.Contains(out, "Could not find cert: ") {
		return nil
	}
	if err == nil {
		_, err = s.run(nil, "-D", "-n", nickname(cert))
	}
	return err
}

// nickname returns the name of cert in a store.
func nickname(cert *x509.Certificate) string {
	return cert.Subject.CommonName + " " + cert.SerialNumber.String()
}

// run runs certutil on the store. It asks for a password on the terminal.
func (s nssStore) run(in []byte, args ...string) (output string, err error) {
	cmd := exec.Command(s.certutil, append(args, "-d", "sql:"+s.dir)...)
	cmd.Stdin = strings.NewReader(string(in))
	out, err := cmd.CombinedOutput()
	if err != nil {
		err = commandError(cmd, out, err)
	}
	return string(out), err
}
