package security

import (
	"strconv"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/privilege"
)

// devices: devices that the rules of the cgroup allow.
func (a *assessment) devices() {
	if a.linux.Resources == nil {
		return
	}
	var allowed []specs.LinuxDeviceCgroup
	for _, rule := range a.linux.Resources.Devices {
		switch {
		case rule.Allow:
			allowed = append(allowed, rule)
		case rule.Type == "" || rule.Type == "a":
			if number(rule.Major) < 0 && number(rule.Minor) < 0 && rule.Access == "rwm" {
				allowed = nil // Denied again.
			}
		}
	}
	for _, rule := range allowed {
		weight, why := weighDevice(rule)
		item := deviceName(rule)
		a.add(weight, "linux.resources.devices", item, rule.Access, why, "# without "+privilege.Shorten(item)+" in devices and resources.devices")
	}
}

// weighDevice returns what the access to a device, or to all of a kind, weighs.
func weighDevice(rule specs.LinuxDeviceCgroup) (weight float64, why string) {
	major, minor := number(rule.Major), number(rule.Minor)
	switch {
	case rule.Access == "m": // A node without access to the device.
		return 0, ""
	case rule.Type != "c" && rule.Type != "b":
		return 9, "the service reads and writes all devices, disks among them"
	case rule.Type == "b" && (major < 0 || minor < 0):
		return 9, "the service reads and writes the disks of the machine, also what is mounted"
	case rule.Type == "b":
		return 5, "the service reads and writes a disk below its file system"
	case major < 0, major == 1 && (minor < 0 || minor == 1 || minor == 2 || minor == 4):
		return 8, "the service reads and writes memory or hardware of the machine"
	case major == 1, major == 5, major == 136:
		return 0, "" // null, zero, random and the like; terminals of the container
	case major == 10 && (minor == 200 || minor == 229):
		return 0.3, "the service makes network devices (tun) or file systems (fuse)"
	}
	return 1, "the service uses hardware, or a driver, of the machine"
}

// deviceName returns a rule as the kernel's devices.list shows it.
func deviceName(rule specs.LinuxDeviceCgroup) string {
	part := func(n int64) string {
		if n < 0 {
			return "*"
		}
		return strconv.FormatInt(n, 10)
	}
	kind := rule.Type
	if kind == "" {
		kind = "a"
	}
	return kind + " " + part(number(rule.Major)) + ":" + part(number(rule.Minor))
}

// number returns a major or minor number, or -1 for all.
func number(n *int64) int64 {
	if n == nil {
		return -1
	}
	return *n
}

// limits: what the service may use up.
func (a *assessment) limits() {
	r := a.linux.Resources
	if r == nil {
		r = &specs.LinuxResources{}
	}
	if (r.Memory == nil || r.Memory.Limit == nil || *r.Memory.Limit <= 0) && !limited(r.Unified["memory.max"]) {
		a.add(0.4, "linux.resources.memory.limit", "", "none", "the service can use up the memory of the machine: the kernel then ends others",
			"resources: {memory: {limit: 268435456}} # bytes")
	}
	if (r.Pids == nil || r.Pids.Limit == nil || *r.Pids.Limit <= 0) && !limited(r.Unified["pids.max"]) {
		a.add(0.4, "linux.resources.pids.limit", "", "none", "the service can use up the process IDs and threads of the machine",
			"resources: {pids: {limit: 100}} # processes and threads")
	}
}

// delegation: cgroups that the service makes.
func (a *assessment) delegation() {
	if a.bundle.Settings.Delegate {
		a.add(0.3, "annotations", bundle.SettingsPrefix+"delegate", "true", "the service makes any number of cgroups, each of which takes memory of the kernel",
			"# without "+bundle.SettingsPrefix+"delegate in annotations, if the service needs no cgroups")
	}
}

// limited reports whether a file of a cgroup sets a limit.
func limited(value string) bool { return value != "" && value != "max" }

// hooks: programs that run around the container.
func (a *assessment) hooks() {
	h := a.spec.Hooks
	if h == nil {
		return
	}
	//lint:ignore SA1019 Bundles may still have it.
	prestart := h.Prestart
	for _, kind := range []struct {
		name  string
		hooks []specs.Hook
	}{
		{"prestart", prestart},
		{"createRuntime", h.CreateRuntime}, {"createContainer", h.CreateContainer}, {"poststart", h.Poststart}, {"poststop", h.Poststop},
	} { // startContainer runs in the container.
		for _, hook := range kind.hooks {
			a.add(2, "hooks", kind.name, hook.Path, "root executes the program outside of the container at each start or stop", "# without hooks in config.json")
		}
	}
}
