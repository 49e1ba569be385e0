package order

import (
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
)

// parse reads "web: db cache! ; db:" where "!" means required.
func parse(text string) map[string]Wants {
	services := map[string]Wants{}
	for part := range strings.SplitSeq(text, ";") {
		name, list, _ := strings.Cut(part, ":")
		var w Wants
		for _, other := range strings.Fields(list) {
			if required, ok := strings.CutSuffix(other, "!"); ok {
				w.Requires = append(w.Requires, required)
			} else {
				w.After = append(w.After, other)
			}
		}
		services[strings.TrimSpace(name)] = w
	}
	return services
}

// starts returns the order in which services start when each is ready immediately, as
// groups that may start together.
func starts(g *Graph, services map[string]Wants) []string {
	var groups []string
	ready := map[string]bool{}
	for len(ready) < len(services) {
		var group []string
		for _, name := range slices.Sorted(maps.Keys(services)) {
			waits := slices.ContainsFunc(g.Before(name), func(first string) bool { return !ready[first] })
			if !ready[name] && !waits {
				group = append(group, name)
			}
		}
		if group == nil {
			return append(groups, "(stuck)")
		}
		for _, name := range group {
			ready[name] = true
		}
		groups = append(groups, strings.Join(group, " "))
	}
	return groups
}

func TestStartOrder(t *testing.T) {
	for _, tt := range []struct{ services, want, errors string }{
		{"a:; b:; c:", "a b c", ""},
		{"web: db; db: disk!; disk:", "disk, db, web", ""},
		{"web: db! db; db:", "db, web", ""},
		{"web: none; db:", "db web", `service web: keelson.after: there is no service "none"`},
		{"a: b; b: a; c: a", "a, b c", "services a, b wait for one another"},
		{"c: a!; a: b!; b: c!; d:", "a d, b, c", "services a, b, c wait"},
		{"a: a; b:", "a b", "services a wait"},
		{"a: b; b: a; c: d!; d: c; e: c b", "a c, b d, e", "services a, b wait; services c, d wait"},
	} {
		services := parse(tt.services)
		g, errs := New(services)
		if got := strings.Join(starts(g, services), ", "); got != tt.want {
			t.Errorf("%s: starts %s, want %s", tt.services, got, tt.want)
		}
		wanted := strings.Split(tt.errors, "; ")
		if tt.errors == "" {
			wanted = nil
		}
		if len(errs) != len(wanted) {
			t.Errorf("%s: errors %v, want %s", tt.services, errs, tt.errors)
			continue
		}
		for i, want := range wanted {
			if !strings.Contains(errs[i].Error(), want) {
				t.Errorf("%s: error %v, want %s", tt.services, errs[i], want)
			}
		}
	}
}

func TestRequires(t *testing.T) {
	g, _ := New(parse("web: app!; app: db!; report: app; db: ; lost: gone!"))
	if got := g.Dependents("db"); !slices.Equal(got, []string{"app", "web"}) {
		t.Errorf("dependents of db: %v", got)
	}
	if got := g.After("app"); !slices.Equal(got, []string{"report", "web"}) {
		t.Errorf("after app: %v", got)
	}
	if got := g.Missing("lost"); !slices.Equal(got, []string{"gone"}) {
		t.Errorf("missing for lost: %v", got)
	}
	// In a cycle a service cannot require what is started after it.
	g, _ = New(parse("a: b!; b: a!"))
	if len(g.Requires("a")) != 0 || !slices.Equal(g.Requires("b"), []string{"a"}) {
		t.Errorf("requires of a cycle: %v, %v", g.Requires("a"), g.Requires("b"))
	}
}

// Services with any settings can all start, and stop in the reverse order.
func FuzzAllStart(f *testing.F) {
	f.Add(uint64(1), 10, 20)
	f.Add(uint64(2), 3, 9)
	f.Fuzz(func(t *testing.T, seed uint64, n, edges int) {
		n, edges = max(1, n%50), max(0, edges%200)
		random := rand.New(rand.NewPCG(seed, 0))
		name := func() string { return string(rune('A' + random.IntN(n+1))) } // the last one is missing
		services := map[string]Wants{}
		for i := range n {
			services[string(rune('A'+i))] = Wants{}
		}
		for range edges {
			from := name()
			w, ok := services[from]
			if !ok {
				continue
			}
			if random.IntN(2) == 0 {
				w.After = append(w.After, name())
			} else {
				w.Requires = append(w.Requires, name())
			}
			services[from] = w
		}
		g, _ := New(services)
		if order := starts(g, services); slices.Contains(order, "(stuck)") {
			t.Errorf("%v: %v", services, order)
		}
		for name := range services {
			for _, first := range g.Before(name) {
				if !slices.Contains(g.After(first), name) {
					t.Errorf("%s comes after %s, and not in the inverse", name, first)
				}
			}
			for _, r := range g.Requires(name) {
				if !slices.Contains(g.Before(name), r) {
					t.Errorf("%s requires %s and does not come after it", name, r)
				}
			}
		}
	})
}
