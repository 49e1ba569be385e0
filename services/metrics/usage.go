package metrics

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// Usage is what the kernel counts for a cgroup. A nil value is not counted.
type Usage struct {
	CPU, CPUUser, CPUSystem             *float64 // seconds
	Memory, MemoryPeak, MemoryLimit     *float64 // bytes; without a limit, MemoryLimit is nil
	OOMKills, Processes, ProcessesLimit *float64
	Pressure                            []Pressure
}

// Pressure is for how long tasks have waited for a resource (accounting/psi.rst).
type Pressure struct {
	Resource string  // cpu, memory or io
	Share    string  // some or full: of the tasks
	Seconds  float64 // since the cgroup exists
}

// ReadUsage reads the counters of the cgroup at path, in the hierarchy of version 2 at
// root or in those of version 1 in folders below it.
func ReadUsage(root, path string) Usage {
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return readV2(filepath.Join(root, path))
	}
	return readV1(root, path)
}

func readV2(dir string) Usage {
	in := func(name string) string { return filepath.Join(dir, name) }
	cpu := keyed(in("cpu.stat"))
	u := Usage{
		CPU: cpu.scaled("usage_usec", 1e-6), CPUUser: cpu.scaled("user_usec", 1e-6), CPUSystem: cpu.scaled("system_usec", 1e-6),
		Memory: number(in("memory.current")), MemoryPeak: number(in("memory.peak")), MemoryLimit: number(in("memory.max")),
		OOMKills:  keyed(in("memory.events")).scaled("oom_kill", 1),
		Processes: number(in("pids.current")), ProcessesLimit: number(in("pids.max")),
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		u.Pressure = append(u.Pressure, pressure(in(resource+".pressure"), resource)...)
	}
	return u
}

// noLimit is the value of memory.limit_in_bytes without a limit: the largest number of
// whole pages in an int64.
const noLimit = 1 << 62

func readV1(root, path string) Usage {
	in := func(controller, name string) string { return filepath.Join(root, controller, path, name) }
	u := Usage{
		CPU:    scale(number(in("cpuacct", "cpuacct.usage")), 1e-9),
		Memory: number(in("memory", "memory.usage_in_bytes")), MemoryPeak: number(in("memory", "memory.max_usage_in_bytes")),
		MemoryLimit: number(in("memory", "memory.limit_in_bytes")),
		OOMKills:    keyed(in("memory", "memory.oom_control")).scaled("oom_kill", 1),
		Processes:   number(in("pids", "pids.current")), ProcessesLimit: number(in("pids", "pids.max")),
	}
	u.CPUUser = scale(number(in("cpuacct", "cpuacct.usage_user")), 1e-9)
	u.CPUSystem = scale(number(in("cpuacct", "cpuacct.usage_sys")), 1e-9)
	if u.MemoryLimit != nil && *u.MemoryLimit >= noLimit {
		u.MemoryLimit = nil
	}
	return u
}

// number reads a file with one number. It returns nil if there is none, as for "max".
func number(path string) *float64 {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	return parse(strings.TrimSpace(string(text)))
}

func parse(text string) *float64 {
	n, err := strconv.ParseUint(text, 10, 64)
	if err != nil {
		return nil
	}
	value := float64(n)
	return &value
}

func scale(n *float64, factor float64) *float64 {
	if n != nil {
		*n *= factor
	}
	return n
}

// pairs are the lines "KEY VALUE" of a file.
type pairs map[string]string

func keyed(path string) pairs {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil
	}
	all := pairs{}
	for line := range strings.Lines(string(text)) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all[key] = value
		}
	}
	return all
}

func (p pairs) scaled(key string, factor float64) *float64 { return scale(parse(p[key]), factor) }

// pressure reads lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", whose total is in
// microseconds.
func pressure(path, resource string) (all []Pressure) {
	values := keyed(path)
	for _, share := range []string{"full", "some"} {
		_, total, _ := strings.Cut(values[share], "total=")
		if seconds := scale(parse(total), 1e-6); seconds != nil {
			all = append(all, Pressure{resource, share, *seconds})
		}
	}
	return all
}
