package decode

import "strings"

// withPort adds the port of scheme to an authority without one.
func withPort(authority, scheme string) string {
	port := ":80"
	if strings.EqualFold(scheme, "https") || strings.EqualFold(scheme, "wss") {
		port = ":443"
	}
	if h := hostOf(authority); len(h) == len(authority) || strings.HasSuffix(authority, "]") {
		return authority + port
	}
	return authority
}

// hostOf returns the host in "host:port", without the brackets of an IPv6
// address.
func hostOf(authority string) string {
	if rest, ok := strings.CutPrefix(authority, "["); ok {
		host, _, _ := strings.Cut(rest, "]")
		return host
	}
	host, _, _ := strings.Cut(authority, ":")
	return host
}

// isIP reports whether host is an IP address, not a name.
func isIP(host string) bool {
	if strings.Contains(host, ":") {
		return true
	}
	return strings.Trim(host, "0123456789.") == "" && strings.Count(host, ".") == 3
}

// originFault says why o is not an origin (RFC 6454 §6.2), or returns "". The
// origins of files and some applications have no host.
func originFault(o string) string {
	scheme, host, ok := strings.Cut(o, "://")
	switch {
	case !ok || scheme == "" || strings.Trim(strings.ToLower(scheme), "abcdefghijklmnopqrstuvwxyz0123456789+-.") != "":
		return "has no scheme://"
	case host == "" && strings.HasPrefix(strings.ToLower(scheme), "http"):
		return "has no host"
	case strings.HasSuffix(host, "/"):
		return "ends in a slash"
	case strings.ContainsAny(host, "/?#@"):
		return "is more than scheme, host and port"
	}
	return ""
}

func isLoopback(host string) bool {
	host = strings.ToLower(host)
	return host == "localhost" || strings.HasSuffix(host, ".localhost") || host == "::1" ||
		strings.HasPrefix(host, "127.") && isIP(host)
}

// sameSite reports whether two hosts probably belong to the same site: they are
// equal, or both loopback, or end in the same two labels.
func sameSite(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	if a == b || isLoopback(a) && isLoopback(b) {
		return true
	}
	return !isIP(a) && !isIP(b) && site(a) == site(b)
}

func site(host string) string {
	labels := strings.Split(host, ".")
	return strings.Join(labels[max(0, len(labels)-2):], ".")
}

// originHost returns the host of an http or https origin.
func originHost(origin string) string {
	scheme, rest, ok := strings.Cut(origin, "://")
	if !ok || !strings.HasPrefix(strings.ToLower(scheme), "http") {
		return ""
	}
	return hostOf(rest)
}
