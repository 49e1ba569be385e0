package metrics

import (
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
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

// hierarchies reads the counters of cgroups. One goroutine uses it. A scrape reads a thousand
// files of a few bytes: they are opened without Go's poller, which would take twice as long.
type hierarchies struct {
	root   string // where they are mounted
	v2     bool   // root is the one of version 2; else those of version 1 are below it
	waits  bool   // read Pressure too
	buffer [4096]byte
}

func openHierarchies(root string) *hierarchies {
	_, err := os.Stat(filepath.Join(root, "cgroup.controllers"))
	return &hierarchies{root: root, v2: err == nil, waits: true}
}

// usage reads the counters of the cgroup at path.
func (h *hierarchies) usage(path string) Usage {
	if h.v2 {
		return h.readV2(path)
	}
	return h.readV1(path)
}

func (h *hierarchies) readV2(path string) Usage {
	in := func(name string) string { return filepath.Join(h.root, path, name) }
	cpu := h.keyed(in("cpu.stat"))
	u := Usage{
		CPU: cpu.scaled("usage_usec", 1e-6), CPUUser: cpu.scaled("user_usec", 1e-6), CPUSystem: cpu.scaled("system_usec", 1e-6),
		Memory: h.number(in("memory.current")), MemoryPeak: h.number(in("memory.peak")), MemoryLimit: h.number(in("memory.max")),
		OOMKills:  h.keyed(in("memory.events")).scaled("oom_kill", 1),
		Processes: h.number(in("pids.current")), ProcessesLimit: h.number(in("pids.max")),
	}
	if !h.waits {
		return u
	}
	for _, resource := range []string{"cpu", "memory", "io"} {
		u.Pressure = append(u.Pressure, h.pressure(in(resource+".pressure"), resource)...)
	}
	return u
}

// noLimit is the value of memory.limit_in_bytes without a limit: the largest number of
// whole pages in an int64.
const noLimit = 1 << 62

func (h *hierarchies) readV1(path string) Usage {
	in := func(controller, name string) string { return filepath.Join(h.root, controller, path, name) }
	u := Usage{
		CPU:    scale(h.number(in("cpuacct", "cpuacct.usage")), 1e-9),
		Memory: h.number(in("memory", "memory.usage_in_bytes")), MemoryPeak: h.number(in("memory", "memory.max_usage_in_bytes")),
		MemoryLimit: h.number(in("memory", "memory.limit_in_bytes")),
		OOMKills:    h.keyed(in("memory", "memory.oom_control")).scaled("oom_kill", 1),
		Processes:   h.number(in("pids", "pids.current")), ProcessesLimit: h.number(in("pids", "pids.max")),
	}
	u.CPUUser = scale(h.number(in("cpuacct", "cpuacct.usage_user")), 1e-9)
	u.CPUSystem = scale(h.number(in("cpuacct", "cpuacct.usage_sys")), 1e-9)
	if u.MemoryLimit != nil && *u.MemoryLimit >= noLimit {
		u.MemoryLimit = nil
	}
	return u
}

// number reads a file with one number. It returns nil if there is none, as for "max".
func (h *hierarchies) number(path string) *float64 {
	text, ok := h.read(path)
	if !ok {
		return nil
	}
	return parse(strings.TrimSpace(text))
}

// read reads a file of the kernel, which has less than a page.
func (h *hierarchies) read(path string) (text string, ok bool) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return "", false
	}
	defer unix.Close(fd)
	n, err := unix.Read(fd, h.buffer[:])
	if err != nil {
		return "", false
	}
	return string(h.buffer[:n]), true
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

func (h *hierarchies) keyed(path string) pairs {
	text, ok := h.read(path)
	if !ok {
		return nil
	}
	all := pairs{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), " "); ok {
			all[key] = value
		}
	}
	return all
}

func (p pairs) scaled(key string, factor float64) *float64 { return scale(parse(p[key]), factor) }

// pressure reads lines "some avg10=0.00 avg60=0.00 avg300=0.00 total=0", whose total is in
// microseconds.
func (h *hierarchies) pressure(path, resource string) (all []Pressure) {
	values := h.keyed(path)
	for _, share := range []string{"full", "some"} {
		_, total, _ := strings.Cut(values[share], "total=")
		if seconds := scale(parse(total), 1e-6); seconds != nil {
			all = append(all, Pressure{resource, share, *seconds})
		}
	}
	return all
}
