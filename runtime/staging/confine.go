package staging

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime"
	"syscall"
	"unsafe"

	"golang.org/x/sys/unix"

	"keelson/mounts"
	"keelson/runtime/corecgroup"
	"keelson/runtime/oomscore"
)

// Limits of the child's resources; see setrlimit(2).
const (
	maxData  = 768 << 20 // bytes of private writable memory: maxWindow, and a few words for each entry
	maxSpace = 4 << 30   // bytes of addresses, of which the Go runtime reserves more than it uses
	maxCPU   = 3600      // seconds
	maxFiles = 64        // descriptors
)

// filesCapabilities are what it takes to give files any owner, mode and capabilities.
var filesCapabilities = []int{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_FOWNER, unix.CAP_FSETID, unix.CAP_SETFCAP}

// confine gives up everything that the child does not need, and executes the program
// again. It returns only on an error.
//
// Capabilities, no_new_privs and Landlock belong to a thread, and the Go runtime has
// several. execve(2) ends all others: what is set on the thread that calls it holds for
// the whole program afterwards. The program is executed by its descriptor, since the new
// root does not contain it.
func confine(todo orders) error {
	runtime.LockOSThread()
	todo.Confined = true
	env, err := todo.environment()
	if err != nil {
		return err
	}
	program, err := unix.Open("/proc/self/exe", unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("cannot open the program: %w", err)
	}
	steps := []struct {
		what string
		do   func() error
	}{
		{"the priority", func() error { return lowerPriority(todo.Digest) }},
		{"oom_score_adj", func() error { return oomscore.SetOwn(oomscore.First) }},
		{"the cgroup", corecgroup.Leave},
		{"the limits of namespaces", func() error { return forbidNamespaces(todo.Users) }},
		{"the root", func() error { return mounts.Confine(todo.Dir) }},
		{"no_new_privs", func() error { return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }},
		{"Landlock", func() error { return restrictFiles(program) }},
		{"capabilities", func() error { return dropCapabilities(filesCapabilities) }},
		{"limits", func() error { return setLimits(todo.MaxSize) }},
		// A thread does not inherit the signal, and this one takes the place of the first.
		{"the signal for the parent's end", func() error { return unix.Prctl(unix.PR_SET_PDEATHSIG, uintptr(unix.SIGKILL), 0, 0, 0) }},
		{"an end with the parent", parentLives},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return fmt.Errorf("cannot set %s of the child: %w", s.what, err)
		}
	}
	return fmt.Errorf("cannot execute the program again: %w", execute(program, os.Args, []string{env}))
}

// errParentEnded is returned when nobody waits for the result.
var errParentEnded = errors.New("the process that has started this one has ended")

// parentLives returns an error if the parent ended before this process asked for the signal of
// its end. The first process of a PID namespace does not see that by getppid(2): the pipe on
// its standard output has no reader then, see poll(2).
func parentLives() error {
	out := []unix.PollFd{{Fd: 1}}
	for {
		_, err := unix.Poll(out, 0)
		switch {
		case errors.Is(err, unix.EINTR):
			continue
		case err != nil:
			return err
		case out[0].Revents&unix.POLLERR != 0:
			return errParentEnded
		}
		return nil
	}
}

