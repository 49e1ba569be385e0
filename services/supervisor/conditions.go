package supervisor

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"keelson/runtime/condition"
	"keelson/services/machine"
)

// Conditions watches conditions, as a conditions.Watcher does.
type Conditions interface {
	Want([]condition.Condition)
	Run(ctx context.Context, problem func(error))
}

// awaited are the conditions that services wait for.
type awaited struct {
	watcher Conditions // nil until a service has one
	met     map[condition.Condition]bool
}

// isCondition reports whether an item of keelson.after or keelson.requires is a condition. A
// service with that name has precedence.
func (a *services) isCondition(item string) bool { return condition.Is(item) && a.byName[item] == nil }

// conditionsIn returns the conditions among items of annotations, which have been parsed before.
func (a *services) conditionsIn(items []string) (found []condition.Condition) {
	for _, item := range items {
		if c, err := condition.Parse(item); err == nil && a.isCondition(item) {
			found = append(found, c)
		}
	}
	return found
}

// conditionsFor returns all conditions of a service.
func (a *services) conditionsFor(svc *service) []condition.Condition {
	settings := svc.settings()
	return a.conditionsIn(slices.Concat(settings.After, settings.Requires))
}

// watchConditions watches the conditions of all services. Without any, nothing runs.
func (s *Supervisor) watchConditions() {
	var all []condition.Condition
	for _, name := range s.services.names {
		all = append(all, s.services.conditionsFor(s.services.byName[name])...)
	}
	if s.awaited.watcher == nil {
		if len(all) == 0 {
			return
		}
		watcher, err := s.options.Conditions(func(met map[condition.Condition]bool) {
			s.send(func() { s.conditionsChanged(met) })
		})
		if err != nil {
			s.options.Logger.Error("services wait for their conditions forever", "error", err)
			return
		}
		s.awaited.watcher = watcher
		s.work.Go(func() {
			watcher.Run(s.ctx, func(err error) { s.options.Logger.Warn(err.Error()) })
		})
	}
	s.awaited.watcher.Want(all)
}

// conditionsChanged starts services whose conditions are met, and stops those that require
// one that is not met any more: they are started again with it.
func (s *Supervisor) conditionsChanged(met map[condition.Condition]bool) {
	s.awaited.met = met
	if s.stopping {
		return
	}
	for _, name := range s.services.names {
		svc := s.services.byName[name]
		switch svc.state {
		case machine.Starting, machine.Activating, machine.Running:
		default: // It does not run, or is being stopped; a start looks at its conditions.
			continue
		}
		for _, c := range s.services.conditionsIn(svc.settings().Requires) {
			if !met[c] {
				s.event(svc, fmt.Sprintf("requires %v, which is not met any more: stopping until it is", c), 0)
				s.apply(svc, machine.Restart)
				break
			}
		}
	}
	s.reconcile()
	s.waiters.wake(&s.services)
	s.announce()
}

// unmet returns the conditions that keep a service from being started.
func (s *Supervisor) unmet(svc *service) string {
	var all []string
	for _, c := range s.services.conditionsFor(svc) {
		if !s.awaited.met[c] {
			all = append(all, c.String())
		}
	}
	return strings.Join(all, " ")
}

// conditionTexts returns the conditions of a service for people and programs.
func (s *Supervisor) conditionTexts(svc *service) (all []string) {
	for _, c := range s.services.conditionsFor(svc) {
		text := c.String()
		if !s.awaited.met[c] {
			text = "!" + text
		}
		all = append(all, text)
	}
	return all
}
