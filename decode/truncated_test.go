package decode

import "testing"

// TestTruncated has what a frame that the connection ends inside of is told by.
func TestTruncated(t *testing.T) {
	for _, c := range []struct {
		b     string
		frame int64
		want  string
	}{
		{"\x81\x00\x82\x05abc", 1, "the connection ends inside frame 1, bin: 3 of 5 bytes of its payload came"},
		{"\x81\x05", 0, "the connection ends inside frame 0, text: 0 of 5 bytes of its payload came"},
		{"\x81\x00\x89", 1, "the connection ends inside frame 1, ping: 1 byte of its header came"},
		{"\x82\x7e\x01", 0, "the connection ends inside frame 0, bin: 3 of 4 bytes of its header came"},
		{"\x82\xff\x01", 0, "the connection ends inside frame 0, bin: 3 of 14 bytes of its header came"},
	} {
		for size := 1; size <= len(c.b); size++ {
			var r record
			s := &Session{Sink: &r}
			s.Open(Info{Conn: 1, Time: start})
			s.Upgraded()
			for b := []byte(c.b); len(b) > 0; b = b[min(size, len(b)):] {
				s.Data(FromServer, start, b[:min(size, len(b))])
				s.Flush(FromServer, start)
			}
			s.End(FromServer, start, EndFIN, "")
			got := ""
			for _, ev := range r {
				for _, v := range ev.Violations {
					if v.ID == "frame-truncated" {
						got = v.Text
						if v.Frame != c.frame {
							t.Errorf("%q: got frame %d, want %d", c.b, v.Frame, c.frame)
						}
					}
				}
			}
			if got != c.want {
				t.Errorf("%q in chunks of %d: got %q, want %q", c.b, size, got, c.want)
			}
		}
	}
}
