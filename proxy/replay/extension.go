package replay

import (
	"slices"
	"strings"
)

// An extension is an element of a Sec-WebSocket-Extensions list (RFC 6455 §9.1).
type extension struct {
	name   string
	params []string // name or name=value, without quotes, sorted
}

func (e *extension) has(param string) bool { return slices.Contains(e.params, param) }

func (e *extension) String() string { return strings.Join(append([]string{e.name}, e.params...), "; ") }

// parseExtensions parses a list of extensions, as far as comparing needs it.
func parseExtensions(list string) []extension {
	var es []extension
	for item := range strings.SplitSeq(list, ",") {
		var e extension
		for i, p := range strings.Split(item, ";") {
			name, value, ok := strings.Cut(p, "=")
			p = strings.ToLower(strings.TrimSpace(name))
			if ok {
				p += "=" + strings.Trim(value, "\" \t")
			}
			if i == 0 {
				e.name = p
			} else {
				e.params = append(e.params, p)
			}
		}
		if e.name != "" {
			slices.Sort(e.params)
			es = append(es, e)
		}
	}
	return es
}

// sameExtensions reports whether two lists mean the same.
func sameExtensions(a, b string) bool {
	return slices.EqualFunc(parseExtensions(a), parseExtensions(b), func(x, y extension) bool {
		return x.String() == y.String()
	})
}
