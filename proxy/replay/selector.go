package replay

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// A selector names a part of a session:
//
//	$.user.id  $[1].*  $..token   values in the JSON of messages
//	?token                        a parameter of the query
//	Authorization:                the value of a header
//	/[0-9]+ ms/                   what a regular expression matches in messages
type selector struct {
	text   string
	path   []step         // of JSON; nil for none
	query  string         // name of a parameter
	header string         // name of a header
	re     *regexp.Regexp // of messages
}

// A step leads from a JSON value to one inside it.
type step struct {
	name  string // of a member
	index int    // of an element; -1 if the step is to a member
	any   bool   // to any member or element
	deep  bool   // at any depth
}

func parseSelector(s string) (selector, error) {
	sel := selector{text: s}
	switch {
	case strings.HasPrefix(s, "$"):
		path, err := parsePath(s)
		if err != nil {
			return sel, fmt.Errorf("path %q: %w", s, err)
		}
		sel.path = path
		return sel, nil
	case len(s) > 1 && s[0] == '?':
		sel.query = s[1:]
		return sel, nil
	case len(s) > 2 && s[0] == '/' && s[len(s)-1] == '/':
		re, err := regexp.Compile(s[1 : len(s)-1])
		sel.re = re
		return sel, err
	case len(s) > 1 && s[len(s)-1] == ':':
		sel.header = s[:len(s)-1]
		return sel, nil
	}
	return sel, fmt.Errorf(`%q is not "$.path", "?parameter", "Header:" or "/expression/"`, s)
}

func parseSelectors(texts []string) ([]selector, error) {
	var list []selector
	for _, text := range texts {
		sel, err := parseSelector(text)
		if err != nil {
			return nil, err
		}
		list = append(list, sel)
	}
	return list, nil
}

// parsePath parses a path such as $.a[0]['b c'].*..d. The path $ itself is
// empty and not nil.
func parsePath(s string) ([]step, error) {
	path := []step{}
	rest := s[1:]
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
	close := "]"
	if len(s) > 1 && (s[1] == '\'' || s[1] == '"') {
		close = s[1:2] + "]"
	}
	i := strings.Index(s[min(2, len(s)):], close)
	if i < 0 {
		return "", "", fmt.Errorf("%q has no end", s)
	}
	i += 2 + len(close) - 1
	return s[1:i], s[i+1:], nil
}

// pathMatches reports whether the steps lead to the place at, of a value inside
// a document. A place holds names as strings and indexes as ints.
func pathMatches(steps []step, at []any) bool {
	if len(steps) == 0 {
		return len(at) == 0
	}
	if len(at) == 0 {
		return false
	}
	st := steps[0]
	if st.matches(at[0]) && pathMatches(steps[1:], at[1:]) {
		return true
	}
	return st.deep && pathMatches(steps, at[1:])
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

// placeName returns the path of the place at.
func placeName(at []any) string {
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
