package timeline

import (
	"cmp"
	"slices"
	"time"
)

// Step is a part of the boot. Times are since the kernel started; steps that run at the same
// time overlap.
type Step struct {
	Name     string        `json:"name"`
	Begin    time.Duration `json:"begin"`
	End      time.Duration `json:"end"`
	Critical bool          `json:"critical,omitempty"` // on the critical path
	Whole    bool          `json:"whole,omitempty"`    // consists of other steps
}

// Length returns how long a step took.
func (s Step) Length() time.Duration { return s.End - s.Begin }

// bootRole is the stage of the whole of "init boot".
const bootRole = "boot"

// slack is how long after the end of a step one that waited for it may begin.
const slack = 3 * time.Millisecond

// UpAt returns when the system was ready or degraded, or when the last event was.
func UpAt(all []Event) (at time.Duration) {
	for _, e := range all {
		if e.Stage == Ready || e.Stage == Degraded {
			return e.At
		}
		at = max(at, e.At)
	}
	return at
}

// Steps returns the steps until the system was up, in the order of their begins. Of a service
// that was started several times, the first start counts.
func Steps(all []Event) []Step {
	var steps []Step
	up, last := UpAt(all), time.Duration(0)
	seen := map[string]bool{}
	for _, e := range all {
		if e.At > up || e.At < 0 {
			continue
		}
		begin, name := max(e.At-e.Took, 0), e.Stage
		if e.Name != "" {
			name += " " + e.Name
		}
		if e.Stage == Kernel {
			begin = 0
		}
		if e.Stage == Containerd && begin > last {
			steps = append(steps, Step{Name: "supervisor starts", Begin: last, End: begin})
		}
		last = e.At
		if e.Stage == Service && seen[name] || begin >= e.At {
			continue
		}
		seen[name] = true
		step := Step{Name: name, Begin: begin, End: e.At}
		if e.Stage == bootRole {
			step.Name, step.Whole = "init boot, in all", true
		}
		steps = append(steps, step)
	}
	slices.SortStableFunc(steps, func(a, b Step) int { return cmp.Compare(a.Begin, b.Begin) })
	markCritical(steps)
	return steps
}

// markCritical marks the critical path: the step that ended last, the one for whose end it may
// have waited, and so on.
func markCritical(steps []Step) {
	at := -1
	for i, s := range steps {
		if !s.Whole && (at < 0 || s.End > steps[at].End) {
			at = i
		}
	}
	for at >= 0 {
		steps[at].Critical = true
		before := -1
		for i, s := range steps {
			fits := !s.Whole && s.Begin < steps[at].Begin && s.End < steps[at].End && s.End <= steps[at].Begin+slack
			if fits && (before < 0 || s.End > steps[before].End) {
				before = i
			}
		}
		at = before
	}
}

// End returns the end of the last step.
func End(steps []Step) (end time.Duration) {
	for _, s := range steps {
		end = max(end, s.End)
	}
	return end
}
