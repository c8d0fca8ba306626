package pick

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
)

// matchesSlowly is Path.Matches as it is defined.
func matchesSlowly(p Path, at Place) bool {
	if len(p) == 0 {
		return len(at) == 0
	}
	if len(at) == 0 {
		return false
	}
	if p[0].matches(at[0]) && matchesSlowly(p[1:], at[1:]) {
		return true
	}
	return p[0].deep && matchesSlowly(p, at[1:])
}

func TestMatches(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	steps := []string{".a", ".b", "..a", "..b", ".*", "..*", "[0]", "..[1]", "[*]"}
	keys := []any{"a", "b", 0, 1}
	matched := 0
	for range 50_000 {
		text := "$"
		for range r.IntN(5) {
			text += steps[r.IntN(len(steps))]
		}
		p, err := ParsePath(text)
		if err != nil {
			t.Fatal(err)
		}
		var at Place
		for range r.IntN(7) {
			at = append(at, keys[r.IntN(len(keys))])
		}
		want := matchesSlowly(p, at)
		if want {
			matched++
		}
		if got := p.Matches(at); got != want {
			t.Fatalf("%s matches %v: got %t, want %t", text, at, got, want)
		}
	}
	if matched < 1000 {
		t.Errorf("only %d match", matched)
	}
}

func TestParse(t *testing.T) {
	for text, want := range map[string]string{
		"$":               "",
		"$.a[0]['b c'].*": "",
		"$..a":            "",
		"$..[3]":          "",
		"?token":          "",
		"Cookie:":         "",
		"/a+/":            "",
		"":                `"" is not "$.path", "xml:/path", "?parameter", "Header:", "/expression/", "@offset:length" or "credentials"`,
		"x":               `"x" is not "$.path", "xml:/path", "?parameter", "Header:", "/expression/", "@offset:length" or "credentials"`,
		"$.\xff":          `"$.\xff" is not UTF-8`,
		"$x":              `path "$x": "x" is neither .name nor [index]`,
		"$.":              `path "$.": a name is missing before ""`,
		"$.a..":           `path "$.a..": a name is missing before ""`,
		"$..[":            `path "$..[": "[" has no end`,
		"$[]":             `path "$[]": "[]" has no end`,
		"$['":             `path "$['": "['" has no end`,
		"$[a]":            `path "$[a]": [a] is neither a number, a name in quotes nor *`,
		"@2:4":            "",
		"@-4:4":           "",
		"@mqtt.id":        "",
		"@2":              `"@2" is not "@offset:length", as @2:4, or "@mqtt.id"`,
		"@2:0":            `"@2:0" is not "@offset:length", as @2:4, or "@mqtt.id"`,
		"@:4":             `"@:4" is not "@offset:length", as @2:4, or "@mqtt.id"`,
		"@mqtt":           `"@mqtt" is not "@offset:length", as @2:4, or "@mqtt.id"`,
		"@-3:4":           `"@-3:4" goes beyond the end of a message`,
		"/(/":             "error parsing regexp: missing closing ): `(`",
	} {
		s, err := Parse(text)
		got := ""
		if err != nil {
			got = err.Error()
		}
		if got != want {
			t.Errorf("%q: got %s, want %s", text, got, want)
		}
		if s.String() != text {
			t.Errorf("%q is now %q", text, s)
		}
	}
}

func TestPlace(t *testing.T) {
	at := Place{"a", 1, "b c", 2}
	if got := at.String() + " " + at.Name(); got != "$.a[1]['b c'][2] b c" {
		t.Error(got)
	}
	if p, err := ParsePath(at.String()); err != nil || !p.Matches(at) || p.Matches(at[:3]) {
		t.Error(p, err)
	}
}

func TestSpans(t *testing.T) {
	for expr, want := range map[string]string{
		"/k=(a+)/": "[{2 4} {7 8}]", "/k=(?:x|a+)/": "[{0 4} {5 8}]", "/k=(x)?/": "[{0 2} {5 7}]", "$": "[]",
		"@0:1": "[{0 1}]", "@2:2": "[{2 4}]", "@-3:2": "[{5 7}]", "@7:2": "[]", "@-9:1": "[]", "@2147483647:2147483647": "[]",
	} {
		s, err := Parse(expr)
		if err != nil {
			t.Fatal(err)
		}
		if got := fmt.Sprint(s.Spans([]byte("k=aa k=a"))); got != want {
			t.Errorf("%s: got %s, want %s", expr, got, want)
		}
	}
}

