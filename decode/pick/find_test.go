package pick

import (
	"bytes"
	"encoding/json"
	"runtime/debug"
	"slices"
	"testing"
)

var findPaths = []string{"$", "$.a", "$.*", "$..a", "$..*", "$[0]", "$.a[1].b", "$..a..b", "$['x y']", "$..[1]", "$.é", "$[*].a"}

var findMessages = []string{
	``, `{}`, `[]`, `"a"`, ` {"a" : 1 } `, `{"a":{"a":[1,{"b":"x"}]}}`, `[1,[2,[3,{"a":null}]]]`,
	`42["ev",{"a":true}]`, `{"a":1}{"a":2}`, `{"x y":-1.5e3,"a":"\"]}\\"}`, `{"\u00e9":"\ud83d\ude00\ud83d","\u0061":"b\/c\n"}`,
	`{"a":[{},[],"",{"a":{"b":[0,1]}}]}`, `{{{{[[[[`, "{\"a\":\"\xff\"}", `[{"a":1},{"b":{"a":[9,8]}}]`, `{"a":[1, 2 , 3],"b":{ }}`,
}

// TestFind checks that Find finds what a Visitor sees and the path leads to.
func TestFind(t *testing.T) {
	for _, m := range findMessages {
		for _, p := range findPaths {
			checkFind(t, p, []byte(m))
		}
	}
}

func checkFind(t *testing.T, text string, message []byte) {
	t.Helper()
	path, err := ParsePath(text)
	if err != nil || len(path) > MaxFind {
		return
	}
	var want, got []string
	for _, part := range Parts(message) {
		if !part.JSON {
			continue
		}
		v := Visitor{Scalar: func(s Scalar) {
			if path.Matches(s.At) {
				want = append(want, string(part.Bytes[s.Start:s.End]))
			}
		}}
		v.Walk(part.Bytes)
	}
	path.Find(message, func(v []byte) bool {
		if !json.Valid(v) {
			t.Errorf("%s in %q: found %q", text, message, v)
		}
		if v[0] != '{' && v[0] != '[' {
			got = append(got, string(v))
		}
		if v[0] == '"' {
			if got, _ := AppendString(nil, v); string(got) != Decode(v) {
				t.Errorf("%s is taken for %q, want %q", v, got, Decode(v))
			}
		}
		return false
	})
	if !slices.Equal(got, want) {
		t.Errorf("%s in %q: got %q, want %q", text, message, got, want)
	}
}

func FuzzFind(f *testing.F) {
	for _, m := range findMessages {
		f.Add("$..a", []byte(m))
	}
	f.Fuzz(func(t *testing.T, path string, message []byte) { checkFind(t, path, message) })
}

func TestFindStops(t *testing.T) {
	path, _ := ParsePath("$..a")
	n := 0
	if !path.Find([]byte(`{"a":1,"b":{"a":2}}{"a":3}`), func(v []byte) bool { n++; return bytes.Equal(v, []byte("2")) }) || n != 2 {
		t.Errorf("looked at %d values, want 2", n)
	}
}

func TestFindAllocatesNothing(t *testing.T) {
	path, _ := ParsePath("$.data..price")
	message := []byte(`42["trade",{"x":1}]{"data":[{"price":1.5},{"\u0070rice":"2"}]}`)
	n := 0
	if allocs := testing.AllocsPerRun(100, func() {
		path.Find(message, func([]byte) bool { n++; return false })
	}); allocs != 0 && !raceEnabled() || n == 0 {
		t.Errorf("%v allocations, %d values", allocs, n)
	}
}

// raceEnabled reports whether the race detector is built in. It makes a sync.Pool
// drop some of what it gets, which is then allocated again.
func raceEnabled() bool {
	info, _ := debug.ReadBuildInfo()
	return info != nil && slices.Contains(info.Settings, debug.BuildSetting{Key: "-race", Value: "true"})
}
