package proxy

import (
	"testing"
	"time"

	"github.com/wstrace/wstrace/proxy/internal/clock"
)

// oldDays is when the clocks of rigs begin, so that a time that a session has from
// elsewhere is told from theirs.
var oldDays = time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)

func oldClock() clock.Clock {
	began := time.Now()
	return clock.Clock{Start: oldDays, Elapsed: func() time.Duration { return time.Since(began) }}
}

// checkTimes checks that the times of all events are those of an old clock.
func (r *record) checkTimes(t *testing.T) {
	t.Helper()
	evs, _ := r.snapshot(0)
	for _, ev := range evs {
		if since := ev.Time.Sub(oldDays); since < 0 || since > 24*time.Hour {
			t.Errorf("the time of %s is %v, which is not that of the clock", lineOf(ev), ev.Time)
		}
	}
}
