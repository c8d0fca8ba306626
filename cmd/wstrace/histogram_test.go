package main

import (
	"math"
	"math/rand/v2"
	"slices"
	"testing"
)

func TestHistogram(t *testing.T) {
	var h histogram
	if h.at(0.5) != 0 {
		t.Error("an empty histogram has a median")
	}
	rnd := rand.New(rand.NewPCG(1, 2))
	var all []int64
	for range 20_000 {
		v := int64(math.Exp(rnd.Float64() * 43)) // up to MaxInt64
		all = append(all, v)
		h.add(v)
	}
	slices.Sort(all)
	for _, share := range []float64{0, 0.01, 0.25, 0.5, 0.9, 0.99, 1} {
		want := all[max(int(math.Ceil(share*float64(len(all))))-1, 0)]
		if got := h.at(share); math.Abs(float64(got-want)) > 0.01*float64(want) {
			t.Errorf("%v: got %d, want %d", share, got, want)
		}
	}
	if h.min != all[0] || h.max != all[len(all)-1] || h.n != 20_000 {
		t.Errorf("%d values from %d to %d", h.n, h.min, h.max)
	}
	if got := h.between(0, math.MaxInt64); got != h.n {
		t.Errorf("%d of %d values are between the bounds", got, h.n)
	}
	if size := len(h.buckets); size > 60_000/8 {
		t.Errorf("%d buckets", size)
	}
}

func TestBuckets(t *testing.T) {
	before := int64(-1)
	for i := range bucketOf(math.MaxInt64) + 1 {
		from, to := bucketRange(i)
		if from != before+1 || bucketOf(from) != i || bucketOf(to) != i {
			t.Fatalf("bucket %d is from %d to %d, after %d", i, from, to, before)
		}
		if to-from > from/100 {
			t.Fatalf("bucket %d from %d to %d is wider than 1 %%", i, from, to)
		}
		before = to
	}
	if before != math.MaxInt64 {
		t.Errorf("the last bucket ends at %d", before)
	}
}
