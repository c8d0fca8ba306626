package pick

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A Path leads from a JSON document to values inside it. The path $ leads to the
// document itself; it is empty, and not nil.
type Path []step

// A step leads from a JSON value to one inside it.
type step struct {
	name  string // of a member
	index int    // of an element; -1 if the step is to a member
	any   bool   // to any member or element
	deep  bool   // at any depth
}

// ParsePath parses a path such as $.a[0]['b c'].*..d.
func ParsePath(text string) (Path, error) {
	path, err := parsePath(text)
	if err != nil {
		return nil, fmt.Errorf("path %q: %w", text, err)
	}
	return path, nil
}

func parsePath(text string) (Path, error) {
	rest, ok := strings.CutPrefix(text, "$")
	if !ok {
		return nil, fmt.Errorf("does not begin with $")
	}
	path := Path{}
	for rest != "" {
		st := step{index: -1}
		if strings.HasPrefix(rest, "..") {
			st.deep = true
			if rest = rest[1:]; len(rest) > 1 && rest[1] == '[' {
				rest = rest[1:]
			}
		}
		switch rest[0] {
		case '.':
			end := strings.IndexAny(rest[1:], ".[") + 1
			if end == 0 {
				end = len(rest)
			}
			st.name, rest = rest[1:end], rest[end:]
			if st.name == "" {
				return nil, fmt.Errorf("a name is missing before %q", rest)
			}
			st.any = st.name == "*"
		case '[':
			inside, after, err := bracket(rest)
			if err != nil {
				return nil, err
			}
			rest = after
			switch {
			case inside == "*":
				st.any = true
			case inside[0] == '\'' || inside[0] == '"':
				st.name = inside[1 : len(inside)-1]
			default:
				n, err := strconv.ParseUint(inside, 10, 31)
				if err != nil {
					return nil, fmt.Errorf("[%s] is neither a number, a name in quotes nor *", inside)
				}
				st.index = int(n)
			}
		default:
			return nil, fmt.Errorf("%q is neither .name nor [index]", rest)
		}
		path = append(path, st)
	}
	return path, nil
}

// bracket returns what stands in the brackets that s begins with, and what
// follows them.
func bracket(s string) (inside, rest string, err error) {
	end := "]"
	if len(s) > 1 && (s[1] == '\'' || s[1] == '"') {
		end = s[1:2] + "]"
	}
	i := strings.Index(s[min(2, len(s)):], end)
	if i < 0 {
		return "", "", fmt.Errorf("%q has no end", s)
	}
	i += 2 + len(end) - 1
	return s[1:i], s[i+1:], nil
}

// Last returns the last name on the way, or "" if there is none or the path ends
// at any member.
func (p Path) Last() string {
	for _, st := range slices.Backward(p) {
		switch {
		case st.any:
			return ""
		case st.index < 0:
			return st.name
		}
	}
	return ""
}

// Matches reports whether p leads to the place at.
func (p Path) Matches(at Place) bool {
	// As in matching *: when a later step fails, the last step at any depth is
	// tried one key further in.
	deep, from := -1, 0
	i := 0
	for k := 0; k < len(at); {
		if i < len(p) {
			if p[i].deep && i > deep {
				deep, from = i, k
			}
			if p[i].matches(at[k]) {
				i, k = i+1, k+1
				continue
			}
		}
		if deep < 0 {
			return false
		}
		from++
		i, k = deep, from
	}
	return i == len(p)
}

func (st *step) matches(key any) bool {
	switch key := key.(type) {
	case string:
		return st.any || st.index < 0 && st.name == key
	case int:
		return st.any || st.index == key
	}
	return false
}

// A Place is where a value stands in a document: the names of members, which are
// strings, and the indexes of elements, which are ints, on the way to it.
type Place []any

// String returns the path that leads to the place only: $.a[0]['b c'].
func (at Place) String() string {
	b := []byte("$")
	for _, key := range at {
		switch key := key.(type) {
		case int:
			b = fmt.Appendf(b, "[%d]", key)
		case string:
			if plainName.MatchString(key) {
				b = append(append(b, '.'), key...)
			} else {
				b = fmt.Appendf(b, "['%s']", key)
			}
		}
	}
	return string(b)
}

var plainName = regexp.MustCompile(`^[\pL\pN_-]+$`)

// Name returns the name of the innermost member that the place is in, or "".
func (at Place) Name() string {
	for _, key := range slices.Backward(at) {
		if name, ok := key.(string); ok {
			return name
		}
	}
	return ""
}
