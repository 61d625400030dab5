package series

import (
	"container/heap"
	"math"
)

// thin returns keep of the rows, in their order: those without which a straight line
// between their neighbours would be furthest from them, in any column, as a share of the
// column's range. The first and the last row and the extremes of each column stay, even if
// they are more than keep. The first column is the time.
func thin(rows [][]float64, keep int) [][]float64 {
	if len(rows) <= keep || len(rows) < 3 {
		return rows
	}
	t := newThinning(rows)
	heap.Init(&t.queue)
	for left := len(rows); left > keep && len(t.queue) > 0; left-- {
		n := heap.Pop(&t.queue).(*node)
		if math.IsInf(n.err, 1) {
			break
		}
		n.gone = true
		n.prev.next, n.next.prev = n.next, n.prev
		for _, m := range [2]*node{n.prev, n.next} {
			if m.index >= 0 && !m.pinned {
				// Never less than what was removed beside it: errors must not add up.
				m.err = max(n.err, t.err(m))
				heap.Fix(&t.queue, m.index)
			}
		}
	}
	kept := make([][]float64, 0, keep)
	for i := range t.nodes {
		if !t.nodes[i].gone {
			kept = append(kept, rows[i])
		}
	}
	return kept
}

// node is a row in the list of those that are left.
type node struct {
	row        []float64
	prev, next *node
	err        float64 // if this row were removed
	index      int     // in the queue, -1 if it is not there
	pinned     bool
	gone       bool
}

type thinning struct {
	nodes []node
	scale []float64 // 1 / range of each column, 0 for a constant one
	queue queue
}

func newThinning(rows [][]float64) *thinning {
	t := &thinning{nodes: make([]node, len(rows)), scale: make([]float64, len(rows[0]))}
	for i := range t.nodes {
		n := &t.nodes[i]
		n.row, n.index = rows[i], -1
		if i > 0 {
			n.prev = &t.nodes[i-1]
			n.prev.next = n
		}
	}
	t.nodes[0].pinned, t.nodes[len(rows)-1].pinned = true, true
	for c := 1; c < len(t.scale); c++ {
		lo, hi := -1, -1
		for i, row := range rows {
			if math.IsNaN(row[c]) {
				continue
			}
			if lo < 0 || row[c] < rows[lo][c] {
				lo = i
			}
			if hi < 0 || row[c] > rows[hi][c] {
				hi = i
			}
		}
		if hi >= 0 && rows[hi][c] > rows[lo][c] {
			t.nodes[lo].pinned, t.nodes[hi].pinned = true, true
			t.scale[c] = 1 / (rows[hi][c] - rows[lo][c])
		}
	}
	for i := range t.nodes {
		if n := &t.nodes[i]; !n.pinned {
			n.err, n.index = t.err(n), len(t.queue)
			t.queue = append(t.queue, n)
		}
	}
	return t
}

// err returns the largest error of any column if the row were interpolated. A value that
// is known where a neighbour's is not, or the reverse, cannot be interpolated.
func (t *thinning) err(n *node) (worst float64) {
	a, b := n.prev.row, n.next.row
	share := 0.
	if d := b[0] - a[0]; d > 0 {
		share = (n.row[0] - a[0]) / d
	}
	for c := 1; c < len(n.row); c++ {
		v := n.row[c]
		if t.scale[c] == 0 {
			continue
		}
		switch e := math.Abs(a[c]+(b[c]-a[c])*share-v) * t.scale[c]; {
		case !math.IsNaN(e):
			worst = max(worst, e)
		case !math.IsNaN(v):
			worst = max(worst, 1)
		}
	}
	return worst
}

// queue is a heap of rows, the one with the smallest error first.
type queue []*node

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].err < q[j].err }
func (q queue) Swap(i, j int) {
	q[i], q[j] = q[j], q[i]
	q[i].index, q[j].index = i, j
}
func (q *queue) Push(x any) { *q = append(*q, x.(*node)) }
func (q *queue) Pop() any {
	n := (*q)[len(*q)-1]
	n.index = -1
	*q = (*q)[:len(*q)-1]
	return n
}
