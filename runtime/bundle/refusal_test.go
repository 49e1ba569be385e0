package bundle_test

import (
	"slices"
	"testing"

	"github.com/opencontainers/runtime-spec/specs-go"

	"keelson/runtime/bundle"
)

// refusalCase is a change of a plain configuration, and the field for which the
// configuration is refused, or "" if it is accepted.
type refusalCase struct {
	name   string
	change func(*specs.Spec)
	field  string
}

// plain returns the configuration that the image builder makes for a container with
// nothing but a command.
func plain() *specs.Spec {
	caps := []string{"CAP_KILL", "CAP_SYS_ADMIN", "CAP_SETUID", "CAP_SETGID"}
	return &specs.Spec{
		Version: "1.2.1",
		Process: &specs.Process{
			Args: []string{"/bin/true"}, Cwd: "/", Env: []string{"PATH=/bin"},
			Capabilities: &specs.LinuxCapabilities{Bounding: caps, Effective: caps, Permitted: caps},
		},
		Root: &specs.Root{Path: "rootfs"},
		Mounts: []specs.Mount{
			{Destination: "/proc", Type: "proc", Source: "proc"},
			{Destination: "/dev", Type: "tmpfs", Source: "tmpfs", Options: []string{"mode=755"}},
		},
		Linux: &specs.Linux{Namespaces: []specs.LinuxNamespace{{Type: specs.PIDNamespace}, {Type: specs.MountNamespace}}},
	}
}

// own gives the container a namespace of its own, or makes it join the one at path.
func own(kind specs.LinuxNamespaceType, path ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		ns := specs.LinuxNamespace{Type: kind}
		if len(path) > 0 {
			ns.Path = path[0]
		}
		s.Linux.Namespaces = append(s.Linux.Namespaces, ns)
	}
}

func sysctl(keys ...string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Sysctl = map[string]string{}
		for _, key := range keys {
			s.Linux.Sysctl[key] = "1"
		}
	}
}

func mount(m specs.Mount) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Mounts = append(s.Mounts, m) }
}

func limit(kind string, soft, hard uint64) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Process.Rlimits = append(s.Process.Rlimits, specs.POSIXRlimit{Type: kind, Soft: soft, Hard: hard})
	}
}

func mapped(ids ...specs.LinuxIDMapping) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.UIDMappings, s.Linux.GIDMappings = ids, ids }
}

func device(path, kind string) func(*specs.Spec) {
	return func(s *specs.Spec) {
		s.Linux.Devices = append(s.Linux.Devices, specs.LinuxDevice{Path: path, Type: kind, Major: 1, Minor: 3})
	}
}

func resources(r specs.LinuxResources) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Resources = &r }
}

func memory(limit, swap int64) func(*specs.Spec) {
	return resources(specs.LinuxResources{Memory: &specs.LinuxMemory{Limit: &limit, Swap: &swap}})
}

func score(n int) func(*specs.Spec) { return func(s *specs.Spec) { s.Process.OOMScoreAdj = &n } }

func scheduler(sc specs.Scheduler) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Scheduler = &sc }
}

func ioPriority(class specs.IOPriorityClass, n int) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.IOPriority = &specs.LinuxIOPriority{Class: class, Priority: n} }
}

func seccomp(sc specs.LinuxSeccomp) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Linux.Seccomp = &sc }
}

func hostMounts(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[:1] }

func env(values ...string) func(*specs.Spec) {
	return func(s *specs.Spec) { s.Process.Env = append(s.Process.Env, values...) }
}

func all(changes ...func(*specs.Spec)) func(*specs.Spec) {
	return func(s *specs.Spec) {
		for _, change := range changes {
			change(s)
		}
	}
}

const mega = 1 << 20

var (
	newNet, newIPC, newUTS, newUser = own(specs.NetworkNamespace), own(specs.IPCNamespace), own(specs.UTSNamespace), own(specs.UserNamespace)
	ids                             = specs.LinuxIDMapping{ContainerID: 0, HostID: 100000, Size: 1000}
	sysfs                           = specs.Mount{Destination: "/sys", Type: "sysfs", Source: "sysfs"}
	mqueue                          = specs.Mount{Destination: "/dev/mqueue", Type: "mqueue", Source: "mqueue"}
	hostPID                         = func(s *specs.Spec) { s.Linux.Namespaces = s.Linux.Namespaces[1:] }
	domain                          = func(s *specs.Spec) { s.Domainname = "x" }
	longName                        = func(n int) func(*specs.Spec) {
		return func(s *specs.Spec) { s.Hostname = string(slices.Repeat([]byte("x"), n)) }
	}
)

