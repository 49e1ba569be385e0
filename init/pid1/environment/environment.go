// Package environment detects where PID 1 runs: as the init of a machine, or of a
// system inside another one, in a container or in namespaces (userspace mode). There
// it mounts what the outer system has not mounted; at shutdown it unmounts that and
// signals the descendants of this process.
//
// The package has no state: the environment is a value. What the children need of it is
// in package userspace.
//
// Sources: namespaces(7), mount_namespaces(7), prctl(2) (PR_SET_CHILD_SUBREAPER),
// proc_pid_stat(5); the kernel's include/linux/proc_ns.h.
package environment

import (
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/moby/sys/mountinfo"
	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/userspace"
)

// Environment is where this process runs.
type Environment struct {
	userspace.Environment

	First  bool    // this is the first process of a PID namespace; the namespace ends with it
	Before []Mount // mounts of the outer system
	// BeforeUnknown is set if Before was lost; nothing may be unmounted then.
	BeforeUnknown bool
}

// Mount identifies a mount.
type Mount struct {
	ID    int
	Point string
}

// firstNamespaces are the fixed inode numbers of the kernel's initial namespaces
// (include/linux/proc_ns.h). Initial namespaces of other kinds have none.
var firstNamespaces = map[string]uint64{userspace.UTS: 0xEFFFFFFE, "pid": 0xEFFFFFFC}

// Detect finds out where this process runs. It needs /proc and mounts it if it is
// missing.
func Detect() (Environment, error) {
	first := os.Getpid() == 1
	_, missing := os.Stat("/proc/self")
	if missing != nil {
		if err := mountProc(); err != nil {
			return Environment{Environment: userspace.Environment{Machine: first}, First: first}, err
		}
	}
	pids, given := inode("self", "pid")
	if first && (!given || pids == firstNamespaces["pid"]) {
		return Environment{Environment: userspace.Machine(), First: true}, nil
	}
	e := Environment{Environment: userspace.Inside(ownNamespaces(), os.Getenv(userspace.CmdLineVariable)), First: first}
	infos, err := mountinfo.GetMounts(nil)
	for _, m := range infos {
		if missing == nil || m.Mountpoint != "/proc" {
			e.Before = append(e.Before, Mount{m.ID, m.Mountpoint})
		}
	}
	return e, err
}

func mountProc() error {
	return mounts.Apply(slices.DeleteFunc(mounts.Essential(), func(item mounts.Item) bool {
		m, ok := item.Thing.(mounts.FS)
		return !ok || m.Target != "/proc"
	}))
}

// ownNamespaces lists the namespaces that belong to this system.
func ownNamespaces() (own []string) {
	for _, name := range []string{userspace.Mount, userspace.Network, userspace.UTS} {
		if owns(name) {
			own = append(own, name)
		}
	}
	return own
}

// owns reports whether a namespace differs from the parent's or, if that is not visible,
// from the machine's.
func owns(name string) bool {
	self, ok := inode("self", name)
	if !ok {
		return false // A kernel without such namespaces has only one.
	}
	if parent, ok := inode(fmt.Sprint(os.Getppid()), name); ok {
		return self != parent
	}
	return self != firstNamespaces[name]
}

// inode returns the inode number of a process's namespace.
func inode(process, name string) (uint64, bool) {
	var st unix.Stat_t
	err := unix.Stat("/proc/"+process+"/ns/"+name, &st)
	return st.Ino, err == nil
}

// InContainer reports whether this process starts a system inside another one
// although its PID is not 1: its root or its mounts differ from its parent's, or
// /proc is missing. Anything else is /init typed in a shell by mistake, which must
// not start a second system on top of a running one.
func InContainer() bool {
	if _, err := os.Stat("/proc/self"); err != nil {
		return true
	}
	parent := fmt.Sprintf("/proc/%d/root", os.Getppid())
	var own, outer unix.Stat_t
	if err := errors.Join(unix.Stat("/", &own), unix.Stat(parent, &outer)); err != nil {
		return false
	}
	return own.Dev != outer.Dev || own.Ino != outer.Ino || owns(userspace.Mount)
}

// Console opens the console for output that children write directly, such as the trace of
// a panic. In userspace mode, that is standard output; without a console, it is /dev/null.
func (e Environment) Console() (*os.File, error) {
	if !e.Machine {
		fd, err := unix.FcntlInt(1, unix.F_DUPFD_CLOEXEC, 3)
		if err != nil {
			return os.OpenFile("/dev/null", os.O_WRONLY, 0)
		}
		return os.NewFile(uintptr(fd), "stdout"), nil
	}
	// O_NONBLOCK: opening a serial line may otherwise wait for its carrier.
	fd, err := unix.Open("/dev/console", unix.O_WRONLY|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return os.OpenFile("/dev/null", os.O_WRONLY, 0)
	}
	if err := unix.SetNonblock(fd, false); err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/console"), nil
}
