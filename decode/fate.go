package decode

import "slices"

// A Fate is what a gate decides about an event. The zero Fate lets what came pass
// unchanged and at once.
type Fate struct {
	FX     FX
	Change string // what decided it: the line of a change, as a user wrote it
}

// An FX is the effect that a gate has on what came.
type FX uint8

const (
	FXNone    FX = iota // it passes unchanged and at once
	FXDrop              // it is not sent, nor anything in its place
	FXDelay             // it passes unchanged, but later
	FXReplace           // something else is sent in its place
	FXHold              // it waits for a person to decide
)

var fxNames = [...]string{"", "drop", "delay", "replace", "hold"}

// String returns the name that traces use; "" for FXNone.
func (x FX) String() string { return fxNames[x] }

// ParseFX returns the FX with the given name.
func ParseFX(name string) (FX, bool) {
	i := slices.Index(fxNames[:], name)
	return FX(max(i, 0)), i >= 0
}
