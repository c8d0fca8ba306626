// Package clock gives the times of sessions.
package clock

import "time"

// A Clock gives the wall clock at its start, plus what has elapsed since. So a
// wall clock that is set meanwhile changes no duration, and time never runs
// backwards. The zero Clock and nil give the present time.
type Clock struct {
	Start   time.Time
	Elapsed func() time.Duration // since Start; nil but in tests
}

// New returns a Clock that starts now.
func New() Clock { return Clock{Start: time.Now()} }

// Now returns the time.
func (c *Clock) Now() time.Time {
	switch {
	case c == nil || c.Start.IsZero():
		return time.Now()
	case c.Elapsed != nil:
		return c.Start.Add(c.Elapsed())
	}
	return c.Start.Add(time.Since(c.Start))
}
