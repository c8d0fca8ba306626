package main

import (
	"math"
	"math/bits"
	"time"
)

// A histogram counts values, none of them negative, each to within 1 %. It takes
// 60 kB at most.
type histogram struct {
	buckets  []int64 // by bucketOf
	n        int64
	min, max int64
}

// Values below 1<<stepBits have a bucket each, as have those above that agree in
// their first stepBits+1 bits: a bucket is at most 1/128 of its values wide.
const stepBits = 7

func bucketOf(v int64) int {
	e := max(bits.Len64(uint64(v))-stepBits-1, 0)
	return e<<stepBits + int(v>>e)
}

// bucketRange returns the least and the greatest value of a bucket.
func bucketRange(i int) (from, to int64) {
	e := max(i>>stepBits-1, 0)
	from = int64(i-e<<stepBits) << e
	return from, from + 1<<e - 1
}

func (h *histogram) add(v int64) {
	v = max(v, 0)
	i := bucketOf(v)
	for len(h.buckets) <= i {
		h.buckets = append(h.buckets, make([]int64, i+1-len(h.buckets))...)
	}
	h.buckets[i]++
	if h.n == 0 || v < h.min {
		h.min = v
	}
	h.max = max(h.max, v)
	h.n++
}

// at returns the value that a share of all do not exceed.
func (h *histogram) at(share float64) int64 {
	left := int64(math.Ceil(share * float64(h.n)))
	switch {
	case left >= h.n:
		return h.max
	case left <= 1:
		return h.min
	}
	for i, n := range h.buckets {
		if left -= n; left <= 0 && n > 0 {
			from, to := bucketRange(i)
			return min(max(from+(to-from)/2, h.min), h.max)
		}
	}
	return h.max
}

// between returns how many values are from one to another, both of them bounds of
// buckets.
func (h *histogram) between(from, to int64) (n int64) {
	last := min(bucketOf(to), len(h.buckets)-1)
	for i := bucketOf(from); i <= last; i++ {
		n += h.buckets[i]
	}
	return n
}

// round returns d with three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
