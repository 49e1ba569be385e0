package security

import (
	"fmt"
	"slices"
	"strings"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
	"keelson/runtime/privilege"
)

// user: the user and the groups of the process.
func (a *assessment) user() {
	if a.hostRoot {
		a.add(2, "process.user.uid", "", fmt.Sprint(a.process.User.UID),
			"root in the container is root of the machine for every file that it reaches",
			"uid: 1000 # a user that owns the files of the service; or, for any image, the annotation "+bundle.SettingsPrefix+"userns: "+bundle.UsernsAuto)
		return // Its group makes no difference.
	}
	gid, mapped := a.process.User.GID, true
	if a.ownUsers {
		gid, mapped = bundle.OnMachine(a.linux.GIDMappings, gid)
	}
	if mapped && gid == 0 {
		a.add(0.3, "process.user.gid", "", fmt.Sprint(a.process.User.GID), "files that the group of root may use are open to the service",
			"gid: 1000 # the group of the service's user")
	}
}

// privileges: whether an execve(2) can raise privileges.
func (a *assessment) privileges() {
	if !a.process.NoNewPrivileges {
		a.add(0.5, "process.noNewPrivileges", "", "false", "programs with the set-user-ID bit or file capabilities may raise privileges",
			"noNewPrivileges: true")
	}
}

// filter: the filter of system calls.
func (a *assessment) filter() {
	s := a.linux.Seccomp
	switch {
	case a.bundle.WantsFilter():
	case !bundle.HasFilter(a.linux):
		a.add(1.5, "linux.seccomp", "", "none", "every system call is open, also those in which most errors of the kernel are found",
			"annotations: {"+bundle.SettingsPrefix+"seccomp: "+bundle.SeccompDefault+"}")
	case s.DefaultAction == specs.ActAllow || s.DefaultAction == specs.ActLog:
		a.add(0.8, "linux.seccomp", "defaultAction", string(s.DefaultAction), "the filter allows every system call that it does not name",
			"# a filter in config.json whose defaultAction is SCMP_ACT_ERRNO")
	}
}

// capabilities: what is left of root's rights.
func (a *assessment) capabilities() {
	const field = "process.capabilities"
	held := a.held()
	if a.process.Capabilities == nil || !slices.ContainsFunc(known, func(c capability) bool { return !slices.Contains(held, c.name) }) {
		a.add(a.reduced(9.5, ""), field, "all", "all", "the service has all rights of root", "capabilities: [] # only those that the service needs")
		return
	}
	for _, name := range held {
		c := capability{name, 1, "do what this version does not know"}
		if i := slices.IndexFunc(known, func(c capability) bool { return c.name == name }); i >= 0 {
			c = known[i]
		}
		a.add(a.reduced(c.weight, name), field, name, "held", "the service may "+c.may,
			"# without "+privilege.Shorten(name)+" in capabilities and ambient")
	}
}

// held returns the capabilities that are in any of the sets.
func (a *assessment) held() (names []string) {
	if c := a.process.Capabilities; c != nil {
		names = slices.Concat(c.Bounding, c.Effective, c.Permitted, c.Inheritable, c.Ambient)
		slices.Sort(names)
	}
	return slices.Compact(names)
}

// has reports whether the service has a capability.
func (a *assessment) has(name string) bool {
	return a.process.Capabilities == nil || slices.Contains(a.held(), name)
}

// reduced returns the weight of a capability, or of all of them (""). In a user namespace of the
// container's own it applies to that namespace only. A process of another user than root
// has those that are ambient; it gets others by execve(2) of a file with capabilities or
// the set-user-ID bit, if it may.
func (a *assessment) reduced(weight float64, name string) float64 {
	if a.ownUsers {
		weight /= 5
	}
	c := a.process.Capabilities
	switch {
	case a.process.User.UID == 0 || c != nil && slices.Contains(c.Ambient, name):
		return weight
	case a.process.NoNewPrivileges && c != nil:
		return 0
	}
	return weight / 2
}

// capability is one of capabilities(7).
type capability struct {
	name   string
	weight float64
	may    string // what the service may do
}

