package clock

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var none *Clock
		if got, want := none.Now(), time.Now(); !got.Equal(want) {
			t.Errorf("no clock: got %v, want %v", got, want)
		}
		c := New()
		time.Sleep(time.Hour)
		if got, want := c.Now(), time.Now(); got != want {
			t.Errorf("got %v, want %v, with the reading of the monotonic clock", got, want)
		}

		// A wall clock that is set is one whose readings don't follow from what has
		// elapsed. What is given does.
		start := time.Date(2001, 9, 9, 1, 46, 40, 0, time.UTC)
		elapsed := time.Duration(0)
		c = Clock{Start: start, Elapsed: func() time.Duration { elapsed += time.Second; return elapsed }}
		if a, b := c.Now(), c.Now(); !a.Equal(start.Add(time.Second)) || b.Sub(a) != time.Second {
			t.Errorf("got %v and %v, want the start and what has elapsed", a, b)
		}
	})
}

func TestNowAllocatesNothing(t *testing.T) {
	c := New()
	var at time.Time
	if n := testing.AllocsPerRun(100, func() { at = c.Now() }); n != 0 {
		t.Errorf("%v allocations at %v, want none", n, at)
	}
}

func BenchmarkNow(b *testing.B) {
	c := New()
	for b.Loop() {
		c.Now()
	}
}

func BenchmarkTimeNow(b *testing.B) {
	for b.Loop() {
		time.Now()
	}
}
