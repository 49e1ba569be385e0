package bundle

import (
	"path"
	"slices"
	"strings"

	"github.com/opencontainers/runtime-spec/specs-go"
)

func (c *refusals) checkProcess() {
	p := c.process
	switch {
	case len(p.Args) == 0 || p.Args[0] == "":
		c.add("process.args", "", "a command is needed")
	case slices.ContainsFunc(p.Args, func(arg string) bool { return strings.ContainsRune(arg, 0) }):
		c.add("process.args", "", hasNUL)
	}
	if !path.IsAbs(p.Cwd) {
		c.add("process.cwd", "", "%q is not an absolute path", p.Cwd)
	}
	for _, v := range p.Env {
		if strings.IndexByte(v, '=') < 1 || strings.ContainsRune(v, 0) {
			c.add("process.env", "", "%q is not NAME=VALUE, or holds a NUL byte", v)
		}
	}
	if score := p.OOMScoreAdj; score != nil && (*score < -1000 || *score > 1000) {
		c.add("process.oomScoreAdj", "", "%d is not between -1000 and 1000", *score)
	}
}

// maxFiles is the largest value that the kernel accepts for fs.nr_open, which limits
// RLIMIT_NOFILE (sysctl_nr_open_max of the kernel's fs/file.c).
const maxFiles = 0x7fffffff &^ 63

func (c *refusals) checkRlimits() {
	for _, l := range c.process.Rlimits {
		switch {
		case !slices.Contains(Rlimits, strings.TrimPrefix(l.Type, "RLIMIT_")):
			c.add("process.rlimits", l.Type, "is not a resource limit")
		case l.Soft > l.Hard:
			c.add("process.rlimits", l.Type, "the soft limit %d is above the hard one, %d", l.Soft, l.Hard)
		case l.Type == "RLIMIT_NOFILE" && l.Hard > maxFiles:
			c.add("process.rlimits", l.Type, "cannot be unlimited: the kernel limits it to the sysctl fs.nr_open, 1048576 by default")
		}
	}
}

// Rlimits has the names of resource limits without RLIMIT_ (getrlimit(2)).
var Rlimits = []string{
	"AS", "CORE", "CPU", "DATA", "FSIZE", "LOCKS", "MEMLOCK", "MSGQUEUE", "NICE",
	"NOFILE", "NPROC", "RSS", "RTPRIO", "RTTIME", "SIGPENDING", "STACK",
}

// checkScheduling checks scheduler and ioPriority (sched(7), ioprio_set(2)).
func (c *refusals) checkScheduling() {
	if p := c.process.IOPriority; p != nil {
		if p.Class != specs.IOPRIO_CLASS_RT && p.Class != specs.IOPRIO_CLASS_BE && p.Class != specs.IOPRIO_CLASS_IDLE {
			c.add("process.ioPriority", "", "%q is not one of %s, %s, %s", p.Class, specs.IOPRIO_CLASS_RT, specs.IOPRIO_CLASS_BE, specs.IOPRIO_CLASS_IDLE)
		} else if p.Priority < 0 || p.Priority > 7 {
			c.add("process.ioPriority", "", "%d is not between 0 and 7", p.Priority)
		}
	}
	s := c.process.Scheduler
	if s == nil {
		return
	}
	nice, realTime := s.Policy == specs.SchedOther || s.Policy == specs.SchedBatch, s.Policy == specs.SchedFIFO || s.Policy == specs.SchedRR
	switch {
	case !slices.Contains(schedulers, s.Policy):
		c.add("process.scheduler", "", "%q is not a policy", s.Policy)
	case nice && (s.Nice < -20 || s.Nice > 19):
		c.add("process.scheduler", "", "nice %d is not between -20 and 19", s.Nice)
	case s.Priority != 0 && !realTime:
		c.add("process.scheduler", "", "priority is only for %s and %s", specs.SchedFIFO, specs.SchedRR)
	case s.Policy != specs.SchedDeadline && (s.Runtime != 0 || s.Deadline != 0 || s.Period != 0):
		c.add("process.scheduler", "", "runtime, deadline and period are only for %s", specs.SchedDeadline)
	}
}

