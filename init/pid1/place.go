package pid1

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/init/cmdline"
	"keelson/init/pid1/handover"
	"keelson/mounts"
	"keelson/runtime/userspace"
)

// Inode numbers of the first namespaces (include/linux/proc_ns.h). Those
// missing here, the kernel numbers as it likes.
var firstNamespaces = map[string]uint64{userspace.UTS: 0xEFFFFFFE, "pid": 0xEFFFFFFC}

// place is where this process finds itself.
type place struct {
	machine bool     // the machine's first process: everything is ours
	first   bool     // the first of a PID namespace: it ends with us
	own     []string // namespaces that are ours alone
	before  []*mountinfo.Info
	unknown bool // before is not known
}

// look finds out where we are. It needs /proc and mounts it when nobody has.
func look() (place, error) {
	p := place{first: os.Getpid() == 1}
	_, missing := os.Stat("/proc/self")
	if missing != nil {
		proc := slices.DeleteFunc(mounts.Essential(), func(item mounts.Item) bool {
			m, ok := item.Thing.(mounts.FS)
			return !ok || m.Target != "/proc"
		})
		if err := mounts.Apply(proc); err != nil {
			p.machine = p.first
			return p, err
		}
	}
	pids, given := inode("self", "pid")
	p.machine = p.first && (!given || pids == firstNamespaces["pid"])
	if p.machine {
		return p, nil
	}
	for _, name := range []string{userspace.Mount, userspace.Network, userspace.UTS} {
		if ours(name) {
			p.own = append(p.own, name)
		}
	}
	infos, err := mountinfo.GetMounts(nil)
	for _, m := range infos {
		if missing == nil || m.Mountpoint != "/proc" {
			p.before = append(p.before, m)
		}
	}
	return p, err
}

// ours tells whether a namespace is not the parent's or, where that cannot be
// seen, not the machine's.
func ours(name string) bool {
	self, ok := inode("self", name)
	if !ok {
		return false // A kernel without such namespaces has only one.
	}
	if parent, ok := inode(fmt.Sprint(os.Getppid()), name); ok {
		return self != parent
	}
	return self != firstNamespaces[name]
}

// inode is the number of a process's namespace.
func inode(process, name string) (uint64, bool) {
	var st unix.Stat_t
	err := unix.Stat("/proc/"+process+"/ns/"+name, &st)
	return st.Ino, err == nil
}

// Again reports whether PID 1 has executed itself again.
func Again() bool { return handover.Inherited() }

// Inside tells a process that is not the first one whether it is the first of
// a system of its own all the same: who started it has another root or other
// mounts, or nobody has mounted /proc. A second system on top of a running one is nothing to start by
// mistake.
func Inside() bool {
	if _, err := os.Stat("/proc/self"); err != nil {
		return true
	}
	parent := fmt.Sprintf("/proc/%d/root", os.Getppid())
	var own, outer unix.Stat_t
	if err := errors.Join(unix.Stat("/", &own), unix.Stat(parent, &outer)); err != nil {
		return false
	}
	return own.Dev != outer.Dev || own.Ino != outer.Ino || ours(userspace.Mount)
}

// announce tells all that asks, here and in children, what is ours. In the
// outer system the kernel's command line is meant for others.
func (p place) announce() {
	if p.machine {
		_, _ = os.Unsetenv(userspace.Variable), os.Unsetenv(cmdline.Variable)
		return
	}
	value := strings.Join(p.own, ",")
	if value == "" {
		value = userspace.None
	}
	_ = os.Setenv(userspace.Variable, value) // It fails on odd names only.
}

// environ is what every child gets.
func environ() []string {
	all := environment
	for _, name := range []string{userspace.Variable, cmdline.Variable} {
		if value := os.Getenv(name); value != "" {
			all = append(all[:len(all):len(all)], name+"="+value)
		}
	}
	return all
}
