package decode

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/wstrace/wstrace/decode/internal/vectors"
)

// parts splits b into parts of the lengths in sizes, the last of which goes
// on; a length of 0 counts as 256.
func parts(b []byte, sizes []byte) [][]byte {
	var ps [][]byte
	for i := 0; len(b) > 0; i++ {
		n := 1
		if len(sizes) > 0 {
			n = int(sizes[min(i, len(sizes)-1)])
		}
		if n == 0 {
			n = 256
		}
		n = min(n, len(b))
		ps, b = append(ps, b[:n]), b[n:]
	}
	return ps
}

// longSeed is the length of seeds, in bytes, above which fuzzing gets slow.
const longSeed = 1024

// FuzzDecoder checks that any split of the bytes gives the same frames, and
// that frames and leftovers rebuild the bytes.
func FuzzDecoder(f *testing.F) {
	for _, v := range vectors.Load(f, vectorFiles) {
		for _, s := range v.Steps {
			if !v.Heads && len(s.Bytes) <= longSeed {
				f.Add(s.Bytes, []byte{3, 1})
			}
		}
	}
	f.Fuzz(func(t *testing.T, b, sizes []byte) {
		var whole, split Decoder
		want := decodeAll(&whole, [][]byte{b})
		got := decodeAll(&split, parts(b, sizes))
		if len(got) != len(want) {
			t.Fatalf("got %d frames, whole %d", len(got), len(want))
		}
		var rebuilt []byte
		for i, f := range got {
			w := want[i]
			if f.Header != w.Header || f.N != w.N || f.Offset != w.Offset || f.Complete != w.Complete ||
				!bytes.Equal(f.AppendWire(nil), w.AppendWire(nil)) {
				t.Errorf("got frame %+v, whole %+v", f, w)
			}
			if f.Offset != int64(len(rebuilt)) {
				t.Errorf("frame %d is at %d, want %d", i, f.Offset, len(rebuilt))
			}
			rebuilt = f.AppendWire(rebuilt)
		}
		head, rest, err := whole.Lost()
		splitHead, _, splitErr := split.Lost()
		if err != splitErr || !bytes.Equal(head, splitHead) {
			t.Errorf("lost at % x, %v, whole at % x, %v", splitHead, splitErr, head, err)
		}
		if err == nil {
			head = whole.Partial()
		}
		rebuilt = append(append(rebuilt, head...), rest...)
		if !bytes.Equal(rebuilt, b) {
			t.Errorf("rebuilt % x, want % x", rebuilt, b)
		}
	})
}