// forbidNamespaces forbids this process to make namespaces: the first process of a user
// namespace has all capabilities in it. The limits belong to the user namespace; without
// one of its own they would be those of the whole system. See namespaces(7).
func forbidNamespaces(own bool) error {
	if !own {
		return nil
	}
	for _, kind := range []string{"user", "mnt", "pid", "net", "ipc", "uts", "cgroup", "time"} {
		err := os.WriteFile("/proc/sys/user/max_"+kind+"_namespaces", []byte("0"), 0)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}

func setLimits(fileSize int64) error {
	for resource, limit := range map[int]uint64{
		unix.RLIMIT_AS: maxSpace, unix.RLIMIT_DATA: maxData, unix.RLIMIT_CPU: maxCPU, unix.RLIMIT_NOFILE: maxFiles,
		unix.RLIMIT_CORE: 0, unix.RLIMIT_FSIZE: uint64(fileSize),
	} {
		if err := unix.Prlimit(0, resource, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
			return fmt.Errorf("resource %d: %w", resource, err)
		}
	}
	return nil
}

// dropCapabilities leaves this thread, and what it executes, the capabilities in keep.
// Package capability of moby/sys would need /proc.
func dropCapabilities(keep []int) error {
	var mask [2]uint32
	for _, c := range keep {
		mask[c/32] |= 1 << (c % 32)
	}
	for c := range 64 {
		if mask[c/32]&(1<<(c%32)) != 0 {
			continue
		}
		err := unix.Prctl(unix.PR_CAPBSET_DROP, uintptr(c), 0, 0, 0)
		if errors.Is(err, unix.EINVAL) {
			break // The kernel has no more.
		}
		if err != nil {
			return err
		}
	}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := [2]unix.CapUserData{
		{Effective: mask[0], Permitted: mask[0]},
		{Effective: mask[1], Permitted: mask[1]},
	}
	return unix.Capset(&header, &data[0]) // Ambient capabilities go with the inheritable ones.
}

// Rights of Landlock that reading an artifact needs, and those that the versions of its
// interface know.
const (
	neededRights = unix.LANDLOCK_ACCESS_FS_READ_FILE | unix.LANDLOCK_ACCESS_FS_READ_DIR | unix.LANDLOCK_ACCESS_FS_WRITE_FILE |
		unix.LANDLOCK_ACCESS_FS_TRUNCATE | unix.LANDLOCK_ACCESS_FS_REMOVE_DIR | unix.LANDLOCK_ACCESS_FS_REMOVE_FILE |
		unix.LANDLOCK_ACCESS_FS_MAKE_DIR | unix.LANDLOCK_ACCESS_FS_MAKE_REG | unix.LANDLOCK_ACCESS_FS_MAKE_SYM | unix.LANDLOCK_ACCESS_FS_REFER
	rightsOf2 = unix.LANDLOCK_ACCESS_FS_REFER<<1 - 1
	rightsOf3 = unix.LANDLOCK_ACCESS_FS_TRUNCATE<<1 - 1
	rightsOf5 = unix.LANDLOCK_ACCESS_FS_IOCTL_DEV<<1 - 1
)

// landlockRules returns what a kernel with this version of Landlock can forbid, all of
// which is forbidden without a rule.
func landlockRules(version int) unix.LandlockRulesetAttr {
	attr := unix.LandlockRulesetAttr{Handled_access_fs: rightsOf2}
	if version >= 3 {
		attr.Handled_access_fs = rightsOf3
	}
	if version >= 4 {
		attr.Handled_access_net = unix.LANDLOCK_ACCESS_NET_BIND_TCP | unix.LANDLOCK_ACCESS_NET_CONNECT_TCP
	}
	if version >= 5 {
		attr.Handled_access_fs = rightsOf5
	}
	if version >= 6 {
		attr.Scoped = unix.LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET | unix.LANDLOCK_SCOPE_SIGNAL
	}
	return attr
}

// restrictFiles restricts this thread, and what it executes, with Landlock: below the root
// it may make and change files, folders and links; it may read and execute program; nothing
// else.
// A kernel without Landlock, or with its first version, which forbids all hard links
// between folders, is left as it is.
func restrictFiles(program int) error {
	version, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, unix.LANDLOCK_CREATE_RULESET_VERSION)
	if errno != 0 || version < 2 {
		return nil
	}
	attr := landlockRules(int(version))
	rules, _, errno := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr), 0)
	if errno != 0 {
		return errno
	}
	defer unix.Close(int(rules))
	root, err := unix.Open("/", unix.O_PATH|unix.O_CLOEXEC|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer unix.Close(root)
	for _, rule := range []unix.LandlockPathBeneathAttr{
		{Allowed_access: neededRights & attr.Handled_access_fs, Parent_fd: int32(root)},
		{Allowed_access: unix.LANDLOCK_ACCESS_FS_EXECUTE | unix.LANDLOCK_ACCESS_FS_READ_FILE, Parent_fd: int32(program)},
	} {
		_, _, errno := unix.Syscall6(unix.SYS_LANDLOCK_ADD_RULE, rules, unix.LANDLOCK_RULE_PATH_BENEATH, uintptr(unsafe.Pointer(&rule)), 0, 0, 0)
		if errno != 0 {
			return errno
		}
	}
	if _, _, errno := unix.Syscall(unix.SYS_LANDLOCK_RESTRICT_SELF, rules, 0, 0); errno != 0 {
		return errno
	}
	return nil
}

// execute is execveat(2) of an open program.
func execute(program int, args, env []string) error {
	argv, err := syscall.SlicePtrFromStrings(args)
	if err != nil {
		return err
	}
	envp, err := syscall.SlicePtrFromStrings(env)
	if err != nil {
		return err
	}
	none := []byte{0}
	_, _, errno := unix.Syscall6(unix.SYS_EXECVEAT, uintptr(program), uintptr(unsafe.Pointer(&none[0])),
		uintptr(unsafe.Pointer(&argv[0])), uintptr(unsafe.Pointer(&envp[0])), unix.AT_EMPTY_PATH, 0)
	return errno
}
