package order

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// Wants are the names of other services in the settings of a service.
type Wants struct {
	After    []string // services to start after
	Requires []string // services without which it does not run
}

// Graph says which services wait for which others. It has no cycles.
type Graph struct {
	before   map[string][]string // services that must be ready first, or not going to run
	requires map[string][]string
	after    map[string][]string // the inverse of before
	missing  map[string][]string // required services that do not exist
}

// New returns the graph of all services. Each error names the services that it is about;
// the graph can be used in spite of errors.
func New(services map[string]Wants) (*Graph, []error) {
	g := &Graph{
		before: map[string][]string{}, requires: map[string][]string{},
		after: map[string][]string{}, missing: map[string][]string{},
	}
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(services)) {
		errs = append(errs, g.add(name, services)...)
	}
	for _, members := range g.cycles() {
		errs = append(errs, fmt.Errorf("services %s wait for one another (keelson.after, keelson.requires): they are started in this order", strings.Join(members, ", ")))
		g.unwind(members)
	}
	for name, firsts := range g.before {
		for _, first := range firsts {
			g.after[first] = append(g.after[first], name)
		}
	}
	for _, names := range g.after {
		slices.Sort(names)
	}
	return g, errs
}

func (g *Graph) add(name string, services map[string]Wants) (errs []error) {
	wants := services[name]
	for _, other := range wants.After {
		if _, ok := services[other]; !ok {
			errs = append(errs, fmt.Errorf("service %s: keelson.after: there is no service %q", name, other))
		} else {
			g.before[name] = append(g.before[name], other)
		}
	}
	for _, other := range wants.Requires {
		if _, ok := services[other]; !ok {
			errs = append(errs, fmt.Errorf("service %s: keelson.requires: there is no service %q", name, other))
			g.missing[name] = append(g.missing[name], other)
			continue
		}
		g.before[name] = append(g.before[name], other)
		g.requires[name] = append(g.requires[name], other)
	}
	for _, list := range []map[string][]string{g.before, g.requires, g.missing} {
		if names := list[name]; names != nil {
			slices.Sort(names)
			list[name] = slices.Compact(names)
		}
	}
	return errs
}

// Before returns the services that must be ready, or not going to run, before name starts.
func (g *Graph) Before(name string) []string { return g.before[name] }

// After returns the services that start after name, and must have stopped before it stops.
func (g *Graph) After(name string) []string { return g.after[name] }

// Requires returns the services that must run for name to run.
func (g *Graph) Requires(name string) []string { return g.requires[name] }

// Missing returns the services that name requires and that do not exist.
func (g *Graph) Missing(name string) []string { return g.missing[name] }

// Dependents returns all services that require name, directly or indirectly, sorted.
func (g *Graph) Dependents(name string) []string {
	found := map[string]bool{}
	for todo := []string{name}; len(todo) > 0; todo = todo[1:] {
		for _, other := range g.after[todo[0]] {
			if !found[other] && other != name && slices.Contains(g.requires[other], todo[0]) {
				found[other] = true
				todo = append(todo, other)
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// unwind makes each member of a cycle wait only for members before it in the list, and
// always for the one right before it.
func (g *Graph) unwind(members []string) {
	for i, name := range members {
		later := func(other string) bool { return slices.Contains(members[i:], other) }
		g.before[name] = slices.DeleteFunc(g.before[name], later)
		g.requires[name] = slices.DeleteFunc(g.requires[name], later)
		if i > 0 && !slices.Contains(g.before[name], members[i-1]) {
			g.before[name] = append(g.before[name], members[i-1])
			slices.Sort(g.before[name])
		}
	}
}
