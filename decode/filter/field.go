package filter

import (
	"slices"
	"strings"

	"github.com/wstrace/wstrace/decode"
)

// A Type says which values a field has, and so what it can be compared with.
type Type uint8

const (
	Bool     Type = iota // N is 0 or 1
	Number               // N
	Size                 // N in bytes
	Duration             // N in nanoseconds
	Seconds              // the same; a number without a unit is in seconds
	Time                 // N in nanoseconds since 1970
	Text                 // S
	Binary               // S
	Word                 // N is the index in Field.Words
	JSON                 // S is the value as it stands in the document
)

var typeNames = [...]string{"yes or no", "number", "size", "duration", "seconds", "time", "text", "bytes", "word", "JSON"}

func (t Type) String() string { return typeNames[t] }

// A Value is a value of a field. S is valid during the call.
type Value struct {
	N int64
	S string
}

// A Subject is what an expression is about.
type Subject struct {
	*decode.Event
	Finding *decode.Violation // if it is about one violation of the event; nil if not

	memory   *memory
	messages bool   // State.Messages
	buf      []byte // scratch
	json     []byte // scratch
}

// A Get returns the ith value that a field has in s. ok is false if there are no
// more.
type Get func(s *Subject, i int) (v Value, ok bool)

// A Field is something that an expression can name.
type Field struct {
	Name string // "op"; "header.NAME" is a family: any name stands for NAME
	Doc  string // what it is, in a line
	Type Type

	Min, Max int64               // of a Number or Size; a Max of 0 is no limit
	Words    []string            // of a Word, and a Text that has no others; "" is none
	Ordered  bool                // words can be compared by < and >
	Needs    Needs               // to have it
	Advised  func(v string) bool // whether a value is given only if sessions give advice; may be nil

	Get  Get                            // unless it is a family
	Make func(name string) (Get, error) // of a family

	remembers bool // something of the session
	single    bool // a column has the first value alone
	searches  bool // HTTP bodies, where a filter names it; a column does not ask for them
}

var (
	fields []*Field
	byName = map[string]*Field{}
)

// Register adds a field. It is for init functions.
func Register(f Field) {
	if byName[f.Name] != nil {
		panic("filter: two fields called " + f.Name)
	}
	fields = append(fields, &f)
	byName[f.Name] = &f
}

// Fields returns the fields, in the order in which they were registered.
func Fields() []*Field { return slices.Clone(fields) }

// family returns the name of a family up to its point, or "".
func (f *Field) family() string {
	if f.Make == nil {
		return ""
	}
	return f.Name[:strings.IndexByte(f.Name, '.')+1]
}

// lookup returns the field called name and what stands for the NAME of a family.
func lookup(name string) (f *Field, arg string) {
	if f := byName[name]; f != nil && f.Make == nil {
		return f, ""
	}
	for _, f := range fields {
		p := f.family()
		if p == "json." && strings.HasPrefix(name, "json") && len(name) > 4 && (name[4] == '[' || name[4] == '.') {
			return f, name[4:]
		}
		if p != "" && p != "json." && len(name) > len(p) && strings.HasPrefix(name, p) {
			return f, name[len(p):]
		}
	}
	return nil, ""
}

// nearestField returns the name of the field that was most likely meant, or "".
func nearestField(name string) string {
	if path, ok := strings.CutPrefix(name, "body"); ok && path != "" && (path[0] == '.' || path[0] == '[') {
		return "json" + path // which has the values of bodies too
	}
	var names []string
	for _, f := range fields {
		names = append(names, f.Name)
	}
	return Nearest(name, names)
}

// Nearest returns the one of names that was most likely meant by name, or "".
func Nearest(name string, names []string) string {
	name = strings.ToLower(name)
	nearest, least := "", len(name)/3+1
	for _, n := range names {
		d := distance(name, n)
		if len(name) > 2 && strings.Contains(n, name) {
			d = 0
		}
		if n != "" && d < least {
			nearest, least = n, d
		}
	}
	return nearest
}

// distance returns how many bytes of a must be changed, added or removed to
// make it b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
