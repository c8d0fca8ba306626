package replay

import "slices"

// A pair is a step of either side, or of both. -1 stands for none.
type pair struct{ a, b int }

// maxEdits bounds the work of pairs: beyond it what is left of both sides
// counts as other.
const maxEdits = 2000

// pairs aligns two lists with as few differences as can be found, by Myers'
// greedy method.
func pairs(as, bs []step) []pair {
	var out []pair
	lead := 0
	for lead < len(as) && lead < len(bs) && as[lead].key == bs[lead].key {
		out = append(out, pair{lead, lead})
		lead++
	}
	tail := 0
	for tail < len(as)-lead && tail < len(bs)-lead && as[len(as)-1-tail].key == bs[len(bs)-1-tail].key {
		tail++
	}
	for _, p := range middle(as[lead:len(as)-tail], bs[lead:len(bs)-tail]) {
		if p.a >= 0 {
			p.a += lead
		}
		if p.b >= 0 {
			p.b += lead
		}
		out = append(out, p)
	}
	for i := range tail {
		out = append(out, pair{len(as) - tail + i, len(bs) - tail + i})
	}
	return out
}

func middle(as, bs []step) []pair {
	n, m := len(as), len(bs)
	most := min(n+m, maxEdits)
	off := most + 1
	far := make([]int, 2*most+3) // how far in as a path gets, by diagonal
	var before [][]int           // far before each edit, from diagonal -edit-1
	for edits := 0; edits <= most; edits++ {
		before = append(before, slices.Clone(far[off-edits-1:off+edits+2]))
		for k := -edits; k <= edits; k += 2 {
			x := far[off+k-1] + 1
			if k == -edits || k != edits && far[off+k-1] < far[off+k+1] {
				x = far[off+k+1]
			}
			for x < n && x-k < m && as[x].key == bs[x-k].key {
				x++
			}
			far[off+k] = x
			if x >= n && x-k >= m {
				return path(before, n, m)
			}
		}
	}
	var out []pair
	for i := range n {
		out = append(out, pair{i, -1})
	}
	for i := range m {
		out = append(out, pair{-1, i})
	}
	return out
}

// path follows the way to the end of both lists back.
func path(before [][]int, x, y int) []pair {
	var out []pair
	for edits := len(before) - 1; edits >= 0; edits-- {
		far := before[edits]
		k := x - y
		last := k - 1
		if i := k + edits + 1; k == -edits || k != edits && far[i-1] < far[i+1] {
			last = k + 1
		}
		lastX := far[last+edits+1]
		lastY := lastX - last
		for x > lastX && y > lastY {
			x, y = x-1, y-1
			out = append(out, pair{x, y})
		}
		switch {
		case edits == 0:
		case x == lastX:
			out = append(out, pair{-1, lastY})
		default:
			out = append(out, pair{lastX, -1})
		}
		x, y = lastX, lastY
	}
	slices.Reverse(out)
	return out
}
