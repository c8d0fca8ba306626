package decode

import "testing"

// TestHeadSpans holds what is at fault in a head to its bytes.
func TestHeadSpans(t *testing.T) {
	for id, c := range map[RuleID]struct{ raw, want string }{
		"head-bare-lf":          {"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", "\n"},
		"head-bad-bytes":        {"GET / HTTP/1.1\r\nA: b\x00c\r\n\r\n", "\x00"},
		"head-fold":             {"\r\nGET / HTTP/1.1\r\nA: b\r\n  c\r\n\r\n", "  c"},
		"head-name-invalid":     {"GET / HTTP/1.1\r\nA B: c\r\n\r\n", " "},
		"head-colon-missing":    {"GET / HTTP/1.1\r\nA b\r\n\r\n", "A b"},
		"head-space-colon":      {"GET / HTTP/1.1\r\nA \t: b\r\n\r\n", " \t"},
		"head-length-ambiguous": {"GET / HTTP/1.1\r\nContent-Length: 1, 2\r\n\r\n", "Content-Length"},
	} {
		var r record
		s := &Session{Sink: &r}
		s.Open(Info{Conn: 1, Time: start})
		s.Data(FromClient, start, []byte(c.raw))
		found := false
		for _, ev := range r {
			for _, v := range ev.Violations {
				if v.ID != id {
					continue
				}
				found = true
				got := v.Where.Field
				if v.Where.N > 0 {
					got = c.raw[v.Where.From:][:v.Where.N]
				}
				if got != c.want {
					t.Errorf("%s: got %q, want %q", id, got, c.want)
				}
			}
		}
		if !found {
			t.Errorf("%s: not found in %q", id, c.raw)
		}
	}
}