var schedulers = []specs.LinuxSchedulerPolicy{
	specs.SchedOther, specs.SchedFIFO, specs.SchedRR, specs.SchedBatch, specs.SchedISO, specs.SchedIdle, specs.SchedDeadline,
}

// checkNamespaces checks the list of namespaces, and fields that need one of the
// container's own.
func (c *refusals) checkNamespaces() {
	seen := map[specs.LinuxNamespaceType]bool{}
	for _, ns := range c.linux.Namespaces {
		switch {
		case !slices.Contains(namespaceTypes, ns.Type):
			c.add("linux.namespaces", string(ns.Type), "is not a type of namespace")
		case seen[ns.Type]:
			c.add("linux.namespaces", string(ns.Type), "is there twice")
		}
		seen[ns.Type] = true
	}
	for _, paths := range []struct {
		field string
		list  []string
	}{{"linux.maskedPaths", c.linux.MaskedPaths}, {"linux.readonlyPaths", c.linux.ReadonlyPaths}} {
		if len(paths.list) > 0 && !seen[specs.MountNamespace] {
			c.add(paths.field, "", "needs a mount namespace of the container's own")
		}
	}
	if c.linux.TimeOffsets != nil && !seen[specs.TimeNamespace] {
		c.add("linux.timeOffsets", "", "needs a time namespace of the container's own")
	}
	if len(c.linux.NetDevices) > 0 && !seen[specs.NetworkNamespace] {
		c.add("linux.netDevices", "", "needs a network namespace of the container's own (net: new)")
	}
}

var namespaceTypes = []specs.LinuxNamespaceType{
	specs.PIDNamespace, specs.NetworkNamespace, specs.MountNamespace, specs.IPCNamespace,
	specs.UTSNamespace, specs.UserNamespace, specs.CgroupNamespace, specs.TimeNamespace,
}

// HasFilter reports whether a configuration filters system calls. runc takes one that is
// empty for none.
func HasFilter(linux *specs.Linux) bool {
	return linux != nil && linux.Seccomp != nil && (linux.Seccomp.DefaultAction != "" || len(linux.Seccomp.Syscalls) > 0)
}

// checkSeccomp checks the words of the filter. runc ignores unknown names of system calls.
func (c *refusals) checkSeccomp() {
	s := c.linux.Seccomp
	if s == nil {
		return
	}
	c.word(seccompActions, string(s.DefaultAction), "defaultAction")
	for _, a := range s.Architectures {
		c.word(seccompArchs, strings.TrimPrefix(string(a), "SCMP_ARCH_"), "architectures")
	}
	for _, call := range s.Syscalls {
		c.word(seccompActions, string(call.Action), "syscalls")
		for _, arg := range call.Args {
			c.word(seccompOperators, string(arg.Op), "syscalls")
		}
	}
}

func (c *refusals) word(known []string, word, field string) {
	if !slices.Contains(known, word) {
		c.add("linux.seccomp", field, "%q is not one of %s", word, strings.Join(known, ", "))
	}
}

// Words of seccomp filters that runc knows (libcontainer/seccomp/config.go).
var (
	seccompActions = []string{
		"SCMP_ACT_KILL", "SCMP_ACT_ERRNO", "SCMP_ACT_TRAP", "SCMP_ACT_ALLOW", "SCMP_ACT_TRACE", "SCMP_ACT_LOG",
		"SCMP_ACT_NOTIFY", "SCMP_ACT_KILL_THREAD", "SCMP_ACT_KILL_PROCESS",
	}
	seccompArchs = []string{
		"X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL", "MIPSEL64", "MIPSEL64N32",
		"PPC", "PPC64", "PPC64LE", "RISCV64", "S390", "S390X", "LOONGARCH64",
	}
	seccompOperators = []string{
		"SCMP_CMP_NE", "SCMP_CMP_LT", "SCMP_CMP_LE", "SCMP_CMP_EQ", "SCMP_CMP_GE", "SCMP_CMP_GT", "SCMP_CMP_MASKED_EQ",
	}
)
