package edit

import (
	"bytes"
	"encoding/json"
	"strings"

	"github.com/wstrace/wstrace/decode"
	"github.com/wstrace/wstrace/decode/pick"
)

// broken returns the edits of what is no JSON, though it may have been meant to
// be: what looks like a member with a secret name loses its value.
func (c *content) broken(b []byte) []pick.Edit {
	var edits []pick.Edit
	add := func(from, to int, name string) {
		text := string(b[from:to])
		if n := len(edits); from < to && (n == 0 || edits[n-1].End <= from) {
			if p := c.placeholders.text(name, text); p != text {
				edits = append(edits, pick.Edit{Span: pick.Span{Start: from, End: to}, Text: []byte(p)})
			}
		}
	}
	for i := range c.selectors {
		if p := c.selectors[i].Path; p != nil && p.Last() == "" { // any value may be meant
			if at := bytes.IndexAny(b, "{["); at >= 0 {
				add(at, len(b), otherName)
				return edits
			}
		}
	}
	header := "" // the credential that was the value of a member called name
	for i := 0; i < len(b); {
		name, after, ok := nameAt(b, i)
		if !ok {
			i = max(after, i+1)
			continue
		}
		j := skipSpace(b, after)
		if quoted := b[i] == '"'; quoted && j < len(b) && b[j] == ',' && c.credentials && isHeaderName(name) && decode.CredentialHeader(name) {
			if k := skipSpace(b, j+1); k < len(b) && b[k] == '"' { // a list of a name and a value
				from, to := valueAt(b, k)
				add(from, to, name)
				i = max(to, k)
				continue
			}
		}
		if j == len(b) || b[j] != ':' {
			i = max(after-1, i+1) // the end of this string may be the beginning of one
			continue
		}
		j = skipSpace(b, j+1)
		selected := false
		for k := range c.selectors {
			selected = selected || c.selectors[k].Path != nil && c.selectors[k].Path.Last() == name
		}
		inside := j < len(b) && (b[j] == '{' || b[j] == '[')
		if !selected && (!c.credentials || j == len(b) || inside && !decode.CredentialMember(name)) {
			i = j
			continue
		}
		from, to := valueAt(b, j)
		value := string(b[from:to])
		secret := selected || inside || decode.CredentialKey(name, value)
		if lower := strings.ToLower(name); lower == "value" && header != "" {
			secret, name = true, header
		} else if header = ""; lower == "name" && isHeaderName(value) && decode.CredentialHeader(value) {
			header = value
		}
		if secret {
			add(from, to, name)
			i = max(to, j)
			continue
		}
		i = j
	}
	// What is known by its form is looked for between those.
	s, at := string(b), 0
	var all []pick.Edit
	for _, e := range append(edits, pick.Edit{Span: pick.Span{Start: len(b), End: len(b)}}) {
		all = append(all, c.spans(s[at:e.Start], at)...)
		if e.Start < e.End {
			all = append(all, e)
		}
		at = e.End
	}
	return all
}

// nameAt returns what may be the name of a member at b[i]: a string, in quotes of
// either kind, or a word behind a bracket or comma, as JavaScript has it. Where
// there is none, after is where to go on.
func nameAt(b []byte, i int) (name string, after int, ok bool) {
	switch c := b[i]; {
	case c == '"':
		name, after = stringAt(b, i)
		return name, after, true
	case c == '{' || c == ',':
		j := skipSpace(b, i+1)
		if j == len(b) || b[j] == '"' {
			return "", j, false
		}
		quoted := b[j] == '\''
		if quoted {
			j++
		}
		k := j
		const most = 64 // bytes of a name
		for k < len(b) && k-j < most && isWord(b[k]) {
			k++
		}
		if name = string(b[j:k]); quoted && k < len(b) && b[k] == '\'' {
			k++
		}
		if k == j {
			return "", i + 1, false
		}
		if end := skipSpace(b, k); end == len(b) || b[end] != ':' {
			return "", k, false
		}
		return name, k, true
	}
	return "", i + 1, false
}

func isWord(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-' || c == '$'
}

func skipSpace(b []byte, i int) int {
	for i < len(b) && (b[i] == ' ' || b[i] == '\t' || b[i] == '\r' || b[i] == '\n') {
		i++
	}
	return i
}

// stringAt returns the string at b[i], a quote, and where it ends.
func stringAt(b []byte, i int) (s string, end int) {
	j := i + 1
	for j < len(b) && b[j] != '"' {
		if b[j] == '\\' {
			j++
		}
		j++
	}
	j = min(j, len(b))
	end = min(j+1, len(b))
	if json.Unmarshal(b[i:end], &s) != nil {
		s = string(b[i+1 : j])
	}
	return s, end
}

// valueAt returns where the value at b[i] stands, without the quotes of a string.
func valueAt(b []byte, i int) (from, to int) {
	if i >= len(b) {
		return len(b), len(b)
	}
	switch b[i] {
	case '"':
		_, end := stringAt(b, i)
		if end > i+1 && b[end-1] == '"' {
			end--
		}
		return i + 1, max(end, i+1)
	case '\'':
		j := i + 1
		for j < len(b) && b[j] != '\'' {
			if b[j] == '\\' {
				j++
			}
			j++
		}
		return i + 1, min(j, len(b))
	case '{', '[':
		depth := 0
		for j := i; j < len(b); j++ {
			switch b[j] {
			case '"':
				_, end := stringAt(b, j)
				j = end - 1
			case '{', '[':
				depth++
			case '}', ']':
				if depth--; depth == 0 {
					return i, j + 1
				}
			}
		}
		return i, len(b)
	}
	j := i
	for j < len(b) && bytes.IndexByte([]byte(",}] \t\r\n"), b[j]) < 0 {
		j++
	}
	return i, j
}
