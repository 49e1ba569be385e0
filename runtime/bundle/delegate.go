package bundle

import (
	"path"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

const (
	delegateKey = SettingsPrefix + "delegate"
	cgroupMount = "/sys/fs/cgroup"
)

// delegated returns the mount by which a service with keelson.delegate sees its cgroups.
func delegated() specs.Mount {
	return specs.Mount{Destination: cgroupMount, Type: "cgroup", Source: "cgroup", Options: []string{"nosuid", "noexec", "nodev", "relatime", "rw"}}
}

// showsCgroups reports whether m mounts cgroups where programs expect them.
func showsCgroups(m specs.Mount) bool {
	return path.Clean("/"+m.Destination) == cgroupMount && (m.Type == "cgroup" || m.Type == "cgroup2")
}

// withCgroupNamespace returns the namespaces of the container and one for cgroups.
func withCgroupNamespace(namespaces []specs.LinuxNamespace) []specs.LinuxNamespace {
	if slices.ContainsFunc(namespaces, func(n specs.LinuxNamespace) bool { return n.Type == specs.CgroupNamespace }) {
		return namespaces
	}
	return append(slices.Clone(namespaces), specs.LinuxNamespace{Type: specs.CgroupNamespace})
}

// refuseDelegation returns the field of config.json because of which keelson.delegate cannot
// have an effect, with its value and the reason; why is empty if there is none.
func refuseDelegation(s *specs.Spec) (field, value, why string) {
	c := refusals{spec: s, linux: s.Linux}
	if c.linux == nil {
		c.linux = &specs.Linux{}
	}
	if ns := c.namespace(specs.CgroupNamespace); ns != nil && ns.Path != "" {
		return "linux.namespaces", ns.Path, "with " + delegateKey + " the container needs a cgroup namespace of its own"
	}
	if !c.fresh(specs.MountNamespace) {
		return "linux.namespaces", "", "with " + delegateKey + " the container needs a mount namespace of its own"
	}
	for _, m := range s.Mounts {
		to := path.Clean("/" + m.Destination)
		if to == cgroupMount && !showsCgroups(m) || len(Nested(cgroupMount, []string{to})) > 0 {
			return "mounts", m.Destination, "with " + delegateKey + " the container has its own cgroups there: remove the mount"
		}
	}
	return "", "", ""
}

// checkDelegation checks what keelson.delegate needs. Load refuses such bundles; the builder
// checks a configuration before it writes a bundle.
func (c *refusals) checkDelegation() {
	settings, _ := ParseSettings(c.spec.Annotations)
	if !settings.Delegate {
		return
	}
	if field, value, why := refuseDelegation(c.spec); why != "" {
		c.add(field, value, "%s", why)
	}
}

// RootID returns the machine's ID of the user 0 of the container.
func (b *Bundle) RootID() uint32 {
	if b.OwnUsers() || b.Spec == nil || b.Spec.Linux == nil {
		return b.FirstID
	}
	if ns := NamespaceOf(b.Spec.Linux, specs.UserNamespace); ns == nil {
		return 0
	}
	id, _ := OnMachine(b.Spec.Linux.UIDMappings, 0) // Without a mapping, no process has it.
	return id
}
