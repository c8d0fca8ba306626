package interop

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"sync"
)

// A job is one conversation: the client connects, sends the messages of each
// round and waits until as many have come back, and closes with status code
// 1000 and the reason "bye".
type job struct {
	ID      string      `json:"id"`
	URL     string      `json:"url"`     // has id=ID in its query, by which the server knows it
	Proxy   string      `json:"proxy"`   // "host:port" of a forward proxy, or ""
	Tunnel  bool        `json:"tunnel"`  // go through the proxy by CONNECT, not absolute-form
	CA      string      `json:"ca"`      // the file with the authority to trust, for wss
	Deflate bool        `json:"deflate"` // offer permessage-deflate
	Whole   bool        `json:"whole"`   // the server can't put fragments together
	Rounds  [][]message `json:"rounds"`
	Echoes  []int       `json:"echoes,omitempty"` // how many messages come back in each round, if not as many as were sent
}

// A message is of type "text" or "binary", or a "ping" that nobody waits for.
type message struct {
	Type string `json:"type"`
	Len  int    `json:"len"` // bytes of payload
}

// payload returns what every peer sends as a message of that type and length:
// text of two-byte characters, or bytes.
func (m message) payload() []byte {
	if m.Type == "text" {
		return []byte(strings.Repeat("é", m.Len/2) + strings.Repeat("x", m.Len%2))
	}
	b := make([]byte, m.Len)
	for i := range b {
		b[i] = byte(i*7 + i>>8)
	}
	return b
}

// A report is something that a peer says it did: it sent or got a message or a
// control frame, it masked a frame, or it is done with the job.
type report struct {
	ID    string `json:"id"`
	Did   string `json:"did"`             // sent, got, mask, done
	Type  string `json:"type,omitempty"`  // text, binary, ping, pong, close
	Len   int    `json:"len,omitempty"`   // bytes of a message
	Sum   string `json:"sum,omitempty"`   // the beginning of its SHA-256
	Text  string `json:"text,omitempty"`  // payload of a ping or pong; code and reason; masking key
	Error string `json:"error,omitempty"` // of done: why it failed
}

// String returns what is compared.
func (r report) String() string {
	switch r.Type {
	case "text", "binary":
		return fmt.Sprintf("%s of %d bytes, %s", r.Type, r.Len, r.Sum)
	}
	return fmt.Sprintf("%s %q", r.Type, r.Text)
}

func sum(p []byte) string {
	s := sha256.Sum256(p)
	return hex.EncodeToString(s[:8])
}

// A board gathers what peers report, by job.
type board struct {
	mu      sync.Mutex
	entries map[string]*entry
	err     error // there will be no more reports
}

type entry struct {
	reports []report
	end     *report       // that the job is done; what comes late is behind it
	done    chan struct{} // closed when the job is, or the board has failed
}

// entry returns that of a job. b.mu is held.
func (b *board) entry(id string) *entry {
	e := b.entries[id]
	if e == nil {
		e = &entry{done: make(chan struct{})}
		if b.entries == nil {
			b.entries = make(map[string]*entry)
		}
		if b.entries[id] = e; b.err != nil {
			close(e.done)
		}
	}
	return e
}

func (b *board) add(r report) {
	b.mu.Lock()
	defer b.mu.Unlock()
	e := b.entry(r.ID)
	e.reports = append(e.reports, r)
	if r.Did == "done" && e.end == nil {
		if e.end = &r; b.err == nil {
			close(e.done)
		}
	}
}

// fail ends the waiting for whatever is not done.
func (b *board) fail(err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.err != nil {
		return
	}
	b.err = err
	for _, e := range b.entries {
		if e.end == nil {
			close(e.done)
		}
	}
}

// reports returns what was reported of a job so far.
func (b *board) reports(id string) []report {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.entry(id).reports
}

// wait returns what was reported of a job when it is done.
func (b *board) wait(ctx context.Context, id string) ([]report, error) {
	b.mu.Lock()
	e := b.entry(id)
	b.mu.Unlock()
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case e.end == nil && b.err != nil:
		return nil, b.err
	case e.end == nil:
		return nil, fmt.Errorf("not done, but %v", e.reports)
	case e.end.Error != "":
		return nil, errors.New(e.end.Error)
	}
	return e.reports, nil
}

// A diary is what a peer that is written in Go reports of one job.
type diary struct {
	*board
	id string
}

func (d diary) message(did, typ string, p []byte) {
	d.add(report{ID: d.id, Did: did, Type: typ, Len: len(p), Sum: sum(p)})
}

func (d diary) control(did, typ, text string) {
	d.add(report{ID: d.id, Did: did, Type: typ, Text: text})
}

func (d diary) close(did string, code int, reason string) {
	d.control(did, "close", fmt.Sprint(code, " ", reason))
}

func (d diary) done(err error) {
	r := report{ID: d.id, Did: "done"}
	if err != nil {
		r.Error = err.Error()
	}
	d.add(r)
}
