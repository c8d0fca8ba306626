package decode

import (
	"slices"
	"strings"
	"testing"
)

// Every edit of every spelling, on the bytes and on the parts alike.
func TestHeadEdit(t *testing.T) {
	for _, c := range []struct {
		name, raw string
		edit      func(*Head) *Head
		want      string // "" for no change
	}{
		{"value", "GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n\r\n", func(h *Head) *Head { return h.WithValue("host", "c") }, "GET / HTTP/1.1\r\nHost: c\r\nX: b\r\n\r\n"},
		{"same value", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(h *Head) *Head { return h.WithValue("Host", "a") }, ""},
		{"no such field", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", func(h *Head) *Head { return h.WithValue("Hos", "b") }, ""},
		{"each line", "GET / HTTP/1.1\nhost:a \nHOST:\tb\nHost :  c\t\r\n\n", func(h *Head) *Head { return h.WithValue("Host", "x") }, "GET / HTTP/1.1\nhost:x \nHOST:\tx\nHost :  x\t\r\n\n"},
		{"empty values", "GET / HTTP/1.1\r\nHost:\r\nHost: \r\n\r\n", func(h *Head) *Head { return h.WithValue("Host", "x") }, "GET / HTTP/1.1\r\nHost:x\r\nHost: x\r\n\r\n"},
		{"no colon", "GET / HTTP/1.1\r\nHost\r\nHost: a\r\n\r\n", func(h *Head) *Head { return h.WithValue("Host", "x") }, "GET / HTTP/1.1\r\nHost\r\nHost: x\r\n\r\n"},
		{"folded", "GET / HTTP/1.1\r\nCookie: a=1;\r\n\tb=2 \r\nHost: a\r\n\r\n", func(h *Head) *Head { return h.WithValue("Cookie", "x") }, "GET / HTTP/1.1\r\nCookie: x \r\nHost: a\r\n\r\n"},
		{"folded, all of it", "GET / HTTP/1.1\r\nCookie:\r\n a\r\n b\r\n\r\n", func(h *Head) *Head { return h.WithValue("Cookie", "x") }, "GET / HTTP/1.1\r\nCookie:\r\n x\r\n\r\n"},
		{"folded, dropped", "GET / HTTP/1.1\r\nA: b\r\nProxy-Authorization: x\r\n y: z\r\nC: d\r\n\r\n", func(h *Head) *Head { return h.Without("proxy-authorization", "C") }, "GET / HTTP/1.1\r\nA: b\r\n\r\n"},
		{"the last field, folded", "GET / HTTP/1.1\r\nA: b\r\n c\r\n\r\n", func(h *Head) *Head { return h.WithValue("A", "d") }, "GET / HTTP/1.1\r\nA: d\r\n\r\n"},
		{"dropped without a colon", "GET / HTTP/1.1\r\nA\r\nB\r\n\r\n", func(h *Head) *Head { return h.Without("A") }, "GET / HTTP/1.1\r\nB\r\n\r\n"},
		{"nothing dropped", "GET / HTTP/1.1\r\nA: b\r\n\r\n", func(h *Head) *Head { return h.Without("B") }, ""},
		{"token dropped", "GET / HTTP/1.1\nA: b, C ,d\na:c\nB: c\n\n", func(h *Head) *Head { return h.WithoutToken("a", "c") }, "GET / HTTP/1.1\nA: b,d\nB: c\n\n"},
		{"token dropped, folded", "GET / HTTP/1.1\r\nA: c,\r\n b\r\n\r\n", func(h *Head) *Head { return h.WithoutToken("A", "c") }, "GET / HTTP/1.1\r\nA: b\r\n\r\n"},
		{"no such token", "GET / HTTP/1.1\r\nA: cc, ,b\r\nB:\r\n\r\n", func(h *Head) *Head { return h.WithoutToken("A", "c") }, ""},
		{"target", "\r\nGET http://h/GET HTTP/1.1\r\nHost: h\r\n\r\n", func(h *Head) *Head { return h.WithTarget("/GET") }, "\r\nGET /GET HTTP/1.1\r\nHost: h\r\n\r\n"},
		{"target that is part of the method", "GET E HTTP/1.1\r\n\r\n", func(h *Head) *Head { return h.WithTarget("/") }, "GET / HTTP/1.1\r\n\r\n"},
		{"no target", "GET  HTTP/1.1\r\n\r\n", func(h *Head) *Head { return h.WithTarget("/") }, "GET / HTTP/1.1\r\n\r\n"},
		{"target with spaces", "GET /a b c HTTP/1.1\r\n\r\n", func(h *Head) *Head { return h.WithTarget("/") }, "GET / HTTP/1.1\r\n\r\n"},
		{"same target", "GET / HTTP/1.1\r\n\r\n", func(h *Head) *Head { return h.WithTarget("/") }, ""},
		{"added", "GET / HTTP/1.1\nHost: h\n\n", func(h *Head) *Head { return h.WithField("A", "b") }, "GET / HTTP/1.1\nHost: h\nA: b\n\n"},
		{"added to none", "GET / HTTP/1.1\r\n\r\n", func(h *Head) *Head { return h.WithField("A", "b") }, "GET / HTTP/1.1\r\nA: b\r\n\r\n"},
		{"not added", "GET / HTTP/1.1\r\na:c\r\n\r\n", func(h *Head) *Head { return h.WithField("A", "b") }, "GET / HTTP/1.1\r\na:b\r\n\r\n"},
		{"several", "GET http://h/ HTTP/1.1\r\nHost: x\r\nProxy-Connection: keep-alive\r\n\r\n",
			func(h *Head) *Head { return h.WithTarget("/").Without("Proxy-Connection").WithValue("Host", "h") }, "GET / HTTP/1.1\r\nHost: h\r\n\r\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			h, err := ParseRequest(c.raw)
			if err != nil {
				t.Fatal(err)
			}
			before := *h
			before.Fields = slices.Clone(h.Fields)
			got := c.edit(h)
			if !sameHead(h, &before) {
				t.Errorf("the head itself is now %+v", h)
			}
			if c.want == "" {
				if got != h {
					t.Errorf("got another head, %q", got.Raw)
				}
				return
			}
			if got.Raw != c.want {
				t.Errorf("got  %q\nwant %q", got.Raw, c.want)
			}
			if want, err := ParseRequest(c.want); err != nil || !sameHead(got, want) {
				t.Errorf("got %+v, parsed anew it is %+v, %v", got, want, err)
			}
			if strings.Contains(c.name, "colon") { // the parts do not tell
				return
			}
			parts := before
			parts.Raw = ""
			want := *got
			want.Raw = ""
			if got := c.edit(&parts); !sameHead(got, &want) {
				t.Errorf("without Raw: got %+v, want %+v", got, want)
			}
		})
	}
}

