package order

import (
	"maps"
	"slices"
)

// cycles returns the groups of services that wait for one another, and the services that
// wait for themselves. Members and groups are sorted.
func (g *Graph) cycles() [][]string {
	w := &walk{graph: g, index: map[string]int{}, low: map[string]int{}, open: map[string]bool{}}
	for _, name := range slices.Sorted(maps.Keys(g.before)) {
		if w.index[name] == 0 {
			w.visit(name)
		}
	}
	slices.SortFunc(w.found, slices.Compare[[]string])
	return w.found
}

// walk is the state of Tarjan's search for strongly connected components.
type walk struct {
	graph *Graph
	index map[string]int // order of the visit, from 1
	low   map[string]int // least index that can be reached
	stack []string
	open  map[string]bool // on the stack
	found [][]string
}

// visit recurses as deep as the longest chain of services, a few hundred at most.
func (w *walk) visit(name string) {
	w.index[name] = len(w.index) + 1
	w.low[name] = w.index[name]
	w.stack, w.open[name] = append(w.stack, name), true
	for _, next := range w.graph.before[name] {
		switch {
		case w.index[next] == 0:
			w.visit(next)
			w.low[name] = min(w.low[name], w.low[next])
		case w.open[next]:
			w.low[name] = min(w.low[name], w.index[next])
		}
	}
	if w.low[name] == w.index[name] {
		w.close(name)
	}
}

// close pops the component that begins with name from the stack.
func (w *walk) close(name string) {
	i := slices.Index(w.stack, name)
	members := slices.Clone(w.stack[i:])
	w.stack = w.stack[:i]
	for _, m := range members {
		w.open[m] = false
	}
	if len(members) > 1 || slices.Contains(w.graph.before[name], name) {
		slices.Sort(members)
		w.found = append(w.found, members)
	}
}
