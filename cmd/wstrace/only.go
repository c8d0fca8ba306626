package main

import (
	"net"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// An onlyHosts drops the events of all sessions but those with some hosts, and
// counts the sessions. It is called under the lock of the sink behind it.
type onlyHosts struct {
	hosts  hosts
	to     decode.Sink
	open   decode.PerSession[hostCheck]
	passed int64
}

// A hostCheck says whether a session is one with another host, once that is known.
type hostCheck struct{ known, other bool }

func (o *onlyHosts) emit(ev *decode.Event) {
	v := o.open.Of(ev)
	if !v.known {
		*v = hostCheck{true, ev.Info == nil || !o.hosts.match(urlHost(ev.Info.URL))}
		if v.other {
			o.passed++
		}
	}
	if !v.other {
		o.to.Emit(ev)
	}
}

// urlHost returns the host in a URL, or in "host:port".
func urlHost(url string) string {
	if _, rest, ok := strings.Cut(url, "://"); ok {
		url = rest
	}
	if i := strings.IndexAny(url, "/?#"); i >= 0 {
		url = url[:i]
	}
	url = url[strings.LastIndexByte(url, '@')+1:]
	if host, _, err := net.SplitHostPort(url); err == nil {
		return host
	}
	return strings.Trim(url, "[]")
}
