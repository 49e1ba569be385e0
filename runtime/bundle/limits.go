package bundle

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// ResourceLimit is a field of linux.resources that needs a controller of cgroups.
type ResourceLimit struct {
	Path       []string // of the field, from linux.resources
	Controller string   // as version 2 calls it; of several names in version 1 the first
}

func (l ResourceLimit) field() string { return "linux.resources." + strings.Join(l.Path, ".") }

// ResourceLimits returns the fields of r that are set and need a controller, in order. Rules
// for devices need none in version 2, and every kernel with version 1 has that one.
func ResourceLimits(r *specs.LinuxResources) (limits []ResourceLimit) {
	if r == nil {
		return nil
	}
	text, err := json.Marshal(r)
	var groups map[string]json.RawMessage
	if err != nil || json.Unmarshal(text, &groups) != nil {
		return nil // The runtime reports it.
	}
	for _, group := range slices.Sorted(maps.Keys(groups)) {
		var fields map[string]json.RawMessage
		_ = json.Unmarshal(groups[group], &fields) // A list has no fields.
		switch group {
		case "hugepageLimits", "rdma", "blockIO":
			limits = append(limits, ResourceLimit{[]string{group}, controllers[group]})
		case "cpu", "memory", "pids", "unified":
			for _, name := range slices.Sorted(maps.Keys(fields)) {
				if c := controllerOf(group, name); c != "" {
					limits = append(limits, ResourceLimit{[]string{group, name}, c})
				}
			}
		}
	}
	return limits
}

// controllers has the controllers of whole groups of fields (config-linux.md, "Control
// groups").
var controllers = map[string]string{
	"hugepageLimits": "hugetlb", "rdma": "rdma", "blockIO": "io", "cpu": "cpu", "memory": "memory", "pids": "pids",
}

// controllerOf returns the controller of a field, or "" when the field is not known.
func controllerOf(group, field string) string {
	switch {
	case group == "unified":
		c, _, _ := strings.Cut(field, ".")
		if slices.Contains([]string{"cpu", "cpuset", "hugetlb", "io", "memory", "misc", "pids", "rdma"}, c) {
			return c
		}
		return ""
	case group == "cpu" && (field == "cpus" || field == "mems"):
		return "cpuset"
	}
	return controllers[group]
}

// WithoutController returns a message for each controller that the kernel lacks, with the
// limits that are ignored because of it.
func WithoutController(limits []ResourceLimit) (sentences []string) {
	fields := map[string][]string{}
	for _, l := range limits {
		fields[l.Controller] = append(fields[l.Controller], l.field())
	}
	for _, c := range slices.Sorted(maps.Keys(fields)) {
		sentences = append(sentences, fmt.Sprintf(
			"%s ignored: the kernel has no cgroup controller %s (it is not built in, or cgroup_disable= on the kernel command line turns it off); the container runs without that limit",
			strings.Join(fields[c], ", "), c))
	}
	return sentences
}
