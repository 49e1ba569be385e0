package bundle

import (
	"errors"
	"fmt"
	"slices"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// Values of Settings.Userns.
const (
	UsernsHost = "host" // the user namespace that config.json names, or the machine's
	UsernsAuto = "auto" // one of the container's own, with a range of IDs that keelson chooses
)

// UserRange is how many user and group IDs a container with UsernsAuto has.
const UserRange = 65536

// OwnUsers reports whether keelson.userns gives the container a user namespace.
func (b *Bundle) OwnUsers() bool { return b.Settings.Userns == UsernsAuto }

// users returns the mapping of the container's user namespace.
func (b *Bundle) users() []specs.LinuxIDMapping {
	return []specs.LinuxIDMapping{{HostID: b.FirstID, Size: UserRange}}
}

// usersAsked reports whether an annotation gives the container a user namespace.
func usersAsked(s *specs.Spec) bool {
	settings, _ := ParseSettings(s.Annotations)
	return settings.Userns == UsernsAuto
}

// refuseUsers returns the field of config.json because of which a container cannot have the
// user namespace of UsernsAuto, with its value and the reason; why is empty if it can.
func refuseUsers(s *specs.Spec) (field, value, why string) {
	c := refusals{spec: s, process: s.Process, linux: s.Linux}
	if c.linux == nil {
		c.linux = &specs.Linux{}
	}
	const both = "the container has another user namespace by " + SettingsPrefix + "userns: remove one of the two"
	switch {
	case c.namespace(specs.UserNamespace) != nil:
		return "linux.namespaces", string(specs.UserNamespace), both
	case len(c.linux.UIDMappings) > 0:
		return "linux.uidMappings", fmt.Sprint(c.linux.UIDMappings), both
	case len(c.linux.GIDMappings) > 0:
		return "linux.gidMappings", fmt.Sprint(c.linux.GIDMappings), both
	case !c.fresh(specs.MountNamespace):
		return "linux.namespaces", "", "with " + SettingsPrefix + "userns the container needs a mount namespace of its own"
	}
	if !c.fresh(specs.PIDNamespace) {
		for _, m := range s.Mounts {
			if m.Type == "proc" && !IsBind(m) {
				return "mounts", m.Destination, "with " + SettingsPrefix + "userns a mount of proc needs a PID namespace of the container's own (pid: new)"
			}
		}
	}
	if s.Process == nil {
		return "", "", ""
	}
	user := s.Process.User
	for _, id := range append([]uint32{user.UID, user.GID}, user.AdditionalGids...) {
		if id >= UserRange {
			return "process.user", fmt.Sprint(id), fmt.Sprintf("with %suserns the container has the IDs from 0 to %d", SettingsPrefix, UserRange-1)
		}
	}
	return "", "", ""
}

// errNoRange is returned for a bundle with UsernsAuto that has no FirstID.
var errNoRange = errors.New("no user IDs were assigned to the container")

// userNamespace adds the mappings of the user namespace to the section for Linux.
func (b *Bundle) userNamespace(linux object) error {
	if !b.OwnUsers() {
		return nil
	}
	if b.FirstID == 0 {
		return errNoRange
	}
	return apply([]change{
		{linux, "uidMappings", b.users(), true},
		{linux, "gidMappings", b.users(), true},
	})
}

// namespaces returns the namespaces of the container with those that e and annotations add.
func (b *Bundle) namespaces(e Edit) (all []specs.LinuxNamespace) {
	if b.Spec.Linux != nil {
		all = slices.Clone(b.Spec.Linux.Namespaces)
	}
	if b.OwnUsers() {
		all = append(all, specs.LinuxNamespace{Type: specs.UserNamespace})
	}
	if e.Delegate {
		all = withCgroupNamespace(all)
	}
	return all
}

// inUserns returns the mount that stands for m in the user namespace of UsernsAuto. File
// systems that show a namespace can be mounted only in the user namespace that owns it
// (user_namespaces(7)): those of the machine are bound.
func (b *Bundle) inUserns(m specs.Mount) (bind specs.Mount, changed bool) {
	if !b.OwnUsers() || IsBind(m) || b.Spec.Linux == nil {
		return m, false
	}
	c := refusals{spec: b.Spec, linux: b.Spec.Linux}
	options := []string{"rbind", "nosuid", "noexec", "nodev"}
	switch {
	case m.Type == "sysfs" && !c.fresh(specs.NetworkNamespace):
		// As in runc's specification for rootless containers (specconv.ToRootless).
		return specs.Mount{Destination: m.Destination, Type: "bind", Source: "/sys", Options: append(options, "ro")}, true
	case m.Type == "mqueue" && !c.fresh(specs.IPCNamespace):
		if slices.Contains(m.Options, "ro") {
			options = append(options, "ro")
		}
		return specs.Mount{Destination: m.Destination, Type: "bind", Source: "/dev/mqueue", Options: options}, true
	}
	return m, false
}

// checkUsers checks what UsernsAuto needs. Load refuses such bundles; the builder checks a
// configuration before it writes a bundle.
func (c *refusals) checkUsers() {
	if !usersAsked(c.spec) {
		return
	}
	if field, value, why := refuseUsers(c.spec); why != "" {
		c.add(field, value, "%s", why)
	}
}
