package procfs

import (
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Cgroup is the place of a process in one hierarchy of cgroups: a line
// "hierarchy-ID:controller-list:cgroup-path" of /proc/PID/cgroup (cgroups(7)). The
// hierarchy of version 2 has the line "0::/path".
type Cgroup struct {
	Hierarchy   string // the number
	Controllers string // separated by commas; or name=NAME
	Path        string // from the root of the hierarchy; empty: unknown
}

// V2 reports whether the hierarchy is that of version 2.
func (c Cgroup) V2() bool { return c.Hierarchy == "0" && c.Controllers == "" }

// Has reports whether a controller of version 1 is attached to the hierarchy.
func (c Cgroup) Has(controller string) bool {
	return slices.Contains(strings.Split(c.Controllers, ","), controller)
}

// ParseCgroup parses /proc/PID/cgroup. It skips lines of another form.
func ParseCgroup(text string) []Cgroup {
	var all []Cgroup
	for line := range strings.Lines(text) {
		if f := strings.SplitN(strings.TrimSuffix(line, "\n"), ":", 3); len(f) == 3 {
			all = append(all, Cgroup{Hierarchy: f[0], Controllers: f[1], Path: f[2]})
		}
	}
	return all
}

// ReadCgroup reads the cgroups of a process.
func ReadCgroup(proc string, pid int) ([]Cgroup, error) {
	text, err := os.ReadFile(filepath.Join(proc, strconv.Itoa(pid), "cgroup"))
	if err != nil {
		return nil, err
	}
	return ParseCgroup(string(text)), nil
}

// CgroupPIDs returns the processes in the cgroup whose folder is dir (cgroup.procs, in
// cgroup-v2.rst and the cgroup-v1 documentation), without this one and without those that
// this PID namespace does not see. It is empty if there is no such cgroup.
func CgroupPIDs(dir string) (pids []int) {
	text, _ := os.ReadFile(filepath.Join(dir, "cgroup.procs")) // It may be gone.
	for word := range strings.FieldsSeq(string(text)) {
		if pid, err := strconv.Atoi(word); err == nil && pid > 1 && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids
}
