package mounts

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
)

const cgroupRoot = "/sys/fs/cgroup"

// Cgroup2 returns the table of the unified hierarchy.
func Cgroup2() []Item {
	return []Item{
		{Thing: FS{"cgroup2", cgroupRoot, "cgroup2", common}, Why: "limits, freezing and killing of containers"},
	}
}

// Cgroup1 returns the table of the legacy layout: one hierarchy for each controller, and
// systemd's, which many programs expect.
func Cgroup1(controllers []string) []Item {
	table := []Item{
		{Thing: FS{"cgroup_root", cgroupRoot, "tmpfs", common + ",mode=755,size=10m"}, Why: "mount points of the hierarchies"},
	}
	for _, name := range controllers {
		path := cgroupRoot + "/" + name
		table = append(table,
			Item{Thing: Dir{path, 0o555}, Why: "mount point"},
			Item{Thing: FS{name, path, "cgroup", common + "," + name}, Why: "controller " + name})
	}
	return append(table,
		Item{Thing: Dir{cgroupRoot + "/systemd", 0o555}, Why: "mount point"},
		Item{Thing: FS{"cgroup", cgroupRoot + "/systemd", "cgroup", "none,name=systemd"}, Why: "programs that expect systemd"})
}

// Cgroups mounts the unified hierarchy, or the legacy ones.
func Cgroups(legacy bool) error {
	if !legacy {
		return Apply(Cgroup2())
	}
	f, err := os.Open("/proc/cgroups")
	if err != nil {
		return fmt.Errorf("cannot list cgroup controllers: %w", err)
	}
	defer f.Close()
	controllers, err := enabledControllers(f)
	if err != nil {
		return fmt.Errorf("cannot list cgroup controllers: %w", err)
	}
	return errors.Join(Apply(Cgroup1(controllers)), useHierarchy())
}

// enabledControllers parses /proc/cgroups:
//
//	#subsys_name	hierarchy	num_cgroups	enabled
//	cpuset	0	1	1
func enabledControllers(r io.Reader) ([]string, error) {
	var names []string
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) == 4 && f[0][0] != '#' && f[3] == "1" {
			names = append(names, f[0])
		}
	}
	return names, lines.Err()
}

// useHierarchy makes memory limits apply to groups below. Kernels from 5.11 on always do
// that and refuse or ignore the write.
func useHierarchy() error {
	const path = cgroupRoot + "/memory/memory.use_hierarchy"
	old, err := os.ReadFile(path)
	if err != nil || strings.TrimSpace(string(old)) == "1" {
		return nil
	}
	if err := os.WriteFile(path, []byte("1"), 0); err != nil {
		return fmt.Errorf("cannot make memory limits hierarchical: %w", err)
	}
	return nil
}
