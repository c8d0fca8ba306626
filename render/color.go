package render

import (
	"strings"

	"github.com/fatih/color"
)

// A pen is what a terminal needs before and after a piece of text to show it
// in a colour. The zero pen writes nothing.
type pen struct {
	on, off string
}

// pens are the colours in use.
type pens struct {
	clock                pen
	sides                [2]pen // by decode.Dir
	session              pen
	numbers              [6]pen // of sessions, in turn
	control              pen    // header of a control frame
	lead                 pen    // what stands in front of payload
	json                 jsonPens
	changes              pen
	errors, warns, infos pen
}

// jsonPens are the colours of JSON.
type jsonPens struct{ key, text, number, word pen }

// newPens renders every sequence once, because the library allocates each time.
func newPens(use bool) pens {
	if !use {
		return pens{}
	}
	return pens{
		clock:   newPen(color.Faint),
		sides:   [2]pen{newPen(color.FgGreen), newPen(color.FgCyan)},
		session: newPen(color.Bold),
		numbers: [6]pen{newPen(color.FgBlue), newPen(color.FgMagenta), newPen(color.FgCyan),
			newPen(color.FgHiBlue), newPen(color.FgHiMagenta), newPen(color.FgGreen)},
		control: newPen(color.Faint),
		lead:    newPen(color.FgYellow),
		json:    jsonPens{newPen(color.FgBlue, color.Bold), newPen(color.FgGreen), newPen(color.FgYellow), newPen(color.FgMagenta)},
		changes: newPen(color.FgMagenta),
		errors:  newPen(color.FgRed, color.Bold),
		warns:   newPen(color.FgYellow),
		infos:   newPen(color.FgBlue),
	}
}

func newPen(attributes ...color.Attribute) pen {
	c := color.New(attributes...)
	c.EnableColor() // the caller has decided, the library would ask the terminal
	on, off, _ := strings.Cut(c.Sprint("x"), "x")
	return pen{on, off}
}
