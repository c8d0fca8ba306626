package decode

import (
	"slices"
	"strings"
)

// The edits of a head make a new one and leave the old one as it is. Where a
// head has Raw they work on that and keep every byte that they need not change:
// the spelling of names, their order, white space, line ends. Lines that
// continue a field (RFC 9112 §5.2) are part of its value. A head without Raw,
// as in HTTP/2, is edited in its parts.
//
// An edit that changes nothing returns the head itself. What is put into a head
// stands there as it is given: nothing is escaped.

// WithTarget returns a request with another target. What is no request stays.
func (h *Head) WithTarget(target string) *Head {
	if h.Target == target || h.Method == "" {
		return h
	}
	e := *h
	e.Target = target
	if h.Raw != "" {
		at := len(h.Raw) - len(strings.TrimLeft(h.Raw, "\r\n")) + len(h.Method) + 1
		e.Raw = h.Raw[:at] + target + h.Raw[at+len(h.Target):]
		e.parseFields() // so that they are parts of the new Raw
	}
	return &e
}

// MapValues returns h with the value of each field replaced by what f makes of
// it. A line without a colon has no place for a value, and stays.
func (h *Head) MapValues(f func(name, value string) string) *Head {
	return h.mapFields(func(old Field) (Field, bool) {
		return Field{old.Name, f(old.Name, old.Value)}, true
	})
}

// WithValue returns h with another value in each field called name, in any
// case.
func (h *Head) WithValue(name, value string) *Head {
	return h.MapValues(func(n, old string) string {
		if strings.EqualFold(n, name) {
			return value
		}
		return old
	})
}

// WithField is like WithValue, and adds the field behind the others if there is
// none.
func (h *Head) WithField(name, value string) *Head {
	if _, ok := h.Lookup(name); ok {
		return h.WithValue(name, value)
	}
	e := *h
	e.Fields = append(slices.Clip(h.Fields), Field{name, value})
	if h.Raw != "" {
		s := splitHead(h.Raw)
		eol := "\n"
		if strings.HasSuffix(s.start, "\r\n") {
			eol = "\r\n"
		}
		s.fields = append(s.fields, name+": "+value+eol)
		e.Raw = s.join()
		e.parseFields()
	}
	return &e
}

// Without returns h without the fields that have one of the names, in any case.
func (h *Head) Without(names ...string) *Head {
	return h.mapFields(func(f Field) (Field, bool) {
		return f, !slices.ContainsFunc(names, func(name string) bool { return strings.EqualFold(f.Name, name) })
	})
}

// WithoutToken returns h without token, in any case, in the comma-separated lists in
// the fields called name (RFC 9110 §5.6.1). A field whose list is then empty goes.
func (h *Head) WithoutToken(name, token string) *Head {
	return h.mapFields(func(f Field) (Field, bool) {
		if !strings.EqualFold(f.Name, name) {
			return f, true
		}
		all := strings.Split(f.Value, ",")
		rest := slices.DeleteFunc(slices.Clone(all), func(t string) bool { return strings.EqualFold(strings.Trim(t, " \t\r\n"), token) })
		if len(rest) == len(all) {
			return f, true
		}
		f.Value = strings.Trim(strings.Join(rest, ","), " \t\r\n")
		return f, strings.Trim(f.Value, ", \t\r\n") != ""
	})
}

// mapFields returns h with the value of each field that f gives it, or without
// the field if f says so.
func (h *Head) mapFields(f func(Field) (Field, bool)) *Head {
	e := *h
	changed := false
	if h.Raw == "" {
		e.Fields = nil
		for _, old := range h.Fields {
			field, stays := f(old)
			changed = changed || !stays || field.Value != old.Value
			if stays {
				e.Fields = append(e.Fields, field)
			}
		}
	} else {
		s := splitHead(h.Raw)
		lines := s.fields[:0]
		for _, line := range s.fields {
			old, at := fieldOf(line)
			field, stays := f(old)
			switch {
			case !stays:
				changed = true
				continue
			case at >= 0 && field.Value != old.Value:
				changed = true
				line = line[:at] + field.Value + line[at+len(old.Value):]
			}
			lines = append(lines, line)
		}
		if changed {
			s.fields = lines
			e.Raw = s.join()
			e.parseFields()
		}
	}
	if !changed {
		return h
	}
	return &e
}

// A splitRaw is a head in lines, all with their ends.
type splitRaw struct {
	start  string   // empty lines and the start line
	fields []string // each with the lines that continue it
	end    string   // the empty line
}

// splitHead splits a head as parseFields does.
func splitHead(raw string) (s splitRaw) {
	at := len(raw) - len(strings.TrimLeft(raw, "\r\n"))
	at += lineLen(raw[at:])
	s.start = raw[:at]
	for rest := raw[at:]; ; {
		n := lineLen(rest)
		if line, _ := cutLine(rest); line == "" {
			s.end = rest
			return s
		}
		for n < len(rest) && (rest[n] == ' ' || rest[n] == '\t') {
			n += lineLen(rest[n:])
		}
		s.fields = append(s.fields, rest[:n])
		rest = rest[n:]
	}
}

func (s *splitRaw) join() string {
	return s.start + strings.Join(s.fields, "") + s.end
}

// lineLen returns the length of the first line of s, with its end.
func lineLen(s string) int {
	if i := strings.IndexByte(s, '\n'); i >= 0 {
		return i + 1
	}
	return len(s)
}

// fieldOf returns the field that is in line, and where in line its value is, or
// is to be; -1 if there is no place for one.
func fieldOf(line string) (f Field, at int) {
	name, rest, ok := strings.Cut(strings.TrimRight(line, "\r\n"), ":")
	f = Field{strings.TrimSpace(name), strings.Trim(rest, " \t\r\n")}
	if !ok {
		return f, -1
	}
	space := " \t\r\n"
	if f.Value == "" {
		space = " \t"
	}
	rest = line[len(name)+1:]
	return f, len(line) - len(strings.TrimLeft(rest, space))
}
