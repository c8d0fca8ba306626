package main

import (
	"fmt"
	"math"
	"sync"
	"time"
)

// A histogram counts durations, each to within 2 %, in constant memory. It may
// be used from several goroutines.
type histogram struct {
	mu      sync.Mutex
	buckets [2048]int64
	n       int64
	max     time.Duration
}

const bucketStep = 1.02 // from a bucket to the next

func (h *histogram) add(d time.Duration) {
	h.mu.Lock()
	defer h.mu.Unlock()
	i := int(math.Log(float64(max(d, 1))) / math.Log(bucketStep))
	h.buckets[min(i, len(h.buckets)-1)]++
	h.n++
	h.max = max(h.max, d)
}

func (h *histogram) count() int64 {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.n
}

// at returns the duration that a share of all are not longer than.
func (h *histogram) at(share float64) time.Duration {
	left := int64(math.Ceil(share * float64(h.n)))
	for i, n := range h.buckets {
		if left -= n; left <= 0 {
			return min(time.Duration(math.Pow(bucketStep, float64(i)+0.5)), h.max)
		}
	}
	return h.max
}

// String returns the percentiles.
func (h *histogram) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return fmt.Sprintf("%v (p50), %v (p90), %v (p99), %v (max)", round(h.at(0.5)), round(h.at(0.9)), round(h.at(0.99)), round(h.max))
}

// round returns d with three digits.
func round(d time.Duration) time.Duration {
	unit := time.Duration(1)
	for d/unit >= 1000 {
		unit *= 10
	}
	return d.Round(unit)
}