var refusalCases = []refusalCase{
	{"nothing special", all(), ""},
	{"no command", func(s *specs.Spec) { s.Process.Args = nil }, "process.args"},
	{"relative folder", func(s *specs.Spec) { s.Process.Cwd = "x" }, "process.cwd"},
	{"variable", env("A=", "B=b", "A=a"), ""},
	{"variable of no value", env("A"), "process.env"},
	{"variable of no name", env("=a"), "process.env"},

	{"variable with a NUL byte", env("A=\x00"), "process.env"},
	{"argument with a NUL byte", func(s *specs.Spec) { s.Process.Args = append(s.Process.Args, "\x00") }, "process.args"},
	{"empty command", func(s *specs.Spec) { s.Process.Args = []string{""} }, "process.args"},

	{"scheduler", scheduler(specs.Scheduler{Policy: specs.SchedBatch, Nice: 19}), ""},
	{"scheduler of no policy", scheduler(specs.Scheduler{Policy: "SCHED_X"}), "process.scheduler"},
	{"scheduler without a policy", scheduler(specs.Scheduler{}), "process.scheduler"},
	{"scheduler, nice", scheduler(specs.Scheduler{Policy: specs.SchedOther, Nice: 20}), "process.scheduler"},
	{"scheduler, priority", scheduler(specs.Scheduler{Policy: specs.SchedOther, Priority: 1}), "process.scheduler"},
	{"scheduler, period", scheduler(specs.Scheduler{Policy: specs.SchedOther, Period: 1}), "process.scheduler"},
	{"io priority", ioPriority("IOPRIO_CLASS_BE", 7), ""},
	{"io priority of no class", ioPriority("best", 1), "process.ioPriority"},
	{"io priority too high", ioPriority("IOPRIO_CLASS_BE", 8), "process.ioPriority"},

	{"score", score(1000), ""},
	{"score too high", score(1001), "process.oomScoreAdj"},
	{"score too low", score(-1001), "process.oomScoreAdj"},

	{"limit", limit("RLIMIT_NOFILE", 100, 200), ""},
	{"limit of nothing", limit("RLIMIT_FILES", 100, 200), "process.rlimits"},
	{"limit above itself", limit("RLIMIT_NOFILE", 200, 100), "process.rlimits"},
	{"limit of none", limit("RLIMIT_NOFILE", 100, 1<<64-1), "process.rlimits"},
	{"no limit of stack", limit("RLIMIT_STACK", 1<<64-1, 1<<64-1), ""},

	{"userns alone", newUser, "linux.uidMappings"},
	{"userns with mappings", all(newUser, mapped(ids)), ""},
	{"userns with users alone", all(newUser, mapped(ids), func(s *specs.Spec) { s.Linux.GIDMappings = nil }), "linux.gidMappings"},
	{"userns without root", all(newUser, mapped(specs.LinuxIDMapping{ContainerID: 1, HostID: 100001, Size: 10})), "linux.uidMappings"},
	{"userns without the user", all(newUser, mapped(ids), func(s *specs.Spec) { s.Process.User.UID = 2000 }), "process.user.uid"},
	{"userns without the group", all(newUser, mapped(ids), func(s *specs.Spec) { s.Process.User.GID = 2000 }), "process.user.gid"},
	{"userns without a group", all(newUser, mapped(ids), func(s *specs.Spec) { s.Process.User.AdditionalGids = []uint32{2000} }), "process.user.additionalGids"},
	{"userns, proc and pids of its own", all(newUser, mapped(ids)), ""},
	{"userns, proc and the host's pids", all(hostPID, newUser, mapped(ids)), "mounts"},
	{"userns, sysfs and net of its own", all(newUser, newNet, mapped(ids), mount(sysfs)), ""},
	{"userns, sysfs and the host's net", all(newUser, mapped(ids), mount(sysfs)), "mounts"},
	{"userns, queues and ipc of its own", all(newUser, newIPC, mapped(ids), mount(mqueue)), ""},
	{"userns, queues and the host's ipc", all(newUser, mapped(ids), mount(mqueue)), "mounts"},
	{"userns, cgroup", all(newUser, newNet, mapped(ids), mount(sysfs), mount(specs.Mount{Destination: "/sys/fs/cgroup", Type: "cgroup", Source: "cgroup", Options: []string{"ro"}})), ""},
	{"queues and the host's ipc", mount(mqueue), ""},
	{"mappings alone", mapped(ids), ""},

	{"host name", longName(1), "hostname"},
	{"host name of its own", all(newUTS, longName(64)), ""},
	{"host name too long", all(newUTS, longName(65)), "hostname"},
	{"host name, PID 1's", all(own(specs.UTSNamespace, "/proc/1/ns/uts"), longName(1)), ""},
	{"domain name", domain, "domainname"},
	{"domain name of its own", all(newUTS, domain), ""},

	{"sysctl net", sysctl("net.ipv4.ip_forward"), "linux.sysctl"},
	{"sysctl net, slashes", sysctl("net/ipv4/conf/lo/rp_filter"), "linux.sysctl"},
	{"sysctl net, own", all(newNet, sysctl("net/ipv4/conf/lo/rp_filter", "net.ipv4.ip_forward")), ""},
	{"sysctl net, PID 1's", all(own(specs.NetworkNamespace, "/proc/1/ns/net"), sysctl("net.ipv4.ip_forward")), "linux.sysctl"},
	{"sysctl ipc", sysctl("kernel.shmmax"), "linux.sysctl"},
	{"sysctl ipc, own", all(newIPC, sysctl("kernel.shmmax", "fs.mqueue.msg_max")), ""},
	{"sysctl ipc, PID 1's", all(own(specs.IPCNamespace, "/proc/1/ns/ipc"), sysctl("kernel.shm_rmid_forced")), ""},
	{"sysctl user", sysctl("user.max_inotify_instances"), "linux.sysctl"},
	{"sysctl user, own", all(newUser, mapped(ids), sysctl("user.max_inotify_instances")), ""},
	{"sysctl domain name", sysctl("kernel.domainname"), "linux.sysctl"},
	{"sysctl domain name, own", all(newUTS, sysctl("kernel.domainname")), ""},
	{"sysctl host name", all(newUTS, sysctl("kernel.hostname")), "linux.sysctl"},
	{"sysctl vm", all(newNet, newIPC, newUTS, sysctl("vm.overcommit_memory")), "linux.sysctl"},

	{"namespace of no type", own("what"), "linux.namespaces"},
	{"namespace twice", all(newNet, newNet), "linux.namespaces"},
	{"masked paths", func(s *specs.Spec) { s.Linux.MaskedPaths = []string{"/proc/kcore"} }, ""},
	{"masked paths without namespace", func(s *specs.Spec) { hostMounts(s); s.Linux.MaskedPaths = []string{"/proc/kcore"} }, "linux.maskedPaths"},
	{"read-only paths without namespace", func(s *specs.Spec) { hostMounts(s); s.Linux.ReadonlyPaths = []string{"/proc/sys"} }, "linux.readonlyPaths"},
	{"time offsets", func(s *specs.Spec) { s.Linux.TimeOffsets = map[string]specs.LinuxTimeOffset{"monotonic": {Secs: 1}} }, "linux.timeOffsets"},
	{"network devices", func(s *specs.Spec) { s.Linux.NetDevices = map[string]specs.LinuxNetDevice{"lo": {}} }, "linux.netDevices"},

	{"seccomp", seccomp(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{specs.ArchX86_64},
		Syscalls: []specs.LinuxSyscall{{Names: []string{"nonesuch"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: specs.OpEqualTo}}}}}), ""},
	{"seccomp, default action", seccomp(specs.LinuxSeccomp{DefaultAction: "allow"}), "linux.seccomp"},
	{"seccomp, architecture", seccomp(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Architectures: []specs.Arch{"SCMP_ARCH_X"}}), "linux.seccomp"},
	{"seccomp, action", seccomp(specs.LinuxSeccomp{DefaultAction: specs.ActAllow, Syscalls: []specs.LinuxSyscall{{Names: []string{"getpid"}, Action: "x"}}}), "linux.seccomp"},
	{"seccomp, operator", seccomp(specs.LinuxSeccomp{DefaultAction: specs.ActAllow,
		Syscalls: []specs.LinuxSyscall{{Names: []string{"getpid"}, Action: specs.ActErrno, Args: []specs.LinuxSeccompArg{{Op: "=="}}}}}), "linux.seccomp"},
	{"unified with a slash", resources(specs.LinuxResources{Unified: map[string]string{"a/b": "1"}}), "linux.resources.unified"},

	{"propagation", func(s *specs.Spec) { s.Linux.RootfsPropagation = "rshared" }, ""},
	{"no propagation", func(s *specs.Spec) { s.Linux.RootfsPropagation = "everywhere" }, "linux.rootfsPropagation"},

	{"device", device("/dev/x", "c"), ""},
	{"pipe with numbers", device("/dev/x", "p"), "linux.devices"},
	{"pipe", func(s *specs.Spec) { s.Linux.Devices = []specs.LinuxDevice{{Path: "/dev/x", Type: "p"}} }, ""},
	{"unbuffered device", device("/dev/x", "u"), ""},
	{"device of no type", device("/dev/x", "x"), "linux.devices"},
	{"device below the root", device("x", "c"), ""},

	{"bind", mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"rbind", "ro", "nosuid", "rslave", "rro"}}), ""},
	{"bind of none type", mount(specs.Mount{Destination: "/tmp", Type: "none", Source: "/tmp", Options: []string{"bind"}}), ""},
	{"bind with size", mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"bind", "size=1"}}), "mounts"},
	{"bind with defaults", mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"bind", "defaults"}}), "mounts"},
	{"bind with nothing", mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"rbind", ""}}), ""},
	{"bind without bind", mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"ro"}}), "mounts"},
	{"mount of no type", mount(specs.Mount{Destination: "/tmp", Source: "tmpfs"}), "mounts"},
	{"tmpfs with size", mount(specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"size=1m"}}), ""},
	{"tmpfs copied", mount(specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", Options: []string{"tmpcopyup", "size=1m"}}), ""},
	{"bind of ids", mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"bind", "idmap"}}), "mounts"},
	{"bind of ids, userns", all(newUser, mapped(ids), mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"bind", "idmap"}})), ""},
	{"bind of users alone", all(newUser, mapped(ids), mount(specs.Mount{Destination: "/tmp", Type: "bind", Source: "/tmp", Options: []string{"bind"}, UIDMappings: []specs.LinuxIDMapping{ids}})), "mounts"},
	{"tmpfs of ids", mount(specs.Mount{Destination: "/tmp", Type: "tmpfs", Source: "tmpfs", UIDMappings: []specs.LinuxIDMapping{ids}, GIDMappings: []specs.LinuxIDMapping{ids}}), "mounts"},
	{"mount in proc", mount(specs.Mount{Destination: "/proc/sys", Type: "tmpfs", Source: "tmpfs"}), "mounts"},
	{"mount in proc, cleaned", mount(specs.Mount{Destination: "//proc/x/../sys", Type: "tmpfs", Source: "tmpfs"}), "mounts"},
	{"bind of lxcfs", mount(specs.Mount{Destination: "/proc/uptime", Type: "bind", Source: "/proc/uptime", Options: []string{"bind"}}), ""},
	{"bind of binfmt", mount(specs.Mount{Destination: "/proc/sys/fs/binfmt_misc", Type: "bind", Source: "/tmp", Options: []string{"bind"}}), "mounts"},
	{"tmpfs on proc", mount(specs.Mount{Destination: "/proc", Type: "tmpfs", Source: "tmpfs"}), "mounts"},
	{"mount of the root", mount(specs.Mount{Destination: "/", Type: "tmpfs", Source: "tmpfs"}), "mounts"},

	{"swap below memory", memory(64*mega, 32*mega), "linux.resources.memory.swap"},
	{"swap without memory", memory(0, 32*mega), "linux.resources.memory.swap"},
	{"device rule", resources(specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "c", Access: "rwm"}, {Type: "a", Access: "rwm"}}}), ""},
	{"device rule of no type", resources(specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "p", Access: "rwm"}}}), "linux.resources.devices"},
	{"device rule without a type", resources(specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Access: "rwm"}}}), ""},
	{"device rule of no access", resources(specs.LinuxResources{Devices: []specs.LinuxDeviceCgroup{{Allow: true, Type: "c"}}}), "linux.resources.devices"},
}

// Refusals names the field of each case; TestRefusalsMatchRunc compares the cases with runc.
func TestRefusals(t *testing.T) {
	for _, c := range refusalCases {
		s := plain()
		c.change(s)
		found := bundle.Refusals(s)
		if c.field == "" && len(found) > 0 || c.field != "" && (len(found) != 1 || found[0].Field != c.field) {
			t.Errorf("%s: %v, want one for %q", c.name, found, c.field)
		}
	}
}

// All reasons are returned together, and all parts of a configuration may be missing.
func TestRefusalsOfManyFieldsAndNone(t *testing.T) {
	s := plain()
	all(sysctl("vm.a", "net.b"), env("A"), longName(1))(s)
	if found := bundle.Refusals(s); len(found) != 4 {
		t.Errorf("%v", found)
	}
	for _, s := range []*specs.Spec{{}, {Process: &specs.Process{}}, {Linux: &specs.Linux{}}} {
		_ = bundle.Refusals(s)
	}
}
