// Package spell finds what was meant by a name that is spelled wrong.
package spell

import (
	"iter"
	"strings"
)

// Nearest returns the one of names that was most likely meant by name: one that
// has it in it, or one that few changes make of it. It returns "" if none is
// near.
func Nearest(name string, names iter.Seq[string]) string {
	name = strings.ToLower(name)
	nearest, least := "", len(name)/3+1
	for n := range names {
		d := distance(name, n)
		if len(name) > 2 && strings.Contains(n, name) {
			d = 0
		}
		if d < least {
			nearest, least = n, d
		}
	}
	return nearest
}

// distance returns how many bytes of a must be changed, added or removed to
// make it b.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		before := row[0] // of the row above, one to the left
		row[0] = i + 1
		for j := range len(b) {
			d := before
			if a[i] != b[j] {
				d = 1 + min(before, row[j], row[j+1])
			}
			before, row[j+1] = row[j+1], d
		}
	}
	return row[len(b)]
}
