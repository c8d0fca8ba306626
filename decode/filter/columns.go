package filter

import (
	"encoding/hex"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/wstrace/wstrace/decode"
)

// Columns are a list of fields whose values are wanted as text.
type Columns struct {
	Names     []string
	columns   []column
	needs     Needs
	remembers bool
}

type column struct {
	*Field
	get Get
}

// ParseColumns parses names of fields with commas between them.
func ParseColumns(text string) (*Columns, error) {
	c := &Columns{}
	for _, name := range splitNames(text) {
		f, arg := lookup(name)
		if f == nil {
			near := ""
			if n := nearestField(name); n != "" {
				near = ", the nearest is " + n
			}
			return nil, fmt.Errorf("there is no field %q%s", name, near)
		}
		get := f.Get
		if f.Make != nil {
			var err error
			if get, err = f.Make(arg); err != nil {
				return nil, fmt.Errorf("%s: %w", name, err)
			}
		}
		c.Names = append(c.Names, name)
		c.columns = append(c.columns, column{f, get})
		c.needs.add(f.Needs)
		c.remembers = c.remembers || f.remembers
	}
	return c, nil
}

// splitNames splits a list at the commas outside of brackets and quotes.
func splitNames(text string) (names []string) {
	depth, quote, start := 0, byte(0), 0
	for i := range len(text) {
		switch c := text[i]; {
		case quote != 0:
			if c == quote {
				quote = 0
			}
		case c == '\'' || c == '"':
			quote = c
		case c == '[':
			depth++
		case c == ']':
			depth--
		case c == ',' && depth == 0:
			names, start = append(names, strings.TrimSpace(text[start:i])), i+1
		}
	}
	return append(names, strings.TrimSpace(text[start:]))
}

// Needs returns what c needs of the sessions whose events it gets.
func (c *Columns) Needs() Needs { return c.needs }

// See takes every event of a session, once, whether or not its values are wanted.
func (c *Columns) See(st *State, ev *decode.Event) { st.take(c.remembers, ev) }

// A field of an event has at most so many values in a column, and so many bytes of
// those behind the first: a document may hold itself again and again.
const (
	maxValues = 100
	maxText   = 64 << 10
)

// Append appends the values of the event that See took last, "" where it has none;
// several of one field have blanks between them. Of many, … stands for the others.
func (c *Columns) Append(dst []string, st *State) []string {
	for _, col := range c.columns {
		text := ""
		for i := 0; ; i++ {
			v, ok := col.get(&st.subject, i)
			if !ok || i > 0 && col.single {
				break
			}
			if i > 0 {
				text += " "
			}
			if i == maxValues || i > 0 && len(text)+len(v.S) > maxText {
				text += "…"
				break
			}
			text += col.text(v)
		}
		dst = append(dst, text)
	}
	return dst
}

// Type returns the type of the ith field.
func (c *Columns) Type(i int) Type { return c.columns[i].Type }

// text returns a value as text: a duration in seconds, a time as RFC 3339 has it,
// bytes in hexadecimal, a string of JSON without its quotes.
func (f *Field) text(v Value) string {
	switch f.Type {
	case Bool:
		return strconv.FormatBool(v.N != 0)
	case Duration, Seconds:
		return strconv.FormatFloat(float64(v.N)/1e9, 'f', -1, 64)
	case Time:
		return time.Unix(0, v.N).Format(time.RFC3339Nano)
	case Word:
		return f.Words[v.N]
	case Text:
		return strings.Clone(v.S)
	case Binary:
		return hex.EncodeToString([]byte(v.S))
	case JSON:
		var s string
		if json.Unmarshal([]byte(v.S), &s) == nil && strings.HasPrefix(v.S, `"`) {
			return s
		}
		return strings.Clone(v.S)
	}
	return strconv.FormatInt(v.N, 10)
}