// FuzzSession checks that any split of the bytes of both sides gives the same
// events, that heads, frames and junk rebuild the bytes as far as they were
// decoded, and that the rest was counted.
func FuzzSession(f *testing.F) {
	request, response := []byte(upgradeRequest), []byte(upgradeResponse)
	for _, v := range vectors.Load(f, vectorFiles) {
		client, server := sent(v.Steps, FromClient), sent(v.Steps, FromServer)
		if len(client)+len(server) > longSeed {
			continue
		}
		if !v.Heads {
			f.Add(client, server, []byte{5}, true)
			client, server = append(request, client...), append(response, server...)
		}
		f.Add(client, server, []byte{100, 0, 7}, false)
	}
	for _, res := range []string{
		"HTTP/1.1 403 Forbidden\r\nContent-Length: 5\r\n\r\nsorry",
		"HTTP/1.1 403 Forbidden\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nsorry\r\n0\r\n\r\n",
		"HTTP/1.0 403 Forbidden\r\n\r\nsorry",
		"HTTP/1.1 100 Continue\r\n\r\n" + upgradeResponse,
		"hello\n\n",
	} {
		f.Add(request, []byte(res), []byte{40}, false)
	}
	f.Add([]byte("POST / HTTP/1.1\r\nContent-Length: 5\r\n\r\nHello"), []byte("HTTP/1.1 200 OK\r\n\r\nHello"), []byte{9}, false)
	f.Add([]byte(strings.Replace(upgradeRequest, "\r\n\r\n", "\r\nContent-Length: 1\r\n\r\nx\x81\x80", 1)), response, []byte{0}, false)
	f.Add([]byte("GET / HTTP/1.1\r\n\r\n"), append(response, "\x81\x00"...), []byte{0}, false)

	f.Fuzz(func(t *testing.T, client, server, sizes []byte, upgraded bool) {
		// The sides take turns, a part of each; then every byte is a part.
		turns := interleave(parts(client, sizes), parts(server, sizes))
		r := playTurns(turns, upgraded)
		if got, want := playTurns(byteByByte(turns), upgraded).lines(), r.lines(); !slices.Equal(got, want) {
			t.Fatalf("byte by byte: got\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		if got, want := playTurns(byteByByte(turns), upgraded).findings(), r.findings(); !slices.Equal(got, want) {
			t.Fatalf("byte by byte: found\n\t%s\nwant\n\t%s", strings.Join(got, "\n\t"), strings.Join(want, "\n\t"))
		}
		closed := r[len(r)-1]
		if closed.Kind != KindClosed {
			t.Fatalf("got %q at the end, want that it is closed", line(closed))
		}
		for d, all := range [][]byte{client, server} {
			rebuilt := r.wire(Dir(d))
			if !bytes.HasPrefix(all, rebuilt) {
				t.Errorf("rebuilt %q of the %s, want a beginning of %q", rebuilt, Dir(d), all)
			}
			if h := closed.Handshake; h != nil && h.Accepted && len(rebuilt) != len(all) {
				t.Errorf("rebuilt %q of the %s, want %q", rebuilt, Dir(d), all)
			}
			if got := r.heads(Dir(d)) + closed.Totals.Bytes[d]; got != int64(len(all)) {
				t.Errorf("counted %d bytes of the %s, want %d", got, Dir(d), len(all))
			}
		}
	})
}

// interleave makes steps of the parts of both sides in turn.
func interleave(client, server [][]byte) []vectors.Step {
	var steps []vectors.Step
	for i := range max(len(client), len(server)) {
		if i < len(client) {
			steps = append(steps, vectors.Step{Side: vectors.Client, Bytes: client[i]})
		}
		if i < len(server) {
			steps = append(steps, vectors.Step{Side: vectors.Server, Bytes: server[i]})
		}
	}
	return steps
}

func playTurns(steps []vectors.Step, upgraded bool) record {
	var r record
	s := &Session{Sink: &r, Look: Look{Messages: true, Advice: true, Seen: new(Seen)}}
	s.Open(Info{Conn: 1, Time: start, Ext: permessageDeflate})
	if upgraded {
		s.Upgraded()
	}
	for _, step := range steps {
		s.Data(Dir(step.Side), start, step.Bytes)
	}
	s.End(FromServer, start, EndFIN, "")
	s.End(FromClient, start, EndFIN, "")
	s.Done(start)
	return r
}

// heads returns how many bytes of heads d sent.
func (r record) heads(d Dir) int64 {
	n := 0
	for _, ev := range r {
		switch {
		case ev.Dir != d:
		case ev.Kind == KindRequest:
			n += len(ev.Handshake.Request.Raw)
		case ev.Kind == KindResponse:
			n += len(ev.Head.Raw)
		}
	}
	return int64(n)
}

// FuzzHead checks that no head makes the parser panic or changes, and that it
// ends where it ends however its bytes come.
func FuzzHead(f *testing.F) {
	for _, v := range vectors.Load(f, "../testdata/vectors/handshake.txt") {
		for _, s := range v.Steps {
			f.Add(s.Bytes)
		}
	}
	f.Add([]byte("\r\n\nGET / HTTP/1.0\nA : b\n c\n\td\nE\n:\n\n"))
	f.Add([]byte("HTTP/1.1 200\r\n\r\r\nConnection: ,a\r\n ,\x00\r\n\r\n\r\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) == 0 {
			return // which is no head
		}
		n := HeadLen(b, 0)
		for at := range b {
			got := HeadLen(b[:at], 0)
			if got > 0 && (got > at || got != n) {
				t.Fatalf("cut at %d: got %d bytes of head, whole %d", at, got, n)
			}
			if got == 0 && HeadLen(b, at) != n {
				t.Fatalf("split at %d: got %d bytes of head, whole %d", at, HeadLen(b, at), n)
			}
		}
		raw := string(b)
		if n > 0 {
			raw = raw[:n]
		}
		req, err := ParseRequest(raw)
		checkHead(t, req, raw)
		capitals := strings.EqualFold(req.Method, "GET") || len(req.Method) <= 20 && strings.Trim(req.Method, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
		if err == nil && capitals && strings.HasPrefix(req.Proto, "HTTP/1.") && !MayBeRequest(b, true) {
			t.Errorf("%q is a request and may be none", raw)
		}
		res, _ := ParseResponse(raw)
		checkHead(t, res, raw)
	})
}

func checkHead(t *testing.T, h *Head, raw string) {
	t.Helper()
	if h.Raw != raw {
		t.Fatalf("head of %q has bytes %q", raw, h.Raw)
	}
	if h.Canonical() && string(h.Append(nil)) != raw {
		t.Errorf("%q is canonical, and its parts make %q", raw, h.Append(nil))
	}
	for _, f := range h.Fields {
		if !strings.Contains(raw, f.Name) || !strings.Contains(raw, f.Value) {
			t.Errorf("%q has no field %q", raw, f)
		}
		if _, ok := h.Lookup(f.Name); !ok {
			t.Errorf("%q: no field called %q", raw, f.Name)
		}
	}
	h.KeepAlive()
	AsksForWebSocket(h)
	RequestBody(h)
	ResponseBody(h, "GET")
}

// FuzzBody checks that a body ends at the same place at every split, and that
// what is done stays so.
func FuzzBody(f *testing.F) {
	f.Add("Transfer-Encoding: chunked", []byte("5;a=b\r\nHello\r\nA\r\n0123456789\r\n0\r\nA: b\r\n\r\nGET /"))
	f.Add("Transfer-Encoding: chunked", []byte("1\nx\n0\n\n"))
	f.Add("Transfer-Encoding: chunked", []byte("fffffffffffffffff\r\n"))
	f.Add("Content-Length: 5, 5", []byte("Hello, you"))
	f.Add("Content-Length: x", []byte("Hello, you"))
	f.Add("", []byte("Hello"))
	f.Fuzz(func(t *testing.T, field string, stream []byte) {
		h, err := ParseRequest("POST / HTTP/1.1\r\n" + field + "\r\n\r\n")
		if err != nil {
			t.Skip()
		}
		n, whole := feed(RequestBody(h), string(stream), 0)
		if n > len(stream) || n < len(stream) && !whole.Done() {
			t.Fatalf("got %d bytes of body of %d, done %t", n, len(stream), whole.Done())
		}
		if whole.Done() && whole.Next([]byte("more")) != 0 {
			t.Error("more bytes belong to a body that is done")
		}
		for at := range stream {
			if got, b := feed(RequestBody(h), string(stream), at); got != n || b != whole {
				t.Fatalf("split at %d: got %d bytes of body, %+v, whole %d, %+v", at, got, b, n, whole)
			}
		}
	})
}
