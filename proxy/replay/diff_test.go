package replay

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
)

func diff(t *testing.T, a, b string, opts ...LoadOption) string {
	t.Helper()
	var out strings.Builder
	differ, err := Diff(&out, loaded(t, a, opts...), loaded(t, b, opts...), 0)
	if err != nil || differ != (out.Len() > 0) {
		t.Errorf("%v, %v, and printed %q", differ, err, out.String())
	}
	return out.String()
}

func TestDiff(t *testing.T) {
	mask := func(s string) string {
		return strings.ReplaceAll(strings.ReplaceAll(s, `"mask":"01020304"`, `"mask":"0a0b0c0d"`), `"t":0.`, `"t":1.`)
	}
	swapped := strings.Replace(talk, line(talk, 8), "", 1)
	swapped = strings.Replace(swapped, line(talk, 9), "", 1) // heartbeats do not count
	for _, c := range []struct {
		name, a, b string
		opts       []LoadOption
		want       string
	}{
		{"the same", talk, mask(talk), nil, ""},
		{"without heartbeats", talk, swapped, nil, ""},
		{"without heartbeats, exact", talk, swapped, []LoadOption{Exact()}, `  < frame 10000001 unmasked text "John joined."  line 5, 5
  < frame 11000001 unmasked text [0a 4f cd 49 ce cf 4d 55 f0 ca cf c8 d3 03 00]  line 6, 6
  > frame 00000001 text "good "  line 7, 7
- < frame 10001001 unmasked ping "beat"  line 8
- > frame 10001010 pong "beat"  line 9
  > frame 10000000 cont "morning"  line 10, 8
  < frame 11000001 unmasked text [02 11 0a c5 89 95 c5 56 0a e9 f9 f9 29 0a b9 f9 45 79 99 79 e9 00 00]  line 11, 9
  < frame 10000010 unmasked binary [00 01 02]  line 12, 10
  …
`},
		{"spelling of JSON", talk, strings.Replace(talk, `{\"id\":1,`, `{ \"id\" : 1.0,`, 1), nil, ""},
		{"captured", talk, strings.ReplaceAll(strings.Replace(talk, `{\"id\":1,`, `{\"id\":2,`, 1), "John", "Joan"), []LoadOption{Capture("$.id"), Capture("/^(\\w+) joined/"), Ignore("?name")}, ""},
		{"ignored", talk, strings.Replace(talk, `{\"id\":1,`, `{\"id\":2,`, 1), []LoadOption{Ignore("$.id")}, ""},
		{"JSON", talk, strings.Replace(talk, `{\"id\":1,`, `{\"id\":2,`, 1), nil, `  > text "good morning"  line 10, 10
  < text "John says: good morning"  line 11, 11
  < binary [00 01 02]  line 12, 12
- > text '{"id":1,"name":"Welcome John"}'  line 13
+ > text '{"id":2,"name":"Welcome John"}'  line 13: where $.id is 2, expected 1
  > close 1000 "bye"  line 14, 14
  < close 1000 "bye"  line 15, 15
  < the end of the connection (fin)  line 16, 16
  …
`},
		{"shape", talk, strings.ReplaceAll(talk, `"deflate":"John`, `"text":"John`), nil, `  < text "John joined."  line 5, 5
  < text "Welcome John."  line 6, 6
  > text "good morning"  line 10, 10
~ < text "John says: good morning"  line 11, 11: compressed in A only
  < binary [00 01 02]  line 12, 12
  > text '{"id":1,"name":"Welcome John"}'  line 13, 13
  > close 1000 "bye"  line 14, 14
  …
`},
		{"dropped", talk, strings.Replace(talk, line(talk, 11), "", 1), nil, `  < text "John joined."  line 5, 5
  < text "Welcome John."  line 6, 6
  > text "good morning"  line 10, 10
- < text "John says: good morning"  line 11
  < binary [00 01 02]  line 12, 11
  > text '{"id":1,"name":"Welcome John"}'  line 13, 12
  > close 1000 "bye"  line 14, 13
  …
`},
		{"added", talk, strings.Replace(talk, line(talk, 11), line(talk, 11)+line(talk, 11), 1), nil, `  < text "Welcome John."  line 6, 6
  > text "good morning"  line 10, 10
  < text "John says: good morning"  line 11, 11
+ < text "John says: good morning"  line 12
  < binary [00 01 02]  line 12, 13
  > text '{"id":1,"name":"Welcome John"}'  line 13, 14
  > close 1000 "bye"  line 14, 15
  …
`},
		{"handshake", talk, strings.Replace(strings.Replace(talk, `"target":"/chat?name=John"`, `"target":"/chat?name=Joan"`, 1), `["Sec-WebSocket-Protocol","echo"],`, "", 1), nil, `- > GET /chat?name=John  protocol echo, chat  extensions permessage-deflate  line 3
+ > GET /chat?name=Joan  protocol echo, chat  extensions permessage-deflate  line 3
- < 101 Switching Protocols  protocol echo  extensions permessage-deflate  line 4
+ < 101 Switching Protocols  extensions permessage-deflate  line 4
  < text "John joined."  line 5, 5
  < text "Welcome John."  line 6, 6
  > text "good morning"  line 10, 10
  …
`},
		{"longer", talk[:strings.Index(talk, line(talk, 12))], talk, nil, `  < text "Welcome John."  line 6, 6
  > text "good morning"  line 10, 10
  < text "John says: good morning"  line 11, 11
+ < binary [00 01 02]  line 12
+ > text '{"id":1,"name":"Welcome John"}'  line 13
+ > close 1000 "bye"  line 14
+ < close 1000 "bye"  line 15
+ < the end of the connection (fin)  line 16
+ > the end of the connection (fin)  line 17
`},
	} {
		if got := diff(t, c.a, c.b, c.opts...); got != c.want {
			t.Errorf("%s: got\n%swant\n%s", c.name, got, c.want)
		}
	}
}

