package replay

import (
	"slices"
	"strings"
)

// What servers of protocols that are known make up anew in each run, by their places in
// JSON. [CaptureAuto] takes them whether or not they come back.
var (
	madeBySocketIO = []string{"$.sid", "$.pid"}
	madeBySignalR  = []string{"$.connectionId", "$.connectionToken"}
	madeBySockJS   = []string{"$.entropy"}
)

// knownMade returns the places of such values in the session.
func (s *Script) knownMade() []string {
	path, query, _ := strings.Cut(s.Target(), "?")
	switch {
	case strings.Contains(query, "EIO="):
		return madeBySocketIO
	case s.plain != nil && s.request.Method == "POST" && strings.HasSuffix(path, "/negotiate"):
		return madeBySignalR
	case s.plain != nil && s.request.Method == "GET" && strings.HasSuffix(path, "/info"):
		return madeBySockJS
	}
	return nil
}

// minMade is how long a value is at least, as a text, that is taken for a made-up one
// because of its place.
const minMade = 6

// isMadeUp reports whether the protocol makes up the value at a place.
func (e *equality) isMadeUp(place, recorded, live string) bool {
	return recorded != live && len(recorded) >= minMade && slices.Contains(e.madeUp, place)
}