func sameHead(a, b *Head) bool {
	return a.Raw == b.Raw && a.Method == b.Method && a.Target == b.Target && a.Proto == b.Proto &&
		a.Status == b.Status && a.Reason == b.Reason && a.Cut == b.Cut && slices.Equal(a.Fields, b.Fields)
}

// FuzzHeadEdit checks that an edit sees the fields that parsing sees, and that
// the bytes outside of them stay.
func FuzzHeadEdit(f *testing.F) {
	f.Add("GET / HTTP/1.1\r\nHost: a\r\nCookie: a\r\n b\r\n\r\n")
	f.Add("\n\nHTTP/1.1 101 Switching Protocols\n : \n\t\nA\n\n")
	f.Add("GET / HTTP/1.1\r\n A:\r\n\r\n")
	f.Fuzz(func(t *testing.T, raw string) {
		h, err := ParseRequest(raw)
		if err != nil {
			if h, err = ParseResponse(raw); err != nil {
				return
			}
		}
		var seen []Field
		if got := h.MapValues(func(name, value string) string {
			seen = append(seen, Field{name, value})
			return value
		}); got != h {
			t.Errorf("a change without one: %q", got.Raw)
		}
		if !slices.Equal(seen, h.Fields) {
			t.Errorf("the edit sees %q, parsing %q", seen, h.Fields)
		}
		if s := splitHead(raw); s.join() != raw {
			t.Errorf("split and joined it is %q", s.join())
		}
		marked := h.MapValues(func(_, value string) string { return "x" })
		if again := marked.MapValues(func(_, value string) string { return "x" }); again != marked {
			t.Errorf("a second time: %q, then %q", marked.Raw, again.Raw)
		}
		if len(marked.Fields) != len(h.Fields) {
			t.Errorf("%d fields, now %d", len(h.Fields), len(marked.Fields))
		}
		if h.Status == 0 {
			if got := h.WithTarget("/x"); got.Target != "/x" || !slices.Equal(got.Fields, h.Fields) {
				t.Errorf("with another target it is %q", got.Raw)
			} else if p, err := ParseRequest(got.Raw); err != nil || p.Target != "/x" {
				t.Errorf("%q is no request with that target", got.Raw)
			}
		}
	})
}
