package supervisor

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"keelson/runtime/bundle"
	"keelson/services/order"
	"keelson/services/task"
)

// services are all services and how they depend on each other.
type services struct {
	byName map[string]*service
	names  []string // sorted
	taken  *bundle.Names
	graph  *order.Graph
	toStop map[string]bool // to stop as soon as no other needs them
}

func newServices() services {
	return services{byName: map[string]*service{}, taken: bundle.NewNames("services"), toStop: map[string]bool{}}
}

func (a *services) add(svc *service) {
	a.claim(svc)
	a.byName[svc.name] = svc
	a.names = slices.Sorted(maps.Keys(a.byName))
}

// claim reserves what is derived from the name and the bundle of a service. svc.clash
// says which other service has it.
func (a *services) claim(svc *service) {
	svc.clash = a.taken.Add(svc.name)
	if svc.clash == nil && svc.bundle != nil {
		svc.clash = a.taken.AddCgroup(svc.name, svc.bundle.Cgroup(svc.name))
	}
}

// arrange computes which services wait for which others. The services can be started in spite of errors.
func (a *services) arrange() []error {
	wants := map[string]order.Wants{}
	for name, svc := range a.byName {
		settings := svc.settings()
		wants[name] = order.Wants{After: settings.After, Requires: settings.Requires}
	}
	var errs []error
	a.graph, errs = order.New(wants)
	return errs
}

// unknown returns the names without a service.
func (a *services) unknown(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool { return a.byName[name] != nil })
}

func (a *services) allSettled() bool {
	for _, svc := range a.byName {
		if !svc.state.Settled() {
			return false
		}
	}
	return true
}

// byNamespace returns the names by containerd's namespace.
func (a *services) byNamespace() map[string][]string {
	all := map[string][]string{}
	for _, svc := range a.byName {
		namespace := svc.namespace()
		all[namespace] = append(all[namespace], svc.name)
	}
	return all
}

// cgroupsOfOthers returns the paths of the cgroups of all services but svc, whether they
// run or not: one may be about to start.
func (a *services) cgroupsOfOthers(svc *service) (paths []string) {
	for _, name := range a.names {
		other := a.byName[name]
		if other == svc || other.bundle == nil {
			continue
		}
		path := other.bundle.Cgroup(name)
		paths = append(paths, path)
		if other.task != nil { // It was started elsewhere if its bundle has been changed.
			if started := other.task.Placement().Path; started != path {
				paths = append(paths, started)
			}
		}
	}
	return paths
}

// place decides where the cgroup of a service is among those of the others. It fails
// when the cgroup cannot be made.
func (a *services) place(svc *service) (task.Placement, error) {
	p := task.Placement{Path: svc.bundle.Cgroup(svc.name), Others: a.cgroupsOfOthers(svc)}
	p.Outer = len(bundle.Nested(p.Path, p.Others)) > 0
	for _, name := range a.names {
		other := a.byName[name]
		if other == svc || other.task == nil || other.task.Placement().Outer {
			continue
		}
		if len(bundle.Nested(other.task.Placement().Path, []string{p.Path})) > 0 {
			return p, fmt.Errorf("its cgroup %s lies in the cgroup of service %s, which was started without nested cgroups: restart %s, then start %s",
				p.Path, name, name, svc.name)
		}
	}
	return p, nil
}

// stopTime is how long a stop of everything may take: as long as the slowest chain of
// services that stop one after the other.
func (a *services) stopTime() time.Duration {
	known := map[string]time.Duration{}
	var chain func(name string) time.Duration
	chain = func(name string) time.Duration {
		if d, ok := known[name]; ok {
			return d
		}
		var before time.Duration
		for _, other := range a.graph.After(name) {
			before = max(before, chain(other))
		}
		known[name] = before + a.byName[name].settings().StopTimeout
		return known[name]
	}
	var longest time.Duration
	for _, name := range a.names {
		longest = max(longest, chain(name))
	}
	return longest
}
