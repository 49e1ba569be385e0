package task

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/prepare"
)

// oomCounter reads how often the kernel killed a process for lack of memory in the
// cgroup of a container.
type oomCounter struct {
	file   string // empty: not known
	before int    // the count at the start
}

// newOOMCounter does not count for cgroups of the other services that lie in the cgroup of the
// container, nor for those that a service with delegated cgroups makes.
func newOOMCounter(place Placement, delegated bool) oomCounter {
	c := oomCounter{file: oomFile(cgroupRoot, place, delegated)}
	c.before = oomKills(c.file)
	return c
}

// oomFile returns the file below root with a cgroup's count, in the hierarchy of version 2
// or of the controller memory. memory.events counts for the cgroups below too,
// memory.events.local does not (cgroup-v2.rst).
func oomFile(root string, place Placement, delegated bool) string {
	file := "memory.events"
	switch {
	case delegated:
		file = filepath.Join(prepare.FirstCgroup, "memory.events.local")
	case len(bundle.Nested(place.made(), place.Others)) > 0:
		file = "memory.events.local"
	}
	for _, path := range []string{
		filepath.Join(root, "memory", place.made(), "memory.oom_control"),
		filepath.Join(root, place.made(), file),
	} {
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return ""
}

func (c oomCounter) grown() bool { return c.file != "" && oomKills(c.file) > c.before }

// oomKills reads the line "oom_kill N", which the files of both versions have.
func oomKills(path string) int {
	text, err := os.ReadFile(path)
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(text)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			n, _ := strconv.Atoi(strings.TrimSpace(count))
			return n
		}
	}
	return 0
}
