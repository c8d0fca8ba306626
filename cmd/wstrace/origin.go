package main

import (
	"cmp"
	"errors"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// schemes are those of the URLs of servers.
var schemes = []string{"ws", "wss", "http", "https"}

// parseOrigin returns the URL of a server to stand in front of.
func parseOrigin(s string) (*url.URL, error) {
	if meant := meantURL(s); meant != "" {
		return nil, usagef("bad URL %q, did you mean %q?", s, meant)
	}
	u, err := url.Parse(s)
	var parseErr *url.Error
	if errors.As(err, &parseErr) {
		err = parseErr.Err
	}
	if err != nil {
		return nil, usagef("bad URL %q: %w", s, err)
	}
	port, err := strconv.Atoi(cmp.Or(u.Port(), "80"))
	switch {
	case !slices.Contains(schemes, u.Scheme):
		return nil, usagef("bad URL %q: want ws://, wss://, http:// or https://", s)
	case u.Hostname() == "":
		return nil, usagef("bad URL %q: no host", s)
	case err != nil || port < 1 || port > 65535:
		return nil, usagef("bad URL %q: port out of range", s)
	case u.User != nil:
		return nil, usagef("bad URL %q: the proxy does not send a user and password; the client has to", s)
	}
	if u.Host, err = asciiHost(u); err != nil {
		return nil, usagef("bad URL %q: %w", s, err)
	}
	return u, nil
}

// meantURL returns the URL that was most likely meant by s, which has no "://":
// ws://localhost:1 for ws:localhost:1, localhost:1, :1 and 1; "" for what names
// no host.
func meantURL(s string) string {
	if strings.Contains(s, "://") {
		return ""
	}
	scheme, rest := "ws", s
	if i := strings.IndexAny(s, ":/"); i > 0 && slices.Contains(schemes, strings.ToLower(s[:i])) {
		scheme, rest = strings.ToLower(s[:i]), strings.TrimLeft(s[i:], ":/")
	}
	host, _, _ := strings.Cut(rest, "/")
	if port := strings.TrimPrefix(host, ":"); port != "" && strings.Trim(port, "0123456789") == "" {
		return scheme + "://localhost:" + strings.TrimPrefix(rest, ":")
	}
	if host != "" && (rest != s || strings.EqualFold(host, "localhost") || strings.ContainsAny(host, ".:")) {
		return scheme + "://" + rest
	}
	return ""
}

// asciiHost returns the host and port of u with an internationalized name as DNS,
// TLS and HTTP want it, in A-labels (RFC 5890 §2.3.2.1).
func asciiHost(u *url.URL) (string, error) {
	name := u.Hostname()
	if strings.IndexFunc(name, func(r rune) bool { return r > unicode.MaxASCII }) < 0 {
		return u.Host, nil // with what it has of "_" and capitals
	}
	ascii, err := idna.Lookup.ToASCII(name)
	if err != nil {
		return "", err
	}
	return strings.Replace(u.Host, name, ascii, 1), nil
}
