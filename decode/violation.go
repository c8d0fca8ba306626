package decode

import "fmt"

// A Violation is a rule that one side broke, and what was seen. It is a value:
// the traffic goes on.
type Violation struct {
	*Rule
	Severity Severity // of this case; nearly always that of the rule
	From     Dir      // the side at fault
	Frame    int64    // the frame's number in that side's direction, or -1
	Where    Span     // the bytes at fault
	Text     string   // what was seen and what the limit is
}

// A Span is the part of a head, a frame or junk that is at fault. The zero Span
// is no part in particular.
type Span struct {
	Field string // in a head: the name of the header field
	From  int64  // the first byte: of a frame, its header counted, of junk, or of the Raw of a head
	N     int    // how many bytes; 0 for none in particular

	// If the fault is in what a compressed message inflates to, From counts in
	// that, and Inflated is what it has from From&^15 on: up to 16 bytes.
	Inflated string
}

// String returns "client frame-rsv-set: … (RFC 6455 §5.2)", as texts show it.
func (v *Violation) String() string {
	return fmt.Sprintf("%s %s: %s (%s)", v.From, v.ID, v.Text, v.Section)
}

// A RuleCount says how often one side broke a rule, and how badly.
type RuleCount struct {
	*Rule
	Severity Severity // of these cases of it
	From     Dir
	N        int64
}

// noFrame stands for the number of a frame in violations that concern none.
const noFrame = -1

// Spans of a frame.

// flagsOf is the byte with FIN, RSV1 to RSV3 and the opcode.
func flagsOf(*Frame) Span { return Span{From: 0, N: 1} }

// maskBitOf is the byte with the MASK bit.
func maskBitOf(*Frame) Span { return Span{From: 1, N: 1} }

// lengthOf is the payload length, in all of its bytes.
func lengthOf(f *Frame) Span { return Span{From: 1, N: f.headLen() - 1} }

// maskOf is the masking key.
func maskOf(f *Frame) Span { return Span{From: int64(f.headLen()), N: len(f.Mask)} }

// payloadOf is n bytes of the payload from an offset on, or nothing if that is
// negative.
func payloadOf(f *Frame, offset int64, n int) Span {
	if offset < 0 {
		return Span{}
	}
	return Span{From: int64(len(f.Head)) + offset, N: n}
}

// codeOf is the status code in a Close frame.
func codeOf(f *Frame) Span { return payloadOf(f, 0, int(min(f.Length, 2))) }

// headLen returns the length of the header without the masking key.
func (f *Frame) headLen() int {
	if f.Masked {
		return len(f.Head) - len(f.Mask)
	}
	return len(f.Head)
}
