package saz

import (
	"encoding/xml"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// maxMeta is the longest N_m.xml, in bytes, that is read.
const maxMeta = 1 << 20

// Bits of a session (FiddlerCore, enum SessionFlags). The attribute BitFlags has them in
// hexadecimal, unlike that of a frame.
const (
	bitHTTPS               = 0x1
	bitResponseBodyDropped = 0x20000
	bitWebSocket           = 0x40000
	bitRequestBodyDropped  = 0x100000
)

// Names of flags. Those of Fiddler are read in any case.
const (
	flagClientIP   = "x-clientip"
	flagClientPort = "x-clientport"
	flagHostIP     = "x-hostip"
	flagProcess    = "x-processinfo"
	flagComments   = "ui-comments"

	ours = "x-wstrace-" // those of ours begin so

	flagBy       = ours + "by" // who wrote the archive; all sessions of ours have it
	flagURL      = ours + "url"
	flagServer   = ours + "server"
	flagExt      = ours + "ext"
	flagCont     = ours + "cont"
	flagPiece    = ours + "piece"
	flagMessages = ours + "messages" // no frames are known: each stands for a message
	flagBytes    = ours + "bytes"    // how many there were of each side: "sent got"
	flagDone     = ours + "done"     // when the session was closed
	flagMissing  = ours + "missing-" // with request or response: so much of its body is not here
	flagEnd      = ours + "end-"     // with 1 and 2, in their order: "client time status how text"
)

// timers are the times that are used, in the order of Fiddler.
var timerNames = [...]string{"ClientConnected", "ClientBeginRequest", "GotRequestHeaders", "ClientDoneRequest",
	"ServerConnected", "FiddlerBeginRequest", "ServerGotRequest", "ServerBeginResponse", "GotResponseHeaders", "ServerDoneResponse",
	"ClientBeginResponse", "ClientDoneResponse"}

// A meta is what N_m.xml says.
type meta struct {
	bits   uint64
	timers map[string]time.Time
	flags  map[string]string // names in lower case
}

// timer returns the first of the named times that is known.
func (m *meta) timer(names ...string) time.Time {
	for _, name := range names {
		if t := m.timers[name]; !t.IsZero() {
			return t
		}
	}
	return time.Time{}
}

// number returns the value of a flag that is a number, or 0.
func (m *meta) number(name string) int64 {
	n, _ := strconv.ParseInt(m.flags[name], 10, 64)
	return max(n, 0)
}

// readMeta reads N_m.xml. With an error, m is what could be read.
func readMeta(r io.Reader) (m *meta, err error) {
	m = &meta{timers: map[string]time.Time{}, flags: map[string]string{}}
	limited := &io.LimitedReader{R: r, N: maxMeta + 1}
	d := xml.NewDecoder(limited)
	d.CharsetReader = func(_ string, in io.Reader) (io.Reader, error) { return in, nil } // all that counts is ASCII
	for {
		t, err := d.RawToken()
		if limited.N <= 0 {
			return m, fmt.Errorf("is longer than %d bytes", maxMeta)
		}
		if err == io.EOF {
			return m, nil
		}
		if err != nil {
			return m, err
		}
		if e, ok := t.(xml.StartElement); ok {
			m.element(e)
		}
	}
}

func (m *meta) element(e xml.StartElement) {
	attr := func(name string) string {
		for _, a := range e.Attr {
			if a.Name.Local == name {
				return a.Value
			}
		}
		return ""
	}
	switch e.Name.Local {
	case "Session":
		m.bits, _ = strconv.ParseUint(attr("BitFlags"), 16, 64)
	case "SessionTimers":
		for _, name := range timerNames {
			if t, ok := parseTime(attr(name)); ok && !unknown(t) {
				m.timers[name] = t
			}
		}
	case "SessionFlag":
		m.flags[strings.ToLower(attr("N"))] = attr("V")
	}
}

// parseTime parses a time in the round-trip format of .NET. One without an offset
// counts as UTC.
func parseTime(s string) (time.Time, bool) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		t, err = time.Parse("2006-01-02T15:04:05.999999999", s)
	}
	return t, err == nil
}

// unknown reports whether t is what .NET has for a time that was never set, which an
// offset may follow.
func unknown(t time.Time) bool {
	_, offset := t.Zone()
	return t.Add(time.Duration(offset) * time.Second).IsZero()
}

// appendTime appends a time in the round-trip format of .NET. One that is not known has
// no offset, or else Fiddler would make it local.
func appendTime(dst []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(dst, "0001-01-01T00:00:00"...)
	}
	return t.UTC().AppendFormat(dst, "2006-01-02T15:04:05.0000000Z")
}
