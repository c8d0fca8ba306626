// Package render turns events into text for people.
//
//	Event ─► Compact, Fiddler or Hex ─► lines ─► io.Writer
//
// Each form is a [decode.Sink]. It builds the lines of an event in a buffer of
// its own, hands them to its writer in one call, and keeps nothing of the
// event. For an event that shows nothing the writer is not called. A form is used
// by one goroutine at a time; sessions share one through a [decode.Tee]. Errors of
// the writer are ignored: whoever has to know of them wraps the writer.
//
// Nothing from the wire reaches a terminal as it came: control characters and
// bytes that are not UTF-8 are escaped as %q does, in every field.
//
// Of a session, a form remembers only what it needs to show what comes next (why
// its bytes are opaque, whether a message in fragments is text), until the
// session is closed. Showing a frame allocates nothing.
package render
