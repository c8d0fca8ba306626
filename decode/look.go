package decode

import "context"

// A Look is what sessions examine besides frames. The zero Look is nothing more
// than the rules that frames and heads break.
type Look struct {
	Messages  bool  // put messages together, inflate them, check their text
	Inflate   bool  // do so for sessions alone that agreed on permessage-deflate
	Pieces    bool  // have frames say what they add to their message: Event.Content
	Keep      int   // bytes of a message to keep for Message.Data; 0 means MaxMessageData
	Sums      bool  // of messages longer than that, for Message.Sum
	Advice    bool  // judge rules of severity info too
	FactsOnly bool  // judge no rules at all: no violations
	Tap       Tap   // given the bytes too; nil for none
	Seen      *Seen // what other sessions of the run did; nil for nothing

	// Bodies is how many bytes of each HTTP body have events ([KindBody]); of more it
	// is only told how much that was. 0 means none, and [DefaultBodies] as much as is
	// useful. Of the answer to a refused upgrade it is always up to MaxPiece.
	Bodies      int64
	WholeBodies bool // put bodies together too, up to Keep bytes, for Event.Body

	// Unpack, if not nil, returns what the data of a binary message, of which the
	// end may be cut, has packed, and the name of the format, such as gzip; "" if
	// it is in none. less says that there is more content than it returns. It is
	// called only for messages whose [Message.Content] somebody wants, from several
	// goroutines.
	Unpack func(data []byte, cut bool) (content []byte, format string, less bool)
}

// A Source plays a file. For each session in it, Play gives the bytes to a
// [Session], as a relay does with live traffic, and so events to sink. look is
// what these sessions examine. The events have the times in the file, and the
// place where they were read ([Event.Line], [Event.Offset]).
//
// Play returns at the end of the file, when ctx is done, or where it can't go on.
// An error at some place in the file is a [*SourceError]. A file that is cut off
// is played to its last whole record; the error then wraps [ErrCut].
type Source interface {
	Play(ctx context.Context, sink Sink, look Look) error
}
