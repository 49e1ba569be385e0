package security

import (
	"path"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/paths"
	"keelson/runtime/privilege"
)

// root: the root file system of the container, and how mounts spread from it.
func (a *assessment) root() {
	if a.spec.Root == nil || !a.spec.Root.Readonly {
		a.add(0.4, "root.readonly", "", "false", "an intruder can replace the programs of the service until it is started again",
			"readonly: true # with tmpfs for folders that the service writes to")
	}
	if p := a.linux.RootfsPropagation; p == "shared" || p == "rshared" {
		a.add(0.5, "linux.rootfsPropagation", "", p, "mounts that the service makes appear on the machine",
			"rootfsPropagation: private")
	}
}

// place is a file or folder of the machine that gives power over it.
type place struct {
	path    string
	written float64 // weight if it can be written to
	read    float64 // weight if it is mounted read-only: a socket accepts connections all the same
	parts   bool    // a part of it, mounted read-only, is as powerful
	why     string
}

var places = []place{
	{paths.ContainerdState, 9, 9, true, "containerd's socket starts containers with any privilege"},
	{paths.State, 7, 7, true, "the supervisor's socket stops and replaces services and powers the machine off"},
	{"/usr", 9, 0, false, "root of the machine executes programs there"},
	{"/bin", 9, 0, false, "root of the machine executes programs there"},
	{"/sbin", 9, 0, false, "root of the machine executes programs there"},
	{"/lib", 9, 0, false, "root of the machine executes programs and loads modules there"},
	{"/init", 9, 0, false, "it is PID 1 of the machine"},
	{"/containers", 9, 0.5, false, "the bundles of all services are there"},
	{"/var/lib/keelson", 9, 0.5, false, "services that replace those of the image are there"},
	{"/var/lib/containerd", 6, 0.5, false, "the state of all containers is there"},
	{"/etc", 6, 0.5, false, "the configuration of the machine and its scripts are there"},
	{"/proc", 6, 1, false, "the settings of the kernel and all processes are there"},
	{"/sys", 6, 0.5, false, "the settings of the kernel and of devices are there"},
	{"/dev", 1, 0.5, false, "the device nodes of the machine are there"},
	{"/var/log", 1, 0.5, false, "the logs of all services are there"},
}

// mounts: files of the machine, and file systems of the kernel that can be written to.
func (a *assessment) mounts() {
	for _, m := range a.spec.Mounts {
		if bundle.IsBind(m) {
			a.bind(m)
			continue
		}
		if readOnly(m) {
			continue
		}
		item := m.Type + ":" + m.Destination
		advice := "mounts: [{type: " + m.Type + ", destination: " + privilege.Shorten(m.Destination) + ", options: [nosuid, noexec, nodev, ro]}]"
		switch m.Type {
		case "sysfs":
			a.add(a.asRoot(3), "mounts", item, "rw", "root may change settings of devices and the kernel, also which program the kernel executes", advice)
		case "cgroup":
			a.add(a.asRoot(1.5), "mounts", item, "rw", "the service may raise its own limits", advice)
		case "debugfs", "tracefs", "securityfs", "bpf", "configfs", "efivarfs":
			a.add(a.asRoot(5), "mounts", item, "rw", "root may change the kernel or the firmware there", "# without it in mounts")
		}
	}
}

// bind: a bind mount of files of the machine.
func (a *assessment) bind(m specs.Mount) {
	source := clean(m.Source)
	ro := readOnly(m)
	weight, why := 0.3, "the service changes files of the machine, which outlive it"
	if ro {
		weight = 0
	}
	reading := 0.0 // what is left if it is mounted read-only
	for _, p := range places {
		whole, part := privilege.Covers(source, p.path), privilege.Covers(p.path, source)
		if !whole && !part {
			continue
		}
		asRoot := a.asRoot
		if a.ownUsers && slices.ContainsFunc(m.Options, func(o string) bool { return o == "idmap" || o == "ridmap" }) {
			asRoot = func(weight float64) float64 { return weight } // Root of the container owns the files of root.
		}
		read := asRoot(p.read)
		if !whole && !p.parts {
			read = 0
		}
		reading = max(reading, read)
		w := read
		if !ro {
			w = asRoot(p.written)
		}
		if w > weight {
			weight, why = w, p.why
		}
	}
	item := m.Source + ":" + m.Destination
	advice := "# without " + privilege.Shorten(item) + " in binds and mounts"
	if !ro && reading == 0 {
		advice = "# " + privilege.Shorten(item+":ro") + " in binds, if the service only reads it"
	}
	is := "rw"
	if ro {
		is = "ro"
	}
	a.add(weight, "mounts", item, is, why, advice)
}

// clean returns the path of a file of the machine. /var/run is a link to /run.
func clean(source string) string {
	source = path.Clean("/" + source)
	if rest, ok := strings.CutPrefix(source, "/var/run"); ok && (rest == "" || rest[0] == '/') {
		return "/run" + rest
	}
	return source
}

// readOnly reports whether a mount is read-only: its last option about that counts.
func readOnly(m specs.Mount) (ro bool) {
	for _, option := range m.Options {
		switch option {
		case "ro", "rro":
			ro = true
		case "rw", "rrw":
			ro = false
		}
	}
	return ro
}

// Files below /proc and /sys that container engines keep from containers.
var (
	readonlyPaths = []string{"/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"}
	maskedPaths   = []string{
		"/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys", "/proc/latency_stats", "/proc/sched_debug",
		"/proc/scsi", "/proc/timer_list", "/proc/timer_stats", "/sys/devices/virtual/powercap", "/sys/firmware",
	}
)

// kernelPaths: files below /proc and /sys.
func (a *assessment) kernelPaths() {
	if !slices.ContainsFunc(a.spec.Mounts, func(m specs.Mount) bool { return m.Type == "proc" }) {
		return
	}
	masked, readonly := a.linux.MaskedPaths, a.linux.ReadonlyPaths
	if left := uncovered(readonlyPaths, slices.Concat(masked, readonly)); len(left) > 0 {
		a.add(a.asRoot(5), "linux.readonlyPaths", "", "without "+strings.Join(left, ", "),
			"root may change settings of the kernel: kernel.core_pattern executes programs outside the container, sysrq-trigger reboots",
			yamlList("readonlyPaths", readonly, left))
	}
	if left := uncovered(maskedPaths, masked); len(left) > 0 {
		a.add(0.3+a.asRoot(0.5), "linux.maskedPaths", "", "without "+strings.Join(left, ", "),
			"the files show memory, keys, timing and devices of the machine", yamlList("maskedPaths", masked, left))
	}
}

// uncovered returns the paths that are neither in the list nor below one in it.
func uncovered(all, list []string) (left []string) {
	for _, p := range all {
		if !slices.ContainsFunc(list, func(l string) bool { return privilege.Covers(path.Clean(l), p) }) {
			left = append(left, p)
		}
	}
	return left
}

// yamlList returns a line of YAML with a list of paths.
func yamlList(key string, parts ...[]string) string {
	var quoted []string
	for _, p := range slices.Concat(parts...) {
		quoted = append(quoted, privilege.Shorten(p))
	}
	return key + ": [" + strings.Join(quoted, ", ") + "]"
}
