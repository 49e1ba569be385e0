package bundle

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

// checkMappings checks that a new user namespace has ids, root among them.
func (c *refusals) checkMappings() {
	if !c.fresh(specs.UserNamespace) {
		return // runc ignores mappings then.
	}
	for _, m := range []struct {
		field string
		ids   []specs.LinuxIDMapping
	}{{"linux.uidMappings", c.linux.UIDMappings}, {"linux.gidMappings", c.linux.GIDMappings}} {
		if len(m.ids) == 0 {
			c.add(m.field, "", "a new user namespace (userns: new) needs uidMappings and gidMappings")
			return
		}
		if !mapped(0, m.ids) {
			c.add(m.field, "", "none of them has id 0 of the container")
			return
		}
	}
	c.checkUser()
}

// checkUser checks that the user of the process has ids in a new user namespace.
func (c *refusals) checkUser() {
	u := c.process.User
	if !mapped(u.UID, c.linux.UIDMappings) {
		c.add("process.user.uid", "", "%d is in none of the uidMappings", u.UID)
	}
	if !mapped(u.GID, c.linux.GIDMappings) {
		c.add("process.user.gid", "", "%d is in none of the gidMappings", u.GID)
	}
	for _, gid := range u.AdditionalGids {
		if !mapped(gid, c.linux.GIDMappings) {
			c.add("process.user.additionalGids", "", "%d is in none of the gidMappings", gid)
		}
	}
}

func mapped(id uint32, ids []specs.LinuxIDMapping) bool {
	_, ok := OnMachine(ids, id)
	return ok
}

// OnMachine returns the machine's ID for an ID of a container (user_namespaces(7)), or
// false if mappings do not contain it.
func OnMachine(mappings []specs.LinuxIDMapping, id uint32) (uint32, bool) {
	for _, m := range mappings {
		if id >= m.ContainerID && uint64(id) < uint64(m.ContainerID)+uint64(m.Size) {
			return m.HostID + (id - m.ContainerID), true
		}
	}
	return 0, false
}

func (c *refusals) checkDevices() {
	for _, d := range c.linux.Devices {
		switch {
		case !slices.Contains([]string{"b", "c", "u", "p"}, d.Type):
			c.add("linux.devices", d.Path, "type %q is not one of b, c, u, p", d.Type)
		case d.Type == "p" && (d.Major != 0 || d.Minor != 0):
			c.add("linux.devices", d.Path, "a named pipe (type p) has no major and minor number")
		}
	}
}

func (c *refusals) checkResources() {
	r := c.linux.Resources
	if r == nil {
		return
	}
	for name := range r.Unified {
		if strings.Contains(name, "/") {
			c.add("linux.resources.unified", name, "is not the name of a file: it holds a slash")
		}
	}
	for _, d := range r.Devices {
		if !slices.Contains([]string{"", "a", "b", "c"}, d.Type) {
			c.add("linux.resources.devices", "", "type %q is not one of a, b, c", d.Type)
		} else if d.Access == "" {
			c.add("linux.resources.devices", "", "access is missing, which is some of rwm")
		}
	}
	if r.Memory == nil || r.Memory.Swap == nil || *r.Memory.Swap <= 0 {
		return
	}
	var memory int64
	if r.Memory.Limit != nil {
		memory = *r.Memory.Limit
	}
	switch {
	case memory == 0:
		c.add("linux.resources.memory.swap", "", "needs a limit of memory, too")
	case *r.Memory.Swap < memory:
		c.add("linux.resources.memory.swap", "", "%d is the limit of memory and swap together, and less than that of memory, %d", *r.Memory.Swap, memory)
	}
}

func (c *refusals) checkMounts() {
	for _, m := range c.spec.Mounts {
		if why := c.refuseMount(m); why != "" {
			c.add("mounts", m.Destination, "%s", why)
		}
	}
}

func (c *refusals) refuseMount(m specs.Mount) string {
	bind := slices.Contains(m.Options, "bind") || slices.Contains(m.Options, "rbind")
	if why := refuseDestination(m, bind); why != "" {
		return why
	}
	if bind {
		if i := slices.IndexFunc(m.Options, ofFileSystem); i >= 0 {
			return "option " + m.Options[i] + " is one of a file system, and a bind has only those of mounts"
		}
	} else if m.Type == "bind" {
		return "a bind needs the option bind or rbind"
	} else if m.Type == "" {
		return "a type is needed, or the option bind or rbind"
	}
	ids := m.UIDMappings != nil || m.GIDMappings != nil || slices.Contains(m.Options, "idmap") || slices.Contains(m.Options, "ridmap")
	switch {
	case ids && !bind:
		return "only binds can have id mappings"
	case ids && len(m.UIDMappings)+len(m.GIDMappings) == 0 && c.namespace(specs.UserNamespace) == nil && !usersAsked(c.spec):
		return "needs a user namespace (" + SettingsPrefix + "userns: " + UsernsAuto + "), or uidMappings and gidMappings"
	case ids && len(m.UIDMappings) == 0 != (len(m.GIDMappings) == 0):
		return "needs both uidMappings and gidMappings"
	case !bind && c.fresh(specs.UserNamespace):
		return c.refuseInUserns(m.Type)
	}
	return ""
}

// inProc are the paths below /proc on which runc allows mounts: the files of lxcfs.
var inProc = []string{
	"/proc/cpuinfo", "/proc/diskstats", "/proc/meminfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
	"/proc/loadavg", "/proc/slabinfo", "/proc/sys/kernel/ns_last_pid", "/proc/sys/crypto/fips_enabled",
}

// refuseDestination returns why runc refuses the destination of m. On /proc it accepts a
// bind whose source is a proc file system, which only the machine can check.
func refuseDestination(m specs.Mount, bind bool) string {
	switch dest := path.Clean("/" + m.Destination); {
	case dest == "/":
		return "nothing can be mounted on the root"
	case dest == "/proc" && !bind && m.Type != "proc":
		return "only proc can be mounted there"
	case strings.HasPrefix(dest, "/proc/") && !slices.Contains(inProc, dest):
		return "nothing can be mounted below /proc"
	}
	return ""
}

// refuseInUserns returns why the kernel refuses a file system that shows a namespace that
// does not belong to the container's new user namespace.
func (c *refusals) refuseInUserns(fstype string) string {
	for _, need := range []struct {
		fstype, setting string
		kind            specs.LinuxNamespaceType
	}{
		{"proc", "pid: new", specs.PIDNamespace}, {"sysfs", "net: new", specs.NetworkNamespace}, {"mqueue", "ipc: new", specs.IPCNamespace},
	} {
		if need.fstype == fstype && !c.fresh(need.kind) {
			return "with userns: new a mount of " + fstype + " needs " + need.setting
		}
	}
	return ""
}

// mountOptions are the mount options that runc knows, each with its opposite. runc passes
// others to the file system, also "defaults", which is not an option of a bind.
var mountOptions = strings.Fields(`
	ro rw nosuid suid nodev dev noexec exec sync async dirsync mand nomand
	atime noatime diratime nodiratime relatime norelatime strictatime nostrictatime
	iversion noiversion lazytime nolazytime silent loud nosymfollow symfollow
	bind rbind remount idmap ridmap tmpcopyup
	rro rrw rnosuid rsuid rnodev rdev rnoexec rexec rnodiratime rdiratime rrelatime
	rnorelatime rnoatime ratime rstrictatime rnostrictatime rnosymfollow rsymfollow`)

func ofFileSystem(option string) bool {
	return option != "" && !slices.Contains(mountOptions, option) && !slices.Contains(propagations, option)
}