// FuzzParse checks that whatever is a selector can be used.
func FuzzParse(f *testing.F) {
	for _, s := range []string{"$", "$.a[0]['b c'].*..d", "$..[*]", "?a", "A:", "/(a)|b/", "$[''].['x", "xml:/a//b[2]/@*", "@2:4", "@-4:4", "@mqtt.id"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := Parse(text)
		if err != nil {
			return
		}
		set := 0
		for _, is := range []bool{s.Path != nil, s.XML != nil, s.Param != "", s.Header != "", s.Expr != nil, s.Bytes != nil, s.Credentials, s.Untold} {
			if is {
				set++
			}
		}
		if set != 1 {
			t.Errorf("%q sets %d fields", text, set)
		}
		s.Values([]byte(`1{"a":[{"b":1,"":"x"}]}b`))
	})
}

// FuzzApply checks that a path applied to any bytes finds what it finds in the
// decoded values, and that editing nothing leaves every byte as it is.
func FuzzApply(f *testing.F) {
	for _, b := range []string{`{"a":1}`, ` [1,{"a":"x"}] {}`, `42["a",{}]{`, `"s"`, "[[[", "\xff{}", `{"a":{"a":[1,2]},"b":null}`, `{"a":1,"a":2}`} {
		f.Add("$..a", []byte(b))
		f.Add("$[1].*", []byte(b))
	}
	f.Fuzz(func(t *testing.T, text string, message []byte) {
		path, err := ParsePath(text)
		if err != nil {
			return
		}
		var whole []byte
		for _, p := range Parts(message) {
			whole = append(whole, p.Bytes...)
			if !p.JSON {
				continue
			}
			var edits []Edit
			var names []string
			walk := Visitor{
				Scalar: func(s Scalar) {
					if got := Decode(p.Bytes[s.Start:s.End]); got != s.Value {
						t.Errorf("%v stands for %v", s.Value, got)
					}
					if matchesSlowly(path, s.At) != path.Matches(s.At) {
						t.Errorf("%s matches %v only if asked otherwise", text, s.At)
					}
					edits = append(edits, Edit{s.Span, p.Bytes[s.Start:s.End]})
				},
				Name: func(name string, span Span) {
					if got := Decode(p.Bytes[span.Start:span.End]); got != name {
						t.Errorf("name %q stands for %v", name, got)
					}
					names = append(names, name)
				},
				Enter: func(at Place, span Span) bool {
					if inside := p.Bytes[span.Start:span.End]; !json.Valid(inside) || inside[0] != '{' && inside[0] != '[' {
						t.Errorf("%s at %v is no object or array", inside, at)
					}
					return true
				},
			}
			walk.Walk(p.Bytes)
			if got := Apply(nil, p.Bytes, edits); !bytes.Equal(got, p.Bytes) {
				t.Errorf("edited to the same: got %q, was %q", got, p.Bytes)
			}
			var again []string
			count := func(v any) int { return scalars(v, &again) }
			if n := count(Decode(p.Bytes)); n > len(edits) { // names that are doubled are lost in decoding
				t.Errorf("%d scalars in %q, %d seen", n, p.Bytes, len(edits))
			}
			for _, name := range again {
				if !slices.Contains(names, name) {
					t.Errorf("name %q is not seen", name)
				}
			}
		}
		if !bytes.Equal(whole, message) {
			t.Errorf("the parts are %q of %q", whole, message)
		}
	})
}

// scalars counts the scalars in v, and adds the names in it to names.
func scalars(v any, names *[]string) int {
	n := 0
	switch v := v.(type) {
	case map[string]any:
		for name, v := range v {
			*names = append(*names, name)
			n += scalars(v, names)
		}
	case []any:
		for _, v := range v {
			n += scalars(v, names)
		}
	default:
		n = 1
	}
	return n
}
