package task

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"keelson/runtime/bundle"
	"keelson/runtime/procfs"
)

// oomCounter reads how often the kernel killed a process for lack of memory in the
// cgroup of a container.
type oomCounter struct {
	file   string // empty: not known
	before int    // the count at the start
}

// newOOMCounter does not count for cgroups of the other services that lie in the cgroup
// of the process.
func newOOMCounter(pid int, others []string) oomCounter {
	cgroups, err := procfs.ReadCgroup("/proc", pid)
	if err != nil {
		return oomCounter{}
	}
	c := oomCounter{file: oomFile(cgroups, others)}
	c.before = oomKills(c.file)
	return c
}

// oomFile finds the file with a cgroup's count. The root cgroup has no limit and no file.
// memory.events counts for the cgroups below too, memory.events.local does not
// (cgroup-v2.rst).
func oomFile(cgroups []procfs.Cgroup, others []string) string {
	for _, c := range cgroups {
		path := filepath.Join("/", c.Path)
		switch {
		case path == "/":
		case c.Has("memory"):
			return filepath.Join("/sys/fs/cgroup/memory", path, "memory.oom_control")
		case c.V2():
			file := "memory.events"
			if len(bundle.Nested(path, others)) > 0 {
				file = "memory.events.local"
			}
			return filepath.Join("/sys/fs/cgroup", path, file)
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