func TestDifferenceDiff(t *testing.T) {
	for _, c := range []struct{ want, got, diff string }{
		{`{"b":[1,2],"a":"x<y"}`, `{"a":"x<y","b":[1,3]}`, "  {\n    \"a\": \"x<y\",\n    \"b\": [\n      1,\n-     2\n+     3\n    ]\n  }\n"},
		{"one\ntwo\x1b\n", "one\ntwo\n", "  one\n- two\\x1b\n+ two\n"},
		{"\xff\x00", "\xff\x01", "- 00000000  ff 00\n+ 00000000  ff 01\n?              ^^\n"},
		{strings.Repeat("a\n", 100) + "b\n" + strings.Repeat("c\n", 100), strings.Repeat("a\n", 100) + "B\n" + strings.Repeat("c\n", 100),
			"  a\n  a\n  a\n- b\n+ B\n  c\n  c\n  c\n  …\n"},
		{strings.Repeat("x", 500) + "1" + strings.Repeat("y", 500), strings.Repeat("x", 500) + "2" + strings.Repeat("y", 500),
			"- … " + strings.Repeat("x", 40) + "1" + strings.Repeat("y", 79) + " …\n+ … " + strings.Repeat("x", 40) + "2" + strings.Repeat("y", 79) + " …\n"},
		{strings.Repeat("\x00", 160000) + "1" + strings.Repeat("\x00", 31), strings.Repeat("\x00", 160000) + "2" + strings.Repeat("\x00", 31),
			zeros(9997) + zeros(9998) + zeros(9999) + "- 00027100  31" + strings.Repeat(" 00", 15) + "\n+ 00027100  32" + strings.Repeat(" 00", 15) + "\n?           ^^\n" + zeros(10001)},
		{"same", "same", ""},
	} {
		d := Difference{Want: []byte(c.want), Got: []byte(c.got)}
		if got := d.Diff(0); got != c.diff {
			t.Errorf("got\n%swant\n%s", got, c.diff)
		}
	}
}

// zeros returns a line of a diff: the given row of zeros.
func zeros(row int) string {
	return fmt.Sprintf("  %08x  00%s\n", row*16, strings.Repeat(" 00", 15))
}

// Of any two lists, pairs finds an alignment that holds both, in order.
func TestPairs(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	list := func() []step {
		l := make([]step, r.IntN(30))
		for i := range l {
			l[i] = step{key: keyOf(fmt.Sprint(r.IntN(3)))}
		}
		return l
	}
	for range 2000 {
		as, bs := list(), list()
		a, b, same := 0, 0, 0
		for _, p := range pairs(as, bs) {
			if p.a >= 0 {
				if p.a != a {
					t.Fatalf("a%d comes after a%d", p.a, a-1)
				}
				a++
			}
			if p.b >= 0 {
				if p.b != b {
					t.Fatalf("b%d comes after b%d", p.b, b-1)
				}
				b++
			}
			if p.a >= 0 && p.b >= 0 {
				if as[p.a].key != bs[p.b].key {
					t.Fatal("a pair of two that are not the same")
				}
				same++
			}
		}
		if a != len(as) || b != len(bs) {
			t.Fatalf("%d of %d and %d of %d are there", a, len(as), b, len(bs))
		}
		if want := longest(as, bs); same != want {
			t.Fatalf("%d pairs, want %d", same, want)
		}
	}
}

// longest returns the length of the longest list that is part of both.
func longest(as, bs []step) int {
	best := make([][]int, len(as)+1)
	for i := range best {
		best[i] = make([]int, len(bs)+1)
	}
	for i := range as {
		for j := range bs {
			best[i+1][j+1] = max(best[i][j+1], best[i+1][j])
			if as[i].key == bs[j].key {
				best[i+1][j+1] = best[i][j] + 1
			}
		}
	}
	return best[len(as)][len(bs)]
}