var known = []capability{
	{"CAP_SYS_MODULE", 9, "load modules, which run in the kernel"},
	{"CAP_SYS_ADMIN", 8, "mount, enter other namespaces and change most settings of the kernel"},
	{"CAP_SYS_RAWIO", 8, "access memory and I/O ports of the machine"},
	{"CAP_DAC_READ_SEARCH", 6, "open any file of a disk by its handle, also outside the container"},
	{"CAP_SYS_BOOT", 5, "reboot the machine and to load another kernel"},
	{"CAP_BPF", 5, "load programs into the kernel"},
	{"CAP_PERFMON", 4, "observe the kernel and all processes"},
	{"CAP_SYS_PTRACE", 4, "read and change other processes that the service sees"},
	{"CAP_MAC_ADMIN", 4, "change the rules of security modules"},
	{"CAP_MAC_OVERRIDE", 4, "bypass security modules"},
	{"CAP_NET_ADMIN", 3, "change interfaces, routes and filters of the network namespace"},
	{"CAP_DAC_OVERRIDE", 2, "read and write files of all users"},
	{"CAP_SYS_TIME", 2, "set the clock of the machine"},
	{"CAP_SETFCAP", 2, "give capabilities to files"},
	{"CAP_SETUID", 2, "become any user"},
	{"CAP_SETGID", 2, "be in any group"},
	{"CAP_CHOWN", 2, "take files of other users"},
	{"CAP_FOWNER", 2, "change the modes of files of other users"},
	{"CAP_MKNOD", 2, "make device nodes"},
	{"CAP_SYS_RESOURCE", 1.5, "exceed resource limits and quotas"},
	{"CAP_NET_RAW", 1, "forge packets and to listen to those of others"},
	{"CAP_SYSLOG", 1, "read the kernel log, with addresses of the kernel"},
	{"CAP_KILL", 1, "signal processes of other users that the service sees"},
	{"CAP_IPC_OWNER", 1, "use System V IPC objects of other users"},
	{"CAP_AUDIT_CONTROL", 1, "turn auditing off"},
	{"CAP_CHECKPOINT_RESTORE", 1, "choose process IDs and to read links of other processes"},
	{"CAP_SYS_CHROOT", 1, "change the root, also to that of another process that the service sees"},
	{"CAP_SYS_NICE", 0.8, "use real-time scheduling, which takes the processors from others"},
	{"CAP_LINUX_IMMUTABLE", 0.5, "make files unchangeable"},
	{"CAP_IPC_LOCK", 0.5, "lock memory"},
	{"CAP_SYS_TTY_CONFIG", 0.5, "take over terminals"},
	{"CAP_SYS_PACCT", 0.5, "change process accounting"},
	{"CAP_AUDIT_READ", 0.5, "read the audit log"},
	{"CAP_SETPCAP", 0.5, "pass capabilities on"},
	{"CAP_FSETID", 0.5, "change files that have the set-user-ID bit, which they keep"},
	{"CAP_AUDIT_WRITE", 0.3, "write audit records"},
	{"CAP_LEASE", 0.3, "delay others that open a file"},
	{"CAP_BLOCK_SUSPEND", 0.2, "keep the machine from being suspended"},
	{"CAP_WAKE_ALARM", 0.2, "wake the machine up"},
	{"CAP_NET_BROADCAST", 0.1, "send broadcasts, which current kernels allow to all"},
	{"CAP_NET_BIND_SERVICE", 0.1, "listen on ports below 1024"},
}

// namespaces: what the container shares with the machine or another container.
func (a *assessment) namespaces() {
	for _, n := range []struct {
		kind        specs.LinuxNamespaceType
		weight      float64
		why, advice string
	}{
		{specs.MountNamespace, 9, "the service sees and changes the mounts of the machine", "# a mount namespace in config.json, as every container of a YAML has"},
		{specs.PIDNamespace, 1.5, "the service sees all processes of the machine, their arguments and /proc/PID/root", "pid: new"},
		{specs.NetworkNamespace, 1, "the service reaches every port and address of the machine, also those of localhost, and abstract sockets", "net: new # with runtime.interfaces, if it needs a network"},
		{specs.IPCNamespace, 0.5, "the service shares System V IPC and message queues", "ipc: new"},
		{specs.UTSNamespace, 0.2, "the service has the host name of the machine, and may change it with CAP_SYS_ADMIN", "uts: new"},
	} {
		is, weight := "host", n.weight
		if ns := bundle.NamespaceOf(a.linux, n.kind); ns != nil {
			if is = ns.Path; is == "" {
				continue
			}
			if !strings.HasPrefix(is, "/proc/1/ns/") {
				weight /= 2 // another container's
			}
		}
		a.add(weight, "linux.namespaces", string(n.kind), is, n.why, n.advice)
	}
}
