// Package render turns events into text for people.
//
//	Event ─► Compact, Fiddler or Hex ─► lines ─► io.Writer
//
// Each form is a [decode.Sink]. It builds the lines of an event in a buffer of
// its own, hands them to its writer in one call, and keeps nothing of the
// event. An event that shows nothing makes no call. A form is used by one
// goroutine at a time; sessions share one through a [decode.Tee]. What the
// writer answers is not looked at: whoever has to know of a failed write wraps
// the writer.
//
// Nothing from the wire reaches a terminal as it came: control characters and
// bytes that are not UTF-8 are escaped as %q does, in every field.
//
// A form remembers of a session only how to show what comes next (why its bytes
// are opaque, whether a message in fragments is text) and forgets it when the
// session is closed. Frames are shown without allocating.
package render
