package decode

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// bodies starts a script whose session has events for bodies.
func bodies(t *testing.T, look Look) *script {
	s := newScript(t)
	s.Look = look
	return s
}

func TestBodies(t *testing.T) {
	chunked := "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nTrailer: z\r\n\r\n"
	long := strings.Repeat("x", 3*MaxPiece)
	for _, c := range []struct {
		name, request, response string
		most                    int64
		want                    []string
	}{
		{"request", "POST / HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "HTTP/1.1 204 No Content\r\n\r\n", 10,
			[]string{"> request POST /", `> body "abc" of 3`, "< response 204"}},
		{"chunked", "GET / HTTP/1.1\r\n\r\n", chunked, 10,
			[]string{"> request GET /", "< response 200", `< body "abcde" of 5`}},
		{"limited", "GET / HTTP/1.1\r\n\r\n", chunked, 2,
			[]string{"> request GET /", "< response 200", `< body "ab" of 5`}},
		{"empty", "GET / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 10,
			[]string{"> request GET /", "< response 200"}},
		{"none", "GET / HTTP/1.1\r\n\r\n", chunked, 0,
			[]string{"> request GET /", "< response 200"}},
		{"long", "GET / HTTP/1.1\r\n\r\n", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), 1 << 20,
			[]string{"> request GET /", "< response 200", fmt.Sprintf(`< body "xxxx"…"xxxx"(%d) of %[1]d`, len(long))}},
		{"default", "GET / HTTP/1.1\r\n\r\n", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(long), long), DefaultBodies,
			[]string{"> request GET /", "< response 200", fmt.Sprintf(`< body "xxxx"…"xxxx"(%d) of %d`, MaxPiece, len(long))}},
		{"default, JSON", "GET / HTTP/1.1\r\n\r\n", fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/problem+json; charset=utf-8\r\nContent-Length: %d\r\n\r\n%s", len(long), long), DefaultBodies,
			[]string{"> request GET /", "< response 200", fmt.Sprintf(`< body "xxxx"…"xxxx"(%d) of %[1]d`, len(long))}},
		{"HEAD", "HEAD / HTTP/1.1\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", 10,
			[]string{"> request HEAD /", "< response 200"}},
	} {
		for _, size := range []int{1, 7, 1 << 20} {
			if size < 1<<20 && len(c.response) > 1000 {
				continue
			}
			t.Run(fmt.Sprint(c.name, " by ", size), func(t *testing.T) {
				s := bodies(t, Look{Bodies: c.most})
				now := s.tick()
				for b := range slices.Chunk([]byte(c.request), size) {
					s.Data(FromClient, now, b)
				}
				for b := range slices.Chunk([]byte(c.response), size) {
					s.Data(FromServer, now, b)
				}
				for _, ev := range s.record {
					if len(ev.Data) > MaxPiece {
						t.Errorf("an event has %d bytes", len(ev.Data))
					}
				}
				s.want(c.want...)
				s.Done(s.tick())
			})
		}
	}
}

// What is on its way is told of after a second, but for a character in two pieces.
func TestBodyUnderWay(t *testing.T) {
	s := bodies(t, Look{Bodies: 1 << 20, WholeBodies: true})
	s.client("GET / HTTP/1.1\r\n\r\n")
	s.server("HTTP/1.1 200 OK\r\n\r\nh\xc3")
	if _, ok := s.Pending(FromServer); !ok {
		t.Error("nothing is pending")
	}
	s.Flush(FromServer, s.tick())
	s.want("> request GET /", "< response 200", `< body "h" of 1 goes on`)
	s.server("\xa9llo") // what had to wait for it is a second old
	s.want(`< body "éllo" of 5 goes on`)
	s.server("!")
	s.End(FromServer, s.tick(), EndFIN, "")
	s.want(`< body "!" of 1 whole text "héllo!" of 7 cut false unfinished false`, "< end fin")
}

func TestBodyWhole(t *testing.T) {
	s := bodies(t, Look{Bodies: 1 << 20, WholeBodies: true, Keep: 4})
	s.client("POST / HTTP/1.1\r\nContent-Length: 6\r\n\r\nabcdef")
	s.want("> request POST /", `> body "abcdef" of 6 whole text "abcd" of 6 cut true unfinished false`)
	s.server("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n\xff\x00")
	s.End(FromServer, s.tick(), EndRST, "")
	s.want("< response 200", `< body "\xff\x00" of 2 cut off whole bin "\xff\x00" of 2 cut false unfinished true`, "< end rst")
}

// A file has bodies without their transfer coding, and maybe not all of them.
func TestBodyOfFile(t *testing.T) {
	s := bodies(t, Look{Bodies: 1 << 20, WholeBodies: true})
	s.client("GET / HTTP/1.1\r\n\r\n")
	s.server("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
	s.Body(FromServer, s.tick(), []byte("abc"), false)
	s.SkipBody(FromServer, s.tick(), 100)
	s.Skip(FromServer, s.tick(), 20) // the transfer coding
	s.Done(s.tick())
	s.want("> request GET /", "< response 200", `< body "abc" of 103 whole text "abc" of 103 cut true unfinished false`, "closed 0 by client, fin: frames 0 0, bytes 0 123")
}
