package change

import "fmt"

// A Fault is lines by one name.
type Fault struct {
	Name  string
	Doc   string // what it does, in a line
	Lines []string
}

// Faults are those that there are.
var Faults = []Fault{
	{"slow-3g", "a slow mobile network: 50 KB a second, and 400 ms there and back", []string{
		"do rate 50KB/s, delay 200ms±50ms",
	}},
	{"flaky", "a bad network: late messages, pauses inside a frame, now and then a reset", []string{
		"p=0.1 do delay 400ms±300ms",
		"p=0.02 do stall 2s",
		"every 10s p=0.05 do reset",
	}},
	{"half-open", "after 10 s no frame of the server arrives; that it ends the connection does", []string{
		"when from == server after 10s do drop",
	}},
	{"no-pong", "no pong arrives, so that every ping is missed", []string{
		"when op == pong do drop",
	}},
	{"tiny-fragments", "messages come in fragments of 8 bytes, as is allowed", []string{
		"when op in {text, bin, cont} do split 8",
	}},
	{"big-length-forms", "the length of each frame is in its longest form, which is not allowed", []string{
		"do len64",
	}},
	{"restart", "after 30 s both sides get a Close, as from a server that restarts", []string{
		`after 30s once do close 1012 "service restart"`,
	}},
	{"rst-mid-frame", "the connection is reset in the middle of the server's eleventh message", []string{
		"when from == server and op in {text, bin} and len > 1 after 10 once do truncate 1, reset",
	}},
}

// FaultLines returns the lines that the fault of that name stands for, or nil if there is
// none.
func FaultLines(name string) []*Line {
	for _, f := range Faults {
		if f.Name != name {
			continue
		}
		var lines []*Line
		for _, s := range f.Lines {
			l, err := ParseLine(s)
			if err != nil {
				panic(fmt.Sprintf("fault %s: %v", name, err))
			}
			lines = append(lines, l)
		}
		return lines
	}
	return nil
}
