package decode

import "context"

// A Look is what sessions look into besides frames. The zero Look looks into
// nothing else.
type Look struct {
	Messages bool  // put messages together, inflate them, check text
	Keep     int   // bytes of a message to keep for Message.Data; 0 means MaxMessageData
	Advice   bool  // judge rules of severity info too
	Seen     *Seen // what other sessions of the run did; nil for nothing
}

// A Source plays a file: it gives the bytes of its sessions to sessions, as a
// relay does with live ones, and so to sink. The sessions look into what look
// says. The events have the time of the file, and the place where they were
// read ([Event.Line], [Event.Offset]).
//
// Play returns at the end of the file, of ctx, or at something that keeps it
// from going on. What is wrong at some place is a [*SourceError]. A file that
// is cut off is played to its last whole record; the error then wraps [ErrCut].
type Source interface {
	Play(ctx context.Context, sink Sink, look Look) error
}
