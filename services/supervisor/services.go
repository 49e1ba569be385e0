package supervisor

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
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
	var errs []error
	a.graph, errs = order.New(a.wants())
	return errs
}

func (a *services) wants() map[string]order.Wants {
	wants := map[string]order.Wants{}
	for name, svc := range a.byName {
		wants[name] = a.wantsOf(svc.settings())
	}
	return wants
}

// wantsOf returns the services that settings name.
func (a *services) wantsOf(settings bundle.Settings) order.Wants {
	services := func(items []string) []string { return slices.DeleteFunc(slices.Clone(items), a.isCondition) }
	return order.Wants{After: services(settings.After), Requires: services(settings.Requires)}
}

// check returns an error if a service cannot have a bundle beside all others: their names,
// cgroups or order conflict.
func (a *services) check(name string, b *bundle.Bundle) error {
	taken := bundle.NewNames("services")
	for _, other := range a.names {
		if svc := a.byName[other]; other != name && svc.clash == nil && taken.Add(other) == nil && svc.bundle != nil {
			_ = taken.AddCgroup(other, svc.bundle.Cgroup(other)) // A conflict of others is not new.
		}
	}
	if err := taken.Add(name); err != nil {
		return err
	}
	if err := taken.AddCgroup(name, b.Cgroup(name)); err != nil {
		return err
	}
	wants := a.wants()
	_, before := order.New(wants)
	wants[name] = a.wantsOf(b.Settings)
	_, after := order.New(wants)
	return errors.Join(slices.DeleteFunc(after, func(err error) bool {
		return slices.ContainsFunc(before, func(old error) bool { return old.Error() == err.Error() })
	})...)
}

// remove forgets a service.
func (a *services) remove(name string) {
	delete(a.byName, name)
	a.names = slices.Sorted(maps.Keys(a.byName))
	a.taken = bundle.NewNames("services")
	for _, other := range a.names {
		a.claim(a.byName[other])
	}
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
	p.Outer = len(bundle.Nested(p.Path, p.Others)) > 0 || svc.bundle.Settings.Delegate
	if svc.bundle.Settings.Delegate {
		if err := prepare.CanDelegate(); err != nil {
			return p, err
		}
	}
	for _, name := range a.names {
		other := a.byName[name]
		if other == svc || other.task == nil {
			continue
		}
		started := other.task.Placement()
		expected := started.Outer && slices.Contains(started.Others, p.Path)
		if len(bundle.Nested(started.Path, []string{p.Path})) > 0 && !expected {
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
